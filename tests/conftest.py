"""Fixtures and settings that all tests share."""

import gc
import os

import pytest

# Before TensorFlow is imported anywhere: its start-up messages would hide pytest's, and two workers of pytest-xdist
# with all threads each would only wait for one another.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import ugatit_tf  # noqa: F401 (sets what TensorFlow and Keras read when they are imported)

# The modules that take longest, in this order, begin first: or one worker would be alone with them in the end.
LONGEST = (
    "training/test_xla.py",
    "integration/test_two_workers.py",
    "training/test_replicas.py",
    "benchmarks/test_run.py",
    "cli/test_export.py",
    "training/test_step.py",
    "integration/test_golden.py",
)


def pytest_collection_modifyitems(items):
    """Sort the modules; `--no-loadscope-reorder` lets pytest-xdist keep the order."""

    def place(item):
        path = item.path.as_posix()
        return next((rank for rank, name in enumerate(LONGEST) if path.endswith(f"tests/{name}")), len(LONGEST))

    items.sort(key=place)


@pytest.fixture(scope="module", autouse=True)
def _no_module_keeps_its_graphs():
    """Traced functions are in reference cycles: uncollected, they would fill gigabytes of a worker."""
    yield
    gc.collect()


@pytest.fixture(scope="session", autouse=True)
def _cache_of_features(tmp_path_factory):
    """No test leaves anything in, or takes anything from, the cache of whoever runs it."""
    os.environ["UGATIT_CACHE"] = str(tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="session")
def tiny_generator():
    """A light generator of 32 px, every part of which shows in what it draws."""
    from networks import draw_all

    from ugatit_tf.models import Generator

    return draw_all(Generator("tf1", light=True, ch=2, n_res=1, img_size=32))


@pytest.fixture(scope="session")
def tiny_tflite(tiny_generator, tmp_path_factory):
    """The path of its float32 TFLite file."""
    from ugatit_tf.export import tflite

    path = tmp_path_factory.mktemp("tflite") / "tiny.tflite"
    description = {"label": "U-GAT-IT, tests, A to B", "licence": "CC0-1.0", "version": "0.1.0"}
    path.write_bytes(tflite.convert(tiny_generator, "float32", (32, 32), description))
    return path
