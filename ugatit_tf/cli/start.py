"""What several commands do first: start TensorFlow quietly, and find a checkpoint and the images of a dataset."""

import contextlib
import os
import sys

from ugatit_tf.cli.flags import UsageError
from ugatit_tf.config import FITS, DataConfig, RunConfig
from ugatit_tf.weights import archive

# Whoever wants the notes of TensorFlow's C++ code (a GPU is not found, say) sets this, and nothing is hidden.
_LOUD = "TF_CPP_MIN_LOG_LEVEL" in os.environ


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


def find_gpus():
    """Start TensorFlow; returns the names of its GPUs, which will take memory as they need it."""
    with quiet():
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    return [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]


def make_folder(path, flag):
    """Make a folder for results where it is missing.

    Raises:
        UsageError: that cannot be; says which flag names another.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "is a file" if isinstance(error, FileExistsError) else error.strerror
        raise UsageError(f"{path} cannot be made a folder ({reason}). Name another with {flag}.") from error


def find_dataset(data, need):
    """The dataset's images, drawn or fetched first where its name asks for that, and checked.

    Args:
        data: `ugatit_tf.config.DataConfig`.
        need: the folders that must have images.

    Returns:
        `ugatit_tf.data.images.Dataset`.
    """
    from ugatit_tf.cli.progress import Progress
    from ugatit_tf.data import demo, images, tfds

    folder = data.path
    made = images.holds_records(folder)  # and no folder of images
    if data.dataset == "demo" and not made and not demo.demo_ready(folder):
        print(f"Drawing the demo set into {folder} ...", flush=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        demo.write_demo(folder, progress=Progress("Drawing"))
    if data.dataset.startswith("tfds:") and not made:
        tfds.write_tfds(data.dataset, folder)
    dataset = images.load_dataset(folder, need=need, progress=Progress("Checking the images"))
    for line in images.describe_bad(dataset.bad) + dataset.notes(data.fit):
        print(line)
    counts = {name: len(getattr(dataset, f"{name[:-1]}_{name[-1].lower()}")) for name in images.FOLDERS}
    print(f"Dataset {folder}:", ", ".join(f"{count} {name}" for name, count in counts.items() if count))
    return dataset


def add_official_flags(command):
    """Add the flags that say what official checkpoints cannot tell."""
    command.boolean("smoothing", True, "AdaLIN smoothing of an official TF1 checkpoint, which cannot tell.")
    command.integer("img_size", 256, "Training size of an official light checkpoint, which cannot tell.")


def official_overrides(command, values, checkpoint):
    """Of those flags the ones to hand to `UGATIT.load`: none for a checkpoint of ours, which knows."""
    ours = checkpoint.is_dir() or checkpoint.suffix == ".npz"
    return {name: values[name] for name in ("smoothing", "img_size") if not ours and command.given(name)}


def find_data(values, checkpoint, what):
    """Where the images are: what the flags say, else what the run was trained on.

    Args:
        values: with `dataset` and `data_dir`, None where not given.
        checkpoint: a run folder or a checkpoint file.
        what: to be done with the images, for the error.

    Returns:
        `ugatit_tf.config.DataConfig`.

    Raises:
        UsageError: neither tells.
    """
    if checkpoint.suffix == ".npz" and checkpoint.is_file():
        run = RunConfig.from_json(archive.read_config(checkpoint), checkpoint)
    else:
        run = RunConfig.of_folder(checkpoint)
    if not values["dataset"] and run is None:
        raise UsageError(f"{checkpoint} does not tell its dataset; {what}. Give --dataset.")
    default = run.data if run else DataConfig()
    fit = values.get("fit") or default.fit
    return DataConfig(values["dataset"] or default.dataset, values["data_dir"] or default.data_dir, fit)


def add_fit_flag(command, default=None):
    """Add the flag that says what becomes of images that are not square; by default, what a run did in its training."""
    text = "Images that are not square: squeeze them (as the official codes do), crop (the middle) or pad (the border)."
    command.choice("fit", default, FITS, text + ("" if default else " (default: as in the run's training)"))
