"""How many images a metric needs before its number can be trusted."""

from ugatit_tf.text import count

# Each metric: its title, the images it needs, and what is known of fewer.
NEEDED = {
    "kid": ("KID", 100, "of fewer, the standard error is often as large as the value"),
    "fid": (
        "FID",
        10_000,
        "the least that Heusel et al. recommend (github.com/bioinf-jku/TTUR); of fewer it is biased upwards",
    ),
    "inception_score": (
        "The Inception score",
        50_000,
        "as Salimans et al. (arXiv:1606.03498) have; of fewer it is biased downwards",
    ),
    "precision_recall_density_coverage": (
        "The group of precision, recall, density and coverage",
        10_000,
        "as Naeem et al. (arXiv:2002.09797) have for k = 5",
    ),
}


def shortfalls(metric, images, features=None):
    """What is wrong with a metric of so few images, in one line; None where there are enough.

    Args:
        metric: a key of `NEEDED`, which are the functions' names.
        images: in the smaller set.
        features: D, for fid: a covariance of D features of D images or fewer is singular.

    Raises:
        ValueError: for an unknown metric.
    """
    if metric not in NEEDED:
        raise ValueError(f"metric must be one of {', '.join(NEEDED)}; received {metric!r}.")
    title, needed, known = NEEDED[metric]
    faults = []
    if images < needed:
        faults.append(f"{title} needs {count(needed, 'image')}, {known}. Here are {images:,}.")
    if metric == "fid" and features is not None and images <= features:
        faults.append(f"The covariance of {count(features, 'feature')} is singular with {count(images, 'image')}.")
    return " ".join(faults) or None
