"""UGATIT, CycleGAN and the ablations: their networks, loading runs, with and without average, and what is refused."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

import ugatit_tf
from ugatit_tf.models import PatchGAN, ResNetGenerator
from ugatit_tf.weights import archive

MODEL = ugatit_tf.ModelConfig(light=True, ch=2, n_res=1, n_dis=4, img_size=24)
CYCLEGAN = ugatit_tf.ModelConfig(architecture="cyclegan", ch=2, n_res=1, img_size=24)
ABLATIONS = [
    dataclasses.replace(MODEL, **values)
    for values in (
        {"norm": "in", "cam_g": False},
        {"norm": "ln", "cam_d": False, "light": False},
        {"norm": "adain", "flavor": "pytorch"},
        {"norm": "gn", "cam_g": False, "cam_d": False},
    )
]


def name_of(config):
    """What makes a configuration another, for the names of tests."""
    defaults = dataclasses.asdict(MODEL)
    return " ".join(f"{k}={v}" for k, v in dataclasses.asdict(config).items() if v != defaults[k])


@pytest.fixture(scope="module")
def expected():
    """The arrays of the checkpoint below."""
    return ugatit_tf.UGATIT(MODEL, seed=3).arrays()


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory, expected):
    """A run folder with one checkpoint that holds an average of gen_a2b: its weights plus 1."""
    folder = tmp_path_factory.mktemp("run")
    run = ugatit_tf.RunConfig(model=MODEL, checkpoint_dir="kept")
    (folder / "config.json").write_text(run.to_json())
    (folder / "kept").mkdir()
    averages = {f"ema/{name}": value + 1 for name, value in expected.items() if name.startswith("gen_a2b/")}
    archive.write(folder / "kept" / "step-00000005.npz", {**expected, **averages}, run.to_json())
    return folder


def test_load_of_a_run_folder_or_a_file_takes_the_average_unless_told_otherwise(run_dir, expected):
    for source in (str(run_dir), run_dir / "kept" / "step-00000005.npz"):
        model = ugatit_tf.UGATIT.load(source)
        assert model.config == MODEL
        for name, array in model.arrays().items():
            np.testing.assert_array_equal(array, expected[name] + (1 if name.startswith("gen_a2b/") else 0))
    plain = ugatit_tf.UGATIT.load(run_dir, ema=False).arrays()
    assert all(np.array_equal(plain[name], array) for name, array in expected.items())


def test_what_is_no_checkpoint_is_refused(run_dir, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No checkpoint at .*nothing.*Expected a run folder"):
        ugatit_tf.UGATIT.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="no run folder with a checkpoint"):
        ugatit_tf.UGATIT.load(tmp_path)
    with pytest.raises(ValueError, match=r"knows its configuration; received \{'smoothing': False\}"):
        ugatit_tf.UGATIT.load(run_dir, smoothing=False)


def test_arrays_that_do_not_fit_change_nothing(expected):
    model, other = ugatit_tf.UGATIT(MODEL), expected
    before = model.arrays()
    name = next(iter(other))
    for broken in ({**other, name: other[name][..., :1]}, {k: v for k, v in other.items() if k != name}):
        with pytest.raises(ValueError, match=name):
            model.set_arrays(broken, "memory")
        assert all(np.array_equal(array, before[key]) for key, array in model.arrays().items())


def test_six_networks_with_unique_names_and_their_counts():
    model = ugatit_tf.UGATIT(MODEL)
    assert list(model.networks) == [
        "gen_a2b",
        "gen_b2a",
        "dis_global_a",
        "dis_local_a",
        "dis_global_b",
        "dis_local_b",
    ]
    variables = [v for network in model.networks.values() for v in network.variables]
    assert len(model.arrays()) == len(variables)
    assert model.count_params()["gen_a2b"] == sum(v.numpy().size for v in model.gen_a2b.trainable_variables)


def test_a_cyclegan_has_four_networks():
    """Two generators of the blocks asked for and one discriminator a domain; each draws weights of its own."""
    model = ugatit_tf.UGATIT(dataclasses.replace(CYCLEGAN, n_res=2), seed=3)
    assert list(model.networks) == ["gen_a2b", "gen_b2a", "dis_a", "dis_b"]
    assert list(model.generators) == ["gen_a2b", "gen_b2a"]
    assert list(model.discriminators) == ["dis_a", "dis_b"]
    for name, network in model.networks.items():
        assert type(network) is (ResNetGenerator if name.startswith("gen") else PatchGAN)
        assert getattr(model, name) is network
        assert network.ch == 2
    assert [(len(net.blocks), net.img_size) for net in model.generators.values()] == [(2, 24), (2, 24)]
    kernels = [net.stem.kernel if "gen" in name else net.convs[0].kernel for name, net in model.networks.items()]
    other = ugatit_tf.UGATIT(CYCLEGAN, seed=4)
    kernels += [net.stem.kernel if "gen" in name else net.convs[0].kernel for name, net in other.networks.items()]
    assert len({kernel.numpy().tobytes() for kernel in kernels}) == 8


@pytest.mark.parametrize("config", [CYCLEGAN, *ABLATIONS], ids=name_of)
def test_baseline_and_ablations_come_back_from_their_checkpoint(tmp_path, config):
    """Configuration, networks and every array; no official code could read them."""
    rng, path = np.random.default_rng(0), tmp_path / "step-00000001.npz"
    model = ugatit_tf.UGATIT(config)
    expected = {name: rng.normal(size=array.shape).astype("float32") for name, array in model.arrays().items()}
    assert len(expected) == sum(len(network.variables) for network in model.networks.values())
    archive.write(path, expected, ugatit_tf.RunConfig(model=config).to_json())
    again = ugatit_tf.UGATIT.load(path)
    assert again.config == config
    assert list(again.arrays()) == list(expected)
    for name, array in again.arrays().items():
        assert array.tobytes() == expected[name].tobytes(), name
    if config.architecture == "ugatit":
        assert {(net.norm, net.cam is not None) for net in again.generators.values()} == {(config.norm, config.cam_g)}
        assert {net.cam is not None for net in again.discriminators.values()} == {config.cam_d}
    with pytest.raises(ValueError, match=r"U-GAT-IT's networks alone, with AdaLIN and CAM; .*norm='.*step-\*\.npz"):
        again.save_pt(tmp_path / "x.pt")
    assert not (tmp_path / "x.pt").exists()


def test_a_checkpoint_from_before_the_baseline_and_the_ablations(run_dir, expected, tmp_path):
    """Its configuration lacks their fields, and means U-GAT-IT."""
    arrays, text = archive.read(run_dir / "kept" / "step-00000005.npz")
    values = json.loads(text)
    for name in ("architecture", "norm", "cam_g", "cam_d"):
        del values["model"][name]
    del values["train"]["pool_size"], values["eval_every"], values["features"]
    archive.write(tmp_path / "step-00000005.npz", arrays, json.dumps(values))
    model = ugatit_tf.UGATIT.load(tmp_path / "step-00000005.npz", ema=False)
    assert model.config == MODEL
    assert all(np.array_equal(array, expected[name]) for name, array in model.arrays().items())


def test_a_torn_newest_checkpoint_is_passed_over_and_said(run_dir, expected, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run_dir, folder)
    (folder / "kept" / "step-00000006.npz").write_bytes(b"torn")
    with pytest.warns(UserWarning, match=r"step-00000006\.npz is torn.*Trying the one before"):
        model = ugatit_tf.UGATIT.load(folder, ema=False)
    assert all(np.array_equal(array, expected[name]) for name, array in model.arrays().items())


@pytest.mark.parametrize("content", [b"", b"no checkpoint"])
@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_a_file_of_another_kind_is_refused_by_name(tmp_path, suffix, content):
    path = tmp_path / f"step-00000001{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"step-00000001\.(npz|pt)"):
        ugatit_tf.UGATIT.load(path)


def test_a_checkpoint_of_another_model_is_refused(run_dir, tmp_path):
    """Arrays of ch 2 under a configuration of ch 3: nothing is loaded by halves."""
    arrays, text = archive.read(run_dir / "kept" / "step-00000005.npz")
    archive.write(tmp_path / "step-00000005.npz", arrays, text.replace('"ch": 2', '"ch": 3'))
    with pytest.raises(ValueError, match="lacks these arrays, or has them in another shape: gen_a2b/"):
        ugatit_tf.UGATIT.load(tmp_path / "step-00000005.npz")


def test_seeds_and_depths(expected):
    """Each network draws its own weights, from the seed; a local discriminator has two levels less."""
    model = ugatit_tf.UGATIT(MODEL)
    for first, networks in (("stem/conv/kernel", model.generators), ("conv_0/kernel", model.discriminators)):
        kernels = [arrays[f"{name}/{first}"] for arrays in (model.arrays(), expected) for name in networks]
        assert len({kernel.tobytes() for kernel in kernels}) == 2 * len(networks)
    assert [net.levels for net in model.discriminators.values()] == [3, 1, 3, 1]


def test_precision_of_all_networks():
    model = ugatit_tf.UGATIT(MODEL)
    model.set_precision("bfloat16")
    assert {network.precision for network in model.networks.values()} == {"bfloat16"}
    assert {network.compute_dtype for network in model.networks.values()} == {"bfloat16"}
    assert {array.dtype.name for array in model.arrays().values()} == {"float32"}


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
@pytest.mark.parametrize("light", [True, False])
def test_a_pytorch_model_comes_back_from_its_pt(tmp_path, light, suffix):
    """Every bit, and the configuration as far as weights can show it: a light model's size has to be told."""
    config = dataclasses.replace(MODEL, flavor="pytorch", light=light, n_res=2, n_dis=5, img_size=52)
    model = ugatit_tf.UGATIT(config, seed=3)
    rng = np.random.default_rng(0)
    expected = {name: rng.normal(size=array.shape).astype("float32") for name, array in model.arrays().items()}
    model.set_arrays(expected, "memory")  # the initial weights have layers of nothing but 0 and 1
    model.save_pt(tmp_path / f"x{suffix}")
    again = ugatit_tf.UGATIT.load(tmp_path / f"x{suffix}", **({"img_size": 52} if light else {}))
    assert again.config == config
    assert list(again.arrays()) == list(expected)
    for name, array in again.arrays().items():
        assert array.tobytes() == expected[name].tobytes(), name


def test_what_a_pt_cannot_hold_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"Only the pytorch flavor fits .* tf1 flavor.*step-\*\.npz.*save_weights"):
        ugatit_tf.UGATIT(MODEL).save_pt(tmp_path / "x.pt")
    model = ugatit_tf.UGATIT(dataclasses.replace(MODEL, flavor="pytorch"))
    for name in ("x", "x.npz", "x.pt.bak"):
        with pytest.raises(ValueError, match=rf"must end in \.pt or \.pth.*received .*{name}"):
            model.save_pt(str(tmp_path / name))
    assert not list(tmp_path.iterdir())
