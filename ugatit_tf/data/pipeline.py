"""From image files to batches: decoding, resizing and augmentation in tf.data, off the training thread."""

import os

import numpy as np
import tensorflow as tf

from ugatit_tf.data import images
from ugatit_tf.data.records import Records

_FOREVER = np.iinfo(np.int64).max


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


def train_batches(dataset, model_config, train_config, start=0, share=(0, 1), fit="squeeze"):
    """Endless training batches, each a pure function of the seed, its number and the lists of files.

    Each domain is read in epochs of its own: every image once. The order of files is drawn from the seed, the domain
    and the epoch. Of records, the order of the shards is, and within a shard that of its images, from the shard, too.
    Flip and crop are drawn from the seed, the domain and the image's number.

    Args:
        dataset: `ugatit_tf.data.images.Dataset`.
        model_config: `ugatit_tf.ModelConfig`; `img_size` and `flavor` decide how far images are enlarged.
        train_config: `ugatit_tf.TrainConfig`; `batch_size`, `seed` and `augment_flag` are used.
        start: number of the first batch, from 0, to resume at.
        share: (index, count), for one of several workers: its rows of each batch, which are the `index`-th of `count`
            equal parts. Images of the others are not decoded.
        fit: what becomes of images that are not square, see `ugatit_tf.data.images.to_aspect`.

    Returns:
        `tf.data.Dataset` of (real_a, real_b), float32 of shape [batch_size / count, img_size, img_size, 3] in [-1, 1].
        A file that cannot be read any more raises a `tf.errors.OpError` that names it.

    Raises:
        ValueError: `start` is negative, a domain has no images, or there is no such share.
    """
    if start < 0:
        raise ValueError(f"start must be at least 0; received {start}.")
    batch, (worker, workers) = train_config.batch_size, share
    if not 0 <= worker < workers or batch % workers:
        raise ValueError(
            f"share must be (index, count), with an index below count and a count that divides batch_size ({batch}); "
            f"received {share}."
        )
    rows = batch // workers
    sources = []
    for domain, name in enumerate(("train_a", "train_b")):
        images_of_domain = getattr(dataset, name)
        if not images_of_domain:
            raise ValueError(f"{name} must have at least one image; received none. Use images.load_dataset.")
        if isinstance(images_of_domain, Records):
            numbered = _numbered_records(images_of_domain, domain, train_config.seed, start * batch)
            numbered = numbered.filter(lambda number, *_: number % batch // rows == worker)
        else:
            numbers = tf.data.Dataset.range(start * rows, _FOREVER)
            numbers = numbers.map(lambda own: own // rows * batch + worker * rows + own % rows)
            numbered = _numbered_files(images_of_domain, domain, train_config.seed, numbers)
        sources.append(numbered)

    def pair(*numbered):
        return tuple(
            _train_image(_read(fit, *file), number, domain, model_config, train_config)
            for domain, (number, *file) in enumerate(numbered)
        )

    examples = tf.data.Dataset.zip(*sources).map(pair, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return _batched(examples, rows, True)


def _order(seed, domain, epoch):
    """The seed of an epoch's order. The domain belongs in it: similar counts get similar orders from one seed."""
    return tf.stack([tf.constant(seed, tf.int64), 2 * epoch + domain])


def _shuffled(index, order, count):
    return tf.random.experimental.index_shuffle(index, order, tf.cast(count - 1, tf.int64))


def _numbered_files(paths, domain, seed, numbers):
    """(number, path) for the images of these numbers, counted in a domain since the training began."""
    names, count = tf.constant([os.fsencode(path) for path in paths]), len(paths)

    def choose(number):
        return number, names[_shuffled(number % count, _order(seed, domain, number // count), count)]

    return numbers.map(choose)


def _numbered_records(records, domain, seed, begin):
    """(number, name, content) for all images of a domain from number `begin` on."""
    counts = tf.constant(records.counts)
    shards = len(records.counts)

    def block(number):
        """Names and contents of the images in the shard that comes at this place since the training began."""
        order = _order(seed, domain, number // shards)
        shard = _shuffled(number % shards, order, shards)
        within = tf.random.experimental.stateless_fold_in(order, shard)
        places = _shuffled(tf.range(counts[shard]), within, counts[shard])
        names, contents = tf.numpy_function(records.read, [shard, places], (tf.string, tf.string))
        return tf.ensure_shape(names, [None]), tf.ensure_shape(contents, [None])

    epoch, passed = divmod(begin, len(records))
    order = _shuffled(tf.range(shards, dtype=tf.int64), _order(seed, domain, epoch), shards)
    ends = np.cumsum(records.counts[order])
    place = int(np.searchsorted(ends, passed, side="right"))
    into = passed - int(ends[place - 1] if place else 0)
    numbers = tf.data.Dataset.range(epoch * shards + place, _FOREVER)
    # One call at a time, and no buffer behind it: the shard in use and the next are in memory, and no other.
    blocks = numbers.map(block, num_parallel_calls=1, deterministic=True)
    return blocks.unbatch().skip(into).enumerate(begin).map(lambda number, file: (number, *file))


def _train_image(image, number, domain, model_config, train_config):
    """What becomes of the pixels of the `number`-th image of a domain since the training began."""
    size = model_config.img_size
    if not train_config.augment_flag:
        return to_float(resize(image, size))
    if model_config.flavor == "tf1":
        image = resize(image, size)
    extra = 15 if model_config.flavor == "tf1" and size != 256 else 30
    image = resize(image, size + extra)
    seed = tf.constant([train_config.seed, domain], tf.int64)
    draws = tf.random.experimental.stateless_fold_in(seed, number)
    flip, top, left = tf.unstack(tf.random.stateless_uniform([3], draws, alg="philox"))
    corner = tf.cast(tf.stack([top, left]) * (extra + 1), tf.int32)
    image = tf.slice(image, [corner[0], corner[1], 0], [size, size, 3])
    return to_float(tf.where(flip < 0.5, image[:, ::-1], image))


def test_batches(paths, img_size, batch_size=1, fit="squeeze"):  # noqa: PT028 (no test, but the test images)
    """The images of a list, once and in order, resized and nothing else.

    Args:
        paths: the files.
        img_size: side of the images in pixels.
        batch_size: images in a batch; the last may have fewer.
        fit: what becomes of images that are not square, see `ugatit_tf.data.images.to_aspect`.

    Returns:
        `tf.data.Dataset` of (images, paths): float32 of shape [N, img_size, img_size, 3] in [-1, 1], and strings of
        shape [N] (`os.fsdecode` makes a path of one).
    """

    def load(path):
        return to_float(resize(_read(fit, path), img_size)), path

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
        if "ValueError: " not in words:  # no file's error, but that of a device or of another worker
            raise
        raise OSError(f"An image cannot be read any more: {words.partition('ValueError: ')[2]}.") from error


def _batched(examples, batch_size, drop_remainder):
    return examples.batch(batch_size, drop_remainder=drop_remainder).prefetch(tf.data.AUTOTUNE)


def _read(fit, name, *content):
    """A file's pixels, uint8 of shape [H, W, 3]. Pillow lets go of Python's lock while it decodes.

    Args:
        fit: see `train_batches`.
        name: the path; or, where the content is given, what errors call it.
        content: the file's bytes.
    """

    def decode(name, *content):
        name = os.fsdecode(name)
        return images.to_aspect(images.decode(*content, name) if content else images.decode(name), fit)

    pixels = tf.numpy_function(decode, [name, *content], tf.uint8)
    return tf.ensure_shape(pixels, (None, None, 3))
