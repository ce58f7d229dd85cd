"""`ugatit request`: have photos translated by an exported model that TensorFlow Serving holds."""

import os
import pathlib

from PIL import Image

from ugatit_tf.cli.flags import Command, UsageError, fail
from ugatit_tf.cli.start import quiet
from ugatit_tf.data.images import SUFFIXES, decode, find_images
from ugatit_tf.inference.translate import Names
from ugatit_tf.serving.client import GrpcClient, ServingError, connect, plain
from ugatit_tf.weights.atomic import replacing

AUTHORIZATION = "UGATIT_AUTHORIZATION"

SUMMARY = f"""\
Usage: ugatit request PHOTO|FOLDER ... --out DIR [flags]

Sends photos to a TensorFlow Serving server that holds an exported model, and writes the translations into DIR as PNG,
with the photos' names. Of a folder all images are sent, nested folders included, and keep their places. A photo that
fails does not stop the others: it is named at the end, and the exit code is 1.

For a proxy that asks who you are, {AUTHORIZATION} in the environment is sent as the header Authorization, for
example {AUTHORIZATION}="Bearer TOKEN". (As a flag, others on this computer could read it.)"""


def make_command():
    """The command with all its flags."""
    command = Command("request", SUMMARY, words=True)
    command.group("Server")
    command.string(
        "server",
        "http://localhost:8501",
        "Its address: http://HOST:PORT or https://HOST:PORT for REST, grpc://HOST:PORT or grpcs://HOST:PORT for gRPC "
        "(pip install 'ugatit-tf[grpc]').",
    )
    command.string("model", "ugatit_a2b", "Name of the model on the server.")
    command.float("timeout", 30.0, "Seconds to wait for an answer.")
    command.integer("retries", 3, "How often to try again, after 0.5, 1, 2 ... seconds, while the server is not ready.")
    command.group("Results")
    command.string("out", None, "Folder for the translations; made where missing.")
    command.boolean("overwrite", False, "Replace results that exist.")
    return command


def main(arguments):
    """Run the command; returns the exit code."""
    values = make_command().parse(arguments)
    if values is None:
        return 0
    if not values["words"]:
        raise UsageError("No photos: ugatit request PHOTO|FOLDER ... --out DIR. See --help.")
    if not values["out"]:
        raise UsageError("Where to? Give the folder of the results: --out DIR.")
    out = pathlib.Path(values["out"])
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {plain(out)} is a file, not a folder.")
    client = _client(values)
    jobs, problems = _plan(values["words"], out, values["overwrite"])
    written = _run(client, jobs, problems)
    print(f"{written} translated, into {plain(out)}.")
    for problem in problems:
        fail(problem)
    return 1 if problems else 0


def _client(values):
    secret = os.environ.get(AUTHORIZATION, "").strip()
    headers = {"Authorization": secret} if secret else None
    options = {"timeout": values["timeout"], "retries": values["retries"], "headers": headers}
    try:
        if values["server"].startswith(GrpcClient.schemes):
            with quiet():  # its packages import TensorFlow
                return connect(values["server"], values["model"], **options)
        return connect(values["server"], values["model"], **options)
    except ValueError as error:
        raise UsageError(error) from error


def _plan(words, out, overwrite):
    """What is to be done: (photo, result) pairs, and the problems that are plain before anything is sent."""
    found, problems, names, taken = {}, [], None, set()
    for word in map(pathlib.Path, words):
        paths = [word]
        if word.is_dir():
            try:
                paths = [path for path in find_images(word) if not _is_result(path, word, out)]
            except OSError as error:
                problems.append(f"{plain(word)}: cannot be listed ({error.strerror})")
                continue
            if not paths:
                problems.append(f"{plain(word)}: no file in it ends in {', '.join(SUFFIXES)}")
        names = Names(word if word.is_dir() else word.parent, taken)
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


def _is_result(path, folder, out):
    """Whether an image in a folder to be translated is one of the results of an earlier time."""
    folder, out = folder.resolve(), out.resolve()
    return out != folder and out.is_relative_to(folder) and path.resolve().is_relative_to(out)


def _run(client, jobs, problems):
    """Translate; returns how many were, and adds to the problems what went wrong.

    One photo a request: what one of them does to the server is not the others' fault.
    """
    written = 0
    for number, (path, result) in enumerate(jobs, 1):
        try:
            pixels = decode(path)
        except ValueError as error:  # begins with the path
            problems.append(plain(error))
            continue
        try:
            (picture,) = client.translate([pixels])
            _write(picture, result)
        except OSError as error:
            problems.append(f"{plain(path)}: {plain(error)}")
            if isinstance(error, ServingError) and error.hopeless:
                if number < len(jobs):
                    problems.append(f"{len(jobs) - number} more not sent: it would be the same with them.")
                break
        else:
            written += 1
            print(f"{number}/{len(jobs)} {plain(path)} -> {plain(result)}", flush=True)
    return written


def _write(picture, path):
    """Write it whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        Image.fromarray(picture).save(file, "PNG")
