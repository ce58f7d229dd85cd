"""What commands that turn photos into photos share: which there are, where each result goes, and which are done."""

import contextlib
import glob
import hashlib
import json
import os
import pathlib

from ugatit_tf.cli.flags import UsageError
from ugatit_tf.data.images import SUFFIXES, scan
from ugatit_tf.inference.translate import Names
from ugatit_tf.serving.client import plain
from ugatit_tf.weights.atomic import replacing

RECORD = ".ugatit_results.jsonl"  # hidden, so that no command takes it for anything


def add_result_flags(command):
    """Add the flags that say where the results go."""
    command.group("Results")
    command.path("out", None, "Folder for the translations; made where missing.")
    command.boolean("overwrite", False, "Replace results that exist.")


def check_words(values, command, what="PHOTO|FOLDER ..."):
    """The folder of the results.

    Raises:
        UsageError: no photos are named, or no folder for the results, or it is a file.
    """
    if not values["words"]:
        raise UsageError(f"No photos: ugatit {command} {what} --out DIR. See --help.")
    if not values["out"]:
        raise UsageError("Missing --out DIR, the output folder.")
    out = pathlib.Path(values["out"])
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {plain(out)} is a file, not a folder.")
    return out


def plan(words, out, keep=(), known=None):
    """Find the photos and name their results. Prints what in the folders is not used.

    Args:
        words: photos, folders with photos, and patterns such as `holiday/*.jpg` that no shell has resolved.
        out: the folder of the results.
        keep: see `Names`.
        known: a dict from photos' absolute paths to the names that their results have already, relative to `out`.

    Returns:
        (photo, result) pairs, and the problems in words.
    """
    found, problems, known = {}, [], known or {}
    for word in [path for text in words for path in _resolve(text)]:
        paths = [word]
        if word.is_dir():
            try:
                found_there = scan(word)
                paths = [path for path in found_there.images if not _is_result(path, word, out)]
                for note in found_there.notes():
                    print(plain(note), flush=True)
            except OSError as error:
                problems.append(f"{plain(word)}: cannot be listed ({error.strerror})")
                continue
            if not paths:
                problems.append(f"{plain(word)}: no file in it ends in {', '.join(SUFFIXES)}")
        for path in paths:  # one may be named twice, or also be in a folder that is named
            found.setdefault(path.resolve(), (path, word if word.is_dir() else word.parent))
    taken = {known[photo].casefold() for path, _ in found.values() if (photo := os.path.abspath(path)) in known}
    jobs = []
    for path, root in found.values():
        result = out / (known.get(os.path.abspath(path)) or Names(root, taken, keep)(path))
        if result.resolve() in found:
            problems.append(f"{plain(path)}: its result would replace a photo. Choose another --out")
        else:
            jobs.append((path, result))
    return jobs, problems


def _resolve(word):
    """The paths that a word stands for: itself, or what fits it as a pattern.

    Brackets are taken for themselves first, as in a folder's name "photos [2024]", then for sets of characters in a
    file's name alone, then in folders' names, too.
    """
    path = pathlib.Path(word)
    if path.exists() or not glob.has_magic(word):
        return [path]
    folder, name = os.path.split(word)
    for pattern in (_plain_brackets(word), os.path.join(_plain_brackets(folder), name), word):
        matches = sorted(glob.glob(pattern, recursive=True))
        if matches:
            return [pathlib.Path(match) for match in matches]
    return [path]


def _plain_brackets(pattern):
    """The pattern with brackets that mean themselves; `*` and `?` stay wildcards."""
    return pattern.replace("[", "[[]")


def _is_result(path, folder, out):
    """Whether an image in a folder to be translated is one of the results of an earlier time."""
    folder, out = folder.resolve(), out.resolve()
    return out != folder and out.is_relative_to(folder) and path.resolve().is_relative_to(out)


class Results:
    """The results in a folder, and what each was made from: a hidden file in it has a line of JSON per result.

    A result is done if it exists, and was made from the same photo (by path, size and time) with the same settings.

    Args:
        out: the folder.
        settings: what decides a result beside the photo, anything that `json.dumps` takes.
    """

    def __init__(self, out, settings):
        self.out = out
        self._settings = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
        self._path = out / RECORD
        self._made = {}
        with contextlib.suppress(FileNotFoundError):
            for line in self._path.read_text(encoding="ascii", errors="replace").splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError):  # a line that a power cut has torn
                    entry = json.loads(line)
                    self._made[entry["result"]] = {
                        name: entry[name] for name in ("result", "photo", "mark", "settings")
                    }

    def names(self):
        """The name of each known photo's result, relative to the folder, by the photo's absolute path."""
        return {entry["photo"]: name for name, entry in self._made.items()}

    def check(self, photo, result):
        """What is known of a result: None if it is missing, "" if it is done, else why it is not."""
        if not os.path.lexists(result):
            return None
        made, now = self._made.get(self._name(result)), self.describe(photo, result)
        if made is None:
            return "exists"
        if made["photo"] != now["photo"]:
            return f"exists, made from {plain(made['photo'])}"
        if made["mark"] != now["mark"]:
            return "exists, made before the photo changed"
        return "" if made == now else "exists, made with another model or other flags"

    def describe(self, photo, result):
        """What `write` takes of a result that is about to be made."""
        try:
            status = os.stat(photo)
            mark = [status.st_size, status.st_mtime_ns]
        except OSError:  # which reading the photo tells
            mark = None
        photo = os.path.abspath(photo)
        return {"result": self._name(result), "photo": photo, "mark": mark, "settings": self._settings}

    def write(self, content, result, entry):
        """Write a result's bytes whole or not at all, and then into the record what `describe` gave before."""
        result.parent.mkdir(parents=True, exist_ok=True)
        if entry["result"] in self._made:  # stopped between the two, nothing is taken for what was there before
            self._record(entry | {"settings": None})
        with replacing(result) as file:
            file.write(content)
        self._record(entry)

    def _record(self, entry):
        with open(self._path, "a", encoding="ascii") as file:
            file.write(f"\n{json.dumps(entry)}")  # the end of the line first: the one before may be torn
        self._made[entry["result"]] = entry

    def _name(self, result):
        return result.relative_to(self.out).as_posix()
