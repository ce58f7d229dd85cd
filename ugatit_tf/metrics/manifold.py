"""How far two sets of images cover one another, by neighbourhoods of their features."""

from typing import NamedTuple

import numpy as np

from ugatit_tf.metrics.distances import feature_sets

_BLOCK = 1024  # rows whose distances are in memory at a time


class Manifold(NamedTuple):
    """Fidelity and diversity of generated images, apart.

    Args:
        precision: part of the generated images that lie in a neighbourhood of a reference image.
        recall: part of the reference images that lie in a neighbourhood of a generated image.
        density: how many of the k reference neighbourhoods to be expected an image lies in; may exceed 1.
        coverage: part of the reference images that have a generated image in their neighbourhood.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def precision_recall_density_coverage(features, reference, k=5):
    """The four measures; an image's neighbourhood is the closed ball to the k-th nearest other image of its own set.

    Args:
        features: [N, D], of generated images, of any float type; computed in float64.
        reference: [M, D].
        k: neighbours that give the radius.

    Returns:
        `Manifold`.

    Raises:
        ValueError: for sets that do not fit, are not finite or have fewer than k + 1 images.

    Reference: precision and recall, Kynkaanniemi et al., arXiv:1904.06991; density and coverage, Naeem et al.,
    arXiv:2002.09797.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1; received {k}.")
    features, reference = feature_sets(features, reference, least=k + 1)
    feature_radii, reference_radii = _radii(features, k), _radii(reference, k)
    precise = containing = 0
    recalled, covered = np.zeros((2, len(reference)), bool)
    for rows in _blocks(features):
        distances = _squared_distances(features[rows], reference)
        in_reference = distances <= reference_radii
        precise += in_reference.any(axis=1).sum()
        containing += in_reference.sum()
        covered |= in_reference.any(axis=0)
        recalled |= (distances <= feature_radii[rows, None]).any(axis=0)
    return Manifold(
        precision=float(precise / len(features)),
        recall=float(recalled.mean()),
        density=float(containing / (k * len(features))),
        coverage=float(covered.mean()),
    )


def _blocks(rows):
    return (slice(start, start + _BLOCK) for start in range(0, len(rows), _BLOCK))


def _radii(rows, k):
    """Squared distances to the k-th nearest other row; the row itself is the nearest, at place 0."""
    return np.concatenate(
        [np.partition(_squared_distances(rows[block], rows), k, axis=1)[:, k] for block in _blocks(rows)]
    )


def _squared_distances(x, y):
    return np.sum(x * x, axis=1)[:, None] + np.sum(y * y, axis=1) - 2 * (x @ y.T)
