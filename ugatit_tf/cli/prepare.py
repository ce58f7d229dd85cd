"""`ugatit prepare`: a dataset's folders from a person's own photos, cut as `ugatit translate` will cut them."""

from ugatit_tf.cli import photos
from ugatit_tf.cli.flags import Command, UsageError, fail
from ugatit_tf.cli.start import quiet
from ugatit_tf.data.images import FOLDERS
from ugatit_tf.serving.client import plain

PROGRESS = 50  # photos between two lines
SHOWN = 10  # unreadable photos that are named on the screen

SUMMARY = """\
Usage: ugatit prepare PHOTO|FOLDER|PATTERN ... --out dataset/NAME [flags]

Makes a dataset from your own photos: finds the faces, cuts each as ugatit translate will, and writes most of them
into trainA and some into testA. One run makes one domain, so two make a dataset; then train on it:

  ugatit prepare photos/ --out dataset/me2anime
  ugatit prepare drawings/ --domain B --whole --out dataset/me2anime
  python train.py --dataset me2anime --img_size 256

Of a folder all images are taken, nested folders included. Left out are photos without a face, faces that are too small,
dark or blurred, and copies of a picture that is taken. dataset/NAME/prepare_A.json tells what became of each photo.
Nothing that exists is replaced. Exit codes: 0 pictures were written, 1 none were, 2 the command line is wrong."""


def make_command():
    """The command with all its flags."""
    command = Command("prepare", SUMMARY, words=True)
    command.group("Pictures")
    command.boolean(
        "whole", False, "Look for no faces: take each picture as a whole, squeezed into a square. For drawings."
    )
    command.integer("size", 256, "Pixels in a row; the --img_size of the training.")
    command.group("Dataset")
    command.string("out", None, "The dataset's folder, dataset/NAME; made where missing.")
    command.choice("domain", "A", ("A", "B"), "Which side: training learns to turn A into B, and B into A.")
    command.float("test", 0.1, "Share of the pictures for the test, which training does not see: 0 to 0.9.")
    return command


def main(arguments):
    """Run the command; returns the exit code."""
    values = make_command().parse(arguments)
    if values is None:
        return 0
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

    unreadable = [outcome.detail for outcome in report.outcomes if outcome.reason == "unreadable"]
    for detail in unreadable[:SHOWN]:  # each begins with the path
        fail(plain(detail))
    if len(unreadable) > SHOWN:
        fail(f"{len(unreadable) - SHOWN} more cannot be read.")
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
