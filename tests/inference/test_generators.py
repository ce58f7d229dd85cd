"""One generator, by every file that can hold it."""

import dataclasses
import pathlib

import numpy as np
import pytest

from ugatit_tf import UGATIT, ModelConfig
from ugatit_tf.export import saved_model, tflite
from ugatit_tf.inference import generators
from ugatit_tf.inference.generators import find_export, load_generator


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


def test_a_tflite_file(tiny_generator, tiny_tflite, image):
    compare(load_generator(tiny_tflite), tiny_generator, image)


def test_a_saved_model_by_its_folder_and_the_newest_version_by_its_parents(tiny_generator, image, tmp_path):
    description = {"model": {"img_size": 32}}
    other = tiny_generator.copy()
    other.trainable_variables[0].assign_add(other.trainable_variables[0])
    for version, generator in (("9", other), ("10", tiny_generator)):
        saved_model.write(tmp_path / "model" / version, generator, "m", description)
    compare(load_generator(tmp_path / "model" / "10"), tiny_generator, image)
    compare(load_generator(tmp_path / "model"), tiny_generator, image)


def test_a_checkpoint_by_direction(tmp_path, image):
    model = UGATIT(ModelConfig(flavor="pytorch", light=True, ch=2, n_res=1, n_dis=4, img_size=32))
    model.save_pt(tmp_path / "x.pt")
    generator = load_generator(tmp_path / "x.pt", "b2a")
    assert generator.size == 256  # an official light checkpoint does not tell
    generator.size = 32
    compare(generator, model.gen_b2a, image)


@pytest.fixture(scope="module")
def exports(tiny_generator, tmp_path_factory):
    """A TFLite file of any size and a SavedModel, as `ugatit export` describes them."""
    folder = tmp_path_factory.mktemp("exports")
    model = {"img_size": 32, "light": True}
    described = {"label": "x", "licence": "", "version": "", "direction": "a2b", "model": model}
    (folder / "a2b.tflite").write_bytes(tflite.convert(tiny_generator, "float32", None, described))
    saved_model.write(folder / "a2b", tiny_generator, "m", described)
    return folder / "a2b.tflite", folder / "a2b"


def test_an_export_of_the_other_direction_is_refused(exports, tiny_tflite):
    """A run holds both generators, an export one, and says which."""
    for path in exports:
        with pytest.raises(ValueError, match=r"a2b.* translates a2b, as its metadata says, not b2a"):
            load_generator(path, "b2a")
        assert load_generator(path, "a2b").size == 32
    assert load_generator(tiny_tflite, "b2a").size == 32  # does not say its direction


def test_any_size(exports, tiny_generator):
    """A light generator gives a wide image what Keras gives."""
    wide = np.random.default_rng(1).integers(0, 256, (24, 40, 3), np.uint8)
    for path in exports:
        loaded = load_generator(path)
        assert loaded.any_size
        compare(loaded, tiny_generator, wide)
        compare(loaded, tiny_generator, wide[:16, :16])  # and then another one


def test_a_full_generator_in_a_file_of_any_size(exports, monkeypatch):
    """Such a file has no size, and takes one all the same."""
    monkeypatch.setattr(generators, "_description", lambda content: {"model": {"img_size": 32, "light": False}})
    loaded = load_generator(exports[0])
    assert (loaded.size, loaded.any_size) == (32, False)


def test_one_size(tiny_tflite):
    """By a file's shape; and by a configuration as the networks themselves have it."""
    assert not load_generator(tiny_tflite).any_size
    for light, norm, any_size in ((False, "adalin", False), (True, "adalin", True), (False, "in", True)):
        config = ModelConfig(light=light, norm=norm, ch=2, n_res=1, n_dis=4, img_size=24)
        assert generators._takes_any_size(dataclasses.asdict(config)) == any_size
        assert (UGATIT(config).gen_a2b.fixed_size is None) == any_size


def compare(loaded, generator, image):
    assert loaded.size == 32
    expected, _, expected_heatmap = generator(np.float32(image[None] / 127.5 - 1), training=False)
    result, heatmap = loaded(image)
    assert (result.dtype, result.shape) == (np.uint8, image.shape)
    assert np.abs(result - (expected.numpy()[0] + 1) * 127.5).max() <= 1.01
    np.testing.assert_allclose(heatmap, expected_heatmap.numpy()[0, ..., 0], rtol=1e-3, atol=1e-4)


def test_what_counts_as_an_export(tmp_path):
    for version in ("9", "10", "notes"):
        (tmp_path / "model" / version).mkdir(parents=True)
        (tmp_path / "model" / version / "saved_model.pb").touch()
    (tmp_path / "model" / "11").mkdir()  # nothing in it
    (tmp_path / "runs" / "2024").mkdir(parents=True)
    assert find_export(tmp_path / "model") == tmp_path / "model" / "10"
    assert find_export(tmp_path / "model" / "9") == tmp_path / "model" / "9"
    assert find_export("x.tflite") == pathlib.Path("x.tflite")
    for path in (tmp_path / "runs", tmp_path / "none", tmp_path / "model" / "11"):
        assert find_export(path) is None


def test_what_is_none(tmp_path, tiny_generator, tiny_tflite):
    with pytest.raises(FileNotFoundError):
        load_generator(tmp_path / "missing.tflite")
    (tmp_path / "text.tflite").write_text("hello, this is not a model")
    with pytest.raises(ValueError, match=r"text.tflite is damaged, or no TFLite file"):
        load_generator(tmp_path / "text.tflite")
    (tmp_path / "short.tflite").write_bytes(tiny_tflite.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"short.tflite cannot be used: it is damaged"):
        load_generator(tmp_path / "short.tflite")
    (tmp_path / "wide.tflite").write_bytes(
        tflite.convert(tiny_generator, "float32", (16, 24), {"label": "", "licence": "", "version": ""})
    )
    with pytest.raises(ValueError, match="takes images of 16 x 24: export one for squares"):
        load_generator(tmp_path / "wide.tflite")


def test_a_detector_is_no_generator():
    from ugatit_tf.inference.faces import detector_file

    with pytest.raises(ValueError, match="was not written by ugatit export"):
        load_generator(detector_file())


def test_a_foreign_saved_model(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ValueError, match=r"its ugatit.json cannot be read"):
        load_generator(tmp_path)
