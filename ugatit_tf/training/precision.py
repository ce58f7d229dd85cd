"""Which precision a device computes fastest in: timed on a convolution of the training step's kind, and remembered."""

import contextlib
import json
import math
import os
import pathlib
import platform
import time

import tensorflow as tf

from ugatit_tf import environment
from ugatit_tf.weights.atomic import replacing

# What bfloat16 must stay below, of float32's time, to be worth its rounding. On a CPU with AMX a convolution's 0.92 and
# 0.39 (64 px, ch 16; 128 px, ch 32) were 1.02 and 0.72 of a training step's: at 0.7 a step takes 0.9 of the time.
FASTER = 0.7
_SLOW = 2.0  # times float32's: emulated, whatever the size of the map
_SIZES = (8, 32)  # pixels, at most: the smaller map tells emulation apart soon enough
_CHANNELS = 256  # at most
_SECONDS = 0.15  # that each precision is timed for, at least


def choose_precision(model_config, folder=None):
    """`"float32"`, or `"bfloat16"` where this device computes with it faster.

    Args:
        model_config, folder: as in `relative_time`.

    Returns:
        The precision, and a line that says why.
    """
    ratio = relative_time(model_config, "bfloat16", folder)
    chosen = "bfloat16" if ratio < FASTER else "float32"
    return (
        chosen,
        f"Precision: {chosen} (bfloat16 takes {ratio:.2g} times float32's time here, by a timed convolution).",
    )


def warning(model_config, precision, folder=None):
    """A line for whoever trains in a precision that this device computes slowly, or None.

    Args:
        model_config, precision, folder: as in `relative_time`; `"float32"` is never slow.
    """
    ratio = 1.0 if precision == "float32" else relative_time(model_config, precision, folder)
    if ratio <= 1 / FASTER:  # within what such a timing varies by
        return None
    if ratio == math.inf:
        return f"WARNING: this device has no convolution in {precision}. --precision auto picks what it has."
    how = "emulates" if ratio > _SLOW else "is slower in"
    return (
        f"WARNING: this device {how} {precision}: a convolution takes {ratio:.1f} times as long as in float32 (timed). "
        "--precision auto picks the faster one, for a new run."
    )


def relative_time(model_config, precision, folder=None):
    """The time of a convolution in `precision`, relative to float32: above 1 where the device emulates it.

    A 3x3 convolution of the generator's residual blocks and its two gradients are timed, once per device, TensorFlow
    version and shape, in about a second.

    Args:
        model_config: `ugatit_tf.ModelConfig`, whose `ch` and `img_size` decide the shape.
        precision: `"bfloat16"` or `"float16"`.
        folder: where it is remembered: in `precision.json` in `$UGATIT_CACHE`, or in `~/.cache/ugatit_tf`, by default.
            A folder that cannot be written only costs the time.

    Returns:
        A float; infinity where the device has no such convolution.
    """
    path = pathlib.Path(folder or environment.cache_folder()) / "precision.json"
    size, channels = model_config.img_size // 4, min(_CHANNELS, 4 * model_config.ch)
    sizes = [min(size, largest) for largest in _SIZES]
    key = f"{_device()}: {sizes[-1]} px, {channels} channels, {precision}"
    known = _read(path)
    if key in known:
        return known[key]
    for size in sizes:
        try:
            ratio = _seconds(size, channels, precision) / _seconds(size, channels, "float32")
        except tf.errors.OpError:  # no kernel for it
            return math.inf
        if ratio > _SLOW:
            break
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(json.dumps({**known, key: ratio}, indent=1).encode())
    return ratio


def _seconds(size, channels, precision):
    """Of one convolution with its gradients, the best of some."""
    images = tf.random.stateless_normal((2, size + 2, size + 2, channels), (0, 1))
    kernel = tf.random.stateless_normal((3, 3, channels, channels), (0, 2)) * 0.01

    @tf.function(autograph=False)
    def run(images, kernel):
        with tf.GradientTape() as tape:
            tape.watch([images, kernel])
            result = tf.nn.conv2d(tf.cast(images, precision), tf.cast(kernel, precision), 1, "VALID")
            loss = tf.reduce_sum(tf.cast(result, tf.float32) ** 2)
        return [tf.reduce_sum(gradient) for gradient in tape.gradient(loss, [images, kernel])]

    run(images, kernel)[0].numpy()  # traced, and its kernels made
    seconds = []
    while sum(seconds) < _SECONDS or len(seconds) < 2:
        start = time.perf_counter()
        run(images, kernel)[0].numpy()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _device():
    """What a timing depends on beside the shape: the processor or GPU, its cores, TensorFlow, and how it is set up."""
    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
    settings = [
        f"{name}={os.environ[name]}" for name in ("TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA") if name in os.environ
    ]
    return ", ".join(
        [*(names or [f"{_cpu()}, {environment.cores()} cores"]), f"TensorFlow {tf.__version__}", *settings]
    )


def _cpu():
    """The processor's name; on Linux the kernel knows more than `platform`."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _read(path):
    """The timings in a file; none where it is missing or damaged."""
    try:
        known = json.loads(path.read_text())
        return {key: float(value) for key, value in known.items() if float(value) > 0}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
