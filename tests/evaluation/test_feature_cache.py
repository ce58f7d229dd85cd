"""The cache of features: what counts as the same, and files that are of no use."""

import errno
import os
import pathlib
import pickle
import types

import numpy as np
import pytest

from ugatit_tf.evaluation import cache
from ugatit_tf.evaluation.cache import cached_features

FEATURES = np.float32([[0.1, -2, 1e-7], [3, 4, 1e9]])
PROBABILITIES = np.float32([[0.25, 0.75], [1, 0]])
NETWORK = types.SimpleNamespace(digest="d1", dimension=3)


class Compute:
    """Gives FEATURES, and counts."""

    def __init__(self, probabilities=PROBABILITIES):
        self.probabilities = probabilities
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return FEATURES, self.probabilities


@pytest.fixture
def paths(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        path.write_bytes(path.name.encode())
    return paths


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache" / "features"


def is_computed(paths, folder, network=NETWORK, extra="64 px"):
    compute = Compute()
    cached_features(network, paths, compute, extra, folder)
    return bool(compute.calls)


@pytest.mark.parametrize("probabilities", [PROBABILITIES, None], ids=["with probabilities", "without"])
def test_the_second_time_nothing_is_computed(paths, folder, probabilities):
    compute = Compute(probabilities)
    for _ in range(3):
        features, classes = cached_features(NETWORK, paths, compute, "64 px", folder)
        assert features.dtype == np.float32
        np.testing.assert_array_equal(features, FEATURES)
        if probabilities is None:
            assert classes is None
        else:
            np.testing.assert_array_equal(classes, probabilities)
    assert compute.calls == 1
    assert len(list(folder.iterdir())) == 1


def test_what_the_features_depend_on(paths, folder):
    assert is_computed(paths, folder)
    assert not is_computed(paths, folder)
    assert is_computed(paths[::-1], folder)
    assert is_computed(paths, folder, extra="128 px")
    assert is_computed(paths, folder, types.SimpleNamespace(digest="d2", dimension=3))
    assert is_computed(paths, folder, types.SimpleNamespace(digest="d164", dimension=3), " px")  # joined, the same
    paths[1].write_bytes(b"other")
    assert is_computed(paths, folder)
    assert not is_computed(paths, folder)


def test_names_do_not_count(paths, folder):
    assert is_computed(paths, folder)
    assert not is_computed([path.rename(path.with_suffix(".jpg")) for path in paths], folder)


def test_a_file_that_cannot_be_read(paths, folder):
    paths[1].unlink()
    with pytest.raises(FileNotFoundError, match=r"b\.png"):
        is_computed(paths, folder)


class Harmful:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


def bad_files(path):
    """Contents that are no features of two images."""
    whole = path.read_bytes()
    yield from (whole[: len(whole) * part // 9] for part in range(9))
    yield whole[:-1]
    place = whole.index(FEATURES.tobytes())
    yield whole[:place] + b"?" + whole[place + 1 :]  # the checksum tells
    harmful = np.array([Harmful(path.parent / "harmed")], object)
    arrays = (
        {"other": FEATURES},
        {"features": FEATURES[:1]},
        {"features": FEATURES[:, :2]},
        {"features": np.float64(FEATURES)},
        {"features": FEATURES, "probabilities": PROBABILITIES[:1]},
        {"features": FEATURES, "probabilities": np.float64(PROBABILITIES)},
        {"features": FEATURES, "probabilities": np.float32([1, 1])},
        {"features": FEATURES, "probabilities": np.array(1, np.float32)},
        {"features": harmful},
        {"features": FEATURES, "probabilities": harmful},
    )
    for content in arrays:
        with open(path, "wb") as file:
            np.savez(file, **content)
        yield path.read_bytes()
    with open(path, "wb") as file:
        np.save(file, FEATURES)
    yield path.read_bytes()
    yield pickle.dumps(harmful)
    yield b"a text"


def test_bad_files_are_replaced(paths, folder):
    assert is_computed(paths, folder)
    (path,) = folder.iterdir()
    for content in list(bad_files(path)):
        path.write_bytes(content)
        compute = Compute()
        features, probabilities = cached_features(NETWORK, paths, compute, "64 px", folder)
        assert compute.calls == 1, content
        np.testing.assert_array_equal(features, FEATURES)
        np.testing.assert_array_equal(probabilities, PROBABILITIES)
        assert not is_computed(paths, folder)
    assert list(folder.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_costs_the_time_alone(paths, tmp_path):
    (tmp_path / "file").touch()
    for _ in range(2):
        assert is_computed(paths, tmp_path / "file")
        assert is_computed(paths, tmp_path / "file" / "below")
    compute = Compute()
    features, probabilities = cached_features(NETWORK, paths, compute, "", tmp_path / "file")
    np.testing.assert_array_equal(features, FEATURES)
    np.testing.assert_array_equal(probabilities, PROBABILITIES)


def test_a_full_disk_leaves_nothing(paths, folder, monkeypatch):
    def write_half(file, **arrays):
        file.write(b"PK half of a file")
        assert not list(folder.glob("*.npz"))  # under its own name
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache.np, "savez", write_half)
    assert is_computed(paths, folder)
    assert list(folder.iterdir()) == []
    monkeypatch.undo()
    assert is_computed(paths, folder)
    assert not is_computed(paths, folder)


def test_the_default_folders(paths, tmp_path, monkeypatch):
    monkeypatch.setenv("UGATIT_CACHE", str(tmp_path / "chosen"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert is_computed(paths, None)
    assert [path.suffix for path in (tmp_path / "chosen").iterdir()] == [".npz"]
    assert not (tmp_path / "home").exists()
    monkeypatch.setenv("UGATIT_CACHE", "~/mine")  # as settings that no shell has read have it
    assert is_computed(paths, None)
    assert os.listdir(tmp_path / "chosen") == os.listdir(tmp_path / "home" / "mine")
    monkeypatch.delenv("UGATIT_CACHE")
    assert is_computed(paths, None)
    assert [path.suffix for path in (tmp_path / "home/.cache/ugatit_tf/features").iterdir()] == [".npz"]
    assert os.listdir(tmp_path / "chosen") == os.listdir(tmp_path / "home/.cache/ugatit_tf/features")
