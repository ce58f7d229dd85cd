"""Which process made a file, and whether that process still runs."""

import dataclasses
import functools
import hashlib
import os
import pathlib
import re
import socket
import subprocess
import sys
import uuid

_PROC = pathlib.Path("/proc")


@dataclasses.dataclass(frozen=True)
class Process:
    """A process, told from later ones of the same id, which systems reuse.

    Args:
        pid: process id.
        started: start time, as the system tells it; "" where it does not.
        host: name of the machine.
        machine: tells machines of one name apart.
        boot: changes when the machine restarts; "" where the system does not tell.
        namespace: of the process ids (containers have their own); "" where there are none.
    """

    pid: int
    started: str
    host: str
    machine: str
    boot: str
    namespace: str

    @classmethod
    def here(cls):
        """This process."""
        return cls(os.getpid(), _started(os.getpid()), *_surroundings())

    @property
    def tag(self):
        """Text for a file's name."""
        place = _digest(self.machine, self.boot, self.namespace)[:8]
        return f"{place}-{self.pid}-{_digest(self.started)[:8]}"

    def runs(self):
        """Whether it still runs; None where that cannot be seen from here (another machine or container)."""
        _, machine, boot, namespace = _surroundings()
        if self.machine != machine:
            return None
        if self.boot != boot:
            return False  # this machine has restarted since
        if self.namespace != namespace:
            return None
        there, started = _look(self.pid)
        if there and self.started and started:
            return self.started == started
        return there


def tag_runs(tag):
    """As `Process.runs`, of a tag; None also where the text is no tag."""
    found = re.fullmatch(r"([0-9a-f]{8})-(\d+)-([0-9a-f]{8})", tag)
    _, *place = _surroundings()
    if not found or found[1] != _digest(*place)[:8]:
        return None
    there, started = _look(int(found[2]))
    return there if there is not True or not started else _digest(started)[:8] == found[3]


def _digest(*texts):
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _read(path):
    try:
        return pathlib.Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


@functools.cache
def _surroundings():
    """`host, machine, boot, namespace` of this process."""
    host = socket.gethostname()
    boot = _read(_PROC / "sys/kernel/random/boot_id")
    try:
        namespace = os.readlink(_PROC / "self/ns/pid")
    except OSError:
        namespace = ""
    # The machine's id is not for others to see (machine-id(5)): its digest is written. Many images have none: then the
    # network card's address tells machines of one name apart.
    machine = _read("/etc/machine-id") or str(uuid.getnode())
    return host, _digest(host, machine)[:16], boot, namespace


@functools.cache
def _started(pid):
    """The start time of this process, whose id changes when it forks."""
    return _look(pid)[1]


def _look(pid):
    """`there, started`: whether a process of this id runs on this machine (None: unknown), and its start time or ""."""
    stat = _read(_PROC / str(pid) / "stat")
    if stat:  # proc_pid_stat(5): the name may hold anything but ends with the last parenthesis
        fields = stat.rpartition(")")[2].split()
        return fields[0] not in "ZX", fields[19]
    if os.name == "nt":  # there os.kill ends the process that it asks for
        return None, ""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False, ""
    except PermissionError:
        return True, ""  # another user's
    return True, "" if sys.platform == "linux" else _ps_start(pid)


def _ps_start(pid):
    environment = os.environ | {"LC_ALL": "C", "TZ": "UTC"}
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    try:
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
