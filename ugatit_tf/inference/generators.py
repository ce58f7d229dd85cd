"""A generator for photos, from whatever holds one: a TFLite file, a SavedModel, a run, an official checkpoint.

A TFLite file needs LiteRT alone; TensorFlow is imported for the others only.
"""

import json
import pathlib
import re

import numpy as np

from ugatit_tf import environment
from ugatit_tf.data.images import to_uint8

_DESCRIPTION = re.compile(rb'\{"label": ')  # the beginning of the JSON that `ugatit export` puts into a TFLite file


def find_export(path):
    """The TFLite file or SavedModel that a path means, of a model with versions the newest; None if it means none."""
    path = pathlib.Path(path)
    if path.suffix == ".tflite":
        return path
    versions = [file.parent for file in path.glob("*/saved_model.pb") if file.parent.name.isdigit()]
    newest = max(versions, key=lambda folder: int(folder.name), default=path)
    return newest if (newest / "saved_model.pb").is_file() else None


def load_generator(path, direction=None, threads=2):
    """Load a generator.

    Args:
        path: of a TFLite file or SavedModel that `ugatit export` wrote (of a folder with versions the newest is taken),
            of a run, or of what `UGATIT.load` takes.
        direction: `"a2b"` or `"b2a"`, which of a run's or checkpoint's generators; exports hold one. None: a2b, or the
            export's.
        threads: for TFLite.

    Returns:
        A function, uint8 [size, size, 3] to the translation, the same, and the heatmap, float32 [size/4, size/4], or
        None where the file has none. Its attribute `size` is that of the images in training. If `any_size`, it takes
        any height and width that are multiples of 4, at least 8.

    Raises:
        OSError: there is nothing at `path`.
        ValueError: it is nothing that holds a generator, or is damaged, or an export of the other direction.
    """
    exported = find_export(path)
    if exported is None:
        return _Trained(pathlib.Path(path), direction or "a2b")
    return _TFLite(exported, direction, threads) if exported.suffix == ".tflite" else _SavedModel(exported, direction)


def _check_direction(path, description, wanted):
    """Refuse an export of the other direction; one that does not say its own is taken as it is."""
    own = description.get("direction")
    if None not in (own, wanted) and own != wanted:
        raise ValueError(
            f"{path} translates {own}, as its metadata says, not {wanted}: name the export for {wanted}, or leave the "
            "direction out."
        )


class _TFLite:
    def __init__(self, path, direction, threads):
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
        description = _description(content)
        _check_direction(path, description, direction)
        height, width = int(shape[1]), int(shape[2])
        model = description.get("model", {"img_size": 256, "light": True})  # what a file without a description may be
        self.any_size = height < 0 and _takes_any_size(model)  # a full generator's file has no size, either
        self.size = model["img_size"] if height < 0 else height
        if height != width:
            raise ValueError(
                f"{path} takes images of {height} x {width}: export one for squares, with --size 256, say."
            )

    def __call__(self, image):
        results = self._runner(image=image[None])
        return results["image"][0], results["heatmap"][0, ..., 0] if "heatmap" in results else None


def _description(content):
    """What a TFLite file says of itself; nothing if it is not from `ugatit export`.

    The JSON is found by its beginning: reading the file's tables needs more packages (see `ugatit_tf.export.metadata`).
    """
    for found in _DESCRIPTION.finditer(content):
        try:
            text = content[found.start() : found.start() + 65536].decode("utf-8", "replace")
            return json.JSONDecoder().raw_decode(text)[0]
        except ValueError:
            continue
    return {}


class _SavedModel:
    def __init__(self, path, direction):
        import tensorflow as tf

        try:
            description = json.loads((path / "ugatit.json").read_text())
            model = description["model"]
            self.size = model["img_size"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} was not written by ugatit export: its ugatit.json cannot be read.") from error
        _check_direction(path, description, direction)
        self.any_size = _takes_any_size(model)
        self._model = tf.saved_model.load(str(path))  # kept: signatures do not keep their variables alive
        self._signature = self._model.signatures["heatmap"]
        self._constant = tf.constant

    def __call__(self, image):
        results = self._signature(image=self._constant(image[None]))
        return results["image"].numpy()[0], results["heatmap"].numpy()[0, ..., 0]


def _takes_any_size(model):
    """Whether a generator has no `fixed_size`, by its `ModelConfig` as a dict, of which fields may be missing."""
    free = model.get("architecture") == "cyclegan" or model.get("norm") in ("in", "ln", "gn")
    return free or bool(model.get("light"))


class _Trained:
    def __init__(self, path, direction):
        from ugatit_tf.ugatit import UGATIT

        model = UGATIT.load(path)
        self.size = model.config.img_size
        self._generator = getattr(model, f"gen_{direction}")
        self.any_size = self._generator.fixed_size is None

    def __call__(self, image):
        result, _, heatmap = self._generator(np.float32(image[None]) / np.float32(127.5) - 1, training=False)
        return to_uint8(result[0]), np.asarray(heatmap, np.float32)[0, ..., 0]
