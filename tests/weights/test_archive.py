"""A run's checkpoint files: exact, atomic, and torn ones are noticed."""

import errno
import os

import numpy as np
import pytest

from ugatit_tf.weights import archive

ARRAYS = {"gen/a/kernel": np.arange(600, dtype="float32").reshape(20, 30), "steps": np.int64(7)}


def test_round_trip(tmp_path):
    archive.write(tmp_path / "step-00000007.npz", ARRAYS, '{"x": 1}')
    arrays, config = archive.read(tmp_path / "step-00000007.npz")
    assert config == '{"x": 1}'
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype


def test_torn_and_altered_files_are_value_errors(tmp_path):
    path = tmp_path / "step-00000001.npz"
    archive.write(path, ARRAYS, "{}")
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="torn"):
            archive.read(path)
    position = whole.index(np.float32(300).tobytes())
    path.write_bytes(whole[:position] + b"\xff" + whole[position + 1 :])
    with pytest.raises(ValueError, match="torn"):
        archive.read(path)


def test_newest_whole_one_is_taken(tmp_path):
    for step in (2, 10, 9):
        archive.write(tmp_path / f"step-{step:08d}.npz", {"steps": np.int64(step)}, "{}")
    (tmp_path / "step-00000010.npz").write_bytes(b"torn")
    (tmp_path / "step-notes.npz").write_bytes(b"")
    told = []
    path, arrays, _ = archive.read_newest(tmp_path, told.append)
    assert path.name == "step-00000009.npz"
    assert int(arrays["steps"]) == 9
    assert len(told) == 1
    assert "step-00000010.npz is torn" in told[0]
    assert archive.read_newest(tmp_path / "none", told.append) is None


def test_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "step-00000001.npz"
    archive.write(path, {"steps": np.int64(1)}, "{}")
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        archive.write(path, ARRAYS, "{}")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
