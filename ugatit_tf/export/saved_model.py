"""SavedModels: one generator and nothing else, as TF Serving loads it."""

import json
import os
import pathlib

import keras
import numpy as np
import tensorflow as tf

from ugatit_tf.export.signatures import MAX_PIXELS, Signatures

_IMAGE = (None, None, None, 3)
_INPUTS = {
    "serving_default": tf.TensorSpec(_IMAGE, tf.uint8, name="image"),
    "float": tf.TensorSpec(_IMAGE, tf.float32, name="image"),
    "encoded": tf.TensorSpec((None,), tf.string, name="image_bytes"),
    "heatmap": tf.TensorSpec(_IMAGE, tf.uint8, name="image"),
}


def write(folder, generator, name, description, max_pixels=MAX_PIXELS):
    """Write a SavedModel.

    Signatures: `serving_default`, `float`, `encoded` and `heatmap` (see `Signatures`, where the first is `uint8`).
    Beside it: `ugatit.json`, the description; `assets.extra/tf_serving_warmup_requests`, one request for each
    signature, which TF Serving plays before it answers the first client.

    Args:
        folder: to be made.
        generator: `ugatit_tf.models.Generator`, of any precision.
        name: of the model, as TF Serving is to know it.
        description: what `ugatit.json` says.
        max_pixels: of an image that `encoded` decodes.
    """
    folder = pathlib.Path(folder)
    signatures = Signatures(generator.copy(), max_pixels)
    archive = keras.export.ExportArchive()  # without `track`, which would store every weight a second time
    for key, spec in _INPUTS.items():
        archive.add_endpoint(key, getattr(signatures, "uint8" if key == "serving_default" else key), [spec])
    archive.write_out(str(folder), verbose=False)
    (folder / "ugatit.json").write_text(json.dumps(description, indent=2) + "\n")
    (folder / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(folder / "assets.extra" / "tf_serving_warmup_requests")) as writer:
        for log in _warmup_requests(name, generator.img_size):
            writer.write(log.SerializeToString())


def _warmup_requests(name, size):
    """A PredictionLog for each signature, with a plain grey image."""
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    grey = np.full((1, size, size, 3), 128, np.uint8)
    for key, spec in _INPUTS.items():
        if spec.dtype == tf.string:
            value = tf.constant([tf.io.encode_png(grey[0]).numpy()])
        else:
            value = tf.cast(grey, spec.dtype) / 128 - 1 if spec.dtype == tf.float32 else tf.constant(grey)
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = name, key
        request.inputs[spec.name].CopyFrom(tf.make_tensor_proto(value))
        yield prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))


def publish(staged, model_dir):
    """Move a finished SavedModel to the next version of a model, by one rename.

    A server that watches `model_dir` looks at folders with a number for a name only, so it never sees half a model.

    Args:
        staged: the SavedModel, on the same file system.
        model_dir: holds the versions `1`, `2`, ...; made if missing.

    Returns:
        The version's folder.
    """
    model_dir = pathlib.Path(model_dir)
    model_dir.mkdir(parents=True, exist_ok=True)
    versions = [int(path.name) for path in model_dir.iterdir() if path.name.isdigit()]
    published = model_dir / str(max(versions, default=0) + 1)
    os.rename(staged, published)
    return published
