"""UGATIT: loading runs, with and without their average, and what it refuses."""

import numpy as np
import pytest

import ugatit_tf
from ugatit_tf.weights import archive

MODEL = ugatit_tf.ModelConfig(light=True, ch=2, n_res=1, n_dis=4, img_size=24)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run folder with one checkpoint that holds an average of gen_a2b: its weights plus 1."""
    folder = tmp_path_factory.mktemp("run")
    run = ugatit_tf.RunConfig(model=MODEL, checkpoint_dir="kept")
    (folder / "config.json").write_text(run.to_json())
    (folder / "kept").mkdir()
    arrays = ugatit_tf.UGATIT(MODEL, seed=3).arrays()
    averages = {f"ema/{name}": value + 1 for name, value in arrays.items() if name.startswith("gen_a2b/")}
    archive.write(folder / "kept" / "step-00000005.npz", {**arrays, **averages}, run.to_json())
    return folder


def test_load_of_a_run_folder_or_a_file_takes_the_average_unless_told_otherwise(run_dir):
    expected = ugatit_tf.UGATIT(MODEL, seed=3).arrays()
    for source in (run_dir, str(run_dir), run_dir / "kept" / "step-00000005.npz"):
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


def test_arrays_that_do_not_fit_change_nothing():
    model = ugatit_tf.UGATIT(MODEL)
    before, other = model.arrays(), ugatit_tf.UGATIT(MODEL, seed=1).arrays()
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
