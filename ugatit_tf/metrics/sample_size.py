"""How many images a metric needs before its number can be trusted."""

# Each metric: images it needs, and what is known of fewer.
NEEDED = {
    "kid": (100, "of fewer, the standard error is often as large as the value, though unbiased (arXiv:1801.01401)"),
    "fid": (
        10_000,
        "the least that Heusel et al. recommend (github.com/bioinf-jku/TTUR); of fewer it is biased upwards",
    ),
    "inception_score": (50_000, "what Salimans et al. (arXiv:1606.03498) score; of fewer it is biased downwards"),
    "precision_recall_density_coverage": (10_000, "what Naeem et al. (arXiv:2002.09797) use for k = 5"),
}


def shortfalls(metric, images, features=None):
    """What is wrong with a metric of so few images, in one line; None where there are enough.

    Args:
        metric: a key of `NEEDED`, which are the functions' names.
        images: in the smaller set.
        features: D, for fid: a covariance of D features or fewer images is singular.

    Raises:
        ValueError: for an unknown metric.
    """
    if metric not in NEEDED:
        raise ValueError(f"metric must be one of {', '.join(NEEDED)}; received {metric!r}.")
    needed, known = NEEDED[metric]
    faults = []
    if images < needed:
        faults.append(f"{metric} of {images:,} images: it needs {needed:,}, {known}")
    if metric == "fid" and features is not None and images <= features:
        faults.append(f"the covariance of {features:,} features is singular with {images:,} images")
    return "; ".join(faults) + "." if faults else None
