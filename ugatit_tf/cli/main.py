"""`ugatit COMMAND`: finds the command's module, and turns expected errors into one message."""

import contextlib
import difflib
import importlib
import os
import sys

from ugatit_tf import __version__, environment
from ugatit_tf.cli.flags import UsageError, fail
from ugatit_tf.cli.signals import as_ctrl_c

COMMANDS = {
    "train": "train a model on two folders of images, or translate a dataset's test images with it",
    "evaluate": "score translations: KID, FID and company, and the distance to the truth where it is known",
    "compare": "score several runs on the same images: a table, and their pictures side by side",
    "export": "write a trained model as SavedModel and TFLite files, each proven equal to it",
    "translate": "translate the faces in photos, with a run or an exported file",
    "prepare": "make a dataset from your own photos, cut as they will be when they are translated",
    "request": "have photos translated by an exported model on TensorFlow Serving",
}


# What people type who look for a command.
_MEANT = {
    "test": "train --phase test",
    "resume": "train",
    "infer": "translate",
    "inference": "translate",
    "predict": "translate",
    "generate": "translate",
    "convert": "export",
    "tflite": "export",
    "score": "evaluate",
    "metrics": "evaluate",
    "fid": "evaluate",
    "kid": "evaluate",
    "dataset": "prepare",
    "data": "prepare",
    "serve": "request",
}
_HELP = ("--help", "-h", "-help", "help")


def main(arguments=None):
    """Run a command line.

    Returns:
        The exit code: 0, 1 for an error, 2 for a wrong command line, 3 for photos without a usable face, 130 after
        Ctrl-C, 141 when whoever reads the output has left (`ugatit ... | head`). A training that was stopped and has
        saved ends with 0.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    with contextlib.suppress(AttributeError):  # a replaced stdout has its own ways
        sys.stdout.reconfigure(errors="backslashreplace")  # file names can hold what the terminal cannot show
    try:
        code = _run(list(arguments))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # As a program that SIGPIPE ends, without a word; the rest goes nowhere, or Python would complain at its end.
        for stream in (sys.stdout, sys.stderr):
            environment.discard(stream)
        return 141


def _run(arguments):
    if arguments and arguments[0] in _HELP and arguments[1:] and arguments[1] not in _HELP:
        arguments = [arguments[1], "--help"]  # `ugatit help train`
    if not arguments or arguments[0] in _HELP:
        print("U-GAT-IT on TensorFlow: unpaired image-to-image translation.\n\nUsage: ugatit COMMAND [flags]\n")
        for name, text in COMMANDS.items():
            print(f"  {name:9} {text}")
        print(
            "\n`ugatit COMMAND --help` explains a command's flags. In a checkout, `python train.py` is `ugatit train`."
        )
        return 0
    if arguments[0] in ("--version", "version"):
        print(f"ugatit-tf {__version__}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        fail(f"there is no command {name!r}{_suggestion(name)} There is: {', '.join(COMMANDS)}.")
        return 2
    try:
        with as_ctrl_c():
            return importlib.import_module(f"ugatit_tf.cli.{name}").main(rest)
    except UsageError as error:
        fail(error)
        return 2
    except BrokenPipeError:
        raise
    except (ValueError, OSError, ArithmeticError, ImportError) as error:
        if os.environ.get("UGATIT_TRACEBACK"):
            raise
        if isinstance(error, OSError) and error.filename is not None:
            error = f"{error.filename}: {error.strerror}."
        return fail(error)
    except KeyboardInterrupt:
        fail("stopped.")
        return 130


def _suggestion(name):
    if name.startswith("-"):
        return ": the command comes first, for example `ugatit train --dataset NAME`."
    plain = name.lower()
    close = difflib.get_close_matches(plain, [*COMMANDS, *_MEANT], n=1)
    if not close:
        return "."
    return f". Did you mean `ugatit {_MEANT.get(close[0], close[0])}`?"


if __name__ == "__main__":
    sys.exit(main())
