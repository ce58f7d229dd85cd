"""`ugatit export`: what it writes, what it refuses, and that nothing is lost when it fails."""

import dataclasses
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import ugatit_tf
from ugatit_tf.cli import export
from ugatit_tf.cli.flags import UsageError
from ugatit_tf.cli.main import main
from ugatit_tf.cli.signals import as_ctrl_c
from ugatit_tf.data import pipeline
from ugatit_tf.data.images import to_aspect
from ugatit_tf.export import metadata, tflite, verify
from ugatit_tf.models import Generator
from ugatit_tf.weights.process import Process
from ugatit_tf.weights.torch_file import read_torch_file
from ugatit_tf.weights.torch_writer import write_torch_file

ROOT = pathlib.Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
FORMATS = {"b2a": ["saved_model", "float16"], "a2b": [kind for kind in export.FORMATS if kind != "pt"]}


@pytest.fixture(scope="module", autouse=True)
def _no_stopwatch():
    """The time of a SavedModel is taken in two processes; tests of `verify` do that, once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "_saved_model_latency", lambda folder, size, threads: 1.0)
        yield


@pytest.fixture(scope="module")
def exported(make_run, tmp_path_factory):
    """A run folder, exported in every format that its flavor has, and in both directions."""
    folder = tmp_path_factory.mktemp("exported")
    make_run(folder)
    for direction, formats in FORMATS.items():
        words = ["--formats", ",".join(formats), "--direction", direction, "--licence", "CC0-1.0"]
        assert main(["export", "--checkpoint", str(folder / "run"), *words]) == 0
    return folder / "run"


def listing(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_everything_is_where_the_help_says(exported):
    out = exported / "export"
    names = {"export.json", "export.md", "serving"}
    for direction, formats in FORMATS.items():
        start = f"ugatit_{direction}"
        names |= {start, *(f"{start}_{kind}.tflite" for kind in formats if kind in tflite.KINDS)}
        assert [path.name for path in (out / start).iterdir()] == ["1"]
    assert {path.name for path in out.iterdir()} == {*names, "ugatit_a2b.weights.h5"}
    assert listing(out / "serving") == ["batching.config", "compose.yaml", "models.config"]
    models = (out / "serving" / "models.config").read_text()
    assert models.count('base_path: "/models/ugatit_a2b"') == models.count('base_path: "/models/ugatit_b2a"') == 1


def test_the_proof_is_written_as_a_table_and_as_json(exported):
    out = exported / "export"
    whole = json.loads((out / "export.json").read_text(), parse_constant=pytest.fail)
    proofs, model = whole["files"], ugatit_tf.UGATIT.load(exported)
    assert [proof["kind"] for proof in proofs] == FORMATS["b2a"] + FORMATS["a2b"]  # of both exports
    for proof in proofs:
        assert proof["psnr"] is None or proof["psnr"] >= verify.BOUNDS[proof["kind"]]
        assert proof["images"] == ("" if proof["kind"] == "weights" else f"1 of test{proof['file'][7].upper()}")
        assert proof["ranges"] == ("1 of trainA" if proof["kind"] == "static_int8" else "")
        direction = proof["file"].split("_")[1][:3]
        assert proof["made_by"]["weights_sha256"] == getattr(model, f"gen_{direction}").weights_sha256()
        assert (proof["step"], proof["made_by"]["size"]) == (1, [24, 24])
    head = {name: whole[name] for name in ("program", "checkpoint", "step")}
    checkpoint = exported / "checkpoint" / "step-00000001.npz"
    assert head == {"program": f"ugatit-tf {ugatit_tf.__version__}", "checkpoint": str(checkpoint), "step": 1}
    assert whole["command"].startswith(f"ugatit export --checkpoint {exported} --formats ")
    lines = (out / "export.md").read_text().splitlines()
    assert [line.split()[1] for line in lines[2 : 2 + len(proofs)]] == [proof["file"] for proof in proofs]
    assert "Tried on 1 of testB, 1 of testA." in lines


def test_the_files_know_what_they_are(exported):
    model = ugatit_tf.UGATIT.load(exported)
    for direction in ("a2b", "b2a"):
        said = metadata.read((exported / "export" / f"ugatit_{direction}_float16.tflite").read_bytes())
        assert said["label"] == f"U-GAT-IT, cats, {direction[0].upper()} to {direction[2].upper()}"
        assert said["licence"] == "CC0-1.0"
        assert said["weights_sha256"] == getattr(model, f"gen_{direction}").weights_sha256()
        assert said["model"]["img_size"] == 24
        assert said == json.loads((exported / "export" / f"ugatit_{direction}" / "1" / "ugatit.json").read_text())


def test_what_is_there_is_not_made_again(exported, capsys, monkeypatch):
    """By the weights, the flags and the file's content; what differs in one is made anew."""
    out, made = exported / "export", []
    convert = tflite.convert
    monkeypatch.setattr(tflite, "convert", lambda *args: made.append(args[1]) or convert(*args))
    words = [
        "export",
        "--checkpoint",
        str(exported),
        "--formats",
        "saved_model,float16,weights",
        "--licence",
        "CC0-1.0",
    ]
    before = {name: (out / name).stat().st_mtime_ns for name in listing(out) if name.startswith("ugatit_b2a")}
    assert main([*words, "--direction", "b2a"]) == 0
    text = capsys.readouterr().out
    assert text.count("there already, unchanged") == 2
    assert "[3/3] ugatit_b2a.weights.h5 ... 0." in text  # MB
    assert text.count("| ugatit_b2a") == 3
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    assert made == []

    path = out / "ugatit_b2a_float16.tflite"
    content = path.read_bytes()
    for spoil in (lambda: path.write_bytes(content[:-1]), path.unlink, lambda: words.__setitem__(-1, "CC-BY")):
        spoil()
        assert main([*words[:4], "float16", *words[5:], "--direction", "b2a"]) == 0
        assert "there already" not in capsys.readouterr().out
    assert made == ["float16"] * 3


def test_again_is_the_next_version(exported):
    words = ["--formats", "saved_model", "--direction", "b2a", "--licence", "CC0-1.0", "--again"]
    assert main(["export", "--checkpoint", str(exported), *words]) == 0
    assert {path.name for path in (exported / "export" / "ugatit_b2a").iterdir()} == {"1", "2"}
    assert {path.name for path in (exported / "export" / "ugatit_a2b").iterdir()} == {"1"}
    assert "ugatit_a2b" in (exported / "export" / "serving" / "models.config").read_text()


def test_an_official_checkpoint_and_its_weights_as_pt(make_run, tmp_path):
    make_run(tmp_path)
    checkpoint = GOLDEN / "pytorch_light" / "params_0000000.pt"
    words = ["--checkpoint", str(checkpoint), "--data_dir", str(tmp_path), "--out_dir", str(tmp_path / "out")]
    assert main(["export", *words, "--formats", "pt,weights", "--name", "anime", "--dataset", "cats"]) == 0
    assert listing(tmp_path / "out") == [
        "anime.pt",
        "anime_a2b.weights.h5",
        "anime_b2a.weights.h5",
        "export.json",
        "export.md",
    ]
    expected, actual = ugatit_tf.UGATIT.load(checkpoint), ugatit_tf.UGATIT.load(tmp_path / "out" / "anime.pt")
    for name, array in expected.arrays().items():
        np.testing.assert_array_equal(actual.arrays()[name], array)


@pytest.mark.slow
def test_a_cyclegan(make_run, cyclegan_flags, tmp_path, capsys):
    """As any run; no official code takes its weights."""
    make_run(tmp_path, cyclegan_flags)
    words = ["--checkpoint", str(tmp_path / "run"), "--direction", "b2a", "--formats"]
    formats = ["saved_model", "float32", "weights"]
    assert main(["export", *words, ",".join(formats)]) == 0
    out = tmp_path / "run" / "export"
    assert [proof["kind"] for proof in json.loads((out / "export.json").read_text())["files"]] == formats
    generator = ugatit_tf.UGATIT.load(tmp_path / "run").gen_b2a
    said = metadata.read((out / "ugatit_b2a_float32.tflite").read_bytes())
    assert said["label"] == "CycleGAN, cats, B to A"
    assert (said["model"]["architecture"], said["model"]["n_res"]) == ("cyclegan", 1)
    assert said["weights_sha256"] == generator.weights_sha256()
    assert main(["export", *words, "pt"]) == 2
    assert "--formats pt is for U-GAT-IT of the pytorch flavor;" in capsys.readouterr().err


@pytest.mark.parametrize("ablation", ["--norm=ln", "--nocam_d"])
def test_ablations_have_no_official_form(make_run, tmp_path, capsys, ablation):
    words = ["--light", "--ch", "2", "--n_res", "1", "--n_dis", "4", "--img_size", "24", "--flavor", "pytorch"]
    make_run(tmp_path, [*words, ablation])
    assert main(["export", "--checkpoint", str(tmp_path / "run"), "--formats", "weights,pt"]) == 2
    assert f"{tmp_path / 'run'} is of the kind that the official code lacks." in capsys.readouterr().err
    assert not (tmp_path / "run" / "export").exists()


@pytest.mark.parametrize(
    ("norm", "light", "fixed"), [("adalin", False, True), ("adalin", True, False), ("gn", False, False)]
)
def test_sizes_that_a_generator_has(norm, light, fixed):
    generator = Generator(light=light, norm=norm, ch=1, n_res=1, img_size=16)
    assert export._size(None, generator) == export._size("16", generator) == (16, 16)
    if fixed:
        with pytest.raises(UsageError, match="--size 16x24: a full generator works at its own size only, 16"):
            export._size("16x24", generator)
    else:
        assert export._size("16x24", generator) == (16, 24)


def test_another_size(run, tmp_path):
    words = ["--checkpoint", str(tmp_path / "run"), "--formats", "float32", "--direction", "a2b", "--size", "16x32"]
    assert main(["export", *words]) == 0
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(tmp_path / "run" / "export" / "ugatit_a2b_float32.tflite"))
    shape = interpreter.get_signature_runner("uint8").get_input_details()["image"]["shape"]
    assert shape.tolist() == [1, 16, 32, 3]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--formats", "onnx"], "--formats takes saved_model, dynamic_range,"),
        (["--formats", ""], "received none"),
        (["--formats", "pt"], "is for U-GAT-IT of the pytorch flavor;"),
        (["--dynamic", "--formats", "static_int8"], "does not go together with --dynamic"),
        (["--size", "18"], "must be multiples of 4"),
        (["--size", "4"], "at least 8"),
        (["--size", "big"], "--size takes 256 or 256x384"),
        (["--name", "a/b"], "--name may have letters"),
        (["--proof_images", "0"], "--proof_images must be at least 1"),
        (["stray"], "Name one run or checkpoint: ugatit export RUN, or --checkpoint RUN (received stray, "),
    ],
)
def test_wrong_flags(run, tmp_path, capsys, words, message):
    assert main(["export", "--checkpoint", str(tmp_path / "run"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run" / "export").exists()


def test_no_checkpoint(capsys, tmp_path):
    assert main(["export"]) == 2
    assert "ugatit export RUN, or --checkpoint RUN (a run folder" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "none"), "--dataset", "cats"]) == 2
    assert f"{tmp_path / 'none'} is not there." in capsys.readouterr().err


def test_missing_packages_are_named(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export, "PACKAGES", ("ugatit_tf", "no_such_package"))
    assert main(["export", "--checkpoint", str(tmp_path / "run")]) == 2
    assert f'exporting needs no_such_package: pip install "{ROOT}[export]"' in capsys.readouterr().err


@pytest.fixture
def before(run, tmp_path):
    """An export folder with something of value in it; returns a function that says what is there."""
    out = tmp_path / "run" / "export"
    (out / "ugatit_a2b" / "1").mkdir(parents=True)
    (out / "ugatit_a2b" / "1" / "saved_model.pb").write_bytes(b"former")
    (out / "ugatit_a2b_float32.tflite").write_bytes(b"former")
    (out / "export.md").write_bytes(b"former")
    return lambda: {name: (out / name).read_bytes() for name in listing(out)}


WORDS = ["--formats", "saved_model,float32", "--direction", "a2b"]


def test_a_truncated_checkpoint_changes_nothing(before, tmp_path, capsys):
    path = tmp_path / "run" / "checkpoint" / "step-00000001.npz"
    path.write_bytes(path.read_bytes()[:-2000])
    kept = before()
    assert main(["export", "--checkpoint", str(path), *WORDS]) == 1
    assert "step-00000001.npz" in capsys.readouterr().err
    assert before() == kept


def test_a_file_that_has_drifted_is_not_published(before, tmp_path, capsys, monkeypatch):
    """It leaves what was there; the others are published, and it alone is made by the next command."""
    convert = tflite.convert

    def drifted(generator, *args):
        other = generator.copy()
        other.out_conv.kernel.assign(other.out_conv.kernel * 1.01)
        return convert(other, *args)

    monkeypatch.setattr(tflite, "convert", drifted)
    kept = before()
    assert main(["export", "--checkpoint", str(tmp_path / "run"), *WORDS]) == 1
    error = capsys.readouterr().err
    assert "Not published, for these are beyond their bounds" in error
    assert "ugatit_a2b_float32.tflite: " in error
    assert "must reach 100 dB" in error
    now, name = before(), "ugatit_a2b_float32.tflite"
    assert now[name] == kept[name]
    assert "ugatit_a2b/2/saved_model.pb" in now
    assert [row["file"] for row in json.loads(now["export.json"])["files"]] == ["ugatit_a2b"]
    assert not any(part.startswith(".") for part in now)
    monkeypatch.undo()
    monkeypatch.setattr(verify, "_saved_model_latency", lambda folder, size, threads: 1.0)
    assert main(["export", "--checkpoint", str(tmp_path / "run"), *WORDS]) == 0
    assert "ugatit_a2b ... there already" in capsys.readouterr().out
    assert before()[name] != kept[name]
    assert not (tmp_path / "run" / "export" / "ugatit_a2b" / "3").exists()


def test_a_folder_that_cannot_be_made(run, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        assert main(["export", "--checkpoint", str(tmp_path / "run"), "--out_dir", str(place), *WORDS]) == 2
        assert "Name another with --out_dir" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("limit", [5_000, 60_000])
def test_a_full_disk_leaves_what_was_there(before, tmp_path, limit):
    """No file may grow beyond a limit, which stops the export at one place or another, in Python or in C++."""
    kept = before()
    command = [sys.executable, ROOT / "export.py", "--checkpoint", tmp_path / "run", *WORDS]
    result = subprocess.run(
        command,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    assert str(tmp_path) in result.stderr
    now = before()
    assert {name: now[name] for name in kept if name != "export.md"} == {
        name: content for name, content in kept.items() if name != "export.md"
    }
    assert not any(part.startswith(".") for part in now)


def test_an_image_that_is_broken_is_left_out(run, tmp_path, capsys):
    (tmp_path / "cats" / "testA" / "2.png").write_bytes(b"no image")
    words = ["--checkpoint", str(tmp_path / "run"), "--formats", "weights", "--direction", "a2b"]
    assert main(["export", *words]) == 0
    assert "2.png: not a JPEG" in capsys.readouterr().out


# --- images for the proof ---


def files_of(out):
    return {row["kind"]: row for row in json.loads((out / "export.json").read_text())["files"]}


def test_without_test_images_training_images_do(run, tmp_path, capsys):
    shutil.rmtree(tmp_path / "cats" / "testA")
    words = ["--checkpoint", str(tmp_path / "run"), "--direction", "a2b", "--formats", "float32"]
    assert main(["export", *words]) == 0
    assert "a2b: tried on 1 of trainA." in capsys.readouterr().out
    assert files_of(tmp_path / "run" / "export")["float32"]["images"] == "1 of trainA"


def test_without_a_dataset_images_are_drawn(run, tmp_path, capsys):
    """A run that was copied to another computer; ranges of drawn images are warned of."""
    shutil.rmtree(tmp_path / "cats")
    words = ["--checkpoint", str(tmp_path / "run"), "--direction", "a2b", "--formats", "float32,static_int8"]
    assert main(["export", *words, "--proof_images", "2"]) == 0
    text = capsys.readouterr().out
    assert f"No images to work with in {tmp_path / 'cats'}. The files are tried on drawn images instead" in text
    assert "a2b: tried on 2 drawn." in text
    assert "a2b: static_int8 measures its ranges on 2 drawn.\nWarning: such ranges fit drawn images" in text
    assert main(["export", *words, "--proof_images", "2"]) == 0
    assert capsys.readouterr().out.count("there already") == 2
    files = files_of(tmp_path / "run" / "export")
    assert (files["float32"]["images"], files["float32"]["ranges"]) == ("2 drawn", "")
    assert (files["static_int8"]["images"], files["static_int8"]["ranges"]) == ("2 drawn", "2 drawn")
    assert "\nTried on 2 drawn.\n" in (tmp_path / "run" / "export" / "export.md").read_text()


def test_what_was_proven_on_drawn_images_is_proven_on_real_ones_later(run, tmp_path, capsys):
    (tmp_path / "cats").rename(tmp_path / "away")
    words = ["export", "--checkpoint", str(tmp_path / "run"), "--direction", "a2b", "--formats", "float32,weights"]
    assert main(words) == 0
    (tmp_path / "away").rename(tmp_path / "cats")
    for again in (1, 2):
        capsys.readouterr()
        assert main(words) == 0
        assert capsys.readouterr().out.count("there already, unchanged") == again
        assert files_of(tmp_path / "run" / "export")["float32"]["images"] == "1 of testA"
    (tmp_path / "cats").rename(tmp_path / "away")  # and stays so
    assert main(words) == 0
    assert files_of(tmp_path / "run" / "export")["float32"]["images"] == "1 of testA"


def test_an_official_checkpoint_without_a_dataset(tmp_path, capsys):
    checkpoint = GOLDEN / "pytorch_light" / "params_0000000.pt"
    assert main(["export", str(checkpoint), "--out_dir", str(tmp_path), "--formats", "weights"]) == 0
    lines = capsys.readouterr().out.splitlines()
    drawn = "The files are tried on drawn images instead (--dataset names others)."
    assert f"{checkpoint} does not tell its dataset. {drawn}" in lines


def test_of_images_that_are_missing_the_first_are_named(tmp_path):
    (tmp_path / "cats" / "trainB").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"testA/  \(test, domain A\)"):
        export._load(ugatit_tf.DataConfig("cats", str(tmp_path)), ["a2b"], ranges=False)


@pytest.mark.parametrize("fit", [None, "crop", "pad"])
def test_fit_decides_what_files_are_tried_on(run, tmp_path, monkeypatch, fit):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 72, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "cats" / "testA" / "1.png")
    seen = []

    def measure(path, kind, generator, images):
        seen.append(images)
        raise KeyboardInterrupt

    monkeypatch.setattr(verify, "measure_tflite", measure)
    words = ["--checkpoint", str(tmp_path / "run"), "--direction", "a2b", "--formats", "float32"]
    assert main(["export", *words, *(["--fit", fit] if fit else [])]) == 130
    square = to_aspect(pixels, fit or "squeeze")
    assert square.shape[:2] == {None: (24, 72), "crop": (24, 24), "pad": (72, 72)}[fit]
    np.testing.assert_array_equal(seen[0][0], np.rint(pipeline.resize(square, 24)))


def test_a_dataset_that_was_named_must_be_there(run, tmp_path, capsys):
    words = ["--checkpoint", str(tmp_path / "run"), "--direction", "a2b", "--formats", "float32", "--dataset", "dogs"]
    assert main(["export", *words]) == 1
    assert "dogs is not there" in capsys.readouterr().err
    assert not (tmp_path / "run" / "export").exists()


def test_drawn_images_are_of_each_domain_and_always_the_same():
    photos, drawings = (
        export._choose(None, ("test",), direction, 50, "squeeze").read((32, 48)) for direction in ("a2b", "b2a")
    )
    assert photos.shape == drawings.shape == (8, 32, 48, 3)
    assert photos.dtype == np.uint8
    assert np.abs(photos.astype(int) - drawings).mean() > 10
    np.testing.assert_array_equal(photos, export._choose(None, ("test",), "a2b", 50, "squeeze").read((32, 48)))


def test_a_generator_alone(make_run, tmp_path, capsys):
    """An official file of one generator: its direction by default, and an error for the other."""
    states = read_torch_file(GOLDEN / "pytorch_light" / "params_0000000.pt")
    write_torch_file(tmp_path / "x.pt", {"genB2A": states["genB2A"]})
    words = ["export", "--checkpoint", str(tmp_path / "x.pt"), "--out_dir", str(tmp_path / "out"), "--formats"]
    assert main([*words, "weights"]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"ugatit_b2a.weights.h5", "export.json", "export.md"}
    assert files_of(tmp_path / "out")["weights"]["made_by"]["label"] == "U-GAT-IT, x.pt, B to A"
    assert main([*words, "weights", "--direction", "a2b"]) == 1
    assert (
        "gen_a2b is needed, and the file that this model was loaded from holds gen_b2a alone" in capsys.readouterr().err
    )
    assert main([*words, "pt"]) == 2
    assert "lacks gen_a2b, dis_global_a" in capsys.readouterr().err


# --- exports that end early ---


def test_drafts_of_ended_exports_go(run, tmp_path):
    """Not those of another that is running, nor new ones of another machine or of nobody knows whom."""
    out = tmp_path / "run" / "export"
    here = Process.here()
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    other = dataclasses.replace(here, machine="another")
    dead = dataclasses.replace(here, pid=ended.pid)
    places = {
        name: out / f".export.{owner.tag}-{number}.tmp"
        for name, owner, number in (
            ("running", here, 0),
            ("elsewhere", other, 0),
            ("ended", dead, 0),
            ("old", other, 1),
        )
    }
    places |= {"unknown": out / f".{'0' * 32}", "old, unknown": out / f".{'1' * 32}"}
    places |= {"a version": out / "ugatit_a2b" / f".{'2' * 32}", "a table": out / f".export.md.{dead.tag}-3.tmp"}
    for name, place in places.items():
        place.mkdir(parents=True)
        (place / "part").write_bytes(b"x")
        if name in ("old", "old, unknown", "a version"):
            for path in (place / "part", place):
                os.utime(path, (0, 0))
    words = ["--checkpoint", str(tmp_path / "run"), "--direction", "a2b", "--formats", "weights"]
    assert main(["export", *words]) == 0
    assert {name for name, place in places.items() if place.exists()} == {"running", "elsewhere", "unknown"}
    assert len(list(out.glob(".export*"))) == 2


@pytest.fixture
def handlers():
    """Python's own handlers, whatever the shell that started the tests has left; the former come back."""
    fresh = {signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    former = {number: signal.signal(number, handler) for number, handler in fresh.items()}
    yield fresh
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_end_it_as_ctrl_c_does(run, tmp_path, capsys, monkeypatch, handlers, number):
    """The file in the making goes, the finished one stays; the handlers from before come back."""
    monkeypatch.setattr(tflite, "convert", lambda *args: os.kill(os.getpid(), number))
    words = ["--checkpoint", str(tmp_path / "run"), "--direction", "a2b", "--formats", "weights,float32"]
    assert main(["export", *words]) == 130
    assert "ugatit: stopped." in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "run" / "export").iterdir()} == {
        "ugatit_a2b.weights.h5",
        "export.json",
        "export.md",
    }
    assert {name: signal.getsignal(name) for name in handlers} == handlers


def test_a_signal_that_is_ignored_stays_so(handlers):
    """As under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with as_ctrl_c():
        os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_help_explains_every_flag(capsys):
    assert main(["export", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"--{name}" in text for name in export.make_command().parse([]) if name != "words")
    assert max(len(line) for line in text.splitlines()) <= 120


def test_images_of_any_size_are_brought_to_the_files_size(tmp_path):
    Image.new("RGB", (50, 30), "red").save(tmp_path / "x.png")
    for fit in ("squeeze", "crop", "pad"):
        images = export._images([tmp_path / "x.png"], (16, 24), fit)
        assert (images.dtype, images.shape) == (np.uint8, (1, 16, 24, 3))
        assert (images == [255, 0, 0]).all()
