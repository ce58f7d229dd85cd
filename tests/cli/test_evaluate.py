"""`ugatit evaluate`: its numbers against direct calls, what it writes, and mistakes that end in one message."""

import contextlib
import datetime
import io
import itertools
import json
import os
import pathlib
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
from PIL import Image

import ugatit_tf
from ugatit_tf.cli import evaluate
from ugatit_tf.cli.main import main
from ugatit_tf.data.images import MEMORY_FILE, find_images
from ugatit_tf.evaluation import features, report
from ugatit_tf.evaluation.score import Evaluator, score_folders

ROOT = pathlib.Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("scoring")


def run_command(*words):
    """What a command that succeeds prints."""
    with contextlib.redirect_stdout(io.StringIO()) as text:
        assert main(["evaluate", *map(str, words), "--features", "random"]) == 0
    return text.getvalue()


def read(out):
    """The records, of strict JSON."""
    return read_whole(out)["records"]


def read_whole(out):
    return json.loads((out / "evaluation.json").read_text(), parse_constant=pytest.fail)


def listing(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def network(scoring):
    return features.load_features("random")


@pytest.fixture(scope="module")
def folder(scoring, six_pairs, write_run, tmp_path_factory):
    """A folder with a run that was scored as it is (`text` is what was printed), and its dataset `six_pairs`."""
    folder = tmp_path_factory.mktemp("evaluated")
    write_run(folder / "run", six_pairs, steps=(100, 200), ema=0.9, best=150)
    (folder / "text").write_text(run_command(folder / "run"))
    return folder


def direct(network, dataset, direction, generator=None, **words):
    """What the command's score must be."""
    evaluator = Evaluator([network], *(find_images(dataset / name) for name in ("testA", "testB")), 24, **words)
    return evaluator.score(direction, generator)


def assert_scores(record, expected):
    """Of a file, and of a call: equal but for the label and its like."""
    found = {name: record[name] for name in record if name in expected}
    assert found == report.finite(expected)


# --- runs and checkpoints ---


def test_a_runs_newest_weights_and_their_average(folder, six_pairs, network):
    out = folder / "run" / "evaluation"
    records = read(out)
    rows = [(record["label"], record["weights"], record["direction"], record["step"]) for record in records]
    assert rows == [
        (label, weights, direction, step)
        for direction in ("a2b", "b2a")
        for label, weights, step in (
            ("untranslated", "untranslated", None),
            ("step 200, raw", "raw", 200),
            ("step 200, ema", "ema", 200),
        )
    ]
    path = folder / "run" / "checkpoint" / "step-00000200.npz"
    for record in records:
        generator = None
        if record["weights"] != "untranslated":
            assert record["checkpoint"] == str(path)
            model = ugatit_tf.UGATIT.load(path, ema=record["weights"] == "ema")
            generator = getattr(model, f"gen_{record['direction']}")
            assert record["weights_sha256"] == generator.weights_sha256()
        assert record["size"] == [24, 24]
        assert_scores(record, direct(network, six_pairs, record["direction"], generator))
    kids = [record["features"]["random-conv"]["kid"] for record in records]
    assert min(abs(a - b) for a, b in itertools.combinations(kids, 2)) > 1e-3
    assert listing(out) == ["evaluation.json"]  # no plot of one step


def test_the_head_says_where_the_numbers_are_from(folder, six_pairs):
    head = read_whole(folder / "run" / "evaluation")
    del head["records"]
    date = datetime.datetime.fromisoformat(head.pop("date"))
    assert datetime.timedelta() <= datetime.datetime.now(datetime.UTC) - date < datetime.timedelta(hours=1)
    assert head == {
        "program": f"ugatit-tf {ugatit_tf.__version__}",
        "command": f"ugatit evaluate {folder / 'run'} --features random",
        "dataset": str(six_pairs),
    }


@pytest.mark.slow
def test_the_command_as_it_is_typed(folder, tmp_path):
    """A process of its own, with compiled generators and batches as they are."""
    command = [sys.executable, "-m", "ugatit_tf.cli.main", "evaluate", folder / "run", "--features", "random"]
    environment = {name: text for name, text in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    environment |= {"UGATIT_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    result = subprocess.run([*command, "--out", tmp_path], capture_output=True, text=True, env=environment, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    for record, expected in zip(read(tmp_path), read(folder / "run" / "evaluation"), strict=True):
        found, values = (dict(part["features"]["random-conv"]) for part in (record, expected))
        assert (found.pop("warnings"), found.pop("note")) == (values.pop("warnings"), values.pop("note"))
        # A compiled generator's sums round otherwise: a level of a pixel here and there.
        assert found == pytest.approx(values, rel=1e-2, abs=1e-2)
        assert record["pairs"] == pytest.approx(expected["pairs"], rel=1e-3)
    assert (tmp_path / "cache").is_dir()


def test_what_is_printed(folder):
    text = (folder / "text").read_text()
    assert report.markdown(read(folder / "run" / "evaluation")) in text
    assert "6 testA, 6 testB" in text
    assert "scored as pairs (--nopaired if they are none)" in text
    assert "step-00000200.npz ..." in text
    assert f"{folder / 'run' / 'evaluation' / 'evaluation.json'} has every number." in text
    assert "step-00000100" not in text


def test_all_checkpoints_and_a_plot(folder, tmp_path, monkeypatch):
    lines = ['{"step": 50, "kid_a2b": 0.5, "kid_b2a": NaN}', '{"step": 100, "kid_a2b": null}', '{"step": 150, "ki']
    (folder / "run" / "logs").mkdir()
    (folder / "run" / "logs" / "evaluation.jsonl").write_text("\n".join(lines))
    drawn, plot = [], report.plot
    monkeypatch.setattr(report, "plot", lambda *arguments: drawn.append(arguments) or plot(*arguments))
    text = run_command(folder / "run", "--all", "--direction", "a2b", "--out", tmp_path / "out")
    records = read(tmp_path / "out")
    labels = [record["label"] for record in records]
    steps = ("best, step 150", "step 100", "step 200")
    assert labels == ["untranslated", *(f"{step}, {weights}" for step in steps for weights in ("raw", "ema"))]
    assert {record["direction"] for record in records} == {"a2b"}
    newest = [record for record in read(folder / "run" / "evaluation") if record["direction"] == "a2b"]
    for record, expected in zip((records[0], *records[-2:]), newest, strict=True):
        assert_scores(record, expected)
    kids = {record["features"]["random-conv"]["kid"] for record in records}
    assert len(kids) == 7
    assert listing(tmp_path / "out") == ["evaluation.json", "evaluation.png"]
    assert f"{tmp_path / 'out' / 'evaluation.png'} shows the scores against the step." in text
    with Image.open(tmp_path / "out" / "evaluation.png") as picture:
        assert picture.size == (3 * 600, 1008)  # KID, FID, L1; SSIM and the held-out images
    assert [record["step"] for record in drawn[0][1]] == [50, 100]


def test_one_file_in_one_direction(folder, six_pairs, network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = folder / "run" / "checkpoint" / "best.npz"
    run_command(path, "--direction", "b2a", "--nopaired")
    records = read(tmp_path / "evaluation")  # not in the run folder
    assert [record["label"] for record in records] == ["untranslated", "best, step 150, raw", "best, step 150, ema"]
    model = ugatit_tf.UGATIT.load(path, ema=True)
    assert_scores(records[2], direct(network, six_pairs, "b2a", model.gen_b2a, paired=False))
    assert listing(tmp_path) == ["evaluation/evaluation.json"]


def test_an_official_checkpoint(six_pairs, network, drawn_arrays, tmp_path):
    config = ugatit_tf.ModelConfig(flavor="pytorch", light=True, ch=2, n_res=1, n_dis=4, img_size=24)
    model = ugatit_tf.UGATIT(config)
    model.set_arrays(drawn_arrays(config), "here")
    model.save_pt(tmp_path / "official.pt")
    expected = direct(network, six_pairs, "a2b", model.gen_a2b)
    words = ["--dataset", six_pairs.name, "--data_dir", six_pairs.parent, "--direction", "a2b"]
    run_command(tmp_path / "official.pt", "--img_size", 24, *words, "--out", tmp_path / "out")
    record = read(tmp_path / "out")[1]
    assert (record["label"], record["step"]) == ("official.pt, raw", None)
    assert_scores(record, expected)


@pytest.mark.slow
def test_an_official_tf1_checkpoint_without_smoothing(six_pairs, network, tmp_path):
    """Its path is no file's, and its smoothing shows in every pixel."""
    prefix = ROOT / "tests" / "golden" / "tf1_light" / "UGATIT_light.model-1"
    words = ["--dataset", six_pairs.name, "--data_dir", six_pairs.parent, "--direction", "a2b", "--img_size", 96]
    run_command(prefix, *words, "--nosmoothing", "--out", tmp_path / "out")
    record = read(tmp_path / "out")[1]
    assert record["label"] == "UGATIT_light.model-1, raw"
    evaluator = Evaluator([network], *(find_images(six_pairs / name) for name in ("testA", "testB")), 96)
    for smoothing in (True, False):
        model = ugatit_tf.UGATIT.load(prefix, smoothing=smoothing, img_size=96)
        expected = evaluator.score("a2b", model.gen_a2b)
        assert (record["features"] == expected["features"]) is not smoothing


def test_a_cyclegan(six_pairs, network, write_run, tmp_path):
    fields = {"architecture": "cyclegan", "light": False, "n_dis": 6}
    run = write_run(tmp_path / "run", six_pairs, **fields)
    run_command(run, "--direction", "a2b")
    record = read(run / "evaluation")[1]
    assert record["label"] == "step 1, raw"
    assert_scores(record, direct(network, six_pairs, "a2b", ugatit_tf.UGATIT.load(run).gen_a2b))


def test_a_run_with_best_weights_alone(folder, six_pairs, write_run, tmp_path):
    run = write_run(tmp_path / "run", six_pairs, steps=(), best=7)
    assert evaluate.find_checkpoints(run) == [run / "checkpoint" / "best.npz"]
    run = write_run(tmp_path / "more", six_pairs, steps=(9, 10), best=7)
    names = ["best.npz", "step-00000009.npz", "step-00000010.npz"]
    assert [path.name for path in evaluate.find_checkpoints(run)] == names
    assert evaluate.find_checkpoints(tmp_path) is None


# --- folders ---


def test_translations_of_a_dataset(six_pairs, draw_images, network, tmp_path):
    draw_images(tmp_path / "found", (180, 100, 80), size=40)
    words = ["--dataset", six_pairs.name, "--data_dir", six_pairs.parent, "--out", tmp_path / "out"]
    for direction, name in (("a2b", "testB"), ("b2a", "testA")):
        run_command(tmp_path / "found", *words, "--direction", direction)
        (record,) = read(tmp_path / "out")
        assert (record["label"], record["direction"]) == (str(tmp_path / "found"), direction)
        expected = score_folders([network], find_images(tmp_path / "found"), find_images(six_pairs / name))
        assert_scores(record, expected)
        assert "pairs" in record
    assert listing(tmp_path / "out") == ["evaluation.json"]


@pytest.mark.parametrize("fit", ["squeeze", "crop", "pad"])
def test_a_run_and_a_folder_of_its_translations_score_alike(folder, draw_images, tmp_path, fit):
    """Whatever becomes of images that are not square; and each fit scores otherwise."""
    for name, colour in (("testA", (70, 90, 160)), ("testB", (190, 110, 60))):
        for path in draw_images(tmp_path / "data" / name, colour, size=30).iterdir():
            pixels = np.asarray(Image.open(path)).astype(int)
            slope = np.linspace(-60, 60, 30).astype(int)[:, None]
            Image.fromarray((pixels + slope).clip(0, 255).astype(np.uint8)).crop((0, 0, 20, 30)).save(path)
    words = ["--dataset", "data", "--data_dir", tmp_path, "--direction", "a2b", "--fit", fit, "--out", tmp_path / "out"]
    checkpoint = folder / "run" / "checkpoint" / "best.npz"
    text = run_command(checkpoint, *words)
    record = read(tmp_path / "out")[1]
    paths = [find_images(tmp_path / "data" / name) for name in ("testA", "testB")]
    generator = ugatit_tf.UGATIT.load(checkpoint, ema=False).gen_a2b
    pictures = Evaluator([], *paths, 24, fit=fit).pictures("a2b", 6, generator)
    (tmp_path / "found").mkdir()
    for path, picture in zip(paths[0], pictures, strict=True):
        Image.fromarray(picture).save(tmp_path / "found" / path.name)
    notes = [line for line in text.splitlines() if "not square" in line]
    text = run_command(tmp_path / "found", *words)
    assert [line for line in text.splitlines() if "not square" in line] == notes
    (found,) = read(tmp_path / "out")
    fields = ("kid", "fid", "precision", "recall", "coverage")
    scores, expected = (part["features"]["random-conv"] for part in (found, record))
    assert [scores[name] for name in fields] == [expected[name] for name in fields]
    assert found["pairs"] == record["pairs"]
    others = score_folders([features.load_features("random")], find_images(tmp_path / "found"), paths[1])
    assert (others["features"]["random-conv"]["kid"] == scores["kid"]) is (fit == "squeeze")


def test_two_folders(six_pairs, network, tmp_path):
    folders = [six_pairs / "testA", six_pairs / "testB"]
    text = run_command(*folders, "--out", tmp_path / "out", "--nopaired")
    (record,) = read(tmp_path / "out")
    assert (record["label"], record["direction"]) == (str(folders[0]), "")
    assert_scores(record, score_folders([network], *map(find_images, folders), paired=False))
    assert "Translations and real images at 24 px." in text
    assert f"\n| {folders[0]} | " in text  # no direction, and no column of sizes
    assert read_whole(tmp_path / "out")["reference"] == str(folders[1])


def test_a_score_of_infinity_is_null(six_pairs, tmp_path):
    text = run_command(six_pairs / "testA", six_pairs / "testA", "--out", tmp_path / "out")
    assert read(tmp_path / "out")[0]["pairs"]["psnr"] is None
    assert "| inf " in text


# --- mistakes ---


@pytest.fixture
def fails(tmp_path, capsys, monkeypatch):
    """A function that gives the exit code and the one message of a command line, which must write nothing."""
    monkeypatch.chdir(tmp_path)

    def files():
        return [name for name in listing(tmp_path) if not name.endswith(MEMORY_FILE)]

    def run(*words):
        before = files()
        code = main(["evaluate", "--features", "random", "--out", str(tmp_path / "out"), *map(str, words)])
        error = capsys.readouterr().err
        assert error.startswith("ugatit: ")
        assert error.count("\n") == 1
        assert files() == before
        return code, error

    return run


@pytest.fixture
def plain(six_pairs, write_run, tmp_path):
    return write_run(tmp_path / "plain", six_pairs)


def test_words_that_make_no_sense(fails, plain, six_pairs, tmp_path):
    code, error = fails()
    assert (code, "Name a run, a checkpoint, a folder of images, or two folders" in error) == (2, True)
    assert fails("a", "b", "c") == (code, error)
    checkpoint = plain / "checkpoint" / "step-00000001.npz"
    (tmp_path / "empty").mkdir()
    for words, message in (
        ((tmp_path / "none",), "none is not there."),
        ((tmp_path / "none", "--all"), "none is not there."),
        ((six_pairs / "testA", "none"), "none is not there."),
        ((checkpoint, "--all"), "--all is for a run folder."),
        ((six_pairs / "testA", "--all"), "--all is for a run folder."),
        ((six_pairs / "testA",), "is a folder of images, not a run: name a second folder"),
        ((six_pairs / "testA", "--dataset", "x"), "give --dataset and --direction a2b (or b2a)"),
        ((tmp_path / "empty", six_pairs / "testA"), f"{tmp_path / 'empty'} has no images."),
        ((six_pairs / "testA", tmp_path / "empty"), f"{tmp_path / 'empty'} has no images."),
        ((six_pairs / "testA", checkpoint), f"{checkpoint} is no folder of images."),
        ((six_pairs / "testA", plain), f"{plain} is a run: score it alone, or several with `ugatit compare`."),
        ((plain, "--features", " , "), "--features names none."),
    ):
        code, error = fails(*words)
        assert (code, message in error) == (2, True), error


def test_features_that_are_not_there(fails, plain, tmp_path, monkeypatch):
    for name in ("nonsense", tmp_path / "none.keras"):
        assert fails(plain, "--features", f"random,{name}") == (
            1,
            f"ugatit: There are no features {str(name)!r}: give random, inception or the path of a file.\n",
        )

    def offline(**words):
        raise Exception("URL fetch failure on https://storage: None -- [Errno -2] Name or service not known")

    monkeypatch.setattr(keras.applications, "InceptionV3", offline)
    code, error = fails(plain, "--features", "inception")
    assert (code, "Inception-v3 could not be fetched (URL fetch failure" in error) == (1, True)
    assert main(["evaluate", str(plain)]) == 1  # inception is what is taken by itself


def test_networks_that_tables_would_confuse(fails, plain, monkeypatch):
    monkeypatch.setattr(features, "load_features", lambda name: types.SimpleNamespace(name=name.split("/")[-1]))
    code, error = fails(plain, "--features", "a/net.keras,b/net.keras")
    assert (code, "two networks called net.keras" in error) == (2, True)
    values = {"features": "b, a,b ,,a"}
    assert [network.name for network in evaluate.load_networks(values)] == ["b", "a"]


def test_a_run_without_a_checkpoint(fails, plain):
    (plain / "checkpoint" / "step-00000001.npz").unlink()
    for words in ((plain,), (plain, "--all")):
        assert fails(*words) == (2, f"ugatit: {plain} has no checkpoint yet.\n")


def test_torn_checkpoints(fails, six_pairs, write_run, tmp_path):
    run = write_run(tmp_path / "torn", six_pairs, steps=(1, 2))
    for name, words in (("step-00000001.npz", [run, "--all"]), ("step-00000002.npz", [run])):
        path = run / "checkpoint" / name
        path.write_bytes(path.read_bytes()[:-2000])
        code, error = fails(*words, "--direction", "a2b")
        assert (code, f"{path} is torn, or no checkpoint" in error) == (1, True)
    path.write_bytes(b"")
    assert fails(path, "--direction", "a2b")[0] == 1


def test_a_checkpoint_that_was_moved_still_knows_its_dataset(folder, tmp_path):
    (tmp_path / "x.npz").write_bytes((folder / "run" / "checkpoint" / "step-00000200.npz").read_bytes())
    run_command(tmp_path / "x.npz", "--out", tmp_path / "out")
    expected = read(folder / "run" / "evaluation")
    assert [r["features"] for r in read(tmp_path / "out")] == [r["features"] for r in expected]


def test_two_folders_take_no_dataset(fails, six_pairs):
    for words in (("--dataset", "x"), ("--direction", "a2b"), ("--fit", "crop")):
        code, error = fails(six_pairs / "testA", six_pairs / "testB", *words)
        assert (code, "leave out --dataset, --direction and --fit" in error) == (2, True)


def test_a_file_that_is_no_checkpoint(fails, six_pairs, tmp_path):
    (tmp_path / "x.txt").touch()
    words = ["--dataset", six_pairs.name, "--data_dir", six_pairs.parent]
    code, error = fails(tmp_path / "x.txt", *words)
    assert (code, f"No checkpoint at {tmp_path / 'x.txt'}. Expected a run folder" in error) == (2, True)
    (tmp_path / "x.pt").touch()
    code, error = fails(tmp_path / "x.pt")
    assert (code, "does not tell its dataset; its test images are translated. Give --dataset." in error) == (2, True)


def test_pairs_that_are_none(fails, plain, draw_images, tmp_path):
    data = tmp_path / "data"
    draw_images(data / "testA", (70, 90, 160))
    draw_images(data / "testB", (190, 110, 60), "uvwxyz")
    code, error = fails(plain, "--dataset", "data", "--data_dir", tmp_path, "--paired")
    assert (code, "score them without --paired" in error) == (1, True)
    code, error = fails(data / "testA", data / "testB", "--paired")
    assert (code, "score them without --paired" in error) == (1, True)


def test_a_broken_image(fails, plain, draw_images, tmp_path, capsys):
    data = tmp_path / "data"
    folders = [draw_images(data / "testA", (70, 90, 160)), draw_images(data / "testB", (190, 110, 60))]
    (data / "testA" / "d.png").write_bytes(b"no image")
    for words in (folders, folders[::-1]):
        code, error = fails(*words)
        assert (code, f"{data / 'testA' / 'd.png'}: not a JPEG" in error) == (1, True)


def test_a_broken_image_of_a_dataset_is_left_out(draw_images, tmp_path):
    data = tmp_path / "data"
    draw_images(data / "testA", (70, 90, 160))
    draw_images(data / "testB", (190, 110, 60))
    (data / "testA" / "d.png").write_bytes(b"no image")
    words = ["--dataset", "data", "--data_dir", tmp_path, "--direction", "b2a", "--out", tmp_path / "out"]
    assert "d.png: not a JPEG" in run_command(data / "testB", *words)
    (record,) = read(tmp_path / "out")
    assert (record["images"], record["reference"], "pairs" in record) == (6, 5, False)


def test_too_few_images(fails, plain, draw_images, tmp_path):
    data = tmp_path / "data"
    folders = draw_images(data / "testA", (70, 90, 160), "abc"), draw_images(data / "testB", (190, 110, 60))
    code, error = fails(plain, "--dataset", "data", "--data_dir", tmp_path)
    words = "Scores need at least 4 images in each set; received 3 of domain A and 6 of domain B."
    assert (code, error) == (1, f"ugatit: {words}\n")
    words = "Scores need at least 4 images in each set; received 3 translations and 6 reference images."
    assert fails(*folders) == (1, f"ugatit: {words}\n")


def test_a_place_that_cannot_be_written_is_known_before_the_work(fails, plain, six_pairs, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(Evaluator, "score", pytest.fail)
    monkeypatch.setattr("ugatit_tf.evaluation.score.score_folders", pytest.fail)
    for words in ([plain], [six_pairs / "testA", six_pairs / "testB"]):
        code, error = fails(*words, "--out", tmp_path / "file")
        assert (code, "file cannot be made a folder (is a file). Name another with --out." in error) == (2, True)


def test_a_dataset_that_is_not_there(plain, tmp_path, capsys):
    assert main(["evaluate", str(plain), "--dataset", "none", "--data_dir", str(tmp_path), "--features", "random"]) == 1
    assert f"{tmp_path / 'none'} is not there" in capsys.readouterr().err


def test_help_explains_every_flag(capsys):
    assert main(["evaluate", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"--{name}" in text for name in evaluate.make_command().parse([]) if name != "words")
    assert max(len(line) for line in text.splitlines()) <= 120
