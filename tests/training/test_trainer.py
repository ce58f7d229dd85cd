"""Trainer: its state goes out and in without a trace, and the loop around it reports, saves and stops."""

import errno
import io
import json
import os
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf

import ugatit_tf
from ugatit_tf.training import loop
from ugatit_tf.training.checkpoint import CheckpointStore, NonFiniteError, refuse_differences
from ugatit_tf.training.clock import Measured
from ugatit_tf.training.loop import fit
from ugatit_tf.training.reporting import Reporter
from ugatit_tf.weights import archive

MODEL = ugatit_tf.ModelConfig(light=True, ch=2, n_res=1, n_dis=4, img_size=24)
TRAIN = ugatit_tf.TrainConfig(gan_type="dragan", precision="bfloat16", ema=0.9, epoch=1, iteration=4, lr=1e-3)


CYCLEGAN = ugatit_tf.ModelConfig(architecture="cyclegan", ch=2, n_res=1, img_size=24)


def make(seed=0, model=MODEL, train=TRAIN):
    return ugatit_tf.Trainer(ugatit_tf.UGATIT(model, seed), train)


def batch(step):
    rng = np.random.default_rng(step)
    return [rng.uniform(-1, 1, (1, 24, 24, 3)).astype("float32") for _ in range(2)]


@pytest.mark.parametrize(
    ("model", "train"),
    [(MODEL, TRAIN), (CYCLEGAN, ugatit_tf.TrainConfig(pool_size=3, lr=1e-3))],
    ids=["dragan", "pool"],
)
def test_state_taken_out_and_in_continues_bit_for_bit(model, train):
    """With random draws (dragan) and an average, or a pool; the other trainer starts from other weights."""
    straight = make(model=model, train=train)
    for step in range(4):
        straight.step(*batch(step))
    other = make(5, model, train)
    other.set_arrays(straight.arrays(), "memory")
    assert ("pool/pool_a_images" in straight.arrays()) == bool(train.pool_size)
    for step in range(4, 8):
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
    arrays.pop(next(name for name in arrays if name.startswith("adam/dis_global_a/")))
    with pytest.raises(ValueError, match=r"lacks the training state.*adam/dis_global_a/"):
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

    def state(self):
        return {"steps": tf.constant(self.steps, tf.int64)}


def run_fit(tmp_path, trainer, batches=None, evaluate=None, iteration=10, check=lambda: None, **values):
    batches = ((None, None),) * (iteration + 10) if batches is None else batches
    train = ugatit_tf.TrainConfig(epoch=1, iteration=iteration)
    freqs = {"log_freq": 4, "save_freq": 3, "print_freq": 5, "keep": 2}
    run = ugatit_tf.RunConfig(model=MODEL, train=train, **{**freqs, **values})
    store = CheckpointStore(tmp_path / "checkpoint", run, check)
    drawn = []
    stream = io.StringIO()
    with Reporter(tmp_path, tmp_path / "logs", tmp_path / "samples", iteration, stream=stream) as reporter:
        done = fit(trainer, batches, run, store, reporter, lambda: drawn.append(trainer.steps) or {}, evaluate)
    return done, drawn, store, stream.getvalue()


def test_loop_saves_samples_and_stops_at_the_last_step(tmp_path):
    trainer = FakeTrainer()
    done, drawn, store, text = run_fit(tmp_path, trainer)
    assert done
    assert trainer.steps == 10
    assert drawn == [5, 10]
    assert sorted(path.stem for path in store.folder.iterdir()) == ["step-00000009", "step-00000010"]
    # read at 3, 4, 5, 6, 8, 9 and 10: a checkpoint, a sheet or a report; the mean of the steps since the last one
    lines = [line for line in text.splitlines() if line.startswith("step")]
    assert [line.split("d ")[1].split()[0] for line in lines] == ["2", "4", "5", "6", "7.5", "9", "10"]


def test_a_start_says_what_it_does(tmp_path):
    """Nobody waits for the first step without a word; the time left comes when it has been measured."""
    trainer = FakeTrainer()
    trainer.steps = 3
    _, _, _, text = run_fit(tmp_path, trainer, iteration=100)
    lines = text.splitlines()
    assert lines[0].startswith("Compiling the training step, once per start: ")
    assert lines[1] == "The first step is done, after 0 seconds."
    told = [line for line in lines if "measured" in line]
    assert told == ["Less than a minute left, measured over 20 steps."]
    at = lines.index(told[0])  # at step 24: 3 done before, the first, and 20 more; readings at multiples of 3, 4 and 5
    assert [line.split("/")[0] for line in (lines[at - 1], lines[at + 1])] == ["step  21", "step  24"]


def test_a_long_training_without_a_gpu_hears_of_smaller_models(tmp_path, monkeypatch):
    told = Measured(20, 200.0, 7200.0)
    run = ugatit_tf.RunConfig()
    lines = loop._told(told, run)
    assert lines[0] == "About 2 hours left, measured over 20 steps."
    assert lines[1].startswith("A smaller model is faster: --light --img_size 128 --ch 32, in another --run_dir.")
    assert len(loop._told(told._replace(left=3000.0), run)) == 1
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["GPU:0"])
    assert len(loop._told(told, run)) == 1
    assert loop._told(Measured(1, 99.0, 60.0), run) == ["About 1 minute left, measured over 1 step."]


def test_a_checkpoint_comes_in_time_whatever_save_freq(tmp_path, monkeypatch):
    """Each step is late here: one checkpoint between those of `save_freq`, which it takes no place from."""
    monkeypatch.setattr(loop, "SAVE_SECONDS", -1)
    trainer, seen = FakeTrainer(), {}

    class Batches:
        def __iter__(self):
            for _ in range(20):
                seen[trainer.steps] = [
                    archive.step_of(path) for path in archive.list_checkpoints(tmp_path / "checkpoint")
                ]
                yield None, None

    run_fit(tmp_path, trainer, Batches(), save_freq=3, keep=2)
    assert [seen[step] for step in range(1, 10)] == [
        [1],
        [2],
        [3],
        [3, 4],
        [3, 5],
        [3, 6],
        [3, 6, 7],
        [3, 6, 8],
        [6, 9],
    ]
    assert sorted(path.stem for path in (tmp_path / "checkpoint").iterdir()) == ["step-00000009", "step-00000010"]


def test_the_default_is_ten_minutes():
    assert loop.SAVE_SECONDS <= 600


def test_a_run_that_has_become_anothers_is_left_alone(tmp_path):
    """No checkpoint, no line in the logs: `check` raises from the second time on."""
    calls = []

    def check():
        calls.append(1)
        if len(calls) > 2:
            raise OSError("taken over")

    with pytest.raises(OSError, match="taken over"):
        run_fit(tmp_path, FakeTrainer(), check=check)
    assert [path.stem for path in (tmp_path / "checkpoint").iterdir()] == ["step-00000003"]
    assert len((tmp_path / "logs/losses.jsonl").read_text().splitlines()) == 1


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

    def state(self):
        return {**super().state(), "gen_a2b/kernel": tf.constant([1, np.inf if self.steps >= 5 else 0])}


def test_bad_weights_reach_no_checkpoint(tmp_path):
    with pytest.raises(NonFiniteError, match=r"Weights not finite after step 6: gen_a2b/kernel\. No checkpoint.*--lr"):
        run_fit(tmp_path, OverflowingTrainer())
    assert [path.stem for path in (tmp_path / "checkpoint").iterdir()] == ["step-00000003"]


class LargeTrainer(FakeTrainer):
    """Twenty variables of 1 MiB."""

    def __init__(self):
        super().__init__()
        self.variables = {f"gen_a2b/{index}": tf.zeros([2**18]) for index in range(20)}

    def state(self):
        return {**super().state(), **self.variables}


def test_saving_copies_one_variable_at_a_time(tmp_path):
    """The state of a full model is 8 GB, beside the memory that the step has taken."""
    trainer = LargeTrainer()
    tracemalloc.start()
    try:
        run_fit(tmp_path, trainer)
        assert tracemalloc.get_traced_memory()[1] < 6 * 2**20
    finally:
        tracemalloc.stop()


def test_another_configuration_is_refused_by_name(tmp_path):
    _, _, store, _ = run_fit(tmp_path, FakeTrainer())
    other = ugatit_tf.RunConfig(model=MODEL, train=ugatit_tf.TrainConfig(epoch=1, iteration=10, lr=0.5))
    with pytest.raises(ValueError, match=r"lr: 0.0001, not 0.5"):
        CheckpointStore(store.folder, other).restore(FakeTrainer(), print)


@pytest.mark.parametrize(
    ("train", "change", "message"),
    [
        (
            {"lr": 0.5},
            False,
            r"  lr: 0\.0001, not 0\.5\nWith --change lr may change\. Otherwise give the former flags, or",
        ),
        ({"lr": 0.5}, True, None),
        ({"lr": 0.5, "epoch": 9}, True, None),
        ({"epoch": 9}, False, None),
        ({"epoch": 3}, True, r"  epoch: 4, not 3\n--epoch can only grow: 4 or more\. Otherwise"),
        ({"seed": 7}, False, r"  seed: 0, not 7\nGive the former flags, or another --run_dir"),
        ({"seed": 7}, True, r"  seed: 0, not 7\nGive the former flags"),
        ({"seed": 7, "cam_weight": 1.0}, False, "With --change cam_weight may change; seed may not. Otherwise"),
        (
            {"seed": 7, "cam_weight": 1.0},
            True,
            r"x\.json is of a run with another configuration:\n  seed: 0, not",
        ),
    ],
)
def test_what_a_resumed_run_may_change(train, change, message):
    former = ugatit_tf.RunConfig(model=MODEL, train=ugatit_tf.TrainConfig(epoch=4))
    run = ugatit_tf.RunConfig(model=MODEL, train=ugatit_tf.TrainConfig(**{"epoch": 4} | train))
    if message is None:
        refuse_differences(former, run, "x.json", change)
    else:
        with pytest.raises(ValueError, match=message):
            refuse_differences(former, run, "x.json", change)


def best(store):
    return archive.read(store.folder / "best.npz")[0]


def test_the_best_weights_are_kept_beside_the_last(tmp_path):
    """Scores at steps 2, 4, .. 10; the best is that of step 6, and what only a training needs is left out."""
    scores = {2: 5.0, 4: 6.0, 6: 1.0, 8: 1.0, 10: 3.0}

    class Stateful(FakeTrainer):
        def state(self):
            extra = {
                "gen_a2b/kernel": tf.constant(self.steps + 0.0),
                "ema/gen_a2b/kernel": tf.constant(self.steps + 0.5),
            }
            more = {"adam/generators/x": tf.constant(1.0), "pool/pool_a_count": tf.constant(1)}
            return {**super().state(), **extra, **more}

    trainer = Stateful()
    _, _, store, text = run_fit(
        tmp_path, trainer, eval_every=2, evaluate=lambda: (scores[trainer.steps], {"kid_a2b": scores[trainer.steps]})
    )
    names = {"steps", "gen_a2b/kernel", "ema/gen_a2b/kernel", "score", "training images"}
    assert set(best(store)) == names
    assert (best(store)["steps"], best(store)["gen_a2b/kernel"], store.best_score()) == (6, 6.0, 1.0)
    assert [line.split(":")[0] for line in text.splitlines() if "the best so far" in line] == ["step 2", "step 6"]
    logged = [json.loads(line) for line in (tmp_path / "logs/evaluation.jsonl").read_text().splitlines()]
    assert logged == [{"step": step, "kid_a2b": score} for step, score in scores.items()]
    assert sorted(path.stem for path in archive.list_checkpoints(store.folder)) == ["step-00000009", "step-00000010"]


def test_the_best_of_an_earlier_session_stays_until_it_is_beaten(tmp_path):
    trainer = FakeTrainer()
    run_fit(tmp_path, trainer, eval_every=10, evaluate=lambda: (2.0, {"kid_a2b": 2.0}))
    for score in (3.0, 1.0):
        trainer = FakeTrainer()
        trainer.steps = 4

        def evaluate(score=score, trainer=trainer):
            return score + trainer.steps / 1e3, {}

        _, _, store, _ = run_fit(tmp_path, trainer, eval_every=5, evaluate=evaluate)
        assert store.best_score() == pytest.approx(min(2.0, score + 0.005))
        assert best(store)["steps"] == (10 if score == 3.0 else 5)


def test_without_evaluation_nothing_is_scored(tmp_path):
    _, _, store, text = run_fit(tmp_path, FakeTrainer())
    assert not (store.folder / "best.npz").exists()
    assert "held out" not in text
    assert store.best_score() == np.inf


def test_bad_weights_are_found_before_they_are_scored(tmp_path):
    def evaluate():
        raise AssertionError("these weights cannot be scored")

    with pytest.raises(NonFiniteError, match="Weights not finite after step 5"):
        run_fit(tmp_path, OverflowingTrainer(), eval_every=5, evaluate=evaluate, save_freq=100)


def test_a_training_ends_with_its_health(tmp_path):
    class Judged(FakeTrainer):
        def step_values(self, real_a, real_b):
            self.steps += 1
            names = ("d_loss", "g_loss", "hit_real_a", "hit_fake_a", "g_cycle_a", "g_cycle_b")
            return names, np.array([1.0, 1.0, 1.0, 1.0, 0.1, 0.2])

    _, _, _, text = run_fit(tmp_path, Judged(), iteration=1000, save_freq=500)
    ending = text[text.index("Health") :].splitlines()
    assert ending[0] == "Health, from the last tenth of the steps:"
    assert ending[1].startswith("- D of A is right 100% of the time, and has been for 1,000 steps: it wins")
    assert ending[2].startswith("- The cycle misses A by 12.8 and B by 25.5 grey levels")


def test_a_short_training_ends_without_a_verdict(tmp_path):
    text = run_fit(tmp_path, FakeTrainer())[-1]
    assert text.splitlines()[-1].startswith("Health: no verdict after 10 steps; it takes 1,000.")
