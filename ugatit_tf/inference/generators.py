"""A generator for photos, from whatever holds one: a TFLite file, a SavedModel, a run, an official checkpoint.

A TFLite file needs LiteRT alone; TensorFlow is imported for the others only.
"""

import json
import pathlib

import numpy as np

from ugatit_tf import environment
from ugatit_tf.data.images import to_uint8


def load_generator(path, direction="a2b", threads=2):
    """Load a generator.

    Args:
        path: of a TFLite file or SavedModel that `ugatit export` wrote (of a folder with versions the newest is taken),
            of a run, or of what `UGATIT.load` takes.
        direction: `"a2b"` or `"b2a"`, which of a run's or checkpoint's generators; exports hold one.
        threads: for TFLite.

    Returns:
        A function, uint8 [size, size, 3] to the translation, the same, and the heatmap, float32 [size/4, size/4], or
        None where the file has none. Its attribute `size` is that of the images.

    Raises:
        OSError: there is nothing at `path`.
        ValueError: it is nothing that holds a generator, or is damaged.
    """
    path = pathlib.Path(path)
    if path.suffix == ".tflite":
        return _TFLite(path, threads)
    versions = [folder for folder in path.glob("*/") if folder.name.isdigit()] if path.is_dir() else []
    if versions:
        path = max(versions, key=lambda folder: int(folder.name))
    if (path / "saved_model.pb").is_file():
        return _SavedModel(path)
    return _Trained(path, direction)


class _TFLite:
    def __init__(self, path, threads):
        from ai_edge_litert.interpreter import Interpreter

        content = path.read_bytes()
        if content[4:8] != b"TFL3":
            raise ValueError(f"{path} is damaged, or no TFLite file: write it anew with ugatit export.")
        try:
            with environment.quiet():  # XNNPACK says that it is there
                self._runner = Interpreter(model_content=content, num_threads=threads).get_signature_runner("uint8")
            shape = self._runner.get_input_details()["image"]["shape_signature"]
        except (ValueError, RuntimeError, KeyError) as error:
            raise ValueError(
                f"{path} cannot be used: it is damaged, or was not written by ugatit export. LiteRT says: {error}"
            ) from error
        height, width = int(shape[1]), int(shape[2])
        if height != width or height < 0:
            sizes = "images of any size" if height < 0 else f"images of {height} x {width}"
            raise ValueError(
                f"{path} takes {sizes}: export one for squares, without --dynamic and with --size 256, say."
            )
        self.size = height

    def __call__(self, image):
        results = self._runner(image=image[None])
        return results["image"][0], results["heatmap"][0, ..., 0] if "heatmap" in results else None


class _SavedModel:
    def __init__(self, path):
        import tensorflow as tf

        try:
            self.size = json.loads((path / "ugatit.json").read_text())["model"]["img_size"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} was not written by ugatit export: its ugatit.json cannot be read.") from error
        self._model = tf.saved_model.load(str(path))  # kept: signatures do not keep their variables alive
        self._signature = self._model.signatures["heatmap"]
        self._constant = tf.constant

    def __call__(self, image):
        results = self._signature(image=self._constant(image[None]))
        return results["image"].numpy()[0], results["heatmap"].numpy()[0, ..., 0]


class _Trained:
    def __init__(self, path, direction):
        from ugatit_tf.ugatit import UGATIT

        model = UGATIT.load(path)
        self.size = model.config.img_size
        self._generator = getattr(model, f"gen_{direction}")

    def __call__(self, image):
        result, _, heatmap = self._generator(np.float32(image[None]) / np.float32(127.5) - 1, training=False)
        return to_uint8(result[0]), np.asarray(heatmap, np.float32)[0, ..., 0]
