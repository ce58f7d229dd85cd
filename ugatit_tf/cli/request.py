"""`ugatit request`: have photos translated by an exported model that TensorFlow Serving holds."""

import io
import os

from PIL import Image

from ugatit_tf.cli import photos
from ugatit_tf.cli.flags import Command, UsageError, fail
from ugatit_tf.cli.start import quiet
from ugatit_tf.data.images import decode
from ugatit_tf.serving.client import GrpcClient, ServingError, connect, plain

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
        '(pip install ".[grpc]").',
    )
    command.string("model", "ugatit_a2b", "Name of the model on the server.")
    command.float("timeout", 30.0, "Seconds to wait for an answer.")
    command.integer("retries", 3, "How often to try again, after 0.5, 1, 2 ... seconds, while the server is not ready.")
    photos.add_result_flags(command)
    return command


def main(arguments):
    """Run the command; returns the exit code."""
    values = make_command().parse(arguments)
    if values is None:
        return 0
    out = photos.check_words(values, "request")
    client = _client(values)
    jobs, problems = photos.plan(values["words"], out, values["overwrite"])
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
            photos.write(_png(picture), result)
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


def _png(picture):
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    return content.getvalue()
