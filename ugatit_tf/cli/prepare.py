"""`ugatit prepare`: a dataset's folders from a person's own photos, cut as `ugatit translate` will cut them.

Or, with `--tfrecord`, a dataset's folders as records.
"""

import os

from ugatit_tf.cli import photos
from ugatit_tf.cli.flags import Command, UsageError, fail
from ugatit_tf.cli.start import quiet
from ugatit_tf.data.images import FOLDERS
from ugatit_tf.serving.client import plain

PROGRESS = 50  # photos between two lines
IMAGES = 5000  # images between two lines, when they are written as records
SHOWN = 10  # unreadable photos that are named on the screen

SUMMARY = """\
Usage: ugatit prepare PHOTO|FOLDER|PATTERN ... --out dataset/NAME [flags]      (a dataset from photos)
       ugatit prepare dataset/NAME --tfrecord --out FOLDER|gs://BUCKET/PATH    (a large dataset as records)

Makes a dataset from your own photos: finds the faces, cuts each as ugatit translate will, and writes most of them
into trainA and some into testA. One run makes one domain, so two make a dataset; then train on it:

  ugatit prepare photos/ --out dataset/me2anime
  ugatit prepare drawings/ --domain B --whole --out dataset/me2anime
  ugatit train --dataset me2anime --img_size 256

Of a folder all images are taken, nested folders included. Left out are photos without a face, faces that are too small,
dark or blurred, and copies of a picture that is taken. dataset/NAME/prepare_A.json tells what became of each photo.
Nothing that exists is replaced.

With --tfrecord, the images of a dataset (trainA and trainB, and testA and testB if there are any) are checked and
written as records, which a training reads as it reads the folders: with 100,000 images it starts in seconds. Stopped,
it goes on when the same command is given again. See docs/training.md.

  ugatit prepare dataset/faces --tfrecord --out gs://bucket/sets/faces
  ugatit train --dataset faces --data_dir gs://bucket/sets

Exit codes: 0 pictures were written (of records: all), 1 none were, 2 the command line is wrong."""


def make_command():
    """The command with all its flags."""
    command = Command("prepare", SUMMARY, words=True)
    command.group("Pictures")
    command.boolean(
        "whole", False, "Look for no faces: take each picture as a whole, squeezed into a square. For drawings."
    )
    command.integer("size", 256, "Pixels in a row; the --img_size of the training.")
    command.group("Dataset")
    command.path("out", None, "The dataset's folder, dataset/NAME, or of records also a URL; made where missing.")
    command.choice("domain", "A", ("A", "B"), "Which side: training learns to turn A into B, and B into A.")
    command.float("test", 0.1, "Share of the pictures for the test, which training does not see: 0 to 0.9.")
    command.boolean("tfrecord", False, "Write a dataset that is there as records. Of the other flags with --out alone.")
    return command


def main(arguments):
    """Run the command; returns the exit code."""
    command = make_command()
    values = command.parse(arguments)
    if values is None:
        return 0
    if values["tfrecord"]:
        return _write_records(command, values)
    if values["out"] and "://" in values["out"]:
        raise UsageError(f"--out {plain(values['out'])}: pictures go to a local folder; a URL is for --tfrecord.")
    out = photos.check_words(values, "prepare", "PHOTO|FOLDER|PATTERN ...")
    if values["size"] < 16 or values["size"] % 4:
        raise UsageError(f"--size must be a multiple of 4, 16 or more; received {values['size']}.")
    if not 0 <= values["test"] <= 0.9:
        raise UsageError(f"--test must be from 0 to 0.9; received {values['test']}.")

    from ugatit_tf.inference.prepare import check_free, prepare

    check_free(out, values["domain"])
    jobs, problems = _plan(values["words"], out, values["domain"])
    for problem in problems:
        fail(problem)
    if not jobs:
        return fail("There are no photos to work with. Name photos, or a folder that has some.")
    detector = None if values["whole"] else _detector()

    def progress(number, pictures):
        if number % PROGRESS == 0:
            print(f"{number}/{len(jobs)} photos, {pictures} pictures", flush=True)

    report = prepare(jobs, out, values["domain"], values["size"], values["test"], detector, progress)
    return _tell(report, out, values)


def _plan(words, out, domain):
    """(photo, name) pairs, and problems. The pictures of the dataset itself are no photos: it may lie among them."""
    place = out / f"train{domain}"
    jobs, problems = photos.plan(words, place, overwrite=False)
    own = [(out / name).resolve() for name in FOLDERS]
    return [
        (path, result.relative_to(place))
        for path, result in jobs
        if not any(path.resolve().is_relative_to(folder) for folder in own)
    ], problems


def _detector():
    from ugatit_tf.inference.faces import FaceDetector

    with quiet():
        return FaceDetector()


def _tell(report, out, values):
    """Print what was done; returns the exit code."""
    from ugatit_tf.inference.prepare import REASONS

    _name_unreadable([outcome.detail for outcome in report.outcomes if outcome.reason == "unreadable"])
    reasons = "; ".join(f"{count} {reason} ({REASONS[reason]})" for reason, count in report.left_out().items())
    if report.path is None:
        advice = "" if values["whole"] else " Give photos that show a face well, or --whole for drawings."
        return fail(f"Nothing usable, and nothing written. Photos: {report.photos}; left out: {reasons}.{advice}")
    domain = values["domain"]
    print(
        f"{report.photos} photos, {report.train + report.test} pictures in {plain(out)}: "
        f"{report.train} in train{domain}, {report.test} in test{domain}."
    )
    if reasons:
        print(f"Left out: {reasons}. {plain(report.path)} tells which.")
    return 0


def _name_unreadable(details):
    """Print the first of what is wrong with files; each begins with the path."""
    for detail in details[:SHOWN]:
        fail(plain(detail))
    if len(details) > SHOWN:
        fail(f"{len(details) - SHOWN} more cannot be read.")


def _write_records(command, values):
    """`--tfrecord`; returns the exit code."""
    given = [f"--{name}" for name in ("whole", "size", "domain", "test") if command.given(name)]
    if given:
        raise UsageError(f"{', '.join(given)} has no meaning with --tfrecord: images are written as they are.")
    if len(values["words"]) != 1 or "://" in values["words"][0]:
        raise UsageError(
            "--tfrecord takes one dataset, a local folder: ugatit prepare dataset/NAME --tfrecord --out DIR. "
            "See --help."
        )
    if not values["out"]:
        raise UsageError("Where to? Give the folder of the records, or its URL: --out DIR.")
    (folder,), out = values["words"], values["out"].rstrip("/")
    with quiet():
        from ugatit_tf.data import records
    print(f"Checking the images of {plain(folder)} ...", flush=True)
    shown = 0

    def progress(done, total):
        nonlocal shown
        if done - shown >= IMAGES or done == total:
            shown = done
            print(f"{done}/{total} images", flush=True)

    manifest, written = records.write_records(folder, out, progress)
    _name_unreadable([f"{path}: left out, {reason}" for path, reason in manifest.left_out])
    counts = [
        f"{sum(shard.records for shard in shards)} {name} in {len(shards)} shards"
        for name, shards in manifest.train.items()
    ]
    counts += [f"{len(images)} {name}" for name, images in manifest.test.items() if images]
    state = "" if written else " was complete, of the same images; nothing was written"
    print(f"{plain(out)}{state}: {', '.join(counts)}.")
    if manifest.left_out:
        print(f"Left out: {len(manifest.left_out)} that cannot be read. {plain(out)}/{records.MANIFEST} names them.")
    parent, name = os.path.split(out)
    print(f"Train: ugatit train --dataset {plain(name)} --data_dir {plain(parent or '.')}")
    return 0
