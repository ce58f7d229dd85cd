"""`ugatit evaluate`: score a run's or a checkpoint's translations, or pictures that are there already."""

import contextlib
import json
import pathlib

from ugatit_tf.cli.flags import Command, UsageError
from ugatit_tf.cli.provenance import provenance
from ugatit_tf.cli.start import (
    SOURCES,
    add_fit_flag,
    add_official_flags,
    find_data,
    find_dataset,
    find_gpus,
    find_source,
    is_image_folder,
    make_folder,
    official_overrides,
)
from ugatit_tf.config import DataConfig, RunConfig
from ugatit_tf.weights import archive
from ugatit_tf.weights.atomic import replacing

SUMMARY = """\
Usage: ugatit evaluate RUN|CHECKPOINT [flags]                           (a run's newest checkpoint, or --all)
       ugatit evaluate FOLDER --dataset NAME --direction a2b [flags]   (translations of testA)
       ugatit evaluate FOLDER REFERENCE [flags]                        (two folders of images)

Translates the dataset's test images in both directions and scores them: KID and FID to the real images of the other
domain, precision, recall, density and coverage, and, where testA and testB hold the same things under the same names,
L1, PSNR and SSIM to the truth. A run that keeps an average of its weights (--ema) is scored with both. The row
"untranslated" scores the inputs themselves, as a baseline. Shows a table; writes evaluation.json and, of steps,
evaluation.png. Of a folder, give the --fit of the training whose translations it holds.

  ugatit evaluate runs/UGATIT_light_selfie2anime
  ugatit evaluate runs/UGATIT_light_selfie2anime --all --features random,my_network.tflite

Values depend on the feature network, the image size and the number of images: compare what was scored alike."""
DIRECTIONS = ("a2b", "b2a")


def add_feature_flags(command):
    """Add the flags that say with what images are scored."""
    command.path(
        "features",
        "inception",
        "Feature networks, separated by commas: inception (Keras's, fetched once), random (fixed random convolutions, "
        "no download), or the path of a .keras file, a SavedModel or a .tflite file.",
        separator=",",
    )
    command.boolean(
        "paired",
        None,
        "Whether images of one name in testA and testB show the same thing (default: if every image has its namesake).",
    )


def make_command():
    """The command with all its flags."""
    command = Command("evaluate", SUMMARY, words=True)
    command.group("What to score")
    command.boolean("all", False, "All checkpoints of the run, with a plot of metric against step.")
    command.choice("direction", "both", (*DIRECTIONS, "both"), "Which translations.")
    command.path("checkpoint", None, f"The same as the word: {SOURCES}.", also=("run_dir", "model"))
    command.path("dataset", None, "Whose test images are translated (default: the run's).")
    command.path("data_dir", None, "Where the datasets are (default: the run's, or dataset).")
    add_fit_flag(command)
    add_official_flags(command)
    command.group("How")
    add_feature_flags(command)
    command.path("out", None, "Folder for what is written (default: evaluation in the run folder, or here).")
    return command


def main(arguments):
    """Run the command; returns the exit code."""
    command = make_command()
    values = command.parse(arguments)
    if values is None:
        return 0
    paths = [pathlib.Path(word) for word in [*values["words"], *filter(None, [values["checkpoint"]])]]
    if len(paths) not in (1, 2):
        raise UsageError("Name a run, a checkpoint, a folder of images, or two folders. See ugatit evaluate --help.")
    for path in paths[1:]:
        if not path.exists():
            raise UsageError(f"{path} is not there.")
    is_run = len(paths) == 1 and (values["checkpoint"] or not is_image_folder(paths[0]))
    if is_run:
        paths = [find_source(paths[0])]
    if values["all"] and not (is_run and paths[0].is_dir()):
        raise UsageError("--all is for a run folder.")
    if len(paths) == 2 and any(map(command.given, ("dataset", "direction", "fit"))):
        raise UsageError("Two folders are compared as they are: leave out --dataset, --direction and --fit.")
    out = pathlib.Path(values["out"] or (paths[0] / "evaluation" if is_run and paths[0].is_dir() else "evaluation"))

    find_gpus()
    head = provenance("evaluate", arguments)
    if is_run:
        records, held_out = _score_run(command, values, paths[0], out, head)
    else:
        records, held_out = [_score_folder(values, paths, out, head)], []
    show(records, out / "evaluation.json", head)
    if len({record["step"] for record in records} - {None}) > 1 or held_out:
        from ugatit_tf.evaluation import report

        with replacing(out / "evaluation.png") as file:
            report.plot(records, held_out, file)
        print(f"{out / 'evaluation.png'} shows the scores against the step.")
    return 0


def load_networks(values):
    """The feature networks of `--features`."""
    from ugatit_tf.evaluation.features import load_features

    names = [name.strip() for name in values["features"].split(",") if name.strip()]
    if not names:
        raise UsageError("--features names none. See the help.")
    networks = {}
    for name in dict.fromkeys(names):
        network = load_features(name)
        if networks.setdefault(network.name, network) is not network:
            raise UsageError(f"--features has two networks called {network.name}, as tables would: rename one.")
    return list(networks.values())


def make_evaluator(values, dataset, size, fit):
    """The `Evaluator` of a dataset's test images, by `--features` and `--paired`; `fit` as in `DataConfig`."""
    from ugatit_tf.evaluation.score import Evaluator

    evaluator = Evaluator(load_networks(values), dataset.test_a, dataset.test_b, size, values["paired"], fit)
    if evaluator.paired:
        print("testA and testB hold images of the same names: scored as pairs (--nopaired if they are none).")
    return evaluator


def find_checkpoints(run_dir):
    """A run's checkpoints, oldest first, `best.npz` before them where there is one; None if it is no run folder."""
    folder = run_dir / _run_config(run_dir).checkpoint_dir
    found = [*folder.glob("best.npz"), *archive.list_checkpoints(folder)]
    return found if found or (run_dir / "config.json").is_file() else None


def image_size(path, overrides=None):
    """The size in pixels that a checkpoint's model was made for."""
    from ugatit_tf.ugatit import UGATIT

    if path.suffix == ".npz":
        return RunConfig.from_json(archive.read_config(path), path).model.img_size
    return UGATIT.load(path, **(overrides or {})).config.img_size


def score_checkpoint(evaluator, path, directions, overrides=None, averaged_only=False):
    """Score one checkpoint's generators, each with its own weights and with their average where it has one.

    Args:
        evaluator: `ugatit_tf.evaluation.score.Evaluator`.
        path: of a checkpoint file, of a run or official.
        directions: of `DIRECTIONS`.
        overrides: for an official one, see `UGATIT.load`.
        averaged_only: leave out the plain weights where there is an average.

    Returns:
        A list of records: what `Evaluator.score` gave, `label`, `weights`, `direction`, `checkpoint`, `step` and the
        generator's `weights_sha256`; and the model, with the last weights that were scored. Of both directions one
        without a generator is left out.
    """
    import tensorflow as tf

    from ugatit_tf.ugatit import UGATIT

    if path.suffix == ".npz":
        arrays, text = archive.read(path)
        run = RunConfig.from_json(text, path)
        model, step = UGATIT(run.model), int(arrays["steps"])
        kinds = ["raw", "ema"] if run.train.ema else ["raw"]
        name = f"{'best, ' if path.stem == 'best' else ''}step {step}"
    else:
        model, arrays, step, kinds, name = UGATIT.load(path, **(overrides or {})), None, None, ["raw"], path.name
    networks = {direction: getattr(model, f"gen_{direction}") for direction in directions_of(model, directions)}
    generators = {direction: tf.function(network) for direction, network in networks.items()}
    records = []
    for weights in kinds[-1:] if averaged_only else kinds:
        if arrays is not None:
            model.set_arrays(arrays, path, ema=weights == "ema")
        for direction, generator in generators.items():
            record = {"label": f"{name}, {weights}", "weights": weights, "direction": direction, "step": step}
            record |= {"checkpoint": str(path), "weights_sha256": networks[direction].weights_sha256()}
            records.append({**record, **evaluator.score(direction, generator)})
    return records, model


def directions_of(model, directions):
    """Of both directions those that the model has a generator for; of one that one, there or not."""
    there = [direction for direction in directions if f"gen_{direction}" not in model.missing]
    return there if len(directions) > 1 else directions


def untranslated(evaluator, directions):
    """Records of the inputs themselves, as a baseline."""
    same = {"label": "untranslated", "weights": "untranslated", "step": None}
    return [{**same, "direction": direction, **evaluator.score(direction)} for direction in directions]


def show(records, path, head):
    """Print the tables and their caveats, and write `head` and the records as JSON."""
    from ugatit_tf.evaluation import report

    records = sorted(records, key=lambda record: record["direction"])
    print(f"\n{report.markdown(records)}")
    with replacing(path) as file:
        file.write(json.dumps({**head, "records": report.finite(records)}, indent=1).encode() + b"\n")
    print(f"{path} has every number.")


def _score_run(command, values, path, out, head):
    """Records of a run folder or one checkpoint, and what the run logged of its held-out images."""
    data = find_data(values, path, "its test images are translated")
    held_out, checkpoints = [], [path]
    if path.is_dir():
        checkpoints = find_checkpoints(path) if values["all"] else find_checkpoints(path)[-1:]
        if not checkpoints:
            raise UsageError(f"{path} has no checkpoint yet.")
        held_out = _held_out(path) if values["all"] else []
    overrides = official_overrides(command, values, path)
    dataset = find_dataset(data, need=("testA", "testB"))
    head["dataset"] = str(data.path)
    evaluator = make_evaluator(values, dataset, image_size(checkpoints[-1], overrides), data.fit)
    make_folder(out, "--out")
    directions = DIRECTIONS if values["direction"] == "both" else (values["direction"],)
    records = untranslated(evaluator, directions)
    for checkpoint in checkpoints:
        print(f"Scoring {checkpoint} ...", flush=True)
        records += score_checkpoint(evaluator, checkpoint, directions, overrides)[0]
    return records, held_out


def _held_out(run_dir):
    """What a run logged of its held-out images: dicts, without lines that a crash cut."""
    log = run_dir / _run_config(run_dir).log_dir / "evaluation.jsonl"
    records = []
    for line in log.read_text().splitlines() if log.is_file() else ():
        with contextlib.suppress(ValueError):
            records.append(json.loads(line))
    return records


def _run_config(run_dir):
    return RunConfig.of_folder(run_dir) or RunConfig()


def _score_folder(values, paths, out, head):
    """The record of one folder of images, against another or against a dataset's test images."""
    from ugatit_tf.data.images import scan
    from ugatit_tf.evaluation.score import score_folders

    if len(paths) == 1:
        if not values["dataset"] or values["direction"] == "both":
            raise UsageError(
                f"{paths[0]} is a folder of images, not a run: name a second folder to compare it with, or give "
                "--dataset and --direction a2b (or b2a)."
            )
        domain = values["direction"][-1]
        default = DataConfig()
        data = DataConfig(values["dataset"], values["data_dir"] or default.data_dir, values["fit"] or default.fit)
        fit = data.fit
        reference = getattr(find_dataset(data, need=(f"test{domain.upper()}",)), f"test_{domain}")
        head["dataset"] = str(data.path)
    found = []
    for path in paths:
        if not path.is_dir():
            raise UsageError(f"{path} is no folder of images.")
        if find_checkpoints(path) is not None:
            raise UsageError(f"{path} is a run: score it alone, or several with `ugatit compare`.")
        there = scan(path)
        for line in there.notes():
            print(line)
        found.append(there.images)
        if not found[-1]:
            raise UsageError(f"{path} has no images.")
    if len(paths) == 2:
        reference, fit = found[1], "squeeze"
        head["reference"] = str(paths[1])
    networks = load_networks(values)
    make_folder(out, "--out")
    score = score_folders(networks, found[0], reference, values["paired"], fit)
    direction = values["direction"] if len(paths) == 1 else ""
    return {"label": str(paths[0]), "weights": "", "direction": direction, "step": None, **score}
