"""The inception score: images that are recognised with certainty, and as many different things."""

import math

import numpy as np

from ugatit_tf.metrics.distances import Estimate


def inception_score(probabilities, splits=10):
    """exp of the mean KL divergence of an image's class probabilities from those of its split as a whole.

    From 1 (all images alike, or nothing recognised) to K. It knows no reference images.

    Args:
        probabilities: [N, K], a classifier's softmax; each row sums to 1.
        splits: parts of consecutive images that are scored on their own; the result is their mean.

    Returns:
        `Estimate`.

    Raises:
        ValueError: for rows that are no probabilities, and for fewer images than splits.

    Reference: Salimans et al., arXiv:1606.03498.
    """
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.ndim != 2:
        raise ValueError(f"probabilities must have the shape [images,classes]; received {list(probabilities.shape)}.")
    if splits < 2:
        raise ValueError(f"splits must be at least 2, for a standard error; received {splits}.")
    if len(probabilities) < splits:
        raise ValueError(
            f"{splits} splits need as many images; received {len(probabilities)}. Give more images, or fewer splits."
        )
    # So written that a NaN is refused as well.
    if not ((probabilities >= 0).all() and (abs(probabilities.sum(axis=1) - 1) <= 1e-3).all()):
        raise ValueError("Each row of probabilities must sum to 1, without negative values: give softmax, no logits.")
    scores = [_score(part) for part in np.array_split(probabilities, splits)]
    return Estimate(float(np.mean(scores)), float(np.std(scores, ddof=1)) / math.sqrt(splits))


def _score(probabilities):
    divergences = np.sum(probabilities * (_log(probabilities) - _log(probabilities.mean(axis=0))), axis=1)
    return np.exp(divergences.mean())


def _log(probabilities):
    """0 in place of log 0, which only ever meets a factor of 0."""
    return np.log(np.where(probabilities > 0, probabilities, 1))
