"""The memory that there is: from the files that Linux has, and from a double of nvidia-smi."""

import os

import pytest

from ugatit_tf.training import room

PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 2**20


def write(root, **files):
    """Files of a machine, by a path in which `__` is the separator and `_DOT_` a dot."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def machine(tmp_path):
    """1,000 MiB available, of which nothing is in a container; this process holds 100 pages."""
    write(
        tmp_path,
        proc__meminfo=f"MemTotal:  {3000 * 1024} kB\nMemFree: {10 * 1024} kB\nMemAvailable: {1000 * 1024} kB\n",
        proc__self__statm="900 100 50 1 0 60 0\n",
    )
    return tmp_path


def test_a_machine_has_what_is_available_and_what_this_process_holds(machine):
    assert room.free_memory(machine) == 1000 * MIB + 100 * PAGE


def test_a_container_may_have_less(machine):
    write(
        machine,
        sys__fs__cgroup__memory_DOT_max=f"{600 * MIB}\n",
        sys__fs__cgroup__memory_DOT_current=f"{500 * MIB}\n",
        sys__fs__cgroup__memory_DOT_stat=f"anon {450 * MIB}\ninactive_file {50 * MIB}\n",
    )
    assert room.free_memory(machine) == 150 * MIB + 100 * PAGE


def test_an_older_container(machine):
    write(
        machine,
        sys__fs__cgroup__memory__memory_DOT_limit_in_bytes=f"{600 * MIB}\n",
        sys__fs__cgroup__memory__memory_DOT_usage_in_bytes=f"{500 * MIB}\n",
        sys__fs__cgroup__memory__memory_DOT_stat=f"inactive_file {MIB}\ntotal_inactive_file {20 * MIB}\n",
    )
    assert room.free_memory(machine) == 120 * MIB + 100 * PAGE


@pytest.mark.parametrize("limit", ["max", str(2**63 - 4096)])
def test_a_container_without_a_limit(machine, limit):
    write(
        machine,
        sys__fs__cgroup__memory_DOT_max=limit,
        sys__fs__cgroup__memory_DOT_current=f"{500 * MIB}\n",
        sys__fs__cgroup__memory_DOT_stat=f"inactive_file {50 * MIB}\n",
    )
    assert room.free_memory(machine) == 1000 * MIB + 100 * PAGE


def test_without_these_files_it_is_what_the_machine_was_built_with(tmp_path):
    assert room.free_memory(tmp_path) == PAGE * os.sysconf("SC_PHYS_PAGES")


def test_here():
    total = PAGE * os.sysconf("SC_PHYS_PAGES")
    assert 0 < room.free_memory() <= total


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Makes a double, which says what it is told and notes its arguments."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def make(says, code=0):
        path = tmp_path / "nvidia-smi"
        path.write_text(f"#!/bin/sh\necho \"$*\" > '{tmp_path}/asked'\nprintf '{says}'\nexit {code}\n")
        path.chmod(0o755)
        return tmp_path / "asked"

    return make


def test_the_gpu_with_least_decides(nvidia_smi):
    asked = nvidia_smi("40000\\n30000\\n")
    assert room.free_gpu_memory() == 30000 * MIB
    assert "--query-gpu=memory.free" in asked.read_text()
    assert "-i" not in asked.read_text().split()


def test_a_gpu_that_is_hidden_does_not_count(nvidia_smi, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")
    asked = nvidia_smi("1\\n")
    assert room.free_gpu_memory() == MIB
    assert "-i 1,2" in asked.read_text()


@pytest.mark.parametrize(("says", "code"), [("", 0), ("[N/A]\\n", 0), ("1\\n", 9)])
def test_a_driver_that_does_not_tell(nvidia_smi, says, code):
    nvidia_smi(says, code)
    assert room.free_gpu_memory() is None


def test_no_driver(nvidia_smi):
    assert room.free_gpu_memory() is None
