"""The one way to name a run or a checkpoint: whatever part of it is named, and what is said where nothing is."""

import json
import pathlib
import shutil

import numpy as np
import pytest

import ugatit_tf
from ugatit_tf.cli import export, start
from ugatit_tf.cli.flags import UsageError
from ugatit_tf.cli.start import find_source, run_of
from ugatit_tf.weights import archive

RUN = ugatit_tf.RunConfig(data=ugatit_tf.DataConfig("cats", "sets"))


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_run(folder, steps=(1, 20), run=RUN):
    folder = pathlib.Path(folder)
    (folder / run.checkpoint_dir).mkdir(parents=True)
    (folder / "config.json").write_text(run.to_json())
    for step in steps:
        path = folder / run.checkpoint_dir / f"step-{step:08d}.npz"
        archive.write(path, {"steps": np.int64(step)}, run.to_json())
    return folder


def write_tf1(folder, *steps, text=None):
    """Files with a TF1 checkpoint's names, which is all that is looked at here."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    for step in steps:
        for end in ("index", "meta", "data-00000-of-00001"):
            (folder / f"UGATIT.model-{step}.{end}").touch()
    if text:
        (folder / "checkpoint").write_text(f'model_checkpoint_path: "{text}"\nall_model_checkpoint_paths: "{text}"\n')
    return folder


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ("runs/mine", "runs/mine"),
        ("runs/mine/", "runs/mine"),
        ("runs/mine/checkpoint", "runs/mine"),
        ("runs/mine/checkpoint/step-00000001.npz", "runs/mine/checkpoint/step-00000001.npz"),
        ("runs", "runs/mine"),
        (".", "runs/mine"),
    ],
)
def test_every_part_of_a_run(named, found, capsys):
    write_run("runs/mine")
    assert find_source(named) == pathlib.Path(found)
    said = capsys.readouterr().out
    assert said == ("" if pathlib.Path(named) == pathlib.Path(found) else f"Checkpoint: {found}.\n")


def test_from_inside_a_runs_folders(monkeypatch):
    run = write_run("runs/mine", run=ugatit_tf.RunConfig(checkpoint_dir="weights"))
    monkeypatch.chdir(run / "weights")
    assert find_source(".").resolve() == pathlib.Path("..").resolve()
    assert run_of(find_source("step-00000001.npz"))[0].resolve() == pathlib.Path("..").resolve()


def test_checkpoints_without_their_run():
    shutil.move(write_run("mine") / "checkpoint", "moved")
    assert find_source("moved") == pathlib.Path("moved/step-00000020.npz")
    assert run_of(find_source("moved")) == (None, RUN)


def test_a_run_without_its_configuration():
    (write_run("mine") / "config.json").unlink()
    (pathlib.Path("mine") / "checkpoint" / "step-00000020.npz").write_bytes(b"torn")
    assert run_of(find_source("mine")) == (pathlib.Path("mine"), RUN)


@pytest.mark.parametrize(
    "named",
    [
        "checkpoint/UGATIT_cats/UGATIT.model-20",
        "checkpoint/UGATIT_cats/UGATIT.model-20.index",
        "checkpoint/UGATIT_cats/UGATIT.model-20.meta",
        "checkpoint/UGATIT_cats/UGATIT.model-20.data-00000-of-00001",
        "checkpoint/UGATIT_cats/UGATIT.model",
        "checkpoint/UGATIT_cats/checkpoint",
        "checkpoint/UGATIT_cats",
        "checkpoint",
        ".",
    ],
)
@pytest.mark.parametrize("text", [None, "/home/somebody/checkpoint/UGATIT_cats/UGATIT.model-20", "UGATIT.model-20"])
def test_every_part_of_a_tf1_checkpoint(named, text):
    """The text file names the folder of the machine that it was trained on."""
    write_tf1("checkpoint/UGATIT_cats", 3, 20, text=text)
    if text is None and named.endswith("/checkpoint"):
        with pytest.raises(UsageError, match="is not there"):
            find_source(named)
        return
    found = find_source(named)
    assert found == pathlib.Path("checkpoint/UGATIT_cats/UGATIT.model-20")
    assert run_of(found) == (None, None)


def test_the_text_file_decides():
    write_tf1("mine", 3, 20, text=r"C:\somebody\UGATIT.model-3")
    assert find_source("mine") == pathlib.Path("mine/UGATIT.model-3")
    pathlib.Path("mine/UGATIT.model-3.index").unlink()  # of a checkpoint that was not copied
    assert find_source("mine") == pathlib.Path("mine/UGATIT.model-20")


def test_a_tf1_checkpoint_without_its_index():
    write_tf1("mine", 3)
    pathlib.Path("mine/UGATIT.model-3.index").unlink()
    with pytest.raises(UsageError, match=r"mine/UGATIT.model-3.meta: UGATIT.model-3.index is not beside it"):
        find_source("mine/UGATIT.model-3.meta")


@pytest.mark.parametrize(
    ("names", "newest"),
    [
        (("cats2dogs_params_0100000.pt", "cats2dogs_params_0200000.pt"), "cats2dogs_params_0200000.pt"),
        (("cats2dogs_params_0100000.pt", "cats2dogs_params_latest.pt"), "cats2dogs_params_latest.pt"),
        (("model.pth",), "model.pth"),
    ],
)
@pytest.mark.parametrize("named", ["results/cats2dogs/model", "results/cats2dogs", "results"])
def test_the_newest_official_pytorch_checkpoint(names, newest, named):
    folder = pathlib.Path("results/cats2dogs/model")
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    assert find_source(named) == folder / newest


def test_several_models_in_a_folder():
    write_run("runs/one")
    write_run("runs/two")
    write_run("runs/begun", steps=())
    with pytest.raises(UsageError, match=r"^runs holds several models: runs/one, runs/two\. Name one of them\.$"):
        find_source("runs")


@pytest.mark.parametrize("named", ["runs/UGATIT_tiny", "UGATIT_light_tiny", "runs/UGATIT_light_tiny/config.jsn"])
def test_what_lies_beside_is_pointed_at(named):
    """`--light` was forgotten, or the folder `runs`."""
    write_run("runs/UGATIT_light_tiny")
    (pathlib.Path("runs") / "UGATIT_tiny_results").mkdir()  # no run
    with pytest.raises(UsageError) as caught:
        find_source(named)
    assert str(caught.value).startswith(f"{named} is not there.")
    assert ("There is: runs/UGATIT_light_tiny." in str(caught.value)) == ("config" not in named)
    assert "UGATIT_tiny_results" not in str(caught.value)


def test_where_nothing_is(tmp_path):
    for path in (tmp_path / "none", tmp_path / "some" / "none"):
        with pytest.raises(UsageError, match=rf"^{path} is not there\. Expected a run folder"):
            find_source(path)
    (tmp_path / "text.txt").touch()
    with pytest.raises(UsageError, match=r"No checkpoint at .*text.txt\. Expected a run folder"):
        find_source(tmp_path / "text.txt")
    with pytest.raises(UsageError, match=r"holds no checkpoint\. Expected a run folder"):
        find_source(tmp_path)
    with pytest.raises(UsageError, match=r"mine has no checkpoint yet"):
        find_source(write_run("mine", steps=()))


def test_one_is_named_as_a_word_or_behind_the_flag():
    write_run("mine")
    for words in (["mine"], ["--checkpoint", "mine"], ["--run_dir=mine"]):
        command = export.make_command()
        assert start.one_source(command, command.parse(words)) == pathlib.Path("mine")
    for words in ([], ["mine", "--checkpoint", "mine"], ["mine", "mine"]):
        command = export.make_command()
        with pytest.raises(UsageError, match="Name one run or checkpoint: ugatit export RUN, or --checkpoint RUN"):
            start.one_source(command, command.parse(words))


def test_exports_are_models_as_they_are(tmp_path):
    (tmp_path / "ugatit_a2b" / "1").mkdir(parents=True)
    (tmp_path / "ugatit_a2b" / "1" / "saved_model.pb").touch()
    for name in ("x.tflite", "ugatit_a2b", "ugatit_a2b/1"):
        assert start.find_model(name) == pathlib.Path(name)
    write_run("mine")
    assert start.find_model("mine/checkpoint") == pathlib.Path("mine")


def test_a_run_tells_its_dataset():
    source = find_source(write_run("mine"))
    flags = {"dataset": None, "data_dir": None}
    assert start.find_data(flags, source, "") == RUN.data
    assert start.find_data({**flags, "dataset": "dogs"}, source, "") == ugatit_tf.DataConfig("dogs", "sets")
    write_tf1("tf1", 3)
    with pytest.raises(UsageError, match=r"does not tell its dataset; they are scored\. Give --dataset\."):
        start.find_data(flags, find_source("tf1"), "they are scored")


def test_a_damaged_configuration_is_named():
    values = json.loads(RUN.to_json())
    (write_run("mine") / "config.json").write_text(json.dumps({**values, "model": {"ch": 0}}))
    with pytest.raises(ValueError, match=r"mine/config\.json holds no run configuration"):
        find_source("mine")
