"""Official checkpoints that are not what they should be: errors name the entries, nothing is loaded by halves."""

import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

import ugatit_tf
from ugatit_tf.weights import pytorch, tf1
from ugatit_tf.weights.official import Entry, assign
from ugatit_tf.weights.torch_file import read_torch_file

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


class Variable:
    """A stand-in for a network's variable."""

    def __init__(self, shape):
        self.shape = shape
        self.value = np.zeros(shape)

    def assign(self, value):
        self.value = value


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.ones(2)}, "missing: b"),
        ({"a": np.ones(2), "b": np.ones(3), "c": np.ones(1)}, "surplus: c"),
        ({"a": np.ones(2), "b": np.ones(4)}, r"misshapen: b has shape \(4,\), for \(3,\) here"),
        ({"a": np.ones(2), "b": np.array([1.0, np.nan, 1.0])}, "not finite numbers: b"),
        ({"a": np.ones(2), "b": np.array(["x", "y", "z"])}, "not finite numbers: b"),
    ],
)
def test_assign_is_all_or_nothing(arrays, message):
    a, b = Variable((2,)), Variable((3,))
    with pytest.raises(ValueError, match=message):
        assign([Entry("a", a), Entry("b", b)], arrays, "file")
    assert not a.value.any()
    assert not b.value.any()


def _load_changed(monkeypatch, change):
    def read(path):
        state = read_torch_file(path)
        change(state)
        return state

    monkeypatch.setattr(pytorch, "read_torch_file", read)
    return ugatit_tf.UGATIT.load(GOLDEN / "pytorch_light" / "params_0000000.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["disLB"].pop("conv1x1.bias"), "missing: disLB/conv1x1.bias"),
        (lambda s: s["genB2A"].update(extra=np.ones(1)), "surplus: genB2A/extra"),
        (lambda s: s["genA2B"].update({"gamma.weight": np.ones((3, 3))}), "misshapen: genA2B/gamma.weight"),
        (lambda s: s.pop("genA2B"), "holds no entry 'genA2B/DownBlock.1.weight'"),
    ],
)
def test_changed_pt_is_refused_by_name(monkeypatch, change, message):
    with pytest.raises(ValueError, match=message):
        _load_changed(monkeypatch, change)


@pytest.mark.parametrize(
    "checkpoint",
    [
        "pytorch_light/params_0000000.pt",
        "pytorch_full/params_0000000.pt",
        "tf1_light/UGATIT_light.model-1",
        "tf1_full/UGATIT.model-1",
    ],
)
def test_every_layout_and_its_inverse_are_exact(checkpoint):
    """Numbered elements, so that none may change its place: official to ours and back, ours to official and back."""
    model = ugatit_tf.UGATIT.load(GOLDEN / checkpoint)
    if checkpoint.endswith(".pt"):
        entries, states = pytorch.entries(model.networks), read_torch_file(GOLDEN / checkpoint)
        shapes = {
            f"{network}/{name}": array.shape for network, state in states.items() for name, array in state.items()
        }
        assert [entry.name for entry in pytorch.entries(model.networks)] == list(shapes)
    else:
        entries = tf1.entries(model.networks)
        shapes = tf.train.load_checkpoint(str(GOLDEN / checkpoint)).get_variable_to_shape_map()
    for entry in entries:
        official = np.arange(np.prod(shapes[entry.name])).reshape(shapes[entry.name])
        ours = official.reshape(entry.variable.shape)
        there = entry.layout.to_ours(official)
        assert there.shape == ours.shape, entry.name
        np.testing.assert_array_equal(entry.layout.to_official(there), official, strict=True, err_msg=entry.name)
        there = entry.layout.to_official(ours)
        np.testing.assert_array_equal(entry.layout.to_ours(there), ours, strict=True, err_msg=entry.name)


@pytest.mark.parametrize(
    ("checkpoint", "size"), [("pytorch_full/params_0000000.pt", 128), ("tf1_full/UGATIT.model-1", 128)]
)
def test_what_the_weights_show_cannot_be_told_otherwise(checkpoint, size):
    assert ugatit_tf.UGATIT.load(GOLDEN / checkpoint, img_size=size).config.img_size == size
    with pytest.raises(ValueError, match=rf"shows by its weights that img_size is {size}; received .*96"):
        ugatit_tf.UGATIT.load(GOLDEN / checkpoint, img_size=96)
    with pytest.raises(ValueError, match="No field of ModelConfig: smooting"):
        ugatit_tf.UGATIT.load(GOLDEN / checkpoint, smooting=False)


def test_truncated_pt_is_refused(tmp_path):
    path = tmp_path / "short.pt"
    path.write_bytes((GOLDEN / "pytorch_light" / "params_0000000.pt").read_bytes()[:300_000])
    with pytest.raises(ValueError, match=r"short\.pt"):
        ugatit_tf.UGATIT.load(path)


@pytest.mark.parametrize("damage", ["data cut", "data missing", "index cut"])
def test_damaged_tf1_checkpoint_is_refused(tmp_path, damage):
    prefix = tmp_path / "UGATIT_light.model-1"
    for suffix in (".index", ".data-00000-of-00001"):
        shutil.copyfile(GOLDEN / "tf1_light" / f"{prefix.name}{suffix}", f"{prefix}{suffix}")
    data, index = (pathlib.Path(f"{prefix}{suffix}") for suffix in (".data-00000-of-00001", ".index"))
    if damage == "data missing":
        data.unlink()
    else:
        victim = data if damage == "data cut" else index
        victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 3])
    with pytest.raises(ValueError, match="not a readable TensorFlow checkpoint"):
        ugatit_tf.UGATIT.load(prefix)


def test_smoothing_is_what_the_weights_cannot_show():
    prefix = GOLDEN / "tf1_light" / "UGATIT_light.model-1"
    smooth, plain = (ugatit_tf.UGATIT.load(prefix, smoothing=s).gen_a2b for s in (True, False))
    images = np.load(GOLDEN / "tf1_light" / "golden.npz")["real_A"][:1]
    assert smooth.decoder_blocks[0].norm1.smoothing
    assert not plain.decoder_blocks[0].norm1.smoothing
    assert not np.allclose(smooth(images)[0], plain(images)[0], atol=1e-3)


def test_a_loaded_model_of_any_kind_comes_back_from_arrays():
    """The official weights, written as ours and taken again by a fresh model, give the same images."""
    model = ugatit_tf.UGATIT.load(GOLDEN / "pytorch_full" / "params_0000000.pt")
    fresh = ugatit_tf.UGATIT(model.config, seed=3)
    fresh.set_arrays(model.arrays(), "memory")
    images = np.load(GOLDEN / "pytorch_full" / "golden.npz")["real_A"][:1]
    np.testing.assert_array_equal(model.gen_a2b(images)[0], fresh.gen_a2b(images)[0])
