"""Files that are whole or absent, whenever the machine stops."""

import contextlib
import errno
import itertools
import os
import pathlib
import re
import time

from ugatit_tf.weights.process import Process, tag_runs

_NUMBERS = itertools.count()
# What a file system answers that cannot sync; everything else (a full disk, a broken one) is an error.
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_ABANDONED = 24 * 3600  # seconds without a change, after which a draft of another machine has no owner any more


@contextlib.contextmanager
def replacing(path):
    """An open binary file that becomes `path` when the block ends, and is gone when the block fails.

    It is written beside its place, synced, and put there by one rename. What was at `path` stays until then. Syncing is
    optional where the file system has none; the folder's always is, for then the file itself is there already.

    Args:
        path: of the file to make or to replace.

    Raises:
        OSError: the file cannot be written; what was at `path` is unchanged.
    """
    path = pathlib.Path(path)
    # Of a length of its own: with the whole name in it, a name that just fits would not fit any more.
    temporary = path.with_name(f".{path.name[:20]}.{Process.here().tag}-{next(_NUMBERS)}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            try:
                os.fsync(file.fileno())
            except OSError as error:
                if error.errno not in _CANNOT_SYNC:
                    raise
        os.replace(temporary, path)
    except OSError as error:
        if error.filename is None:  # an error of writing does not know of which file
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # Windows opens no folder; WSL, SMB and FUSE mounts may not sync one
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def remove_abandoned(folder, pattern="*"):
    """Remove the drafts that `replacing` left in a folder when its process was killed.

    A draft of a process that still runs stays, and one of another machine or an earlier version for a day.

    Args:
        folder: where they are.
        pattern: of the names of the files that were to be written, of at most their first 20 characters.
    """
    for draft in pathlib.Path(folder).glob(f".{pattern}.tmp"):
        found = re.search(r"\.([0-9a-f]{8}-\d+-[0-9a-f]{8})-\d+\.tmp$", draft.name)
        runs = tag_runs(found[1]) if found else None
        with contextlib.suppress(OSError):  # it has gone meanwhile, or is not ours to remove
            if runs is False or (runs is None and time.time() - draft.stat().st_mtime > _ABANDONED):
                draft.unlink()
