"""The settings under which TensorFlow and Keras run here, whatever other projects have left in the environment.

Imports neither of them. `import ugatit_tf` calls `prepare`, so that every way in (commands, scripts, tests, benchmarks)
has the same settings.
"""

import contextlib
import os
import pathlib
import sys

_SOURCE = pathlib.Path(__file__).resolve().parents[1]
# Whoever wants the notes of TensorFlow's C++ code (a GPU is not found, say) sets this, and nothing is hidden.
_LOUD = "TF_CPP_MIN_LOG_LEVEL" in os.environ


def prepare():
    """Set what TensorFlow and Keras read when they are imported. Without effect on one that is imported already.

    - `TF_ENABLE_ONEDNN_OPTS=1`, unless it is set: TensorFlow leaves oneDNN's kernels off on CPUs without AVX512-VNNI,
      where they are faster, too. 0 in the environment turns them off.
    - `KERAS_BACKEND=tensorflow`: another project's KERAS_BACKEND or keras.json may name another.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if "keras" not in sys.modules:  # else `check_backend` tells
        os.environ["KERAS_BACKEND"] = "tensorflow"


def check_backend():
    """See that Keras computes with TensorFlow.

    Raises:
        ImportError: it was imported with another backend before `ugatit_tf`; says what to do.
    """
    import keras

    backend = keras.config.backend()
    if backend != "tensorflow":
        raise ImportError(
            f"Keras was imported with the backend {backend!r}, before ugatit_tf, whose networks need 'tensorflow'. The "
            "setting is KERAS_BACKEND in the environment, or backend in ~/.keras/keras.json ($KERAS_HOME/keras.json). "
            "Import ugatit_tf before keras, or set KERAS_BACKEND=tensorflow."
        )


@contextlib.contextmanager
def keras_defaults():
    """In the block, Keras's global settings are its defaults: channels last, float32. Those from before come back.

    keras.json, or the process that imports us, may have others: `channels_first`, another float type, a mixed policy.
    """
    from keras import config

    former = config.image_data_format(), config.floatx(), config.dtype_policy()
    config.set_image_data_format("channels_last")
    config.set_floatx("float32")
    config.set_dtype_policy("float32")
    try:
        yield
    finally:
        config.set_image_data_format(former[0])
        config.set_floatx(former[1])
        config.set_dtype_policy(former[2])


@contextlib.contextmanager
def quiet():
    """Keep notes that C++ code writes to the terminal's error output, and that no setting silences, off it."""
    if _LOUD:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # for what is logged later
    sys.stderr.flush()
    terminal = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


def discard(stream):
    """Let all that is written to a stream from now on go nowhere: also its buffer, which Python writes when it ends,
    and what C++ code writes."""
    with contextlib.suppress(AttributeError, OSError, ValueError):  # a replaced stream may have no file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)


def cores():
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def cache_folder(part=""):
    """The folder of what is kept between runs: `$UGATIT_CACHE`, or `~/.cache/ugatit_tf` with the part's own folder."""
    folder = os.environ.get("UGATIT_CACHE") or os.path.join("~/.cache/ugatit_tf", part)
    return pathlib.Path(folder).expanduser()


def install_hint(extra):
    """The command that installs an extra of setup.py, quoted as bash, zsh, cmd and PowerShell all take it.

    The project is installed from its source: that folder, if this is it, else one says where.
    """
    if (_SOURCE / "setup.py").is_file():
        return f'pip install "{_SOURCE}[{extra}]"'
    return f'pip install ".[{extra}]" in the folder of the source'
