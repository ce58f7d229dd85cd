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
from ugatit_tf.weights.torch_writer import write_torch_file

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


@pytest.fixture
def states():
    return read_torch_file(GOLDEN / "pytorch_light" / "params_0000000.pt")


def _expected(*names):
    arrays = ugatit_tf.UGATIT.load(GOLDEN / "pytorch_light" / "params_0000000.pt").arrays()
    return {name: array for name, array in arrays.items() if name.startswith(names)}


def _prefixed(states, prefix):
    return {network: {f"{prefix}{name}": array for name, array in state.items()} for network, state in states.items()}


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."])
def test_names_of_wrapped_networks(tmp_path, states, prefix):
    """nn.DataParallel and torch.compile put a prefix before every name."""
    write_torch_file(tmp_path / "x.pt", _prefixed(states, prefix))
    model = ugatit_tf.UGATIT.load(tmp_path / "x.pt")
    assert not model.missing
    for name, array in _expected("gen", "dis").items():
        np.testing.assert_array_equal(model.arrays()[name], array)


@pytest.mark.parametrize("size", [None, 24, 48, 64])
def test_generators_alone(tmp_path, states, size):
    """With an n_dis that fits the size; what needs a discriminator says that it is missing."""
    write_torch_file(tmp_path / "x.pt", {name: state for name, state in states.items() if name.startswith("gen")})
    model = ugatit_tf.UGATIT.load(tmp_path / "x.pt", **({"img_size": size} if size else {}))
    assert (model.config.img_size, model.config.n_dis) == (size or 256, {24: 4, 48: 5, 64: 5}.get(size, 6))
    assert list(model.networks) == list(model.generators) == ["gen_a2b", "gen_b2a"]
    assert model.missing == ["dis_global_a", "dis_local_a", "dis_global_b", "dis_local_b"]
    assert all((model.arrays()[name] == array).all() for name, array in _expected("gen").items())
    assert not hasattr(model, "dis_global_a")
    with pytest.raises(ValueError, match=r"dis_local_b is needed, and the file .* holds gen_a2b, gen_b2a alone"):
        model.dis_local_b  # noqa: B018
    with pytest.raises(
        ValueError, match="lacks dis_global_a, dis_local_a, dis_global_b, dis_local_b, for it was loaded"
    ):
        model.save_pt(tmp_path / "y.pt")
    assert not (tmp_path / "y.pt").exists()
    with pytest.raises(ValueError, match="A training needs all networks; this model lacks dis_global_a"):
        ugatit_tf.Trainer(model)


@pytest.mark.parametrize(
    ("network", "ours", "other"), [("genA2B", "gen_a2b", "gen_b2a"), ("genB2A", "gen_b2a", "gen_a2b")]
)
def test_one_generator_alone(tmp_path, states, network, ours, other):
    write_torch_file(tmp_path / "x.pt", _prefixed({network: states[network]}, "module."))
    model = ugatit_tf.UGATIT.load(tmp_path / "x.pt")
    assert list(model.networks) == [ours]
    assert all((model.arrays()[name] == array).all() for name, array in _expected(ours).items())
    with pytest.raises(ValueError, match=f"{other} is needed, and the file .* holds {ours} alone"):
        getattr(model, other)


def test_a_part_of_the_discriminators_is_a_damaged_file(tmp_path, states):
    del states["disLB"]
    write_torch_file(tmp_path / "x.pt", states)
    with pytest.raises(ValueError, match="missing: disLB/"):
        ugatit_tf.UGATIT.load(tmp_path / "x.pt")


def test_generators_of_tf1_alone(tmp_path):
    """A checkpoint that was saved from the generators' variables."""
    path = GOLDEN / "tf1_light" / "UGATIT_light.model-1"
    reader = tf.train.load_checkpoint(str(path))
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith("generator_B")]
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "x"),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[reader.get_tensor(name) for name in names],
    )
    model, whole = ugatit_tf.UGATIT.load(tmp_path / "x"), ugatit_tf.UGATIT.load(path)
    assert list(model.networks) == ["gen_a2b"]
    assert len(model.arrays()) > 20
    assert all((array == whole.arrays()[name]).all() for name, array in model.arrays().items())
