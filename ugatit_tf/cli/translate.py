"""`ugatit translate`: photos in, the same photos with their faces translated. A TFLite file needs no TensorFlow."""

import pathlib
import time

from ugatit_tf.cli import photos
from ugatit_tf.cli.flags import Command, UsageError, fail
from ugatit_tf.cli.start import add_fit_flag, find_gpus, find_model, quiet
from ugatit_tf.serving.client import plain

NO_FACE = 3  # exit code

SUMMARY = """\
Usage: ugatit translate PHOTO|FOLDER|PATTERN ... --model PATH --out DIR [flags]

Finds the faces in photos, translates each and puts it back, and writes the photos into DIR under their names, as JPEG,
PNG or WebP if they are that, and with their profile and camera data. Of a folder all images are taken, nested folders
included, and keep their places.

  ugatit translate holiday/ --model export/ugatit_a2b_dynamic_range.tflite --out translated
  ugatit translate 'holiday/*.jpg' portrait.png --model runs/UGATIT_light_selfie2anime --out translated

A photo that cannot be translated does not stop the others and is named at the end, with the reason: no_face, tiny_face
(less than half the network's pixels across), dark_face, blurred_face, or an error. Exit codes: 0 all were translated, 1
there was an error, 2 the command line is wrong, 3 no error, but photos without a usable face."""


def make_command():
    """The command with all its flags."""
    command = Command("translate", SUMMARY, words=True)
    command.group("Model")
    command.path(
        "model",
        None,
        "A TFLite file or SavedModel of ugatit export, a run's folder, a step-*.npz of one, or an official checkpoint.",
        also=("checkpoint", "run_dir"),
    )
    command.choice("direction", "a2b", ("a2b", "b2a"), "Which generator of a run or an official checkpoint.")
    command.integer("threads", 2, "CPU threads, for TFLite files.")
    command.group("Translation")
    command.choice("faces", "all", ("all", "largest"), "Which faces of a photo.")
    command.boolean("whole", False, "Look for no faces: translate each photo as a whole, as a square (see --fit).")
    add_fit_flag(command, "squeeze")
    command.float("strength", 1.0, "0 leaves the photo as it is, 1 shows the translation.")
    command.boolean("heatmap", False, "Lay the heatmap's colours over the translations: where the generator looked.")
    photos.add_result_flags(command)
    return command


def main(arguments):
    """Run the command; returns the exit code."""
    values = make_command().parse(arguments)
    if values is None:
        return 0
    out = photos.check_words(values, "translate", "PHOTO|FOLDER ... --model PATH")
    if not values["model"]:
        raise UsageError("Translated by what? Give --model, an exported .tflite file for example. See --help.")
    if not 0 <= values["strength"] <= 1:
        raise UsageError(f"--strength must be from 0 to 1; received {values['strength']}.")
    if values["threads"] < 1:
        raise UsageError(f"--threads must be at least 1; received {values['threads']}.")

    from ugatit_tf.inference.photo import SUFFIXES

    translator = _load(values)
    jobs, errors = photos.plan(values["words"], out, values["overwrite"], SUFFIXES)
    faceless = []
    written = _run(translator, jobs, errors, faceless)
    print(f"{written} of {len(jobs)} translated, into {plain(out)}.")
    for problem in errors + faceless:
        fail(problem)
    return 1 if errors else NO_FACE if faceless else 0


def _load(values):
    """The `PhotoTranslator` that the flags describe."""
    from ugatit_tf.inference.faces import FaceDetector
    from ugatit_tf.inference.generators import load_generator
    from ugatit_tf.inference.photo import PhotoTranslator

    if pathlib.Path(values["model"]).suffix != ".tflite":
        find_gpus()
    with quiet():
        detector = None if values["whole"] else FaceDetector(values["threads"])
        generator = load_generator(find_model(values["model"]), values["direction"], values["threads"])
    largest = values["faces"] == "largest"
    return PhotoTranslator(generator, detector, largest, values["strength"], values["heatmap"], values["fit"])


def _run(translator, jobs, errors, faceless):
    """Translate; returns how many photos were, and adds to the lists what was not."""
    from ugatit_tf.inference.faces import FAULTS

    written = 0
    for number, (path, place) in enumerate(jobs, 1):
        start = time.perf_counter()
        note = f"{number}/{len(jobs)} {plain(path)}"
        try:
            result = _translate(translator, path, place)
        except (ValueError, OSError) as error:
            text = plain(error)
            errors.append(text if text.startswith(plain(path)) else f"{plain(path)}: {text}")
            print(f"{note}: error", flush=True)
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


def _translate(translator, path, place):
    from ugatit_tf.data.images import read
    from ugatit_tf.inference.photo import encode

    photo = read(path)
    result = translator(photo)
    if not result.fault:
        photos.write(encode(photo, result.pixels, place.suffix), place)
    return result
