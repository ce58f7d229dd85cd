"""`ugatit export`: a trained run or an official checkpoint as files for other programs, each proven equal to it."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import uuid

from ugatit_tf import __version__
from ugatit_tf.cli.flags import Command, UsageError
from ugatit_tf.cli.start import find_dataset, find_gpus, quiet
from ugatit_tf.config import DataConfig, RunConfig

FORMATS = ("saved_model", "float32", "float16", "dynamic_range", "static_int8")
DIRECTIONS = {"a2b": ("gen_a2b", "A to B", "testA"), "b2a": ("gen_b2a", "B to A", "testB")}

SUMMARY = """\
Usage: ugatit export --checkpoint PATH [flags]        (or: python export.py --checkpoint PATH [flags])

Writes the generators as SavedModels, which TF Serving loads, and as TFLite files, which run on phones, in browsers and
anywhere else. Each takes a picture and gives a picture; resizing aside, there is nothing to do before or after.
Every file is then run on the dataset's test images and compared with the trained generator; only files that pass are
published, and the table of what was measured is printed and written beside them.

  ugatit export --checkpoint runs/UGATIT_light_selfie2anime
  ugatit export --checkpoint UGATIT.model-1000000 --dataset selfie2anime --formats saved_model,float16

In --out_dir: NAME_a2b/1, /2, ... (SavedModels, a new version each time), NAME_a2b_FORMAT.tflite, serving/ (settings for
it), export.md and export.json (the proof). Needs: pip install 'ugatit-tf[export]'"""


def make_command():
    """The command with all its flags."""
    command = Command("export", SUMMARY)

    command.group("What to export")
    command.string(
        "checkpoint", None, "A run folder, a step-*.npz of one, the prefix of an official TF1 checkpoint, or a .pt."
    )
    command.string("formats", "saved_model,dynamic_range", f"Any of {', '.join(FORMATS)}, separated by commas.")
    command.choice("direction", "both", (*DIRECTIONS, "both"), "Which generators.")
    command.boolean("ema", True, "The averaged weights, of a run that kept an average (--ema of the training).")
    command.boolean("smoothing", True, "AdaLIN smoothing of an official TF1 checkpoint, which cannot tell.")
    command.integer("img_size", 256, "Training size of an official light checkpoint, which cannot tell.")

    command.group("Sizes")
    command.string("size", None, "TFLite: the images' size, 256 or, as height x width, 256x384 (default: as trained).")
    command.boolean("dynamic", False, "TFLite: images of any size, any number at once; slower than a fixed size.")
    command.integer("max_pixels", 32_000_000, "SavedModel: largest image that the signature `encoded` decodes.")

    command.group("Proof")
    command.string("dataset", None, "Dataset whose test images the files are tried on (default: the run's).")
    command.string("data_dir", None, "Where the datasets are (default: the run's, or dataset).")
    command.integer("proof_images", 50, "Test images used, at most; static_int8 measures its ranges on them, too.")

    command.group("Names and folders")
    command.string("name", "ugatit", "First part of the files' and models' names.")
    command.string("label", None, "What the files call the model (default: U-GAT-IT, the dataset and the direction).")
    command.string("licence", "not stated", "Licence of the model, for the files' metadata.")
    command.string("out_dir", None, "Folder for everything (default: export in the run folder).")
    return command


def main(arguments):
    """Run the command; returns the exit code."""
    command = make_command()
    values = command.parse(arguments)
    if values is None:
        return 0
    formats = _check(values)
    checkpoint = pathlib.Path(values["checkpoint"])
    data = _data(values, checkpoint)
    out_dir = _out_dir(values, checkpoint)

    find_gpus()
    from ugatit_tf.ugatit import UGATIT

    official = not checkpoint.is_dir() and checkpoint.suffix != ".npz"
    overrides = {name: values[name] for name in ("smoothing", "img_size") if official and command.given(name)}
    model = UGATIT.load(checkpoint, ema=values["ema"], **overrides)
    size = _size(values["size"], model.config)
    directions = list(DIRECTIONS) if values["direction"] == "both" else [values["direction"]]
    dataset = find_dataset(data, need=[DIRECTIONS[direction][2] for direction in directions])

    staged = out_dir / f".{uuid.uuid4().hex}"
    staged.mkdir(parents=True)
    try:
        proofs = []
        for direction in directions:
            paths = dataset.test_a if direction == "a2b" else dataset.test_b
            images = _images(paths[: values["proof_images"]], size)
            proofs += _export(model, direction, formats, values, data, size, images, staged)
        return _finish(proofs, staged, out_dir, values["name"])
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _check(values):
    """Refuse what does not go together; returns the formats."""
    if not values["checkpoint"]:
        raise UsageError("what is to be exported? Give --checkpoint, a run folder for example. See --help.")
    formats = [name.strip() for name in values["formats"].split(",") if name.strip()]
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise UsageError(f"--formats takes {', '.join(FORMATS)}; received {', '.join(unknown) or 'none'}.")
    if values["dynamic"] and "static_int8" in formats:
        raise UsageError("static_int8 measures ranges at one size: it does not go together with --dynamic.")
    for name in ("proof_images", "max_pixels"):
        if values[name] < 1:
            raise UsageError(f"--{name} must be at least 1; received {values[name]}.")
    if not re.fullmatch(r"[\w.-]+", values["name"]):
        raise UsageError(f"--name may have letters, digits, _, - and . only; received {values['name']!r}.")
    return formats


def _data(values, checkpoint):
    """Where the test images are: what the flags say, else what the run was trained on."""
    run_dir = checkpoint.parent.parent if checkpoint.suffix == ".npz" else checkpoint
    config = run_dir / "config.json"
    known = RunConfig.from_json(config.read_text()).data if config.is_file() else None
    if not values["dataset"] and known is None:
        raise UsageError(
            f"{checkpoint} does not tell its dataset; the files are tried on its test images. Give --dataset."
        )
    default = known or DataConfig()
    return DataConfig(values["dataset"] or default.dataset, values["data_dir"] or default.data_dir)


def _out_dir(values, checkpoint):
    if values["out_dir"]:
        return pathlib.Path(values["out_dir"])
    return checkpoint / "export" if checkpoint.is_dir() else pathlib.Path("export")


def _size(text, config):
    """(height, width) of the TFLite files and of the proof."""
    if text is None:
        return config.img_size, config.img_size
    if not re.fullmatch(r"\d+(x\d+)?", text):
        raise UsageError(f"--size takes 256 or 256x384; received {text!r}.")
    sides = [int(side) for side in text.split("x")]
    size = (sides[0], sides[-1])
    if not config.light and size != (config.img_size, config.img_size):
        raise UsageError(f"--size {text}: a full generator works at its own size only, {config.img_size}.")
    if any(side % 4 or side < 8 for side in size):
        raise UsageError(f"--size {text}: height and width must be multiples of 4, and at least 8.")
    return size


def _images(paths, size):
    """The test images at the size of the files, uint8 [N, H, W, 3]."""
    import numpy as np

    from ugatit_tf.data import images, pipeline

    return np.stack([np.rint(pipeline.resize(images.decode(path), size)).astype(np.uint8) for path in paths])


def _export(model, direction, formats, values, data, size, images, staged):
    """Write one generator's files into the staging folder; returns their proofs."""
    from ugatit_tf.export import metadata, saved_model, tflite, verify

    attribute, words, _ = DIRECTIONS[direction]
    generator = getattr(model, attribute)
    name = f"{values['name']}_{direction}"
    description = {
        "label": values["label"] or f"U-GAT-IT, {data.dataset}, {words}",
        "licence": values["licence"],
        "version": __version__,
        "direction": direction,
        "model": dataclasses.asdict(model.config),
        "weights_sha256": metadata.weights_sha256(generator),
    }
    proofs = []
    for kind in formats:
        print(f"{name}: {kind} ...", flush=True)
        with quiet():
            if kind == "saved_model":
                saved_model.write(staged / name, generator, name, description, values["max_pixels"])
                proofs.append(verify.measure_saved_model(staged / name, name, generator, images))
            else:
                path = staged / f"{name}_{kind}.tflite"
                path.write_bytes(
                    tflite.convert(generator, kind, None if values["dynamic"] else size, description, images)
                )
                proofs.append(verify.measure_tflite(path, kind, generator, images))
    return proofs


def _finish(proofs, staged, out_dir, name):
    """Publish what was staged, if all of it passes; returns the exit code."""
    from ugatit_tf.export import saved_model, serving, verify

    table = verify.table(proofs)
    print(table)
    faults = [fault for proof in proofs for fault in proof.faults()]
    if faults:
        raise ArithmeticError("Nothing was published, for these are beyond their bounds:\n  " + "\n  ".join(faults))
    for proof in proofs:
        if proof.kind == "saved_model":
            version = saved_model.publish(staged / proof.file, out_dir / proof.file)
            print(f"Published {version}")
        else:
            os.replace(staged / proof.file, out_dir / proof.file)
    models = sorted(path.name for path in out_dir.glob(f"{name}_*2?") if path.is_dir())
    if models:
        serving.write_kit(staged / "serving", models)
        shutil.rmtree(out_dir / "serving", ignore_errors=True)
        os.replace(staged / "serving", out_dir / "serving")
    for file, text in {
        "export.md": table + "\n",
        "export.json": json.dumps([dataclasses.asdict(proof) for proof in proofs], indent=2) + "\n",
    }.items():
        (staged / file).write_text(text)
        os.replace(staged / file, out_dir / file)
    print(f"Written to {out_dir}.")
    return 0
