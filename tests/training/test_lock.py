"""One training in a run folder: locks of the living are honoured, those of the dead are not."""

import dataclasses
import json
import os
import subprocess
import time

import pytest

from ugatit_tf.training import lock
from ugatit_tf.training.lock import RunInUseError, RunLock
from ugatit_tf.weights import process
from ugatit_tf.weights.process import Process


def write(folder, silent=0, **values):
    """A lock of another process, whose last sign of life is some seconds old."""
    owner = dataclasses.asdict(Process.here()) | {"since": "2026-01-02T03:04:05+00:00", "token": "theirs"} | values
    path = folder / lock.NAME
    path.write_text(json.dumps(owner))
    os.utime(path, (time.time() - silent,) * 2)
    return path


def enter(folder):
    with RunLock(folder):
        return json.loads((folder / lock.NAME).read_text())


def test_a_lock_names_its_owner_and_goes_with_it(tmp_path):
    found = enter(tmp_path)
    assert found["pid"] == os.getpid()
    assert found["host"] == Process.here().host
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError), RunLock(tmp_path):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_second_training_is_told_who_has_the_folder(tmp_path):
    with RunLock(tmp_path) as first:
        with pytest.raises(RunInUseError, match=rf"is in use by process {os.getpid()} on \S+ since 20"):
            enter(tmp_path)
        first.check()  # it still is the owner
    enter(tmp_path)


def test_the_lock_of_a_process_that_was_killed_is_free(tmp_path):
    with subprocess.Popen(["sleep", "60"]) as child:
        values = {"pid": child.pid, "started": process._look(child.pid)[1]}
        write(tmp_path, silent=10 * lock.STALE, **values)  # stopped (SIGSTOP, a closed notebook) is not dead
        with pytest.raises(RunInUseError, match=f"process {child.pid} .* since 2026-01-02 03:04:05"):
            enter(tmp_path)
        child.kill()
    assert enter(tmp_path)["pid"] == os.getpid()


@pytest.mark.parametrize("values", [{"started": "earlier"}, {"boot": "earlier"}], ids=["pid reused", "restarted"])
def test_a_dead_owner_of_this_machine_holds_nothing(values, tmp_path):
    write(tmp_path, **values)
    assert enter(tmp_path)["token"] != "theirs"


@pytest.mark.parametrize("values", [{"machine": "m", "host": "node7"}, {"namespace": "n", "host": "node7"}])
def test_an_owner_that_cannot_be_seen_is_honoured_while_it_shows_signs_of_life(values, tmp_path):
    path = write(tmp_path, silent=lock.STALE - 60, **values)
    with pytest.raises(RunInUseError, match=r"on node7 since .* last sign of life came 24\d s ago; 300 s after that"):
        enter(tmp_path)
    os.utime(path, (time.time() - lock.STALE - 1,) * 2)
    assert enter(tmp_path)["token"] != "theirs"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "[1]", '{"pid": 1}'])
def test_a_lock_that_says_nothing_is_honoured_as_long(text, tmp_path):
    """Made a moment ago, by a process that has not written into it yet."""
    path = tmp_path / lock.NAME
    path.write_text(text)
    with pytest.raises(RunInUseError, match=r"in use by another process.*If it is none, delete .*training\.lock"):
        enter(tmp_path)
    os.utime(path, (0, 0))
    enter(tmp_path)


def test_the_owner_shows_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.02)
    with RunLock(tmp_path):
        path = tmp_path / lock.NAME
        for failing in (False, True):
            if failing:  # a network folder that sets no times
                monkeypatch.setattr(lock.os, "utime", refuse)
            else:
                os.utime(path, (0, 0))
            before, deadline = path.stat().st_mtime_ns, time.monotonic() + 5
            while path.stat().st_mtime_ns == before:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert json.loads(path.read_text())["pid"] == os.getpid()


def refuse(*arguments):
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.parametrize("seen_by", ["the thread", "a check"])
def test_who_was_taken_for_dead_stops_and_touches_nothing(seen_by, tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.02 if seen_by == "the thread" else 60)
    with RunLock(tmp_path) as mine:
        path = write(tmp_path, silent=500, host="node7", machine="m", pid=7)
        if seen_by == "the thread":
            while mine._lost is None:
                time.sleep(0.01)
        with pytest.raises(RunInUseError, match="was taken over by process 7 on node7"):
            mine.check()
        before = path.stat().st_mtime_ns
        time.sleep(0.1)
        assert path.stat().st_mtime_ns == before
    assert json.loads(path.read_text())["token"] == "theirs"


def test_a_lock_replaced_while_it_was_removed_is_put_back(tmp_path, monkeypatch):
    """Two processes find a dead owner's lock; the other was faster."""
    path = write(tmp_path, started="earlier")
    rename = os.rename

    def late(source, target):
        monkeypatch.setattr(lock.os, "rename", rename)
        write(tmp_path, token="the faster one's")
        rename(source, target)

    monkeypatch.setattr(lock.os, "rename", late)
    with pytest.raises(RunInUseError):
        enter(tmp_path)
    assert json.loads(path.read_text())["token"] == "the faster one's"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_no_lock(tmp_path, monkeypatch):
    def full(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunLock, "_text", full)
    with pytest.raises(OSError, match="No space"):
        enter(tmp_path)
    assert list(tmp_path.iterdir()) == []
