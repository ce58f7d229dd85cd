"""`ugatit prepare`, run as the command line runs it."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import skimage.data
from PIL import Image

from ugatit_tf.cli import prepare as command
from ugatit_tf.cli import progress
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
        f"2 photos, 1 picture in {out}: 1 in trainA, 0 in testA.",
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
    assert f"trainA and testA are there already in {out}, made with --size 64; nothing is replaced" in line

    before = names(out)
    assert main(["prepare", *words, "--out", str(out)]) == 0
    assert capfd.readouterr().out == f"Done before: 2 photos; {out}/prepare_A.json tells of each.\n"
    face.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "other_side.png")
    assert main(["prepare", *words, "--out", str(out)]) == 1
    assert "1 of these 3 photos is new" in capfd.readouterr().err
    assert names(out) == before
    assert main(["prepare", *words, "--out", str(out), "--add", "--test=0"]) == 0
    told = capfd.readouterr().out
    assert f"1 photo (2 more were done before), 1 new picture in {out}: 1 in trainA, 0 in testA." in told
    assert names(out) == sorted([*before, "trainA/other_side.png"])


def test_the_dataset_among_the_photos_is_not_taken_for_photos(drawings, capfd):
    for domain in "AB":
        assert main(["prepare", str(drawings), "--whole", "--domain", domain, "--out", str(drawings)]) == 0
        assert capfd.readouterr().out.startswith("5 photos, 5 pictures")


def test_progress_and_files_that_cannot_be_read(drawings, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0)
    monkeypatch.setattr(progress.time, "monotonic", itertools.count().__next__)  # a second between two looks
    (drawings / "a.png").write_bytes(b"no image")
    for index in range(4):
        (drawings / f"b{index}.jpg").write_bytes(b"")
    (drawings / "b.jpg").unlink()
    assert (
        main(["prepare", str(drawings), str(tmp_path / "x*\x1b.png"), "--whole", "--out", str(tmp_path / "out")]) == 0
    )
    told, errors = capsys.readouterr()
    assert told.splitlines()[:2] == [
        "Photos: 1/9, 0 pictures, about 8 s left",
        "Photos: 2/9, 0 pictures, about 7 s left",
    ]
    assert told.splitlines()[7] == "Photos: 8/9, 3 pictures, about 1 s left"
    first, more = errors.splitlines()[:2]
    assert first.startswith(f"ugatit: Left out: {drawings}/a.png: not a JPEG")
    assert more == f"ugatit: Left out: 4 files, {drawings}/b0.jpg for one: empty file (0 bytes)"
    assert "Left out: 6 unreadable" in told


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


def test_adding_tells_how_far_reading_what_is_there_is(drawings, tmp_path, capsys, monkeypatch):
    words = ["prepare", "--whole", "--size=16", "--out", str(tmp_path / "out")]
    assert main([*words, str(drawings / "a.png"), str(drawings / "b.jpg")]) == 0
    monkeypatch.setattr(progress, "EVERY", 0)
    monkeypatch.setattr(progress.time, "monotonic", itertools.count().__next__)
    capsys.readouterr()
    assert main([*words, str(drawings), "--add"]) == 0
    told = [line.partition(", about")[0] for line in capsys.readouterr().out.splitlines()]
    assert told[:4] == [
        "Pictures that are there: 1/2",
        "Pictures that are there: 2/2",
        "Photos: 1/3, 1 picture",
        "Photos: 2/3, 2 pictures",
    ]


def test_sigterm_leaves_nothing(drawings, tmp_path, capsys, monkeypatch):
    class Interrupt(progress.Progress):
        def __call__(self, *_):
            assert list((tmp_path / "out").iterdir())
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(command, "Progress", Interrupt)
    before = signal.signal(signal.SIGTERM, lambda *_: pytest.fail("SIGTERM came through"))
    try:
        assert main(["prepare", str(drawings), "--whole", "--out", str(tmp_path / "out")]) == 130
    finally:
        signal.signal(signal.SIGTERM, before)
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
        (["a.png", "--out", "x", "--fit", "squeeze"], "--fit goes with --whole"),
        (["a.png", "--out", "x", "--overwrite"], "overwrite"),
    ],
)
def test_mistakes_end_in_one_message(words, message, capsys):
    assert main(["prepare", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.fixture
def noise(tmp_path):
    """A dataset of noise: enough images for some to be held out, and test images in one domain only."""
    draws = np.random.default_rng(0)
    for name, count in (("trainA", 44), ("trainB", 40), ("testA", 2)):
        for index in range(count):
            path = tmp_path / "sets" / "noise" / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draws.integers(0, 256, (24, 24, 3), np.uint8)).save(path)
    return tmp_path / "sets" / "noise"


def test_a_dataset_as_records(noise, tmp_path, capsys):
    (noise / "trainA" / "bad.png").write_bytes(b"no image")
    Image.new("RGB", (30, 24)).save(noise / "trainB" / "0.png")
    out = tmp_path / "big" / "noise"
    command = ["prepare", str(noise), "--tfrecord", "--out", f"{out}/"]
    assert main(command) == 0
    told, errors = capsys.readouterr()
    assert told.splitlines() == [
        f"Checking the images of {noise} ...",
        f"{noise}/trainB: 1 of 40 images is not square, such as 30x24: stored as they are; training squeezes them into "
        "a square, and --fit crop or --fit pad keeps proportions.",
        f"{out}: 44 trainA in 1 shard, 40 trainB in 1 shard, 2 testA.",
        f"Left out: 1 that cannot be read. {out}/manifest.json names them.",
        f"Train: ugatit train --dataset noise --data_dir {tmp_path}/big",
    ]
    assert errors.splitlines() == [
        "ugatit: Left out: trainA/bad.png: not a JPEG, PNG, BMP, GIF, WebP, TIFF, AVIF or HEIC image. "
        "Convert it to one of these"
    ]
    assert names(out) == [
        "manifest.json",
        "testA/0.png",
        "testA/1.png",
        "trainA-00000.tfrecord",
        "trainB-00000.tfrecord",
    ]
    assert main(command) == 0
    assert f"\n{out} was complete, of the same images; nothing was written: 44" in capsys.readouterr().out
    Image.new("RGB", (24, 24)).save(noise / "trainB" / "more.png")
    assert main(command) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{out} is complete, but was made with other images than there are in {noise} now" in line


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ["x", "--tfrecord", "--out", "y", "--size", "64", "--domain=A"],
            2,
            "--size, --domain has no meaning with --tf",
        ),
        (["x", "--tfrecord", "--out", "y", "--nowhole"], 2, "--whole has no meaning with --tfrecord"),
        (["x", "--tfrecord", "--out", "y", "--test=0.1"], 2, "--test has no meaning with --tfrecord"),
        (["--tfrecord", "--out", "y"], 2, "--tfrecord takes one dataset, a local folder"),
        (["x", "z", "--tfrecord", "--out", "y"], 2, "--tfrecord takes one dataset, a local folder"),
        (["gs://bucket/x", "--tfrecord", "--out", "y"], 2, "--tfrecord takes one dataset, a local folder"),
        (["x", "--tfrecord"], 2, "--out DIR"),
        (["x", "--out", "gs://bucket/x"], 2, "pictures go to a local folder; a URL is for --tfrecord"),
        (["x", "--tfrecord", "--out", "y"], 1, "No images to work with in x:"),
        (
            ["x", "--tfrecord", "--out", "nowhere://y/z"],
            1,
            "nowhere://y/z: File system scheme 'nowhere' not implemented",
        ),
        (["x", "--tfrecord", "--out", "x/y"], 1, "x/y lies in x, the folder of the images"),
    ],
)
def test_mistakes_with_records(words, code, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", *words]) == code
    assert message in capsys.readouterr().err.splitlines()[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_training_and_test_from_a_remote_set(noise, tmp_path, capfd):
    """Every use of a dataset in a training: batches, sheets, held-out images, going on, and the test images."""
    assert main(["prepare", str(noise), "--tfrecord", "--out", "ram://bucket/sets/noise"]) == 0
    shutil.rmtree(noise)
    words = ["train", "--dataset", "noise", "--data_dir", "ram://bucket/sets", "--run_dir", str(tmp_path / "run")]
    words += ["--light", "--ch=2", "--n_res=1", "--n_dis=4", "--img_size=24", "--iteration=1"]
    words += ["--eval_every=1", "--features=random", "--print_freq=1"]
    assert main([*words, "--epoch=1"]) == 0
    told = capfd.readouterr().out
    assert "Dataset ram://bucket/sets/noise: 44 trainA, 40 trainB, 2 testA\n" in told
    assert "Held out to be scored: 4 of trainA, 4 of trainB." in told
    assert list((tmp_path / "run" / "samples").iterdir())
    assert main([*words, "--epoch=1"]) == 0
    assert "All steps are done" in capfd.readouterr().out
    assert main([*words, "--phase=test"]) == 0
    assert "2 images A to B, 0 B to A" in capfd.readouterr().out
    assert names(tmp_path / "run" / "results" / "a2b") == ["0.png", "1.png"]


def test_help(capsys):
    assert main(["prepare", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--domain B" in text
    assert "ugatit train --dataset me2anime --img_size 256" in text
    assert max(map(len, text.splitlines())) <= 120
    assert main(["--help"]) == 0
    assert "\n  prepare " in capsys.readouterr().out


def test_it_costs_neither_tensorflow_nor_keras(drawings, tmp_path):
    code = "import sys; from ugatit_tf.cli.main import main; assert main(sys.argv[1:]) == 0; "
    code += "print(sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    words = ["prepare", str(drawings), "--out", str(tmp_path / "out"), "--whole"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_terminated_it_leaves_nothing(drawings, tmp_path, monkeypatch, capsys):
    former = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    before = names(tmp_path)
    try:
        monkeypatch.setattr(
            "ugatit_tf.inference.prepare.find_copies", lambda *args: os.kill(os.getpid(), signal.SIGTERM)
        )
        assert main(["prepare", str(drawings), "--whole", "--size", "16", "--out", str(tmp_path / "out")]) == 130
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, former)
    assert "ugatit: stopped." in capsys.readouterr().err
    assert names(tmp_path) == before
    assert not (tmp_path / "out").exists()
