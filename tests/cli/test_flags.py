"""Flags of every command: paths with `~`, unknown ones all at once, and what was meant by them."""

import os

import pytest

from ugatit_tf.cli import compare, evaluate, export, prepare, request, train, translate
from ugatit_tf.cli.flags import Command, UsageError, expand

COMMANDS = {
    module.__name__.rpartition(".")[2]: module
    for module in (compare, evaluate, export, prepare, request, train, translate)
}
# Text flags that are no paths: a name for people or for a server, or a list of words.
NO_PATHS = {"formats", "size", "name", "label", "licence", "server"}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", COMMANDS)
def test_every_path_flag_knows_the_home_folder(name, home):
    """A new text flag is a path, or stands above."""
    command = COMMANDS[name].make_command()
    no_paths = NO_PATHS | ({"model"} if name == "request" else set())  # there a name on the server
    texts = [flag for flag in command.values if command.values[flag].flag_type() == "string" and flag not in no_paths]
    assert texts
    for flag in texts:
        values = COMMANDS[name].make_command().parse([f"--{flag}=~/x"])
        assert values[flag] == f"{home}/x", flag


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "train"])
def test_words_know_it_too(name, home):
    assert COMMANDS[name].make_command().parse(["~/x", "y"])["words"] == [f"{home}/x", "y"]
    words = train.make_command().parse(["--phase", "test", "~/x"])["words"]
    assert words == [f"{home}/x"]


def test_a_list_of_paths(home):
    values = evaluate.make_command().parse(["--features", "random,~/a.keras,~/b.tflite"])
    assert values["features"] == f"random,{home}/a.keras,{home}/b.tflite"


def test_a_tilde_that_is_no_home_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # no HOME, and no such user
    for path in ("~", "~/x", "~nobody/x"):
        with pytest.raises(UsageError, match=rf"--out {path}: there is no home folder ~.*: \./{path}\."):
            expand(path, "--out")
    for path in ("~draft.jpg", "a~", "a/~/b"):
        assert expand(path) == path
    (tmp_path / "~").mkdir()
    assert expand("~/x") == "~/x"  # there is one of that name


def error_of(command, *words):
    with pytest.raises(UsageError) as caught:
        command.parse(list(words))
    return str(caught.value)


def test_all_unknown_flags_are_named_at_once():
    """The flags of the official PyTorch code that mean nothing here, and a slip of the fingers."""
    words = "--light True --iteration 5 --device cpu --benchmark_flag False --pritn_freq=3 --run-dir x --zzzz --epohc 3"
    lines = error_of(train.make_command(), *words.split()).splitlines()
    assert lines[0] == "there are no such flags:"
    assert [line.split(":")[0].strip() for line in lines[1:-1]] == [
        "--device",
        "--benchmark_flag",
        "--pritn_freq",
        "--run-dir",
        "--zzzz",
        "--epohc",
    ]
    assert "CUDA_VISIBLE_DEVICES=-1" in lines[1]
    assert "Leave it out" in lines[2]
    assert [line.split(": ")[1] for line in lines[3:7]] == [
        "did you mean --print_freq?",
        "did you mean --run_dir?",
        "ugatit train has none of that or a similar name.",
        "did you mean --epoch?",
    ]
    assert lines[-1] == "See ugatit train --help."


@pytest.mark.parametrize(
    ("module", "flag", "meant"),
    [
        (train, "epochs", "--epoch?"),
        (train, "learning_rate", "--lr?"),
        (train, "GP_LD", "--GP_ld?"),
        (train, "Light", "--light?"),
        (train, "crop-size", "--img_size?"),
        (train, "dataroot", "--data_dir?"),
        (train, "steps", "--iteration?"),
        (export, "out", "--out_dir?"),
        (evaluate, "out_dir", "--out?"),
        (translate, "output", "--out?"),
        (prepare, "img_size", "--size?"),
        (compare, "checkpoint", "runs and checkpoints are words: ugatit compare RUN."),
    ],
)
def test_what_was_meant(module, flag, meant):
    assert meant in error_of(module.make_command(), f"--{flag}", "1")


@pytest.mark.parametrize(
    ("module", "name", "others"),
    [
        (export, "checkpoint", ("checkpoint", "run_dir", "model")),
        (evaluate, "checkpoint", ("checkpoint", "run_dir", "model")),
        (translate, "model", ("checkpoint", "run_dir", "model")),
    ],
)
def test_a_run_has_the_names_that_other_commands_give_it(module, name, others):
    for other in others:
        for words in ([f"--{other}", "runs/x", "y"], ["y", f"-{other}=runs/x"]):
            values = module.make_command().parse(words)
            assert (values[name], values["words"]) == ("runs/x", ["y"])


def test_a_value_may_look_like_a_flag():
    command = Command("test", "")
    command.string("label", None, "")
    command.boolean("on", False, "")
    command.float("weight", 0.0, "")
    assert command.parse(["--label", "--unknown", "--weight", "-5", "--noon"]) == {
        "label": "--unknown",
        "on": False,
        "weight": -5.0,
    }
