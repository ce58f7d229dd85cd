"""The warnings, and where they begin."""

import importlib

import pytest

from ugatit_tf.metrics.sample_size import NEEDED, shortfalls


@pytest.mark.parametrize(
    ("metric", "needed", "words"),
    [
        ("kid", 100, "KID needs 100 images, of fewer, the standard error"),
        ("fid", 10_000, "FID needs 10,000 images, the least that Heusel et al. recommend"),
        ("inception_score", 50_000, "Inception score needs 50,000 images, as Salimans et al."),
        ("precision_recall_density_coverage", 10_000, "coverage needs 10,000 images, as Naeem et al."),
    ],
)
def test_too_few_images(metric, needed, words):
    assert shortfalls(metric, needed) is None
    line = shortfalls(metric, needed - 1)
    assert words in line
    assert line.endswith(f" Here are {needed - 1:,}.")
    assert "\n" not in line


def test_a_singular_covariance():
    both = shortfalls("fid", 2048, 2048)
    assert both.startswith("FID needs 10,000 images")
    assert both.endswith(" Here are 2,048. The covariance of 2,048 features is singular with 2,048 images.")
    assert "singular" not in shortfalls("fid", 2049, 2048)
    assert shortfalls("fid", 10_000, 2048) is None
    assert shortfalls("fid", 10_000, 10_000) == "The covariance of 10,000 features is singular with 10,000 images."
    assert shortfalls("kid", 100, 2048) is None


@pytest.mark.parametrize("metric", NEEDED)
def test_every_name_is_a_function(metric):
    modules = [
        importlib.import_module(f"ugatit_tf.metrics.{name}") for name in ("distances", "inception_score", "manifold")
    ]
    assert any(callable(getattr(module, metric, None)) for module in modules)


def test_an_unknown_metric():
    with pytest.raises(ValueError, match=r"metric must be one of kid, fid, .*; received 'lpips'"):
        shortfalls("lpips", 100)
