"""Medians, ratios, their spread, and the tables."""

import numpy as np
import plot
import pytest
import summary

SETTINGS = {"light": True, "flavor": "pytorch", "img_size": 256, "ch": 64, "n_dis": 6, "batch_size": 1, "threads": 2}


def step(seconds, peak_mib=100, **others):
    """Records of a step: its seconds in each round, before which each has a first step."""
    return [
        {"round": i, "seconds": [1000.0, *row], "cpu_seconds": [1.0, 2.0], "peak_mib": peak_mib, **others}
        for i, row in enumerate(seconds)
    ]


@pytest.fixture
def results():
    """Results of all parts, in two rounds."""
    growth = {"light, 128 px": (2.0, 1024), "light, 256 px": (8.0, 2048), "full, 256 px, ch 64, batch 1": (9.0, 20000)}
    curves = [("image size", 128, "light, 128 px"), ("image size", 256, "light, 256 px")]
    curves += [("image size, full", 256, "full, 256 px, ch 64, batch 1"), ("ch", 96, "light, too large")]
    samples = {
        "step": {
            "official": step([[20.0, 22.0], [21.0, 21.0]], 1000, flops=3000),
            "float32": step([[10.0, 12.0], [12.0, 12.0]], 500, flops=2400),
            "float32 remat": [{"round": 0, "error": "killed"}, *step([[], [15.0]], 350)[1:]],
            "peak float32": [{"round": i, "flops_per_second": 250.0} for i in range(2)],
            "peak float32, PyTorch": [{"round": i, "flops_per_second": 150.0} for i in range(2)],
        },
        "inference": {
            "Keras": [{"round": i, "milliseconds": [10.0, 10.0, 30.0]} for i in range(2)],
            "float16": [{"round": i, "milliseconds": [5.0]} for i in range(2)],
        },
        "pipeline": {
            "PNG": [{"round": i, "images_per_second": 12.0, "cpu_seconds_per_pair": 0.5} for i in range(2)],
        },
        "start": {
            "images checked before": [
                {"round": i, "seconds": 30.0 + i, "parts": {"imports": 10.0}, "import_tensorflow": 3.0}
                for i in range(2)
            ],
        },
        "growth": {
            name: [{"round": 0, "seconds": [99.0, seconds], "peak_mib": mib}] for name, (seconds, mib) in growth.items()
        }
        | {"light, too large": [{"round": 0, "error": "ended by signal 9"}]},
    }
    return {
        "settings": SETTINGS | {"growth": curves, "growth_base": "light, 256 px"},
        "parts": list(samples),
        "flags": ["--rounds 2", "--runs 3"],
        "samples": samples,
    }


def test_ratios_are_of_medians_without_the_first_step(results):
    found = summary.ratios(results)
    assert found["step time: float32 / official"].value == 12.0 / 21.0
    assert found["step peak memory: float32 / official"].value == 0.5
    assert found["inference time: float16 / Keras"].value == 0.5
    assert "inference time: float16 / official" not in found


def test_the_spread_is_that_of_the_rounds_own_ratios(results):
    rounds = [11.0 / 21.0, 12.0 / 21.0]
    expected = (np.percentile(rounds, 75) - np.percentile(rounds, 25)) / 1.349
    assert summary.ratios(results)["step time: float32 / official"].spread == pytest.approx(expected)


def test_a_failed_round_leaves_the_others(results):
    found = summary.ratios(results)["step time: float32 remat / float32"]
    assert found.value == 15.0 / 12.0
    assert found.spread is None


def test_the_share_of_the_peak_is_of_the_faster_framework_and_of_ones_own_operations(results):
    found = summary.ratios(results)
    assert found["step rate: float32 / matrix-multiply peak"].value == pytest.approx(2400 / 12.0 / 250.0)
    assert found["step rate: official / matrix-multiply peak"].value == pytest.approx(3000 / 21.0 / 250.0)
    assert found["step rate: float32 / matrix-multiply peak"].better == "higher"
    peaks = ("peak float32", "peak float32, PyTorch")
    samples = results["samples"]["step"]
    samples[peaks[0]], samples[peaks[1]] = samples[peaks[1]], samples[peaks[0]]
    assert summary.ratios(results) == found


def test_bfloat16_has_a_peak_of_its_own(results):
    results["samples"]["step"]["bfloat16"] = step([[6.0]], flops=2400)
    assert "step rate: bfloat16 / matrix-multiply peak" not in summary.ratios(results)
    results["samples"]["step"]["peak bfloat16"] = [{"round": 0, "flops_per_second": 800.0}]
    assert summary.ratios(results)["step rate: bfloat16 / matrix-multiply peak"].value == pytest.approx(0.5)


def test_the_pipeline_against_what_a_step_takes(results):
    # 12 images a second; a step of 12 s takes an image of each domain.
    assert summary.ratios(results)["pipeline: PNG / step float32"].value == pytest.approx(12.0 / (2 / 12.0))
    results["settings"]["batch_size"] = 3
    assert summary.ratios(results)["pipeline: PNG / step float32"].value == pytest.approx(12.0 / (6 / 12.0))


def test_seconds_are_of_no_use_elsewhere(results):
    found = summary.ratios(results)
    assert [name for name, ratio in found.items() if not ratio.portable] == ["start, seconds: images checked before"]
    assert found["start: images checked before / import tensorflow"].value == pytest.approx(30.5 / 3.0)


def test_the_spread_of_many_normal_draws_is_their_deviation_and_bears_outliers():
    draws = np.random.default_rng(0).normal(5.0, 2.0, 20000)
    assert summary.spread(draws) == pytest.approx(2.0, rel=0.03)
    draws[:100] = 1e6
    assert summary.spread(draws) == pytest.approx(2.0, rel=0.05)
    assert summary.spread([3.0]) is None
    assert summary.spread([3.0, 3.0]) == 0.0


def test_the_exponent_of_a_power_law():
    assert summary.slope([(size, 0.3 * size**1.7) for size in (96, 128, 256)]) == pytest.approx(1.7)
    assert summary.slope([(96, 1.0)]) is None


def test_growth_leaves_out_what_did_not_fit(results):
    assert summary.growth_curves(results) == {
        "image size": [(128, 2.0, 1024), (256, 8.0, 2048)],
        "image size, full": [(256, 9.0, 20000)],
    }


def test_targets(results):
    rows = {name: (bound, met) for name, bound, _, met in summary.targets(results)}
    assert rows["step time: float32 / official"] == (0.55, False)
    assert rows["step peak memory: float32 / official"] == (0.5, True)
    assert rows["step rate: float32 / matrix-multiply peak"] == (0.8, True)
    assert rows["start, seconds: images checked before"] == (40.0, True)
    assert rows["growth, peak memory: full model / 24 GB"] == (1.0, True)
    assert rows["pipeline: PNG / step float32"] == (10.0, True)
    results["settings"]["img_size"] = 128
    assert summary.targets(results) == []


def test_every_target_is_of_a_ratio_that_can_be_measured(results):
    samples = results["samples"]
    samples["step"] |= {"bfloat16": step([[6.0]])}
    samples["pipeline"] |= dict.fromkeys(("JPEG", "JPEG, 1024 px"), samples["pipeline"]["PNG"])
    assert [row[0] for row in summary.targets(results)] == list(summary.TARGETS)


def test_tables(results):
    text = summary.tables(results)
    assert "python benchmarks/run.py step --rounds 2\n" in text
    assert "python benchmarks/run.py inference --rounds 2 --runs 3\n" in text
    assert "python benchmarks/run.py growth\n" in text
    assert "| official | 1 | 1 | 0 | 0.57 ± 0.00 |" in text
    assert "| float32 | 0.57 ± 0.02 | 0.50 ± 0.00 | 0 | 0.80 ± 0.03 |" in text
    assert "| float16 | 0.50 ± 0.00 |" in text
    assert "| PNG | 72 ± 2 |  | 25.00% |" in text
    assert "| images checked before | 30.5 | 10.0 | 10 ± 0 |" in text
    assert "| image size | 128 | 0.250 | 1.00 |" in text
    assert "| image size: exponent |  | 2.00 | 1.00 |" in text
    assert "| step time: float32 / official | at most 0.55 | 0.57 | no |" in text
    assert "- step, float32 remat: killed" in text
    assert "- growth, light, too large: ended by signal 9" in text


def test_a_part_that_was_not_asked_for_has_no_table(results):
    results["parts"].remove("step")
    assert "### step" not in summary.tables(results)


def test_without_pytorch_a_step_is_compared_with_the_plain_one(results):
    del results["samples"]["step"]["official"]
    assert "| float32 remat | 1.25 | 0.70 ± 0.00 |" in summary.tables(results).replace("0.70 |", "0.70 ± 0.00 |")


def test_the_picture(results, tmp_path):
    pytest.importorskip("matplotlib")
    assert plot.draw(results, tmp_path / "results.png")
    assert (tmp_path / "results.png").stat().st_size > 10000
    results["samples"] = {"start": results["samples"]["start"]}
    assert not plot.draw(results, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
