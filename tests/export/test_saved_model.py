"""SavedModels, each signature asked in the ways in which programs ask it; the Keras generator is the oracle."""

import json
import os
import pathlib
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from c_api import LoadedModel
from tensorflow_serving.apis import prediction_log_pb2

from ugatit_tf.data.pipeline import to_float
from ugatit_tf.export import saved_model
from ugatit_tf.export.signatures import Signatures, to_uint8

MODELS = {"light": {}, "full": {"light": False}, "pytorch": {"flavor": "pytorch"}, "cyclegan": {"flavor": "cyclegan"}}
NAMES = {"serving_default", "float", "encoded", "heatmap"}


@pytest.fixture(scope="module", params=MODELS)
def exported(request, tmp_path_factory, make_generator, description):
    """A generator and the folder of its SavedModel."""
    generator = make_generator(**MODELS[request.param])
    folder = tmp_path_factory.mktemp(request.param) / "1"
    saved_model.write(folder, generator, "ugatit_a2b", description, max_pixels=4096)
    return generator, folder


@pytest.fixture(scope="module")
def by_tensorflow(exported):
    """Ask by TensorFlow's own loader: arrays by name to arrays by name."""
    signatures = tf.saved_model.load(str(exported[1])).signatures

    def ask(signature, **inputs):
        inputs = {
            name: tf.constant(value.tolist() if value.dtype == object else value) for name, value in inputs.items()
        }
        return {name: value.numpy() for name, value in signatures[signature](**inputs).items()}

    return ask


@pytest.fixture(scope="module")
def by_c_api(exported):
    return LoadedModel(exported[1]).run


@pytest.fixture(params=["by_tensorflow", "by_c_api"])
def ask(request):
    return request.getfixturevalue(request.param)


def test_every_signature_is_the_generator(exported, ask, pictures, make_file, rounding):
    generator, _ = exported
    floats = to_float(pictures).numpy()
    image, _, heatmap = generator(floats, training=False)
    levels = to_uint8(image).numpy()
    assert np.ptp(levels) > 100

    np.testing.assert_allclose(ask("float", image=floats)["image"], image, rtol=0, atol=rounding(generator, floats))
    assert np.abs(ask("serving_default", image=pictures)["image"].astype(int) - levels).max() <= 1
    both = ask("heatmap", image=pictures)
    assert np.abs(both["image"].astype(int) - levels).max() <= 1
    np.testing.assert_allclose(both["heatmap"], heatmap, rtol=1e-4, atol=1e-6)
    files = np.array([make_file(picture) for picture in pictures], object)
    for content, expected in zip(ask("encoded", image_bytes=files)["image_bytes"], levels, strict=True):
        assert np.abs(tf.io.decode_png(content).numpy().astype(int) - expected).max() <= 1


def test_any_batch(exported, by_tensorflow):
    for count in (1, 3):
        assert by_tensorflow("serving_default", image=np.zeros((count, 16, 16, 3), np.uint8))["image"].shape[0] == count


def test_files_of_several_sizes_in_one_request(exported, ask, make_file):
    rng = np.random.default_rng(0)
    shapes = ((20, 33, 3), (9, 50, 3), (64, 64, 3))
    files = [make_file(rng.integers(0, 256, shape, np.uint8)) for shape in shapes]
    together = ask("encoded", image_bytes=np.array(files, object))["image_bytes"]
    for file, result in zip(files, together, strict=True):
        assert tf.io.decode_png(result).shape == (16, 16, 3)
        assert ask("encoded", image_bytes=np.array([file], object))["image_bytes"][0] == result


def test_other_sizes_and_what_a_client_is_told(exported, ask):
    generator, _ = exported
    wide = np.zeros((1, 16, 24, 3), np.uint8)
    if generator.fixed_size is None:
        assert ask("serving_default", image=wide)["image"].shape == wide.shape
        wide, words = wide[:, :, :22], "multiples of 4 and at least 8"
    else:
        words = "a height and width of 16"
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=words):
        ask("serving_default", image=wide)


def test_what_encoded_refuses(exported, ask, make_file):
    refused = (ValueError, tf.errors.InvalidArgumentError)
    for content, words in (
        (make_file(np.zeros((65, 64, 3), np.uint8)), "4,096 pixels at most"),
        (b"words", "JPEG or PNG"),
    ):
        with pytest.raises(refused, match=words):
            ask("encoded", image_bytes=np.array([content], object))


def test_warm_up_requests_name_every_signature_and_can_be_answered(exported, by_c_api):
    path = exported[1] / "assets.extra" / "tf_serving_warmup_requests"
    names = set()
    for record in tf.data.TFRecordDataset(str(path)):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        assert request.model_spec.name == "ugatit_a2b"
        names.add(request.model_spec.signature_name)
        by_c_api(request.model_spec.signature_name, **{k: tf.make_ndarray(v) for k, v in request.inputs.items()})
    assert names == NAMES


def test_one_generator_and_nothing_else(exported, description):
    generator, folder = exported
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "saved_model.pb",
        "fingerprint.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
        "assets.extra/tf_serving_warmup_requests",
        "ugatit.json",
    }
    stored = (folder / "variables" / "variables.data-00000-of-00001").stat().st_size
    weights = sum(4 * np.prod(variable.shape) for variable in generator.variables)
    assert weights <= stored <= weights + 20_000  # every weight once, and the names
    assert json.loads((folder / "ugatit.json").read_text()) == description


def test_nothing_of_the_machine_that_exported_is_in_it(exported):
    """No paths of sources, training or home folders: the originals' exports had the names of training files in them."""
    here = pathlib.Path(__file__).parents[2]
    for path in exported[1].rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for text in (str(here), str(pathlib.Path.home()), str(exported[1]), ".py", "site-packages"):
                assert text.encode() not in content, (path.name, text)


def command(*words):
    script = "from tensorflow.python.tools.saved_model_cli import main; main()"
    result = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("exported", ["light"], indirect=True)
def test_saved_model_cli(exported, tmp_path, pictures):
    generator, folder = exported
    shown = command("show", "--dir", folder, "--tag_set", "serve")
    assert {line.split('"')[1] for line in shown.splitlines() if "SignatureDef key" in line} >= NAMES
    assert "does not contain the default denylisted ops" in command("scan", "--dir", folder, "--tag_set", "serve")
    np.save(tmp_path / "x.npy", pictures)
    words = ["--tag_set", "serve", "--signature_def", "serving_default", "--inputs", f"image={tmp_path / 'x.npy'}"]
    command("run", "--dir", folder, *words, "--outdir", tmp_path)
    expected = Signatures(generator).uint8(pictures)["image"].numpy().astype(int)
    assert np.abs(np.load(tmp_path / "image.npy") - expected).max() <= 1


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_generator_of_mixed_precision_exports_in_float32(
    precision, tmp_path, make_generator, description, pictures, rounding
):
    generator = make_generator()
    generator.set_precision(precision)
    saved_model.write(tmp_path / "1", generator, "ugatit_a2b", description)
    assert generator.precision == precision  # is left as it was
    result = tf.saved_model.load(str(tmp_path / "1")).signatures["float"](image=to_float(pictures))["image"]
    exact = make_generator()
    expected = exact(to_float(pictures), training=False)[0]
    np.testing.assert_allclose(result, expected, rtol=0, atol=rounding(exact, to_float(pictures)))
    assert np.abs(generator(to_float(pictures), training=False)[0] - expected).max() > 1e-4


def test_publish_counts_versions_and_passes_over_other_names(tmp_path):
    model = tmp_path / "model"
    for number in (1, 2, 3):
        (tmp_path / "staged").mkdir()
        (tmp_path / "staged" / "file").write_text(str(number))
        if number == 2:
            (model / "notes").mkdir()
            (model / "9").rename(model / "10") if (model / "9").exists() else (model / "1").rename(model / "9")
        published = saved_model.publish(tmp_path / "staged", model)
        assert (published / "file").read_text() == str(number)
    assert sorted(path.name for path in model.iterdir()) == ["10", "11", "9", "notes"]


def test_a_server_that_watches_never_sees_half_a_model(tmp_path):
    """It lists the folder and opens what has a number for a name, again and again, while versions are published."""
    model, stop, faults, seen = tmp_path / "model", threading.Event(), [], set()
    model.mkdir()

    def watch():
        while not stop.is_set():
            for name in os.listdir(model):
                if name.isdigit():
                    seen.add(name)
                    if len(os.listdir(model / name)) != 50:
                        faults.append(name)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(20):
        staged = tmp_path / "staged"
        staged.mkdir()
        for i in range(50):
            (staged / str(i)).touch()
        saved_model.publish(staged, model)
    stop.set()
    watcher.join()
    assert not faults
    assert len(seen) > 1


def test_the_hash_is_of_the_weights_alone(make_generator):
    first, same, other = make_generator(), make_generator(name="other"), make_generator()
    other.variables[0].assign_add(keras.ops.ones_like(other.variables[0]) * 1e-3)
    assert first.weights_sha256() == same.weights_sha256()
    assert first.weights_sha256() != other.weights_sha256()
