"""The inception score where it is known."""

import math

import numpy as np
import pytest

from ugatit_tf.metrics.distances import Estimate
from ugatit_tf.metrics.inception_score import inception_score


def test_nothing_recognised():
    assert inception_score(np.full((50, 8), 1 / 8)) == pytest.approx((1.0, 0.0))


def test_all_images_alike():
    assert inception_score(np.tile([0.7, 0.2, 0.1, 0.0], (50, 1))) == pytest.approx((1.0, 0.0))


def test_every_class_for_certain():
    assert inception_score(np.tile(np.eye(8), (10, 1))) == pytest.approx((8.0, 0.0))


def test_two_splits_by_hand():
    """The first split has both classes for certain: 2. The second has one: 1. Their deviation, 0.71, by the root of 2
    is 0.5."""
    result = inception_score([[1, 0], [0, 1], [1, 0], [1, 0]], splits=2)
    assert isinstance(result, Estimate)
    assert result == pytest.approx((1.5, 0.5))


def test_two_classes_by_hand():
    """Against (1/2, 1/2), either row's divergence is 3/4 log 3/2 + 1/4 log 1/2."""
    rows = np.tile([[0.75, 0.25], [0.25, 0.75]], (4, 1))
    assert inception_score(rows, splits=4) == pytest.approx((1.5**0.75 * 0.5**0.25, 0.0))


def test_one_image_a_split():
    assert inception_score(np.eye(10)) == (1.0, 0.0)


def test_a_rest_makes_the_first_split_larger():
    """Three images of three classes, and two of one."""
    assert inception_score(np.eye(3)[[0, 1, 2, 0, 0]], splits=2).value == pytest.approx((3 + 1) / 2)


def test_random_rows_against_the_definition():
    rows = np.random.default_rng(0).dirichlet(np.full(5, 0.3), 60)
    scores = [
        math.exp(
            np.mean([sum(p * math.log(p / q) for p, q in zip(row, part.mean(axis=0), strict=True)) for row in part])
        )
        for part in rows.reshape(6, 10, 5)
    ]
    deviation = math.sqrt(sum((score - np.mean(scores)) ** 2 for score in scores) / 5)
    assert inception_score(rows, splits=6) == pytest.approx((np.mean(scores), deviation / math.sqrt(6)))


def test_float32_is_computed_in_float64():
    rows = np.random.default_rng(0).dirichlet(np.full(1000, 0.1), 40).astype("float32")
    assert inception_score(rows) == inception_score(rows.astype("float64"))


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        (np.full(20, 0.5), r"must have the shape \[images,classes\]; received \[20\]"),
        (np.full((20, 2), 0.502), "must sum to 1, without negative values: give softmax, no logits"),
        (np.full((20, 2), 0.498), "must sum to 1"),
        (np.tile([1.5, -0.5], (20, 1)), "without negative values"),
        (np.full((20, 2), np.nan), "must sum to 1"),
        (np.full((9, 2), 0.5), "10 splits need as many images; received 9. Give more images, or fewer splits."),
    ],
)
def test_what_is_refused(probabilities, message):
    with pytest.raises(ValueError, match=message):
        inception_score(probabilities)


def test_one_split_has_no_standard_error():
    with pytest.raises(ValueError, match="splits must be at least 2, for a standard error; received 1"):
        inception_score(np.full((20, 2), 0.5), splits=1)


def test_what_rounding_leaves_is_accepted():
    assert inception_score(np.full((20, 2), 0.5004)).value == pytest.approx(1.0, abs=1e-3)
