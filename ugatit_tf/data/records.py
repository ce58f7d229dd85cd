"""Large sets: training images as records in shards, a few hundred large files instead of 100,000 small ones.

`write_records` makes them of a dataset folder; `load_records` opens them, on a local disk or at a URL that TensorFlow
knows (`gs://bucket/path`). In their folder:

- `trainA-00000.tfrecord`, ...: a record is a `tf.train.Example` of an image file's bytes, as they are (`image`), and
  its path below trainA (`name`). Which shard an image is in follows from a hash of its path, so that each shard is a
  random part of the set.
- `testA/`, `testB/`: the test images, as files.
- `manifest.json`: every shard with its number of records, its size and its SHA-256. It is written last: where it is,
  the set is whole. Until then `manifest.partial.json` remembers which shards are finished.
"""

import collections.abc
import concurrent.futures
import contextlib
import dataclasses
import errno
import functools
import hashlib
import json
import os
import pathlib
import re
import struct
import tempfile
import threading

import numpy as np
import tensorflow as tf

from ugatit_tf.data.images import FOLDERS, MANIFEST, UNFINISHED, Dataset, holds_records, load_dataset
from ugatit_tf.weights.atomic import draft_name, is_abandoned

VERSION = 1
RECORDS = 512  # of a shard, at most; training has two shards of each domain in memory
BYTES = 64 << 20  # of a shard's images, at most, unless one image alone has more
_THREADS = 16  # they wait for a disk or a network, not for a processor
_DRAFT = re.compile(r"\.(record\.[0-9a-f]{8}-\d+-[0-9a-f]{8}-\d+|[0-9a-f]{32})\.tmp")  # or an earlier version's
_FILE = re.compile(r"train[AB]-\d{5,}\.tfrecord")


@dataclasses.dataclass(frozen=True)
class Shard:
    """A file of records: its name in the set's folder, its number of records, its size in bytes, and its SHA-256."""

    file: str
    records: int
    bytes: int
    sha256: str

    def __post_init__(self):
        if not (_FILE.fullmatch(self.file) and self.records > 0 and self.bytes > 0 and len(self.sha256) == 64):
            raise ValueError(f"not a shard: {self}")


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a set holds.

    Args:
        source: digest of the names, sizes and times of the images that it is made of, and of how they are divided.
        train: for trainA and trainB, lists of `Shard`.
        test: for testA and testB, lists of the images' paths below these.
        left_out: (path, reason) pairs of the images that could not be read.
    """

    source: str
    train: dict
    test: dict
    left_out: list

    def to_json(self):
        values = {"ugatit_tf_records": VERSION, **dataclasses.asdict(self)}
        return json.dumps(values, indent=1)  # in ASCII: names that are not text come through

    @classmethod
    def from_json(cls, text, path):
        """Read what `to_json` wrote.

        Raises:
            ValueError: it is something else, or of another version; names `path`.
        """
        try:
            values = json.loads(text)
            version = values.pop("ugatit_tf_records")
            if version == VERSION:
                manifest = cls(**values)
                train = {name: [Shard(**shard) for shard in manifest.train[name]] for name in FOLDERS[:2]}
                test = {name: [str(path) for path in manifest.test[name]] for name in FOLDERS[2:]}
                left_out = [(str(path), str(reason)) for path, reason in manifest.left_out]
                return cls(str(manifest.source), train, test, left_out)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path} is no manifest of `ugatit prepare --tfrecord`, or damaged ({type(error).__name__}: {error}). "
                "Copy it again from where the set was made, or make the set anew."
            ) from error
        raise ValueError(
            f"{path} has version {version!r}; this ugatit_tf reads version {VERSION}. Make the set anew, or use the "
            "ugatit_tf that it was made with."
        )


class Records(collections.abc.Sequence):
    """The training images of a domain, in shards: a sequence of what `images.open_image` takes.

    Args:
        folder: the set's folder or URL.
        shards: list of `Shard`.
        first: images passed over at the beginning.

    Attributes:
        counts: number of images of each shard that has any, in the order of `shards`.
    """

    def __init__(self, folder, shards, first=0):
        self.folder = folder
        self._all, self._first = shards, first
        self.shards = []  # (shard, number of records in it that are passed over), of those that are left
        for shard in shards:
            passed = min(first, shard.records)
            first -= passed
            if passed < shard.records:
                self.shards.append((shard, passed))
        self.counts = np.array([shard.records - passed for shard, passed in self.shards], np.int64)
        self._ends = np.cumsum(self.counts)

    def __len__(self):
        return int(self.counts.sum())

    def __getitem__(self, index):
        numbers = range(len(self))[index]  # IndexError as a list's
        if isinstance(index, slice):
            return [self[number] for number in numbers]
        place = int(np.searchsorted(self._ends, numbers, side="right"))
        shard, passed = self.shards[place]
        record = passed + numbers - int(self._ends[place] - self.counts[place])
        return f"{self.folder}/{shard.file}#{record}"

    def split(self, count):
        """The images without the first `count` (shards are random parts of the set), and these."""
        return Records(self.folder, self._all, self._first + count), self[:count]

    def read(self, place, order):
        """The images of one shard.

        Args:
            place: of the shard in `counts`.
            order: of its images, the numbers from 0 to `counts[place]`.

        Returns:
            Their names, for errors, and their files' contents: two object arrays of bytes.

        Raises:
            ValueError: the shard cannot be read, or is not the manifest's; names it.
        """
        shard, passed = self.shards[place]
        path = f"{self.folder}/{shard.file}"
        try:
            content = _read(path)
        except OSError as error:
            raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
        if hashlib.sha256(content).hexdigest() != shard.sha256:
            raise ValueError(
                f"{path}: damaged ({len(content):,} bytes whose SHA-256 is not the one in {MANIFEST}). Copy the shard "
                "again from where the set was made, or make the set anew"
            )
        images = _parse(content, path)[passed:]
        chosen = [images[number] for number in order]
        names = [os.fsencode(path) + b", " + name for name, _ in chosen]
        # Of objects: numpy's own strings would lose zeros at their ends.
        return np.array(names, object), np.array([image for _, image in chosen], object)


class RecordsDataset(Dataset):
    """A `Dataset` whose `train_a` and `train_b` are `Records`."""

    def _split(self, paths, count):
        return paths.split(count)

    def _marks(self):
        for images in (self.train_a, self.train_b):
            yield b"%d\0" % len(images)
            for shard, _ in images.shards:
                yield shard.sha256.encode()


def load_records(folder, need=("trainA", "trainB")):
    """Open a set that `write_records` made. No image is read, and, where training images are not needed, no shard.

    Args:
        folder: of the set, local or a URL.
        need: those of `images.FOLDERS` that must have images; training images not named are not looked at.

    Returns:
        A `Dataset`, whose `bad` are the images that `write_records` left out.

    Raises:
        FileNotFoundError: there is no such set, it is not finished, or has no images of a kind that is needed.
        ValueError: the manifest is damaged or of another version.
        OSError: a shard is missing or has another size than in the manifest; or something cannot be read.
    """
    folder = _root(folder)
    try:
        manifest = _load_manifest(folder, MANIFEST)
    except FileNotFoundError as error:
        raise FileNotFoundError(_absence(folder)) from error
    missing = [name for name in need if not (manifest.train | manifest.test)[name]]
    if missing:
        raise FileNotFoundError(
            f"{folder} has no images of {', '.join(missing)}: the folder that it was made of had none. Make it anew of "
            "one that has."
        )
    train = {name: Records(folder, shards if name in need else []) for name, shards in manifest.train.items()}
    _check_shards(folder, [shard for images in train.values() for shard, _ in images.shards])
    kind = str if "://" in folder else pathlib.Path
    test = {name: [kind(f"{folder}/{name}/{path}") for path in paths] for name, paths in manifest.test.items()}
    parts = train | test
    return RecordsDataset(*(parts[name] for name in FOLDERS), manifest.left_out)


def read_image(address):
    """The content of an image's file: at a URL, or in a shard (`SHARD#NUMBER`, as `Records` gives it).

    Raises:
        OSError: it cannot be read, or is not there.
        ValueError: the shard is damaged.
    """
    path, mark, number = address.rpartition("#")
    if not mark or not path.endswith(".tfrecord"):
        return _read(address)
    with _ONE_AT_A_TIME:  # threads that want images of one shard wait for one to read it
        images = _read_shard(path)
    if int(number) >= len(images):
        raise OSError(errno.ENOENT, f"has {len(images)} records, no number {number}", path)
    return images[int(number)][1]


_ONE_AT_A_TIME = threading.Lock()


@functools.lru_cache(maxsize=1)
def _read_shard(path):
    """All images of a shard. The last one is kept: those that are looked at one by one are the first of a set."""
    return _parse(_read(path), path)


def _parse(content, path):
    """The (name, image) pairs in a shard's bytes.

    A record is its length (uint64, little-endian), a checksum of that (uint32), the message, and its checksum.
    """
    images, start = [], 0
    try:
        while start < len(content):
            (length,) = struct.unpack_from("<Q", content, start)
            if start + length + 16 > len(content):
                raise ValueError("cut off")
            feature = tf.train.Example.FromString(content[start + 12 : start + 12 + length]).features.feature
            images.append((feature["name"].bytes_list.value[0], feature["image"].bytes_list.value[0]))
            start += length + 16
    except Exception as error:  # what the parser raises depends on its implementation
        raise ValueError(f"{path}: damaged at byte {start:,} ({error or type(error).__name__})") from error
    return images


def _absence(folder):
    """Why there is no set in a folder, and what to do."""
    path = f"{folder}/{UNFINISHED}"
    with _in_words(path):
        if tf.io.gfile.exists(_file(path)):
            return f"{folder} is not finished: give the `ugatit prepare ... --tfrecord` that began it once more."
    return (
        f"{folder}/{MANIFEST} is not there. `ugatit prepare DATASET_FOLDER --tfrecord --out {folder}` makes it of "
        "folders of images, which themselves are read from local disks alone."
    )


def _check_shards(folder, shards):
    """Raises an OSError where a shard is missing or has another size, without reading any."""

    def fault(shard):
        path = f"{folder}/{shard.file}"
        size = _size(path)
        if size is None:
            return f"{path} is missing"
        return f"{path} has {size:,} bytes, not {shard.bytes:,}" if size != shard.bytes else None

    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        faults = [text for text in pool.map(fault, shards) if text]
    if faults:
        more = f" (and {len(faults) - 1} more)" if faults[1:] else ""
        raise OSError(
            f"{faults[0]}{more}: not what {MANIFEST} says. Copy the shards again from where the set was made, or make "
            "the set anew."
        )


def write_records(folder, out, progress=None, records=RECORDS, size=BYTES, checking=None, tell=None):
    """Write a dataset folder as a set of records.

    Every image is decoded once first (`images.load_dataset`), and those that cannot be read are left out. Interrupted,
    it goes on when it is called again with the same images, and ends with the same bytes.

    Args:
        folder: the dataset folder, with trainA and trainB and, perhaps, testA and testB.
        out: folder of the set, local or a URL; missing, empty, or with what an earlier call wrote.
        progress: called as `progress(done, total)`, with numbers of training images, after each shard.
        records, size: a shard ends before it would have more records, or images of more bytes, than this.
        checking: as `progress`, while the images are checked before.
        tell: called with each line of `Dataset.notes`.

    Returns:
        The `Manifest`, and whether anything was written: False if the set was complete.

    Raises:
        FileNotFoundError: as `load_dataset`.
        FileExistsError: `out` holds something else, or a set, complete or not, of other images.
        ValueError: `out` lies in `folder`, or `folder` holds records itself; or the name of `out` or of a test image
            is not Unicode.
        OSError: an image changed or vanished since it was checked, or `out` cannot be written.
    """
    folder, out = pathlib.Path(folder), _root(out)
    if holds_records(folder):
        raise ValueError(f"{folder} holds records already. Name the folder with trainA and trainB that they are of.")
    if "://" not in out and pathlib.Path(out).resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{out} lies in {folder}, the folder of the images. Give another place, beside it.")
    held = _list_own(out)
    _remove_abandoned(out)
    dataset = load_dataset(folder, progress=checking)
    for line in dataset.notes(fit=None) if tell else ():
        tell(line)
    paths = dict(zip(FOLDERS, (dataset.train_a, dataset.train_b, dataset.test_a, dataset.test_b), strict=True))
    images = {name: [_Image.of(path, folder / name) for path in paths[name]] for name in FOLDERS}
    groups = {name: _divide(name, images[name], records, size) for name in FOLDERS[:2]}
    test = {name: [image.name for image in images[name]] for name in FOLDERS[2:]}
    for name in (*test["testA"], *test["testB"]):
        _file(name)  # refused before anything is written
    left_out = [(os.path.relpath(path, folder), reason) for path, reason in dataset.bad]
    manifest = Manifest(_digest(groups, images), {name: [] for name in groups}, test, left_out)
    former = _load_manifest(out, held[0]) if held else manifest
    if former.source != manifest.source:
        state = "is complete, but was made" if held[0] == MANIFEST else "is not finished, and was begun"
        raise FileExistsError(
            f"{out} {state} with other images than there are in {folder} now: names, sizes or times differ. "
            f"Nothing was written. Give another --out, or remove {out} to make it anew."
        )
    if MANIFEST in held:
        return former, False

    finished = {shard.file: shard for shards in former.train.values() for shard in shards}
    total, done = sum(len(images[name]) for name in groups), 0
    pool = concurrent.futures.ThreadPoolExecutor(_THREADS)
    try:
        _make_folder(out)
        if not held:
            _remember(manifest, out)
        for name in test:
            for _ in pool.map(functools.partial(_copy, folder=f"{out}/{name}"), images[name]):
                pass
        for name, shards in manifest.train.items():
            for index, group in enumerate(groups[name]):
                file = f"{name}-{index:05d}.tfrecord"
                if file in finished and _size(f"{out}/{file}") == finished[file].bytes:
                    shards.append(finished[file])
                else:
                    shards.append(_write_shard(group, out, file, pool))
                    _remember(manifest, out)
                done += len(group)
                if progress is not None:
                    progress(done, total)
        _remember(manifest, out)  # again, for a call that found every shard
        _rename(f"{out}/{UNFINISHED}", f"{out}/{MANIFEST}")
    finally:  # interrupted, what has not begun is not waited for
        pool.shutdown(cancel_futures=True)
    return manifest, True


@dataclasses.dataclass(frozen=True)
class _Image:
    """An image file: its path, its name below trainA (or testA, ...), its size in bytes and its time."""

    path: pathlib.Path
    name: str
    size: int
    time: int

    @classmethod
    def of(cls, path, folder):
        status = os.stat(path)
        return cls(path, path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns)

    def content(self):
        """The file's bytes."""
        content = self.path.read_bytes()
        if len(content) != self.size:
            raise OSError(
                f"{self.path} has changed since it was checked: it has {len(content):,} bytes, not {self.size:,}. "
                "Leave the images alone while they are written. Then remove what has been written, and begin anew."
            )
        return content


def _divide(domain, images, records, size):
    """The images of each shard: in the order of a hash of their names, which is none."""
    groups, held = [], 0
    for image in sorted(images, key=lambda image: hashlib.sha256(os.fsencode(f"{domain}/{image.name}")).digest()):
        if not groups or len(groups[-1]) == records or held + image.size > size:
            groups.append([])
            held = 0
        groups[-1].append(image)
        held += image.size
    return groups


def _digest(groups, images):
    """What tells these images, so divided, from others."""
    digest = hashlib.sha256()
    for name in images:
        for index, group in enumerate(groups.get(name, [images[name]])):
            for image in group:
                mark = f"{name}\0{index}\0{image.name}\0{image.size}\0{image.time}\0"
                digest.update(os.fsencode(mark))
    return digest.hexdigest()


def _list_own(out):
    """The manifests in a set's folder, the complete one first. Raises a FileExistsError if it holds something else."""
    with _in_words(out):
        if not tf.io.gfile.exists(_file(out)):
            return []
        if not tf.io.gfile.isdir(_file(out)):
            raise FileExistsError(f"{out} is a file. Give a folder, or one that is to be made.")
        names = {name.rstrip("/") for name in tf.io.gfile.listdir(_file(out))}
    own = [name for name in (MANIFEST, UNFINISHED) if name in names]
    others = sorted(name for name in names if not _DRAFT.fullmatch(name))  # all there is after a first write cut off
    if others and not own:
        raise FileExistsError(f"{out} holds {others[0]!r}, and no records of this program. Give an empty folder.")
    return own


def _remove_abandoned(out):
    """Remove the drafts of calls that were killed; see `ugatit_tf.weights.atomic.is_abandoned`."""
    for folder in (out, f"{out}/testA", f"{out}/testB"):
        with contextlib.suppress(tf.errors.OpError):  # no such folder yet
            for name in tf.io.gfile.listdir(_file(folder)):
                path = _file(f"{folder}/{name}")
                if _DRAFT.fullmatch(name) and is_abandoned(name, tf.io.gfile.stat(path).mtime_nsec / 1e9):
                    tf.io.gfile.remove(path)


def _write_shard(group, out, file, pool):
    with tempfile.TemporaryDirectory() as folder:  # TensorFlow has no other place for records than a file
        path = os.path.join(folder, file)
        with _in_words(path), tf.io.TFRecordWriter(path) as writer:
            for image, content in zip(group, pool.map(_Image.content, group), strict=True):
                values = {"image": content, "name": os.fsencode(image.name)}
                feature = {
                    name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
                    for name, value in values.items()
                }
                example = tf.train.Example(features=tf.train.Features(feature=feature))
                writer.write(example.SerializeToString(deterministic=True))  # else the features' order may vary
        content = pathlib.Path(path).read_bytes()
    _put(content, f"{out}/{file}")
    return Shard(file, len(group), len(content), hashlib.sha256(content).hexdigest())


def _copy(image, folder):
    """Copy a test image, unless it is there."""
    path = f"{folder}/{image.name}"
    if _size(path) != image.size:
        _make_folder(os.path.dirname(path))
        _put(image.content(), path)


def _remember(manifest, out):
    _put(manifest.to_json().encode(), f"{out}/{UNFINISHED}")


def _load_manifest(folder, name):
    return Manifest.from_json(_read(f"{folder}/{name}"), f"{folder}/{name}")


# Files, local and remote, through tf.io.gfile, with Python's errors.


def _root(folder):
    return os.fspath(folder).rstrip("/")


def _file(path):
    """The path, unless it is not Unicode, as names of files can be: tf.io.gfile fails on errors that name one."""
    try:
        path.encode()
    except UnicodeEncodeError as error:
        name = os.fsencode(path).decode(errors="backslashreplace")
        raise ValueError(f"{name}: TensorFlow takes no name that is not text in UTF-8. Rename it.") from error
    return path


def _draft(path):
    """A path beside a file's, for it while it is written; see `ugatit_tf.weights.atomic.draft_name`."""
    folder, slash, _ = path.rpartition("/")
    return f"{folder}{slash}{draft_name('record')}"


def _read(path):
    with _in_words(path), tf.io.gfile.GFile(_file(path), "rb") as file:
        return file.read()


def _size(path):
    """In bytes; None if it is not there."""
    try:
        with _in_words(path):
            return tf.io.gfile.stat(_file(path)).length
    except FileNotFoundError:
        return None


def _make_folder(path):
    with _in_words(path):
        tf.io.gfile.makedirs(_file(path))


def _put(content, path):
    """Write a file whole or not at all."""
    draft = _draft(path)
    try:
        with _in_words(path), tf.io.gfile.GFile(_file(draft), "wb") as file:
            file.write(content)
        _rename(draft, path)
    except BaseException:
        with contextlib.suppress(tf.errors.OpError):  # not there, as a rule
            tf.io.gfile.remove(_file(draft))
        raise


def _rename(source, path):
    with _in_words(path):
        tf.io.gfile.rename(_file(source), _file(path), overwrite=True)


@contextlib.contextmanager
def _in_words(path):
    """TensorFlow's errors as Python's, which name the file."""
    try:
        yield
    except tf.errors.OpError as error:
        number = errno.ENOENT if isinstance(error, tf.errors.NotFoundError) else errno.EIO
        reason = (error.message or type(error).__name__).partition("\n")[0]
        raise OSError(number, reason, str(path)) from error  # a FileNotFoundError, of the former number
