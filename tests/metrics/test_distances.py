"""KID and FID against brute force, closed forms, and what independent sets give."""

import itertools
import math

import numpy as np
import pytest

from ugatit_tf.metrics.distances import MEAN_KID_WARNING, Estimate, fid, kid, mean_kid


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def gaussian(mean, root, images, seed=0):
    """A set with exactly this mean, and root^T root for its covariance."""
    rows = noise(images, len(mean), seed=seed)
    orthonormal = np.linalg.qr(rows - rows.mean(axis=0))[0]  # its columns have the mean 0, too
    return math.sqrt(images - 1) * orthonormal @ root + mean


def u_statistic(x, y):
    """The unbiased squared MMD, pair after pair."""

    def kernel(a, b):
        return (sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3

    within = sum(
        sum(kernel(a, b) for a, b in itertools.permutations(rows, 2)) / (len(rows) * (len(rows) - 1)) for rows in (x, y)
    )
    return within - 2 * sum(kernel(a, b) for a in x for b in y) / (len(x) * len(y))


def test_kid_by_hand():
    """Every subset is alike. D is 4; unit vectors of four axes, against four times (1, 1, 1, 1).

    Two different unit vectors: (0/4 + 1)^3 = 1. Two of the others: (4/4 + 1)^3 = 8. One of each: (1/4 + 1)^3 = 125/64.
    1 + 8 - 2 * 125/64 = 5.09375. A unit vector with itself would give 125/64, where 1 belongs.
    """
    assert kid(np.eye(4), np.ones((4, 4))) == (5.09375, 0.0)
    assert kid(np.ones((4, 4)), np.eye(4)) == (5.09375, 0.0)


@pytest.mark.parametrize(
    ("subset_size", "sizes", "factor"),
    [(1000, (3, 3), 3 / 3), (2, (2, 2), 2 / 4)],  # m / (n - m) is 3/3 and 3/4 of halves, 2/4 and 2/5 of pairs
    ids=["halves", "pairs"],
)
def test_kid_against_all_subsets(subset_size, sizes, factor):
    x, y = noise(6, 3), 1.5 * noise(7, 3, seed=1) + 0.5
    everything = [
        u_statistic(a, b) for a in itertools.combinations(x, sizes[0]) for b in itertools.combinations(y, sizes[1])
    ]
    assert np.mean(everything) == pytest.approx(u_statistic(x, y))  # or the oracle is wrong
    subsets = 10000
    result = kid(x, y, subsets, subset_size)
    spread = np.std(everything)
    assert result.value == pytest.approx(np.mean(everything), abs=4 * spread / math.sqrt(subsets))
    # A variance over independent draws is off by sqrt((kurtosis - 1) / draws), and its root by half of that.
    kurtosis = np.mean((everything - np.mean(everything)) ** 4) / spread**4
    assert result.standard_error == pytest.approx(
        math.sqrt(factor) * spread, rel=4 * math.sqrt((kurtosis - 1) / subsets) / 2
    )


def test_kid_of_one_distribution_is_around_0():
    """Of 200 pairs of sets: the mean is 0, where a biased estimate would always be positive."""
    values = [kid(noise(20, 4, seed=i), noise(24, 4, seed=1000 + i), subsets=10).value for i in range(200)]
    assert abs(np.mean(values)) < 4 * np.std(values) / math.sqrt(200)
    assert min(values) < 0 < max(values)


def test_kid_of_two_halves_is_within_its_error():
    rows = noise(400, 8)
    result = kid(rows[:200], rows[200:])
    assert abs(result.value) < 4 * result.standard_error
    apart = kid(rows[:200], rows[200:] + 1)
    assert apart.value > 10 * apart.standard_error


@pytest.mark.parametrize("subset_size", [1000, 15])
def test_the_standard_error_is_the_spread_of_independent_sets(subset_size):
    """The spread of 300 values is known to 4 %, so 25 % is what the estimate itself may be off."""
    results = [
        kid(noise(60, 4, seed=i), noise(60, 4, seed=1000 + i) + 0.7, 50, subset_size, seed=i) for i in range(300)
    ]
    spread = np.std([result.value for result in results])
    assert np.mean([result.standard_error for result in results]) == pytest.approx(spread, rel=0.25)


def test_the_standard_error_does_not_shrink_with_the_subsets():
    x, y = noise(60, 4), noise(80, 4, seed=1) + 0.7
    assert kid(x, y, subsets=1600).standard_error == pytest.approx(kid(x, y, subsets=100).standard_error, rel=0.3)


def test_kid_draws_by_its_seed():
    x, y = noise(10, 3), noise(12, 3, seed=1)
    assert kid(x, y) == kid(x, y, subsets=100, subset_size=1000, seed=0) != kid(x, y, seed=1)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_other_types_are_computed_in_float64(dtype):
    x, y = (100 * noise(30, 50)).astype(dtype), (100 * noise(20, 50, seed=1)).astype(dtype)
    for metric in (kid, fid):
        assert metric(x, y) == metric(x.astype("float64"), y.astype("float64"))
        assert np.isfinite(metric(x, y)).all()


def test_fid_of_known_gaussians():
    """2 x 2 matrices: the trace of the root of M is sqrt(tr M + 2 sqrt(det M))."""
    means, roots = np.array([[1.0, -2.0], [0.5, 1.0]]), np.array([[[2.0, 0.3], [0.0, 1.0]], [[0.5, -1.0], [0.4, 3.0]]])
    first, second = (root.T @ root for root in roots)
    product = first @ second
    root_trace = math.sqrt(np.trace(product) + 2 * math.sqrt(np.linalg.det(product)))
    expected = 0.5**2 + 3**2 + np.trace(first) + np.trace(second) - 2 * root_trace
    x, y = gaussian(means[0], roots[0], 9), gaussian(means[1], roots[1], 30, seed=1)
    np.testing.assert_allclose(np.cov(x.T), first, atol=1e-12)  # or the oracle is wrong
    assert fid(x, y) == pytest.approx(expected, abs=1e-8)
    assert fid(y, x) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("images", [20, 300])
def test_fid_along_common_axes(images):
    """Covariances that commute: the squared difference of the means, and of each axis's deviations."""
    a, b, shift = np.linspace(0.5, 3, 10), np.linspace(2, 0.1, 10), np.linspace(-1, 1, 10)
    x, y = gaussian(0 * shift, np.diag(a), images), gaussian(shift, np.diag(b), 40, seed=1)
    assert fid(x, y) == pytest.approx(np.sum(shift**2) + np.sum((a - b) ** 2), abs=1e-8)


def test_fid_of_singular_covariances():
    """Sets on one line each, of 50 features: their deviations are compared where the lines are one, or both count."""
    along = np.array([-1.0, 0.0, 1.0])  # a deviation of 1
    one, other = np.eye(50)[:2]
    x = 2 * along[:, None] * one
    assert fid(x, 5 * along[:, None] * one + 3) == pytest.approx((5 - 2) ** 2 + 50 * 3**2, abs=1e-8)
    assert fid(x, 5 * along[:, None] * other) == pytest.approx(5**2 + 2**2, abs=1e-8)
    assert fid(x, np.zeros((2, 50))) == pytest.approx(2**2, abs=1e-8)


def test_fid_of_large_samples():
    """Both variances of 20,000 images are known to 1 %: each axis gives (1 - 2)^2 and a mean of 1, and an error below
    2 * (1 % of 1 / 2 + 1 % of 2 / 2) = 0.03 from the deviations, and 2 * sqrt(5 / 20000) = 0.03 from the mean."""
    x, y = noise(20000, 3), 2 * noise(20000, 3, seed=1) + 1
    assert fid(x, y) == pytest.approx(3 * 2, abs=3 * 0.06)


@pytest.mark.parametrize("shape", [(30, 100), (100, 30)])
def test_fid_of_a_set_and_itself_is_0(shape):
    x = 10 * noise(*shape)
    scale = np.sum(x**2) / len(x)  # of the terms that cancel out
    values = [fid(x, np.random.default_rng(i).permutation(x)) for i in range(20)]
    assert min(values) >= 0
    assert max(values) < 1e-12 * scale


def test_fid_of_a_set_that_moves():
    x = noise(20, 30)
    assert fid(x, x + 0.5) == pytest.approx(30 * 0.5**2, abs=1e-8)


def test_mean_kid():
    """(0.02 * 2 + 0.98 * 11) / 2 = 5.41; of errors, 0.02 * 0.5 and 0.98 * 0.4 at a right angle, halved."""
    result = mean_kid(Estimate(2.0, 0.5), Estimate(11.0, 0.4))
    assert result == pytest.approx((5.41, math.sqrt(0.01**2 + 0.392**2) / 2))
    assert isinstance(result, Estimate)
    assert "no plain KID" in MEAN_KID_WARNING


GOOD = noise(6, 3)
NAN, INFINITE = GOOD.copy(), GOOD.copy()
NAN[2, 1], INFINITE[0, 0] = np.nan, -np.inf


@pytest.mark.parametrize("metric", [kid, fid])
@pytest.mark.parametrize(
    ("features", "reference", "message"),
    [
        (GOOD[0], GOOD, r"features must have the shape \[images,features\]; received \[3\]"),
        (GOOD, GOOD[None], r"reference must have the shape \[images,features\]; received \[1, 6, 3\]"),
        (GOOD[:, :2], GOOD, "must come from the same network; received 2 features an image, and 3 in the reference"),
        (NAN, GOOD, "features has values that are not finite"),
        (GOOD, INFINITE, "reference has values that are not finite"),
        (GOOD, GOOD[:1], r"At least \d images are needed in either set; received 1 in reference"),
    ],
)
def test_sets_that_do_not_fit(metric, features, reference, message):
    with pytest.raises(ValueError, match=message):
        metric(features, reference)


def test_the_smallest_sets():
    assert np.isfinite(kid(GOOD[:4], GOOD[:4])).all()
    with pytest.raises(ValueError, match="At least 4 images are needed in either set; received 3 in features"):
        kid(GOOD[:3], GOOD)
    assert math.isfinite(fid(GOOD[:2], GOOD[:2]))
    with pytest.raises(ValueError, match="At least 2 images are needed in either set; received 1 in features"):
        fid(GOOD[:1], GOOD)


@pytest.mark.parametrize(("subsets", "subset_size"), [(1, 1000), (100, 1)])
def test_too_few_or_too_small_subsets(subsets, subset_size):
    with pytest.raises(ValueError, match=f"must be at least 2; received {subsets} and {subset_size}"):
        kid(GOOD, GOOD, subsets, subset_size)
