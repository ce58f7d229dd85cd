"""From image files to batches: decoding, resizing and augmentation in tf.data, off the training thread."""

import os

import numpy as np
import tensorflow as tf

from ugatit_tf.data import images


def resize(image, size):
    """Resize, the one way it is done in training, test and export: bilinear, antialiased.

    Args:
        image: uint8 or float tensor of shape [H, W, 3], in [0, 255].
        size: side of the result in pixels, or its (height, width).

    Returns:
        float32 tensor of shape [size, size, 3] or [height, width, 3], in [0, 255].
    """
    size = (size, size) if isinstance(size, int) else tuple(size)
    image = tf.ensure_shape(tf.image.resize(image, size, "bilinear", antialias=True), (*size, 3))
    return tf.clip_by_value(image, 0.0, 255.0)  # the weights of a pixel add up to 1 but for rounding


def to_float(image):
    """From [0, 255] to the networks' [-1, 1], as float32."""
    # A product, since TFLite makes one of a division: another rounding, which int8 maps would show.
    return tf.cast(image, tf.float32) * (1 / 127.5) - 1.0


def train_batches(dataset, model_config, train_config, start=0):
    """Endless training batches, each a pure function of the seed, its number and the lists of files.

    Each domain is read in epochs of its own: every file once, in an order drawn from the seed, the domain and the
    epoch. Flip and crop are drawn from the seed, the domain and the image's number.

    Args:
        dataset: `ugatit_tf.data.images.Dataset`.
        model_config: `ugatit_tf.ModelConfig`; `img_size` and `flavor` decide how far images are enlarged.
        train_config: `ugatit_tf.TrainConfig`; `batch_size`, `seed` and `augment_flag` are used.
        start: number of the first batch, from 0, to resume at.

    Returns:
        `tf.data.Dataset` of (real_a, real_b), float32 of shape [batch_size, img_size, img_size, 3] in [-1, 1]. A file
        that cannot be read any more raises a `tf.errors.OpError` that names it.

    Raises:
        ValueError: `start` is negative, or a domain has no images.
    """
    if start < 0:
        raise ValueError(f"start must be at least 0; received {start}.")
    for name in ("train_a", "train_b"):
        if not getattr(dataset, name):
            raise ValueError(f"{name} must have at least one image; received none. Use images.load_dataset.")
    domains = tuple(tf.constant([os.fsencode(path) for path in paths]) for paths in (dataset.train_a, dataset.train_b))

    def pair(number):
        return tuple(
            _train_image(number, paths, domain, model_config, train_config) for domain, paths in enumerate(domains)
        )

    batch = train_config.batch_size
    numbers = tf.data.Dataset.range(start * batch, np.iinfo(np.int64).max)
    return _batched(numbers.map(pair, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True), batch, True)


def _train_image(number, paths, domain, model_config, train_config):
    """The image that is the `number`-th of its domain since the training began."""
    count, seed = len(paths), tf.constant(train_config.seed, tf.int64)
    # The domain belongs in the seed of the order: lists of similar lengths get similar orders from the same seed.
    order = tf.stack([seed, 2 * (number // count) + domain])
    index = tf.random.experimental.index_shuffle(number % count, order, tf.constant(count - 1, tf.int64))
    image = _read(paths[index])
    size = model_config.img_size
    if not train_config.augment_flag:
        return to_float(resize(image, size))
    if model_config.flavor == "tf1":
        image = resize(image, size)
    extra = 15 if model_config.flavor == "tf1" and size != 256 else 30
    image = resize(image, size + extra)
    draws = tf.random.experimental.stateless_fold_in(tf.stack([seed, tf.constant(domain, tf.int64)]), number)
    flip, top, left = tf.unstack(tf.random.stateless_uniform([3], draws, alg="philox"))
    corner = tf.cast(tf.stack([top, left]) * (extra + 1), tf.int32)
    image = tf.slice(image, [corner[0], corner[1], 0], [size, size, 3])
    return to_float(tf.where(flip < 0.5, image[:, ::-1], image))


def test_batches(paths, img_size, batch_size=1):  # noqa: PT028 (no test, but the test images)
    """The images of a list, once and in order, resized and nothing else.

    Args:
        paths: the files.
        img_size: side of the images in pixels.
        batch_size: images in a batch; the last may have fewer.

    Returns:
        `tf.data.Dataset` of (images, paths): float32 of shape [N, img_size, img_size, 3] in [-1, 1], and strings of
        shape [N] (`os.fsdecode` makes a path of one).
    """

    def load(path):
        return to_float(resize(_read(path), img_size)), path

    files = tf.data.Dataset.from_tensor_slices(tf.constant([os.fsencode(path) for path in paths], tf.string))
    return _batched(files.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True), batch_size, False)


def reading(batches):
    """The batches one by one, with the files' errors in plain words.

    Args:
        batches: of `train_batches` or `test_batches`.

    Raises:
        OSError: a file cannot be read any more; names it.
    """
    try:
        yield from batches
    except tf.errors.OpError as error:
        words = error.message.partition("\n")[0]  # of a message that goes on with a traceback
        raise OSError(f"An image cannot be read any more: {words.partition('ValueError: ')[2] or words}.") from error


def _batched(examples, batch_size, drop_remainder):
    return examples.batch(batch_size, drop_remainder=drop_remainder).prefetch(tf.data.AUTOTUNE)


def _read(path):
    """The file's pixels, uint8 of shape [H, W, 3]. Pillow lets go of Python's lock while it decodes."""
    pixels = tf.numpy_function(lambda name: images.decode(os.fsdecode(name)), [path], tf.uint8)
    return tf.ensure_shape(pixels, (None, None, 3))
