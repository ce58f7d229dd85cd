"""Replacing a file: the whole new one or the whole old one, and nothing beside it."""

import dataclasses
import errno
import os
import stat
import time

import pytest

from ugatit_tf.weights import atomic
from ugatit_tf.weights.process import Process


@pytest.fixture(params=["new", "replaced"])
def path(request, tmp_path):
    path = tmp_path / "file.bin"
    if request.param == "replaced":
        path.write_bytes(b"old")
    return path


def contents(path):
    """Of everything in the folder."""
    return {file.name: file.read_bytes() for file in path.parent.iterdir()}


def test_the_file_appears_when_the_block_ends(path):
    before = contents(path)
    with atomic.replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert {name: content for name, content in contents(path).items() if name == path.name} == before
    assert contents(path) == {"file.bin": b"new"}


def test_a_block_that_fails_leaves_what_was_there(path):
    before = contents(path)

    def write():
        with atomic.replacing(path) as file:
            file.write(b"half")
            raise KeyError("stopped")

    with pytest.raises(KeyError, match="stopped"):
        write()
    assert contents(path) == before


def test_a_full_disk_leaves_what_was_there(path, monkeypatch):
    before = contents(path)

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    def write():
        with atomic.replacing(path) as file:
            file.write(b"new")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left.*file\.bin"):
        write()
    assert contents(path) == before


def test_the_content_is_synced_before_the_rename_and_the_folder_after_it(path, monkeypatch):
    """What a crash would leave shows only in the order of the calls."""
    calls = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor):
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def renamed(source, target):
        calls.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    with atomic.replacing(path) as file:
        file.write(b"new")
    assert calls == ["file", "rename", "folder"]


def fails_on(kind, number, monkeypatch):
    """Let syncing a file or a folder fail with an errno."""
    fsync = os.fsync

    def failing(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) == (kind == "folder"):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)


def check_replaced(path):
    """The file is written and in its place, and nothing is beside it."""
    with atomic.replacing(path) as file:
        file.write(b"new")
    assert contents(path) == {"file.bin": b"new"}


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EACCES, errno.ENOTSUP, errno.EIO, errno.EBADF, errno.ENOSPC])
def test_a_folder_that_cannot_be_synced_costs_nothing(number, path, monkeypatch):
    """WSL, SMB and FUSE mounts: the file is written, synced and in its place."""
    fails_on("folder", number, monkeypatch)
    check_replaced(path)


def test_a_folder_that_cannot_be_opened_costs_nothing(path, monkeypatch):
    opened = os.open

    def refuse(name, flags, *more, **words):
        if os.path.isdir(name):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(name))
        return opened(name, flags, *more, **words)

    monkeypatch.setattr(os, "open", refuse)
    check_replaced(path)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_sync_takes_files(number, path, monkeypatch):
    fails_on("file", number, monkeypatch)
    check_replaced(path)


def test_a_file_that_could_not_be_synced_is_not_put_there(path, monkeypatch):
    before = contents(path)
    fails_on("file", errno.EIO, monkeypatch)
    with pytest.raises(OSError, match=r"file\.bin"), atomic.replacing(path) as file:
        file.write(b"new")
    assert contents(path) == before


@pytest.mark.parametrize("name", ["a" * 251 + ".png", "写" * 83 + ".jpg"])
def test_a_name_as_long_as_the_file_system_takes(name, tmp_path):
    with atomic.replacing(tmp_path / name) as file:
        file.write(b"new")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_drafts_go_when_their_process_has_gone(tmp_path):
    """One of this process, one of a process that has ended, and two whose process cannot be known, one a day old."""
    mine = Process.here()
    dead = dataclasses.replace(mine, started="long ago")
    unseen = dataclasses.replace(mine, machine="another")
    names = {name: f".step-1.npz.{owner.tag}-0.tmp" for name, owner in (("mine", mine), ("dead", dead), ("un", unseen))}
    names |= {"old": ".step-2.npz.1.tmp", "other": f".table.txt.{dead.tag}-3.tmp"}  # an earlier version's name
    for name in names.values():
        (tmp_path / name).write_bytes(b"half")
    os.utime(tmp_path / names["old"], (0, 0))
    (tmp_path / "step-3.tmp").write_bytes(b"no draft")
    atomic.remove_abandoned(tmp_path, "step-*")
    assert {path.name for path in tmp_path.iterdir()} == {names["mine"], names["un"], names["other"], "step-3.tmp"}
    atomic.remove_abandoned(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {names["mine"], names["un"], "step-3.tmp"}


def test_two_drafts_of_one_file_are_two(tmp_path):
    path = tmp_path / "x"
    with atomic.replacing(path) as first:
        with atomic.replacing(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
        first.write(b"first")
    assert contents(path) == {"x": b"first"}


HOUR = 3600


def abandon(folder, name, hours=0):
    """What a killed process left: a folder in which something changed last some hours ago."""
    place = folder / name
    (place / "inside").mkdir(parents=True)
    (place / "inside" / "part").write_bytes(b"half")
    for path in (*place.rglob("*"), place):
        os.utime(path, 2 * (time.time() - hours * HOUR,))
    return place


def test_folders_go_by_the_same_rule(tmp_path):
    """After a restart, or from another container, nobody can see whether a process runs: there the age decides."""
    mine = Process.here()
    dead, unseen = dataclasses.replace(mine, started="long ago"), dataclasses.replace(mine, machine="another")
    kept = {
        abandon(tmp_path, f".export.{mine.tag}-0.tmp", hours=1000),
        abandon(tmp_path, f".export.{unseen.tag}-0.tmp", hours=23),
        abandon(tmp_path, f".{'0' * 32}", hours=23),
        abandon(tmp_path, f".other.{dead.tag}-0.tmp", hours=25),
        abandon(tmp_path, f"export.{dead.tag}-0.tmp", hours=25),
    }
    for name, hours in ((f"export.{dead.tag}-0.tmp", 0), (f"export.{unseen.tag}-1.tmp", 25), ("1" * 32, 25)):
        abandon(tmp_path, f".{name}", hours)
    fresh = abandon(tmp_path, f".export.{unseen.tag}-2.tmp", hours=25)
    os.utime(fresh / "inside" / "part")  # somebody writes it
    atomic.remove_abandoned(tmp_path, "export.*", atomic.OLD_DRAFTS)
    assert set(tmp_path.iterdir()) == {*kept, fresh}
    atomic.remove_abandoned(tmp_path / "none", "*", atomic.OLD_DRAFTS)


def test_a_link_goes_and_what_it_leads_to_stays(tmp_path):
    there = abandon(tmp_path, "there")
    dead = dataclasses.replace(Process.here(), started="long ago")
    (tmp_path / f".x.{dead.tag}-0.tmp").symlink_to(there)
    atomic.remove_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == [there]
    assert (there / "inside" / "part").exists()


def test_the_name_of_a_draft():
    first, second = atomic.draft_name("n" * 30), atomic.draft_name(".hidden")
    assert first.startswith(f".{'n' * 20}.{Process.here().tag}-")
    assert second.startswith(f".hidden.{Process.here().tag}-")
    assert not atomic.is_abandoned(first, 0)
    assert atomic.is_abandoned(".anything", 0)
