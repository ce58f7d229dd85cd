"""Writing state dicts as a checkpoint that PyTorch reads, without PyTorch; `torch_file` reads it back.

The container is the zip archive of `torch.save`: `data.pkl`, a pickle that makes the dicts and their tensors, and the
elements of each tensor in an entry of their own. Python's pickler cannot name functions of a package that is not
there, so the pickle's few instructions are put together here.
"""

import itertools
import math
import pickle
import zipfile

import numpy as np

from ugatit_tf.weights import atomic

_ALIGNMENT = 64  # of a tensor's elements in the file, as in PyTorch's own: `torch.load(mmap=True)` uses them in place
_LOCAL_HEADER, _ZIP64_FIELD = 30, 20  # bytes of zip's fixed fields before an entry, and of its 64-bit sizes
_NEW_ORDERED_DICT = pickle.GLOBAL + b"collections\nOrderedDict\n" + pickle.EMPTY_TUPLE + pickle.REDUCE


def write_torch_file(path, states):
    """Write a PyTorch checkpoint of state dicts, atomically; the same arrays give the same bytes.

    `torch.load` gives back a dict of OrderedDicts of contiguous float tensors on the CPU, with `weights_only=True` too.
    PyTorch reads this container since 1.6.

    Args:
        path: of the file to make.
        states: dict, name of the network -> dict, name of the tensor -> float32 array.

    Raises:
        ValueError: an array is not float32; nothing was written.
        OSError: the file cannot be written; what was at `path` is unchanged.
    """
    arrays = [array for state in states.values() for array in state.values()]
    for array in arrays:
        if array.dtype != np.float32:
            raise ValueError(f"A PyTorch checkpoint is written from float32 arrays; received one of {array.dtype}.")
    with atomic.replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        _add(archive, file, "data.pkl", _pickle(states))
        _add(archive, file, "byteorder", b"little")
        for key, array in enumerate(arrays):
            _add(archive, file, f"data/{key}", np.asarray(array, "<f4", order="C"))
        # No `.format_version`: it would say that every offset can be told from the sizes alone, by PyTorch's layout.
        _add(archive, file, "version", b"3\n")


def _add(archive, file, name, content):
    info = zipfile.ZipInfo(f"archive/{name}")  # its default date is fixed
    start = file.tell() + _LOCAL_HEADER + len(info.filename) + _ZIP64_FIELD + 4  # 4: the padding's own id and length
    padding = bytes(-start % _ALIGNMENT)
    info.extra = b"FB" + len(padding).to_bytes(2, "little") + padding
    with archive.open(info, "w", force_zip64=True) as entry:  # always, so that headers have one size
        entry.write(content)


def _pickle(states):
    keys = itertools.count()
    networks = {
        network: _NEW_ORDERED_DICT + _items({name: _tensor(next(keys), array.shape) for name, array in state.items()})
        for network, state in states.items()
    }
    return pickle.PROTO + b"\2" + pickle.EMPTY_DICT + _items(networks) + pickle.STOP


def _items(instructions):
    """Put values, given as the instructions that make them, into the dict that is topmost on the stack."""
    pairs = [_constant(name) + value for name, value in instructions.items()]
    return pickle.MARK + b"".join(pairs) + pickle.SETITEMS


def _tensor(key, shape):
    elements = math.prod(shape)
    stride = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    kind = pickle.GLOBAL + b"torch\nFloatStorage\n"
    storage = _tuple(_constant("storage"), kind, _constant(str(key)), _constant("cpu"), _constant(elements))
    arguments = _tuple(
        storage + pickle.BINPERSID,
        *(_constant(value) for value in (0, shape, stride, False)),  # offset, size, stride, requires_grad
        _NEW_ORDERED_DICT,  # of backward hooks
    )
    return pickle.GLOBAL + b"torch._utils\n_rebuild_tensor_v2\n" + arguments + pickle.REDUCE


def _tuple(*instructions):
    return pickle.MARK + b"".join(instructions) + pickle.TUPLE


def _constant(value):
    return pickle.dumps(value, 2)[2:-1]  # without PROTO and STOP
