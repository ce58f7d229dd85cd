"""Replacing a file: the whole new one or the whole old one, and nothing beside it."""

import errno
import os
import stat

import pytest

from ugatit_tf.weights import atomic


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
