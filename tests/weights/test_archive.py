"""A run's checkpoint files: exact, atomic, and torn ones are noticed."""

import collections
import errno
import os
import tracemalloc

import numpy as np
import pytest

from ugatit_tf.weights import archive

ARRAYS = {
    "gen/a/kernel": np.arange(600, dtype="float32").reshape(20, 30) / 7,
    "gen/a/empty": np.zeros((0, 3), "float32"),
    "odd": np.array([np.inf, np.nan, -0.0, 1e-45], "float32"),
    "steps": np.int64(7),
}


def test_round_trip(tmp_path):
    archive.write(tmp_path / "step-00000007.npz", ARRAYS, '{"x": 1}')
    arrays, config = archive.read(tmp_path / "step-00000007.npz")
    assert config == '{"x": 1}'
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
    assert np.signbit(arrays["odd"][2])
    assert archive.read_config(tmp_path / "step-00000007.npz") == config


@pytest.fixture
def small(tmp_path):
    """A file with a little of everything, its bytes, and its reader: those bytes changed, written, and read."""
    path = tmp_path / "step-00000001.npz"
    arrays = {"gen/kernel": np.arange(6, dtype="float32").reshape(2, 3), "steps": np.int64(7)}
    archive.write(path, arrays, "{}")

    def read(content):
        path.write_bytes(content)
        return archive.read(path)

    return path.read_bytes(), read, arrays


def test_torn_anywhere(small):
    whole, read, _ = small
    for length in (*range(0, len(whole), 7), len(whole) - 1):
        with pytest.raises(ValueError, match=r"step-00000001\.npz is torn"):
            read(whole[:length])


def test_the_configuration_of_what_is_none(small, tmp_path):
    path = tmp_path / "step-00000001.npz"
    for content in (b"", small[0][:-30], b"no zip"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"step-00000001\.npz is torn, or no checkpoint"):
            archive.read_config(path)
    np.savez(path, other=np.zeros(1))
    with pytest.raises(ValueError, match=r"step-00000001\.npz is torn, or no checkpoint"):
        archive.read_config(path)
    with pytest.raises(FileNotFoundError):
        archive.read_config(tmp_path / "none.npz")


def flip(content, position, bit):
    return content[:position] + bytes([content[position] ^ (1 << bit)]) + content[position + 1 :]


def refused_or_unchanged(small, positions, bits):
    """Dates and the like may flip unnoticed; what is read is what was written."""
    whole, read, arrays = small
    refused = 0
    for position in positions:
        for bit in bits:
            try:
                got, config = read(flip(whole, position, bit))
            except ValueError:
                refused += 1
            else:
                assert config == "{}"
                assert set(got) == set(arrays)
                for name, array in got.items():
                    np.testing.assert_array_equal(array, arrays[name])
    return refused


def test_a_flipped_bit_is_an_error_or_without_effect(small):
    whole = small[0]
    assert refused_or_unchanged(small, range(0, whole.index(b"PK\1\2"), 2), [5]) > 100
    position = whole.index(np.float32(4).tobytes())
    with pytest.raises(ValueError, match="torn"):  # an array's number
        small[1](flip(whole, position + 3, 1))


@pytest.mark.parametrize("start", [b"PK\1\2", b"PK\5\6"], ids=["directory", "its end"])
def test_a_flipped_bit_in_the_zip_directory(small, start):
    first = small[0].index(start)
    refused_or_unchanged(small, range(first, first + 22), range(8))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"\x93NUMPY", b"\x80\x04N."], ids=repr)
def test_other_files(small, content):
    with pytest.raises(ValueError, match="torn, or no checkpoint of ugatit_tf"):
        small[1](content)


def test_arrays_of_somebody_else(tmp_path):
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match="no checkpoint of ugatit_tf"):
        archive.read(tmp_path / "other.npz")
    with pytest.raises(FileNotFoundError):
        archive.read(tmp_path / "nothing.npz")


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
    for path in archive.list_checkpoints(tmp_path):
        path.write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"All 3 checkpoints in .* are torn. Move them away"):
        archive.read_newest(tmp_path, told.append)


def test_names_count_steps(tmp_path):
    """Nine digits come after eight, and what is being written does not count."""
    names = ["step-100000000.npz", "step-99999999.npz", ".step-00000001.npz.12.tmp", "step-1.npz"]
    for name in names:
        (tmp_path / name).touch()
    assert [path.name for path in archive.list_checkpoints(tmp_path)] == ["step-99999999.npz", "step-100000000.npz"]
    assert archive.step_of("x/step-00000012.npz") == 12


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


def test_one_array_at_a_time_is_in_memory(tmp_path):
    """The state of a full model is 8 GB, beside what the step has taken."""

    class Arrays(collections.abc.Mapping):
        def __getitem__(self, name):
            return np.zeros(2**18, np.float32)  # 1 MiB

        def __iter__(self):
            return (f"x{index}" for index in range(20))

        def __len__(self):
            return 20

    tracemalloc.start()
    try:
        archive.write(tmp_path / "step-00000001.npz", Arrays(), "{}")
        assert tracemalloc.get_traced_memory()[1] < 5 * 2**20
    finally:
        tracemalloc.stop()
    assert len(archive.read(tmp_path / "step-00000001.npz")[0]) == 20
