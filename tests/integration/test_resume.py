"""A run that is killed, interrupted, or loses a file goes on as if nothing had happened."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ugatit_tf.config import RunConfig
from ugatit_tf.data import demo
from ugatit_tf.weights import archive
from ugatit_tf.weights.process import Process

ROOT = pathlib.Path(__file__).parents[2]
STEPS = 8
PARTS = ("logs/evaluation.jsonl", "checkpoint/best.npz")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    demo.write_demo(folder / "tiny", size=24, train=40, test=1)
    return folder


def command(data_dir, run_dir, *flags):
    """A float16 run: its loss scale must be resumed too; and an average, a pool, and losses and scores in between."""
    words = "--light --ch 2 --n_res 1 --n_dis 4 --img_size 24 --precision float16 --ema 0.9 --lr 1e-3 --epoch 2"
    words += f" --iteration {STEPS // 2} --save_freq 2 --print_freq 3 --log_freq 1 --eval_every 3 --keep 3"
    words += " --pool_size 2 --dataset tiny"
    return [sys.executable, ROOT / "train.py", *words.split(), "--data_dir", data_dir, "--run_dir", run_dir, *flags]


def start(*words):
    return subprocess.Popen(command(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(*words):
    process = subprocess.run(command(*words), capture_output=True, text=True, timeout=600)
    return process.returncode, process.stdout + process.stderr


def final(run_dir):
    arrays, text = archive.read(run_dir / "checkpoint" / f"step-{STEPS:08d}.npz")
    assert RunConfig.from_json(text, "checkpoint").train.ema == 0.9
    return arrays


def wait_for(path, process):
    deadline = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def steps_logged(run_dir):
    return [json.loads(line)["step"] for line in (run_dir / "logs" / "losses.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_killed_and_resumed_run_equals_an_uninterrupted_one(data_dir, tmp_path):
    code, output = finish(data_dir, tmp_path / "straight")
    assert code == 0, output
    straight = final(tmp_path / "straight")
    assert {path.stem for path in archive.list_checkpoints(tmp_path / "straight/checkpoint")} == {
        f"step-{step:08d}" for step in (4, 6, 8)
    }

    killed = tmp_path / "killed"
    process = start(data_dir, killed)
    wait_for(killed / "checkpoint" / "step-00000002.npz", process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # What a kill in the middle of a write leaves, and a torn newest file: the one before is taken.
    newest = archive.list_checkpoints(killed / "checkpoint")[-1]
    torn = killed / "checkpoint" / f"step-{archive.step_of(newest) + 1:08d}.npz"
    torn.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    owner = dataclasses.replace(Process.here(), pid=process.pid, started="1")
    (killed / "checkpoint" / f".step-00000099.npz.{owner.tag}-0.tmp").write_bytes(b"half")
    assert (killed / "training.lock").exists()  # and is nobody's

    # Interrupted once more, by SIGTERM: it saves where it is and leaves with success, whichever step that is.
    process = start(data_dir, killed)
    wait_for(killed / "samples" / "a2b_0000003.png", process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert f"{torn} is torn" in output

    code, output = finish(data_dir, killed)
    assert code == 0, output
    resumed = final(killed)
    assert set(resumed) == set(straight)
    for name, array in straight.items():
        np.testing.assert_array_equal(resumed[name], array, err_msg=name)
    assert steps_logged(killed) == steps_logged(tmp_path / "straight") == list(range(1, STEPS + 1))
    scores, best = ([(tmp_path / name / part) for name in ("straight", "killed")] for part in PARTS)
    assert scores[0].read_text() == scores[1].read_text()
    assert [json.loads(line)["step"] for line in scores[0].read_text().splitlines()] == [3, 6, 8]
    expected, received = (archive.read(path)[0] for path in best)
    assert set(received) == set(expected)
    assert all(np.array_equal(received[name], array) for name, array in expected.items())
    assert not list((killed / "checkpoint").glob(".*"))
    assert not (killed / "training.lock").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no such terminals")
def test_a_closed_terminal_loses_nothing(data_dir, tmp_path):
    """SIGHUP, and a screen that can be written to no more: all is saved, and the exit code says so."""
    import pty

    run_dir = tmp_path / "run"
    words = [str(word) for word in command(data_dir, run_dir, "--iteration", "5000", "--save_freq", "9999")]
    pid, screen = pty.fork()
    if pid == 0:
        os.execv(words[0], words)
    shown = b""
    while b"step     3/10000" not in shown:
        shown += os.read(screen, 4096)
    os.close(screen)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, shown.decode()
    [path] = archive.list_checkpoints(run_dir / "checkpoint")
    assert steps_logged(run_dir) == list(range(1, archive.step_of(path) + 1))
    assert b"Compiling the training step" in shown
    assert not (run_dir / "training.lock").exists()


@pytest.mark.slow
def test_what_a_finished_run_says(data_dir, tmp_path):
    """Another configuration, a new run in the same place, fine-tuning from it, and the test phase."""
    run_dir = tmp_path / "run"
    code, output = finish(data_dir, run_dir, "--iteration", "1")
    assert code == 0, output

    code, output = finish(data_dir, run_dir, "--iteration", "1", "--lr", "0.5", "--seed", "7")
    assert code == 1
    assert "lr: 0.001, not 0.5" in output
    assert "seed: 0, not 7" in output

    code, output = finish(data_dir, run_dir, "--iteration", "1", "--noresume")
    assert code == 2
    assert "holds a run already" in output

    code, output = finish(data_dir, tmp_path / "wider", "--iteration", "1", "--init", run_dir, "--ch", "4")
    assert code == 2
    assert "--ch 2" in output

    code, output = finish(data_dir, tmp_path / "tuned", "--iteration", "1", "--init", run_dir)
    assert code == 0, output
    assert f"Weights from {run_dir}" in output

    assert "have changed" not in output
    (data_dir / "tiny" / "trainA" / "more.png").write_bytes((data_dir / "tiny" / "trainA" / "0000.png").read_bytes())
    code, output = finish(data_dir, run_dir, "--iteration", "1")
    assert code == 0, output
    assert "The training images have changed since step-00000002.npz (then 36 trainA" in output
    (data_dir / "tiny" / "trainA" / "more.png").unlink()

    code, output = finish(data_dir, run_dir, "--phase", "test")
    assert code == 0, output
    results = run_dir / "results"
    assert (results / "a2b" / "0000.png").exists()
    assert (results / "b2a" / "0000.png").exists()
    assert "0000" in (results / "index.html").read_text()


@pytest.mark.slow
def test_loss_that_is_not_finite_stops_the_run(data_dir, tmp_path):
    run_dir = tmp_path / "run"
    code, output = finish(data_dir, run_dir, "--precision", "float32", "--lr", "1e38", "--save_freq", "100")
    assert code == 1
    assert "Loss not finite at step 1: g_" in output  # G meets the D that the first update has ruined
    assert not archive.list_checkpoints(run_dir / "checkpoint")
