"""`ugatit compare`: the paper's table for one's own runs, and their pictures side by side."""

import os
import pathlib
import textwrap

from ugatit_tf.cli import evaluate
from ugatit_tf.cli.flags import Command, UsageError
from ugatit_tf.cli.provenance import provenance
from ugatit_tf.cli.start import add_fit_flag, find_data, find_dataset, find_gpus, find_source, make_folder
from ugatit_tf.weights.atomic import replacing

SUMMARY = """\
Usage: ugatit compare RUN RUN ... [flags]

Scores several runs (U-GAT-IT, its ablations, CycleGAN) on the same test images, as `ugatit evaluate` does, and prints
one table. Each word is a run folder, whose newest checkpoint is taken, or a checkpoint (runs/x/checkpoint/best.npz);
with the average of the weights where the run keeps one. Writes comparison.json, comparison.md (the tables), and
a2b.png and b2a.png: the first test images, each run's translations side by side, and the truth where it is known. A
checkpoint of one generator alone is compared in its direction.

  ugatit compare runs/UGATIT_light_demo runs/CycleGAN_demo --features random

A difference is worth something when it is several times the standard error behind the ±, which says how much the number
would change with other test images; how much it would change with another --seed only a second run tells."""
PICTURES = 8  # images of a sheet
_SMALLEST = 128  # pixels of a picture on the sheet; smaller ones are enlarged
_TITLE = 20  # characters in a line of a title; longer ones would run into the next picture's


def make_command():
    """The command with all its flags."""
    command = Command("compare", SUMMARY, words=True)
    command.group("What to score")
    command.path("dataset", None, "Whose test images are translated (default: the runs').")
    command.path("data_dir", None, "Where the datasets are (default: the runs', or dataset).")
    add_fit_flag(command)
    command.group("How")
    evaluate.add_feature_flags(command)
    command.path("out", "comparison", "Folder for what is written.")
    return command


def main(arguments):
    """Run the command; returns the exit code."""
    command = make_command()
    values = command.parse(arguments)
    if values is None:
        return 0
    if len(values["words"]) < 2:
        raise UsageError("Name two runs or more. See ugatit compare --help.")
    sources = [find_source(word) for word in values["words"]]
    checkpoints = [evaluate.find_checkpoints(path)[-1] if path.is_dir() else path for path in sources]
    if len({path.resolve() for path in checkpoints}) < len(sources):
        raise UsageError("One checkpoint is named twice. Name two runs or more. See ugatit compare --help.")
    data = {find_data(values, path, "its test images are translated") for path in sources}
    if len({os.path.realpath(part.path) for part in data}) > 1:
        raise UsageError(
            f"The runs have several datasets: {', '.join(sorted(str(part.path) for part in data))}. "
            "Say with --dataset whose test images they are to translate."
        )
    out = pathlib.Path(values["out"])

    find_gpus()
    from ugatit_tf.evaluation import report

    sizes = {str(path): evaluate.image_size(path) for path in checkpoints}
    if len(set(sizes.values())) > 1:
        rows = ", ".join(f"{path}: {size} px" for path, size in sizes.items())
        raise UsageError(f"Scores at several sizes say nothing of each other ({rows}). Compare runs of one size.")
    fits = sorted({part.fit for part in data})
    if len(fits) > 1:
        raise UsageError(
            f"The runs were trained with --fit {' and '.join(fits)}, so they see images that are not square "
            "differently. Say with --fit how all are to be shown them."
        )
    data = data.pop()
    head = {**provenance("compare", arguments), "dataset": str(data.path)}
    dataset = find_dataset(data, need=("testA", "testB"))
    evaluator = evaluate.make_evaluator(values, dataset, next(iter(sizes.values())), fits[0])
    make_folder(out, "--out")
    records = evaluate.untranslated(evaluator, evaluate.DIRECTIONS)
    pictures = {direction: [("input", evaluator.pictures(direction, PICTURES))] for direction in evaluate.DIRECTIONS}
    names = _names(sources)
    for name, path in zip(names, checkpoints, strict=True):
        print(f"Scoring {path} ...", flush=True)
        found, model = evaluate.score_checkpoint(evaluator, path, evaluate.DIRECTIONS, averaged_only=True)
        records += [{**record, "label": name} for record in found]
        for direction in evaluate.directions_of(model, evaluate.DIRECTIONS):
            generator = getattr(model, f"gen_{direction}")
            pictures[direction].append((name, evaluator.pictures(direction, PICTURES, generator)))

    records.sort(key=lambda record: record["direction"])
    evaluate.show(records, out / "comparison.json", head)
    with replacing(out / "comparison.md") as file:
        file.write(report.markdown(records).encode())
    for direction, named in pictures.items():
        titles, columns = map(list, zip(*named, strict=True))
        if evaluator.paired:
            columns.append(evaluator.truths(direction, PICTURES))
            titles.append("truth")
        with replacing(out / f"{direction}.png") as file:
            _draw(columns, titles).save(file, "PNG")
    print(f"Pictures: {out / 'a2b.png'}, {out / 'b2a.png'}.")
    return 0


def _names(paths):
    """Short names for runs: as many last parts of their paths as tell all of them apart."""
    places = [path.absolute() for path in paths]
    runs = [(path.parent.parent, f", {path.stem}") if path.suffix == ".npz" else (path, "") for path in places]
    for count in range(1, max(len(path.parts) for path in places) + 1):
        names = ["/".join(path.parts[-count:]) + rest for path, rest in runs]
        if len(set(names)) == len(names):
            break
    return names


def _draw(columns, titles):
    import numpy as np

    from ugatit_tf.inference.sheets import draw_sheet

    rows = np.stack(columns, axis=1)  # [N, K, H, W, 3]
    factor = -(-_SMALLEST // rows.shape[2])
    titles = [textwrap.fill(title, _TITLE, break_on_hyphens=False) for title in titles]
    return draw_sheet(rows.repeat(factor, 2).repeat(factor, 3), across=True, names=titles)
