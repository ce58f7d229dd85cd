"""`ugatit export`: a trained run or an official checkpoint as files for other programs, each proven equal to it."""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.util
import json
import math
import os
import pathlib
import re
import shutil
import time

from ugatit_tf import __version__, environment
from ugatit_tf.cli.evaluate import directions_of
from ugatit_tf.cli.flags import Command, UsageError
from ugatit_tf.cli.provenance import provenance
from ugatit_tf.cli.start import (
    SOURCES,
    add_fit_flag,
    add_official_flags,
    find_data,
    find_dataset,
    find_gpus,
    make_folder,
    official_overrides,
    one_source,
    quiet,
)
from ugatit_tf.config import DataConfig
from ugatit_tf.weights.atomic import OLD_DRAFTS, draft_name, remove_abandoned, replacing

FORMATS = {
    "saved_model": "for TF Serving",
    "dynamic_range": "TFLite, int8 weights: the smallest and fastest on a CPU",
    "float16": "TFLite, half the size of float32: for GPUs and browsers",
    "float32": "TFLite, exact",
    "static_int8": "TFLite, int8 convolutions with ranges measured on training images",
    "weights": "NAME_a2b.weights.h5, the generator's weights in Keras's format",
    "pt": "NAME.pt, all six networks for the official PyTorch code (flavor pytorch only)",
}
DIRECTIONS = {"a2b": "A", "b2a": "B"}  # with the domain of the images that are translated

SUMMARY = """\
Usage: ugatit export RUN|CHECKPOINT [flags]

Writes the generators as SavedModels, which TF Serving loads, and as TFLite files, which run on phones, in browsers and
anywhere else. Each takes a picture and gives a picture; resizing aside, there is nothing to do before or after.
Every file is then run on the dataset's test images and compared with the trained generator; only files that pass are
published, each at once, and the table of what was measured is printed and written beside them. Without test images
training images do, and without any the program draws some. Files that are there already, of the same weights and flags,
are not made again.

  ugatit export runs/UGATIT_light_selfie2anime
  ugatit export UGATIT.model-1000000 --dataset selfie2anime --formats saved_model,float16

In --out_dir: NAME_a2b/1, /2, ... (SavedModels, a new version each time), NAME_a2b_FORMAT.tflite, serving/ (settings for
TF Serving), export.md and export.json (the proof). Needs: pip install ".[export]\""""
_DRAWN = 8  # images, where there is no dataset
PACKAGES = ("ai_edge_litert", "litert_quantizer", "tensorflow_serving")  # what the extra installs


def make_command():
    """The command with all its flags."""
    command = Command("export", SUMMARY, words=True)

    command.group("What to export")
    command.path("checkpoint", None, f"The same as the word: {SOURCES}.", also=("run_dir", "model"))
    formats = "; ".join(f"{name} ({text})" for name, text in FORMATS.items())
    command.string("formats", "saved_model,dynamic_range", f"Separated by commas: {formats}.")
    command.choice("direction", "both", (*DIRECTIONS, "both"), "Which generators.")
    command.boolean("again", False, "Make files again that are there already.")
    command.boolean("ema", True, "The averaged weights, of a run that kept an average (--ema of the training).")
    add_official_flags(command)

    command.group("Sizes")
    command.string("size", None, "TFLite: the images' size, 256 or, as height x width, 256x384 (default: as trained).")
    command.boolean("dynamic", False, "TFLite: images of any size, any number at once; slower than a fixed size.")
    command.integer("max_pixels", 32_000_000, "SavedModel: largest image that the signature `encoded` decodes.")

    command.group("Proof")
    command.path("dataset", None, "Dataset on whose images the files are tried (default: the run's).")
    command.path("data_dir", None, "Where the datasets are (default: the run's, or dataset).")
    add_fit_flag(command)
    command.integer("proof_images", 50, "Images used, at most; and training images, by static_int8.")

    command.group("Names and folders")
    command.string("name", "ugatit", "First part of the files' and models' names.")
    command.string("label", None, "What the files call the model (default: its kind, the dataset and the direction).")
    command.string("licence", "not stated", "Licence of the model, for the files' metadata.")
    command.path("out_dir", None, "Folder for everything (default: export in the run folder).")
    return command


def main(arguments):
    """Run the command; returns the exit code."""
    command = make_command()
    values = command.parse(arguments)
    if values is None:
        return 0
    formats = _check(values)
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"exporting needs {', '.join(missing)}: {environment.install_hint('export')}.")
    checkpoint = one_source(command, values)
    out_dir = _out_dir(values, checkpoint)

    find_gpus()
    import tensorflow as tf

    from ugatit_tf.ugatit import UGATIT

    model = UGATIT.load(checkpoint, ema=values["ema"], **official_overrides(command, values, checkpoint))
    if "pt" in formats:
        _check_pt(model, checkpoint)
    directions = list(DIRECTIONS) if values["direction"] == "both" else [values["direction"]]
    if not command.given("direction"):
        directions = directions_of(model, directions)
    generators = {direction: getattr(model, f"gen_{direction}") for direction in directions}
    size = _size(values["size"], next(iter(generators.values())))
    data, pictures = _find_pictures(values, checkpoint, directions, "static_int8" in formats)
    label = values["label"] or ", ".join([model.config.title, data.dataset if data else checkpoint.name])

    make_folder(out_dir, "--out_dir")
    for folder in (out_dir, *out_dir.glob("*_[ab]2[ab]/")):
        remove_abandoned(folder, "export.*", OLD_DRAFTS)
    staged = out_dir / draft_name("export")
    make_folder(staged, "--out_dir")
    try:
        exporter = _Exporter(values, provenance("export", arguments), model, out_dir, staged, size)
        jobs = [(direction, kind) for direction in directions for kind in formats if kind != "pt"]
        jobs += [(None, "pt")] * ("pt" in formats)
        for number, (direction, kind) in enumerate(jobs, 1):
            exporter.make(f"[{number}/{len(jobs)}]", direction, kind, label, pictures)
        return exporter.finish()
    except tf.errors.OpError as error:
        raise OSError(f"{out_dir} cannot be written: {error.message}") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _check_pt(model, checkpoint):
    if model.missing:
        raise UsageError(f"--formats pt is for all six networks; {checkpoint} lacks {', '.join(model.missing)}.")
    if not (model.config.flavor == "pytorch" and model.config.official):
        kind = f"{model.config.flavor} flavor" if model.config.official else "kind that the official code lacks"
        raise UsageError(f"--formats pt is for U-GAT-IT of the pytorch flavor; {checkpoint} is of the {kind}.")


def _check(values):
    """Refuse what does not go together; returns the formats."""
    formats = [name.strip() for name in values["formats"].split(",") if name.strip()]
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise UsageError(f"--formats takes {', '.join(FORMATS)}; received {', '.join(unknown) or 'none'}.")
    if values["dynamic"] and "static_int8" in formats:
        raise UsageError("static_int8 measures ranges at one size: it does not go together with --dynamic.")
    for name in ("proof_images", "max_pixels"):
        if values[name] < 1:
            raise UsageError(f"--{name} must be at least 1; received {values[name]}.")
    if not re.fullmatch(r"[\w.-]+", values["name"]):
        raise UsageError(f"--name may have letters, digits, _, - and . only; received {values['name']!r}.")
    return formats


def _out_dir(values, checkpoint):
    if values["out_dir"]:
        return pathlib.Path(values["out_dir"])
    return checkpoint / "export" if checkpoint.is_dir() else pathlib.Path("export")


def _size(text, generator):
    """(height, width) of the TFLite files and of the proof."""
    if text is None:
        return generator.img_size, generator.img_size
    if not re.fullmatch(r"\d+(x\d+)?", text):
        raise UsageError(f"--size takes 256 or 256x384; received {text!r}.")
    sides = [int(side) for side in text.split("x")]
    size = (sides[0], sides[-1])
    fixed = generator.fixed_size
    if fixed is not None and size != (fixed, fixed):
        raise UsageError(f"--size {text}: a full generator works at its own size only, {fixed}.")
    if any(side % 4 or side < 8 for side in size):
        raise UsageError(f"--size {text}: height and width must be multiples of 4, and at least 8.")
    return size


@dataclasses.dataclass(frozen=True)
class _Pictures:
    """Images that files are tried on, or that ranges are measured on.

    Args:
        words: what they are, for people.
        paths: of their files; of drawn ones functions that draw them, uint8 [128, 128, 3].
        fit: what becomes of those that are not square (`ugatit_tf.config.FITS`).
    """

    words: str
    paths: tuple
    fit: str

    @property
    def drawn(self):
        """Whether the program draws them."""
        return any(map(callable, self.paths))

    def names(self):
        """What tells them from others."""
        return [self.words, self.fit, *(os.path.basename(str(path)) for path in self.paths if not callable(path))]

    def read(self, size):
        """uint8 [N, H, W, 3]."""
        return _images(self.paths, size, self.fit)


def _find_pictures(values, checkpoint, directions, ranges):
    """The images for the proof and, with `ranges`, for static_int8: the dataset's test or training images, or drawn.

    Returns:
        The `DataConfig` or None, and a dict of `_Pictures` by (use, direction), the use being "proof" or "ranges".

    Raises:
        ValueError, OSError: the dataset that the flags name has no such images.
    """
    data = dataset = None
    asked = bool(values["dataset"] or values["data_dir"])
    try:
        data = find_data(values, checkpoint, "the files are tried on its images")
        dataset = _load(data, directions, ranges)
    except (ValueError, OSError, ImportError) as error:
        if asked:
            raise
        reason = str(error).partition("\n")[0].rstrip(":.")
        if isinstance(error, UsageError):  # which asks for --dataset
            reason = f"{checkpoint} does not tell its dataset"
        print(f"{reason}. The files are tried on drawn images instead (--dataset names others).")
    orders = {"proof": ("test", "train"), **({"ranges": ("train", "test")} if ranges else {})}
    pictures = {}
    fit = (data or DataConfig()).fit
    for use, parts in orders.items():
        for direction in directions:
            pictures[use, direction] = _choose(dataset, parts, direction, values["proof_images"], fit)
    for (use, direction), found in pictures.items():
        purpose = "tried on" if use == "proof" else "static_int8 measures its ranges on"
        print(f"{direction}: {purpose} {found.words}.")
        if use == "ranges" and found.drawn:
            print("Warning: such ranges fit drawn images and not the model's own: name a dataset with --dataset.")
    return data, pictures


def _load(data, directions, ranges):
    """The dataset with as many of its parts as are there."""
    first = None
    parts = (["test", "train"], ["train"], ["test"]) if ranges else (["test"], ["train"])
    for need in parts:
        try:
            return find_dataset(data, need=[part + DIRECTIONS[direction] for part in need for direction in directions])
        except FileNotFoundError as error:
            first = first or error
    raise first


def _choose(dataset, parts, direction, most, fit):
    """The first of the dataset's parts that has images."""
    letter = DIRECTIONS[direction]
    for part in parts if dataset else ():
        paths = getattr(dataset, f"{part}_{letter.lower()}")[:most]
        if paths:
            return _Pictures(f"{len(paths)} of {part}{letter}", tuple(paths), fit)
    count = min(_DRAWN, most)
    draws = tuple(functools.partial(_draw, letter, number) for number in range(count))
    return _Pictures(f"{count} drawn", draws, fit)


def _draw(letter, number):
    """A picture of the demo set's kind, of a domain."""
    import numpy as np

    from ugatit_tf.data import demo

    draw = demo.draw_photo if letter == "A" else demo.draw_anime
    return np.asarray(draw(demo.Portrait.random(np.random.default_rng(number))))


def _images(paths, size, fit):
    """The images at the size of the files, uint8 [N, H, W, 3]."""
    import numpy as np

    from ugatit_tf.data import images, pipeline

    pixels = (path() if callable(path) else images.decode(path) for path in paths)
    fitted = (images.to_aspect(image, fit, size) for image in pixels)
    return np.stack([np.rint(pipeline.resize(image, size)).astype(np.uint8) for image in fitted])


class _Exporter:
    """Makes files one by one: written beside their place, proven, published, and noted in export.json.

    Args:
        values: of the flags.
        head: what export.json says first.
        model: `ugatit_tf.UGATIT`.
        out_dir: where the files are to be.
        staged: a folder there for what is not proven yet.
        size: (height, width) of the TFLite files and of the proof.
    """

    def __init__(self, values, head, model, out_dir, staged, size):
        self.values, self.model, self.out_dir, self.staged, self.size = values, model, out_dir, staged, size
        self.head = {**head, "checkpoint": str(model.source), "step": model.step}
        self.rows = {row["file"]: row for row in _read_rows(out_dir / "export.json")}
        self.shown, self.faults, self._digests = [], [], {}

    def make(self, count, direction, kind, label, pictures):
        """One file of a generator (or, without a direction, of the whole model), if it is not there already."""
        name = f"{self.values['name']}_{direction}" if direction else self.values["name"]
        suffix = {"saved_model": "", "weights": ".weights.h5", "pt": ".pt"}.get(kind, f"_{kind}.tflite")
        path = self.staged / f"{name}{suffix}"
        description = {
            "label": f"{label}, {direction.upper().replace('2', ' to ')}"
            if direction and not self.values["label"]
            else label,
            "licence": self.values["licence"],
            "version": __version__,
            "direction": direction,
            "model": dataclasses.asdict(self.model.config),
            "weights_sha256": self._digest(direction),
        }
        proof_on, ranges_on = pictures.get(("proof", direction)), pictures.get(("ranges", direction))
        made_by = json.loads(json.dumps(self._made_by(kind, description, ranges_on)))  # as it will be read
        print(f"{count} {path.name} ... ", end="", flush=True)
        row = self.rows.get(path.name)
        proven = row and (not row["images"].endswith("drawn") or proof_on.drawn)  # on real images, if there are any
        if proven and row["made_by"] == made_by and not self.values["again"] and self._is_there(row):
            print("there already, unchanged (--again makes it anew).", flush=True)
            self.shown.append(path.name)
            return
        start = time.perf_counter()
        with quiet():
            proof = self._write(path, name, kind, direction, description, proof_on, ranges_on)
        self.faults += proof.faults()
        if proof.faults():
            print(f"{time.perf_counter() - start:.0f} s, not published: beyond its bound.", flush=True)
            return
        row = {**dataclasses.asdict(proof), "version": None, "seconds": round(time.perf_counter() - start, 1)}
        row["psnr"] = row["psnr"] if math.isfinite(row["psnr"]) else None  # equal; JSON has no infinity
        row |= {"date": self.head["date"], "checkpoint": self.head["checkpoint"], "step": self.head["step"]}
        row |= {"ranges": ranges_on.words if kind == "static_int8" else "", "sha256": _file_digest(path)}
        self._publish(path, kind, row, made_by)
        print(f"{row['megabytes']:.1f} MB, {row['seconds']:.0f} s", flush=True)

    def _made_by(self, kind, description, ranges_on):
        """All that decides a file's content."""
        return {
            **description,
            "kind": kind,
            "size": None if self.values["dynamic"] else self.size,
            "max_pixels": self.values["max_pixels"],
            "ranges": ranges_on.names() if kind == "static_int8" else None,
        }

    def _write(self, path, name, kind, direction, description, proof_on, ranges_on):
        """Write a file into the staging folder and run it; returns its proof."""
        from ugatit_tf.export import saved_model, tflite, verify

        if kind == "pt":
            return _export_pt(self.model, path)
        generator = getattr(self.model, f"gen_{direction}")
        if kind == "weights":
            generator.save_weights(path)
            again = generator.copy()
            again.load_weights(path)
            return verify.measure_weights(path, kind, _arrays(again), _arrays(generator))
        images = proof_on.read(self.size)
        if kind == "saved_model":
            saved_model.write(path, generator, name, description, self.values["max_pixels"])
            proof = verify.measure_saved_model(path, name, generator, images)
        else:
            ranges = ranges_on.read(self.size) if kind == "static_int8" else None
            fixed = None if self.values["dynamic"] else self.size
            path.write_bytes(tflite.convert(generator, kind, fixed, description, ranges))
            proof = verify.measure_tflite(path, kind, generator, images)
        return dataclasses.replace(proof, images=proof_on.words)

    def _publish(self, path, kind, row, made_by):
        from ugatit_tf.export import saved_model

        if kind == "saved_model":
            row["version"] = int(saved_model.publish(path, self.out_dir / path.name).name)
        else:
            os.replace(path, self.out_dir / path.name)
        self.rows[path.name] = {**row, "made_by": made_by}
        self.shown.append(path.name)
        self._note()

    def _note(self):
        """Write what is beside the files: the proofs, and the settings for TF Serving."""
        from ugatit_tf.export import serving

        rows = [row for row in self.rows.values() if self._place(row).exists()]
        beside = {"export.json": json.dumps({**self.head, "files": rows}, indent=2) + "\n"}
        beside["export.md"] = _table(rows) + "\n"
        models = sorted(path.name for path in self.out_dir.glob(f"{self.values['name']}_*2?") if path.is_dir())
        beside |= {f"serving/{file}": text for file, text in serving.kit(models).items()} if models else {}
        for file, text in beside.items():
            (self.out_dir / file).parent.mkdir(exist_ok=True)
            with replacing(self.out_dir / file) as content:
                content.write(text.encode())

    def finish(self):
        """Say what was done; returns the exit code."""
        print(_table([self.rows[name] for name in self.shown]))
        for name in self.shown:
            if self.rows[name]["version"]:
                print(f"Published {self._place(self.rows[name])}")
        if self.faults:
            raise ArithmeticError("Not published, for these are beyond their bounds:\n  " + "\n  ".join(self.faults))
        print(f"Written to {self.out_dir}.")
        return 0

    def _digest(self, direction):
        """Of a generator's weights, or of all networks'."""
        if direction not in self._digests:
            networks = self.model.networks if direction is None else {"": getattr(self.model, f"gen_{direction}")}
            digests = [network.weights_sha256() for network in networks.values()]
            joined = hashlib.sha256("".join(digests).encode()).hexdigest()
            self._digests[direction] = digests[0] if direction else joined
        return self._digests[direction]

    def _place(self, row):
        return self.out_dir / row["file"] / str(row["version"]) if row["version"] else self.out_dir / row["file"]

    def _is_there(self, row):
        """Whether a file is as it was published, and of a SavedModel the newest version."""
        place = self._place(row)
        if row["version"] and any(p.name.isdigit() and int(p.name) > row["version"] for p in place.parent.glob("*")):
            return False
        return place.exists() and _file_digest(place) == row["sha256"]


def _read_rows(path):
    """The rows of an earlier export.json; none where it cannot be used."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        rows = json.loads(path.read_text())["files"]
        return [row for row in rows if {"file", "version", "sha256", "made_by", "images"} <= row.keys()]
    return []


def _table(rows):
    """Rows of export.json as a Markdown table."""
    from ugatit_tf.export import verify

    names = [field.name for field in dataclasses.fields(verify.Proof)]
    proofs = [verify.Proof(**{name: row[name] for name in names}) for row in rows]
    for index, proof in enumerate(proofs):
        times = {int(threads): value for threads, value in proof.milliseconds.items()}  # JSON's keys are texts
        psnr = math.inf if proof.psnr is None else proof.psnr
        proofs[index] = dataclasses.replace(proof, milliseconds=times, psnr=psnr)
    return verify.table(proofs)


def _file_digest(path):
    """SHA-256 of a file, or of a folder's files with their names."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
            with open(file, "rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


def _export_pt(model, path):
    from ugatit_tf.export import verify
    from ugatit_tf.ugatit import UGATIT

    model.save_pt(path)
    again = UGATIT.load(path, **({"img_size": model.config.img_size} if model.config.light else {}))
    return verify.measure_weights(path, "pt", again.arrays(), model.arrays())


def _arrays(generator):
    return {str(i): variable.numpy() for i, variable in enumerate(generator.variables)}
