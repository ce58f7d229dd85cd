"""What people see of scores: tables, and a plot of metrics against the step."""

import math

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ugatit_tf.evaluation.score import size_words
from ugatit_tf.text import markdown_table

WIDTH = 80  # characters of a table's line, at most: what a terminal has
# Column, metric, its error, digits, and which is better (None: neither, see docs/evaluation.md). Names and scales are
# those of the JSON files, the logs and TensorBoard.
_COLUMNS = [
    ("KID", "kid", "kid_error", 4, min),
    ("FID", "fid", None, 1, min),
    ("inception score", "inception_score", "inception_score_error", 2, max),
    ("precision", "precision", None, 2, max),
    ("recall", "recall", None, 2, max),
    ("density", "density", None, 2, max),
    ("coverage", "coverage", None, 2, max),
    ("mean KID", "mean_kid", "mean_kid_error", 4, None),
    ("L1", "l1", None, 1, min),
    ("PSNR, dB", "psnr", None, 1, max),
    ("SSIM", "ssim", None, 3, max),
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
    """The scores by one feature network, as Markdown tables that can be read as they are.

    Each direction has its own, and the best value of a column is bold. Columns for which a line of `WIDTH` characters
    has no room are in a further table.

    Args:
        records: dicts with `label`, `direction` and what `Evaluator.score` returned; its `size` is a column where
            sizes differ.
        network: the name of the feature network.
    """
    several = len({size_words(record["size"]) for record in records}) > 1
    tables = []
    for direction in dict.fromkeys(record["direction"] for record in records):
        chosen = [record for record in records if record["direction"] == direction]
        first = [[_words(direction), *(record["label"] for record in chosen)]]
        first += [["size", *(size_words(record["size"]) for record in chosen)]] if several else []
        values = [{**record["features"][network], **record.get("pairs", {})} for record in chosen]
        shown = [_cells(values, *column) for column in _COLUMNS if any(column[1] in value for value in values)]
        tables += _within(first, shown)
    return "\n\n".join(tables)


def _cells(values, title, name, error, digits, better):
    """A column: its title, and a cell for each of the values."""
    cells = [_number(value, name, error, digits) for value in values]
    if better and len(values) > 1:
        best = better(value[name] for value in values if name in value)
        cells = [f"**{cell}**" if value.get(name) == best else cell for value, cell in zip(values, cells, strict=True)]
    return [title, *cells]


def _within(first, columns):
    """Markdown tables of the columns, each beginning with the columns `first`, and no wider than `WIDTH`."""
    tables, taken = [], []
    for column in columns:
        wider = markdown_table(list(zip(*first, *taken, column, strict=True)))
        if taken and len(wider.partition("\n")[0]) > WIDTH:
            tables.append(markdown_table(list(zip(*first, *taken, strict=True))))
            taken = []
        taken.append(column)
    return [*tables, markdown_table(list(zip(*first, *taken, strict=True)))]


def markdown(records):
    """The tables of all feature networks, with their caveats, as a Markdown page."""
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
    return f"{text}±{values[error]:.{digits}f}" if error else text


def warnings(records, network):
    """The caveats of the numbers by one feature network, as lines, each once."""
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
