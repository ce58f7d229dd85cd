"""Precision, recall, density and coverage by hand, by definition, and of one distribution."""

import math

import numpy as np
import pytest

from ugatit_tf.metrics import manifold
from ugatit_tf.metrics.manifold import Manifold, precision_recall_density_coverage


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def by_definition(features, reference, k):
    """Each measure in its own words, distance by distance."""

    def radius(rows, i):
        return sorted(math.dist(rows[i], rows[j]) for j in range(len(rows)) if j != i)[k - 1]

    def inside(points, rows):
        """[points, rows]: is the point in the row's ball?"""
        radii = [radius(rows, i) for i in range(len(rows))]
        return np.array([[math.dist(point, row) <= r for row, r in zip(rows, radii, strict=True)] for point in points])

    in_reference, in_features = inside(features, reference), inside(reference, features)
    return Manifold(
        precision=np.mean([any(row) for row in in_reference]),
        recall=np.mean([any(row) for row in in_features]),
        density=np.sum(in_reference) / (k * len(features)),
        coverage=np.mean([any(column) for column in in_reference.T]),
    )


LINE, OTHER = np.array([[2.0], [5], [20], [21]]), np.array([[0.0], [1], [3], [7], [12]])


def test_a_line_by_hand():
    """k = 1. Balls of the reference 0, 1, 3, 7, 12: [-1, 1], [0, 2], [1, 5], [3, 11], [7, 17].

    2 lies in two of them, once on the edge; so does 5; 20 and 21 lie in none: precision 2/4, density 4/4. The second to
    the fourth ball hold 2 or 5: coverage 3/5. Balls of 2, 5, 20, 21: [-1, 5], [2, 8], [19, 21], [20, 22]. They hold all
    of the reference but 12: recall 4/5.
    """
    assert precision_recall_density_coverage(LINE, OTHER, k=1) == (2 / 4, 4 / 5, 4 / 4, 3 / 5)


def test_a_line_with_two_neighbours_by_hand():
    """k = 2. Balls of the reference: [-3, 3], [-1, 3], [0, 6], [2, 12], [3, 21].

    2, 5, 20, 21 lie in 4, 3, 1, 1 of them: density 9 / (2 * 4). Each ball holds one. The ball of 2, [-16, 20], holds
    all of the reference.
    """
    assert precision_recall_density_coverage(LINE, OTHER, k=2) == (1.0, 1.0, 9 / 8, 1.0)


def test_an_edge_belongs_to_its_ball():
    """k = 1. Balls of 0 and 1 end at 1 and 2, balls of 2 and 3 begin at 1 and 2."""
    result = precision_recall_density_coverage([[0], [1]], [[2], [3]], k=1)
    assert result == (1 / 2, 1 / 2, 1 / 2, 1 / 2)


def test_the_default_is_five_neighbours():
    x, y = noise(30, 2), noise(40, 2, seed=1) + 1
    assert precision_recall_density_coverage(x, y) == precision_recall_density_coverage(x, y, k=5)
    assert precision_recall_density_coverage(x, y) != precision_recall_density_coverage(x, y, k=4)


def test_a_set_and_itself():
    """A closed ball holds its k neighbours, and the centre: the density is (k + 1) / k."""
    x = noise(50, 8)
    assert precision_recall_density_coverage(x, x) == pytest.approx((1.0, 1.0, 6 / 5, 1.0))


def test_sets_far_apart():
    x = noise(50, 8)
    assert precision_recall_density_coverage(x, x + 100) == (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("block", [1, 7, 20, 1024])
def test_blocks_against_the_definition(monkeypatch, block):
    monkeypatch.setattr(manifold, "_BLOCK", block)
    x, y = noise(40, 3), noise(33, 3, seed=1) * 1.5 + 1.5
    expected = by_definition(x, y, k=3)
    assert all(0 < value < 1 for value in expected)  # or little is tested
    assert precision_recall_density_coverage(x, y, k=3) == pytest.approx(expected)


def test_the_order_does_not_matter():
    x, y, generator = noise(40, 3), noise(33, 3, seed=1) + 1, np.random.default_rng(0)
    mixed = precision_recall_density_coverage(generator.permutation(x), generator.permutation(y))
    assert mixed == pytest.approx(precision_recall_density_coverage(x, y))


def test_precision_and_recall_change_places():
    x, y = noise(40, 3), noise(33, 3, seed=1) * 2 + 1
    one, other = precision_recall_density_coverage(x, y), precision_recall_density_coverage(y, x)
    assert one.precision != one.recall
    assert (one.precision, one.recall) == pytest.approx((other.recall, other.precision))


def test_one_distribution():
    """Which of all images are the nearest to one is chance: N of the reference, M others.

    Another lies in a neighbourhood with a chance of k / N, so the expected density is 1. A neighbourhood stays empty if
    the k nearest are all of the reference: (N - 1) / (N + M - 1) for the first, (N - 2) / (N + M - 2) for the next, ...
    """
    m, n, k, pairs = 25, 20, 3, 400
    results = [
        precision_recall_density_coverage(noise(m, 2, seed=i), noise(n, 2, seed=1000 + i), k) for i in range(pairs)
    ]
    empty = math.prod((n - i) / (n + m - i) for i in range(1, k + 1))
    for values, expected in (([r.density for r in results], 1.0), ([r.coverage for r in results], 1 - empty)):
        assert np.mean(values) == pytest.approx(expected, abs=4 * np.std(values) / math.sqrt(pairs))


def test_float32_is_computed_in_float64():
    """In float32, squares of 1000 would leave nothing of distances of 0.01."""
    x = noise(40, 3).astype("float32") * 0.01 + 1000
    y = x + np.float32(0.005)
    expected = precision_recall_density_coverage(x.astype("float64"), y.astype("float64"))
    assert precision_recall_density_coverage(x, y) == expected
    assert expected.precision > 0.5


@pytest.mark.parametrize(
    ("features", "reference", "k", "message"),
    [
        (noise(9), noise(9, 3), 5, r"features must have the shape \[images,features\]; received \[9\]"),
        (noise(9, 3), noise(9, 2), 5, "received 3 features an image, and 2 in the reference"),
        (noise(5, 3), noise(9, 3), 5, "At least 6 images are needed in either set; received 5 in features"),
        (noise(9, 3), noise(3, 3), 3, "At least 4 images are needed in either set; received 3 in reference"),
        (noise(9, 3), np.full((9, 3), np.nan), 5, "reference has values that are not finite"),
        (noise(9, 3), noise(9, 3), 0, "k must be at least 1; received 0"),
    ],
)
def test_what_is_refused(features, reference, k, message):
    with pytest.raises(ValueError, match=message):
        precision_recall_density_coverage(features, reference, k)


def test_the_smallest_sets():
    assert precision_recall_density_coverage(noise(6, 3), noise(6, 3)).precision == 1.0
