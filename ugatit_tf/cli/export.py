"""`ugatit export`: a trained run or an official checkpoint as files for other programs, each proven equal to it."""

import dataclasses
import importlib.util
import json
import math
import os
import pathlib
import re
import shutil
import uuid

from ugatit_tf import __version__, environment
from ugatit_tf.cli.flags import Command, UsageError
from ugatit_tf.cli.start import (
    SOURCES,
    add_fit_flag,
    add_official_flags,
    find_data,
    find_dataset,
    find_gpus,
    make_folder,
    official_overrides,
    one_source,
    quiet,
)
from ugatit_tf.weights.atomic import replacing

FORMATS = {
    "saved_model": "for TF Serving",
    "dynamic_range": "TFLite, int8 weights: the smallest and fastest on a CPU",
    "float16": "TFLite, half the size of float32: for GPUs and browsers",
    "float32": "TFLite, exact",
    "static_int8": "TFLite, int8 convolutions with ranges measured on trainA or trainB",
    "weights": "NAME_a2b.weights.h5, the generator's weights in Keras's format",
    "pt": "NAME.pt, all six networks for the official PyTorch code (flavor pytorch only)",
}
DIRECTIONS = {"a2b": "A", "b2a": "B"}  # with the domain of the images that are translated

SUMMARY = """\
Usage: ugatit export RUN|CHECKPOINT [flags]

Writes the generators as SavedModels, which TF Serving loads, and as TFLite files, which run on phones, in browsers and
anywhere else. Each takes a picture and gives a picture; resizing aside, there is nothing to do before or after.
Every file is then run on the dataset's test images and compared with the trained generator; only files that pass are
published, and the table of what was measured is printed and written beside them.

  ugatit export runs/UGATIT_light_selfie2anime
  ugatit export UGATIT.model-1000000 --dataset selfie2anime --formats saved_model,float16

In --out_dir: NAME_a2b/1, /2, ... (SavedModels, a new version each time), NAME_a2b_FORMAT.tflite, serving/ (settings for
TF Serving), export.md and export.json (the proof). Needs: pip install ".[export]\""""
PACKAGES = ("ai_edge_litert", "litert_quantizer", "tensorflow_serving")  # what the extra installs


def make_command():
    """The command with all its flags."""
    command = Command("export", SUMMARY, words=True)

    command.group("What to export")
    command.path("checkpoint", None, f"The same as the word: {SOURCES}.", also=("run_dir", "model"))
    formats = "; ".join(f"{name} ({text})" for name, text in FORMATS.items())
    command.string("formats", "saved_model,dynamic_range", f"Separated by commas: {formats}.")
    command.choice("direction", "both", (*DIRECTIONS, "both"), "Which generators.")
    command.boolean("ema", True, "The averaged weights, of a run that kept an average (--ema of the training).")
    add_official_flags(command)

    command.group("Sizes")
    command.string("size", None, "TFLite: the images' size, 256 or, as height x width, 256x384 (default: as trained).")
    command.boolean("dynamic", False, "TFLite: images of any size, any number at once; slower than a fixed size.")
    command.integer("max_pixels", 32_000_000, "SavedModel: largest image that the signature `encoded` decodes.")

    command.group("Proof")
    command.path("dataset", None, "Dataset whose test images the files are tried on (default: the run's).")
    command.path("data_dir", None, "Where the datasets are (default: the run's, or dataset).")
    add_fit_flag(command)
    command.integer("proof_images", 50, "Test images used, at most; and training images, by static_int8.")

    command.group("Names and folders")
    command.string("name", "ugatit", "First part of the files' and models' names.")
    command.string("label", None, "What the files call the model (default: its kind, the dataset and the direction).")
    command.string("licence", "not stated", "Licence of the model, for the files' metadata.")
    command.path("out_dir", None, "Folder for everything (default: export in the run folder).")
    return command


def main(arguments):
    """Run the command; returns the exit code."""
    command = make_command()
    values = command.parse(arguments)
    if values is None:
        return 0
    formats = _check(values)
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"exporting needs {', '.join(missing)}: {environment.install_hint('export')}.")
    checkpoint = one_source(command, values)
    data = find_data(values, checkpoint, "the files are tried on its test images")
    out_dir = _out_dir(values, checkpoint)

    find_gpus()
    import tensorflow as tf

    from ugatit_tf.ugatit import UGATIT

    model = UGATIT.load(checkpoint, ema=values["ema"], **official_overrides(command, values, checkpoint))
    if "pt" in formats and not (model.config.flavor == "pytorch" and model.config.official):
        kind = f"{model.config.flavor} flavor" if model.config.official else "kind that the official code lacks"
        raise UsageError(f"--formats pt is for U-GAT-IT of the pytorch flavor; {checkpoint} is of the {kind}.")
    size = _size(values["size"], model.gen_a2b)
    directions = list(DIRECTIONS) if values["direction"] == "both" else [values["direction"]]
    parts = ("test", "train") if "static_int8" in formats else ("test",)
    dataset = find_dataset(data, need=[part + DIRECTIONS[direction] for part in parts for direction in directions])

    staged = out_dir / f".{uuid.uuid4().hex}"
    make_folder(staged, "--out_dir")
    try:
        proofs = []
        for direction in directions:
            images = {
                part: _images(
                    getattr(dataset, f"{part}_{DIRECTIONS[direction].lower()}")[: values["proof_images"]],
                    size,
                    data.fit,
                )
                for part in parts
            }
            proofs += _export_generator(model, direction, formats, values, data, size, images, staged)
        if "pt" in formats:
            proofs.append(_export_pt(model, staged / f"{values['name']}.pt"))
        return _finish(proofs, staged, out_dir, values["name"])
    except tf.errors.OpError as error:
        raise OSError(f"{out_dir} cannot be written: {error.message}") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _check(values):
    """Refuse what does not go together; returns the formats."""
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


def _out_dir(values, checkpoint):
    if values["out_dir"]:
        return pathlib.Path(values["out_dir"])
    return checkpoint / "export" if checkpoint.is_dir() else pathlib.Path("export")


def _size(text, generator):
    """(height, width) of the TFLite files and of the proof."""
    if text is None:
        return generator.img_size, generator.img_size
    if not re.fullmatch(r"\d+(x\d+)?", text):
        raise UsageError(f"--size takes 256 or 256x384; received {text!r}.")
    sides = [int(side) for side in text.split("x")]
    size = (sides[0], sides[-1])
    fixed = generator.fixed_size
    if fixed is not None and size != (fixed, fixed):
        raise UsageError(f"--size {text}: a full generator works at its own size only, {fixed}.")
    if any(side % 4 or side < 8 for side in size):
        raise UsageError(f"--size {text}: height and width must be multiples of 4, and at least 8.")
    return size


def _images(paths, size, fit):
    """The test images at the size of the files, uint8 [N, H, W, 3]."""
    import numpy as np

    from ugatit_tf.data import images, pipeline

    fitted = (images.to_aspect(images.decode(path), fit, size) for path in paths)
    return np.stack([np.rint(pipeline.resize(pixels, size)).astype(np.uint8) for pixels in fitted])


def _export_generator(model, direction, formats, values, data, size, images, staged):
    """Write one generator's files into the staging folder; returns their proofs."""
    from ugatit_tf.export import metadata, saved_model, tflite, verify

    generator = getattr(model, f"gen_{direction}")
    name = f"{values['name']}_{direction}"
    description = {
        "label": values["label"] or f"{model.config.title}, {data.dataset}, {direction.upper().replace('2', ' to ')}",
        "licence": values["licence"],
        "version": __version__,
        "direction": direction,
        "model": dataclasses.asdict(model.config),
        "weights_sha256": metadata.weights_sha256(generator),
    }
    proofs = []
    for kind in formats:
        if kind == "pt":  # is not one generator's
            continue
        print(f"{name}: {kind} ...", flush=True)
        with quiet():
            if kind == "saved_model":
                saved_model.write(staged / name, generator, name, description, values["max_pixels"])
                proofs.append(verify.measure_saved_model(staged / name, name, generator, images["test"]))
            elif kind == "weights":
                path = staged / f"{name}.weights.h5"
                generator.save_weights(path)
                again = generator.copy()
                again.load_weights(path)
                proofs.append(verify.measure_weights(path, kind, _arrays(again), _arrays(generator)))
            else:
                path = staged / f"{name}_{kind}.tflite"
                fixed = None if values["dynamic"] else size
                path.write_bytes(tflite.convert(generator, kind, fixed, description, images.get("train")))
                proofs.append(verify.measure_tflite(path, kind, generator, images["test"]))
    return proofs


def _export_pt(model, path):
    from ugatit_tf.export import verify
    from ugatit_tf.ugatit import UGATIT

    model.save_pt(path)
    again = UGATIT.load(path, **({"img_size": model.config.img_size} if model.config.light else {}))
    return verify.measure_weights(path, "pt", again.arrays(), model.arrays())


def _arrays(generator):
    return {str(i): variable.numpy() for i, variable in enumerate(generator.variables)}


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
    beside = {f"serving/{file}": text for file, text in serving.kit(models).items()} if models else {}
    beside["export.md"] = table + "\n"
    rows = [dataclasses.asdict(proof) for proof in proofs]
    for row in rows:
        row["psnr"] = row["psnr"] if math.isfinite(row["psnr"]) else None  # equal; JSON has no infinity
    beside["export.json"] = json.dumps(rows, indent=2) + "\n"
    for file, text in beside.items():
        (out_dir / file).parent.mkdir(exist_ok=True)
        with replacing(out_dir / file) as content:
            content.write(text.encode())
    print(f"Written to {out_dir}.")
    return 0
