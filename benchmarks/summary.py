"""From raw samples to medians, ratios with their spread, and Markdown tables."""

import dataclasses
import statistics

import jobs
import numpy as np

FULL_MODEL_MIB = 24e9 / 2**20  # 24 GB, in which the full model is to train

# What the ratios have to be for the light generator of 256 px, ch 64, batch 1, on two cores.
TARGETS = {
    "step time: float32 / official": 0.55,
    "step time: bfloat16 / official": 0.35,
    "step peak memory: float32 / official": 0.5,
    "step peak memory: float32 remat / official": 0.35,
    "step time: float32 remat / float32": 1.35,
    "step rate: float32 / matrix-multiply peak": 0.8,
    "pipeline: JPEG / step float32": 10.0,
    "pipeline: PNG / step float32": 10.0,
    "pipeline: JPEG, 1024 px / step float32": 10.0,
    "start, seconds: images checked before": 40.0,
    "growth, peak memory: full model / 24 GB": 1.0,
}
TARGET_SETTINGS = {"light": True, "img_size": 256, "ch": 64, "batch_size": 1}
# The flags of run.py that are of some parts only.
_OWN_FLAGS = {"--pytorch": ("step", "inference"), "--torch_python": ("step", "inference"), "--growth": ("growth",)}
_OWN_FLAGS |= {"--runs": ("inference",), "--export": ("inference",), "--pipeline": ("pipeline",)}
_OWN_FLAGS |= {"--matmul": ("step",), "--rounds": ("step", "inference", "pipeline", "start")}
_OWN_FLAGS |= {"--steps": ("step", "pipeline", "growth")}


@dataclasses.dataclass(frozen=True)
class Ratio:
    """A result that is compared: with a target, and with the baseline.

    Args:
        value: of the medians over all rounds.
        spread: of the rounds' own ratios, as a standard deviation; None from a single round, which does not tell.
        better: `"lower"` or `"higher"`.
        portable: whether another machine's value means anything; seconds do not.
    """

    value: float
    spread: float | None
    better: str = "lower"
    portable: bool = True


class Samples:
    """The raw records of a run of run.py, by part, name and round."""

    def __init__(self, results):
        self.records = results["samples"]

    def names(self, part):
        """The names of a part that have a record without an error."""
        names = self.records.get(part, {})
        return [name for name in names if any("error" not in record for record in names[name])]

    def values(self, part, name, field):
        """A field's values by round: dict of round to list. Of a step's seconds the first is left out."""
        by_round = {}
        for record in self.records.get(part, {}).get(name, []):
            if record.get(field) is None:
                continue
            value = record[field]
            values = value[1:] if field in ("seconds", "cpu_seconds") and isinstance(value, list) else value
            by_round[record["round"]] = values if isinstance(values, list) else [values]
        return by_round

    def median(self, part, name, field):
        """The median over all rounds, or None."""
        values = [value for row in self.values(part, name, field).values() for value in row]
        return statistics.median(values) if values else None


def spread(values):
    """A standard deviation that a single outlier does not make: the quartiles' distance, as a normal draw has it.

    None of fewer than two values.
    """
    if len(values) < 2:
        return None
    low, high = np.percentile(values, [25, 75])
    return float((high - low) / 1.349)


def ratio(upper, lower, better="lower"):
    """The `Ratio` of two results of `Samples.values`, or None where there are no samples of one of them."""
    if not upper or not lower:
        return None
    medians = [
        statistics.median(upper[number]) / statistics.median(lower[number]) for number in upper if number in lower
    ]
    whole = [statistics.median([value for row in rows.values() for value in row]) for rows in (upper, lower)]
    return Ratio(whole[0] / whole[1], spread(medians), better)


def ratios(results):
    """Every ratio that the results give: dict of its name to `Ratio`."""
    samples, settings = Samples(results), results["settings"]
    found = {}
    found |= _step_ratios(samples)
    for name in samples.names("inference"):
        for base in ("official", "Keras"):
            if name not in (base, "official"):
                pair = (samples.values("inference", which, "milliseconds") for which in (name, base))
                found[f"inference time: {name} / {base}"] = ratio(*pair)
    for name in samples.names("pipeline"):
        for step in ("float32", "bfloat16"):
            needed = _map(samples.values("step", step, "seconds"), lambda s: 2 * settings["batch_size"] / s)
            made = samples.values("pipeline", name, "images_per_second")
            found[f"pipeline: {name} / step {step}"] = ratio(made, needed, "higher")
    for name in samples.names("start"):
        seconds, yardstick = (samples.values("start", name, field) for field in ("seconds", "import_tensorflow"))
        found[f"start, seconds: {name}"] = _seconds(seconds)
        found[f"start: {name} / import tensorflow"] = ratio(seconds, yardstick)
    full = samples.median("growth", f"full, 256 px, ch {settings['ch']}, batch 1", "peak_mib")
    if full:
        found["growth, peak memory: full model / 24 GB"] = Ratio(full / FULL_MODEL_MIB, None)
    return {name: value for name, value in found.items() if value}


def _step_ratios(samples):
    found = {}
    fields = {"time": "seconds", "peak memory": "peak_mib"}
    pairs = [(name, "official") for name in jobs.STEPS] + [("bfloat16", "float32")]
    pairs += [(f"{name} remat", name) for name in ("float32", "bfloat16")]
    for what, field in fields.items():
        for name, base in pairs:
            found[f"step {what}: {name} / {base}"] = ratio(
                *(samples.values("step", which, field) for which in (name, base))
            )
    for name in ("official", *jobs.STEPS):
        flops = samples.median("step", name, "flops")
        if flops:
            rates = _map(samples.values("step", name, "seconds"), lambda s, flops=flops: flops / s)
            found[f"step rate: {name} / matrix-multiply peak"] = ratio(rates, _peak(samples, name), "higher")
    return found


def _peak(samples, name):
    """The machine's rate in the precision of a step, by round: in float32 that of the faster of the two frameworks."""
    kinds = ["bfloat16"] if name.startswith("bfloat16") else ["float32", "float32, PyTorch"]
    rates = [samples.values("step", f"peak {kind}", "flops_per_second") for kind in kinds]
    return max(rates, key=lambda by_round: statistics.median([row[0] for row in by_round.values()] or [0.0]))


def _map(by_round, function):
    return {number: [function(value) for value in values] for number, values in by_round.items()}


def _seconds(by_round):
    values = [value for row in by_round.values() for value in row]
    return Ratio(statistics.median(values), spread(values), portable=False) if values else None


def slope(points):
    """The exponent of the power law through (x, y) points, by least squares of their logarithms; None of one point."""
    if len(points) < 2:
        return None
    x, y = np.log(np.asarray(points, float).T)
    return float(np.polyfit(x, y, 1)[0])


def growth_curves(results):
    """The growth's curves: dict of curve to list of (value, seconds, MiB), those that were measured."""
    samples = Samples(results)
    curves = {}
    for curve, value, name in results["settings"]["growth"]:
        seconds, memory = (samples.median("growth", name, field) for field in ("seconds", "peak_mib"))
        if seconds:
            curves.setdefault(curve, []).append((value, seconds, memory))
    return curves


def targets(results):
    """The targets that these results speak of: list of (name, target, value, whether it is met)."""
    if any(results["settings"][name] != value for name, value in TARGET_SETTINGS.items()):
        return []
    rows, found = [], ratios(results)
    for name, bound in TARGETS.items():
        if name in found:
            value = found[name].value
            rows.append((name, bound, value, value >= bound if found[name].better == "higher" else value <= bound))
    return rows


def tables(results):
    """All results as Markdown."""
    samples, found = Samples(results), ratios(results)
    texts = []
    for part, function in (
        ("step", _step_table),
        ("inference", _inference_table),
        ("pipeline", _pipeline_table),
        ("start", _start_table),
        ("growth", _growth_table),
    ):
        if part in results["parts"] and samples.names(part):
            command = " ".join(["python benchmarks/run.py", part, *_flags_of(results["flags"], part)])
            texts.append(f"### {part}\n\n    {command}\n\n" + function(results, samples, found))
    rows = [
        [
            name,
            f"{'at least' if found[name].better == 'higher' else 'at most'} {bound:g}",
            f"{value:.{_digits(value)}f}",
            "yes" if met else "no",
        ]
        for name, bound, value, met in targets(results)
    ]
    if rows:
        texts.append("### targets\n\n" + _table(["", "target", "measured", "met"], rows))
    faults = [
        f"- {part}, {name}: {record['error']}"
        for part, names in samples.records.items()
        for name, records in names.items()
        for record in records
        if "error" in record
    ]
    if faults:
        texts.append("### not measured\n\n" + "\n".join(dict.fromkeys(faults)) + "\n")
    return "\n".join(texts)


def _flags_of(flags, part):
    """Those of the flags that say something about a part."""
    return [
        flag for flag in flags if part in next((of for name, of in _OWN_FLAGS.items() if flag.startswith(name)), part)
    ]


def _step_table(results, samples, found):
    base = "official" if "official" in samples.names("step") else "float32"
    rows = []
    for name in ("official", *jobs.STEPS):
        if name in samples.names("step"):
            cells = [found.get(f"step {what}: {name} / {base}") for what in ("time", "peak memory")]
            cells = ["1" if name == base else _cell(cell) for cell in cells]
            rate = _cell(found.get(f"step rate: {name} / matrix-multiply peak"))
            flops = samples.median("step", name, "flops")
            rows.append([name, *cells, f"{flops / 1e9:,.0f}" if flops else "", rate])
    head = ["", f"time / {base}", f"peak memory / {base}", "GFLOP", "of the matrix-multiply peak"]
    return _table(head, rows)


def _inference_table(results, samples, found):
    names = samples.names("inference")
    bases = [base for base in ("official", "Keras") if base in names]
    rows = [
        [name, *("1" if name == base else _cell(found.get(f"inference time: {name} / {base}")) for base in bases)]
        for name in names
    ]
    return _table(["", *(f"time / {base}" for base in bases)], rows)


def _pipeline_table(results, samples, found):
    rows = []
    for name in samples.names("pipeline"):
        cpu = samples.median("pipeline", name, "cpu_seconds_per_pair")
        step = samples.median("step", "float32", "cpu_seconds")
        share = f"{results['settings']['batch_size'] * cpu / step:.2%}" if cpu and step else ""
        steps = [_cell(found.get(f"pipeline: {name} / step {step}")) for step in ("float32", "bfloat16")]
        rows.append([name, *steps, share])
    head = ["images", "times what a float32 step takes", "what a bfloat16 step takes", "CPU time, of a float32 step's"]
    return _table(head, rows)


def _start_table(results, samples, found):
    names = samples.names("start")
    parts = dict.fromkeys(
        part for name in names for record in samples.records["start"][name] for part in record.get("parts", {})
    )
    rows = []
    for name in names:
        records = [record for record in samples.records["start"][name] if "error" not in record]
        seconds = [f"{statistics.median(record['parts'][part] for record in records):.1f}" for part in parts]
        total, relative = (found.get(key) for key in (f"start, seconds: {name}", f"start: {name} / import tensorflow"))
        rows.append([name, f"{total.value:.1f}", *seconds, _cell(relative)])
    return _table(["", "seconds to the first step", *parts, "relative to `import tensorflow`"], rows)


def _growth_table(results, samples, found):
    curves, rows = growth_curves(results), []
    base, unit = samples.median("growth", results["settings"]["growth_base"], "seconds"), "time / the training size's"
    if not base:
        base, unit = max(point[1] for points in curves.values() for point in points), "time / the longest"
    for curve, points in curves.items():
        for value, seconds, memory in points:
            rows.append([curve, f"{value}", f"{seconds / base:.3f}", f"{memory / 1024:.2f}" if memory else ""])
        slopes = [slope([(point[0], point[index]) for point in points]) for index in (1, 2)]
        if None not in slopes:
            rows.append([f"{curve}: exponent", "", *(f"{value:.2f}" for value in slopes)])
    return _table(["curve", "value", unit, "peak memory, GiB"], rows)


def _table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def _cell(found):
    if found is None:
        return ""
    digits = _digits(found.value)
    return f"{found.value:.{digits}f}" + (f" ± {found.spread:.{digits}f}" if found.spread is not None else "")


def _digits(value):
    """As many decimals as a measurement bears."""
    return 0 if value >= 10 else 2 if value >= 0.1 else 3
