"""The memory that there is: from the files that Linux has, and from a double of nvidia-smi."""

import os

import pytest

from ugatit_tf.training import room

PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 2**20


V2 = ("memory.max", "memory.current", "memory.stat", "inactive_file")
V1 = ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file")


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def machine(tmp_path):
    """1,000 MiB available, of which nothing is in a container; this process holds 100 pages."""
    lines = f"MemTotal:  {3000 * 1024} kB\nMemFree: {10 * 1024} kB\nMemAvailable: {1000 * 1024} kB\n"
    write(tmp_path / "proc/meminfo", lines)
    write(tmp_path / "proc/self/statm", "900 100 50 1 0 60 0\n")
    return tmp_path


def contain(machine, version, limit, cache, others=""):
    """Put the process into a container of which 500 MiB are used."""
    folder = machine / "sys/fs/cgroup"
    limit_file, used_file, stat_file, name = version
    write(folder / limit_file, f"{limit}\n")
    write(folder / used_file, f"{500 * MIB}\n")
    write(folder / stat_file, f"{others}{name} {cache}\n")


def test_a_machine_has_what_is_available_and_what_this_process_holds(machine):
    assert room.free_memory(machine) == 1000 * MIB + 100 * PAGE


def test_a_container_may_have_less(machine):
    contain(machine, V2, 600 * MIB, 50 * MIB, others=f"anon {450 * MIB}\n")
    assert room.free_memory(machine) == 150 * MIB + 100 * PAGE


def test_an_older_container(machine):
    contain(machine, V1, 600 * MIB, 20 * MIB, others=f"inactive_file {MIB}\n")
    assert room.free_memory(machine) == 120 * MIB + 100 * PAGE


@pytest.mark.parametrize("limit", ["max", str(2**63 - 4096)])
def test_a_container_without_a_limit(machine, limit):
    contain(machine, V2, limit, 50 * MIB)
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
