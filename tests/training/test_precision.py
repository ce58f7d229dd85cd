"""Which precision is the faster one: what is timed, what is remembered, and what the command does with it."""

import json
import math

import pytest
import tensorflow as tf

import ugatit_tf
from ugatit_tf.cli import train
from ugatit_tf.training import precision
from ugatit_tf.training.workers import Workers
from ugatit_tf.weights import archive

TINY = ugatit_tf.ModelConfig(light=True, ch=2, n_res=1, n_dis=4, img_size=24)


@pytest.fixture
def seconds(monkeypatch, tmp_path):
    """Seconds of a convolution by precision, in place of timing it; what was asked for is in `asked`."""
    times = {"float32": 1.0, "bfloat16": 1.0, "float16": 1.0}
    times["asked"] = []

    def timed(size, channels, name):
        times["asked"].append((size, channels, name))
        if isinstance(times[name], Exception):
            raise times[name]
        return times[name]

    monkeypatch.setattr(precision, "_seconds", timed)
    monkeypatch.setenv("UGATIT_CACHE", str(tmp_path))
    return times


@pytest.mark.parametrize(
    ("bfloat16", "chosen"), [(0.5, "bfloat16"), (0.69, "bfloat16"), (0.71, "float32"), (9, "float32")]
)
def test_the_faster_one_is_chosen(seconds, tmp_path, bfloat16, chosen):
    seconds["bfloat16"] = bfloat16
    name, line = precision.choose_precision(TINY, tmp_path)
    assert name == chosen
    assert f"Precision: {chosen}" in line
    assert f"{bfloat16:.2g} times" in line


def test_it_is_timed_once(seconds, tmp_path):
    seconds["bfloat16"] = 0.5
    assert precision.relative_time(TINY, "bfloat16", tmp_path) == 0.5
    count = len(seconds["asked"])
    seconds["bfloat16"] = 0.7
    assert precision.relative_time(TINY, "bfloat16", tmp_path) == 0.5
    assert len(seconds["asked"]) == count
    larger = ugatit_tf.ModelConfig(light=True, img_size=96, n_dis=4)
    assert precision.relative_time(larger, "bfloat16", tmp_path) == 0.7
    assert seconds["asked"][-1] == (24, 256, "float32")


def test_another_device_is_timed_anew(seconds, tmp_path, monkeypatch):
    precision.relative_time(TINY, "bfloat16", tmp_path)
    seconds["bfloat16"] = 0.5
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert precision.relative_time(TINY, "bfloat16", tmp_path) == 0.5


def test_emulation_is_told_from_a_small_map(seconds, tmp_path):
    """A convolution of float16 can take seconds on a CPU: the large map is not waited for."""
    seconds["float16"] = 200.0
    assert precision.relative_time(ugatit_tf.ModelConfig(light=True), "float16", tmp_path) == 200
    assert {size for size, *_ in seconds["asked"]} == {8}


def test_a_device_without_such_a_convolution(seconds, tmp_path):
    seconds["bfloat16"] = tf.errors.AbortedError(None, None, "could not create a primitive descriptor")
    assert precision.relative_time(TINY, "bfloat16", tmp_path) == math.inf
    assert precision.choose_precision(TINY, tmp_path)[0] == "float32"
    assert "has no convolution in bfloat16" in precision.warning(TINY, "bfloat16", tmp_path)


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"a": null}', '{"a": -1}'])
def test_a_damaged_memory_only_costs_the_time(seconds, tmp_path, content):
    (tmp_path / "precision.json").write_text(content)
    assert precision.relative_time(TINY, "bfloat16", tmp_path) == 1.0
    assert list(json.loads((tmp_path / "precision.json").read_text()).values()) == [1.0]


def test_a_folder_that_cannot_be_written(seconds, tmp_path):
    (tmp_path / "file").write_text("")
    assert precision.relative_time(TINY, "bfloat16", tmp_path / "file") == 1.0


def test_a_convolution_is_really_timed():
    assert 0 < precision._seconds(6, 8, "float32") < 5


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        (0.5, None),
        (1.05, None),
        (1.5, "is slower in bfloat16: a convolution takes 1.5 times"),
        (9.0, "emulates bfloat16"),
    ],
)
def test_what_is_slow_is_warned_of(seconds, tmp_path, ratio, said):
    seconds["bfloat16"] = ratio
    warning = precision.warning(TINY, "bfloat16", tmp_path)
    assert (said in warning) if said else warning is None
    assert precision.warning(TINY, "float32", tmp_path) is None


def settled(words, run_dir):
    command = train.make_command()
    flags = ["--light", "--ch", "2", "--n_res", "1", "--n_dis", "4", "--img_size", "24", "--run_dir", str(run_dir)]
    values = command.parse([*flags, *words])
    return train._settle_precision(values, train._run_config(command, values), Workers())


def test_auto_becomes_what_was_measured(seconds, tmp_path, capsys):
    seconds["bfloat16"] = 0.5
    assert settled(["--precision", "auto"], tmp_path).train.precision == "bfloat16"
    assert "Precision: bfloat16" in capsys.readouterr().out


def test_a_run_that_resumes_keeps_its_precision(seconds, tmp_path, capsys):
    """On another machine, where bfloat16 is slow."""
    seconds["bfloat16"] = 9.0
    run = ugatit_tf.RunConfig(TINY, ugatit_tf.TrainConfig(precision="bfloat16"))
    (tmp_path / "config.json").write_text(run.to_json())
    assert settled(["--precision", "auto"], tmp_path).train.precision == "bfloat16"
    told = capsys.readouterr().out
    assert "Precision: bfloat16, as this run began." in told
    assert "emulates bfloat16" in told


def test_a_run_without_its_config_json_keeps_its_precision(seconds, tmp_path):
    """Its checkpoints know it, too."""
    seconds["bfloat16"] = 9.0
    run = ugatit_tf.RunConfig(TINY, ugatit_tf.TrainConfig(precision="bfloat16"))
    (tmp_path / "checkpoint").mkdir()
    archive.write(tmp_path / "checkpoint" / "step-00000001.npz", {}, run.to_json())
    assert settled(["--precision", "auto"], tmp_path).train.precision == "bfloat16"


def test_an_emulated_precision_is_warned_of(seconds, tmp_path, capsys):
    seconds["bfloat16"] = 9.0
    assert settled(["--precision", "bfloat16"], tmp_path).train.precision == "bfloat16"
    assert "emulates bfloat16: a convolution takes 9.0 times as long" in capsys.readouterr().out
    settled([], tmp_path)
    assert "emulates" not in capsys.readouterr().out
