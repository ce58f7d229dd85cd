"""Image files: which there are, whether they can be read, and their pixels. Pillow and numpy only, no TensorFlow."""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import re
import stat
import uuid

import numpy as np
import PIL
from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
FOLDERS = ("trainA", "trainB", "testA", "testB")
MAX_PIXELS = 64_000_000
MEMORY_FILE = ".ugatit_checked.json"
MANIFEST = "manifest.json"  # of a dataset in records, complete or begun; see `ugatit_tf.data.records`
UNFINISHED = "manifest.partial.json"
SELFIE2ANIME = "https://drive.google.com/file/d/1xOWj1UVgp6NKMT3HbPhBbtq2A4EDkghF/view?usp=sharing"

# The formats' own classes rather than Image.open, which warns and raises by Pillow's global pixel limit, guesses among
# fifty formats, and changes a global registry while it does (decode is called from many threads).
_FORMATS = (
    (b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
    (b"GIF8", GifImagePlugin.GifImageFile),
    (b"RIFF", WebPImagePlugin.WebPImageFile),
)
ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclasses.dataclass(frozen=True)
class Photo:
    """An image file's pixels, and what else is worth keeping when it is written anew.

    Args:
        pixels: uint8 [H, W, 3], RGB, upright, on white where it is transparent.
        layer: uint8 [H, W, 4], the same with its transparency; None if it has none.
        icc: the ICC profile of the pixels, bytes; None for sRGB.
        exif: what the camera wrote, bytes; None if nothing.
    """

    pixels: np.ndarray
    layer: np.ndarray | None
    icc: bytes | None
    exif: bytes | None


def decode(source, name="image"):
    """The pixels of an image file as people see it: upright, and on white where it is transparent.

    JPEG, PNG, BMP, GIF and WebP, recognised by their content. Of an animation the first frame is taken; 16 bits a
    channel become 8.

    Args:
        source: path of the file as `open_image` takes it, or its content as bytes.
        name: what an error calls an image that is given as bytes.

    Returns:
        uint8 array of shape [H, W, 3], RGB in [0, 255].

    Raises:
        ValueError: names the file and what is wrong with it: unreadable, no such image, damaged or cut off, or more
            than `MAX_PIXELS` pixels (found from the header, before any pixel is decoded). An OSError behind it is its
            `__cause__`.
    """
    return read(source, name).pixels


def read(source, name="image"):
    """As `decode`, but a `Photo`."""
    if isinstance(source, bytes | bytearray | memoryview):
        name, opened = _printable(name), io.BytesIO(source)
    else:
        name, opened = _printable(source), None
    try:
        with opened or open_image(source) as file:
            return _photo(file)
    except MemoryError:  # says nothing about the file
        raise
    except Exception as error:  # decoders of damaged files raise anything, from struct.error to SyntaxError
        raise ValueError(f"{name}: {_reason(error)}") from error


def open_image(path):
    """An image's file, open for reading, wherever it is.

    Args:
        path: of a local file; or a URL that TensorFlow knows, such as `gs://bucket/x.png`; or an image in a shard, as
            `ugatit_tf.data.records.Records` gives it.

    Raises:
        OSError: it cannot be read.
    """
    if _is_url(path) or re.search(r"\.tfrecord#\d+$", os.fspath(path)):
        from ugatit_tf.data import records  # which costs TensorFlow

        return io.BytesIO(records.read_image(path))
    return open(path, "rb")


def _is_url(path):
    return "://" in os.fspath(path)


def _printable(text):
    """What any terminal and log takes, whatever the bytes of the file names in it."""
    return str(text).encode(errors="backslashreplace").decode()


def _reason(error):
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    text = str(error) or type(error).__name__
    return text if isinstance(error, _RefusedError) else f"damaged ({text})"


class _RefusedError(ValueError):
    """A reason in our own words."""


def _photo(file):
    head = file.read(16)
    if not head:
        raise _RefusedError("empty file (0 bytes)")
    opener = next((opener for magic, opener in _FORMATS if head.startswith(magic)), None)
    if opener is None:
        raise _RefusedError("not a JPEG, PNG, BMP, GIF or WebP image. Convert it to one of these")
    file.seek(0)
    image = opener(file)
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _RefusedError(f"{width}x{height} pixels, more than the limit of {MAX_PIXELS:,}. Make it smaller")
    image.load()
    try:
        orientation = image.getexif().get(ORIENTATION_TAG)
    except Exception:  # damaged metadata: the picture itself is whole
        orientation = None

    def upright(image):
        return np.array(image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image)

    icc, exif = image.info.get("icc_profile"), image.info.get("exif")
    if not icc or icc[16:20] != b"RGB " or image.mode not in ("RGB", "RGBA", "P"):
        icc = None  # not one of the RGB pixels that become of it
    if image.mode.startswith("I"):
        return Photo(upright(_from_16_bits(image)), None, icc, exif)
    layer = None
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image, layer = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer), upright(layer)
    return Photo(upright(image.convert("RGB")), layer, icc, exif)


def _from_16_bits(image):
    """16-bit grey as RGB: Pillow would clip at 255 instead of scaling."""
    grey = np.asarray(image).astype(np.int64).clip(0, 65535)
    levels = (grey + 128) // 257
    levels[grey == image.info.get("transparency")] = 255
    return Image.fromarray(levels.astype(np.uint8)).convert("RGB")


def to_uint8(images):
    """Images in [-1,1], any shape, as uint8 in [0,255]: rounded to the nearest level, clipped outside the range."""
    return np.clip(np.rint((np.asarray(images, np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)


def find_images(folder):
    """The files of a folder, nested folders included, that have the name of an image.

    Hidden files and folders and `__MACOSX` are passed over. Links to files count, links to folders inside are not
    followed.

    Args:
        folder: where to look.

    Returns:
        List of `pathlib.Path`, ordered by the path relative to `folder`, so the same everywhere.

    Raises:
        OSError: the folder, or one inside it, cannot be listed.
    """
    folder = pathlib.Path(folder)
    found = []
    for place, folders, files in os.walk(folder, onerror=_reraise):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
        found += [
            pathlib.Path(place, name) for name in files if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        ]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _reraise(error):
    raise error


def check_images(paths, memory_file):
    """Decode every file once, on all cores, to find the bad ones before a training does.

    Verdicts are remembered in a file, by path relative to its folder, size and modification time, so that files are
    decoded again only after a change (of them, of Pillow or of the pixel limit). A memory that cannot be read or
    written only costs time.

    Args:
        paths: the files.
        memory_file: JSON file of the verdicts, in the dataset's folder.

    Returns:
        `(good, bad)`, in the order of `paths`: a list of paths, and a list of (path, reason) pairs.
    """
    memory_file = pathlib.Path(memory_file)
    known = _read_memory(memory_file)

    def judge(path):
        """The path's key, its size and time and verdict (None: good), and whether that is to be remembered."""
        key = pathlib.Path(os.path.relpath(path, memory_file.parent)).as_posix()
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
                return key, [0, 0, "not a file"], False
            entry = [status.st_size, status.st_mtime_ns]
            if key in known and known[key][:2] == entry:
                return key, known[key], True
            decode(path)
            return key, [*entry, None], True
        except OSError as error:
            return key, [0, 0, _reason(error)], False
        except ValueError as error:
            # What the system says of a file (permissions, a network drive) can change while its time stays.
            passing = isinstance(error.__cause__, OSError) and error.__cause__.errno is not None
            return key, [*entry, _reason(error.__cause__)], not passing

    good, bad, verdicts = [], [], {}
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    try:
        for path, (key, entry, lasting) in zip(paths, pool.map(judge, paths), strict=True):
            if lasting:
                verdicts[key] = entry
            if entry[2] is None:
                good.append(path)
            else:
                bad.append((path, entry[2]))
    finally:  # interrupted, the files seen so far are remembered and the others not waited for
        pool.shutdown(cancel_futures=True)
        if any(known.get(key) != entry for key, entry in verdicts.items()):
            others = {key: entry for key, entry in known.items() if (memory_file.parent / key).exists()}
            _write_memory(memory_file, others | verdicts)
    return good, bad


def _judges():
    """What a verdict depends on beside the file."""
    return {"version": 1, "pillow": PIL.__version__, "max_pixels": MAX_PIXELS}


def _read_memory(path):
    try:
        memory = json.loads(path.read_text(encoding="ascii"))
        if memory["judges"] != _judges():
            return {}
        for size, time, reason in memory["files"].values():
            if not (isinstance(size, int) and isinstance(time, int) and isinstance(reason, str | None)):
                return {}
        return memory["files"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):  # none, or damaged
        return {}


def _write_memory(path, files):
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        draft.write_text(json.dumps({"judges": _judges(), "files": files}, indent=0), encoding="ascii")
        draft.replace(path)
    except OSError:  # a read-only dataset is checked again next time
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The readable images of a dataset folder.

    Args:
        train_a, train_b, test_a, test_b: lists of `pathlib.Path`, in a fixed order; of what is read through a URL or
            from records, of the texts that `open_image` takes.
        bad: list of (path, reason) pairs, the files left out.
    """

    train_a: list
    train_b: list
    test_a: list
    test_b: list
    bad: list

    def hold_out(self):
        """Set training images aside, to score a training by: a tenth of each domain, at most 100 images.

        Which ones never changes, so that they stay the same when the training is taken up again.

        Returns:
            Two `Dataset`s: one without those images, and one that has them, and them alone, as its test images.

        Raises:
            ValueError: there are too few images.
        """
        rest, held = {}, {}
        for name in ("train_a", "train_b"):
            paths = getattr(self, name)
            count = min(100, len(paths) // 10)
            if count < 4:
                raise ValueError(
                    f"A tenth of the training images is held out to be scored, which must be 4 or more of each domain; "
                    f"{name} has {len(paths)} images. Train without --eval_every, or with 40 images or more."
                )
            rest[name], held[name] = self._split(paths, count)
        aside = {"train_a": [], "train_b": [], "test_a": held["train_a"], "test_b": held["train_b"]}
        return dataclasses.replace(self, **rest), dataclasses.replace(self, **aside)

    def training_images(self):
        """A line that says how many training images there are, and tells them by name, order and size from others."""
        digest = hashlib.sha256()
        for mark in self._marks():
            digest.update(mark)
        return f"{len(self.train_a)} trainA, {len(self.train_b)} trainB, {digest.hexdigest()[:12]}"

    def _split(self, paths, count):
        """The images without `count` of them, chosen by their names, and these."""
        chosen = set(sorted(paths, key=lambda path: hashlib.sha256(os.fsencode(path.name)).digest())[:count])
        return [path for path in paths if path not in chosen], [path for path in paths if path in chosen]

    def _marks(self):
        """Bytes that tell the training images from others."""
        for path in (*self.train_a, *self.train_b):
            yield os.fsencode(path.name) + b"\0%d\0" % path.stat().st_size


def holds_records(folder):
    """Whether a dataset is to be read from records (see `ugatit_tf.data.records`) rather than from image folders.

    Args:
        folder: the dataset's folder, or its URL, where image folders are not looked for.
    """
    if _is_url(folder):
        return True
    folder = pathlib.Path(folder)
    begun = any((folder / name).is_file() for name in (MANIFEST, UNFINISHED))
    return begun and not any((folder / name).is_dir() for name in ("trainA", "trainB"))


def load_dataset(folder, need=("trainA", "trainB")):
    """Find and check the images of a dataset folder, or open its records.

    Args:
        folder: holds `trainA`, `trainB`, `testA` and `testB`; images lie in these or in folders inside them. Or it
            holds records, and may be a URL (see `holds_records` and `ugatit_tf.data.records.load_records`).
        need: those that must have images. Test folders not named may be missing or empty, training folders not named
            are not looked at.

    Returns:
        A `Dataset`.

    Raises:
        FileNotFoundError: a needed folder is missing or has no readable image; shows the layout and what was found.
        OSError: a folder cannot be listed.
    """
    unknown = [name for name in need if name not in FOLDERS]
    if unknown:
        raise ValueError(f"need takes names from {', '.join(FOLDERS)}; received {', '.join(map(repr, unknown))}.")
    if holds_records(folder):
        from ugatit_tf.data import records  # which costs TensorFlow

        return records.load_records(folder, need)
    folder = pathlib.Path(folder)
    found = {
        name: find_images(folder / name)
        if (name in need or name.startswith("test")) and (folder / name).is_dir()
        else []
        for name in FOLDERS
    }
    missing = [name for name in need if not found[name]]
    if missing:
        raise FileNotFoundError(_layout(folder, need, [_shortcoming(folder, name) for name in missing]))
    good, bad = check_images([path for name in FOLDERS for path in found[name]], folder / MEMORY_FILE)
    readable = set(good)
    kept = {name: [path for path in paths if path in readable] for name, paths in found.items()}
    spoilt = [name for name in need if not kept[name]]
    if spoilt:
        reasons = [f"{path}: {reason}" for path, reason in bad if path in found[spoilt[0]]]
        lines = [f"{folder / name} has {len(found[name])} images, none of which can be read" for name in spoilt]
        raise FileNotFoundError(_layout(folder, need, [*lines, *reasons[:3]]))
    return Dataset(kept["trainA"], kept["trainB"], kept["testA"], kept["testB"], bad)


def _shortcoming(folder, name):
    """What is wrong with a needed folder that has no images, and what it may have been mistaken for."""
    place = folder / name
    if place.is_dir():
        others = sum(len(files) for _, _, files in os.walk(place))
        held = f"has {others} files, but none ends in {', '.join(SUFFIXES)}" if others else "is empty"
        return f"{place} {held}"
    if place.exists():
        return f"{place} is not a folder"
    if not folder.is_dir():
        return f"{folder} is not there" if not folder.exists() else f"{folder} is not a folder"
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    close = [other for other in names if _letters(other) == _letters(name)]
    if close:
        return f"{place} is missing. Rename {close[0]} to {name}?"
    return f"{place} is missing; found there: {', '.join(names[:8]) or 'no folders'}"


def _letters(name):
    return "".join(filter(str.isalnum, name)).lower()


def _layout(folder, need, lines):
    roles = {"trainA": "training, domain A", "trainB": "training, domain B"}
    roles |= {"testA": "test, domain A", "testB": "test, domain B"}
    layout = [f"  {folder / name}/  ({roles[name]}{'' if name in need else '; optional'})" for name in FOLDERS]
    text = "\n".join(
        [
            f"No images to work with in {folder}:",
            *dict.fromkeys(f"  {line}" for line in lines),  # a missing folder lacks each of its parts
            f"Expected image files ({', '.join(suffix[1:] for suffix in SUFFIXES)}) in",
            *layout,
            "Give another place with --data_dir and --dataset. selfie2anime is to be had from its authors "
            f"(https://github.com/taki0112/UGATIT): {SELFIE2ANIME}",
            "--dataset demo needs no files: it is drawn on first use.",
        ]
    )
    return _printable(text)
