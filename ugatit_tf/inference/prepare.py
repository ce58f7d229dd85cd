"""A domain's folders of a dataset, trainX and testX, from photos: cut as translation cuts them. No TensorFlow."""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import tempfile

import numpy as np
from PIL import Image

from ugatit_tf.data.images import read
from ugatit_tf.inference import faces
from ugatit_tf.inference.photo import Colours
from ugatit_tf.inference.squares import Square, cut
from ugatit_tf.inference.translate import Names

REASONS = faces.FAULTS | {"unreadable": "cannot be read", "duplicate": "nearly the same as another picture"}

# Cells of a signature, and the distance of two below which pictures are nearly the same. Faces: in 117 portraits, as
# photos of 384 pixels, each changed, found anew and cut, all copies as JPEG of quality 75, of 3/4 and half the size and
# 15 % brighter are nearer; in 466 of 128 pixels 99.1 % of the JPEGs, all of 3/4 and 1.7 times the size, 90 % of the
# halves. Of the 108,345 pairs of these 466, which are generated, 6 are nearer, each the same face made twice; the next
# is at 0.0462. Pictures as a whole do not move against one another, and drawings differ in small things: 5 of 900
# cartoon faces and 8 of 871 emoji are left out; found are all halves, all JPEGs of the cartoons, 30 % of the emoji's.
FACES = 8, 0.045
WHOLE = 16, 0.005
_BLOCK = 256  # signatures compared at a time: bounds the memory


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a photo, or of one of its faces.

    Args:
        file: the photo's path.
        box: of the face, (x, y, width, height), x and y of its centre; None for a photo as a whole.
        result: the picture's path in the dataset, such as `trainA/holiday/x.png`; None if it was left out.
        reason: why it was left out, a key of `REASONS`; None if it was not.
        detail: of an unreadable photo, what is wrong with it.
        of: of a duplicate, (photo, result) of the picture that was kept.
    """

    file: str
    box: tuple | None = None
    result: str | None = None
    reason: str | None = None
    detail: str | None = None
    of: tuple | None = None

    def as_dict(self):
        """What is not None, for JSON."""
        values = {name: value for name, value in vars(self).items() if value is not None}
        if self.box:
            values["box"] = [round(value) for value in self.box]
        if self.of:
            values["of"] = dict(zip(("file", "result"), self.of, strict=True))
        return values


@dataclasses.dataclass(frozen=True)
class Report:
    """What `prepare` did.

    Args:
        photos: how many there were.
        train, test: how many pictures were written.
        outcomes: list of `Outcome`, in the order of the photos.
        path: of the report's file; None if nothing was written.
    """

    photos: int
    train: int
    test: int
    outcomes: list
    path: pathlib.Path | None

    def left_out(self):
        """How often each reason occurs, those that do."""
        counts = {reason: sum(outcome.reason == reason for outcome in self.outcomes) for reason in REASONS}
        return {reason: count for reason, count in counts.items() if count}


@dataclasses.dataclass(frozen=True)
class _Picture:
    """A cut that waits in the staging folder; `side` is its size in the photo."""

    place: int
    name: pathlib.Path
    staged: pathlib.Path
    side: float
    digest: str
    signature: np.ndarray


def check_free(out, domain):
    """Refuse a dataset folder in which the domain has something already.

    Raises:
        FileExistsError: `trainX` or `testX` is there and is not an empty folder.
    """
    for name in (f"train{domain}", f"test{domain}"):
        place = pathlib.Path(out, name)
        held = sorted(os.listdir(place)) if place.is_dir() else []
        if os.path.lexists(place) and (held or place.is_symlink() or not place.is_dir()):
            what = f"holds {held[0]!r}" if held else "is not an empty folder"
            raise FileExistsError(
                f"{place} is there already and {what}; nothing is replaced. Give another folder or domain, or move "
                f"train{domain} and test{domain} away."
            )


def prepare(jobs, out, domain="A", size=256, test=0.1, detector=None, progress=None):
    """Make the two folders of one domain; the other domain's stay as they are.

    Each face of a photo is cut and judged as `PhotoTranslator` does it. Of pictures that are nearly the same the one
    with the most pixels in its photo is kept. Which pictures are kept, and which of them are for the test, depends on
    their content alone: not on names, nor on the order.

    The pictures are written to a hidden folder inside `out` and moved to their places at the end: when this is
    interrupted, or fails, `out` is as before.

    Args:
        jobs: (photo, name) pairs: path of the file, and the result's name below `trainX` or `testX`, ending in .png.
            Further faces of a photo are named `_2`, `_3` behind that.
        out: the dataset's folder; made where missing.
        domain: "A" or "B".
        size: of the pictures.
        test: share of the pictures for `testX`; at least one of two or more goes there, unless 0, and one to `trainX`.
        detector: `faces.FaceDetector`, or None to take each photo as a whole, squeezed into the square.
        progress: called between two photos with the number of photos and of pictures so far.

    Returns:
        A `Report`, which is also in `prepare_X.json` in `out`. Where nothing was usable, nothing is written.

    Raises:
        FileExistsError: see `check_free`.
        OSError: a picture cannot be written.
    """
    out = pathlib.Path(out)
    check_free(out, domain)
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    staging = None
    try:
        out.mkdir(parents=True, exist_ok=True)
        staging = pathlib.Path(tempfile.mkdtemp(prefix=f".prepare_{domain}_", dir=out))
        outcomes, pictures = _cut_all(jobs, staging, size, detector, progress)
        if not pictures:
            return Report(len(jobs), 0, 0, outcomes, None)
        pictures.sort(key=lambda picture: (-picture.side, picture.digest))
        limit = (FACES if detector else WHOLE)[1]
        copies = find_copies(np.stack([picture.signature for picture in pictures]), limit)
        kept = sorted((i for i, copy in enumerate(copies) if copy is None), key=lambda i: pictures[i].digest)
        tests = set(kept[: count_tests(len(kept), test)])
        results = {}
        for i in kept:
            result = pathlib.Path(f"test{domain}" if i in tests else f"train{domain}", pictures[i].name)
            (staging / result).parent.mkdir(parents=True, exist_ok=True)
            os.rename(pictures[i].staged, staging / result)
            results[i] = result.as_posix()
        for i, picture in enumerate(pictures):
            new = {"result": results.get(i)}
            if copies[i] is not None:
                kept_one = outcomes[pictures[copies[i]].place]
                new = {"reason": "duplicate", "of": (kept_one.file, results[copies[i]])}
            outcomes[picture.place] = dataclasses.replace(outcomes[picture.place], **new)
        report = Report(len(jobs), len(kept) - len(tests), len(tests), outcomes, out / f"prepare_{domain}.json")
        settings = {"domain": domain, "size": size, "test_share": test, "whole": detector is None}
        _write_report(report, settings, staging / report.path.name)
        _move(staging, out, [f"train{domain}", f"test{domain}"], report.path.name)
        made = []
        return report
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _cut_all(jobs, staging, size, detector, progress):
    """Write every usable cut to the staging folder; gives the outcomes so far, and the `_Picture`s."""
    names = Names(".", {str(name).casefold() for _, name in jobs})
    cells = (FACES if detector else WHOLE)[0]
    outcomes, pictures = [], []
    for number, (path, name) in enumerate(jobs):
        if progress and number:
            progress(number, len(pictures))
        try:
            photo = read(path)
        except ValueError as error:  # begins with the path
            outcomes.append(Outcome(str(path), reason="unreadable", detail=str(error)))
            continue
        colours = Colours(photo.icc)
        taken = 0
        for box, square, fault in _squares(photo.pixels, size, detector):
            outcomes.append(Outcome(str(path), box, reason=fault))
            if fault:
                continue
            taken += 1
            image = colours.to_srgb(cut(photo.pixels, square, size))
            staged = staging / f"{len(pictures)}.png"
            Image.fromarray(image).save(staged)
            own = name if taken == 1 else names(name.with_stem(f"{name.stem}_{taken}"))
            side, digest = min(square.sides), hashlib.sha256(image).hexdigest()
            pictures.append(_Picture(len(outcomes) - 1, own, staged, side, digest, signature(image, cells)))
    return outcomes, pictures


def _squares(pixels, size, detector):
    """(box, square, fault) for each part of a photo that might become a picture."""
    if detector is None:
        yield None, Square.upright(0, 0, pixels.shape[1], pixels.shape[0]), None
        return
    found = detector(pixels)
    for face in found:
        yield face.box, face.square(), faces.fault(pixels, face.square(), size)
    if not found:
        yield None, None, "no_face"


def signature(image, cells):
    """What tells pictures apart at a glance: the steps between the neighbours of a coarse grid, as a unit vector.

    Brightness and contrast make no difference, and colours do. The distance of two pictures is 1 less the product of
    their signatures, from 0 for the same.

    Args:
        image: uint8 [N, N, 3].
        cells: of the grid in a row.

    Returns:
        float32 [6 * cells * (cells - 1)]; zeros for a picture of one colour.
    """
    channels = [
        Image.fromarray(channel).resize((cells, cells), Image.Resampling.BOX)
        for channel in np.rollaxis(np.float32(image), 2)
    ]
    grid = np.stack([np.asarray(channel) for channel in channels], axis=-1)
    steps = np.concatenate([np.diff(grid, axis=0).ravel(), np.diff(grid, axis=1).ravel()])
    length = np.linalg.norm(steps)
    return steps / length if length > 1e-3 else np.zeros_like(steps)


def find_copies(signatures, limit):
    """For each signature the place of the first kept one that it is a copy of, or None: then it is kept.

    Any two that are kept are at least `limit` apart.

    Args:
        signatures: float32 [N, K], unit vectors, or zeros, which are copies of one another.
        limit: the distance below which two are copies.
    """
    copies, kept = [], np.zeros(len(signatures), bool)
    flat = ~signatures.any(axis=1)
    for start in range(0, len(signatures), _BLOCK):
        block = slice(start, start + _BLOCK)
        near = signatures[block] @ signatures[: block.stop].T > 1 - limit
        near |= flat[block, None] & flat[: block.stop]
        for i, row in enumerate(near, start):
            candidates = np.flatnonzero(row & kept[: block.stop])
            copies.append(int(candidates[0]) if len(candidates) else None)
            kept[i] = copies[-1] is None
    return copies


def count_tests(count, share):
    """How many of `count` pictures are for the test; one at least stays for training."""
    return min(max(round(share * count), 1), count - 1) if share > 0 else 0


def _write_report(report, settings, path):
    """JSON, a line for each of the files."""
    domain = settings["domain"]
    written = {f"train{domain}": report.train, f"test{domain}": report.test}
    summary = settings | {"photos": report.photos, "written": written, "left_out": report.left_out()}
    lines = [json.dumps(outcome.as_dict()) for outcome in report.outcomes]
    content = (
        json.dumps(summary, indent=1).removesuffix("\n}") + ',\n "files": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n"
    )
    path.write_text(content, encoding="ascii")


def _move(staging, out, folders, report):
    """Put the folders and the report into their places: all of them or none."""
    moved = []
    try:
        for name in folders:
            if (staging / name).is_dir():
                if (out / name).is_dir():
                    (out / name).rmdir()  # empty; a rename does not replace it everywhere
                moved.append(name)
                os.rename(staging / name, out / name)
        os.replace(staging / report, out / report)
    except BaseException:
        for name in moved:
            with contextlib.suppress(OSError):  # not there yet
                os.rename(out / name, staging / name)
        raise
