"""Compare results with the committed baseline of ratios: which got worse by more than the noise?

    python benchmarks/baseline.py                            # benchmarks/results/results.json
    python benchmarks/baseline.py RESULTS.json --update      # make these results the baseline

Ratios of two things measured in turn on one machine are compared, no times. A ratio got worse when it is beyond the
baseline's by more than the noise: three standard deviations (of the rounds, the baseline's and the new ones together),
and at least 3 %. A single round does not tell its spread: then the other side's counts alone. The exit code is 1 when
one got worse. What only one side has is named as not compared.

Ratios differ between kinds of CPU (`measure.CPU_CLASSES`): the baseline has a section for each that was measured, and
results are compared with the one of their own.
"""

import argparse
import json
import math
import pathlib
import sys

import summary

PATH = pathlib.Path(__file__).parent / "baseline.json"
LEAST_NOISE = 0.03  # of the value: below it a change is not worth a word, whatever a few quiet rounds say
SETTINGS = ("light", "flavor", "img_size", "ch", "n_dis", "batch_size")


def judge(old, new):
    """Whether a ratio got worse.

    Args:
        old, new: dicts with `value`, `spread` and `better`, as in the baseline.

    Returns:
        `(verdict, change, noise)`: `"better"`, `"same"` or `"worse"`; the relative change, and the noise.
    """
    noise = 3 * math.hypot(*(side["spread"] or 0.0 for side in (old, new))) / old["value"]
    noise = max(LEAST_NOISE, noise)
    change = new["value"] / old["value"] - 1
    if abs(change) <= noise:
        return "same", change, noise
    return ("better" if (change > 0) == (old["better"] == "higher") else "worse"), change, noise


def portable(results):
    """The ratios of results that belong into a baseline, as its dicts."""
    return {
        name: {"value": ratio.value, "spread": ratio.spread, "better": ratio.better}
        for name, ratio in summary.ratios(results).items()
        if ratio.portable
    }


def compare(baseline, results):
    """Compare results with a baseline.

    Returns:
        `(lines, worse)`: a line for each ratio, and the number of those that got worse.

    Raises:
        ValueError: the baseline is of another model, or has no section for this kind of CPU.
    """
    _check_model(baseline, results)
    kind = results["machine"]["cpu_class"]
    if kind not in baseline["cpus"]:
        raise ValueError(
            f"the baseline has no section for CPUs of the kind {kind}; it has {', '.join(baseline['cpus'])}. Add one: "
            "--update_baseline."
        )
    old, new = baseline["cpus"][kind]["ratios"], portable(results)
    lines, worse = [], 0
    for name in old:
        if name not in new:
            lines.append(f"not compared  {name}: not in these results")
            continue
        verdict, change, noise = judge(old[name], new[name])
        worse += verdict == "worse"
        values = f"{old[name]['value']:.4g} -> {new[name]['value']:.4g}"
        lines.append(f"{verdict:12}  {name}: {values} ({change:+.1%}, noise {noise:.1%})")
    lines += [f"not compared  {name}: not in the baseline" for name in new if name not in old]
    return lines, worse


def _check_model(baseline, results):
    others = [
        f"{name} {baseline['settings'][name]}, not {results['settings'][name]}"
        for name in SETTINGS
        if baseline["settings"][name] != results["settings"][name]
    ]
    if others:
        raise ValueError(f"the baseline is of {'; '.join(others)}: measure with its settings.")


def updated(baseline, results):
    """The baseline with the ratios of these results in the section of their kind of CPU; all else stays.

    Args:
        baseline: the one before, or None.

    Raises:
        ValueError: it is of another model.
    """
    if baseline:
        _check_model(baseline, results)
    settings = {name: results["settings"][name] for name in SETTINGS}
    cpus, kind = baseline["cpus"] if baseline else {}, results["machine"]["cpu_class"]
    ratios = cpus.get(kind, {"ratios": {}})["ratios"] | portable(results)
    section = {"machine": results["machine"], "ratios": dict(sorted(ratios.items()))}
    return {"settings": settings, "cpus": dict(sorted((cpus | {kind: section}).items()))}


def check(results, path=PATH):
    """Print how results compare with the baseline; returns the exit code."""
    if not path.exists():
        print(f"There is no baseline {path}. Make one: --update_baseline.", file=sys.stderr)
        return 2
    baseline = json.loads(path.read_text())
    try:
        lines, worse = compare(baseline, results)
    except ValueError as error:
        print(f"Not comparable: {error}", file=sys.stderr)
        return 2
    machine = baseline["cpus"][results["machine"]["cpu_class"]]["machine"]
    for key in ("cpu", "cores"):
        if machine.get(key) != results["machine"].get(key):
            print(f"Note: the baseline's machine has {key} {machine.get(key)}.")
    print(*lines, f"{worse} of {len(lines)} got worse.", sep="\n")
    return 1 if worse else 0


def update(results, path=PATH):
    """Write the baseline.

    Raises:
        ValueError: there is one of another model; it has to be removed first.
    """
    baseline = json.loads(path.read_text()) if path.exists() else None
    path.write_text(json.dumps(updated(baseline, results), indent=1) + "\n")
    print(f"Baseline written: {path}")


def main():
    """Compare, or write the baseline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = pathlib.Path(__file__).parent / "results" / "results.json"
    parser.add_argument("results", nargs="?", type=pathlib.Path, default=default, help="of run.py")
    parser.add_argument("--update", action="store_true", help="write the baseline instead of comparing with it")
    parser.add_argument("--baseline", type=pathlib.Path, default=PATH, help="another baseline")
    options = parser.parse_args()
    if not options.results.is_file():
        parser.error(f"{options.results} is missing. run.py writes it.")
    results = json.loads(options.results.read_text())
    if options.update:
        try:
            return update(results, options.baseline)
        except ValueError as error:
            parser.error(str(error))
    return check(results, options.baseline)


if __name__ == "__main__":
    sys.exit(main())
