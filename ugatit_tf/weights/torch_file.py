"""Reading the checkpoints that PyTorch writes, without PyTorch and without running what a file asks for.

A `.pt` file is a pickle, which is a program for a stack machine, with the elements of its tensors beside it. Python's
own unpickler is not used, not even with a filter on its globals: nine bytes can make it fill gigabytes (a memo's
index) and a deep tuple as a dictionary's key overflows its C stack. The machine here has only the instructions that
state dicts need, and nothing on its stack can be called but the four functions of `_GLOBALS`.
"""

import io
import math
import mmap
import os
import pickletools
import zipfile
import zlib
from dataclasses import dataclass

import numpy as np

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # the first two pickles of the container before PyTorch 1.6
_PICKLE_LIMIT = 2**19  # bytes; an official checkpoint's pickle has 20 kB, but each byte may cost 70 of memory
_AGAIN = "the file is truncated or damaged: download or copy it again"
_RESAVE = "save only the networks' state dicts, `torch.save({'genA2B': genA2B.state_dict(), ...}, path)`"
NETWORKS = ("genA2B", "genB2A", "disGA", "disGB", "disLA", "disLB")
_WRAPPERS = ("state_dict", "model_state_dict", "model", "networks", "params")
_NOT_TORCH = (
    (b"version https://git-lfs", "a git-lfs pointer and not the file itself: run `git lfs pull`"),
    (b"<", "a web page (HTML or XML) and not a checkpoint: download the file itself"),
    (b"\x1f\x8b", "compressed with gzip: decompress it first"),
)


@dataclass(frozen=True)
class _Dtype:
    stored: str
    loaded: str

    @property
    def itemsize(self):
        return np.dtype(self.stored).itemsize


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: _Dtype
    elements: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    size: tuple
    stride: tuple


def _ordered_dict():
    return {}


def _rebuild_tensor(storage, offset, size, stride, requires_grad=None, hooks=None, metadata=None):
    fields = (storage, offset, size, stride)
    if [*map(type, fields)] != [_Storage, int, tuple, tuple] or len(size) != len(stride) or len(size) > 32:
        raise ValueError(f"it describes a tensor wrongly; {_AGAIN}")
    if {*map(type, size + stride)} - {int} or min(offset, *size, *stride, 0) < 0 or max(offset, *size, 0) >= 2**48:
        raise ValueError(f"it describes a tensor with a negative or impossible size, stride or offset; {_AGAIN}")
    if metadata:  # bits that say "conjugate" or "negate" the elements
        raise ValueError(f"it holds a tensor that is a conjugate or negative view; {_RESAVE}")
    return _Tensor(*fields)


def _rebuild_parameter(tensor, requires_grad, hooks):
    return tensor


def _size(size):
    return size


_GLOBALS = {
    "collections OrderedDict": _ordered_dict,
    "torch._utils _rebuild_tensor": _rebuild_tensor,
    "torch._utils _rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils _rebuild_parameter": _rebuild_parameter,
    "torch Size": _size,
    "torch FloatStorage": _Dtype("f4", "f4"),
    "torch DoubleStorage": _Dtype("f8", "f8"),
    "torch HalfStorage": _Dtype("f2", "f2"),
    "torch BFloat16Storage": _Dtype("u2", "f4"),  # the upper half of a float32; NumPy has no such type
    "torch LongStorage": _Dtype("i8", "i8"),
    "torch IntStorage": _Dtype("i4", "i4"),
    "torch ShortStorage": _Dtype("i2", "i2"),
    "torch CharStorage": _Dtype("i1", "i1"),
    "torch ByteStorage": _Dtype("u1", "u1"),
    "torch BoolStorage": _Dtype("u1", "?"),  # a byte that is neither 0 nor 1 would be an invalid bool
}
# A constant's value is its argument. Only allowed instructions have their arguments read at all.
_CONSTANTS = {"BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
_VALUES = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_ALLOWED = (
    "PROTO FRAME MARK STOP EMPTY_DICT EMPTY_LIST TUPLE APPEND APPENDS SETITEM SETITEMS BUILD REDUCE BINPERSID "
    "GLOBAL STACK_GLOBAL MEMOIZE BINPUT LONG_BINPUT BINGET LONG_BINGET"
)
_ALLOWED = {*_ALLOWED.split(), *_CONSTANTS, *_VALUES, *_TUPLES}
_INSTRUCTIONS = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}


def _instructions(stream):
    start = stream.tell()
    while stream.tell() - start <= _PICKLE_LIMIT:
        instruction = _INSTRUCTIONS.get(code := stream.read(1))
        if instruction is None:
            raise ValueError(f"its pickle has {code!r} for an instruction; {_AGAIN}" if code else _AGAIN)
        if instruction.name not in _ALLOWED:
            raise ValueError(f"refused: its pickle uses {instruction.name}, which state dicts never need; {_RESAVE}")
        try:
            if instruction.name == "GLOBAL":  # pickletools would resolve backslashes, with Python's warnings
                argument = (stream.readline() + stream.readline()).decode("ascii")
                if argument.count("\n") != 2:
                    raise ValueError("a name has no end")
                argument = argument[:-1].replace("\n", " ")
            else:
                argument = instruction.arg and instruction.arg.reader(stream)
        except ValueError as error:
            raise ValueError(f"its pickle cannot be read ({error}); {_AGAIN}") from error
        yield instruction.name, argument
    raise ValueError(f"its pickle has more than {_PICKLE_LIMIT} bytes; {_RESAVE}")


def _unpickle(stream):
    """The value of the pickle at the stream's position, with `_Tensor`s for tensors, and its storages by key."""
    stack, marks, memo, storages = [], [], {}, {}

    def pop(count=None):  # the topmost `count` values, or those above the last mark
        start = marks.pop() if count is None else len(stack) - count
        if not 0 <= start <= len(stack):
            raise IndexError
        values = stack[start:]
        del stack[start:]
        return values

    def find(name):
        if name not in _GLOBALS:
            raise ValueError(f"refused, nothing was run: it asks for {name.replace(' ', '.')!r:.100}; {_RESAVE}")
        return _GLOBALS[name]

    def extend(values):
        if type(stack[-1]) is not list:
            raise TypeError
        stack[-1].extend(values)

    def set_items(pairs):
        if type(stack[-1]) is not dict or len(pairs) % 2:
            raise TypeError
        for name in pairs[::2]:
            if type(name) is not str:
                raise ValueError(f"it holds a dictionary with a key that is a {type(name).__name__}; {_RESAVE}")
        stack[-1].update(zip(pairs[::2], pairs[1::2], strict=True))

    def find_storage(saved_id):
        match saved_id:
            case ("storage", _Dtype() as dtype, str(key), _, int(elements), *view) if view in ([], [None]):
                storage = _Storage(key, dtype, elements)
                if storages.setdefault(key, storage) == storage:
                    return storage
        raise ValueError(f"it refers to something that is not a storage of elements; {_RESAVE}")

    try:
        for name, argument in _instructions(stream):
            if name in _CONSTANTS:
                stack.append(argument)
            elif name in _VALUES:
                stack.append(_VALUES[name])
            elif name in _TUPLES:
                stack.append(tuple(pop(_TUPLES[name])))
            elif name in ("BINGET", "LONG_BINGET"):
                stack.append(memo[argument])
            elif name in ("BINPUT", "LONG_BINPUT"):
                memo[argument] = stack[-1]
            elif name == "MEMOIZE":
                memo[len(memo)] = stack[-1]
            elif name == "MARK":
                marks.append(len(stack))
            elif name == "TUPLE":
                stack.append(tuple(pop()))
            elif name == "EMPTY_DICT":
                stack.append({})
            elif name == "EMPTY_LIST":
                stack.append([])
            elif name in ("APPEND", "APPENDS"):
                extend(pop(1 if name == "APPEND" else None))
            elif name in ("SETITEM", "SETITEMS"):
                set_items(pop(2 if name == "SETITEM" else None))
            elif name == "BUILD":  # sets attributes, in a state dict its `_metadata`: dropped
                pop(1)
                if type(stack[-1]) is not dict:
                    raise TypeError
            elif name == "GLOBAL":
                stack.append(find(argument))
            elif name == "STACK_GLOBAL":
                stack.append(find(" ".join(pop(2))))
            elif name == "REDUCE":
                function, arguments = pop(2)
                stack.append(function(*arguments))  # nothing but `find` puts functions on the stack
            elif name == "BINPERSID":
                stack.append(find_storage(*pop(1)))
            elif name == "STOP":
                return stack[-1], storages
    except (IndexError, KeyError, TypeError) as error:  # a stack that is too short or holds the wrong things
        raise ValueError(f"its pickle makes no sense; {_AGAIN}") from error


def _read_zip(data):
    try:
        with zipfile.ZipFile(data) as archive:
            infos = {info.filename: info for info in archive.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise ValueError(f"its zip archive cannot be read ({error}); {_AGAIN}") from error
    if sum(info.file_size for info in infos.values()) > len(data):  # entries that overlap, or a bomb
        raise ValueError(f"its zip archive declares more bytes than the file has; {_AGAIN}")

    def entry(name):
        if name not in infos:
            raise ValueError(f"its zip archive has no entry {name!r:.100}; {_AGAIN}")
        info = infos[name]
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise ValueError(f"its zip entry {name!r:.100} is compressed or encrypted, which PyTorch never does")
        start = info.header_offset
        header = data[start : start + 30]  # the name and the extra field after it may differ from the directory's
        start += 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        content = memoryview(data)[start : start + info.file_size]
        if header[:4] != b"PK\3\4" or zlib.crc32(content) != info.CRC:
            raise ValueError(f"its zip entry {name!r:.100} does not match its checksum; {_AGAIN}")
        return content

    roots = [name.removesuffix("/data.pkl") for name in infos if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise ValueError("a zip archive, but not one of PyTorch's: it must have one entry '.../data.pkl'")
    order = bytes(entry(f"{roots[0]}/byteorder")) if f"{roots[0]}/byteorder" in infos else b"little"
    if order not in (b"little", b"big"):
        raise ValueError(f"its byte order is {order[:20]!r}, neither little nor big; {_AGAIN}")
    value, storages = _unpickle(io.BytesIO(entry(f"{roots[0]}/data.pkl")))
    contents = {key: entry(f"{roots[0]}/data/{key}") for key in storages}
    for key, storage in storages.items():
        if len(contents[key]) != storage.elements * storage.dtype.itemsize:
            raise ValueError(f"its storage {key!r:.100} does not have the size that was declared; {_AGAIN}")
    return value, contents, "<" if order == b"little" else ">"


def _read_stream(data):
    if _unpickle(data)[0] != _MAGIC or _unpickle(data)[0] != _PROTOCOL:
        raise ValueError("a pickle, but not one of PyTorch's: it does not start with PyTorch's magic number")
    _unpickle(data)  # the writer's system; the storages are little-endian whatever it says
    value, storages = _unpickle(data)
    keys = _unpickle(data)[0]
    if type(keys) is not list or {*map(type, keys)} - {str} or sorted(keys) != sorted(storages):
        raise ValueError(f"its list of storages does not fit its tensors; {_AGAIN}")
    contents, position = {}, data.tell()
    for key in keys:
        stop = position + 8 + storages[key].elements * storages[key].dtype.itemsize
        if stop > len(data) or int.from_bytes(data[position : position + 8], "little") != storages[key].elements:
            raise ValueError(f"its storage {key!r:.100} does not have the size that was declared; {_AGAIN}")
        contents[key] = memoryview(data)[position + 8 : stop]
        position = stop
    return value, contents, "<"


def _to_array(tensor, content, order, room):
    dtype = tensor.storage.dtype
    elements = math.prod(tensor.size)
    if elements * np.dtype(dtype.loaded).itemsize > room:  # views can repeat a few bytes without end
        raise ValueError(f"with the tensors before it has far more elements than the file could hold; {_RESAVE}")
    if not elements:
        return np.empty(tensor.size, dtype.loaded)
    last = tensor.offset + sum((n - 1) * stride for n, stride in zip(tensor.size, tensor.stride, strict=True))
    if last >= tensor.storage.elements:
        raise ValueError(f"reaches to element {last} of a storage of {tensor.storage.elements}; {_AGAIN}")
    strides = [stride * dtype.itemsize if n > 1 else 0 for n, stride in zip(tensor.size, tensor.stride, strict=True)]
    # This constructor, unlike as_strided, holds the strides against the buffer once more.
    view = np.ndarray(tensor.size, order + dtype.stored, content, tensor.offset * dtype.itemsize, strides)
    if dtype == _GLOBALS["torch BFloat16Storage"]:
        bits = view.astype("u4", order="C")
        bits <<= 16
        return bits.view("f4")
    return view.astype(dtype.loaded, order="C")


def _unwrap(value):
    """The dict of state dicts, without the dicts around it and what training programs save beside the networks."""
    value = _inside(value, lambda inner: not any(name in inner for name in NETWORKS))
    if any(name in value for name in NETWORKS):
        return {
            name: _inside(state) if name in NETWORKS else state
            for name, state in value.items()
            if name in NETWORKS or _is_state(state)
        }
    if value and _is_state(value):
        raise ValueError(
            f"its entry {next(iter(value))!r:.200} is a tensor, not a state dict, and nothing says which network it is "
            "of: save it again as `torch.save({'genA2B': state}, path)`, or with genB2A for the generator from B to A"
        )
    return value


def _is_state(value):
    return type(value) is dict and all(type(tensor) is _Tensor for tensor in value.values())


def _inside(value, more=lambda inner: True):
    """What is under a wrapping key; a few levels, for a hostile file can have a dict inside itself."""
    for _ in range(4):
        inner = [value[key] for key in _WRAPPERS if type(value.get(key)) is dict] if type(value) is dict else ()
        if not inner or not more(value):
            break
        value = inner[0]
    return value


def _read(data):
    start = data[:32]
    for prefix, what in _NOT_TORCH:
        if start.lstrip().startswith(prefix):
            raise ValueError(f"it is {what}")
    if data[257:262] == b"ustar":
        raise ValueError("it is a tar archive: unpack it, or, if PyTorch 0.1 wrote it, save it again with a newer one")
    if start.startswith(b"PK\3\4"):
        value, contents, order = _read_zip(data)
    elif start.startswith(b"\x80"):
        value, contents, order = _read_stream(data)
    else:
        raise ValueError(f"it is not a PyTorch checkpoint: it starts with {start[:16]!r}")

    if type(value) is not dict:
        raise ValueError(f"it holds {_kind(value)}, not a dict of state dicts; {_RESAVE}")
    value = _unwrap(value)
    arrays, room = {}, 4 * len(data)  # bytes; tied weights and bfloat16 take more here than in the file
    for network, state in value.items():
        if type(state) is not dict:
            raise ValueError(f"its entry {network!r:.100} is {_kind(state)}, not a state dict; {_RESAVE}")
        arrays[network] = {}
        for name, tensor in state.items():
            where = f"its entry {network!r:.100}, {name!r:.200}"
            if type(tensor) is not _Tensor:
                raise ValueError(f"{where} is {_kind(tensor)}, not a tensor; {_RESAVE}")
            try:
                array = _to_array(tensor, contents[tensor.storage.key], order, room)
            except ValueError as error:
                raise ValueError(f"{where} {error}") from error
            arrays[network][name] = array
            room -= array.nbytes + 64  # an array without elements is not free either
    return arrays


def _kind(value):
    return "a tensor" if type(value) is _Tensor else f"a value of type {type(value).__name__}"


def read_torch_file(path):
    """Read a PyTorch checkpoint of state dicts, such as the official U-GAT-IT's, running nothing that it asks for.

    Both containers of `torch.save` are read: the zip archive and, from before PyTorch 1.6, the stream.

    Args:
        path: file with a dict of state dicts, name -> tensor; official names: genA2B, genB2A, disGA, disGB, disLA,
            disLB. They, or the tensors, may be under a key such as `state_dict` or `model`. Where a dict has official
            names, its other entries (an epoch, an optimizer) are ignored.

    Returns:
        dict, name of the network -> dict, name of the tensor -> array, contiguous and with its own memory. Arrays have
        the tensors' shapes and types, except that bfloat16 becomes float32.

    Raises:
        ValueError: the file is damaged, is something else, or holds or asks for anything but dicts and dense tensors.
        OSError: the file cannot be opened; FileNotFoundError if there is none.
    """
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:  # mmap's own error would not say so
            raise ValueError(f"{path}: it is empty; {_AGAIN}.")
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # weights are gigabytes: copied once, into arrays
    try:
        return _read(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}.") from error
