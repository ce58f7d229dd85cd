"""What several commands do first: start TensorFlow quietly, and find a checkpoint and the images of a dataset."""

import contextlib
import difflib
import glob
import math
import pathlib
import re

from ugatit_tf.cli.flags import UsageError
from ugatit_tf.cli.progress import Progress
from ugatit_tf.config import FITS, DataConfig, RunConfig
from ugatit_tf.environment import quiet
from ugatit_tf.weights import archive

SOURCES = (
    "a run folder, a checkpoint (step-*.npz), an official PyTorch .pt, or the prefix or folder of an official TF1 one"
)
RUNS = pathlib.Path("runs")  # where runs are by default


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
    print(f"Dataset {folder}:", ", ".join(f"{number} {name}" for name, number in counts.items() if number))
    return dataset


def check_dataset(data, need):
    """As `find_dataset`, but nothing is drawn or fetched: says so where that is still to be done."""
    from ugatit_tf.data import demo, images

    made = images.holds_records(data.path)
    if data.dataset == "demo" and not made and not demo.demo_ready(data.path):
        print(f"Dataset {data.path}: will be drawn.")
    elif data.dataset.startswith("tfds:") and not made and not data.path.exists():
        print(f"Dataset {data.path}: will be fetched with TensorFlow Datasets.")
    else:
        find_dataset(data, need)


def add_official_flags(command):
    """Add the flags that say what official checkpoints cannot tell."""
    command.boolean("smoothing", True, "AdaLIN smoothing of an official TF1 checkpoint, which cannot tell.")
    command.integer("img_size", 256, "Training size of an official light checkpoint, which cannot tell.")


def official_overrides(command, values, checkpoint):
    """Of those flags the ones to hand to `UGATIT.load`: none for a checkpoint of ours, which knows."""
    ours = checkpoint.is_dir() or checkpoint.suffix == ".npz"
    return {name: values[name] for name in ("smoothing", "img_size") if not ours and command.given(name)}


def one_source(command, values):
    """The one run or checkpoint that a command line names, as a word or behind --checkpoint; see `find_source`."""
    named = [*values["words"], *filter(None, [values["checkpoint"]])]
    if len(named) != 1:
        what = f"received {', '.join(named)}" if named else SOURCES
        raise UsageError(
            f"Name one run or checkpoint: ugatit {command.name} RUN, or --checkpoint RUN ({what}). "
            f"See ugatit {command.name} --help."
        )
    return find_source(named[0])


def find_source(path):
    """The checkpoint that a path means, whatever part of it is named.

    Args:
        path: a run folder; the folder of its checkpoints; a checkpoint file of a run; an official `.pt` or `.pth`; of
            an official TF1 checkpoint the prefix, with or without the step, or one of its files (`.index`, `.meta`,
            `.data-*`, the text file `checkpoint`); or a folder that holds one of these, if it holds one alone.

    Returns:
        A path that `UGATIT.load` takes: a run folder, a file, or the prefix of a TF1 checkpoint. Where several
        checkpoints of one training are there, the newest.

    Raises:
        UsageError: nothing is there, or no checkpoint, or several models; says what is there instead.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        found = _source_in(path)
        if found is None:
            inside = [_source_in(folder) for folder in _folders(path, 2) if _is_source(folder)]
            if len(inside) > 1:
                raise UsageError(f"{path} holds several models: {_some(inside)}. Name one of them.")
            if not inside:
                raise UsageError(f"{path} holds no checkpoint. Expected {SOURCES}.{_others(path)}")
            found = inside[0]
    else:
        found = _source_of(path)
    if found != path:
        print(f"Checkpoint: {found}.")
    return found


def find_model(path):
    """As `find_source`, of what translates: the files of `ugatit export` as well, which are given back as they are."""
    from ugatit_tf.inference.generators import find_export

    return pathlib.Path(path) if find_export(path) else find_source(path)


def is_image_folder(path):
    """Whether a path is a folder of images, and neither a run nor the folder of a checkpoint."""
    from ugatit_tf.data.images import find_images

    return path.is_dir() and _source_in(path) is None and bool(find_images(path))


def _source_of(path):
    """As `find_source`, of a file, or of a prefix, of which there is no file."""
    if not path.is_file():
        if path.with_name(f"{path.name}.index").is_file():
            return path
        found = _newest(path.parent.glob(f"{glob.escape(path.name)}-*.index")) if path.name else None
        if found:
            return found.with_suffix("")
        raise UsageError(f"{path} is not there.{_others(path) or f' Expected {SOURCES}.'}")
    if path.suffix in (".npz", ".pt", ".pth"):
        return path
    if path.name == "checkpoint":
        found = _source_in(path.parent)
        if found:
            return found
    prefix = re.sub(r"\.(index|meta|data-\d{5}-of-\d{5})$", "", path.name)
    if prefix != path.name:
        if path.with_name(f"{prefix}.index").is_file():
            return path.with_name(prefix)
        raise UsageError(f"{path}: {prefix}.index is not beside it, which a TF1 checkpoint needs. Copy it there, too.")
    raise UsageError(f"No checkpoint at {path}. Expected {SOURCES}.{_others(path)}")


def _source_in(folder):
    """The checkpoint that a folder is or has in itself, else None.

    Raises:
        UsageError: it is a run that has none yet.
    """
    run = RunConfig.of_folder(folder)
    checkpoints = folder / (run or RunConfig()).checkpoint_dir
    if archive.list_checkpoints(checkpoints) or (checkpoints / "best.npz").is_file():
        return folder
    if run:
        raise UsageError(f"{folder} has no checkpoint yet.")
    steps = archive.list_checkpoints(folder)
    if steps:
        parent, run = run_of(steps[-1])
        return parent if parent and folder.absolute().name == run.checkpoint_dir else steps[-1]
    with contextlib.suppress(OSError, UnicodeDecodeError):
        named = re.search(
            r'^model_checkpoint_path: "(?:.*[/\\])?(.+)"', (folder / "checkpoint").read_text(), re.MULTILINE
        )
        if named and (folder / f"{named[1]}.index").is_file():  # its folder may be one of another machine
            return folder / named[1]
    found = _newest(folder.glob("*.index"))
    if found:
        return found.with_suffix("")
    return _newest([*folder.glob("*.pt"), *folder.glob("*.pth")])


def _newest(paths):
    """The file whose name ends in `latest` or tells the most steps, else the one written last; None of none."""

    def order(path):
        steps = re.search(r"\d+$", path.stem)
        number = int(steps[0]) if steps else -1
        return math.inf if path.stem.endswith("latest") else number, path.stat().st_mtime

    return max(paths, key=order, default=None)


def _folders(folder, depth):
    """The folders in a folder, and in these, by name."""
    with contextlib.suppress(OSError):
        for child in sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")):
            yield child
            if depth > 1 and not (child / "config.json").is_file():
                yield from _folders(child, depth - 1)


def _others(path):
    """A sentence on what may have been meant instead of a path that has no checkpoint; empty where nothing is near."""
    near = {}
    for folder in dict.fromkeys((path.parent, RUNS)):
        with contextlib.suppress(OSError):
            names = {child.name: child for child in sorted(folder.iterdir()) if child != path}
            close = difflib.get_close_matches(path.name, names, n=5, cutoff=0.5)
            near |= {str(names[name]): None for name in close if _is_source(names[name])}
    return f" There is: {_some(near)}." if near else ""


def _is_source(path):
    if not path.is_dir():
        return path.suffix in (".npz", ".pt", ".pth", ".index")
    with contextlib.suppress(UsageError, ValueError):
        return _source_in(path) is not None
    return False


def _some(paths):
    paths = list(map(str, paths))
    return ", ".join(paths[:5]) + f" and {len(paths) - 5} more" * (len(paths) > 5)


def run_of(source):
    """The run that a checkpoint is of.

    Args:
        source: as `find_source` gave it.

    Returns:
        `folder, config`, each None where it is not known: of an official checkpoint, or of a file that was moved.
    """
    if source.is_dir():
        folder = source / RunConfig().checkpoint_dir
        return source, RunConfig.of_folder(source) or archive.newest_config(folder)[0]
    if source.suffix == ".npz":
        folder = source.parent.parent if len(source.parts) > 2 else source.absolute().parent.parent
        return folder if (folder / "config.json").is_file() else None, RunConfig.from_json(
            archive.read_config(source), source
        )
    return None, None


def find_data(values, checkpoint, what):
    """Where the images are: what the flags say, else what the run was trained on.

    Args:
        values: with `dataset` and `data_dir`, None where not given.
        checkpoint: as `find_source` gave it.
        what: to be done with the images, for the error.

    Returns:
        `ugatit_tf.config.DataConfig`.

    Raises:
        UsageError: neither tells.
    """
    _, run = run_of(checkpoint)
    if not values["dataset"] and run is None:
        raise UsageError(f"{checkpoint} does not tell its dataset; {what}. Give --dataset.")
    default = run.data if run else DataConfig()
    fit = values.get("fit") or default.fit
    return DataConfig(values["dataset"] or default.dataset, values["data_dir"] or default.data_dir, fit)


def add_fit_flag(command, default=None):
    """Add the flag that says what becomes of images that are not square; by default, what a run did in its training."""
    text = "Images that are not square: squeeze them (as the official codes do), crop (the middle) or pad (the border)."
    command.choice("fit", default, FITS, text + ("" if default else " (default: as in the run's training)"))
