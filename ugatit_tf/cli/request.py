"""`ugatit request`: have photos translated by an exported model that TensorFlow Serving holds."""

import io
import os

from PIL import Image

from ugatit_tf.cli import photos
from ugatit_tf.cli.flags import Command, UsageError, fail
from ugatit_tf.cli.progress import waiting
from ugatit_tf.cli.start import quiet
from ugatit_tf.data.images import decode
from ugatit_tf.serving.client import MODEL, GrpcClient, ServingError, connect, plain

AUTHORIZATION = "UGATIT_AUTHORIZATION"

SUMMARY = f"""\
Usage: ugatit request PHOTO|FOLDER|PATTERN ... --out DIR [flags]

Sends photos to a TensorFlow Serving server that holds an exported model, and writes its answers into DIR as PNG, with
the photos' names. The server resizes each photo as a whole to the square of the model's size, and the answer is of that
size; no face is looked for. To have faces translated in their photos, at the photos' size:

  ugatit translate holiday/ --server http://localhost:8501 --model ugatit_a2b --out translated

Of a folder all images are sent, nested folders included, and keep their places. Run again, it skips the photos that are
done. A result that was made from another photo, or by another model, is an error without --overwrite. A photo that
fails does not stop the others: it is named at the end, and the exit code is 1.

For a proxy that asks who you are, {AUTHORIZATION} in the environment is sent as the header Authorization, for
example {AUTHORIZATION}="Bearer TOKEN". (As a flag, others on this computer could read it.)"""


def make_command():
    """The command with all its flags."""
    command = Command("request", SUMMARY, words=True)
    add_server_flags(command, "http://localhost:8501")
    command.string(
        "model", None, f"Name of the model on the server (default: the one in the server's URL, else {MODEL})."
    )
    photos.add_result_flags(command)
    return command


def add_server_flags(command, server):
    """Add the flags that say which TensorFlow Serving is asked, and how patiently; `server` is the default."""
    command.group("Server")
    command.string(
        "server",
        server,
        "Address of TensorFlow Serving: http://HOST:PORT or https://HOST:PORT for REST, grpc://HOST:PORT or "
        'grpcs://HOST:PORT for gRPC (pip install ".[grpc]"). The URL of a call, '
        "http://HOST:PORT/v1/models/NAME:predict, also names the model.",
    )
    command.float("timeout", 30.0, "Seconds to wait for an answer.")
    command.integer("retries", 3, "How often to try again, after 0.5, 1, 2 ... seconds, while the server is not ready.")


def main(arguments):
    """Run the command; returns the exit code."""
    values = make_command().parse(arguments)
    if values is None:
        return 0
    out = photos.check_words(values, "request")
    client = connect_to(values)
    results = photos.Results(out, ["request", describe_server(client)])
    jobs, problems = plan_new(values, results)
    if jobs:
        print(
            f"Each photo as a whole, resized by the server to the size of {plain(client.model)}; no face is looked for "
            "(ugatit translate --server does).",
            flush=True,
        )
        written = _run(client, jobs, problems, results)
        print(f"{written} of {len(jobs)} translated, into {plain(out)}.")
    for problem in problems:
        fail(problem)
    return 1 if problems else 0


def plan_new(values, results, keep=()):
    """The photos that are not done yet, or with --overwrite all, and the problems; see `photos.plan`."""
    jobs, problems = photos.plan(values["words"], results.out, keep, results.names())
    if values["overwrite"]:
        return jobs, problems
    states = [results.check(*job) for job in jobs]
    for (path, result), state in zip(jobs, states, strict=True):
        if state:
            problems.append(f"{plain(path)}: skipped, {plain(result)} {state}. --overwrite replaces it")
    if done := states.count(""):
        print(f"{done} of {len(jobs)} done already, in {plain(results.out)}; --overwrite does them again.")
    return [job for job, state in zip(jobs, states, strict=True) if state is None], problems


def describe_server(client):
    """What tells a server's model from others."""
    return [client.url, client.model, client.version]


def connect_to(values):
    """The client that the flags of `add_server_flags` and --model describe."""
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


def _run(client, jobs, problems, results):
    """Translate; returns how many were, and adds to the problems what went wrong. Each photo has its line.

    One photo a request: what one of them does to the server is not the others' fault.
    """
    written = 0
    for number, (path, result) in enumerate(jobs, 1):
        note = f"{number}/{len(jobs)} {plain(path)}"
        entry = results.describe(path, result)
        try:
            pixels = decode(path)
        except ValueError as error:  # begins with the path
            problems.append(plain(error))
            print(f"{note}: error", flush=True)
            continue
        try:
            with waiting(note, announce=False):
                (picture,) = client.translate([pixels])
            results.write(_png(picture), result, entry)
        except OSError as error:
            problems.append(f"{plain(path)}: {plain(error)}")
            print(f"{note}: error", flush=True)
            if isinstance(error, ServingError) and error.hopeless:
                if number < len(jobs):
                    problems.append(f"{len(jobs) - number} more not sent: it would be the same with them.")
                break
        else:
            written += 1
            print(f"{note} -> {plain(result)}", flush=True)
    return written


def _png(picture):
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    return content.getvalue()
