"""The command line: flags that mean what they say, mistakes that end in one clear message, and TF1's defaults."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import ugatit_tf
from ugatit_tf.cli import train
from ugatit_tf.cli.flags import UsageError
from ugatit_tf.cli.main import main
from ugatit_tf.config import ModelConfig, RunConfig, TrainConfig
from ugatit_tf.data import pipeline
from ugatit_tf.data.images import to_aspect, to_uint8
from ugatit_tf.training.lock import RunLock
from ugatit_tf.weights import archive
from ugatit_tf.weights.torch_file import read_torch_file
from ugatit_tf.weights.torch_writer import write_torch_file

# main.py of the official TF1 code: name, default.
TF1_DEFAULTS = {
    "phase": "train",
    "light": False,
    "dataset": "selfie2anime",
    "epoch": 100,
    "iteration": 10000,
    "batch_size": 1,
    "print_freq": 1000,
    "save_freq": 1000,
    "decay_flag": True,
    "lr": 0.0001,
    "GP_ld": 10,
    "adv_weight": 1,
    "cycle_weight": 10,
    "identity_weight": 10,
    "cam_weight": 1000,
    "gan_type": "lsgan",
    "smoothing": True,
    "ch": 64,
    "n_res": 4,
    "n_dis": 6,
    "n_critic": 1,
    "sn": True,
    "img_size": 256,
    "img_ch": 3,
    "augment_flag": True,
    "checkpoint_dir": "checkpoint",
    "result_dir": "results",
    "log_dir": "logs",
    "sample_dir": "samples",
}


MODEL = ["--light", "--ch", "2", "--n_res", "1", "--n_dis", "4", "--img_size", "24"]


def parse(*words):
    return train.make_command().parse(list(words))


def test_flags_of_tf1_have_its_defaults():
    values = parse()
    assert {name: values[name] for name in TF1_DEFAULTS} == TF1_DEFAULTS
    assert train._run_config(train.make_command(), values).train.decay_start == 50 * 10000  # TF1's --decay_epoch 50


def configured(*words):
    command = train.make_command()
    return train._run_config(command, command.parse(list(words)))


@pytest.mark.parametrize(("img_size", "n_res"), [(128, 6), (252, 6), (256, 9), (512, 9)])
def test_a_cyclegan_has_its_authors_settings(img_size, n_res):
    """Appendix 7.2 of its paper, and the defaults of the authors' PyTorch code; all else as for U-GAT-IT."""
    run = configured("--model", "cyclegan", "--img_size", str(img_size))
    assert run.model == ModelConfig(architecture="cyclegan", img_size=img_size, n_res=n_res)
    assert run.train == TrainConfig(lr=2e-4, identity_weight=5.0, weight_decay=0.0, pool_size=50)


@pytest.mark.parametrize(
    ("name", "value"),  # the first of each two: what U-GAT-IT has by default
    [
        *(("lr", 1e-4), ("lr", 3e-4), ("identity_weight", 10.0), ("identity_weight", 0.0)),
        *(
            ("weight_decay", 1e-4),
            ("weight_decay", 1.0),
            ("pool_size", 0),
            ("pool_size", 7),
            ("n_res", 4),
            ("n_res", 2),
        ),
    ],
)
def test_what_is_said_goes_before_a_cyclegans_settings(name, value):
    run, preset = configured("--model", "cyclegan", f"--{name}", str(value)), configured("--model", "cyclegan")
    changed = {**dataclasses.asdict(preset.model), **dataclasses.asdict(preset.train), name: value}
    assert {**dataclasses.asdict(run.model), **dataclasses.asdict(run.train)} == changed


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        ("", "UGATIT_selfie2anime"),
        ("--light", "UGATIT_light_selfie2anime"),
        ("--model ugatit --norm adalin --cam_g --cam_d", "UGATIT_selfie2anime"),
        ("--model cyclegan", "CycleGAN_selfie2anime"),
        ("--norm in", "UGATIT_in_selfie2anime"),
        ("--norm ln", "UGATIT_ln_selfie2anime"),
        ("--norm adain", "UGATIT_adain_selfie2anime"),
        ("--norm gn --light", "UGATIT_light_gn_selfie2anime"),
        ("--cam_g False", "UGATIT_no_cam_g_selfie2anime"),
        ("--nocam_d", "UGATIT_no_cam_d_selfie2anime"),
        ("--nocam_d --nocam_g --norm in", "UGATIT_in_no_cam_g_no_cam_d_selfie2anime"),
        ("--model cyclegan --dataset tfds:cycle_gan/maps", "CycleGAN_tfds_cycle_gan_maps"),
        ("--model cyclegan --run_dir x/y", "x/y"),
    ],
)
def test_each_kind_of_model_has_its_folder(words, folder):
    command = train.make_command()
    values = command.parse(words.split())
    expected = pathlib.Path(folder) if "/" in folder else pathlib.Path("runs") / folder
    assert train._run_dir(values) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--light"], True),
        (["--light", "True"], True),
        (["--light", "False"], False),
        (["--light", "false", "--ch", "8"], False),
        (["--light=False"], False),
        (["--nolight"], False),
        (["-light", "1"], True),
        ([], False),
    ],
)
def test_booleans_mean_what_they_say(words, expected):
    assert parse(*words)["light"] is expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stray"], "Not understood: stray"),
        (["stray", "--ch", "8", "more"], "Not understood: stray more"),
        (["--light", "maybe"], "Not understood: maybe"),
        (["--no_such_flag", "1"], "no_such_flag"),
        (["--ch", "many"], "ch"),
        (["--gan_type", "best"], "lsgan"),
    ],
)
def test_what_is_not_understood_is_an_error(words, message):
    with pytest.raises(UsageError, match=message):
        parse(*words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--img_size", "64"], "n_dis=6 needs an img_size of at least 96; received 64. Use 96, or n_dis=5."),
        (["--img_size", "130"], "Use 128 or 132."),
        (["--precision", "float16", "--gan_type", "dragan"], "Use precision bfloat16"),
        (["--flavor", "pytorch", "--nosn"], "tf1 flavor only"),
        (["--img_ch", "1"], "img_ch must be 3"),
        (["--log_dir", "/tmp/logs"], "log_dir names a folder inside the run folder, such as 'log'"),
        (["--log_dir", "results"], "must differ"),
        (["--ema", "1"], "or a decay such as 0.999"),
        (
            ["--model", "cyclegan", "--light"],
            "CycleGAN has no light, n_dis, smoothing, sn, norm, cam_g, cam_d; received",
        ),
        (["--model", "cyclegan", "--norm", "in", "--nocam_g"], "received norm='in', cam_g=False. Leave them out."),
        (["--model", "cyclegan", "--img_size", "20"], "for CycleGAN, at least 24; received 20"),
        (["--model", "pix2pix"], "ugatit|cyclegan"),
        (["--norm", "bn"], "adalin|in|ln|adain|gn"),
        (["--pool_size", "-1"], "pool_size must be at least 0; received -1"),
        (["--checkpoint", "x"], "--checkpoint x has no meaning with --phase train"),
        (["--phase", "test", "--dry_run"], "--dry_run True has no meaning with --phase test"),
        (["--phase", "test", "--change"], "--change True has no meaning with --phase test"),
    ],
)
def test_flags_are_checked_together_before_anything_starts(words, message, capsys):
    assert main(["train", *words]) == 2
    assert message in capsys.readouterr().err


def test_missing_dataset_shows_the_layout(tmp_path, capsys):
    assert main(["train", "--data_dir", str(tmp_path), "--run_dir", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    for part in ("trainA", "trainB", "testA", "testB", "selfie2anime", "--dataset demo"):
        assert part in error
    assert not (tmp_path / "run").exists()


def test_missing_checkpoint_is_named(tmp_path, capsys):
    assert main(["train", "--phase", "test", "--run_dir", str(tmp_path / "none")]) == 2
    assert str(tmp_path / "none") in capsys.readouterr().err


def _dry_run(capsys, *words, code=0):
    """The configuration, what is said after it, and the error of `--dry_run`."""
    assert main(["train", "--dry_run", *words]) == code
    captured = capsys.readouterr()
    config, _, rest = captured.out.partition("Weights:")
    return json.loads(config), rest, captured.err


def test_dry_run_prints_the_configuration_and_checks_the_dataset(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--light", "--ch", "2", "--n_res", "1", "--n_dis", "4", "--img_size", "24", "--iteration", "7"]
    config, rest, _ = _dry_run(capsys, *words, "--dataset", "cats", "--data_dir", str(tmp_path))
    assert config["train"]["iteration"] == 7
    assert "gen_a2b" in rest
    assert f"Dataset {tmp_path / 'cats'}: 1 trainA, 1 trainB, 1 testA, 1 testB" in rest
    assert re.search(r"Time: (about|less than) .* for 700 steps, measured over 20\.", rest)
    assert not (tmp_path / "runs").exists()
    config, rest, error = _dry_run(capsys, *words, "--dataset", "none", code=1)
    assert config["data"]["dataset"] == "none"
    assert "Memory of one step" in rest
    assert "dataset/none is not there" in error


def test_dry_run_times_nothing_that_does_not_fit(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("ugatit_tf.training.room.free_memory", lambda: 10**8)
    _, rest, _ = _dry_run(capsys, *MODEL, "--dataset", "cats", "--data_dir", str(tmp_path))
    assert "Time: not measured, since it does not fit into memory." in rest


def test_dry_run_draws_and_fetches_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(train, "_time_steps", lambda run, workers: "")
    words = [*MODEL, "--data_dir", str(tmp_path)]
    assert f"Dataset {tmp_path / 'demo'}: will be drawn." in _dry_run(capsys, *words, "--dataset", "demo")[1]
    assert "will be fetched" in _dry_run(capsys, *words, "--dataset", "tfds:cycle_gan/maps")[1]
    assert not list(tmp_path.iterdir())


def test_dry_run_of_a_cyclegan(cyclegan_flags, capsys):
    values, counts, _ = _dry_run(capsys, *cyclegan_flags, code=1)
    assert (values["model"]["architecture"], values["model"]["n_res"], values["train"]["pool_size"]) == (
        "cyclegan",
        1,
        50,
    )
    counts, _, memory = counts.partition("Memory of one step: about ")
    assert [line.split()[0] for line in counts.splitlines() if line] == ["gen_a2b", "gen_b2a", "dis_a", "dis_b", "all"]
    assert "GB" in memory


def test_model_flags_that_contradict_the_checkpoint_are_refused(run, tmp_path, capsys):
    assert main(["train", "--phase", "test", *run, "--light", "--ch", "64", "--img_size", "256"]) == 2
    assert f"{tmp_path / 'run'} holds another model: --ch 2 --img_size 24." in capsys.readouterr().err
    assert main(["train", "--phase", "test", *run, *MODEL]) == 0
    assert main(["train", "--phase", "test", *run]) == 0


def test_a_run_tells_its_model_and_its_dataset(run, tmp_path, capsys, monkeypatch):
    """In every spelling; results go to the run's folder, whatever the flags' defaults are."""
    monkeypatch.chdir(tmp_path)
    names = (
        ["--run_dir", "run"],
        ["run"],
        ["--checkpoint=run"],
        ["run/checkpoint"],
        ["run/checkpoint/step-00000001.npz"],
    )
    for words in names:
        assert main(["train", "--phase", "test", *words]) == 0
        assert "1 image A to B, 1 B to A. Open run/results/index.html" in capsys.readouterr().out
        shutil.rmtree(tmp_path / "run" / "results")
    assert not (tmp_path / "runs").exists()


def test_flags_go_before_what_the_run_tells(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cats").rename(tmp_path / "dogs")
    words = ["train", "--phase", "test", "run", "--dataset", "dogs", "--run_dir", "elsewhere", "--result_dir", "mine"]
    assert main(words) == 0
    assert "Open elsewhere/mine/index.html" in capsys.readouterr().out
    assert main([*words[:4], "--result_dir", "/tmp/results"]) == 2
    assert "result_dir names a folder inside the run folder" in capsys.readouterr().err


def test_the_run_that_was_meant_is_pointed_at(run, tmp_path, capsys, monkeypatch):
    """Without --light the name is another; nothing but a name comes of the model's flags, so none is checked."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "run").rename(tmp_path / "runs" / "UGATIT_light_cats")
    assert main(["train", "--phase", "test", "--dataset", "cats", "--img_size", "24"]) == 2
    error = capsys.readouterr().err
    assert "runs/UGATIT_cats is not there. There is: runs/UGATIT_light_cats." in error
    assert main(["train", "--phase", "test", "--dataset", "cats", "--light"]) == 0


def test_a_run_goes_on_with_the_flags_it_knows(run, tmp_path, capsys):
    """All of them, those with another name (GP_ld, model) included; what is given goes before, and is compared."""
    folder = ["--run_dir", str(tmp_path / "run")]
    former = RunConfig.of_folder(tmp_path / "run")
    assert configured(*folder) == former
    assert configured(*folder, "--log_freq", "3") == dataclasses.replace(former, log_freq=3)
    assert main(["train", *folder]) == 0
    assert "All steps are done" in capsys.readouterr().out
    assert main(["train", *folder, "--lr", "0.5"]) == 1
    assert "lr: 0.0001, not 0.5" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "run" / "checkpoint")  # it was killed before its first one
    assert configured(*folder) == former
    assert configured(*folder, "--noresume") == configured()


def test_a_cyclegan_goes_on_with_the_flags_it_knows(make_run, cyclegan_flags, tmp_path):
    """Its authors' settings are not put over those that it was trained with."""
    make_run(tmp_path, [*cyclegan_flags, "--lr", "1e-4", "--pool_size", "3", "--GP_ld", "7"])
    run = configured("--run_dir", str(tmp_path / "run"))
    assert run == RunConfig.of_folder(tmp_path / "run")
    assert (run.train.lr, run.train.pool_size, run.train.gp_ld, run.model.architecture) == (1e-4, 3, 7.0, "cyclegan")


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("--flavor pytorch --iteration 1000000", "100,000,000 in all"),
        ("--iteration 1000000", "for its 1,000,000 give --epoch 100 --iteration 10000."),
        ("--flavor pytorch --iteration 200000", "give --epoch 20 --iteration 10000."),
        ("--flavor pytorch --iteration 12345", "give --epoch 2 --iteration 6173."),
        ("--iteration 1000000 --dry_run", "For the 100,000,000 add --epoch 100."),
    ],
)
def test_pytorchs_iterations_are_all_steps(words, advice, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *words.split()]) == 2
    assert advice in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "--iteration 1000000 --epoch 1",
        "--iteration 100000",
        "--flavor pytorch --iteration 10000",
        "--flavor pytorch",
        "--iteration 1000000 --run_dir begun",
    ],
)
def test_steps_that_are_meant(words, make_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "_train", lambda values, run: 17)
    if "begun" in words:
        make_run(tmp_path)
        (tmp_path / "run").rename("begun")
        config = RunConfig.of_folder("begun")
        config = dataclasses.replace(config, train=dataclasses.replace(config.train, iteration=1_000_000))
        (tmp_path / "begun" / "config.json").write_text(config.to_json())
    assert main(["train", *words.split()]) == 17


@pytest.mark.parametrize("missing", ["testA", "testB"])
def test_one_domain_can_be_tested_alone(run, tmp_path, capsys, missing):
    (tmp_path / "cats" / missing / "1.png").unlink()
    (tmp_path / "cats" / missing).rmdir()
    assert main(["train", "--phase", "test", *run]) == 0
    counts = "0 images A to B, 1 B to A" if missing == "testA" else "1 image A to B, 0 B to A"
    assert counts in capsys.readouterr().out


def test_no_test_images_at_all_show_the_layout(run, tmp_path, capsys):
    for name in ("testA", "testB"):
        (tmp_path / "cats" / name / "1.png").unlink()
        (tmp_path / "cats" / name).rmdir()
    assert main(["train", "--phase", "test", *run]) == 1
    assert "testA is missing" in capsys.readouterr().err


def test_a_run_keeps_the_names_of_its_folders(run, tmp_path, capsys):
    assert main(["train", *run, *MODEL, "--epoch", "1", "--checkpoint_dir", "other"]) == 2
    assert "a run with --checkpoint_dir checkpoint. Give the same, or another --run_dir" in capsys.readouterr().err
    assert not (tmp_path / "run" / "other").exists()


def test_init_of_a_run_that_has_begun_is_passed_over_in_words(run, capsys):
    assert main(["train", *run, *MODEL, "--epoch", "1", "--init", "nowhere"]) == 0
    output = capsys.readouterr().out
    assert "has begun already: --init is passed over" in output
    assert "All steps are done" in output


def test_a_run_folder_in_use_is_refused(run, tmp_path, capsys):
    """Even with the same flags, and before anything of the run is looked at."""
    before = (tmp_path / "run" / "config.json").read_bytes()
    with RunLock(tmp_path / "run"):
        assert main(["train", *run, *MODEL, "--epoch", "2", "--lr", "0.5", "--change"]) == 1
        assert f"run is in use by process {os.getpid()} on " in capsys.readouterr().err
        assert (tmp_path / "run" / "config.json").read_bytes() == before
    assert main(["train", *run, *MODEL, "--epoch", "1"]) == 0
    assert "All steps are done (1). For more, give the same command with a larger --epoch." in capsys.readouterr().out
    assert not (tmp_path / "run" / "training.lock").exists()


def test_config_json_counts_before_the_first_checkpoint(run, tmp_path, capsys):
    (tmp_path / "run" / "checkpoint" / "step-00000001.npz").unlink()
    before = (tmp_path / "run" / "config.json").read_bytes()
    assert main(["train", *run, *MODEL, "--epoch", "1", "--lr", "0.5", "--seed", "3"]) == 1
    error = capsys.readouterr().err
    assert f"{tmp_path / 'run' / 'config.json'} is of a run with another configuration:\n" in error
    assert "lr: 0.0001, not 0.5\n  seed: 0, not 3\nWith --change lr may change; seed may not." in error
    assert "It has no checkpoint yet: delete " in error
    assert (tmp_path / "run" / "config.json").read_bytes() == before


@pytest.mark.parametrize("named", [True, False], ids=["--run_dir", "the default folder"])
def test_a_run_that_resumes_without_epoch_keeps_its_number(named, tmp_path, monkeypatch):
    """Or it would grow from 8 to the default, 100, without a word; also before its first checkpoint."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "UGATIT_light_cats"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(RunConfig(train=TrainConfig(epoch=8)).to_json())
    command = train.make_command()

    def epochs(*words):
        place = ["--run_dir", str(folder)] if named else ["--light", "--dataset", "cats"]
        return train._run_config(command, command.parse([*place, *words])).train.epoch

    assert (epochs(), epochs("--epoch", "9")) == (8, 9)
    command = train.make_command()
    assert epochs("--noresume") == 100


def test_config_json_goes_before_an_older_checkpoint(run, tmp_path, capsys):
    """It was changed, and the process killed before the next checkpoint."""
    path = tmp_path / "run" / "config.json"
    path.write_text(path.read_text().replace('"lr": 0.0001', '"lr": 0.5'))
    assert main(["train", *run, *MODEL, "--epoch", "1", "--lr", "0.0001"]) == 1
    assert "lr: 0.5, not 0.0001" in capsys.readouterr().err
    assert main(["train", *run, *MODEL, "--epoch", "1"]) == 0  # the run knows its own


@pytest.mark.parametrize("there", [True, False], ids=["config", "checkpoint alone"])
def test_what_changes_is_told_and_kept(there, run, tmp_path, capsys, monkeypatch):
    """With `fit` left out: what it would train with, and config.json."""
    path = tmp_path / "run" / "config.json"
    if not there:
        path.unlink()
    seen = []
    monkeypatch.setattr(train, "_fit", lambda run, *rest: seen.append((run, rest[3].run)) or True)
    words = ["--epoch", "4", "--cam_weight", "30", "--save_freq", "7"]
    assert main(["train", *run, *MODEL, *words]) == 1
    assert "cam_weight: 1000.0, not 30.0\nWith --change cam_weight may change. Other" in capsys.readouterr().err
    assert main(["train", *run, *MODEL, *words, "--change"]) == 0
    output = capsys.readouterr().out
    assert "Changed from step 1 on: epoch 1 -> 4, cam_weight 1000.0 -> 30.0, save_freq 1000 -> 7\n" in output
    assert "The learning rate goes on at 0.0001.\n" in output  # the decay begins at half of 4 epochs
    values = json.loads(path.read_text())
    [row] = values["history"]
    assert (row["step"], row["version"]) == (1, ugatit_tf.__version__)
    assert row["changes"] == {"epoch": [1, 4], "cam_weight": [1000.0, 30.0], "save_freq": [1000, 7]}
    assert (values["train"]["epoch"], values["train"]["cam_weight"]) == (4, 30.0)
    [(ours, stored)] = seen
    assert json.loads(ours.to_json()) == json.loads(stored.to_json()) == values


def test_a_run_that_never_began_holds_no_folder(run, tmp_path, monkeypatch, capsys):
    """The memory was too small, say: the next command, with a smaller model, is not compared with it."""

    def fail(*arguments):
        raise UsageError("the device's memory does not hold this training")

    monkeypatch.setattr(train, "_fit", fail)
    new = tmp_path / "new"
    assert main(["train", *run, *MODEL, "--run_dir", str(new)]) == 2
    assert not (new / "config.json").exists()
    assert main(["train", *run, *MODEL, "--run_dir", str(new), "--seed", "3"]) == 2
    assert "does not hold this training" in capsys.readouterr().err
    assert main(["train", *run, *MODEL, "--epoch", "2"]) == 2
    assert (tmp_path / "run" / "config.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("baseline_holds", [True, False])
def test_init_from_another_architecture_names_the_flags_that_fit(
    baseline_holds, make_run, cyclegan_flags, tmp_path, capsys
):
    """With them added to those that were given, the weights fit."""
    theirs, mine = (cyclegan_flags, MODEL) if baseline_holds else (MODEL, cyclegan_flags)
    words = make_run(tmp_path, theirs)
    init = ["--init", str(tmp_path / "run")]
    assert main(["train", *words, *mine, "--run_dir", str(tmp_path / "new"), *init]) == 2
    error = capsys.readouterr().err
    advice = error.split("To begin from it, add: ")[1].strip().rstrip(".").split()
    assert f"--model {'cyclegan' if baseline_holds else 'ugatit'}" in " ".join(advice)
    assert "architecture" not in error
    assert not (tmp_path / "new" / "config.json").exists()

    model = ugatit_tf.UGATIT(configured(*mine, *advice).model, seed=9)
    train._initialize(model, tmp_path / "run")
    expected = ugatit_tf.UGATIT.load(tmp_path / "run").arrays()
    for name, array in model.arrays().items():
        np.testing.assert_array_equal(array, expected[name])


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "fits"), [("ln", True), ("adain", False)])
def test_init_of_a_full_model_at_another_size(norm, fits, make_run, tmp_path):
    """Only gamma and beta from every pixel of the map tie weights to a size."""
    words = ["--ch", "2", "--n_res", "1", "--n_dis", "4", "--norm", norm]
    make_run(tmp_path, [*words, "--img_size", "24"])
    model = ugatit_tf.UGATIT(configured(*words, "--img_size", "32").model, seed=9)
    if fits:
        train._initialize(model, tmp_path / "run")
        expected = ugatit_tf.UGATIT.load(tmp_path / "run").gen_a2b.stem.conv.kernel
        np.testing.assert_array_equal(model.gen_a2b.stem.conv.kernel, expected)
    else:
        with pytest.raises(UsageError, match=r"add: --img_size 24\.$"):
            train._initialize(model, tmp_path / "run")


def test_init_from_generators_alone(tmp_path, capsys):
    """Of any n_dis; the discriminators keep their initial weights, and that is said in the same line."""
    flags = [*MODEL, "--flavor", "pytorch"]
    source = ugatit_tf.UGATIT(configured(*flags).model, seed=5)
    source.save_pt(tmp_path / "six.pt")
    states = read_torch_file(tmp_path / "six.pt")
    write_torch_file(tmp_path / "two.pt", {name: states[name] for name in ("genA2B", "genB2A")})
    model = ugatit_tf.UGATIT(configured(*flags).model, seed=9)
    fresh = model.arrays()
    train._initialize(model, tmp_path / "two.pt")
    for name, array in model.arrays().items():
        np.testing.assert_array_equal(array, (source.arrays() if name.startswith("gen") else fresh)[name])
    text = capsys.readouterr().out
    assert "lacks dis_global_a, dis_local_a, dis_global_b, dis_local_b: these start fresh." in text
    assert text.count("\n") == 1


def test_a_cyclegan_translates_the_test_images(make_run, cyclegan_flags, tmp_path, capsys):
    words = make_run(tmp_path, cyclegan_flags)
    assert main(["train", "--phase", "test", *words, "--model", "ugatit"]) == 2
    assert f"{tmp_path / 'run'} holds another model: --model cyclegan. Leave" in capsys.readouterr().err
    assert main(["train", "--phase", "test", *words, *cyclegan_flags]) == 0
    assert "1 image A to B, 1 B to A" in capsys.readouterr().out
    assert "<title>CycleGAN: cats" in (tmp_path / "run" / "results" / "index.html").read_text()
    said = json.loads((tmp_path / "run" / "results" / "model.json").read_text())
    assert (said["architecture"], said["step"], said["images"]) == ("cyclegan", 1, {"a2b": 1, "b2a": 1})
    assert said["command"].startswith("ugatit train --phase test ")
    assert said["checkpoint"] == str(tmp_path / "run" / "checkpoint" / "step-00000001.npz")
    model = ugatit_tf.UGATIT.load(tmp_path / "run")
    assert said["weights_sha256"] == {name: net.weights_sha256() for name, net in model.generators.items()}


@pytest.mark.parametrize(("name", "direction"), [("genA2B", "a2b"), ("genB2A", "b2a")])
def test_a_generator_alone_translates_its_direction(name, direction, make_run, tmp_path, capsys):
    """With the dataset's other folder missing; identity and cycle need the other generator, and are white."""
    make_run(tmp_path)
    shutil.rmtree(tmp_path / "cats" / f"test{direction[2].upper()}")
    source = ugatit_tf.UGATIT(configured(*MODEL, "--flavor", "pytorch").model)
    source.save_pt(tmp_path / "six.pt")
    write_torch_file(tmp_path / "one.pt", {name: read_torch_file(tmp_path / "six.pt")[name]})
    words = [str(tmp_path / "one.pt"), "--dataset", "cats", "--data_dir", str(tmp_path), "--img_size", "24"]
    assert main(["train", "--phase", "test", *words, "--run_dir", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert f"It holds the generator of {direction} alone: identity and cycle are white in the sheets." in text
    results = tmp_path / "out" / "results"
    counts = {"a2b": int(direction == "a2b"), "b2a": int(direction == "b2a")}
    assert json.loads((results / "model.json").read_text())["images"] == counts
    pictures = sorted(path.relative_to(results).as_posix() for path in results.rglob("*.png"))
    assert pictures == [f"{direction}/1.png", f"inputs/{direction[0]}/1.png", f"sheets/{direction}/1.png"]
    tiles = np.split(np.asarray(Image.open(results / "sheets" / direction / "1.png")), 7, axis=1)
    assert [tile.min() == 255 for tile in tiles] == [False, True, True, False, False, True, True]
    expected = getattr(source, f"gen_{direction}")
    pixels = np.asarray(Image.open(results / "inputs" / direction[0] / "1.png"))
    translated = expected(pixels[None] / np.float32(127.5) - 1, training=False)[0]
    found = np.asarray(Image.open(results / direction / "1.png")).astype(int)
    assert np.abs(found - (np.asarray(translated)[0] + 1) * 127.5).max() <= 1


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_fit_on_the_command_line(fit, run, tmp_path, monkeypatch):
    """A training takes it into its batches and config.json, and the test phase from there, unless it is given."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    for path in (tmp_path / "cats").glob("*/1.png"):
        Image.fromarray(pixels).save(path)

    def shown(fit):
        return to_uint8(pipeline.to_float(pipeline.resize(to_aspect(pixels, fit), 24))).astype(int)

    seen = []

    def fit_once(trainer, batches, run, *rest):
        seen.extend([run.to_json(), *next(iter(batches))])

    monkeypatch.setattr("ugatit_tf.training.loop.fit", fit_once)
    new = ["--run_dir", str(tmp_path / "new"), *MODEL, "--noaugment_flag"]
    assert main(["train", *run, *new, "--fit", fit]) == 0
    config, *batches = seen
    assert json.loads(config)["data"]["fit"] == fit
    for batch in batches:
        found = (np.asarray(batch)[0] + 1) * 127.5
        assert min(np.abs(found - expected).max() for expected in (shown(fit), shown(fit)[:, ::-1])) < 0.51
    for words, expected in ((["--fit", fit], fit), ([], "squeeze")):  # which the older run was trained with
        assert main(["train", "--phase", "test", str(tmp_path / "run"), *words]) == 0
        found = Image.open(tmp_path / "run" / "results" / "inputs" / "a" / "1.png")
        np.testing.assert_array_equal(np.asarray(found), shown(expected))
    path = tmp_path / "run" / "checkpoint" / "step-00000001.npz"
    arrays, _ = archive.read(path)
    archive.write(path, arrays, config)
    (tmp_path / "run" / "config.json").write_text(config)
    assert main(["train", "--phase", "test", str(tmp_path / "run")]) == 0
    found = Image.open(tmp_path / "run" / "results" / "inputs" / "a" / "1.png")
    np.testing.assert_array_equal(np.asarray(found), shown(fit))


def test_a_run_folder_that_cannot_be_made(run, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["train", *run, *MODEL, "--run_dir", str(tmp_path / "file")]) == 2
    assert (
        f"{tmp_path / 'file'} cannot be made a folder (is a file). Name another with --run_dir"
        in capsys.readouterr().err
    )


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such file names")
def test_file_names_that_no_terminal_can_show(run, tmp_path):
    with open(os.fsencode(tmp_path / "cats" / "testA") + b"/\xff.png", "wb") as file:
        file.write(b"no image")
    command = [sys.executable, "-m", "ugatit_tf.cli.main", "train", "--phase", "test", *run]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert r"Left out: " in result.stdout
    assert r"\udcff.png: not a JPEG" in result.stdout


def test_help_explains_every_flag(capsys):
    assert main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"--{name}" in text for name in parse())
    assert "--model ugatit|cyclegan" in text
    assert "--norm adalin|in|ln|adain|gn" in text
    assert max(len(line) for line in text.splitlines()) <= 120


@pytest.mark.parametrize(("words", "code"), [([], 0), (["--help"], 0), (["--version"], 0), (["fly"], 2)])
def test_commands(words, code, capsys):
    assert main(words) == code
    captured = capsys.readouterr()
    assert captured.out or "there is no command 'fly'. There is: train" in captured.err


def test_readme_names_the_command_that_ci_runs():
    root = pathlib.Path(__file__).parents[2]
    for name in ("README.md", ".ci/run"):
        assert "python3 bootstrap.py test" in (root / name).read_text()
