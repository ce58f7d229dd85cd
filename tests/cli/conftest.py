"""A run folder and its dataset, for the commands that take one."""

import numpy as np
import pytest
from PIL import Image

import ugatit_tf
from ugatit_tf.cli import train
from ugatit_tf.weights import archive

MODEL = ["--light", "--ch", "2", "--n_res", "1", "--n_dis", "4", "--img_size", "24"]


def _make_run(folder):
    """A run folder with a checkpoint, and its dataset with an image in every folder; returns flags that name them."""
    words = ["--run_dir", str(folder / "run"), "--data_dir", str(folder), "--dataset", "cats", "--iteration", "1"]
    command = train.make_command()
    config = train._run_config(command, command.parse([*MODEL, *words, "--epoch", "1"]))
    (folder / "run" / "checkpoint").mkdir(parents=True)
    (folder / "run" / "config.json").write_text(config.to_json())
    arrays = ugatit_tf.Trainer(ugatit_tf.UGATIT(config.model), config.train).arrays() | {"steps": np.int64(1)}
    archive.write(folder / "run" / "checkpoint" / "step-00000001.npz", arrays, config.to_json())
    for name in ("trainA", "trainB", "testA", "testB"):
        (folder / "cats" / name).mkdir(parents=True)
        Image.radial_gradient("L").resize((24, 24)).save(folder / "cats" / name / "1.png")
    return words


@pytest.fixture(scope="session")
def make_run():
    return _make_run


@pytest.fixture
def run(make_run, tmp_path):
    return make_run(tmp_path)
