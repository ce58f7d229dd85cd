"""Two processes train one model: as one process does, through deaths and signals, and never into two models."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from ugatit_tf.data import demo
from ugatit_tf.weights import archive

pytestmark = pytest.mark.slow
ROOT = pathlib.Path(__file__).parents[2]
STEPS, LIMIT = 8, 600
CYCLEGAN = "--model cyclegan --ch 2 --n_res 1 --img_size 24 --ema 0.9 --pool_size 2"  # quickly traced
UGATIT = "--light --ch 2 --n_res 1 --n_dis 4 --img_size 24 --cam_weight 30"


class Process:
    """One process of a training, its output in a file.

    Args:
        words: the flags.
        output: the file's path.
        environment: variables to set.
    """

    def __init__(self, words, output, environment):
        self.output = output
        with open(output, "w") as file:
            self.process = subprocess.Popen(
                [sys.executable, ROOT / "train.py", *words],
                env=os.environ | environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @property
    def text(self):
        return self.output.read_text()

    def end(self, limit=LIMIT):
        """The exit code."""
        return self.process.wait(limit)

    def wait_for(self, happened):
        """Until a function without arguments says so."""
        deadline = time.monotonic() + LIMIT
        while not happened():
            assert self.process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.01)


class Site:
    """Where the trainings of these tests are: their images, and a folder for their outputs."""

    def __init__(self, folder):
        self.folder = folder
        demo.write_demo(folder / "data" / "tiny", size=24, train=11, test=1)

    @contextlib.contextmanager
    def started(self, *run_dirs, model=CYCLEGAN, steps=STEPS):
        """Processes of one training, each with a run folder; none outlives the context."""
        words = f"{model} --batch_size 4 --epoch 2 --iteration {steps // 2}"
        words += f" --save_freq {steps // 4 or 1} --print_freq 3 --log_freq 1"
        words += f" --keep {STEPS} --dataset tiny --data_dir {self.folder / 'data'}"
        several = len(run_dirs) > 1
        workers = [f"localhost:{port}" for port in free_ports(len(run_dirs))]
        number = len(list(self.folder.glob("*.txt")))
        processes = []
        for index, run_dir in enumerate(run_dirs):
            config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
            processes.append(
                Process(
                    [*words.split(), "--run_dir", str(run_dir), *["--strategy", "multi_worker"] * several],
                    self.folder / f"{number + index}.txt",
                    {"TF_CONFIG": json.dumps(config)} if several else {},
                )
            )
        try:
            yield processes
        finally:
            for process in processes:
                process.process.kill()
                process.process.wait()

    def finish(self, *run_dirs, **training):
        """Run to the end; returns the outputs."""
        with self.started(*run_dirs, **training) as processes:
            for process in processes:
                assert process.end() == 0, process.text
            return [process.text for process in processes]


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("localhost", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return Site(tmp_path_factory.mktemp("two_workers"))


@pytest.fixture(scope="module")
def straight(site):
    """A run of two workers to its end: run folder of the chief, one that the other was given, and the outputs."""
    folders = site.folder / "straight", site.folder / "other"
    return *folders, site.finish(*folders)


@pytest.fixture(scope="module")
def alone(site):
    """The same by one process."""
    site.finish(site.folder / "alone")
    return site.folder / "alone"


def losses(run_dir, first=1):
    """The logged losses, by step; without shares of right answers, which a rounded sign decides."""
    lines = [json.loads(line) for line in (run_dir / "logs" / "losses.jsonl").read_text().splitlines()]
    names = [name for name in lines[0] if name.startswith(("d_", "g_"))]
    return [(line["step"], {name: line[name] for name in names}) for line in lines if line["step"] >= first]


def checkpoint(run_dir, step):
    return run_dir / "checkpoint" / f"step-{step:08d}.npz"


def test_losses_are_those_of_one_process(straight, alone):
    """To rounding in the first steps, which Adam's first updates make larger later: see test_replicas.py."""
    two, one = losses(straight[0]), losses(alone)
    assert [step for step, _ in two] == [step for step, _ in one] == list(range(1, STEPS + 1))
    for (step, expected), (_, found) in zip(one, two, strict=True):
        assert found == pytest.approx(expected, rel=1e-5 if step <= 3 else 1e-2), step


def test_losses_and_gradients_of_u_gat_it_are_those_of_one_process(site):
    """Adam's first moments after one step are 1 - beta_1 times the gradients."""
    one, two, other = (site.folder / f"ugatit_{name}" for name in ("one", "two", "other"))
    site.finish(one, model=UGATIT, steps=2)
    site.finish(two, other, model=UGATIT, steps=2)
    for (step, expected), (_, found) in zip(losses(one), losses(two), strict=True):
        assert found == pytest.approx(expected, rel=1e-5), step
    expected, found = (archive.read(checkpoint(folder, 1))[0] for folder in (one, two))
    moments = [name for name in expected if name.startswith("adam/") and name.endswith("/m")]
    for network in {name.split("/")[1] for name in moments}:
        own = [name for name in moments if name.split("/")[1] == network]
        largest = max(np.abs(expected[name]).max() for name in own)
        assert largest > 0
        for name in own:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-3, atol=1e-5 * largest, err_msg=name)


def test_the_chief_alone_writes_and_reports(straight):
    run_dir, other, (chief, second) = straight
    assert {path.name for path in run_dir.iterdir()} == {"checkpoint", "config.json", "logs", "samples"}
    assert list(other.rglob("*")) == []
    assert "2 devices on 2 machines; images of each domain in a step: 2 each." in chief
    assert f"step {STEPS}/{STEPS}" in chief
    assert "Worker 1 of 2: worker 0 reports and saves." in second
    assert "step" not in second


def test_workers_that_do_not_share_the_run_folder_cannot_go_on(site, straight):
    with site.started(*straight[:2]) as processes:
        for process in processes:
            assert process.end() == 2, process.text
            assert "ugatit: the workers find different checkpoints in " in process.text
            assert "Give a --run_dir on storage that all of them share." in process.text


def test_a_run_that_loses_workers_ends_as_one_that_does_not(site, straight):
    """Worker 1 is killed, then worker 0, then worker 1 is asked to stop; each time the same command goes on."""
    run_dir = site.folder / "lossy"

    with site.started(run_dir, run_dir) as (chief, second):
        chief.wait_for(checkpoint(run_dir, 2).exists)
        second.process.kill()
        assert chief.end(120) == 1, chief.text
        told_of_the_loss(chief)

    with site.started(run_dir, run_dir) as (chief, second):
        chief.wait_for(lambda: "Run folder" in chief.text)
        assert "Going on from" in chief.text
        chief.process.kill()
        assert second.end(240) == 1, second.text
        told_of_the_loss(second)

    reached = max(archive.step_of(path) for path in archive.list_checkpoints(run_dir / "checkpoint"))
    with site.started(run_dir, run_dir) as (chief, second):
        chief.wait_for(lambda: f"step {reached + 1}/{STEPS}" in chief.text)
        second.process.send_signal(signal.SIGTERM)
        assert (chief.end(), second.end()) == (0, 0), chief.text + second.text
        stopped = archive.step_of(archive.list_checkpoints(run_dir / "checkpoint")[-1])
        assert f"Stopped at step {stopped} and saved." in chief.text
        assert reached < stopped < STEPS

    chief, _ = site.finish(run_dir, run_dir)
    assert f"step {stopped} of {STEPS}" in chief
    expected, found = (archive.read(checkpoint(folder, STEPS))[0] for folder in (straight[0], run_dir))
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    assert losses(run_dir) == losses(straight[0])


def told_of_the_loss(process):
    last = process.text.splitlines()[-1]
    assert last.startswith("ugatit: Another of the 2 workers has died, or cannot be reached ("), process.text
    assert last.endswith("start all workers again with the same command.")
    assert "Traceback" not in process.text
    assert "{{" not in last


def test_one_process_goes_on_with_the_checkpoint_of_two(site, straight):
    run_dir, begun = site.folder / "fewer", STEPS // 2
    shutil.copytree(straight[0], run_dir)
    for step in range(begun + 1, STEPS + 1):
        checkpoint(run_dir, step).unlink(missing_ok=True)
    [text] = site.finish(run_dir)
    assert f"Going on from {checkpoint(run_dir, begun)}, step {begun} of {STEPS}." in text
    two, one = losses(straight[0]), losses(run_dir)
    assert one[:begun] == two[:begun]
    assert [step for step, _ in one] == list(range(1, STEPS + 1))
    for (step, expected), (_, found) in zip(two[begun:], one[begun:], strict=True):
        assert found == pytest.approx(expected, rel=1e-5 if step <= begun + 2 else 1e-2), step
