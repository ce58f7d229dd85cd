"""Trainer: its state goes out and in without a trace, and the loop around it reports, saves and stops."""

import errno
import io
import os

import numpy as np
import pytest

import ugatit_tf
from ugatit_tf.training.checkpoint import CheckpointStore, NonFiniteError
from ugatit_tf.training.loop import fit
from ugatit_tf.training.reporting import Reporter

MODEL = ugatit_tf.ModelConfig(light=True, ch=2, n_res=1, n_dis=4, img_size=24)
TRAIN = ugatit_tf.TrainConfig(gan_type="dragan", precision="bfloat16", ema=0.9, epoch=1, iteration=4, lr=1e-3)


def make(seed=0):
    return ugatit_tf.Trainer(ugatit_tf.UGATIT(MODEL, seed), TRAIN)


def batch(step):
    rng = np.random.default_rng(step)
    return [rng.uniform(-1, 1, (1, 24, 24, 3)).astype("float32") for _ in range(2)]


def test_state_taken_out_and_in_continues_bit_for_bit():
    """With random draws (dragan) and an average; the other trainer starts from other weights."""
    straight = make()
    for step in range(2):
        straight.step(*batch(step))
    other = make(seed=5)
    other.set_arrays(straight.arrays(), "memory")
    for step in range(2, 4):
        straight.step(*batch(step))
        other.step(*batch(step))
    expected, received = straight.arrays(), other.arrays()
    assert set(expected) == set(received)
    for name, array in expected.items():
        np.testing.assert_array_equal(received[name], array, err_msg=name)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.zeros((1, 24, 24, 3), np.uint8), np.zeros((1, 24, 24, 3), np.uint8)),
        (np.zeros((2, 24, 24, 3), np.float32), np.zeros((1, 24, 24, 3), np.float32)),
        (np.zeros((24, 24, 3), np.float32), np.zeros((24, 24, 3), np.float32)),
    ],
)
def test_other_images_are_refused(a, b):
    trainer = make()
    with pytest.raises(ValueError, match=r"float images in \[-1, 1\] of one shape \[N, H, W, 3\]; received "):
        trainer.step(a, b)
    assert trainer.steps == 0


def test_state_that_does_not_fit_changes_nothing():
    trainer = make()
    before = trainer.arrays()
    arrays = {**make(seed=5).arrays(), "steps": np.int64(9)}
    arrays.pop(next(name for name in arrays if name.startswith("optimizer_d/")))
    with pytest.raises(ValueError, match=r"lacks the training state.*optimizer_d/"):
        trainer.set_arrays(arrays, "memory")
    for name, array in trainer.arrays().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


class FakeTrainer:
    """Counts steps and gives losses; `bad` is the step whose loss is not a number."""

    def __init__(self, bad=None):
        self.steps, self.bad = 0, bad
        self.model = type("Model", (), {"generators": {}})()

    def step_values(self, real_a, real_b):
        self.steps += 1
        return ("d_loss", "g_loss"), np.array([self.steps, np.nan if self.steps == self.bad else 1.0])

    def arrays(self):
        return {"steps": np.int64(self.steps)}


def run_fit(tmp_path, trainer, batches=((None, None),) * 20, **values):
    train = ugatit_tf.TrainConfig(epoch=1, iteration=10)
    run = ugatit_tf.RunConfig(model=MODEL, train=train, log_freq=4, save_freq=3, print_freq=5, keep=2, **values)
    store = CheckpointStore(tmp_path / "checkpoint", run)
    drawn = []
    stream = io.StringIO()
    with Reporter(tmp_path, tmp_path / "logs", tmp_path / "samples", 10, stream=stream) as reporter:
        done = fit(trainer, batches, run, store, reporter, lambda: drawn.append(trainer.steps) or {})
    return done, drawn, store, stream.getvalue()


def test_loop_saves_samples_and_stops_at_the_last_step(tmp_path):
    trainer = FakeTrainer()
    done, drawn, store, text = run_fit(tmp_path, trainer)
    assert done
    assert trainer.steps == 10
    assert drawn == [5, 10]
    assert sorted(path.stem for path in store.folder.iterdir()) == ["step-00000009", "step-00000010"]
    # read at 3, 4, 5, 6, 8, 9 and 10: a checkpoint, a sheet or a report; the mean of the steps since the last one
    assert [line.split("d ")[1].split()[0] for line in text.splitlines()] == ["2", "4", "5", "6", "7.5", "9", "10"]


def test_a_bad_loss_is_found_before_the_next_checkpoint(tmp_path):
    with pytest.raises(NonFiniteError, match="step 5: g_loss = nan"):
        run_fit(tmp_path, FakeTrainer(bad=5))
    assert [path.stem for path in (tmp_path / "checkpoint").iterdir()] == ["step-00000003"]


def test_an_image_that_has_gone_costs_no_step(tmp_path):
    def batches():
        yield from [(None, None)] * 4
        raise OSError("x.png: cannot be read")

    with pytest.raises(OSError, match=r"Stopped and saved at step 4: x\.png: cannot be read"):
        run_fit(tmp_path, FakeTrainer(), batches())
    assert sorted(path.stem for path in (tmp_path / "checkpoint").iterdir()) == ["step-00000003", "step-00000004"]


def test_a_full_disk_is_told_with_what_stays(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"step-00000003\.npz cannot be written \(No space.*The checkpoints from before"):
        run_fit(tmp_path, FakeTrainer())


class OverflowingTrainer(FakeTrainer):
    """Finite losses at every step, and weights that are not after step 5: an update's gradient was infinite."""

    def arrays(self):
        return {**super().arrays(), "gen_a2b/kernel": np.float32([1, np.inf if self.steps >= 5 else 0])}


def test_bad_weights_reach_no_checkpoint(tmp_path):
    with pytest.raises(NonFiniteError, match=r"Weights not finite after step 6: gen_a2b/kernel\. No checkpoint.*--lr"):
        run_fit(tmp_path, OverflowingTrainer())
    assert [path.stem for path in (tmp_path / "checkpoint").iterdir()] == ["step-00000003"]


def test_another_configuration_is_refused_by_name(tmp_path):
    _, _, store, _ = run_fit(tmp_path, FakeTrainer())
    other = ugatit_tf.RunConfig(model=MODEL, train=ugatit_tf.TrainConfig(epoch=1, iteration=10, lr=0.5))
    with pytest.raises(ValueError, match=r"lr: 0.0001, not 0.5"):
        CheckpointStore(store.folder, other).restore(FakeTrainer(), print)
