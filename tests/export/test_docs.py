"""The lines of docs/export.md that call exported files from Python, run as they stand."""

import pathlib
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from ugatit_tf.export import saved_model

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "export.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


@pytest.fixture
def photo(tmp_path, monkeypatch):
    """A JPEG file of smooth colours where the lines expect it; returns what is in it, uint8 [32, 32, 3]."""
    monkeypatch.chdir(tmp_path)
    ramp = np.linspace(0, 255, 32)
    pixels = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], ramp[::-1, None]), axis=-1)
    Image.fromarray(pixels.astype(np.uint8)).save("photo.jpg", quality=95)
    return np.asarray(Image.open("photo.jpg"))


def assert_translated(generator, photo):
    """The file that the lines wrote holds the generator's translation."""
    expected = generator(photo[None] / np.float32(127.5) - 1, training=False)[0][0]
    found = np.asarray(Image.open("translated.png"))
    assert np.abs(found - np.rint((expected + 1) * 127.5)).max() <= 1
    assert np.abs(found - photo.astype(int)).mean() > 5


def test_tflite_in_python(photo, tiny_generator, tiny_tflite):
    shutil.copy(tiny_tflite, "ugatit_a2b_dynamic_range.tflite")
    exec(blocks("python")[0], {})
    generator = tiny_generator.copy()
    generator.suit_tflite()
    assert_translated(generator, photo)


def test_a_saved_model_in_python(photo, tiny_generator, description):
    saved_model.write("ugatit_a2b/1", tiny_generator, "ugatit_a2b", description)
    exec(blocks("python")[1], {})
    assert_translated(tiny_generator, photo)


def test_the_document_has_no_other_lines():
    assert (len(blocks("python")), len(blocks("javascript"))) == (2, 1)  # the latter runs in tests/web
