"""The results of run.py as one picture: the step and inference as bars, the growth as curves.

python benchmarks/plot.py benchmarks/results/results.json        # writes results.png beside it
"""

import argparse
import json
import pathlib

import jobs
import summary

OURS, THEIRS, MEMORY = "#2f6690", "#9aa5ad", "#e08e45"
FULL = "#7a3b69"
CURVES = {"image size": ("image size, px", OURS), "ch": ("ch, at {img_size} px", OURS)}
CURVES |= {"batch": ("batch, at {half} px", OURS), "image size, full": ("image size, px", FULL)}


def draw(results, path):
    """Draw the picture; parts that were not measured stay away.

    Raises:
        ModuleNotFoundError: Matplotlib is not installed.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    samples = summary.Samples(results)
    curves = summary.growth_curves(results)
    bars = [part for part in ("step", "inference") if samples.names(part)]
    settings = results["settings"]
    rows = bool(bars) + 2 * bool(curves)
    if not rows:
        return False
    with pyplot.rc_context({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False}):
        figure = pyplot.figure(figsize=(11, 3.7 * rows), layout="constrained")
        parts = figure.subfigures(rows, 1, squeeze=False, height_ratios=[1.15] * bool(bars) + [1, 1] * bool(curves))
        panels = [part for row in parts for part in row]
        if bars:
            axes = panels.pop(0).subplots(1, len(bars), squeeze=False)[0]
            for axis, part in zip(axes, bars, strict=True):
                (_draw_step if part == "step" else _draw_inference)(axis, samples)
        for index, what in ((1, "seconds a step"), (2, "peak memory, GiB")) if curves else ():
            _draw_growth(panels.pop(0), curves, index, what, settings)
        kind = "light" if settings["light"] else "full"
        figure.suptitle(
            f"ugatit-tf: {kind}, {settings['img_size']} px, ch {settings['ch']}, batch {settings['batch_size']}, "
            f"{settings['threads']} CPU threads",
            fontsize=13,
        )
        figure.savefig(path, dpi=110)
        pyplot.close(figure)
    return True


def _draw_step(axis, samples):
    names = [name for name in ("official", *jobs.STEPS) if name in samples.names("step")]
    base = names[0]
    kinds = (("time", "seconds", OURS, -0.2), ("peak memory", "peak_mib", MEMORY, 0.2))
    for what, field, color, offset in kinds:
        values = [samples.median("step", name, field) / samples.median("step", base, field) for name in names]
        places = [place + offset for place in range(len(names))]
        drawn = axis.barh(places, values, 0.38, color=color, label=what)
        _write_values(axis, drawn, values)
    _finish_bars(axis, [_title(name) for name in names], f"Training step, relative to {_title(base)}")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.07), ncols=2, frameon=False)


def _draw_inference(axis, samples):
    names = samples.names("inference")
    base = names[0]
    values = [
        samples.median("inference", name, "milliseconds") / samples.median("inference", base, "milliseconds")
        for name in names
    ]
    colors = [THEIRS if name == "official" else OURS for name in names]
    _write_values(axis, axis.barh(range(len(names)), values, 0.7, color=colors), values)
    titles = [f"TFLite {name}" if name in jobs.TFLITE else _title(name) for name in names]
    _finish_bars(axis, titles, f"One translation, time relative to {_title(base)}")


def _title(name):
    return "official PyTorch" if name == "official" else name


def _write_values(axis, bars, values):
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    axis.bar_label(bars, [f"{value:.2f}" for value in values], padding=4, fontsize=9, bbox=box)


def _finish_bars(axis, names, title):
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set_xlim(0, axis.get_xlim()[1] * 1.12)
    axis.axvline(1, color="black", linewidth=0.6, linestyle=":", zorder=0)
    axis.set_title(title, fontsize=11)


def _draw_growth(panel, curves, index, what, settings):
    """A row of curves: one panel for each thing that grows, all of one height."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    names = [name for name in CURVES if name in curves]
    labels = list(
        dict.fromkeys(
            CURVES[name][0].format(img_size=settings["img_size"], half=settings["img_size"] // 2) for name in names
        )
    )
    axes = dict(zip(labels, panel.subplots(1, len(labels), sharey=True, squeeze=False)[0], strict=True))
    for name in names:
        label = CURVES[name][0].format(img_size=settings["img_size"], half=settings["img_size"] // 2)
        points = [(point[0], point[index] / (1024 if index == 2 else 1)) for point in curves[name]]
        slope = summary.slope(points)
        model = "full" if name.endswith("full") else "light"
        words = model if slope is None else f"{model}, exponent {slope:.2f}"
        axes[label].plot(*zip(*points, strict=True), "o-", color=CURVES[name][1], label=words, markersize=5)
    for label, axis in axes.items():
        axis.set_xscale("log")
        axis.set_yscale("log")
        values = sorted({x for line in axis.lines for x in line.get_xdata()})
        axis.set_xticks(values, [f"{value:g}" for value in values])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.margins(y=0.2)  # for the legend
        axis.yaxis.set_major_locator(LogLocator(10, subs=(1, 1.5, 2, 3, 5, 7)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.grid(axis="y", linewidth=0.4)
        axis.set_xlabel(label)
        axis.legend(loc="upper left", frameon=False, fontsize=9)
    next(iter(axes.values())).set_ylabel(what)


def main():
    """Draw the picture of a file of results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=pathlib.Path, help="of run.py")
    options = parser.parse_args()
    draw(json.loads(options.results.read_text()), options.results.with_suffix(".png"))


if __name__ == "__main__":
    main()
