"""What people see of scores: a table, and a plot of metrics against the step."""

import math

from matplotlib.figure import Figure

# Column, metric, its error, factor, digits.
_COLUMNS = [
    ("KID x100", "kid", "kid_error", 100, 2),
    ("FID", "fid", None, 1, 1),
    ("IS", "inception_score", "inception_score_error", 1, 2),
    ("precision", "precision", None, 1, 2),
    ("recall", "recall", None, 1, 2),
    ("density", "density", None, 1, 2),
    ("coverage", "coverage", None, 1, 2),
    ("mean KID x100", "mean_kid", "mean_kid_error", 100, 2),
    ("L1", "l1", None, 1, 1),
    ("PSNR, dB", "psnr", None, 1, 1),
    ("SSIM", "ssim", None, 1, 3),
]
_PLOTTED = {"kid": "KID x100", "fid": "FID", "l1": "L1 to the truth, grey levels", "ssim": "SSIM to the truth"}


def table(records, network):
    """The scores by one feature network, as a Markdown table that can be read as it is.

    Args:
        records: dicts with `label`, `direction` and what `Evaluator.score` returned.
        network: the name of the feature network.
    """
    values = [{**record["features"][network], **record.get("pairs", {})} for record in records]
    columns = [column for column in _COLUMNS if any(column[1] in value for value in values)]
    rows = [["", "", *(title for title, *_ in columns)]]
    for record, value in zip(records, values, strict=True):
        cells = [_number(value, *column[1:]) for column in columns]
        rows.append([record["label"], record["direction"].replace("2", " to ").upper().replace("TO", "to"), *cells])
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    rule = ["-" * width for width in widths]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


def markdown(records):
    """The tables of all feature networks, and what they cannot bear, as a Markdown page."""
    parts = [
        f"Features: {name}. {scores['note']}\n\n{table(records, name)}\n"
        for name, scores in records[0]["features"].items()
    ]
    return "\n".join([*parts, *(f"- {line}" for line in warnings(records))]) + "\n"


def _number(values, name, error, factor, digits):
    if name not in values:
        return ""
    text = f"{factor * values[name]:.{digits}f}"
    return f"{text} ± {factor * values[error]:.{digits}f}" if error else text


def warnings(records):
    """The lines on what the numbers cannot bear, each once."""
    found = [line for record in records for scores in record["features"].values() for line in scores["warnings"]]
    return list(dict.fromkeys(found))


def plot(records, held_out, path):
    """Draw metrics against the step, as a PNG file.

    Args:
        records: as in `table`, with `step`; those without a step are drawn as level lines.
        held_out: what a run logged of its held-out images while it trained: dicts of `step` and `kid_a2b` and the like.
        path: of the file to make.
    """
    networks = list(records[0]["features"])
    panels = [(network, name) for network in networks for name in ("kid", "fid")]
    panels += [(None, name) for name in ("l1", "ssim") if "pairs" in records[0]]
    figure = Figure(figsize=(5 * len(panels), 4), layout="constrained")
    for axes, (network, name) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for (label, direction), points in _series(records, network, name).items():
            text = f"{label}, {direction[0].upper()} to {direction[-1].upper()}"
            if points[0][0] is None:
                axes.axhline(points[0][1], linestyle=":", color="grey")
                axes.annotate(text, (0, points[0][1]), xycoords=("axes fraction", "data"), fontsize=7, color="grey")
            else:
                steps, values, errors = zip(*sorted(points), strict=True)
                axes.errorbar(steps, values, errors if any(errors) else None, marker="o", capsize=3, label=text)
        if name == "kid" and network == networks[0]:
            _draw_held_out(axes, held_out)
        axes.set(title=_PLOTTED[name] if network is None else f"{_PLOTTED[name]} ({network})", xlabel="step")
        axes.legend(fontsize=7)
        axes.grid(alpha=0.3)
    figure.savefig(path, format="png", dpi=120)


def _series(records, network, name):
    """(step, value, error) by (label without step, direction)."""
    found = {}
    for record in records:
        values = record["pairs"] if network is None else record["features"][network]
        factor = 100 if name == "kid" else 1
        point = record.get("step"), factor * values[name], factor * values.get(f"{name}_error", 0.0)
        found.setdefault((record["weights"], record["direction"]), []).append(point)
    return found


def _draw_held_out(axes, held_out):
    names = sorted({name for record in held_out for name in record if name.endswith(("kid_a2b", "kid_b2a"))})
    for name in names:
        points = [(record["step"], 100 * record[name]) for record in held_out if record.get(name) is not None]
        axes.plot(*zip(*points, strict=True), linestyle="--", marker=".", label=f"held out, {name.replace('_', ' ')}")


def finite(value):
    """The same, with null for numbers that JSON has no word for."""
    if isinstance(value, dict):
        return {name: finite(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
