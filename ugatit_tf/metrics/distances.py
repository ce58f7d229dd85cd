"""Distances between two sets of images by their features: KID and FID."""

import math
from typing import NamedTuple

import numpy as np

MEAN_KID_WARNING = (
    "The mean KID of the U-GAT-IT authors' evaluation code is no plain KID: most of its weight is the distance to the "
    "SOURCE images, so compare it with other mean KIDs only."
)


class Estimate(NamedTuple):
    """A measured value, and how far it is expected to be off."""

    value: float
    standard_error: float


def feature_sets(features, reference, least):
    """Both sets in float64, checked.

    Args:
        features: [N, D].
        reference: [M, D].
        least: images that either set must have.

    Raises:
        ValueError: for another shape, too few images, or a value that is not finite.
    """
    sets = {"features": np.asarray(features, np.float64), "reference": np.asarray(reference, np.float64)}
    for name, rows in sets.items():
        if rows.ndim != 2:
            raise ValueError(f"{name} must have the shape [images,features]; received {list(rows.shape)}.")
        if len(rows) < least:
            raise ValueError(f"At least {least} images are needed in either set; received {len(rows)} in {name}.")
        if not np.isfinite(rows).all():
            raise ValueError(f"{name} has values that are not finite: leave those images out, or compute them anew.")
    features, reference = sets.values()
    if features.shape[1] != reference.shape[1]:
        raise ValueError(
            f"Both sets must come from the same network; received {features.shape[1]} features an image, and "
            f"{reference.shape[1]} in the reference."
        )
    return features, reference


def kid(features, reference, subsets=100, subset_size=1000, seed=0):
    """Kernel inception distance: the squared MMD with the kernel (x.y / D + 1)^3, unbiased, so it may be below 0.

    Its standard error is the delete-d jackknife's (Shao and Wu 1989). Random halves of the sets vary about as much as
    whole sets of this size do from draw to draw, so the variance over the subsets is that of the result; a subset of m
    of n images varies more, and its variance counts m / (n - m) times: the larger factor of both sets, so for very
    unequal sets the error is too large rather than too small. The usual std / sqrt(subsets) is no such measure: subsets
    overlap, so it shrinks with their number while the images stay the same, and subsets as large as a small set would
    all be that set, with an error of 0.

    Args:
        features: [N, D], of any float type; computed in float64.
        reference: [M, D].
        subsets: over which the result is the mean.
        subset_size: images of either set in a subset; at most half of the set.
        seed: of the draws.

    Returns:
        `Estimate`, not multiplied by 100 or 1000.

    Raises:
        ValueError: for sets that do not fit, are not finite or have fewer than 4 images.

    Reference: Binkowski et al., arXiv:1801.01401.
    """
    sets = feature_sets(features, reference, least=4)
    if min(subsets, subset_size) < 2:
        raise ValueError(f"subsets and subset_size must be at least 2; received {subsets} and {subset_size}.")
    sizes = [min(subset_size, len(rows) // 2) for rows in sets]
    generator = np.random.default_rng(seed)
    values = [
        _squared_mmd(*(generator.choice(rows, size, replace=False) for rows, size in zip(sets, sizes, strict=True)))
        for _ in range(subsets)
    ]
    factor = max(size / (len(rows) - size) for rows, size in zip(sets, sizes, strict=True))
    return Estimate(float(np.mean(values)), math.sqrt(factor * np.var(values, ddof=1)))


def fid(features, reference):
    """Frechet inception distance: of two Gaussians with the sets' means and covariances (divided by n - 1).

    With a set's covariance A^T A, where A holds its centred rows, the trace of the root of a product of two covariances
    is the sum of the singular values of A B^T: real and exact for singular covariances too.

    Args:
        features: [N, D], of any float type; computed in float64.
        reference: [M, D].

    Returns:
        float, at least 0. Biased upwards in small sets: see `sample_size`.

    Raises:
        ValueError: for sets that do not fit, are not finite or have fewer than 2 images.

    Reference: Heusel et al., arXiv:1706.08500.
    """
    sets = feature_sets(features, reference, least=2)
    means = [rows.mean(axis=0) for rows in sets]
    # Of A = QR, R alone has A's covariance: never more than D rows, however many images there are.
    a, b = (
        np.linalg.qr((rows - mean) / math.sqrt(len(rows) - 1), mode="r") for rows, mean in zip(sets, means, strict=True)
    )
    shift = np.sum((means[0] - means[1]) ** 2)
    distance = shift + np.sum(a * a) + np.sum(b * b) - 2 * np.linalg.norm(a @ b.T, "nuc")
    return max(0.0, float(distance))


def mean_kid(target, source):
    """The "mean KID" of the U-GAT-IT authors' evaluation code: (0.02 * target + 0.98 * source) / 2.

    Warning: this is no plain KID, and most of its weight is the distance to the SOURCE images, which a translation is
    to leave. The table of the paper (arXiv:1907.10830) is most likely this; never compare it with a plain KID.

    Args:
        target: `Estimate`, the KID of translated images to the target domain.
        source: `Estimate`, their KID to the source domain.

    Returns:
        `Estimate`, with both errors taken as independent.
    """
    return Estimate(
        (0.02 * target.value + 0.98 * source.value) / 2,
        math.hypot(0.02 * target.standard_error, 0.98 * source.standard_error) / 2,
    )


def _squared_mmd(x, y):
    """The unbiased estimate: within a set, no image is compared with itself."""
    within = 0.0
    for rows in (x, y):
        kernel = _kernel(rows, rows)
        within += (kernel.sum() - kernel.trace()) / (len(rows) * (len(rows) - 1))
    return within - 2 * _kernel(x, y).mean()


def _kernel(x, y):
    base = x @ y.T / x.shape[1] + 1
    return base * base * base  # numpy's ** 3 takes many times as long
