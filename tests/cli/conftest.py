"""A run folder and its dataset, for the commands that take one."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from networks import draw_all
from PIL import Image

import ugatit_tf
from ugatit_tf import ugatit
from ugatit_tf.cli import train
from ugatit_tf.evaluation import score
from ugatit_tf.weights import archive

MODEL = ["--light", "--ch", "2", "--n_res", "1", "--n_dis", "4", "--img_size", "24"]
CYCLEGAN = ["--model", "cyclegan", "--ch", "2", "--n_res", "1", "--img_size", "24"]
TINY = {"light": True, "ch": 2, "n_res": 1, "n_dis": 4, "img_size": 24}


def _make_run(folder, model=MODEL):
    """A run folder with a checkpoint, and its dataset with an image in every folder; returns flags that name them."""
    words = ["--run_dir", str(folder / "run"), "--data_dir", str(folder), "--dataset", "cats", "--iteration", "1"]
    command = train.make_command()
    config = train._run_config(command, command.parse([*model, *words, "--epoch", "1"]))
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


@pytest.fixture(scope="session")
def cyclegan_flags():
    return CYCLEGAN


@pytest.fixture
def run(make_run, tmp_path):
    return make_run(tmp_path)


def _draw_images(folder, colour, names="bcadef", size=24, suffix=".png"):
    """A folder of noise around a colour, by default of six images: enough for every score but one."""
    folder.mkdir(parents=True)
    draws = np.random.default_rng(sum(colour))
    for index, name in enumerate(names):
        pixels = np.array(colour) + 5 * index + draws.integers(-40, 40, (size, size, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{name}{suffix}")
    return folder


@functools.cache
def _drawn(config):
    model = ugatit_tf.UGATIT(config)
    for generator in model.generators.values():
        draw_all(generator)
    return model.arrays()


def _write_run(run_dir, dataset, steps=(1,), ema=0.0, best=None, **model):
    """A run folder with checkpoints whose weights differ from step to step and, with `ema`, from their average."""
    config = ugatit_tf.ModelConfig(**(TINY | model))
    data = ugatit_tf.DataConfig(dataset.name, str(dataset.parent))
    text = ugatit_tf.RunConfig(config, ugatit_tf.TrainConfig(ema=ema), data).to_json()
    (run_dir / "checkpoint").mkdir(parents=True)
    (run_dir / "config.json").write_text(text)
    for name, step in {**{f"step-{step:08d}": step for step in steps}, **({"best": best} if best else {})}.items():
        draws, arrays = np.random.default_rng(step), dict(_drawn(config))
        kernels = [key for key in arrays if key.startswith("gen") and key.endswith("kernel")]
        arrays |= {key: np.float32(arrays[key] * draws.uniform(0.5, 1.5, arrays[key].shape)) for key in kernels}
        if ema:
            arrays |= {f"ema/{key}": -arrays[key] for key in kernels}
        archive.write(run_dir / "checkpoint" / f"{name}.npz", arrays | {"steps": np.int64(step)}, text)
    return run_dir


@pytest.fixture(scope="session")
def draw_images():
    return _draw_images


@pytest.fixture(scope="session")
def drawn_arrays():
    return _drawn


@pytest.fixture(scope="session")
def write_run():
    return _write_run


@pytest.fixture(scope="session")
def six_pairs(tmp_path_factory):
    """A dataset of six test images in each domain, of the same names and of two sizes."""
    folder = tmp_path_factory.mktemp("data") / "pairs"
    _draw_images(folder / "testA", (70, 90, 160))
    _draw_images(folder / "testB", (190, 110, 60), "afbdce", size=30)
    return folder


@pytest.fixture(scope="module")
def scoring(tmp_path_factory):
    """Scores without long waits: features in a folder of their own, one batch, networks that are built once.

    Nothing is compiled, which takes longer than six images and rounds otherwise.
    """

    build = functools.cache(ugatit._build)

    @functools.wraps(ugatit._build)
    def build_once(config, seed=0, names=None):
        return {name: network for name, network in build(config).items() if names is None or name in names}

    def function(python_function=None, **words):
        return python_function or (lambda same: same)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UGATIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(score, "BATCH", 6)
        patch.setattr(ugatit, "_build", build_once)
        patch.setattr(tf, "function", function)
        yield
