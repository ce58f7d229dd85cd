"""`ugatit prepare`, run as the command line runs it."""

import json
import subprocess
import sys

import numpy as np
import pytest
import skimage.data
from PIL import Image

from ugatit_tf.cli import prepare
from ugatit_tf.cli.main import main


@pytest.fixture
def drawings(tmp_path):
    """A folder with five pictures, one in a folder inside."""
    for seed, name in enumerate(("a.png", "b.jpg", "c.bmp", "d.png", "inside/e.png")):
        path = tmp_path / "drawings" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cells = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
        Image.fromarray(cells).resize((48, 48), Image.Resampling.BICUBIC).save(path)
    return tmp_path / "drawings"


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_two_runs_make_a_dataset(drawings, tmp_path, capfd):
    """Faces for one domain, drawings for the other; the words are a photo, a pattern and a folder."""
    face = Image.fromarray(skimage.data.astronaut()[:256, 100:356])
    face.save(tmp_path / "me.jpg")
    Image.open(drawings / "a.png").resize((256, 256)).save(tmp_path / "other.png")
    out = tmp_path / "dataset/me"
    words = [str(tmp_path / "me.jpg"), str(tmp_path / "oth*.png"), "--size", "64"]
    assert main(["prepare", *words, "--out", str(out)]) == 0
    told, errors = capfd.readouterr()
    assert told.splitlines() == [
        f"2 photos, 1 pictures in {out}: 1 in trainA, 0 in testA.",
        f"Left out: 1 no_face (no face found). {out}/prepare_A.json tells which.",
    ]
    assert not [line for line in errors.splitlines() if line.startswith("ugatit")]
    assert names(out) == ["prepare_A.json", "trainA/me.png"]
    assert Image.open(out / "trainA/me.png").size == (64, 64)

    assert main(["prepare", str(drawings), "--domain=B", "--whole", "--size=64", "--test=0.4", "--out", str(out)]) == 0
    assert capfd.readouterr().out.splitlines() == [f"5 photos, 5 pictures in {out}: 3 in trainB, 2 in testB."]
    found = {name.partition("/")[2] for name in names(out) if name.startswith(("trainB/", "testB/"))}
    assert found == {"a.png", "b.png", "c.png", "d.png", "inside/e.png"}
    assert json.loads((out / "prepare_B.json").read_text())["whole"] is True

    assert main(["prepare", str(tmp_path / "me.jpg"), "--out", str(out)]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "trainA is there already and holds 'me.png'" in line


def test_the_dataset_among_the_photos_is_not_taken_for_photos(drawings, capfd):
    for domain in "AB":
        assert main(["prepare", str(drawings), "--whole", "--domain", domain, "--out", str(drawings)]) == 0
        assert capfd.readouterr().out.startswith("5 photos, 5 pictures")


def test_progress_and_files_that_cannot_be_read(drawings, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(prepare, "PROGRESS", 2)
    monkeypatch.setattr(prepare, "SHOWN", 1)
    (drawings / "a.png").write_bytes(b"no image")
    (drawings / "b.jpg").write_bytes(b"")
    assert (
        main(["prepare", str(drawings), str(tmp_path / "x*\x1b.png"), "--whole", "--out", str(tmp_path / "out")]) == 0
    )
    told, errors = capsys.readouterr()
    assert told.splitlines()[:2] == ["2/6 photos, 0 pictures", "4/6 photos, 2 pictures"]
    first, more = errors.splitlines()
    assert first.startswith(f"ugatit: {drawings}/a.png: not a JPEG")
    assert more == "ugatit: 2 more cannot be read."
    assert "Left out: 3 unreadable" in told


def test_nothing_usable(tmp_path, capfd):
    (tmp_path / "empty").mkdir()
    assert main(["prepare", str(tmp_path / "empty"), "--out", str(tmp_path / "out")]) == 1
    errors = capfd.readouterr().err
    assert "empty: no file in it ends in .jpg" in errors
    assert "There are no photos" in errors
    Image.new("RGB", (64, 64)).save(tmp_path / "black.png")
    assert main(["prepare", str(tmp_path / "black.png"), "--out", str(tmp_path / "out")]) == 1
    errors = capfd.readouterr().err
    assert "nothing written. Photos: 1; left out: 1 no_face (no face found). Give photos" in errors
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "No photos: ugatit prepare PHOTO|FOLDER|PATTERN ... --out DIR"),
        (["a.png"], "--out DIR"),
        (["a.png", "--out", __file__], "is a file"),
        (["a.png", "--out", "x", "--test", "0.91"], "--test must be from 0 to 0.9; received 0.91"),
        (["a.png", "--out", "x", "--test", "-0.1"], "received -0.1"),
        (["a.png", "--out", "x", "--test", "nan"], "received nan"),
        (["a.png", "--out", "x", "--size", "30"], "--size must be a multiple of 4, 16 or more; received 30"),
        (["a.png", "--out", "x", "--size", "12"], "received 12"),
        (["a.png", "--out", "x", "--domain", "C"], "domain"),
        (["a.png", "--out", "x", "--overwrite"], "overwrite"),
    ],
)
def test_mistakes_end_in_one_message(words, message, capsys):
    assert main(["prepare", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_help(capsys):
    assert main(["prepare", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--domain B" in text
    assert "python train.py --dataset me2anime --img_size 256" in text
    assert max(map(len, text.splitlines())) <= 120
    assert main(["--help"]) == 0
    assert "\n  prepare " in capsys.readouterr().out


def test_it_costs_neither_tensorflow_nor_keras(drawings, tmp_path):
    code = "import sys; from ugatit_tf.cli.main import main; assert main(sys.argv[1:]) == 0; "
    code += "print(sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    words = ["prepare", str(drawings), "--out", str(tmp_path / "out"), "--whole"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
