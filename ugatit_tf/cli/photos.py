"""What commands that turn photos into photos share: which there are, where each result goes, and safe writing."""

import glob
import os
import pathlib

from ugatit_tf.cli.flags import UsageError
from ugatit_tf.data.images import SUFFIXES, scan
from ugatit_tf.inference.translate import Names
from ugatit_tf.serving.client import plain
from ugatit_tf.weights.atomic import replacing


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
        raise UsageError("Where to? Give the folder of the results: --out DIR.")
    out = pathlib.Path(values["out"])
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {plain(out)} is a file, not a folder.")
    return out


def plan(words, out, overwrite, keep=()):
    """What is to be done, and what is plain before anything is. Prints what in the folders is not used.

    Args:
        words: photos, folders with photos, and patterns such as `holiday/*.jpg` that no shell has resolved.
        out: the folder of the results.
        overwrite: whether results that exist are replaced.
        keep: see `Names`.

    Returns:
        (photo, result) pairs, and the problems in words.
    """
    found, problems, taken = {}, [], set()
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
        names = Names(word if word.is_dir() else word.parent, taken, keep)
        for path in paths:
            if path.resolve() not in found:  # named twice, or also in a folder that is named
                found[path.resolve()] = path, out / names(path)
    jobs = []
    for path, result in found.values():
        if result.resolve() in found:
            problems.append(f"{plain(path)}: its result would replace a photo. Choose another --out")
        elif result.exists() and not overwrite:
            problems.append(f"{plain(path)}: left out, {plain(result)} exists. --overwrite replaces it")
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
    for pattern in (_literal(word), os.path.join(_literal(folder), name), word):
        matches = sorted(glob.glob(pattern, recursive=True))
        if matches:
            return [pathlib.Path(match) for match in matches]
    return [path]


def _literal(pattern):
    return pattern.replace("[", "[[]")


def _is_result(path, folder, out):
    """Whether an image in a folder to be translated is one of the results of an earlier time."""
    folder, out = folder.resolve(), out.resolve()
    return out != folder and out.is_relative_to(folder) and path.resolve().is_relative_to(out)


def write(content, path):
    """Write a file's bytes whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(content)
