"""A domain's folders of a dataset, trainX and testX, from photos: cut as translation cuts them. No TensorFlow."""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import pathlib
import shutil

import numpy as np
from PIL import Image

from ugatit_tf.data.colours import Colours
from ugatit_tf.data.images import decode, fitted, read, scan
from ugatit_tf.inference import faces
from ugatit_tf.inference.squares import Square, cut
from ugatit_tf.inference.translate import Names
from ugatit_tf.weights.atomic import draft_name, remove_abandoned

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
        of: of a duplicate, (photo, result) of the picture that was kept; the photo is None where nobody knows it.
        bytes: size of the photo's file, by which it is known again; None if it was unreadable.
        pixels: of the photo, (width, height); None if it was unreadable.
        several: True of an animation or of pages: only the first was looked at.
    """

    file: str
    box: tuple | None = None
    result: str | None = None
    reason: str | None = None
    detail: str | None = None
    of: tuple | None = None
    bytes: int | None = None
    pixels: tuple | None = None
    several: bool | None = None

    def as_dict(self):
        """What is not None, for JSON."""
        values = {name: value for name, value in vars(self).items() if value is not None}
        if self.box:
            values["box"] = [round(value) for value in self.box]
        if self.of:
            values["of"] = dict(zip(("file", "result"), self.of, strict=True))
        return values

    @classmethod
    def from_dict(cls, values):
        """What `as_dict` gave, also that of earlier versions."""
        of = values.get("of")
        return cls(**values | ({"of": (of["file"], of["result"])} if of else {}))


@dataclasses.dataclass(frozen=True)
class Report:
    """What `prepare` did.

    Args:
        photos: how many were looked at.
        train, test: how many pictures were written.
        outcomes: list of `Outcome`, in the order of the photos.
        path: of the report's file; None if nothing was written.
        done: how many photos more had been looked at by earlier calls.
    """

    photos: int
    train: int
    test: int
    outcomes: list
    path: pathlib.Path | None
    done: int = 0

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


@dataclasses.dataclass(frozen=True)
class _Former:
    """What earlier calls did: the report's settings and its `Outcome`s, both empty if there were none."""

    settings: dict
    outcomes: list

    @classmethod
    def of(cls, out, domain):
        """Raises a ValueError if the report is damaged. One whose pictures are gone, folders and all, is none."""
        path = pathlib.Path(out, f"prepare_{domain}.json")
        if not (path.is_file() and any(_holds(path.with_name(f"{part}{domain}")) for part in ("train", "test"))):
            return cls({}, [])
        try:
            values = json.loads(path.read_text(encoding="ascii"))
            if missing := {"size", "whole", "test_share"} - values.keys():
                raise KeyError(*sorted(missing))
            return cls(values, [Outcome.from_dict(entry) for entry in values["files"]])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is damaged ({type(error).__name__}: {error}), so it is not known which photos are done. Move "
                "it away, and give --add to look at all of them again."
            ) from error

    def pending(self, jobs):
        """The jobs that were not done, and whether each is new; of the others the photo could not be read."""
        seen = {os.path.abspath(outcome.file): outcome for outcome in self.outcomes}
        for job in jobs:
            outcome = seen.get(os.path.abspath(job[0]))
            new = outcome is None or outcome.bytes not in (None, _bytes(job[0]))
            if new or outcome.reason == "unreadable":
                yield job, new


def _holds(place):
    """Whether a folder is there and not empty."""
    return place.is_dir() and any(place.iterdir())


def _bytes(path):
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def find_new(jobs, out, domain="A", size=256, test=0.1, whole=False, fit="squeeze", add=False):
    """The jobs that `prepare` has to do: those of photos that no earlier call looked at.

    Photos are known by path and size. Those that could not be read are tried again with `add`.

    Args:
        jobs, out, domain, size, test, fit, add: see `prepare`.
        whole: whether photos are taken as a whole.

    Raises:
        FileExistsError: without `add`, there is something already, and some photos are new or nobody knows; or what is
            there was made otherwise.
        ValueError: the report of an earlier call is damaged.
    """
    former = _Former.of(out, domain)
    if not former.outcomes:
        if not add:
            check_free(out, domain)
        return list(jobs)
    mine = {"size": size, "whole": whole} | ({"fit": fit} if whole else {}) | ({} if add else {"test_share": test})
    theirs = {"fit": "squeeze"} | former.settings
    others = [f"--{name.removesuffix('_share')} {theirs[name]}" for name in mine if theirs[name] != mine[name]]
    place = f"train{domain} and test{domain} are there already in {out}"
    if others:
        raise FileExistsError(
            f"{place}, made with {' '.join(others)}; nothing is replaced. Give the same, or another folder or domain, "
            f"or move train{domain} and test{domain} away."
        )
    pending = list(former.pending(jobs))
    new = [job for job, is_new in pending if is_new]
    if new and not add:
        raise FileExistsError(
            f"{place}, and {len(new)} of these {len(jobs)} photos {'is' if len(new) == 1 else 'are'} new, such as "
            f"{new[0][0]}. --add adds them, and "
            "leaves what is there as it is."
        )
    return [job for job, _ in pending] if add else []


def prepare(
    jobs, out, domain="A", size=256, test=0.1, detector=None, progress=None, fit="squeeze", add=False, looking=None
):
    """Make the two folders of one domain, or add to them; the other domain's stay as they are.

    Each face of a photo is cut and judged as `PhotoTranslator` does it. Of pictures that are nearly the same the one
    with the most pixels in its photo is kept. Which pictures are kept, and which of them are for the test, depends on
    their content alone: not on names, nor on the order.

    The pictures are written to a hidden folder inside `out` and moved to their places at the end: when this is
    interrupted, or fails, `out` is as before.

    Photos that earlier calls looked at are done, see `find_new`. Nothing that is there changes when others are added:
    of pictures that are nearly the same the one that is there stays.

    Args:
        jobs: (photo, name) pairs: path of the file, and the result's name below `trainX` or `testX`, ending in .png.
            Further faces of a photo are named `_2`, `_3` behind that, and a name that is taken gets longer.
        out: the dataset's folder; made where missing.
        domain: "A" or "B".
        size: of the pictures.
        test: share of the pictures for `testX`; at least one of two or more goes there, unless 0, and one to `trainX`.
        detector: `faces.FaceDetector`, or None to take each photo as a whole.
        progress: called between two photos with the number of photos and of pictures so far, and of photos to come.
        fit: how photos as a whole become squares, see `ugatit_tf.data.images.to_aspect`.
        add: add to what is there.
        looking: called as `looking(done, total)` after each picture that is there already: they are read first.

    Returns:
        A `Report` of the photos that were not done. `prepare_X.json` in `out` has all of them. Where nothing was
        usable, no picture is written, and nothing at all if there is none from before.

    Raises:
        FileExistsError, ValueError: see `find_new`.
        OSError: a picture cannot be written.
    """
    out = pathlib.Path(out)
    jobs, every = find_new(jobs, out, domain, size, test, detector is None, fit, add), len(jobs)
    done, path, parts = every - len(jobs), out / f"prepare_{domain}.json", (f"train{domain}", f"test{domain}")
    if not jobs:
        return Report(0, 0, 0, [], path if done else None, done)
    former = _Former.of(out, domain)
    there = _pictures_there(out, parts, detector, looking)
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    staging = None
    try:
        out.mkdir(parents=True, exist_ok=True)
        remove_abandoned(out, f"prepare_{domain}.*", f".prepare_{domain}_*")
        staging = out / draft_name(f"prepare_{domain}")
        staging.mkdir()
        names = Names(".", {str(pathlib.Path(*pathlib.Path(name).parts[1:])).casefold() for name, _ in there})
        jobs = [(photo, names(name)) for photo, name in jobs]
        outcomes, pictures = _cut_all(jobs, names, staging, size, detector, fit, progress)
        if not (pictures or there):
            return Report(len(jobs), 0, 0, outcomes, None, done)
        pictures.sort(key=lambda picture: (-picture.side, picture.digest))
        signatures = [signature for _, signature in there] + [picture.signature for picture in pictures]
        copies = find_copies(np.stack(signatures), (FACES if detector else WHOLE)[1], len(there))[len(there) :]
        kept = sorted((i for i, copy in enumerate(copies) if copy is None), key=lambda i: pictures[i].digest)
        tests = count_tests(len(there) + len(kept), test) - sum(name.startswith(parts[1]) for name, _ in there)
        tests = set(kept[: max(tests, 0)])
        results = {}
        for i in kept:
            result = pathlib.Path(parts[i in tests], pictures[i].name)
            (staging / result).parent.mkdir(parents=True, exist_ok=True)
            os.rename(pictures[i].staged, staging / result)
            results[i] = result.as_posix()
        files = {outcome.result: outcome.file for outcome in former.outcomes if outcome.result}
        for i, picture in enumerate(pictures):
            new = {"result": results.get(i)}
            if copies[i] is not None:
                place = copies[i] - len(there)
                original = results[place] if place >= 0 else there[copies[i]][0]
                file = outcomes[pictures[place].place].file if place >= 0 else files.get(original)
                new = {"reason": "duplicate", "of": (file, original)}
            outcomes[picture.place] = dataclasses.replace(outcomes[picture.place], **new)
        settings = {"domain": domain, "size": size, "test_share": test, "whole": detector is None}
        settings |= {"fit": fit} if detector is None else {}
        _write_report(_join(former.outcomes, outcomes, parts), parts, settings, staging / path.name)
        _move(staging, out, parts, path.name)
        made = []
        return Report(len(jobs), len(kept) - len(tests), len(tests), outcomes, path, done)
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _pictures_there(out, parts, detector, looking):
    """(name, signature) of the pictures that the folders hold; the name is that below `out`."""
    cells, found = (FACES if detector else WHOLE)[0], []
    paths = [path for part in parts if (out / part).is_dir() for path in scan(out / part).images]
    for path in paths:
        image = np.zeros((cells, cells, 3), np.uint8)
        with contextlib.suppress(ValueError):  # not one of ours; its name is taken all the same
            image = decode(path)
        found.append((path.relative_to(out).as_posix(), signature(image, cells)))
        if looking:
            looking(len(found), len(paths))
    return found


def _join(former, outcomes, parts):
    """The `Report` of all calls. What a later one found of a photo replaces what earlier ones did, but for pictures:
    a photo that changed has the picture from before, and the new one.
    """
    again = {os.path.abspath(outcome.file) for outcome in outcomes}
    outcomes = [
        outcome for outcome in former if outcome.result or os.path.abspath(outcome.file) not in again
    ] + outcomes
    written = [sum((outcome.result or "").startswith(f"{part}/") for outcome in outcomes) for part in parts]
    return Report(len({outcome.file for outcome in outcomes}), *written, outcomes, None)


def _cut_all(jobs, names, staging, size, detector, fit, progress):
    """Write every usable cut to the staging folder; gives the outcomes so far, and the `_Picture`s."""
    cells = (FACES if detector else WHOLE)[0]
    outcomes, pictures = [], []
    for number, (path, name) in enumerate(jobs):
        if progress and number:
            progress(number, len(pictures), len(jobs))
        known = {"file": str(path), "bytes": _bytes(path)}
        try:
            photo = read(path)
        except ValueError as error:  # begins with the path
            outcomes.append(Outcome(**known, reason="unreadable", detail=str(error)))
            continue
        known |= {"pixels": photo.pixels.shape[1::-1], "several": photo.several or None}
        colours = Colours(photo.icc)
        taken = 0
        for box, square, fault in _squares(photo.pixels, size, detector, fit):
            outcomes.append(Outcome(**known, box=box, reason=fault))
            if fault:
                continue
            taken += 1
            image = colours.to_srgb(cut(photo.pixels, square, size))
            staged = staging / f"{len(pictures)}.png"
            Image.fromarray(image).save(staged)
            own = name if taken == 1 else names(name.with_name(f"{name.stem}_{taken}.png"))
            side, digest = min(square.sides), hashlib.sha256(image).hexdigest()
            pictures.append(_Picture(len(outcomes) - 1, own, staged, side, digest, signature(image, cells)))
    return outcomes, pictures


def _squares(pixels, size, detector, fit):
    """(box, square, fault) for each part of a photo that might become a picture."""
    if detector is None:
        yield None, Square.upright(*fitted(pixels.shape[1], pixels.shape[0], fit)), None
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


def find_copies(signatures, limit, stay=0):
    """For each signature the place of the first kept one that it is a copy of, or None: then it is kept.

    Any two that are kept are at least `limit` apart, but for the first `stay`, which are kept whatever they are.

    Args:
        signatures: float32 [N, K], unit vectors, or zeros, which are copies of one another.
        limit: the distance below which two are copies.
        stay: how many at the beginning are kept.
    """
    copies, kept = [], np.zeros(len(signatures), bool)
    flat = ~signatures.any(axis=1)
    for start in range(0, len(signatures), _BLOCK):
        block = slice(start, start + _BLOCK)
        near = signatures[block] @ signatures[: block.stop].T > 1 - limit
        near |= flat[block, None] & flat[: block.stop]
        for i, row in enumerate(near, start):
            candidates = np.flatnonzero(row & kept[: block.stop])
            copies.append(int(candidates[0]) if len(candidates) and i >= stay else None)
            kept[i] = copies[-1] is None
    return copies


def count_tests(count, share):
    """How many of `count` pictures are for the test; one at least stays for training."""
    return min(max(round(share * count), 1), count - 1) if share > 0 else 0


def _write_report(report, parts, settings, path):
    """JSON, a line for each of the files."""
    written = dict(zip(parts, (report.train, report.test), strict=True))
    summary = settings | {"photos": report.photos, "written": written, "left_out": report.left_out()}
    lines = [json.dumps(outcome.as_dict()) for outcome in report.outcomes]
    content = (
        json.dumps(summary, indent=1).removesuffix("\n}") + ',\n "files": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n"
    )
    path.write_text(content, encoding="ascii")


def _move(staging, out, folders, report):
    """Put the folders and the report into their places, beside what is there: all of them or none."""
    moved = []
    try:
        for name in folders:
            for source in _pieces(staging / name, out / name):
                target = out / source.relative_to(staging)
                if target.is_dir():
                    target.rmdir()  # empty; a rename does not replace it everywhere
                elif os.path.lexists(target):
                    raise FileExistsError(errno.EEXIST, "appeared meanwhile; nothing was added", str(target))
                moved.append((target, source))
                os.rename(source, target)
        os.replace(staging / report, out / report)
    except BaseException:
        for target, source in moved:
            with contextlib.suppress(OSError):  # not there yet
                os.rename(target, source)
        raise


def _pieces(source, target):
    """The largest parts of a folder that can be moved as they are to where `target` has none of the same name."""
    if not source.exists():
        return
    if not source.is_dir() or not _holds(target):
        yield source
        return
    for child in sorted(source.iterdir()):
        yield from _pieces(child, target / child.name)
