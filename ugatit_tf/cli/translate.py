"""`ugatit translate`: photos in, the same photos with their faces translated.

A TFLite file and a server's REST interface need no TensorFlow.
"""

import glob
import os
import time

from ugatit_tf.cli import photos
from ugatit_tf.cli.flags import Command, UsageError, fail
from ugatit_tf.cli.progress import waiting
from ugatit_tf.cli.request import add_server_flags, connect_to, describe_server, plan_new
from ugatit_tf.cli.start import find_gpus, find_model, quiet, run_of
from ugatit_tf.config import FITS
from ugatit_tf.serving.client import ServingError, plain

NO_FACE = 3  # exit code

SUMMARY = """\
Usage: ugatit translate PHOTO|FOLDER|PATTERN ... --model PATH --out DIR [flags]
       ugatit translate PHOTO|FOLDER|PATTERN ... --server URL --out DIR [flags]

Finds the faces in photos, translates each and puts it back, and writes the photos into DIR under their names, as JPEG,
PNG or WebP if they are that, and with their profile and camera data. Of a folder all images are taken, nested folders
included, and keep their places.

  ugatit translate holiday/ --model export/ugatit_a2b_dynamic_range.tflite --out translated
  ugatit translate 'holiday/*.jpg' portrait.png --model runs/UGATIT_light_selfie2anime --out translated_by_run
  ugatit translate holiday/ --server http://localhost:8501 --model ugatit_a2b --out translated_by_server

Run again, it skips the photos that are done. A result that was made from another photo, or with another model or other
flags, is an error without --overwrite. A photo that cannot be translated does not stop the others and is named at the
end, with the reason: no_face, tiny_face (less than half the network's pixels across), dark_face, blurred_face, or an
error. Exit codes: 0 all were translated, 1 there was an error, 2 the command line is wrong, 3 no error, but photos
without a usable face."""


def make_command():
    """The command with all its flags."""
    command = Command("translate", SUMMARY, words=True)
    command.group("Model")
    command.path(
        "model",
        None,
        "A TFLite file or SavedModel of ugatit export, a run's folder, a step-*.npz of one, or an official checkpoint. "
        "With --server: the model's name there (default: the one in the URL, else ugatit_a2b).",
        also=("checkpoint", "run_dir"),
    )
    command.choice(
        "direction", "a2b", ("a2b", "b2a"), "Which generator of a run or an official checkpoint; an export holds one."
    )
    command.integer("threads", 2, "CPU threads, for TFLite files.")
    add_server_flags(command, None)
    command.group("Translation")
    command.choice("faces", "all", ("all", "largest"), "Which faces of a photo.")
    command.boolean(
        "whole",
        False,
        "Look for no faces: translate each photo as a whole, in its own shape where the model takes any size (light "
        "models; not TFLite files of one size).",
    )
    command.integer(
        "max_side",
        None,
        "With --whole, of a model of any size: the longer side at which it sees a photo, in pixels (default: 4 times "
        "the training size). The result is as large as the photo.",
    )
    command.choice(
        "fit",
        None,
        FITS,
        "With --whole: squeeze photos into a square, crop them (the middle) or pad them (the border) (default: their "
        "own shape where the model takes any size, else squeeze).",
    )
    command.float("strength", 1.0, "0 leaves the photo as it is, 1 shows the translation.")
    command.boolean("heatmap", False, "Lay the heatmap's colours over the translations: where the generator looked.")
    photos.add_result_flags(command)
    return command


def main(arguments):
    """Run the command; returns the exit code."""
    command = make_command()
    values = command.parse(arguments)
    if values is None:
        return 0
    out = photos.check_words(values, "translate", "PHOTO|FOLDER ... --model PATH")
    if not values["model"] and not values["server"]:
        raise UsageError("Missing --model, an exported .tflite file for example. See --help.")
    direction = values["direction"] if command.given("direction") else None
    if values["server"] and direction:
        raise UsageError("--direction is for a run or a checkpoint: a server's models are named, --model ugatit_b2a.")
    if not values["server"] and any(command.given(name) for name in ("timeout", "retries")):
        raise UsageError("--timeout and --retries go with --server.")
    if values["max_side"] is not None and (values["max_side"] < 8 or not values["whole"]):
        raise UsageError(f"--max_side goes with --whole and is 8 or more; received {values['max_side']}.")
    if values["fit"] and not values["whole"]:
        raise UsageError("--fit goes with --whole: faces are cut as squares.")
    if values["fit"] and values["max_side"] is not None:
        raise UsageError("--max_side goes without --fit, which translates at the training size.")
    if values["whole"] and command.given("faces"):
        raise UsageError("--faces goes without --whole, which looks for no faces.")
    if not 0 <= values["strength"] <= 1:
        raise UsageError(f"--strength must be from 0 to 1; received {values['strength']}.")
    if values["threads"] < 1:
        raise UsageError(f"--threads must be at least 1; received {values['threads']}.")

    from ugatit_tf.inference.photo import SUFFIXES

    client = connect_to(values) if values["server"] else None
    model = None if client else find_model(values["model"])
    decisive = ("direction", "faces", "whole", "max_side", "fit", "strength", "heatmap")
    described = describe_server(client) if client else _describe_files(model)
    results = photos.Results(out, ["translate", described, {name: values[name] for name in decisive}])
    jobs, problems = plan_new(values, results, SUFFIXES)
    faceless = []
    if jobs:
        translator = _load(values, model, direction, client)
        written = _run(translator, jobs, problems, faceless, results)
        print(f"{written} of {len(jobs)} translated, into {plain(out)}.")
    for problem in problems + faceless:
        fail(problem)
    if any(": no_face: " in text for text in faceless):
        fail("Where a photo shows something else than a face, --whole translates it as a whole.")
    return 1 if problems else NO_FACE if faceless else 0


def _describe_files(model):
    """What tells a model from others: its files' paths, sizes and times. (Their content may be gigabytes.)"""
    if model.is_file():
        files = [model]
    elif not model.is_dir():
        files = model.parent.glob(f"{glob.escape(model.name)}.*")  # the prefix of a TF1 checkpoint
    elif run := run_of(model)[1]:
        files = (model / run.checkpoint_dir).glob("*.npz")
    else:
        files = [path for path in model.rglob("*") if path.suffix == ".pb" or ".data-" in path.name]  # a SavedModel
    return sorted((os.path.abspath(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files)


def _load(values, model, direction, client):
    """The `PhotoTranslator` that the flags describe."""
    from ugatit_tf.inference.faces import FaceDetector
    from ugatit_tf.inference.generators import load_generator
    from ugatit_tf.inference.photo import PhotoTranslator
    from ugatit_tf.serving.generator import ServedGenerator

    source = f"Asking {plain(client.url)} for {plain(client.model)}" if client else f"Loading {plain(model)}"
    with waiting(source):
        if client is None and model.suffix != ".tflite":
            find_gpus()
        with quiet():
            detector = None if values["whole"] else FaceDetector(values["threads"])
            if client:
                generator = ServedGenerator(client, values["heatmap"])
            else:
                generator = load_generator(model, direction, values["threads"])
        options = {"strength": values["strength"], "heatmap": values["heatmap"], "max_side": values["max_side"]}
        options["fit"] = values["fit"]
        translator = PhotoTranslator(generator, detector, values["faces"] == "largest", **options)
        if values["max_side"] and not generator.any_size:
            raise UsageError(f"--max_side: this model takes images of {generator.size} x {generator.size} only.")
    if values["whole"]:
        print(_describe_whole(translator))
    return translator


def _describe_whole(translator):
    if translator.own_shape:
        return f"Photos as a whole, in their own shape; of larger ones the model sees {translator.max_side} px at most."
    size = translator.generator.size
    return f"Photos as a whole, as {size} x {size} (--fit {translator.fit})."


def _run(translator, jobs, errors, faceless, results):
    """Translate; returns how many photos were, and adds to the lists what was not. Each photo has its line."""
    from ugatit_tf.inference.faces import FAULTS

    written = 0
    for number, (path, place) in enumerate(jobs, 1):
        start = time.perf_counter()
        note = f"{number}/{len(jobs)} {plain(path)}"
        try:
            with waiting(note, announce=False):
                result = _translate(translator, path, place, results)
        except (ValueError, OSError) as error:
            text = plain(error)
            errors.append(text if text.startswith(plain(path)) else f"{plain(path)}: {text}")
            print(f"{note}: error", flush=True)
            if isinstance(error, ServingError) and error.hopeless:
                if number < len(jobs):
                    errors.append(f"{len(jobs) - number} more not sent: it would be the same with them.")
                break
            continue
        if result.fault:
            faceless.append(f"{plain(path)}: {result.fault}: {FAULTS[result.fault]}.")
            print(f"{note}: {result.fault}", flush=True)
            continue
        written += 1
        details = [f"{time.perf_counter() - start:.1f} s"]
        if translator.detector:
            details.insert(0, f"{len(result.translated)} of {len(result.translated) + len(result.refused)} faces")
            details += [f"{fault} of {face.box[2]:.0f} px" for face, fault in result.refused]
        details += result.notes
        print(f"{note} -> {plain(place)} ({', '.join(details)})", flush=True)
    return written


def _translate(translator, path, place, results):
    from ugatit_tf.data.images import read
    from ugatit_tf.inference.photo import encode

    entry = results.describe(path, place)
    photo = read(path)
    result = translator(photo)
    if not result.fault:
        results.write(encode(photo, result.pixels, place.suffix), place, entry)
    return result
