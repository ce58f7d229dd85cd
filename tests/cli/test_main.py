"""`ugatit` itself: commands that were meant, help in every spelling, and output that nobody reads."""

import os
import pathlib
import subprocess
import sys

import pytest

from ugatit_tf.cli.main import COMMANDS, main

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("trian", "train"),
        ("TRAIN", "train"),
        ("eval", "evaluate"),
        ("exprot", "export"),
        ("transalte", "translate"),
        ("test", "train --phase test"),
        ("infer", "translate"),
        ("predict", "translate"),
        ("convert", "export"),
        ("score", "evaluate"),
    ],
)
def test_the_command_that_was_meant(typed, meant, capsys):
    for words in ([typed], ["help", typed]):
        assert main(words) == 2
        assert f"there is no command {typed!r}. Did you mean `ugatit {meant}`?" in capsys.readouterr().err


def test_a_word_that_is_near_no_command(capsys):
    assert main(["xyz"]) == 2
    assert "'xyz'. There is: train, evaluate" in capsys.readouterr().err
    assert main(["--dataset", "x"]) == 2
    assert "the command comes first" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_in_every_spelling(name, capsys):
    texts = set()
    for words in (["help", name], ["--help", name], ["-h", name], [name, "--help"], [name, "-h"]):
        assert main(words) == 0
        texts.add(capsys.readouterr().out)
    [text] = texts
    assert text.startswith(f"Usage: ugatit {name} ")
    assert max(len(line) for line in text.splitlines()) <= 120


@pytest.mark.parametrize("words", [[], ["help"], ["-h"], ["--help"], ["help", "--help"]])
def test_help_names_every_command(words, capsys):
    assert main(words) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in COMMANDS)


@pytest.mark.parametrize("module", ["ugatit_tf", "ugatit_tf.cli.main"])
@pytest.mark.parametrize("words", [["train", "--help"], ["fly"]])
def test_output_that_nobody_reads_ends_quietly(module, words):
    """As of a program that SIGPIPE ends: no word on either stream, and the exit code that shells give for it."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as pipe:
        stderr = pipe if words == ["fly"] else subprocess.PIPE
        result = subprocess.run(
            [sys.executable, "-m", module, *words], cwd=ROOT, stdout=pipe, stderr=stderr, check=False
        )
    assert (result.returncode, result.stderr or b"") == (141, b"")
