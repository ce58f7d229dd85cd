"""What the measuring scripts have in common: threads, pictures, timing, peak memory, and the official checkout.

It imports neither TensorFlow nor PyTorch: a script has one of them, and the other would show in its memory.
"""

import importlib
import json
import os
import pathlib
import statistics
import sys
import time

import numpy as np


def cores():
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


# Kinds of CPU, the best first: the ratios of float32 and of bfloat16 differ between them. Each with a flag that
# /proc/cpuinfo has of it, and with what ONEDNN_MAX_CPU_ISA may not be limited to.
CPU_CLASSES = {
    "amx": ("amx_bf16", ("AVX512_CORE_BF16", "AVX512_CORE_VNNI", "AVX512_CORE", "AVX2", "AVX", "SSE41")),
    "avx512_bf16": ("avx512_bf16", ("AVX512_CORE_VNNI", "AVX512_CORE", "AVX2", "AVX", "SSE41")),
    "avx512": ("avx512f", ("AVX2", "AVX", "SSE41")),
    "avx2": ("avx2", ("AVX", "SSE41")),
}


def cpu_class(cpuinfo="/proc/cpuinfo", limit=None):
    """The kind of this CPU: one of `CPU_CLASSES`, or "other".

    Args:
        cpuinfo: path of the file that lists the CPU's flags.
        limit: of oneDNN's instruction set; default: ONEDNN_MAX_CPU_ISA of the environment.
    """
    limit = (limit or os.environ.get("ONEDNN_MAX_CPU_ISA", "")).upper()
    path = pathlib.Path(cpuinfo)
    flags = set(path.read_text().split()) if path.exists() else set()
    return next((name for name, (flag, lower) in CPU_CLASSES.items() if flag in flags and limit not in lower), "other")


def add_model_flags(parser):
    """Add the flags that say which model is measured, and with how many threads."""
    parser.add_argument("--light", action="store_true", help="the light generator (default: the full one)")
    parser.add_argument("--flavor", default="pytorch", help="formulas of this project's model (default: %(default)s)")
    parser.add_argument("--img_size", type=int, default=256, help="side of the images (default: %(default)s)")
    parser.add_argument("--ch", type=int, default=64, help="base number of channels (default: %(default)s)")
    add_threads_flag(parser)


def add_threads_flag(parser):
    """Add the flag that says how many threads compute."""
    parser.add_argument("--threads", type=int, default=cores(), help="threads (default: one a core, %(default)s)")


def prepare(threads, gpu=False):
    """Set, before TensorFlow is imported, how many threads it takes, whether it sees GPUs, and oneDNN as it is."""
    sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))  # in an environment with PyTorch alone, too
    from ugatit_tf import environment

    environment.prepare()
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads)
    if not gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def picture(shape):
    """Random images, float32 in [-1, 1]."""
    return np.random.default_rng(0).uniform(-1, 1, shape).astype("float32")


def time_calls(function, count):
    """Call a function some times; returns two lists: the seconds of each call, and its CPU seconds of all threads."""
    seconds, cpu_seconds = [], []
    for _ in range(count):
        start, cpu_start = time.perf_counter(), time.process_time()
        function()
        seconds.append(round(time.perf_counter() - start, 5))
        cpu_seconds.append(round(time.process_time() - cpu_start, 5))
    return seconds, cpu_seconds


def median_after_first(values):
    """The median without the first value, which has the compilation in it; of a single value, that."""
    return statistics.median(values[1:] or values)


def peak_mib():
    """The largest resident memory that this process has had, in MiB; None where the system does not tell (VmHWM)."""
    status = pathlib.Path("/proc/self/status")
    if not status.exists():
        return None
    return round(int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024)


def finish(record):
    """Print the record as one line of JSON, the last of a measuring script."""
    print(json.dumps(record), flush=True)


def checkout_fault(folder):
    """What keeps a folder from being a checkout of the official PyTorch code, in words, or None."""
    if (pathlib.Path(folder) / "networks.py").is_file():
        return None
    return (
        f"{folder} is no checkout of the official PyTorch code: it has no networks.py. "
        "Get it: git clone https://github.com/znxlwm/UGATIT-pytorch"
    )


def torch_fault(python):
    """What to do about an interpreter without PyTorch."""
    return (
        f"{python} has no PyTorch. Install it there (pip install torch), or take an interpreter that has it "
        "(run.py: --torch_python PATH)."
    )


def official(folder, threads):
    """PyTorch, and the official code's `networks` module.

    Raises:
        SystemExit: no checkout, or no PyTorch; says what to do.
    """
    fault = checkout_fault(folder)
    if fault:
        raise SystemExit(fault)
    try:
        torch = importlib.import_module("torch")
    except ModuleNotFoundError as error:
        raise SystemExit(torch_fault(sys.executable)) from error
    torch.set_num_threads(threads)
    sys.path.insert(0, str(folder))
    return torch, importlib.import_module("networks")
