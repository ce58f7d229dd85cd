"""The driver: its flags, what it refuses, and a small run from end to end, without PyTorch."""

import json
import pathlib
import subprocess
import sys

import jobs
import measure
import pictures
import pytest
import run
import start_up
from PIL import Image

SCRIPTS = [path.name for path in sorted(jobs.HERE.glob("*.py")) if "argparse" in path.read_text()]


def options(*words):
    parser = run.make_parser()
    parsed = parser.parse_args(words)
    run.check(parser, parsed)
    return parsed


def plan(*words):
    inputs = dict.fromkeys(("export", "data_dir", jobs.RECORDS, *jobs.PICTURES), pathlib.Path("x"))
    return list(jobs.plan(options(*words), inputs))


@pytest.fixture
def checkout(tmp_path):
    """A folder that looks like the official code, and an interpreter that has PyTorch, as far as that is looked at."""
    (tmp_path / "networks.py").touch()
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 0\n")
    python.chmod(0o755)
    return ["--pytorch", str(tmp_path), "--torch_python", str(python)]


@pytest.mark.parametrize("name", SCRIPTS)
def test_help(name):
    done = subprocess.run([sys.executable, jobs.HERE / name, "--help"], capture_output=True, text=True, check=True)
    assert "benchmarks/" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stepp"], "there is no part stepp; there are: step, inference, pipeline, start, growth."),
        (["--rounds", "0"], "--rounds must be at least 1; received 0."),
        (["--steps", "1"], "--steps must be at least 2"),
        (["--export", "/nowhere"], "--export /nowhere holds no files of `ugatit export`."),
        (["--pytorch", "/nowhere"], "/nowhere is no checkout of the official PyTorch code: it has no networks.py."),
    ],
)
def test_what_cannot_be_measured_is_refused(words, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        options(*words)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_an_interpreter_without_pytorch_is_refused(checkout, tmp_path, capsys):
    (tmp_path / "python").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(SystemExit):
        options(*checkout)
    assert f"{tmp_path / 'python'} has no PyTorch. Install it there (pip install torch), or" in capsys.readouterr().err


def test_scripts_name_what_they_lack_too(tmp_path):
    for script, words in (("train_step.py", []), ("inference.py", ["--light"])):
        done = subprocess.run(
            [sys.executable, jobs.HERE / script, "--pytorch", tmp_path, *words], capture_output=True, text=True
        )
        assert done.returncode == 1
        assert done.stderr.startswith(f"{tmp_path} is no checkout of the official PyTorch code")
        assert len(done.stderr.splitlines()) == 1


def test_without_pytorch_the_folder_of_its_code_is_not_looked_into(tmp_path, monkeypatch):
    (tmp_path / "networks.py").write_text("raise AssertionError")
    monkeypatch.setitem(sys.modules, "torch", None)  # an ImportError, as from an environment without it
    monkeypatch.setattr(measure.importlib, "import_module", _no_module)
    with pytest.raises(SystemExit, match=r"has no PyTorch\. Install it there"):
        measure.official(tmp_path, 1)


def _no_module(name):
    raise ModuleNotFoundError(name)


def test_the_official_code_runs_in_its_own_interpreter(checkout):
    theirs = [job for job in plan("step", "inference", *checkout) if job.command[0] == checkout[-1]]
    assert [(job.part, job.name) for job in theirs] == [
        ("step", "official"),
        ("step", "peak float32, PyTorch"),
        ("inference", "official"),
    ]
    names = [job.name for job in plan("step", "inference")]
    assert "official" not in names
    assert "peak float32, PyTorch" not in names


def test_a_full_model_is_full_everywhere_but_in_the_growth():
    for words, expected in ((["--full"], {False}), (["--light"], {True}), ([], {True})):
        made = plan("step", "start", "inference", *words)
        assert {"--light" in job.arguments for job in made if job.script != "matmul.py"} == expected
    growth = {job.name: "--light" in job.arguments for job in plan("growth", "--full")}
    assert growth["light, 256 px, ch 64, batch 1"]
    assert not growth["full, 256 px, ch 64, batch 1"]


def test_the_pipeline_alone_brings_the_steps_that_it_is_compared_with():
    names = [(job.part, job.name) for job in plan("pipeline")]
    assert names[:2] == [("step", "float32"), ("step", "bfloat16")]
    assert {part for part, _ in names[2:]} == {"pipeline"}
    assert len([part for part, _ in [(job.part, job.name) for job in plan("step", "pipeline")] if part == "step"]) == 6


def test_growth_measures_what_curves_share_once():
    names = [job.name for job in plan("growth")]
    assert len(names) == len(set(names)) == 5 + 3 + 2 + 3
    curves = jobs.growth_settings(options("growth"))
    assert len(curves) == 5 + 4 + 3 + 3
    assert {jobs.growth_name(changes, options()) for _, _, changes in curves} == set(names)


@pytest.mark.parametrize("versions", [(2, 3), (2, 10)])
def test_the_newest_of_an_exports_files_are_found(tmp_path, versions):
    for version in versions:
        (tmp_path / "cats_a2b" / str(version)).mkdir(parents=True)
        (tmp_path / "cats_a2b" / str(version) / "saved_model.pb").touch()
    (tmp_path / "cats_b2a" / "1").mkdir(parents=True)
    (tmp_path / "cats_b2a" / "1" / "saved_model.pb").touch()
    (tmp_path / "cats_a2b_float16.tflite").touch()
    assert jobs.exported(tmp_path) == {
        "SavedModel": tmp_path / "cats_a2b" / str(versions[1]),
        "float16": tmp_path / "cats_a2b_float16.tflite",
    }


def test_the_tables_commands_name_no_paths():
    words = ["step", "--pytorch", "/home/me/code", "--rounds=2", "--out", "/tmp/x", "growth", "--full", "--check"]
    assert run.flags(words) == ["--pytorch PATH/TO/UGATIT-pytorch", "--rounds 2", "--full"]


def test_a_failed_measurement_says_why():
    assert run.execute([sys.executable, "-c", "raise ValueError('no luck')"]) == {"error": "ValueError: no luck"}
    killed = run.execute([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
    assert killed == {"error": "ended by signal 9 (9: the memory was not enough)"}
    assert run.execute([sys.executable, "-c", "print('note'); print('{\"a\": 1}')"]) == {"a": 1}


def test_measured_processes_take_this_checkout(tmp_path, monkeypatch):
    (tmp_path / "ugatit_tf.py").touch()  # another version, which is found otherwise
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code = "import json, ugatit_tf; print(json.dumps({'file': ugatit_tf.__file__}))"
    assert run.execute([sys.executable, "-c", code])["file"] == str(run.ROOT / "ugatit_tf" / "__init__.py")


def test_pictures(tmp_path):
    pictures.write(tmp_path / "set", 40, ".jpg", count=2)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.jpg"))
    assert files == [f"set/{name}/00{i}.jpg" for name in ("trainA", "trainB") for i in (0, 1)]
    assert Image.open(tmp_path / files[0]).size == (40, 40)
    assert (tmp_path / files[0]).read_bytes() != (tmp_path / files[1]).read_bytes()


COMMAND = """
import time
print("Drawing ...")
print("Dataset x: 3 trainA")
time.sleep(0.4)
print("Run folder: x")
print("step 1/9  12.0 s/it")
time.sleep(60)
"""


def test_the_start_is_over_with_the_first_reported_step():
    parts = start_up.first_step([sys.executable, "-c", COMMAND])
    assert list(parts) == list(start_up.MARKS.values())
    assert 0.4 <= parts["networks and optimizers"] < 5


def test_a_start_that_fails_shows_why():
    with pytest.raises(SystemExit, match="ended before its first step:\nno images"):
        start_up.first_step([sys.executable, "-c", "print('no images')"])


def test_peak_memory_and_times():
    seconds, cpu_seconds = measure.time_calls(lambda: sum(range(100000)), 3)
    assert len(seconds) == len(cpu_seconds) == 3
    assert all(0 < value < 5 for value in seconds)
    assert measure.median_after_first([100.0, 1.0, 3.0]) == 2.0
    before = measure.peak_mib()
    assert len(bytearray(300 << 20)) > 0
    assert before is None or measure.peak_mib() >= max(300, before)


@pytest.mark.slow
def test_a_small_run_from_end_to_end(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jobs, "STEPS", {"float32": (), "bfloat16": ("--precision=bfloat16",)})
    monkeypatch.setattr(jobs, "PICTURES", {"JPEG": (None, ".jpg")})
    words = ["step", "inference", "pipeline", "growth", "--rounds", "1", "--steps", "2", "--runs", "2"]
    words += ["--img_size", "48", "--ch", "2", "--n_dis", "4", "--matmul_sizes", "128", "--pipeline_seconds", "0.2"]
    words += ["--growth_sizes", "24", "--growth_channels", "", "--growth_batches", "", "--growth_full_sizes", ""]
    words += ["--out", str(tmp_path), "--baseline", str(tmp_path / "baseline.json")]
    assert run.main([*words, "--update_baseline"]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert "error" not in json.dumps(results["samples"])
    assert results["ratios"].keys() >= {
        "step time: bfloat16 / float32",
        "step peak memory: bfloat16 / float32",
        "step rate: float32 / matrix-multiply peak",
        "step rate: bfloat16 / matrix-multiply peak",
        *(f"inference time: {name} / Keras" for name in ("SavedModel", *jobs.TFLITE)),
        *(f"pipeline: {name} / step float32" for name in ("JPEG", jobs.RECORDS)),
    }
    record = results["samples"]["step"]["float32"][0]
    assert record["img_size"] == 48
    assert len(record["seconds"]) == 2
    assert record["flops"] > 1e6
    assert "| static_int8 |" in (tmp_path / "results.md").read_text()
    assert "### growth" in capsys.readouterr().out


@pytest.mark.slow
def test_the_start_of_a_real_training(tmp_path):
    words = ["--light", "--ch", "2", "--n_dis", "4", "--img_size", "24", "--data_dir", str(tmp_path)]
    record = run.execute([sys.executable, str(jobs.HERE / "start_up.py"), *words, "--forget"])
    assert record["parts"].keys() == set(start_up.MARKS.values())
    assert record["seconds"] == pytest.approx(sum(record["parts"].values()))
