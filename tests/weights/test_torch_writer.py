"""The oracles are the reader, which is held against PyTorch's own files, and PyTorch where there is one."""

import errno
import hashlib
import json
import os
import pathlib
import subprocess
import zipfile

import numpy as np
import pytest

import ugatit_tf
from ugatit_tf.weights.torch_file import read_torch_file
from ugatit_tf.weights.torch_writer import write_torch_file

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
BASE = np.arange(24, dtype="float32").reshape(2, 3, 4)
STATES = {
    "genB2A": {"z.weight": BASE, "a.bias": np.float32([3.5]), "transposed": BASE.transpose(2, 0, 1)},
    "genA2B": {"scalar": np.array(-1.5, "float32"), "none": np.zeros((0, 3), "float32"), "ä": BASE[:, ::2, 1]},
    "disGA": {"odd": np.array([[np.inf, np.nan, -0.0, 1e-45, np.finfo("float32").max]], "float32")},
    "empty": {},
    "many": {f"{i:03}": np.full((i % 3, 300), i, "float32") for i in range(300)},
}

DIGEST = "df370fa15453724eccea98ed165618c8fc594ae883f3fab78d10b87f9df32f0a"


def assert_same(actual, expected):
    """Equal names in equal order, shapes, types and bits."""
    assert {k: list(state) for k, state in actual.items()} == {k: list(state) for k, state in expected.items()}
    for network, state in expected.items():
        for name, array in state.items():
            got = actual[network][name]
            assert (got.dtype, got.shape) == (array.dtype, array.shape), (network, name)
            assert got.tobytes() == array.tobytes(), (network, name)


def test_the_reader_gives_back_every_bit(tmp_path):
    write_torch_file(tmp_path / "x.pt", STATES)
    actual = read_torch_file(tmp_path / "x.pt")
    assert list(actual) == list(STATES)
    assert_same(actual, STATES)


def test_equal_arrays_give_equal_bytes(tmp_path):
    """A fixed digest: the bytes depend neither on the name, the clock, the memory's layout nor Python's version."""
    for name, order in (("a.pt", "C"), ("other.pt", "F")):
        write_torch_file(tmp_path / name, {"n": {"w": np.asarray(BASE, order=order), "s": np.float32([1])}})
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == DIGEST


def test_the_container(tmp_path):
    """One folder, nothing compressed, and every entry begins at a multiple of 64 bytes."""
    path = tmp_path / "x.pt"
    write_torch_file(path, STATES)
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        infos = {info.filename: info for info in archive.infolist()}
        assert archive.read("archive/version") == b"3\n"
        assert archive.read("archive/byteorder") == b"little"
    count = sum(map(len, STATES.values()))
    names = ["data.pkl", "byteorder", *(f"data/{i}" for i in range(count)), "version"]
    assert list(infos) == [f"archive/{name}" for name in names]
    for info in infos.values():
        assert info.compress_type == zipfile.ZIP_STORED
        header = content[info.header_offset :][:30]
        start = info.header_offset + 30 + sum(int.from_bytes(header[i : i + 2], "little") for i in (26, 28))
        assert start % 64 == 0
        assert start + info.file_size <= len(content)
        if info.filename == "archive/data/0":
            assert content[start : start + info.file_size] == BASE.tobytes()


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32"])
def test_other_types_are_refused_before_anything_is_written(tmp_path, dtype):
    with pytest.raises(ValueError, match=f"from float32 arrays; received one of {dtype}"):
        write_torch_file(tmp_path / "x.pt", {"a": {"good": BASE, "bad": BASE.astype(dtype)}})
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "x.pt"
    write_torch_file(path, {"a": {"b": BASE}})
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_torch_file(path, STATES)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["light", "full"])
def test_an_official_file_is_written_again_entry_by_entry(tmp_path, kind):
    official = GOLDEN / f"pytorch_{kind}" / "params_0000000.pt"
    ugatit_tf.UGATIT.load(official).save_pt(tmp_path / "again.pt")
    expected, actual = read_torch_file(official), read_torch_file(tmp_path / "again.pt")
    assert list(actual) == list(expected)
    assert_same(actual, expected)


SCRIPT = """
import collections, json, sys, torch
options = [{"weights_only": True}, {"weights_only": False}, {"weights_only": True, "mmap": True}]
for option in options:
    value = torch.load(sys.argv[1], **option)
    assert type(value) is dict
    assert all(type(state) is collections.OrderedDict for state in value.values())
    tensors = {network: dict(state) for network, state in value.items()}
    assert all(t.is_contiguous() and not t.requires_grad for state in tensors.values() for t in state.values())
    describe = lambda t: [t.type(), list(t.shape), t.flatten().tolist(), t.data_ptr() % 4]
    print(json.dumps({network: {name: describe(t) for name, t in state.items()} for network, state in tensors.items()}))
"""


def test_pytorch_reads_it(tmp_path):
    python = os.environ.get("TORCH_PYTHON")
    if not python:
        pytest.skip("asks PyTorch itself: set TORCH_PYTHON to the path of a Python that has it")
    write_torch_file(tmp_path / "x.pt", STATES)
    command = [python, "-c", SCRIPT, tmp_path / "x.pt"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 3
    for line in lines:
        value = json.loads(line)
        actual = {network: {} for network in value}
        for network, state in value.items():
            for name, (kind, shape, numbers, misaligned) in state.items():
                assert (kind, misaligned) == ("torch.FloatTensor", 0)
                actual[network][name] = np.array(numbers, "float32").reshape(shape)
        assert list(actual) == list(STATES)
        assert_same(actual, STATES)
