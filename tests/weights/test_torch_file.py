"""The oracle is PyTorch: tests/golden/torch_file/make.py wrote the golden files; hostile ones are assembled here."""

import os
import pickle
import random
import re
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ugatit_tf.weights import torch_file
from ugatit_tf.weights.torch_file import read_torch_file

GOLDEN = Path(__file__).parents[1] / "golden" / "torch_file"
CONTAINERS = ("zip", "stream")
BASE = np.arange(10, dtype="f4")
EXPECTED = {
    "genA2B": {"weight": BASE.reshape(2, 5), "num_batches_tracked": np.array(7, "i8")},
    "disGA": {
        "parameter": BASE[:3],
        "transposed": np.array([[0, 3], [1, 4], [2, 5]], "f4"),
        "head": BASE[:4],
        "tail": BASE[4:],
        "every_third": np.array([1, 4, 7], "f4"),
        "expanded": np.array([[1, 1, 1], [2, 2, 2]], "f4"),
        "double": np.array([0.1, -1e300]),
        "half": np.array([-0.5, 65504], "f2"),
        "bfloat16": np.array([[-1.5, 0], [2.0**100, 3]], "f4"),
        "bfloat16_scalar": np.array(-1.5, "f4"),
        "int": np.array([-(2**31), 5], "i4"),
        "short": np.array([-(2**15), 5], "i2"),
        "char": np.array([-128, 5], "i1"),
        "byte": np.array([255, 5], "u1"),
        "bool": np.array([True, False]),
        "bool_scalar": np.array(True),
        "empty": np.zeros((0, 3), "f4"),
    },
}


def code(value):
    """Pickle instructions that put a value on the stack; bytes are instructions already."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        return b"}(" + b"".join(code(name) + code(item) for name, item in value.items()) + b"u"
    if isinstance(value, tuple):
        return b"(" + b"".join(map(code, value)) + b"t"
    return pickle.dumps(value, 2)[2:-1]


def tensor(size=(6,), stride=(1,), offset=0, elements=6, *more, kind=b"torch\nFloatStorage", key="0"):
    storage = code(("storage", b"c" + kind + b"\n", key, "cpu", elements)) + b"Q"
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + code((storage, offset, size, stride, False, b"}", *more)) + b"R"


def write(path, container, program, storages=None, keys=None, **changes):
    """A checkpoint with a program for its pickle; storages default to what `tensor` needs, the float32 0 to 5."""
    program = b"\x80\x02" + code(program) + b"."
    if storages is None:
        storages = {"0": BASE[:6].tobytes()} if b"storage" in program else {}
    if container == "zip":
        entries = {"data.pkl": program, **{f"data/{key}": raw for key, raw in storages.items()}, **changes}
        with zipfile.ZipFile(path, "w") as file:
            for name, content in entries.items():
                file.writestr(f"archive/{name}", content)
    else:
        head = [pickle.dumps(0x1950A86A20F9469CFC6C, 2), pickle.dumps(1001, 2), pickle.dumps({"little_endian": True})]
        tail = [struct.pack("<q", len(raw) // 4) + raw for raw in storages.values()]
        path.write_bytes(b"".join([*head, program, pickle.dumps(keys or list(storages), 2), *tail]))
    return path


def refused(path, *words):
    """Reading must give a ValueError whose message names the file and has the words."""
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        read_torch_file(path)
    for word in words:
        assert word in str(caught.value)


@pytest.fixture(params=CONTAINERS)
def save(request, tmp_path):
    return lambda *args, **kwargs: write(tmp_path / "x.pt", request.param, *args, **kwargs)


@pytest.mark.parametrize("name", ["zip", "stream", "protocol4"])
def test_reads_what_pytorch_wrote(name):
    actual = read_torch_file(GOLDEN / f"{name}.pt")
    assert {network: list(state) for network, state in actual.items()} == {
        network: list(state) for network, state in EXPECTED.items()
    }
    for network, state in EXPECTED.items():
        for entry, expected in state.items():
            array = actual[network][entry]
            assert type(array) is np.ndarray
            assert array.flags.c_contiguous
            assert array.flags.writeable
            np.testing.assert_array_equal(array, expected, err_msg=entry, strict=True)
    actual["disGA"]["head"][:] = -1  # its storage is shared in the file, its memory is not
    np.testing.assert_array_equal(actual["disGA"]["every_third"], EXPECTED["disGA"]["every_third"])


def test_reads_assembled_files(save):
    state = {"gen": {"a": tensor((2, 2), (3, 1), 1), "b": tensor()}}
    actual = read_torch_file(save(state))["gen"]  # the files that are refused below differ from this in one thing
    np.testing.assert_array_equal(actual["a"], np.array([[1, 2], [4, 5]], "f4"), strict=True)
    np.testing.assert_array_equal(actual["b"], BASE[:6], strict=True)


def test_big_endian(tmp_path):
    storages = {"0": BASE[:6].astype(">f4").tobytes()}
    path = write(tmp_path / "x.pt", "zip", {"a": {"b": tensor()}}, storages, byteorder="big")
    np.testing.assert_array_equal(read_torch_file(path)["a"]["b"], BASE[:6], strict=True)
    refused(write(path, "zip", {}, byteorder="middle"), "byte order")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_torch_file(tmp_path / "none.pt")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html></html>", "web page"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"sys_info".ljust(257, b"\0") + b"ustar\0", "tar archive"),
        (b"cos\nsystem\n(S'true'\ntR.", "not a PyTorch checkpoint"),
        (pickle.dumps({"genA2B": 1}), "not one of PyTorch's"),
        (pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1002, 2), "not one of PyTorch's"),
    ],
)
def test_other_files(tmp_path, content, word):
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    refused(path, word)


def test_other_archives(tmp_path):
    path = write(tmp_path / "x.pt", "zip", {"a": {"b": tensor()}}, {})
    refused(path, "no entry 'archive/data/0'")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("word/document.xml", "")
    refused(path, "not one of PyTorch's")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(100))
    refused(path, "compressed")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", "")
        file.writestr("b/data.pkl", "")
    refused(path, "must have one entry")
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 6] = 99  # the version of zip that it needs
    path.write_bytes(content)
    refused(path, "version 9.9")
    content = write(path, "zip", {"a": {"b": tensor()}}).read_bytes()
    path.write_bytes(content.replace(BASE[:6].tobytes(), BASE[1:7].tobytes()))
    refused(path, "checksum", "download")


def test_zip_bomb(tmp_path):
    """Thirty entries that are one and the same range of the file."""
    path = write(tmp_path / "x.pt", "zip", {}, {f"{i:02}": b"" if i else bytes(10**4) for i in range(30)})
    with zipfile.ZipFile(path) as file:
        infos = file.infolist()
        offset, size = file.start_dir, file.getinfo("archive/data/00").header_offset
    content = bytearray(path.read_bytes())
    for info in infos:
        position = content.index(b"PK\1\2", offset)
        content[position + 20 : position + 28] = struct.pack("<II", 10**4, 10**4)
        content[position + 42 : position + 46] = struct.pack("<I", size)
        offset = position + 46 + len(info.filename)
    path.write_bytes(content)
    refused(path, "more bytes than the file has")


class Evil:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("where", ["entry", "value", "first"])
@pytest.mark.parametrize("function", [os.system, eval, np.array, getattr])
def test_nothing_is_run(tmp_path, save, function, where, protocol):
    proof = tmp_path / "proof"
    call = f"__import__('os').mkdir({str(proof)!r})" if function is eval else f"mkdir {proof}"
    raw = pickle.dumps(Evil(function, (call,)), protocol)
    path = save({"entry": {"genA2B": raw[2:-1]}, "value": raw[2:-1]}.get(where, {}))
    if where == "first":
        path.write_bytes(raw)
    refused(path, "refused, nothing was run", f".{function.__name__}'")
    assert not proof.exists()
    if function in (os.system, eval):
        pickle.loads(raw)
        assert proof.exists()  # the danger was real


def test_state_of_a_dict_is_dropped(save):
    """`BUILD` is how `_metadata` comes; on anything else it would set attributes."""
    state = {"keys": 1, "__class__": 2, "__dict__": 3}
    assert list(read_torch_file(save({"a": code({"b": tensor()}) + code(state) + b"b"}))["a"]) == ["b"]
    for target in (tensor(), b"ctorch._utils\n_rebuild_tensor_v2\n", code("text")):
        refused(save({"a": target + code(state) + b"b"}), "makes no sense")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (((7,), (1,)), "reaches to element 6 of a storage of 6"),
        (((6,), (1,), 1), "reaches to element 6"),
        (((2, 3), (4, 1)), "reaches to element 6"),
        (((1,), (1,), 6), "reaches to element 6"),
        (((), (), 6), "reaches to element 6"),
        (((2,), (2**61,)), "reaches to element"),
        (((6,), (-1,), 5), "negative"),
        (((-6,), (1,)), "negative"),
        (((6,), (1,), -1), "negative"),
        (((2**48, 0), (1, 1)), "impossible"),
        (((2**47, 2**47, 0), (1, 1, 1)), "'a', 'b'"),
        (((6,), ()), "wrongly"),
        (((1,) * 33, (1,) * 33), "wrongly"),
        (((1.0,), (1,)), "impossible"),
        (((True,), (1,)), "impossible"),
        (((6,), (1,), 0, 7), "declared"),
        (((6,), (1,), 0, -6), "declared"),
        (((2**40,), (0,)), "more elements"),
        (((10**4,), (0,)), "more elements"),
        (((6,), (1,), 0, 6, {"neg": True}), "negative view"),
        (((6,), (1,), 0, 6, {}, 1, 2), "makes no sense"),
    ],
)
def test_tensors_stay_inside_their_storage(save, arguments, word):
    refused(save({"a": {"b": tensor(*arguments)}}), word)


def test_stride_of_one_element_is_free(save):
    path = save({"a": {"b": tensor((1, 2), (2**62, 3), 2)}})  # PyTorch leaves any stride there
    np.testing.assert_array_equal(read_torch_file(path)["a"]["b"], [[2, 5]])


def test_storages_must_fit(save, tmp_path):
    state = {"a": {"b": tensor(), "c": tensor(kind=b"torch\nLongStorage")}}
    refused(save(state), "not a storage")
    refused(save({"a": {"b": tensor(kind=b"torch\nDoubleStorage")}}), "declared")
    refused(save({"a": {"b": tensor(kind=b"torch\nQInt8Storage")}}), "'torch.QInt8Storage'")
    refused(save({"a": {"b": code(("module", "x")) + b"Q"}}), "not a storage")
    for keys in (["1"], ["0", "0"], [0], ["0", "1"], [["0"]]):
        path = write(tmp_path / "x.pt", "stream", {"a": {"b": tensor()}}, keys=keys)
        refused(path, "list of storages")


@pytest.mark.parametrize("value", [1, 1.5, "text", None, True, (1,), [1], b"ctorch\nFloatStorage\n"])
def test_only_dicts_of_dicts_of_tensors(save, value):
    refused(save(value), "not a dict of state dicts")
    refused(save({"ok": {"x": tensor()}, "epoch": value}), "'epoch'", "not a state dict")
    refused(save({"gen": {"ok": tensor(), "epoch": value}}), "'gen', 'epoch'", "not a tensor")


def test_tensors_and_dicts_in_the_wrong_place(save):
    refused(save(tensor()), "a tensor, not a dict")
    refused(save({"conv.weight": tensor()}), "'conv.weight' is a tensor, not a state dict")
    refused(save({"a": {"b": {"c": tensor()}}}), "'a', 'b'", "type dict, not a tensor")
    refused(save({"a": {1: tensor()}}), "key that is a int")


@pytest.mark.parametrize(
    "program",
    [
        b"Nr\xff\xff\xff\x7f",  # a memo with 2 ** 31 places
        b"})" + b"\x85" * 10**5 + b"Ns",  # a key whose hash recurses
        b"})" + b"2\x86" * 60 + b"Ns",  # a key whose hash takes 2 ** 60 steps
        b"}(" + b")q\0h\0h\0\x87" * 60 + b"Nu",  # the same without DUP
        b"\x8b" + struct.pack("<i", 2**31 - 1),  # an int of 2 ** 31 bytes
        b"B" + struct.pack("<I", 2**32 - 1),
        b"X" + struct.pack("<I", 2**32 - 1),
        b"\x95" + struct.pack("<Q", 2**63),
        b"]" + b"2a" * 100,
        b"c",
        b"",
        b"ctorch._utils\n_rebuild_tensor_v2\n)R",
        b"ctorch\nFloatStorage\n)R",
        b"ctorch._utils\n_rebuild_parameter\n(NNtR",
        b"ctorch\nSize\n(ttR",
        code("torch.FloatStorage") + b")R",
    ],
    ids=range(16),
)
def test_hostile_programs(save, program):
    path = save(program)
    begin = time.monotonic()
    tracemalloc.start()
    try:
        refused(path)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
    assert time.monotonic() - begin < 30  # 2 ** 60 steps take longer, the slowest machine not


@pytest.mark.parametrize("program", [b"h\7", b"u", b"t", b"R", b"NR", b"(NNR", b"]]s", b"NNb", b"Q", b"\x93", b"K\1a"])
def test_broken_programs(save, program):
    refused(save(program), "makes no sense")


def test_long_program(tmp_path):
    refused(write(tmp_path / "x.pt", "zip", b"(" * 2**19), "more than 524288 bytes")


def test_shared_values_do_not_multiply(save):
    """300 networks with one state dict of 300 tensors of one storage: 90 000 arrays from a few kilobytes."""
    shared = {str(i): b"h\1" for i in range(300)}
    program = tensor() + b"q\1" + code(shared) + b"q\2" + code({str(i): b"h\2" for i in range(300)})
    refused(save(program), "more elements than the file could hold")


def test_truncated_anywhere(save):
    path = save({"gen": {"a": tensor((2, 2), (3, 1), 1), "b": tensor()}})
    truncate(path, path.read_bytes(), 1)


@pytest.mark.parametrize("container", CONTAINERS)
def test_truncated(tmp_path, container):
    truncate(tmp_path / "x.pt", (GOLDEN / f"{container}.pt").read_bytes(), 7)


def truncate(path, content, step):
    for length in range(0, len(content), step):
        path.write_bytes(content[:length])
        refused(path, "not a PyTorch checkpoint" if content[:length] in (b"P", b"PK", b"PK\3") else "download")


@pytest.mark.parametrize("container", CONTAINERS)
def test_flipped_bits(tmp_path, container):
    """Any result but a ValueError or arrays fails, and so does a large allocation."""
    content = (GOLDEN / f"{container}.pt").read_bytes()
    path, rng, outcomes = tmp_path / "x.pt", random.Random(0), set()
    tracemalloc.start()
    try:
        for _ in range(600):
            changed = bytearray(content)
            for _ in range(rng.choice([1, 1, 2, 8])):
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            path.write_bytes(changed)
            try:
                read_torch_file(path)
                outcomes.add("read")
            except ValueError:
                outcomes.add("refused")
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize("start", [b"", b"PK\3\4", b"\x80\x02", b"\x80\x02}"])
def test_garbage(tmp_path, start):
    path, rng = tmp_path / "x.pt", random.Random(0)
    for _ in range(200):
        path.write_bytes(start + rng.randbytes(rng.randrange(1, 300)))
        refused(path)


def test_random_programs(save):
    """Allowed instructions in a random order; unlike garbage, these get far."""
    rng = random.Random(0)
    pieces = [b"}", b"]", b")", b"(", b"t", b"u", b"s", b"e", b"a", b"R", b"b", b"Q", b"\x85", b"\x86", b"\x87", b"N"]
    pieces += [b"\x94", b"q\0", b"h\0", b"\x93", b"ctorch\nSize\n", b"ccollections\nOrderedDict\n", b"K\1", code("0")]
    pieces += [tensor(), b"ctorch._utils\n_rebuild_tensor\n", b"ctorch\nFloatStorage\n", code({"x": tensor()})]
    for _ in range(1000):
        try:
            read_torch_file(save(b"".join(rng.choices(pieces, k=rng.randrange(20)))))
        except ValueError:
            continue


@pytest.mark.parametrize("keys", [["state_dict"], ["model"], ["params", "model_state_dict"]])
def test_dicts_around_the_networks(keys):
    """Training programs save a step and the like beside the networks, which may be a level deeper."""
    state = {"a": "tensor"}
    value = {"genA2B": state, "disGA": {"state_dict": state}, "epoch": 3}
    for key in keys:
        value = {"epoch": 3, key: value, "optimizer": {"lr": 0.1}}
    assert torch_file._unwrap(value) == {"genA2B": state, "disGA": state}


def test_tensors_without_a_networks_name(save):
    refused(save({"a.weight": tensor()}), "nothing says which network it is of", "torch.save({'genA2B': state}, path)")


def test_a_dict_inside_itself_ends():
    value = {"epoch": 3}
    value["model"] = value
    assert torch_file._unwrap(value) is value
