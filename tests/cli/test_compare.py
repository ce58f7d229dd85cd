"""`ugatit compare`: its rows and pictures against direct calls, and runs that cannot be compared."""

import contextlib
import io
import json
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

import ugatit_tf
from ugatit_tf import ugatit
from ugatit_tf.cli import compare
from ugatit_tf.cli.main import main
from ugatit_tf.data import images, pipeline
from ugatit_tf.evaluation import features, report
from ugatit_tf.evaluation.score import Evaluator
from ugatit_tf.inference import sheets
from ugatit_tf.weights import archive
from ugatit_tf.weights.torch_file import read_torch_file
from ugatit_tf.weights.torch_writer import write_torch_file

pytestmark = pytest.mark.usefixtures("scoring")
CELL = 144  # pixels: 24, enlarged until there are 128 or more
FACTOR = CELL // 24


def run_command(*words):
    with contextlib.redirect_stdout(io.StringIO()) as text:
        assert main(["compare", *map(str, words), "--features", "random"]) == 0
    return text.getvalue()


def read(out):
    whole = json.loads((out / "comparison.json").read_text(), parse_constant=pytest.fail)
    assert whole["command"].startswith("ugatit compare ")
    return whole["records"]


@pytest.fixture(scope="module")
def folder(scoring, six_pairs, write_run, tmp_path_factory):
    """Two runs of one name, a U-GAT-IT with averages and a CycleGAN, that were compared on their dataset."""
    folder = tmp_path_factory.mktemp("compared")
    runs = write_run(folder / "one" / "run", six_pairs, steps=(1, 3), ema=0.9), folder / "two" / "run"
    write_run(runs[1], six_pairs, architecture="cyclegan", light=False, n_dis=6)
    (folder / "text").write_text(run_command(*runs, "--out", folder / "out"))
    return folder


@pytest.fixture(scope="module")
def models(folder):
    """What must have been compared: the average of the newest weights, and weights that have none."""
    paths = {"one/run": folder / "one" / "run" / "checkpoint" / "step-00000003.npz", "two/run": folder / "two" / "run"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ugatit, "_build", ugatit._build.__wrapped__)  # networks that no command will change
        return {name: ugatit_tf.UGATIT.load(path, ema=True) for name, path in paths.items()}


def test_a_row_for_each_run_in_their_order(folder, models, six_pairs):
    records = read(folder / "out")
    names = ["untranslated", "one/run", "two/run"]
    rows = [(record["direction"], record["label"]) for record in records]
    assert rows == [(direction, name) for direction in ("a2b", "b2a") for name in names]
    weights = {record["label"]: record["weights"] for record in records}
    assert weights == {"untranslated": "untranslated", "one/run": "ema", "two/run": "raw"}
    paths = [images.find_images(six_pairs / name) for name in ("testA", "testB")]
    evaluator = Evaluator([features.load_features("random")], *paths, 24)
    for record in records:
        direction, model = record["direction"], models.get(record["label"])
        expected = evaluator.score(direction, getattr(model, f"gen_{direction}", None))
        assert {name: record[name] for name in expected} == expected


def test_what_is_printed_and_written(folder):
    text, out = (folder / "text").read_text(), folder / "out"
    page = (out / "comparison.md").read_text()
    assert page == report.markdown(read(out))
    assert page in text
    assert "scored as pairs (--nopaired if they are none)" in text
    assert "step-00000003.npz ..." in text
    assert text.count("Scoring ") == 2  # of the first run the newest weights alone
    assert f"{out / 'comparison.json'} has every number." in text
    assert f"Pictures: {out / 'a2b.png'}, {out / 'b2a.png'}." in text
    assert sorted(path.name for path in out.iterdir()) == ["a2b.png", "b2a.png", "comparison.json", "comparison.md"]


def prepared(path):
    return pipeline.to_float(pipeline.resize(images.decode(path), 24))


def cells(path):
    """Rows of cells, each in its own size again, and the margin."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture)
    top = pixels.shape[0] % CELL
    grid = pixels[top:].reshape(-1, CELL, pixels.shape[1] // CELL, CELL, 3).swapaxes(1, 2)
    small = grid[:, :, ::FACTOR, ::FACTOR]
    np.testing.assert_array_equal(small.repeat(FACTOR, 2).repeat(FACTOR, 3), grid)
    return small, pixels[:top]


@pytest.mark.parametrize("direction", ["a2b", "b2a"])
def test_the_right_pictures_are_side_by_side(folder, models, six_pairs, direction):
    found, margin = cells(folder / "out" / f"{direction}.png")
    assert found.shape == (6, 4, 24, 24, 3)
    sources = images.find_images(six_pairs / ("testA" if direction == "a2b" else "testB"))
    truths = six_pairs / ("testB" if direction == "a2b" else "testA")
    for row, path in zip(found, sources, strict=True):
        np.testing.assert_array_equal(row[0], sheets.to_uint8(prepared(path)))
        np.testing.assert_array_equal(row[3], sheets.to_uint8(prepared(truths / path.name)))
    batch = np.stack([prepared(path) for path in sources])
    for column, model in enumerate(models.values(), start=1):
        expected = sheets.to_uint8(getattr(model, f"gen_{direction}")(batch, training=False)[0])
        np.testing.assert_array_equal(found[:, column], expected)
    titles = np.split(margin.min((0, 2)), 4)
    assert all(title.min() < 128 for title in titles)


def test_unpaired_images_of_another_dataset(folder, draw_images, write_run, tmp_path):
    """Runs of two datasets on a third, whose images have no truth; there are more of them than on a sheet."""
    draw_images(tmp_path / "third" / "testA", (70, 90, 160), "abcdefghij")
    draw_images(tmp_path / "third" / "testB", (190, 110, 60), "uvwx")
    write_run(tmp_path / "elsewhere", tmp_path / "fourth")
    runs = folder / "one" / "run" / "checkpoint" / "step-00000001.npz", tmp_path / "elsewhere"
    words = ["--dataset", "third", "--data_dir", tmp_path, "--out", tmp_path / "out"]
    assert "scored as pairs" not in run_command(*runs, *words)
    records = read(tmp_path / "out")
    assert [record["label"] for record in records[:3]] == ["untranslated", "run, step-00000001", "elsewhere"]
    assert [(record["images"], record["reference"]) for record in records[::3]] == [(10, 4), (4, 10)]
    assert all("pairs" not in record for record in records)
    for direction, count in (("a2b", 8), ("b2a", 4)):
        found, _ = cells(tmp_path / "out" / f"{direction}.png")
        assert found.shape[:2] == (count, 3)


def test_a_generator_alone_is_compared_in_its_direction(draw_images, six_pairs, drawn_arrays, tmp_path):
    """Two official files, one of them with one generator. A fit that both are shown the images with is a flag's."""
    config = ugatit_tf.ModelConfig(flavor="pytorch", ch=2, n_res=1, n_dis=4, img_size=24)
    model = ugatit_tf.UGATIT(config)
    model.set_arrays(drawn_arrays(config), "here")
    model.save_pt(tmp_path / "both.pt")
    states = read_torch_file(tmp_path / "both.pt")
    write_torch_file(tmp_path / "one.pt", {"genB2A": states["genB2A"]})
    words = ["--dataset", six_pairs.name, "--data_dir", six_pairs.parent, "--out", tmp_path / "out"]
    run_command(tmp_path / "both.pt", tmp_path / "one.pt", *words)
    rows = [(record["direction"], record["label"]) for record in read(tmp_path / "out")]
    assert rows == [
        ("a2b", "untranslated"),
        ("a2b", "both.pt"),
        ("b2a", "untranslated"),
        ("b2a", "both.pt"),
        ("b2a", "one.pt"),
    ]
    shapes = [cells(tmp_path / "out" / f"{direction}.png")[0].shape[:2] for direction in ("a2b", "b2a")]
    assert shapes == [(6, 3), (6, 4)]  # input, one or two translations, truth
    found, _ = cells(tmp_path / "out" / "b2a.png")
    np.testing.assert_array_equal(found[:, 1], found[:, 2])


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_fit_decides_what_all_are_shown(folder, draw_images, tmp_path, fit):
    for name, colour in (("testA", (70, 90, 160)), ("testB", (190, 110, 60))):
        for path in draw_images(tmp_path / "data" / name, colour, size=30).iterdir():
            Image.open(path).crop((0, 0, 20, 30)).save(path)
    runs = folder / "one" / "run", folder / "two" / "run"
    words = ["--dataset", "data", "--data_dir", tmp_path, "--fit", fit, "--out", tmp_path / "out"]
    run_command(*runs, *words)
    for direction, name in (("a2b", "testA"), ("b2a", "testB")):
        found, _ = cells(tmp_path / "out" / f"{direction}.png")
        for row, path in zip(found, images.find_images(tmp_path / "data" / name), strict=True):
            pixels = pipeline.resize(images.to_aspect(images.decode(path), fit), 24)
            np.testing.assert_array_equal(row[0], sheets.to_uint8(pipeline.to_float(pixels)))


# --- names and titles ---


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["runs/a", "runs/b"], ["a", "b"]),
        (["x/a", "y/a", "y/b"], ["x/a", "y/a", "y/b"]),
        (["x/r/a", "y/r/a"], ["x/r/a", "y/r/a"]),
        (["runs/a", "runs/a/checkpoint/best.npz"], ["a", "a, best"]),
        (["x/a/checkpoint/best.npz", "y/a/checkpoint/best.npz"], ["x/a, best", "y/a, best"]),
        (["some.pt", "runs/UGATIT.model-1000"], ["some.pt", "UGATIT.model-1000"]),
        ([".", ".."], ["here", ".."]),
    ],
)
def test_names_tell_the_runs_apart(tmp_path, monkeypatch, paths, names):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert compare._names([pathlib.Path(path) for path in paths]) == names


@pytest.mark.parametrize("size", [64, 256])
def test_long_titles_stay_above_their_pictures(size):
    titles = ["input", "UGATIT_light_no_cam_g_selfie2anime", "experiments/2026-11/UGATIT_light_demo, best", "truth"]
    sheet = compare._draw(4 * [np.zeros((2, size, size, 3), np.uint8)], titles)
    side = sheet.width // 4
    assert side == max(128, size)
    margin = np.asarray(sheet.convert("L"))[: sheet.height - 2 * side]
    for edge in (0, side, 2 * side, 3 * side, 4 * side):
        assert margin[:, max(0, edge - 2) : edge + 2].min() == 255
    inks = [(part < 128).sum() for part in np.split(margin, 4, axis=1)]
    assert inks[2] > inks[1] > inks[0] > 0  # every word is there


# --- mistakes ---


@pytest.fixture
def fails(tmp_path, capsys, monkeypatch):
    """A function that gives the exit code and the one message of a command line, which must write nothing."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code = main(["compare", "--features", "random", *map(str, words)])
        error = capsys.readouterr().err
        assert error.startswith("ugatit: ")
        assert error.count("\n") == 1
        assert not any((tmp_path / "comparison").rglob("*"))
        return code, error

    return run


def test_what_cannot_be_compared(fails, folder, six_pairs, write_run, tmp_path):
    run = folder / "one" / "run"
    other = write_run(tmp_path / "other", tmp_path / "data")
    empty = write_run(tmp_path / "empty", six_pairs, steps=())
    (tmp_path / "torn.npz").write_bytes(b"")
    large = write_run(tmp_path / "large", six_pairs, steps=())
    text = (large / "config.json").read_text().replace('"img_size": 24', '"img_size": 32')
    archive.write(large / "checkpoint" / "step-00000001.npz", {}, text)
    torn = pathlib.Path(shutil.copytree(folder / "two" / "run", tmp_path / "torn")) / "checkpoint" / "step-00000001.npz"
    torn.write_bytes(torn.read_bytes()[:-2000])
    for words, code, messages in (
        ((), 2, ["Name two runs or more."]),
        ((run,), 2, ["Name two runs or more."]),
        ((run, run), 2, ["One checkpoint is named twice."]),
        ((run, run / ".." / "run" / "checkpoint" / "step-00000003.npz"), 2, ["One checkpoint is named twice."]),
        ((run, tmp_path / "none"), 2, [f"{tmp_path / 'none'} is not there."]),
        ((empty, run), 2, [f"{empty} has no checkpoint yet."]),
        ((run, six_pairs), 2, [f"{six_pairs} holds no checkpoint. Expected a run folder"]),
        ((run, other), 2, ["several datasets", str(six_pairs), str(tmp_path / "data"), "Say with --dataset"]),
        ((run, large), 2, ["step-00000003.npz: 24 px", "step-00000001.npz: 32 px", "Compare runs of one size."]),
        ((run, torn.parents[1]), 1, [f"{torn} is torn"]),
        ((run, tmp_path / "torn.npz"), 1, ["torn.npz is torn"]),
        ((run, folder / "two" / "run", "--features", "nonsense"), 1, ["There are no features 'nonsense'"]),
    ):
        found, error = fails(*words)
        assert (found, [message for message in messages if message not in error]) == (code, []), error


def test_a_place_that_cannot_be_written_is_known_before_the_work(fails, folder, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(Evaluator, "score", pytest.fail)
    code, error = fails(folder / "one" / "run", folder / "two" / "run", "--out", tmp_path / "file")
    assert (code, "file cannot be made a folder (is a file). Name another with --out." in error) == (2, True)


def test_images_that_are_no_pairs_or_too_few(fails, folder, draw_images, tmp_path):
    runs = folder / "one" / "run", folder / "two" / "run"
    draw_images(tmp_path / "third" / "testA", (70, 90, 160), "abcd")
    draw_images(tmp_path / "third" / "testB", (190, 110, 60), "uvw")
    words = ["--dataset", "third", "--data_dir", tmp_path]
    assert "received 4 of domain A and 3 of domain B" in fails(*runs, *words)[1]
    draw_images(tmp_path / "third" / "testB" / "more", (190, 110, 60), "x")
    code, error = fails(*runs, *words, "--paired")
    assert (code, "score them without --paired" in error) == (1, True)


def test_help_explains_every_flag(capsys):
    assert main(["compare", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"--{name}" in text for name in compare.make_command().parse([]) if name != "words")
    assert max(len(line) for line in text.splitlines()) <= 120
