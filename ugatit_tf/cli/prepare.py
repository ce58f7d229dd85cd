"""`ugatit prepare`: a dataset's folders from a person's own photos, cut as `ugatit translate` will cut them.

Or, with `--tfrecord`, a dataset's folders as records.
"""

import os

from ugatit_tf.cli import photos
from ugatit_tf.cli.flags import Command, UsageError, fail
from ugatit_tf.cli.progress import Progress
from ugatit_tf.cli.start import add_fit_flag, quiet
from ugatit_tf.data.images import FOLDERS, describe_bad, describe_oblong, describe_several
from ugatit_tf.serving.client import plain
from ugatit_tf.text import count

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
Nothing that exists is replaced: given again, the command does nothing more, and with --add it adds the photos that are
new and leaves the others as they are.

With --tfrecord, the images of a dataset (trainA and trainB, and testA and testB if there are any) are checked and
written as records, which a training reads as it reads the folders: with 100,000 images it starts in seconds. Stopped,
it goes on when the same command is given again. See docs/training.md.

  ugatit prepare dataset/faces --tfrecord --out gs://bucket/sets/faces
  ugatit train --dataset faces --data_dir gs://bucket/sets

Exit codes: 0 pictures were written (of records: all), or everything was done before; 1 none were; 2 the command line is
wrong."""


def make_command():
    """The command with all its flags."""
    command = Command("prepare", SUMMARY, words=True)
    command.group("Pictures")
    command.boolean(
        "whole", False, "Look for no faces: take each picture as a whole, as a square (see --fit). For drawings."
    )
    add_fit_flag(command, "squeeze")
    command.integer("size", 256, "Pixels in a row; the --img_size of the training.")
    command.group("Dataset")
    command.path("out", None, "The dataset's folder, dataset/NAME, or of records also a URL; made where missing.")
    command.choice("domain", "A", ("A", "B"), "Which side: training learns to turn A into B, and B into A.")
    command.float("test", 0.1, "Share of the pictures for the test, which training does not see: 0 to 0.9.")
    command.boolean(
        "add", False, "Add the photos that are new to the domain's pictures, without doing the others again."
    )
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
    if command.given("fit") and not values["whole"]:
        raise UsageError("--fit goes with --whole: faces are cut as squares.")
    if not 0 <= values["test"] <= 0.9:
        raise UsageError(f"--test must be from 0 to 0.9; received {values['test']}.")

    from ugatit_tf.inference.prepare import find_new, prepare

    jobs, problems = _plan(values["words"], out, values["domain"])
    for problem in problems:
        fail(problem)
    if not jobs:
        return fail("There are no photos to work with. Name photos, or a folder that has some.")
    options = [values[name] for name in ("domain", "size", "test")]
    more = {"fit": values["fit"], "add": values["add"]}
    if not find_new(jobs, out, *options, values["whole"], **more):
        told = f"{plain(out)}/prepare_{values['domain']}.json tells of each"
        print(f"Done before: {count(len(jobs), 'photo')}; {told}.")
        return 0
    detector = None if values["whole"] else _detector()
    looked, show = Progress("Pictures that are there"), Progress("Photos")

    def looking(done, total):
        nonlocal show
        looked(done, total)
        show = Progress("Photos")  # whose time begins when the last of these is read

    def progress(number, pictures, total):
        show(number, total, f", {count(pictures, 'picture')}")

    return _tell(prepare(jobs, out, *options, detector, progress, looking=looking, **more), out, values)


def _plan(words, out, domain):
    """(photo, name) pairs, and problems. The pictures of the dataset itself are no photos: it may lie among them."""
    place = out / f"train{domain}"
    jobs, problems = photos.plan(words, place)  # what is there counts by its photo, not its name
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

    unreadable = [outcome for outcome in report.outcomes if outcome.reason == "unreadable"]
    bad = [(outcome.file, outcome.detail.removeprefix(f"{outcome.file}: ")) for outcome in unreadable]
    for line in describe_bad(bad):
        fail(plain(line))
    lines = describe_several("Photos", len({outcome.file for outcome in report.outcomes if outcome.several}))
    if values["whole"]:
        sizes = [outcome.pixels for outcome in report.outcomes if outcome.pixels]
        lines += describe_oblong("Photos", sizes, values["fit"])
    for line in lines:
        print(line)
    reasons = "; ".join(f"{number} {reason} ({REASONS[reason]})" for reason, number in report.left_out().items())
    if report.path is None:
        advice = "" if values["whole"] else " Give photos that show a face well, or --whole for drawings."
        return fail(f"Nothing usable, and nothing written. Photos: {report.photos}; left out: {reasons}.{advice}")
    domain = values["domain"]
    before = f" ({report.done} more were done before)" if report.done else ""
    new = "new " if values["add"] else ""
    print(
        f"{count(report.photos, 'photo')}{before}, "
        f"{count(report.train + report.test, new + 'picture')} in {plain(out)}: "
        f"{report.train} in train{domain}, {report.test} in test{domain}."
    )
    if reasons:
        print(f"Left out: {reasons}. {plain(report.path)} tells which.")
    return 0


def _write_records(command, values):
    """`--tfrecord`; returns the exit code."""
    given = [f"--{name}" for name in ("whole", "fit", "size", "domain", "test", "add") if command.given(name)]
    if given:
        raise UsageError(f"{', '.join(given)} has no meaning with --tfrecord: images are written as they are.")
    if len(values["words"]) != 1 or "://" in values["words"][0]:
        raise UsageError(
            "--tfrecord takes one dataset, a local folder: ugatit prepare dataset/NAME --tfrecord --out DIR. "
            "See --help."
        )
    if not values["out"]:
        raise UsageError("Missing --out DIR, the output folder or its URL.")
    (folder,), out = values["words"], values["out"].rstrip("/")
    with quiet():
        from ugatit_tf.data import records
    print(f"Checking the images of {plain(folder)} ...", flush=True)
    manifest, written = records.write_records(
        folder,
        out,
        Progress("Writing"),
        checking=Progress("Checking"),
        tell=lambda line: print(plain(line), flush=True),
    )
    for line in describe_bad(manifest.left_out):
        fail(plain(line))
    counts = [
        f"{sum(shard.records for shard in shards)} {name} in {count(len(shards), 'shard')}"
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
