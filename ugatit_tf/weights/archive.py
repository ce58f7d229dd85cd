"""A run's checkpoint file: named arrays and the run's configuration, in one .npz.

The format is numpy's own, so that anybody can read the weights with `numpy.load`; every member carries a CRC, so that
a torn file is noticed.
"""

import contextlib
import pathlib
import re
import zipfile
import zlib

import numpy as np

from ugatit_tf.config import RunConfig
from ugatit_tf.weights import atomic

_CONFIG = "config.json"
_COUNT = "number of arrays"  # a damaged directory can hide members, which have CRCs only one by one


def write(path, arrays, config):
    """Write a checkpoint atomically: after a crash at any moment, `path` is whole or absent.

    Args:
        path: of the `.npz` to make.
        arrays: mapping of name to numpy array. Each is asked for when it is written, so that they need not be in memory
            all at once.
        config: JSON text.
    """
    with atomic.replacing(path) as file, zipfile.ZipFile(file, "w") as members:

        def add(name, array):
            with members.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)

        add(_CONFIG, config)
        add(_COUNT, len(arrays))
        for name in arrays:
            add(name, arrays[name])


def read(path):
    """Read a checkpoint whole.

    Returns:
        `arrays, config`: name to array, and the JSON text.

    Raises:
        OSError: the file cannot be opened.
        ValueError: the file is torn, or is no checkpoint.
    """

    def take(members):
        arrays = {name: members[name] for name in members.files}
        config, count = str(arrays.pop(_CONFIG)), int(arrays.pop(_COUNT))
        if len(arrays) != count:
            raise ValueError(f"{len(arrays)} of its {count} arrays are left")
        return arrays, config

    return _open(path, take)


def read_config(path):
    """The JSON text of a checkpoint alone, in no time.

    Raises:
        OSError, ValueError: as `read`, as far as that shows without the arrays.
    """
    return _open(path, lambda members: str(members[_CONFIG]))


def _open(path, take):
    """What a function takes from a checkpoint's members."""
    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as members:
                return take(members)
        # What numpy and zipfile raise for a file that is cut, altered or something else; an OSError, for instance,
        # where an altered directory points before the file's beginning.
        except (
            zipfile.BadZipFile,
            zlib.error,
            ValueError,
            LookupError,
            EOFError,
            OSError,
            RuntimeError,
            AttributeError,
        ) as error:
            raise ValueError(f"{path} is torn, or no checkpoint of ugatit_tf ({error}).") from error


def list_checkpoints(folder):
    """The checkpoint files of a folder, oldest first."""
    found = [path for path in pathlib.Path(folder).glob("step-*.npz") if re.fullmatch(r"step-\d{8,}", path.stem)]
    return sorted(found, key=step_of)


def step_of(path):
    """The number of steps that a checkpoint file's name tells."""
    return int(pathlib.Path(path).stem.removeprefix("step-"))


def newest_config(folder):
    """The configuration in the newest checkpoint of a folder, of those that can be read.

    Returns:
        `config, path`: a `RunConfig`, and the checkpoint's file; None, None where there is none.
    """
    for path in reversed(list_checkpoints(folder)):
        with contextlib.suppress(ValueError):  # torn
            return RunConfig.from_json(read_config(path), path), path
    return None, None


def read_newest(folder, warn):
    """The newest checkpoint of a folder that is whole.

    Args:
        folder: where the checkpoints are.
        warn: function of a text, told of each torn file that was passed over.

    Returns:
        `path, arrays, config`, or None if the folder holds no checkpoint at all.

    Raises:
        ValueError: there are checkpoints and all of them are torn.
    """
    paths = list_checkpoints(folder)
    for path in reversed(paths):
        try:
            return path, *read(path)
        except ValueError as error:
            warn(f"{error} Trying the one before.")
    if paths:
        raise ValueError(f"All {len(paths)} checkpoints in {folder} are torn. Move them away to start afresh.")
    return None
