"""What people see of scores: a table, and a plot of metrics against the step."""

import math

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ugatit_tf.evaluation.score import size_words

# Column, metric, its error, digits. Names and scales are those of the JSON files, the logs and TensorBoard.
_COLUMNS = [
    ("KID", "kid", "kid_error", 4),
    ("FID", "fid", None, 1),
    ("inception score", "inception_score", "inception_score_error", 2),
    ("precision", "precision", None, 2),
    ("recall", "recall", None, 2),
    ("density", "density", None, 2),
    ("coverage", "coverage", None, 2),
    ("mean KID", "mean_kid", "mean_kid_error", 4),
    ("L1", "l1", None, 1),
    ("PSNR, dB", "psnr", None, 1),
    ("SSIM", "ssim", None, 3),
]
_PLOTTED = {"kid": "KID", "fid": "FID"}
_PLOTTED_PAIRS = {"l1": "L1 to the truth, grey levels", "ssim": "SSIM to the truth"}
_COLUMNS_OF_PANELS = 3
_COLOURS = {"a2b": "tab:blue", "b2a": "tab:orange"}
_STYLES = {
    "untranslated": {},
    "raw": {"linestyle": "--", "marker": "o", "markerfacecolor": "white"},
    "ema": {"linestyle": "-", "marker": "o"},
}


def table(records, network):
    """The scores by one feature network, as a Markdown table that can be read as it is.

    Args:
        records: dicts with `label`, `direction` and what `Evaluator.score` returned; its `size` is a column.
        network: the name of the feature network.
    """
    values = [{**record["features"][network], **record.get("pairs", {})} for record in records]
    columns = [column for column in _COLUMNS if any(column[1] in value for value in values)]
    rows = [["", "", "size", *(title for title, *_ in columns)]]
    for record, value in zip(records, values, strict=True):
        cells = [_number(value, *column[1:]) for column in columns]
        rows.append([record["label"], _words(record["direction"]), size_words(record["size"]), *cells])
    # Markdown has no table where the rule is empty under a column.
    widths = [max(3, *(len(row[index]) for row in rows)) for index in range(len(rows[0]))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    rule = ["-" * width for width in widths]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


def markdown(records):
    """The tables of all feature networks, and what each cannot bear, as a Markdown page."""
    parts = []
    for name, scores in records[0]["features"].items():
        lines = [f"Features: {name}. {scores['note']} {_sizes(records)}", "", table(records, name), ""]
        parts.append("\n".join([*lines, *(f"- {line}" for line in warnings(records, name)), ""]))
    return "\n".join(parts)


def _sizes(records):
    """How the images of both kinds were compared."""
    sizes = list(dict.fromkeys(size_words(record["size"]) for record in records))
    if sizes == [size_words(None)]:
        return "Translations of several sizes: each image in its own size, so compare with nothing of another size."
    return f"Translations and real images at {', '.join(sizes)}."


def _words(direction):
    """`"A to B"` for `"a2b"`; nothing for none."""
    return " to ".join(direction.upper().split("2"))


def _number(values, name, error, digits):
    if name not in values:
        return ""
    text = f"{values[name]:.{digits}f}"
    return f"{text} ± {values[error]:.{digits}f}" if error else text


def warnings(records, network):
    """The lines on what the numbers by one feature network cannot bear, each once."""
    return list(dict.fromkeys(line for record in records for line in record["features"][network]["warnings"]))


def plot(records, held_out, path):
    """Draw metrics against the step, as a PNG file: a panel of 5 in (600 px) for each of them, three in a row.

    Args:
        records: as in `table`, with `step` and `weights`; those without a step are drawn as level lines.
        held_out: what a run logged of its held-out images while it trained: dicts of `step` and `kid_a2b` and the like.
            They have a panel of their own: they are other images, and may be scored by another network.
        path: of the file to make.
    """
    panels = [
        (f"{title} ({network})", _series(records, network, name))
        for network in records[0]["features"]
        for name, title in _PLOTTED.items()
    ]
    panels += [(title, _series(records, None, name)) for name, title in _PLOTTED_PAIRS.items()]
    panels.append(("KID of held-out images, in training", _held_out_series(held_out)))
    panels = [(title, series) for title, series in panels if series]
    columns = min(len(panels), _COLUMNS_OF_PANELS)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(5 * columns, 4 * rows + 0.4), layout="constrained")
    legend = {}
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in places[len(panels) :]:
        axes.remove()
    for axes, (title, series) in zip(places, panels, strict=False):
        for (weights, direction), points in series.items():
            label, style = f"{weights}, {_words(direction)}", _STYLES[weights] | {"color": _COLOURS[direction]}
            if points[0][0] is None:
                # Both directions' lines may be one: each then fills the other's gaps.
                gaps = (6 * list(_COLOURS).index(direction), (3, 9))
                legend[label] = axes.axhline(points[0][1], **style, linestyle=gaps)
            else:
                steps, values, errors = zip(*sorted(points), strict=True)
                legend[label] = axes.errorbar(steps, values, errors if any(errors) else None, capsize=3, **style)
        axes.set(title=title, xlabel="step")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
        axes.grid(alpha=0.3)
    figure.legend(legend.values(), legend, loc="outside lower center", ncols=2 * columns, handlelength=4)
    figure.savefig(path, format="png", dpi=120)


def _series(records, network, name):
    """[(step, value, error)] by (weights, direction)."""
    found = {}
    for record in records:
        values = record.get("pairs", {}) if network is None else record["features"][network]
        if name in values:
            point = record["step"], values[name], values.get(f"{name}_error", 0.0)
            found.setdefault((record["weights"], record["direction"]), []).append(point)
    return found


def _held_out_series(held_out):
    """The same; a score that is missing in a line, or null, is left out."""
    names = {f"{kind}kid_{direction}": (kind, direction) for kind in ("", "ema_") for direction in _COLOURS}
    found = {}
    for record in held_out:
        for name, (kind, direction) in names.items():
            if record.get(name) is not None:
                key = "ema" if kind else "raw", direction
                found.setdefault(key, []).append((record["step"], record[name], 0.0))
    return found


def finite(value):
    """The same, with null for numbers that JSON has no word for."""
    if isinstance(value, dict):
        return {name: finite(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
