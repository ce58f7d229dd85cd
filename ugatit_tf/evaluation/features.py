"""Feature networks for KID, FID and the like: images in, features out.

Images are resized to the network's input (`ugatit_tf.data.pipeline.resize`: bilinear, antialiased), unless they have
that size. A network with a uint8 input then gets them rounded, 0 to 255; one with a float input gets x / 127.5 - 1, in
[-1, 1], as Inception and MobileNet expect. For another range, put a layer in front and save the whole:
`keras.Sequential([keras.Input((224, 224, 3)), keras.layers.Rescaling(127.5, 127.5), network]).save("features.keras")`
is for a network that wants [0, 255].
"""

import hashlib
import itertools
import os
import pathlib
import zipfile

import keras
import numpy as np
import tensorflow as tf

from ugatit_tf import environment
from ugatit_tf.data import pipeline

PREPROCESSING = 1  # part of every digest: to be raised when the same images would reach a network otherwise
SIZE = 224  # of a file's input where the file leaves it open, in pixels
_INPUTS = (tf.float32, tf.uint8)
_RANDOM_VERSION = 1
_RANDOM_SIZE = 128
_RANDOM_FILTERS = (32, 64, 64, 64)
_INCEPTION_FILE = "inception_v3_weights_tf_dim_ordering_tf_kernels.h5"  # as keras.applications calls it


def load_features(name):
    """Load a feature network.

    Args:
        name: `"random"`: fixed random convolutions, which need no download; `"inception"`: Keras's Inception-v3, which
            Keras fetches once; or the path of a `.keras` file, a SavedModel with the signature serving_default, or a
            `.tflite` file. A SavedModel is a program: load those alone that you trust.

    Returns:
        `FeatureNetwork`. A file's network has one input, float32 or uint8 [N, H, W, 3], of 224 px where it leaves the
        size open. Its output is the features, [N, D], or [N, h, w, D] to be averaged over h and w; a second output is
        class probabilities, [N, K]. Outputs with names are taken in the order of their names.

    Raises:
        FileNotFoundError: there is nothing at the path.
        OSError: the weights of `"inception"` cannot be fetched.
        ValueError: what is at the path is no such file, is damaged, is unsafe to load, or holds another network.
        ImportError: a `.tflite` file, and LiteRT is not installed.
    """
    if name == "random":
        return _random()
    if name == "inception":
        return _inception()
    path = pathlib.Path(name).absolute()
    if not path.exists():
        raise FileNotFoundError(f"There are no features {str(name)!r}: give random, inception or the path of a file.")
    if (path / "saved_model.pb").is_file():
        load, content = _saved_model, _folder_digest(path)
    elif path.is_file() and path.suffix in (".keras", ".tflite"):
        load, content = {".keras": _keras_file, ".tflite": _tflite}[path.suffix], _file_digest(path)
    else:
        raise ValueError(f"{path} is no .keras file, no .tflite file and no folder of a SavedModel.")
    note = f"The network in {path}: values compare only among runs scored with the same file."
    shape, dtype, run = load(path)
    return FeatureNetwork(path.name, note, content, _input_size(path, shape, dtype), dtype, run, path)


class FeatureNetwork:
    """A network that turns images into features.

    Args:
        name: what tables show.
        note: one sentence on what the values may be compared with.
        content: text that no other network has, a digest of its weights for example.
        size: (height, width) of the network's input.
        dtype: of its input, float32 or uint8.
        run: function, a batch of the input to the list of the outputs, arrays or tensors.
        source: what errors name, the path of a file for example.

    Attributes:
        digest: hexadecimal; another one whenever the features could be others.
        dimension: length of an image's features.

    Raises:
        ValueError: the network does not run, or its outputs are not those that `load_features` describes.
    """

    def __init__(self, name, note, content, size, dtype, run, source):
        self.name = name
        self.note = note
        self.digest = hashlib.sha256(f"preprocessing {PREPROCESSING} {content}".encode()).hexdigest()
        self.size = size
        self._dtype = tf.as_dtype(dtype)
        self._run = run
        self._source = source
        try:
            outputs = run(self._prepare(np.zeros((1, *size, 3), np.uint8)))
        except Exception as error:  # whatever a network of unknown origin can raise
            raise ValueError(f"{source} does not run on images of {size[0]} x {size[1]}: {_words(error)}.") from error
        features, probabilities = self._checked(outputs, 1)
        self.dimension = features.shape[1]
        if probabilities is not None and not (probabilities.min() >= 0 and abs(probabilities.sum() - 1) < 0.01):
            raise ValueError(
                f"{source} must have class probabilities as its second output, not negative and with the sum 1; "
                f"received the sum {probabilities.sum():.4g}, the least {probabilities.min():.4g}. Add a softmax, or "
                "save the network with the features alone."
            )

    def __call__(self, images):
        """Features of images.

        Args:
            images: uint8 [N, H, W, 3], of any H and W.

        Returns:
            (features, probabilities): float32 arrays [N, dimension] and [N, K], or None for the latter where the
            network has none.

        Raises:
            ValueError: `images` is something else.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not images.size:
            raise ValueError(f"images must be uint8 [N, H, W, 3]; received {images.dtype} {list(images.shape)}.")
        return self._checked(self._run(self._prepare(images)), len(images))

    def _prepare(self, images):
        if images.shape[1:3] != self.size:
            images = tf.stack([pipeline.resize(image, self.size) for image in images])
        if self._dtype == tf.uint8:
            return tf.cast(tf.round(tf.cast(images, tf.float32)), tf.uint8)
        return pipeline.to_float(images)

    def _checked(self, outputs, count):
        outputs = [np.asarray(output) for output in outputs]
        shapes = [output.shape for output in outputs]
        ranks = tuple(map(len, shapes))
        if ranks not in ((2,), (4,), (2, 2), (4, 2)) or any(shape[0] != count for shape in shapes):
            raise ValueError(
                f"{self._source} must give features, [N, D] or [N, h, w, D], and at most class probabilities, [N, K], "
                f"besides; for N = {count} it gave {', '.join(str(list(shape)) for shape in shapes) or 'nothing'}."
            )
        features = outputs[0] if ranks[0] == 2 else outputs[0].mean((1, 2), np.float64)
        return np.float32(features), np.float32(outputs[1]) if len(outputs) == 2 else None


def _random():
    """Four stages of random convolutions, and how strongly each stage's maps change from place to place.

    The features are the mean and deviation of each colour and, on a logarithmic scale, of the responses to each kernel
    less its mean, which flat parts do not reach. Means of the maps themselves tell little but brightness: photos and
    drawings of the same people (50 of the demo set) are 3 standard errors of KID apart by them, 12 by these.
    """
    draws = np.random.RandomState(0)  # the legacy generator: NumPy guarantees its stream, not that of the newer ones
    channels = (3, *_RANDOM_FILTERS)
    kernels = [
        np.float32(draws.standard_normal((3, 3, before, after)) * np.sqrt(2 / (9 * before)))  # He
        for before, after in itertools.pairwise(channels)
    ]
    with tf.device("CPU"):
        constants = [tf.constant(kernel) for kernel in kernels]

    @tf.function(input_signature=[tf.TensorSpec((None, _RANDOM_SIZE, _RANDOM_SIZE, 3), tf.float32)], autograph=False)
    def statistics(maps):
        with tf.device("CPU"):  # a GPU would round to TF32, and the values depend on the machine
            results = [tf.reduce_mean(maps, (1, 2)), tf.math.reduce_std(maps, (1, 2))]
            for kernel in constants:
                contrasts = kernel - tf.reduce_mean(kernel, (0, 1), keepdims=True)
                responses = tf.nn.conv2d(maps, contrasts, strides=1, padding="VALID")
                strengths = tf.reduce_mean(tf.abs(responses), (1, 2)), tf.math.reduce_std(responses, (1, 2))
                # 0.03 is below what grain and antialiasing give; 1 puts the logarithms around 0.
                results += [1.0 + tf.math.log(0.03 + strength) for strength in strengths]
                maps = tf.nn.relu(tf.nn.conv2d(maps, kernel, strides=2, padding=[[0, 0], [1, 1], [1, 1], [0, 0]]))
            return tf.concat(results, -1)

    return FeatureNetwork(
        "random-conv",
        "Fixed random convolutions (seed 0), not Inception: values compare only with each other.",
        f"random {_RANDOM_VERSION} {_arrays_digest(kernels)}",
        (_RANDOM_SIZE, _RANDOM_SIZE),
        tf.float32,
        lambda images: [statistics(images)],
        "random",
    )


def _inception():
    try:
        with environment.keras_defaults():
            network = keras.applications.InceptionV3(weights="imagenet")
    except Exception as error:  # Keras raises a bare Exception when a download fails, urllib and ssl what they like
        path = os.path.join(_keras_folder(), "models", _INCEPTION_FILE)
        raise OSError(
            f"The ImageNet weights of Inception-v3 could not be fetched ({_words(error)}). They belong in {path}: "
            "run this once with a connection, copy that file from another machine, or use the features random or a "
            "network of your own."
        ) from error
    model = keras.Model(network.input, [network.get_layer("avg_pool").output, network.output])
    shape, dtype, run = _keras_model(model)
    return FeatureNetwork(
        "inception-v3-imagenet",
        "Keras's ImageNet Inception-v3, not the network of published FID and KID figures: do not compare with them.",
        f"inception {_arrays_digest(model.get_weights())}",
        shape[1:3],
        dtype,
        run,
        "inception",
    )


def _keras_folder():
    """Where Keras keeps what it fetches; Keras has no public name for it."""
    home = os.path.expanduser("~")
    folder = os.environ.get("KERAS_HOME", os.path.join(home if os.access(home, os.W_OK) else "/tmp", ".keras"))
    folder = os.path.expanduser(folder)
    return folder if os.access(folder, os.W_OK) else os.path.join("/tmp", ".keras")


def _keras_file(path):
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is damaged, or no .keras file.")
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # of zipfile, json, h5py or Keras
        if "safe_mode" in str(error):
            raise ValueError(
                f"{path} is unsafe and was not loaded: it has Python code in it, a Lambda layer's as a rule. Save the "
                "network with other layers."
            ) from error
        raise ValueError(
            f"{path} cannot be loaded: it is damaged, or has layers of its own. Keras says: {_words(error)}."
        ) from error
    return _keras_model(model, path)


def _keras_model(model, path=None):
    inputs = getattr(model, "inputs", None) or []
    if len(inputs) != 1:
        raise ValueError(f"{path} must have one input; received {len(inputs)}.")
    shape, dtype = tuple(inputs[0].shape), tf.as_dtype(inputs[0].dtype)

    @tf.function(input_signature=[tf.TensorSpec(shape, dtype)], autograph=False)
    def run(images):
        return tf.nest.flatten(model(images, training=False))

    return shape, dtype, _by_batch_size(run, shape)


def _saved_model(path):
    try:
        model = tf.saved_model.load(str(path))
    except Exception as error:  # of protobuf or TensorFlow
        raise ValueError(f"{path} cannot be loaded: it is damaged. TensorFlow says: {_words(error)}.") from error
    if "serving_default" not in model.signatures:
        names = ", ".join(sorted(model.signatures)) or "none"
        raise ValueError(f"{path} must have the signature serving_default; received {names}.")
    inputs = model.signatures["serving_default"].structured_input_signature[1]
    if len(inputs) != 1:
        raise ValueError(f"{path} must have one input; received {', '.join(sorted(inputs)) or 'none'}.")
    ((name, spec),) = inputs.items()

    def run(images):  # from the model each time: signatures do not keep their variables alive
        return tf.nest.flatten(model.signatures["serving_default"](**{name: images}))

    shape = tuple(spec.shape) if spec.shape.rank is not None else None
    return shape, spec.dtype, _by_batch_size(run, shape)


def _tflite(path):
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ImportError(f"{path} needs LiteRT: {environment.install_hint('export')}.") from error
    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        raise ValueError(f"{path} is damaged, or no TFLite file.")
    try:
        interpreter = Interpreter(model_content=content, num_threads=os.cpu_count())
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be loaded: it is damaged. LiteRT says: {_words(error)}.") from error
    signatures = interpreter.get_signature_list()
    if len(inputs) != 1 or len(signatures) > 1:
        raise ValueError(
            f"{path} must have one input and one signature at most; received {len(inputs)} and {len(signatures)}."
        )
    if signatures:
        named = interpreter.get_signature_runner().get_output_details()
        outputs = [named[name] for name in sorted(named)]
    place, shape = inputs[0]["index"], tuple(int(side) if side >= 0 else None for side in inputs[0]["shape_signature"])

    def run(image):
        image = image.numpy()
        interpreter.resize_tensor_input(place, image.shape)
        with environment.quiet():  # XNNPACK says that it is there
            interpreter.allocate_tensors()
        interpreter.set_tensor(place, image)
        interpreter.invoke()
        return [_dequantised(interpreter.get_tensor(output["index"]), output) for output in outputs]

    return shape, tf.as_dtype(inputs[0]["dtype"]), _one_by_one(run)


def _dequantised(values, details):
    scale, zero = details["quantization"]  # scale is 0 where values are what they are
    return (np.float32(values) - zero) * np.float32(scale) if scale else values


def _by_batch_size(run, shape):
    """`run`, image by image where the network takes no more."""
    return _one_by_one(run) if shape and shape[0] == 1 else run


def _one_by_one(run):
    def run_all(images):
        parts = [run(images[index : index + 1]) for index in range(len(images))]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    return run_all


def _input_size(path, shape, dtype):
    """(height, width) of the images for an input of this shape and type, where it is one for images."""
    if shape is None or len(shape) != 4 or shape[0] not in (None, 1) or shape[3] != 3 or dtype not in _INPUTS:
        raise ValueError(
            f"{path} must take float32 or uint8 [N, H, W, 3] of any N; received {dtype.name} "
            f"{'of any shape' if shape is None else list(shape)}."
        )
    return shape[1] or SIZE, shape[2] or SIZE


def _file_digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folder_digest(path):
    files = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
    return hashlib.sha256("\n".join(f"{_file_digest(file)} {name}" for name, file in files).encode()).hexdigest()


def _arrays_digest(arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape} ".encode() + array.tobytes())
    return digest.hexdigest()


def _words(error):
    """What an error says, its first sentence; of a long one of Keras's or TensorFlow's, that with the cause."""
    text = str(error)
    for heading in ("Exception encountered: ", "<stack traces unavailable>"):
        text = text.rpartition(heading)[2]
    line = text.strip().partition("\n")[0].rpartition("}} ")[2]  # behind {{function_node ...}}
    return line.partition(". ")[0].rstrip(".") or type(error).__name__
