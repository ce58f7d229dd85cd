"""TFLite files: one generator, in the number format of one's choice, with signatures `float`, `uint8` and `rgba`.

Each signature takes `image`, and gives `image` and `heatmap` (see `Signatures`).
"""

import contextlib
import io
import tempfile

import keras
import numpy as np
import tensorflow as tf

from ugatit_tf.export import metadata
from ugatit_tf.export.signatures import Signatures

KINDS = ("float32", "float16", "dynamic_range", "static_int8")
CHANNELS = {"float": 3, "uint8": 3, "rgba": 4}


def convert(generator, kind, size, description, images=None):
    """The bytes of a TFLite file.

    Args:
        generator: `ugatit_tf.models.Generator`, of any precision; it is left as it is.
        kind: `"float32"`; `"float16"`: weights in half the size; `"dynamic_range"`: int8 weights, and maps quantised as
            they come; `"static_int8"`: int8 convolutions, their maps quantised by ranges measured on `images`.
        size: (height, width), or None for any size and any batch.
        description: see `ugatit_tf.export.metadata.attach`.
        images: for `"static_int8"`, representative images, uint8 [N, height, width, 3].

    Raises:
        ValueError: an unknown kind, a size that the generator cannot take, or no images where they are needed.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; received {kind!r}.")
    if kind == "static_int8" and (images is None or not len(images)):
        raise ValueError("static_int8 needs representative images to measure the ranges of the maps on; received none.")
    content = _convert(generator, size, kind)
    if kind == "static_int8":
        content = quantize(content, images)
    return metadata.attach(content, description)


def _convert(generator, size, kind, names=tuple(CHANNELS)):
    generator = generator.copy()
    generator.suit_tflite()
    signatures = Signatures(generator, heatmaps=True)
    archive = keras.export.ExportArchive()
    for name in names:
        shape = (None, None, None, CHANNELS[name]) if size is None else (1, *size, CHANNELS[name])
        dtype = tf.float32 if name == "float" else tf.uint8
        archive.add_endpoint(name, getattr(signatures, name), [tf.TensorSpec(shape, dtype, name="image")])
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(names))
        if kind in ("float16", "dynamic_range"):
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if kind == "float16":
            converter.target_spec.supported_types = [tf.float16]
        return converter.convert()


def quantize(content, images, operations=("CONV_2D",)):
    """A float32 file with some of its operations in int8, with ranges measured beforehand.

    The norms between the convolutions stay float32: their statistics are what int8 hurts most, and the operations that
    they are made of have no fast int8 kernels (docs/export.md has the measurements).

    Args:
        content: bytes of the file.
        images: representative ones, uint8 [N, height, width, 3].
        operations: names of TFLite's operations, or "*" for all.
    """
    from litert_quantizer import qtyping, quantizer
    from litert_quantizer.calibrator import CalibrationMode

    tool = quantizer.Quantizer(bytearray(content))
    for name in operations:
        tool.add_static_config(
            regex=".*", operation_name=qtyping.TFLOperationName(name), activation_num_bits=8, weight_num_bits=8
        )
    samples = {name: [] for name in CHANNELS}
    for image in images:
        image = image[None]
        samples["uint8"].append({"image": image})
        samples["rgba"].append({"image": np.pad(image, [(0, 0)] * 3 + [(0, 1)], constant_values=255)})
        samples["float"].append({"image": np.asarray(image, np.float32) * np.float32(1 / 127.5) - 1})
    # The default mode keeps every map of every signature: at 256 px four times the memory, for the same ranges.
    ranges = tool.calibrate(samples, mode=CalibrationMode.CALIBRATION_PROFILER_BASED)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints sizes
        return bytes(tool.quantize(ranges).quantized_model)


def float_only(generator, size):
    """The float32 file with the signature `float` alone, which LiteRT can say of whether its kernels take it whole."""
    return _convert(generator, size, "float32", names=("float",))
