"""Image files: which there are, whether they can be read, and their pixels. Pillow and numpy only, no TensorFlow."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import importlib.util
import io
import json
import math
import os
import pathlib
import re
import stat
import struct
import zlib

import numpy as np
import PIL
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from ugatit_tf import environment
from ugatit_tf.config import FITS
from ugatit_tf.data import colours
from ugatit_tf.weights.atomic import remove_abandoned, replacing

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".avif")
SUFFIXES += (".heic", ".heif", ".hif")
KINDS = "JPEG, PNG, BMP, GIF, WebP, TIFF, AVIF or HEIC"
FOLDERS = ("trainA", "trainB", "testA", "testB")
MAX_PIXELS = 64_000_000
READING = 2  # version of what becomes of a file's pixels: what was computed from others is stale
MEMORY_FILE = ".ugatit_checked.json"
MANIFEST = "manifest.json"  # of a dataset in records, complete or begun; see `ugatit_tf.data.records`
UNFINISHED = "manifest.partial.json"
SELFIE2ANIME = "https://drive.google.com/file/d/1xOWj1UVgp6NKMT3HbPhBbtq2A4EDkghF/view?usp=sharing"

_OBLONG = 1.05  # ratio of the sides from which on an image is not called square
_IGNORED = ("thumbs.db", "desktop.ini", "prepare_a.json", "prepare_b.json")  # of systems, and our reports

# The formats' own classes rather than Image.open, which warns and raises by Pillow's global pixel limit, guesses among
# fifty formats, and changes a global registry while it does (decode is called from many threads).
_FORMATS = (
    (b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
    (b"GIF8", GifImagePlugin.GifImageFile),
    (b"RIFF", WebPImagePlugin.WebPImageFile),
    (b"II*\0", TiffImagePlugin.TiffImageFile),
    (b"MM\0*", TiffImagePlugin.TiffImageFile),
    (b"II+\0", TiffImagePlugin.TiffImageFile),
    (b"MM\0+", TiffImagePlugin.TiffImageFile),
)
_AVIF, _HEIF = {b"avif", b"avis"}, {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_HEAD = 256  # bytes that tell the format
_LARGEST_PROFILE = 1 << 24  # bytes of an ICC profile
ORIENTATION_TAG = 0x0112
# Of a TIFF's own tags, those that are no layout of its pixels: description, make, model, orientation, resolution,
# software, date, artist, computer, copyright, and the folders of the camera's and the place's.
_CAMERA_TAGS = {0x010E, 0x010F, 0x0110, ORIENTATION_TAG, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x013C}
_CAMERA_TAGS |= {0x8298, 0x8769, 0x8825}
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
        several: whether the file has more frames or pages, of which this is the first.
    """

    pixels: np.ndarray
    layer: np.ndarray | None
    icc: bytes | None
    exif: bytes | None
    several: bool = False


def decode(source, name="image"):
    """The pixels of an image file as people see it: upright, in sRGB, and on white where it is transparent.

    This is what every network gets. JPEG, PNG, BMP, GIF, WebP, TIFF, AVIF and, with the package pillow-heif, HEIC,
    recognised by their content. Of an animation or of pages the first is taken; 16 bits a channel become 8. Pixels are
    converted to sRGB by the file's ICC profile, and stay as they are where it is damaged. Nothing else beside the
    pixels costs the picture, whether damaged or huge.

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
    photo = read(source, name)
    return colours.Colours(photo.icc).to_srgb(photo.pixels)


def read(source, name="image"):
    """As `decode`, but a `Photo`, whose pixels are in the colours of its own profile."""
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
        from ugatit_tf.data import records  # imports TensorFlow

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
    head = file.read(_HEAD)
    if not head:
        raise _RefusedError("empty file (0 bytes)")
    opener = next((opener for magic, opener in _FORMATS if head.startswith(magic)), None) or _container(head)
    if opener is None:
        raise _RefusedError(f"not a {KINDS} image. Convert it to one of these")
    file.seek(0)
    try:
        return _open(opener, file)
    except (_RefusedError, MemoryError):
        raise
    except Exception:  # of a PNG it may be what is beside the pixels that Pillow does not take
        if opener is not PngImagePlugin.PngImageFile:
            raise
    file.seek(0)
    bare, icc = _bare_png(file.read())
    return _open(opener, io.BytesIO(bare), icc)


def _container(head):
    """The opener of an AVIF or HEIC file, by the brands in its first box; None for others, such as videos."""
    if head[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(head[:4]), len(head))
    brands = {head[8:12], *(head[start : start + 4] for start in range(16, end, 4))}
    if head[8:12] in _AVIF or (head[8:12] in _HEIF and brands & _AVIF):
        return AvifImagePlugin.AvifImageFile
    return _open_heif if head[8:12] in _HEIF else None


def _open_heif(file):
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise _RefusedError(f"HEIC, which needs another package: {environment.install_hint('heif')}") from error
    return HeifImageFile(file)


def _open(opener, file, icc=None):
    image = opener(file)
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _RefusedError(f"{width}x{height} pixels, more than the limit of {MAX_PIXELS:,}. Make it smaller")
    try:
        several = bool(getattr(image, "is_animated", False))
    except Exception:  # of what follows the first frame
        several = False
    image.load()
    if image.mode == "F":
        raise _RefusedError("floating-point pixels, whose range nobody knows. Save it with 8 or 16 bits a channel")
    try:
        orientation = image.getexif().get(ORIENTATION_TAG)
    except Exception:  # damaged metadata: the picture itself is whole
        orientation = None
    camera = image.info.get("exif") or _exif(image)

    def upright(image):
        return np.array(image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image)

    icc = icc or image.info.get("icc_profile")
    if image.mode.startswith("I"):
        image = _from_16_bits(image)
    layer = None
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        if image.mode == "LA" and (grey := _converted(image.getchannel("L"), icc)):
            grey.putalpha(layer.getchannel("A"))
            layer = grey
        composite = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
        layer = upright(layer)
    else:
        composite = _converted(image, icc) or image.convert("RGB")
    if colours.kind(icc) != "RGB" or image.mode not in ("RGB", "RGBA", "P"):
        icc = None  # not one of the RGB pixels that became of it
    return Photo(upright(composite), layer, icc, camera, several)


def _exif(image):
    """A camera's data that are no block of their own, as in a TIFF, as EXIF bytes; None if none can be read."""
    try:
        exif = image.getexif()
        for tag in set(exif) - _CAMERA_TAGS:
            del exif[tag]
        return exif.tobytes() if exif else None
    except Exception:  # damaged metadata: the picture itself is whole
        return None


def _converted(image, icc):
    """A grey or CMYK image as sRGB by its profile; None without one that fits."""
    return colours.as_rgb(image, icc) if image.mode in ("L", "CMYK") and colours.kind(icc) == image.mode else None


def _bare_png(content):
    """A PNG's chunks that decide its pixels and which way up they are, and its ICC profile or None."""
    parts, icc, start = [content[:8]], None, 8
    while start + 8 <= len(content):
        (length,), name = struct.unpack_from(">I", content, start), content[start + 4 : start + 8]
        data = content[start + 8 : start + 8 + length]
        if name in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            parts.append(content[start : start + 12 + length])
        elif name == b"eXIf":
            parts.append(content[start : start + 8 + length] + struct.pack(">I", zlib.crc32(name + data)))
        elif name == b"iCCP":
            with contextlib.suppress(zlib.error):
                unpacked = zlib.decompressobj()
                icc = unpacked.decompress(data.partition(b"\0")[2][1:], _LARGEST_PROFILE)
                icc = icc if unpacked.eof else None
        start += 12 + length
    return b"".join(parts), icc


def _from_16_bits(image):
    """16-bit grey as 8-bit grey, white where transparent: Pillow would clip at 255 instead of scaling."""
    grey = np.asarray(image).astype(np.int64).clip(0, 65535)
    levels = (grey + 128) // 257
    levels[grey == image.info.get("transparency")] = 255
    return Image.fromarray(levels.astype(np.uint8))


def to_aspect(pixels, fit, size=(1, 1)):
    """An image's pixels before they are resized, the one way to other proportions everywhere.

    Args:
        pixels: uint8 [H, W, C].
        fit: `"squeeze"`: they stay as they are, so that resizing squeezes them, as the official codes do; `"crop"`: the
            middle; `"pad"`: the whole, padded with its edge pixels. (Any ratio works so, and nothing is there twice,
            as in a mirror.)
        size: (height, width) they will be resized to, or any of the same ratio; a square by default.

    Returns:
        uint8 [h, w, C], with the ratio of `size` to the pixel; or `pixels`. What "pad" would make larger than
        `MAX_PIXELS` is shrunk before.

    Raises:
        ValueError: there is no such fit.
    """
    height, width = pixels.shape[:2]
    left, top, across, along = fitted(width, height, fit, size)
    if (across, along) == (width, height):
        return pixels
    if fit == "crop":
        return pixels[top : top + along, left : left + across]
    if across * along > MAX_PIXELS:
        factor = math.ceil(math.sqrt(across * along / MAX_PIXELS))
        return to_aspect(np.asarray(Image.fromarray(pixels).reduce(factor)), fit, size)
    return np.pad(pixels, ((-top, along - height + top), (-left, across - width + left), (0, 0)), mode="edge")


def fitted(width, height, fit, size=(1, 1)):
    """The part of a picture that `to_aspect` gives: (left, top, width, height); negative places lie outside."""
    if fit not in FITS:
        raise ValueError(f"fit must be one of {', '.join(FITS)}; received {fit!r}.")
    across, along = width, height
    if fit != "squeeze":
        choose = min if fit == "crop" else max
        across = choose(width, max(round(height * size[1] / size[0]), 1))
        along = choose(height, max(round(width * size[0] / size[1]), 1))
    return (width - across) // 2, (height - along) // 2, across, along


def to_uint8(images):
    """Images in [-1,1], any shape, as uint8 in [0,255]: rounded to the nearest level, clipped outside the range."""
    return np.clip(np.rint((np.asarray(images, np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)


def find_images(folder):
    """The files of a folder, nested folders included, that have the name of an image: `scan(folder).images`."""
    return scan(folder).images


@dataclasses.dataclass(frozen=True)
class Scan:
    """What is in a folder.

    Args:
        folder: the folder.
        images: list of `pathlib.Path`, ordered by the path relative to `folder`, so the same everywhere.
        others: `collections.Counter` of the endings of the files that have no image's name, in lower case.
        unfollowed: list of the linked folders that were not followed.
    """

    folder: pathlib.Path
    images: list
    others: collections.Counter
    unfollowed: list

    def notes(self):
        """What is not used, as lines for people; none if everything is."""
        lines = []
        if self.others:
            count = self.others.total()
            common = sorted(self.others.items(), key=lambda item: (-item[1], item[0] == "", item[0]))
            kinds = [f"{number} {ending or 'without an ending'}" for ending, number in common[:6]]
            more = [f"{sum(number for _, number in common[6:])} others"] * (len(common) > 6)
            are = "file that has no image's name" if count == 1 else "files that have no image's name"
            lines.append(f"Not used in {self.folder}: {count} {are}: {', '.join(kinds + more)}.")
        lines += [f"Not used: {path}, a link to a folder that {self.folder} lies in." for path in self.unfollowed]
        return [_printable(line) for line in lines]


def scan(folder):
    """Look through a folder, nested and linked folders included.

    Hidden files and folders, `__MACOSX`, what systems put into folders (Thumbs.db) and our reports are ignored. No
    folder is read twice, however many links lead to it; its own place comes first.

    Args:
        folder: where to look.

    Returns:
        A `Scan`.

    Raises:
        OSError: the folder, or one inside it, cannot be listed.
    """
    folder = pathlib.Path(folder)
    found, others, unfollowed, seen, links = [], collections.Counter(), [], set(), [folder]
    above = {_identity(path) for path in folder.resolve().parents}
    while links:
        start = links.pop(0)
        if start is not folder and _identity(start) in above:
            unfollowed.append(start)
            continue
        for place, folders, files in os.walk(start, onerror=_reraise):
            identity = _identity(place)
            if identity in seen:
                folders[:] = []
                continue
            seen.add(identity)
            folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
            links += [pathlib.Path(place, name) for name in folders if os.path.islink(os.path.join(place, name))]
            for name in files:
                if name.startswith(".") or name.lower() in _IGNORED:
                    continue
                if name.lower().endswith(SUFFIXES):
                    found.append(pathlib.Path(place, name))
                else:
                    others[os.path.splitext(name)[1].lower()] += 1
    return Scan(folder, sorted(found, key=lambda path: path.relative_to(folder).as_posix()), others, unfollowed)


def _identity(path):
    """What two names of one folder share. (Windows gives folders of network drives no number.)"""
    status = os.stat(path)
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(path)


def _reraise(error):
    raise error


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a file is.

    Args:
        reason: why it cannot be used; None if it can.
        width, height: of its pixels, upright; 0 if it cannot be used.
        several: see `Photo`.
    """

    reason: str | None
    width: int = 0
    height: int = 0
    several: bool = False

    @classmethod
    def of(cls, photo):
        return cls(None, photo.pixels.shape[1], photo.pixels.shape[0], photo.several)


def examine(paths, memory_file, progress=None):
    """Decode every file once, on all cores, to find the bad ones before a training does.

    Verdicts are remembered in a file, by path relative to its folder, size and modification time, so that files are
    decoded again only after a change (of them, of Pillow or of the pixel limit). A memory that cannot be read or
    written only costs time.

    Args:
        paths: the files.
        memory_file: JSON file of the verdicts, in the dataset's folder.
        progress: called as `progress(done, total)` after each file.

    Returns:
        A list of `Verdict`, in the order of `paths`.
    """
    memory_file = pathlib.Path(memory_file)
    known = _read_memory(memory_file)

    def judge(path):
        """The path's key, its size and time, its verdict, and whether that is to be remembered."""
        key = pathlib.Path(os.path.relpath(path, memory_file.parent)).as_posix()
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
                return key, (), Verdict("not a file"), False
            mark = (status.st_size, status.st_mtime_ns)
            if key in known and tuple(known[key][:2]) == mark:
                return key, mark, Verdict(*known[key][2:]), True
            return key, mark, Verdict.of(read(path)), True
        except OSError as error:
            return key, (), Verdict(_reason(error)), False
        except ValueError as error:
            # What the system says of a file (permissions, a network drive) can change while its time stays.
            passing = isinstance(error.__cause__, OSError) and error.__cause__.errno is not None
            return key, mark, Verdict(_reason(error.__cause__)), not passing

    verdicts, entries = [], {}
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    try:
        for key, mark, verdict, lasting in pool.map(judge, paths):
            if lasting:
                entries[key] = [*mark, *dataclasses.astuple(verdict)]
            verdicts.append(verdict)
            if progress is not None:
                progress(len(verdicts), len(paths))
    finally:  # interrupted, the files seen so far are remembered and the others not waited for
        pool.shutdown(cancel_futures=True)
        if any(known.get(key) != entry for key, entry in entries.items()):
            others = {key: entry for key, entry in known.items() if (memory_file.parent / key).exists()}
            _write_memory(memory_file, others | entries)
    return verdicts


def _judges():
    """What a verdict depends on beside the file."""
    heif = importlib.util.find_spec("pillow_heif") is not None
    return {"version": READING, "pillow": PIL.__version__, "heif": heif, "max_pixels": MAX_PIXELS}


def _read_memory(path):
    try:
        memory = json.loads(path.read_text(encoding="ascii"))
        if memory["judges"] != _judges():
            return {}
        for size, time, reason, width, height, several in memory["files"].values():
            numbers = all(isinstance(number, int) for number in (size, time, width, height, several))
            if not (numbers and isinstance(reason, str | None)):
                return {}
        return memory["files"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):  # none, or damaged
        return {}


def _write_memory(path, files):
    remove_abandoned(path.parent, f"{path.name.lstrip('.')}.*")
    with contextlib.suppress(OSError), replacing(path) as file:  # a read-only dataset is checked again next time
        file.write(json.dumps({"judges": _judges(), "files": files}, indent=0).encode("ascii"))


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The readable images of a dataset folder.

    Args:
        train_a, train_b, test_a, test_b: lists of `pathlib.Path`, in a fixed order; of what is read through a URL or
            from records, of the texts that `open_image` takes.
        bad: list of (path, reason) pairs, the files left out.
        contents: list of `Contents`, one per folder that was read; none of records.
    """

    train_a: list
    train_b: list
    test_a: list
    test_b: list
    bad: list
    contents: list = dataclasses.field(default_factory=list)

    def notes(self, fit="squeeze"):
        """Lines for people: what in the folders is not used, and what happens to it otherwise than they may think.

        Args:
            fit: what becomes of images that are not square, see `to_aspect`; None: they are stored as they are.
        """
        return [line for contents in self.contents for line in contents.notes(fit)]

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


@dataclasses.dataclass(frozen=True)
class Contents:
    """What one folder holds: its `Scan`, and the `Verdict`s of the images that can be used."""

    scan: Scan
    verdicts: list

    def notes(self, fit):
        """See `Dataset.notes`."""
        folder = _printable(self.scan.folder)
        lines = self.scan.notes() + describe_several(folder, sum(verdict.several for verdict in self.verdicts))
        return lines + describe_oblong(folder, [(verdict.width, verdict.height) for verdict in self.verdicts], fit)


def describe_several(place, count):
    """A list of the line that says that of animations and pages the first is used; empty where there are none."""
    if not count:
        return []
    what = "1 file has several frames or pages" if count == 1 else f"{count} files have several frames or pages"
    return [f"{place}: {what}; the first is used."]


def describe_oblong(place, sizes, fit):
    """A list of the line that says what becomes of images that are not square; empty where all are, nearly.

    Args:
        place: where they are.
        sizes: list of the images' (width, height).
        fit: see `to_aspect`; None: they are stored as they are.
    """
    oblong = [size for size in sizes if max(size) > _OBLONG * min(size)]
    if not oblong:
        return []
    what = f"{len(oblong)} of {len(sizes)} {'images are' if len(oblong) > 1 else 'images is'} not square, such as"
    fate = {
        "squeeze": "squeezed into a square; --fit crop or --fit pad keeps proportions",
        "crop": "the middle is taken (--fit crop)",
        "pad": "padded with the edge pixels (--fit pad)",
        None: "stored as they are; training squeezes them into a square, and --fit crop or --fit pad keeps proportions",
    }[fit]
    return [f"{place}: {what} {oblong[0][0]}x{oblong[0][1]}: {fate}."]


def describe_bad(bad, shown=3):
    """Lines on files that cannot be used: one per reason where many share it, else one per file.

    Args:
        bad: list of (path, reason) pairs.
        shown: how many files of one reason are named.
    """
    reasons = {}
    for path, reason in bad:
        reasons.setdefault(reason, []).append(path)
    lines = []
    for reason, paths in reasons.items():
        named = [f"Left out: {path}: {reason}" for path in paths]
        if len(paths) > shown:
            named = [f"Left out: {len(paths)} files, {paths[0]} for one: {reason}"]
        lines += map(_printable, named)
    return lines


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


def load_dataset(folder, need=("trainA", "trainB"), progress=None):
    """Find and check the images of a dataset folder, or open its records.

    Args:
        folder: holds `trainA`, `trainB`, `testA` and `testB`; images lie in these or in folders inside them. Or it
            holds records, and may be a URL (see `holds_records` and `ugatit_tf.data.records.load_records`).
        need: those that must have images. Test folders not named may be missing or empty, training folders not named
            are not looked at.
        progress: see `examine`.

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
        from ugatit_tf.data import records  # imports TensorFlow

        return records.load_records(folder, need)
    folder = pathlib.Path(folder)
    scans = {
        name: scan(folder / name)
        for name in FOLDERS
        if (name in need or name.startswith("test")) and (folder / name).is_dir()
    }
    found = {name: scans[name].images if name in scans else [] for name in FOLDERS}
    missing = [name for name in need if not found[name]]
    if missing:
        raise FileNotFoundError(_layout(folder, need, [_shortcoming(folder, name) for name in missing]))
    paths = [path for name in FOLDERS for path in found[name]]
    verdicts = dict(zip(paths, examine(paths, folder / MEMORY_FILE, progress), strict=True))
    bad = [(path, verdict.reason) for path, verdict in verdicts.items() if verdict.reason is not None]
    kept = {name: [path for path in paths if verdicts[path].reason is None] for name, paths in found.items()}
    spoilt = [name for name in need if not kept[name]]
    if spoilt:
        reasons = [f"{path}: {reason}" for path, reason in bad if path in found[spoilt[0]]]
        lines = [f"{folder / name} has {len(found[name])} images, none of which can be read" for name in spoilt]
        raise FileNotFoundError(_layout(folder, need, [*lines, *reasons[:3]]))
    contents = [Contents(scans[name], [verdicts[path] for path in kept[name]]) for name in scans]
    return Dataset(*(kept[name] for name in FOLDERS), bad, contents)


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
            "Give another place with --data_dir and --dataset. selfie2anime is available from its authors "
            f"(https://github.com/taki0112/UGATIT): {SELFIE2ANIME}",
            "--dataset demo needs no files: it is drawn on first use.",
        ]
    )
    return _printable(text)
