"""Which ratio got worse: noise, direction, and what is missing."""

import json

import baseline
import measure
import pytest
import summary

SETTINGS = {"light": True, "flavor": "pytorch", "img_size": 256, "ch": 64, "n_dis": 6, "batch_size": 1}
MACHINE = {"cpu": "a fast one", "cpu_class": "avx512", "cores": 2}


def side(value, spread=None, better="lower"):
    return {"value": value, "spread": spread, "better": better}


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        (side(0.5), side(0.514), "same"),  # 2.8 %
        (side(0.5), side(0.516), "worse"),  # 3.2 %
        (side(0.5), side(0.484), "better"),
        (side(10.0, better="higher"), side(9.68, better="higher"), "worse"),
        (side(10.0, better="higher"), side(10.32, better="higher"), "better"),
        (side(10.0, better="higher"), side(9.72, better="higher"), "same"),
        # Three times sqrt(0.03^2 + 0.04^2) = 0.15.
        (side(1.0, 0.03), side(1.14, 0.04), "same"),
        (side(1.0, 0.03), side(1.16, 0.04), "worse"),
        (side(1.0, 0.03, "higher"), side(0.84, 0.04, "higher"), "worse"),
        (side(1.0, 0.04), side(1.13, None), "worse"),  # a single round does not tell its spread
        (side(1.0, 0.04), side(1.11, None), "same"),
        (side(2.0, 0.1), side(2.28, 0.0), "same"),  # the noise is relative: 15 %
        (side(2.0, 0.1), side(2.32, 0.0), "worse"),
    ],
)
def test_worse_by_more_than_the_noise(old, new, verdict):
    assert baseline.judge(old, new)[0] == verdict


def test_change_and_noise_are_relative():
    _, change, noise = baseline.judge(side(2.0, 0.1), side(1.0, 0.0))
    assert change == pytest.approx(-0.5)
    assert noise == pytest.approx(0.15)


def results(time=6.0, official=10.0, start=30.0, rounds=2, **settings):
    """Results of a step, and of the start."""
    steps = {"float32": time, "official": official}
    step = {
        name: [{"round": i, "seconds": [99.0, value], "peak_mib": 100} for i in range(rounds)]
        for name, value in steps.items()
        if value
    }
    started = [{"round": i, "seconds": start, "import_tensorflow": 3.0} for i in range(rounds)]
    samples = {"step": step, "start": {"images checked before": started}}
    return {"settings": SETTINGS | settings, "machine": MACHINE, "samples": samples}


@pytest.fixture
def path(tmp_path):
    """A baseline's file."""
    baseline.update(results(), tmp_path / "baseline.json")
    return tmp_path / "baseline.json"


def test_a_baseline_has_ratios_and_no_seconds(path):
    stored = json.loads(path.read_text())
    assert stored["settings"] == SETTINGS
    assert list(stored["cpus"]) == ["avx512"]
    assert stored["cpus"]["avx512"]["machine"] == MACHINE
    assert stored["cpus"]["avx512"]["ratios"] == {
        "start: images checked before / import tensorflow": side(10.0, 0.0),
        "step peak memory: float32 / official": side(1.0, 0.0),
        "step time: float32 / official": side(0.6, 0.0),
    }


def test_the_same_again(path, capsys):
    assert baseline.check(results(), path) == 0
    said = capsys.readouterr().out
    assert said.count("same ") == 3
    assert said.endswith("0 of 3 got worse.\n")


def test_a_slower_step(path, capsys):
    assert baseline.check(results(time=6.5), path) == 1
    said = capsys.readouterr().out
    assert "worse         step time: float32 / official: 0.6 -> 0.65 (+8.3%, noise 3.0%)" in said
    assert said.endswith("1 of 3 got worse.\n")


def test_what_one_side_lacks_is_named(path, capsys):
    assert baseline.check(results(official=None), path) == 0
    said = capsys.readouterr().out
    assert "not compared  step time: float32 / official: not in these results" in said
    more = results()
    more["samples"]["inference"] = {name: [{"round": 0, "milliseconds": [5.0]}] for name in ("Keras", "SavedModel")}
    baseline.check(more, path)
    assert "not compared  inference time: SavedModel / Keras: not in the baseline" in capsys.readouterr().out


def test_another_model_is_not_compared(path, capsys):
    assert baseline.check(results(img_size=128), path) == 2
    assert "the baseline is of img_size 256, not 128" in capsys.readouterr().err
    with pytest.raises(ValueError, match="the baseline is of ch 64, not 32"):
        baseline.update(results(ch=32), path)


def test_another_machine_is_noted(path, capsys):
    assert baseline.check(results() | {"machine": MACHINE | {"cpu": "a slow one"}}, path) == 0
    assert "the baseline's machine has cpu a fast one." in capsys.readouterr().out


def test_each_kind_of_cpu_has_a_section(path, capsys):
    other = results(time=8.0) | {"machine": MACHINE | {"cpu_class": "avx2"}}
    assert baseline.check(other, path) == 2
    assert "no section for CPUs of the kind avx2; it has avx512" in capsys.readouterr().err
    baseline.update(other, path)
    assert baseline.check(other, path) == 0
    assert baseline.check(results(), path) == 0
    stored = json.loads(path.read_text())["cpus"]
    assert [stored[kind]["ratios"]["step time: float32 / official"]["value"] for kind in stored] == [0.8, 0.6]


@pytest.mark.parametrize(
    ("flags", "limit", "kind"),
    [
        ("fpu avx2 fma", "", "avx2"),
        ("fpu sse4_1", "", "other"),
        ("avx2 avx512f", "", "avx512"),
        ("avx2 avx512f avx512_bf16", "", "avx512_bf16"),
        ("avx2 avx512f avx512_bf16 amx_bf16", "", "amx"),
        ("avx2 avx512f avx512_bf16 amx_bf16", "AVX2", "avx2"),
        ("avx2 avx512f avx512_bf16 amx_bf16", "avx512_core", "avx512"),
        ("avx2 avx512f avx512_bf16 amx_bf16", "SSE41", "other"),
    ],
)
def test_the_kind_of_cpu(tmp_path, monkeypatch, flags, limit, kind):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    (tmp_path / "cpuinfo").write_text(f"model name\t: One\nflags\t\t: {flags}\n")
    assert measure.cpu_class(tmp_path / "cpuinfo") == kind


def test_no_baseline_yet(tmp_path, capsys):
    assert baseline.check(results(), tmp_path / "none.json") == 2
    assert "Make one: --update_baseline" in capsys.readouterr().err


def test_an_update_keeps_what_was_not_measured(path):
    baseline.update(results(official=None, start=60.0), path)
    ratios = json.loads(path.read_text())["cpus"]["avx512"]["ratios"]
    assert ratios["start: images checked before / import tensorflow"]["value"] == 20.0
    assert ratios["step time: float32 / official"]["value"] == 0.6


def test_the_command_line(path, tmp_path, monkeypatch, capsys):
    file = tmp_path / "results.json"
    file.write_text(json.dumps(results(time=7.0)))
    monkeypatch.setattr("sys.argv", ["baseline.py", str(file), "--baseline", str(path)])
    assert baseline.main() == 1
    monkeypatch.setattr("sys.argv", ["baseline.py", str(file), "--baseline", str(path), "--update"])
    assert not baseline.main()
    assert json.loads(path.read_text())["cpus"]["avx512"]["ratios"]["step time: float32 / official"]["value"] == 0.7
    monkeypatch.setattr("sys.argv", ["baseline.py", str(tmp_path / "none.json")])
    with pytest.raises(SystemExit):
        baseline.main()
    assert "run.py writes it" in capsys.readouterr().err


def test_the_committed_baseline_is_of_the_targets_model_and_names_what_is_measured():
    stored = json.loads(baseline.PATH.read_text())
    assert stored["settings"].items() >= summary.TARGET_SETTINGS.items()
    assert stored["cpus"].keys() <= {*measure.CPU_CLASSES, "other"}
    ratios = [ratio for section in stored["cpus"].values() for ratio in section["ratios"].values()]
    assert all(ratio["better"] in ("lower", "higher") and ratio["value"] > 0 for ratio in ratios)
