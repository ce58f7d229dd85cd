"""The proof that an exported file computes what the trained generator computes: each is run by its real runtime."""

import dataclasses
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from ugatit_tf.data.pipeline import to_float
from ugatit_tf.export.signatures import to_uint8
from ugatit_tf.text import count, markdown_table

# Decibels that a file's float signature must reach (peak 2, all images together); weights must be equal.
BOUNDS = {
    "saved_model": 100.0,
    "float32": 100.0,
    "float16": 60.0,
    "dynamic_range": 35.0,
    "static_int8": 30.0,
    "weights": math.inf,
    "pt": math.inf,
}
THREADS = (1, 2)
_RUNS = 5


@dataclasses.dataclass(frozen=True)
class Proof:
    """What was measured of one file.

    Args:
        file: its name.
        kind: a key of `BOUNDS`.
        megabytes: its size, or that of all files in its folder; a million bytes each.
        psnr: of the signature `float` against the Keras generator, in decibels (peak 2, pooled over the images).
        levels: largest difference of the signature `uint8` to the Keras generator's image, in grey levels.
        own_levels: largest difference of the signature `uint8` to the same file's `float`, in grey levels.
        milliseconds: median time for an image, by number of threads; empty for files of weights.
        partitions: parts that XNNPACK, TFLite's fast kernels, took the graph in: 1 is the whole; None for other files.
        images: which it was run on, in words; "" for files of weights.
    """

    file: str
    kind: str
    megabytes: float
    psnr: float
    levels: int
    own_levels: int
    milliseconds: dict
    partitions: int | None
    images: str = ""

    def faults(self):
        """What is beyond its bound, in words; empty if nothing is."""
        found = []
        if not self.psnr >= BOUNDS[self.kind]:
            found.append(f"{self.file}: {self.psnr:.1f} dB, where {self.kind} must reach {BOUNDS[self.kind]:.0f} dB")
        if self.own_levels > 1:
            found.append(f"{self.file}: its uint8 signature is {self.own_levels} grey levels off its float signature")
        return found


def measure_tflite(path, kind, generator, images):
    """Run a TFLite file.

    It is compared with the generator as `suit_tflite` has it: on pictures with large flat parts the `tf1` flavor's own
    sums can be further from exact than the file is.

    Args:
        path: of the file.
        kind: see `BOUNDS`.
        generator: the trained one.
        images: uint8 [N, H, W, 3], of a size that the file takes.
    """
    interpreter = Interpreter(model_path=str(path), num_threads=THREADS[-1])
    runners = {name: interpreter.get_signature_runner(name) for name in ("float", "uint8")}
    generator = generator.copy()
    generator.suit_tflite()
    measured = _compare(generator, images, lambda name, image: runners[name](image=image)["image"])
    times = {threads: _tflite_latency(path, images[:1], threads) for threads in THREADS}
    operations = interpreter._get_ops_details()  # no public call tells
    partitions = sum(operation["op_name"] == "DELEGATE" for operation in operations)
    size = os.path.getsize(path) / 1e6
    return Proof(os.path.basename(path), kind, size, *measured, times, partitions)


def measure_saved_model(folder, name, generator, images):
    """Run a SavedModel, with TensorFlow's loader; `name` is what to call it."""
    signatures = tf.saved_model.load(str(folder)).signatures
    keys = {"float": "float", "uint8": "serving_default"}
    measured = _compare(
        generator, images, lambda name, image: signatures[keys[name]](image=tf.constant(image))["image"].numpy()
    )
    times = {threads: _saved_model_latency(folder, images.shape[1:3], threads) for threads in THREADS}
    size = sum(path.stat().st_size for path in pathlib.Path(folder).rglob("*") if path.is_file()) / 1e6
    return Proof(name, "saved_model", size, *measured, times, None)


def measure_weights(path, kind, loaded, expected):
    """Compare weights that were read from a file again with those that were written, bit for bit.

    Args:
        path: of the file.
        kind: see `BOUNDS`.
        loaded, expected: name to array.
    """
    same = loaded.keys() == expected.keys() and all(
        loaded[name].tobytes() == array.tobytes() for name, array in expected.items()
    )
    psnr = math.inf if same else math.nan
    return Proof(os.path.basename(path), kind, os.path.getsize(path) / 1e6, psnr, 0, 0, {}, None)


def median_milliseconds(run):
    """Median time of a few calls, after a first one that does not count."""
    run()
    seconds = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


def _compare(generator, images, run):
    """PSNR, and the two differences in grey levels; `run` maps a signature's name and a batch to the result."""
    squares, levels, own_levels = [], 0, 0
    for image in images:
        batch = image[None]
        floats = to_float(batch)
        expected = generator(floats, training=False)[0]
        as_float, as_uint8 = run("float", floats.numpy()), run("uint8", batch)
        squares.append(np.mean((as_float - expected.numpy()).astype(np.float64) ** 2))
        levels = max(levels, _difference(as_uint8, to_uint8(expected)))
        own_levels = max(own_levels, _difference(as_uint8, to_uint8(tf.constant(as_float))))
    error = float(np.mean(squares))
    return (10 * math.log10(4 / error) if error else math.inf), levels, own_levels


def _difference(image, other):
    return int(np.abs(image.astype(np.int32) - other.numpy().astype(np.int32)).max())


def _tflite_latency(path, images, threads):
    runner = Interpreter(model_path=str(path), num_threads=threads).get_signature_runner("uint8")
    return median_milliseconds(lambda: runner(image=images))


def _saved_model_latency(folder, size, threads):
    """In a process of its own: TensorFlow's number of threads cannot be changed once it has begun."""
    code = f"""
import numpy, tensorflow as tf
from ugatit_tf.export.verify import median_milliseconds
run = tf.saved_model.load({str(folder)!r}).signatures["serving_default"]
image = tf.zeros((1, {size[0]}, {size[1]}, 3), tf.uint8)
print(median_milliseconds(lambda: run(image=image)["image"].numpy()))
"""
    environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return float(result.stdout.split()[-1])


def table(proofs):
    """The proofs as a Markdown table, with a line below that explains its columns."""
    timed = any(proof.milliseconds for proof in proofs)  # files of weights alone are not
    last = [*(f"ms {threads}" for threads in THREADS), "parts"]
    rows = [["file", "MB", "PSNR", "error", *(last if timed else ())]]
    for proof in proofs:
        times = [f"{proof.milliseconds[threads]:.0f}" if proof.milliseconds else "" for threads in THREADS]
        parts = "" if proof.partitions is None else str(proof.partitions)
        row = [proof.file, f"{proof.megabytes:.1f}", f"{proof.psnr:.1f}", str(proof.levels)]
        rows.append([*row, *([*times, parts] if timed else [])])
    images = ", ".join(dict.fromkeys(proof.images for proof in proofs if proof.images))
    notes = ["PSNR in dB and largest error in grey levels, against the trained generator."]
    notes += [f"Tried on {images}."] if images else []
    if timed:
        notes += [f"ms {threads}: milliseconds of an image with {count(threads, 'thread')}." for threads in THREADS]
        notes += ["parts: into which XNNPACK divides a file; 1 is the fastest."]
    return "\n".join([markdown_table(rows), "", *notes])
