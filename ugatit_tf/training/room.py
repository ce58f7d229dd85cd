"""How much memory there is for a training: of the machine, of the container that it runs in, of a GPU. In bytes."""

import contextlib
import os
import pathlib
import subprocess


def free_memory(root="/"):
    """Bytes that this process has and can still get, of the machine or of its container; None where nothing tells.

    Args:
        root: where `proc` and `sys` are.

    Reference: proc_meminfo(5), proc_pid_statm(5); Linux's cgroup-v2.rst and cgroup-v1/memory.rst.
    """
    root, rooms = pathlib.Path(root), []
    with contextlib.suppress(OSError, KeyError):
        rooms.append(1024 * _numbers(root / "proc/meminfo")["MemAvailable:"])
    for limit, used, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        folder = root / "sys/fs/cgroup"
        with contextlib.suppress(OSError, ValueError, KeyError):  # "max" is no limit
            room = int((folder / limit).read_text()) - int((folder / used).read_text())
            rooms.append(room + _numbers((folder / limit).with_name("memory.stat"))[cache])
    page = 4096
    with contextlib.suppress(AttributeError, OSError, ValueError):  # not on Windows
        page = os.sysconf("SC_PAGE_SIZE")
        rooms = rooms or [page * os.sysconf("SC_PHYS_PAGES")]
    own = 0
    with contextlib.suppress(OSError):
        own = page * int((root / "proc/self/statm").read_text().split()[1])
    return min(rooms) + own if rooms else None


def free_gpu_memory():
    """Bytes free on the GPU that has fewest, of those that this process may use, by nvidia-smi; None without it."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    command = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
        told = subprocess.run(
            [*command, *(["-i", visible] if visible else [])], capture_output=True, text=True, check=True, timeout=30
        )
        return min(int(line) for line in told.stdout.split()) * 2**20
    return None


def _numbers(path):
    """The first number of each line of a file, by its first word."""
    rows = (line.split() for line in path.read_text().splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
