"""Features of real images, kept on disk: every evaluation of a run needs the same ones."""

import hashlib
import pathlib

import numpy as np

from ugatit_tf import environment
from ugatit_tf.data.images import READING, open_image
from ugatit_tf.weights.atomic import replacing


def cached_features(network, paths, compute, extra, folder=None):
    """The features of a set of images, computed once for the same network, files and preparation.

    Args:
        network: `ugatit_tf.evaluation.features.FeatureNetwork`.
        paths: of the images' files, in order. Their content counts, not their names.
        compute: function without arguments, to (features, probabilities), float32 arrays [N, D] and [N, K], or None for
            the latter, with a row for each file.
        extra: text that says what else the features depend on, `"64 px"` for example.
        folder: where the files are kept; by default `$UGATIT_CACHE`, or `~/.cache/ugatit_tf/features`. One that cannot
            be written only costs the time.

    Returns:
        What `compute` returned, now or then.

    Raises:
        OSError: one of `paths` cannot be read.
    """
    folder = pathlib.Path(folder or environment.cache_folder("features")).expanduser()
    path = folder / f"{_key(network, paths, extra)}.npz"
    found = _read(path, (len(paths), network.dimension))
    if found:
        return found
    features, probabilities = compute()
    arrays = {"features": features} if probabilities is None else {"features": features, "probabilities": probabilities}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            np.savez(file, **arrays)
    except OSError:
        pass  # the next evaluation computes them again
    return features, probabilities


def _key(network, paths, extra):
    # Each part as a digest of its own: no text can pass for another part.
    parts = [hashlib.sha256(text.encode()).hexdigest() for text in (network.digest, f"{extra}, {READING}")]
    for path in paths:
        with open_image(path) as file:
            parts.append(hashlib.file_digest(file, "sha256").hexdigest())
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _read(path, shape):
    """The arrays in a file, or None where there are none of use."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            features, probabilities = arrays["features"], arrays.get("probabilities")
    except Exception:  # whatever is wrong with it, it can be made anew
        return None
    if features.dtype != np.float32 or features.shape != shape:
        return None
    if probabilities is not None and (
        probabilities.dtype != np.float32 or probabilities.ndim != 2 or len(probabilities) != len(features)
    ):
        return None
    return features, probabilities
