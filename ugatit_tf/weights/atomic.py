"""Files that are whole or absent, whenever the machine stops."""

import contextlib
import os
import pathlib


@contextlib.contextmanager
def replacing(path):
    """An open binary file that becomes `path` when the block ends, and is gone when the block fails.

    It is written beside its place, synced, and put there by one rename. What was at `path` stays until then.

    Args:
        path: of the file to make or to replace.

    Raises:
        OSError: the file cannot be written; what was at `path` is unchanged.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.filename is None:  # an error of writing does not know of which file
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "nt":  # a folder cannot be opened there
        return
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
