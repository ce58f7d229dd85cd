"""One training at a time in a run folder."""

import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import threading
import uuid

from ugatit_tf.weights.process import Process

NAME = "training.lock"
BEAT = 20  # seconds between two signs of life
STALE = 300  # seconds without one, after which an owner that cannot be seen from here is taken for dead


class RunInUseError(OSError):
    """Another process trains in this run folder."""


class RunLock:
    """A file in the run folder, held while a training runs there; a context manager.

    It names its owner: process id, host, start time. An owner on this machine is looked up: if its process has ended,
    however it ended, the lock is free. An owner that cannot be seen from here (another machine on a network folder,
    another container) holds the lock as long as it shows signs of life: it touches the file every `BEAT` seconds, and
    the lock is free after `STALE` seconds without that, both by the file system's clock. An owner that was cut off for
    so long and comes back finds out in `check`, and writes nothing more.

    Args:
        run_dir: the run's folder, which exists.

    Raises:
        RunInUseError: on entering it, and from `check`.
        OSError: the file cannot be written.
    """

    def __init__(self, run_dir):
        self.path = pathlib.Path(run_dir) / NAME
        self._owner = Process.here()
        self._token = uuid.uuid4().hex
        self._since = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        self._ended = threading.Event()
        self._lost = None

    def __enter__(self):
        while True:
            try:
                descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
                break
            except FileExistsError:
                self._remove_if_free()
        try:
            with open(descriptor, "wb") as file:
                file.write(self._text())
        except OSError:
            self.path.unlink(missing_ok=True)
            raise
        threading.Thread(target=self._live, name="run lock", daemon=True).start()
        return self

    def __exit__(self, *exc_info):
        self._ended.set()
        with contextlib.suppress(OSError):  # a folder that has gone, with the lock in it
            if _read(self.path).get("token") == self._token:
                self.path.unlink(missing_ok=True)

    def check(self):
        """Raise RunInUseError if the run has become another's meanwhile; called before anything of it is replaced."""
        other = self._lost or _read(self.path)
        if other and other.get("token") != self._token:
            raise RunInUseError(
                f"{self.path.parent} was taken over by {_describe(other)}: this process gave no sign of life for more "
                f"than {STALE // 60} minutes (was the machine asleep, or cut off?). It stops, and writes nothing more."
            )

    def _text(self):
        return json.dumps({**dataclasses.asdict(self._owner), "since": self._since, "token": self._token}).encode()

    def _live(self):
        while not self._ended.wait(BEAT):
            with contextlib.suppress(OSError):  # the network may be back at the next
                found = _read(self.path)
                if found and found.get("token") != self._token:
                    self._lost = found
                    return
                try:
                    os.utime(self.path)
                except OSError:  # some network folders set no times
                    with open(self.path, "r+b") as file:  # the same text in its place: nobody reads half of it
                        file.write(self._text())

    def _remove_if_free(self):
        """Remove a lock that nobody holds, or raise RunInUseError."""
        found = _read(self.path)
        try:
            owner = Process(**{field.name: found[field.name] for field in dataclasses.fields(Process)})
            runs = owner.runs()
        except (KeyError, TypeError):  # empty: made a moment ago; or not ours
            runs = None
        with contextlib.suppress(FileNotFoundError):
            life = ""
            if runs is None:
                silent = self._silence()
                runs = silent < STALE
                life = f" Its last sign of life came {silent:.0f} s ago; {STALE} s after that the folder is free."
            if runs:
                raise RunInUseError(
                    f"{self.path.parent} is in use by {_describe(found)}.{life} Stop that training first, or give "
                    f"another --run_dir. If it is none, delete {self.path}."
                )
            # Another process may do the same: who renames the file that both have seen is the one that removes it.
            taken = self.path.with_name(f"{NAME}.{self._token}")
            os.rename(self.path, taken)
            if _read(taken) != found:  # it was replaced meanwhile: back with it
                with contextlib.suppress(OSError):
                    os.link(taken, self.path)
            taken.unlink()

    def _silence(self):
        """Seconds since the owner's last sign of life, by the clock that gives the folder's files their times."""
        probe = self.path.with_name(f"{NAME}.{self._token}.probe")
        try:
            probe.write_bytes(b"")
            return max(0, probe.stat().st_mtime - self.path.stat().st_mtime)
        finally:
            probe.unlink(missing_ok=True)


def _read(path):
    """What a lock's file says, empty where it is missing or says nothing."""
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _describe(found):
    if not {"pid", "host", "since"} <= set(found):
        return "another process"
    return f"process {found['pid']} on {found['host']} since {found['since'].replace('T', ' ')}"
