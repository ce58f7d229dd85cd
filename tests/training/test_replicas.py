"""Two devices compute what one does on the same batch: losses, gradients, and a state that goes over to one and back.

The devices are logical CPUs, which a process has from its start; so all runs are in another one, two_devices.py.
"""

import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest

from ugatit_tf.data import demo

pytestmark = pytest.mark.slow
CASES = ("dragan", "pool", "float16")


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_devices")
    demo.write_demo(folder / "tiny", size=24, train=7, test=1)
    script = pathlib.Path(__file__).with_name("two_devices.py")
    command = [sys.executable, script, folder / "tiny", folder / "results"]
    done = subprocess.run(command, cwd=script.parents[2], capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    return pickle.loads((folder / "results").read_bytes())


def test_there_are_two(seen):
    assert seen["replicas"] == 2
    assert seen["everyones"] == [7.0, 7.0]
    assert seen["any"] == [False, True]  # of one process: nobody else is asked


def test_the_shares_are_the_whole_batch_row_by_row(seen):
    assert len(seen["shares"]) == len(seen["whole"]) == 3
    for whole, shares in zip(seen["whole"], seen["shares"], strict=True):
        for images, parts in zip(whole, shares, strict=True):
            assert [part.shape for part in parts] == [(2, 24, 24, 3)] * 2
            np.testing.assert_array_equal(np.concatenate(parts), images)
            assert len({image.tobytes() for image in images}) == 4


@pytest.mark.parametrize("case", ["dragan", "pool"])
def test_losses_are_those_of_one_device(seen, case):
    """Sums are made in another order, so to rounding. Three steps: later Adam's first updates, which are +-lr however
    small the gradient is, have carried rounding into weights whose true gradient is 0."""
    for step, (one, two) in enumerate(seen[case]["losses"]):
        assert list(one) == list(two)
        assert ("g_loss" in one) == (case != "pool" or step != 1)  # its n_critic is 2
        hits = [name for name in one if name.startswith("hit_")]  # decided by a sign, which rounding may turn
        assert {name: two[name] for name in one if name not in hits} == pytest.approx(
            {name: one[name] for name in one if name not in hits}, rel=1e-5, abs=1e-7
        )
        assert {name: two[name] for name in hits} == pytest.approx({name: one[name] for name in hits}, abs=0.1)


@pytest.mark.parametrize("case", ["dragan", "pool"])
def test_gradients_are_those_of_one_device(seen, case):
    one, two = seen[case]["moments"]
    assert list(one) == list(two)
    for player in {name.partition("/")[0] for name in one}:
        largest = max(np.abs(one[name]).max() for name in one if name.startswith(f"{player}/"))
        for name in (name for name in one if name.startswith(f"{player}/")):
            np.testing.assert_allclose(two[name], one[name], rtol=1e-3, atol=1e-5 * largest, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_devices_hold_the_same_bits(seen, case):
    for name, (first, second) in seen[case]["copies"].items():
        np.testing.assert_array_equal(first, second, err_msg=name)
        assert np.isfinite(first).all(), name


def test_float16_is_that_of_one_device_to_its_rounding(seen):
    """Of the first step; what half precision leaves of gradients of a millionth is then +-lr."""
    one, two = seen["float16"]["losses"][0]
    compared = [name for name in one if not name.startswith("hit_")]
    assert {name: two[name] for name in compared} == pytest.approx({name: one[name] for name in compared}, rel=0.01)
    saved = seen["float16"]["saved"]
    assert saved["adam/generators/loss_scale"] == 64.0
    assert saved["adam/generators/steps"] == saved["adam/generators/finite_steps"] == 3


@pytest.mark.parametrize("case", CASES)
def test_state_goes_over_to_one_device_and_back_bit_for_bit(seen, case):
    seen = seen[case]
    for saved, resumed in (("saved", "resumed"), ("saved by one", "resumed by two")):
        assert set(seen[saved]) == set(seen[resumed])
        for name, array in seen[saved].items():
            np.testing.assert_array_equal(seen[resumed][name], array, err_msg=name)
    assert seen["saved"]["steps"] == 3
    assert seen["saved by one"]["steps"] == 4
    for name, values in seen["copies by two"].items():
        assert len(values) == 2
        for value in values:
            np.testing.assert_array_equal(value, seen["saved by one"][name], err_msg=name)


@pytest.mark.parametrize("case", ["dragan", "pool"])
def test_resumed_on_one_device_a_training_goes_on_as_on_two(seen, case):
    one, two = seen[case]["next losses"]
    compared = [name for name in one if not name.startswith("hit_")]
    assert {name: two[name] for name in compared} == pytest.approx({name: one[name] for name in compared}, rel=1e-5)


def test_a_batch_that_cannot_be_shared_is_refused(seen):
    assert seen["five images"] == "The batch must be a multiple of the 2 replicas; received 5 images."
