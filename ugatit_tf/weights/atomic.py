"""Files and folders that are whole or absent, whenever the machine stops."""

import contextlib
import errno
import itertools
import os
import pathlib
import re
import shutil
import time

from ugatit_tf.weights.process import Process, tag_runs

_NUMBERS = itertools.count()
# What a file system answers that cannot sync; everything else (a full disk, a broken one) is an error.
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_ABANDONED = 24 * 3600  # seconds without a change, after which a draft of another machine has no owner any more
OLD_DRAFTS = "." + "[0-9a-f]" * 32  # how earlier versions named the folders that they had not finished, as a glob


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
    temporary = path.with_name(draft_name(path.name))
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


def draft_name(name):
    """A name for a file or folder while it is written: hidden, with the process that writes it, and nobody else's.

    Args:
        name: of the file or folder; the first 20 characters are taken, for a name that just fits must still fit.
    """
    return f".{name.lstrip('.')[:20]}.{Process.here().tag}-{next(_NUMBERS)}.tmp"


def is_abandoned(name, changed):
    """Whether nobody writes a draft any more.

    That is so when its process has ended. Where that cannot be seen (the process is of another machine or container, or
    of the time before a restart, or the name is an earlier version's), it is so after a day without a change.

    Args:
        name: of the draft.
        changed: when it, or anything in it, last changed, in seconds as `time.time()` gives them.
    """
    found = re.search(r"\.([0-9a-f]{8}-\d+-[0-9a-f]{8})-\d+\.tmp$", name)
    runs = tag_runs(found[1]) if found else None
    return runs is False or (runs is None and time.time() - changed > _ABANDONED)


def remove_abandoned(folder, pattern="*", old=None):
    """Remove the drafts, files and folders, that killed processes left in a folder; see `is_abandoned`.

    Args:
        folder: where they are; there may be none.
        pattern: of the names of what was to be written, of at most their first 20 characters, as a glob.
        old: how earlier versions named such drafts, as a glob.
    """
    folder = pathlib.Path(folder)
    for draft in {*folder.glob(f".{pattern}.tmp"), *(folder.glob(old) if old else ())}:
        with contextlib.suppress(OSError):  # it has gone meanwhile, or is not ours to remove
            is_folder = draft.is_dir() and not draft.is_symlink()
            inside = draft.rglob("*") if is_folder else ()
            if is_abandoned(draft.name, max(path.lstat().st_mtime for path in (draft, *inside))):
                shutil.rmtree(draft) if is_folder else draft.unlink()
