"""Measure, in turn: each single measurement in a process of its own, round by round, so that all meet the same noise.

    python benchmarks/run.py --pytorch PATH/TO/UGATIT-pytorch        # everything; see README.md for how long it takes
    python benchmarks/run.py step inference --rounds 5
    python benchmarks/run.py --check                                 # ... and compare with baseline.json

step       time and peak memory of a training step, against the official PyTorch code, and the share of the machine's
           matrix-multiply peak that it reaches
inference  time of one translation: Keras, SavedModel, each TFLite format, the official PyTorch code
pipeline   images per second of the input pipeline, against what a step takes
start      seconds from the command to the first step
growth     time and memory against image size, ch and batch

Writes results.json (after every measurement), results.md and results.png into --out.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import shlex
import subprocess
import sys
import tempfile
import time

import baseline
import jobs
import measure
import pictures
import plot
import summary

ROOT = jobs.HERE.parent


def make_parser():
    """All flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(jobs.PARTS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="how often, in turn (default: %(default)s; growth: once)")
    parser.add_argument(
        "--out", type=pathlib.Path, default=jobs.HERE / "results", help="folder for the results (default: %(default)s)"
    )
    group = parser.add_argument_group("what to compare with")
    group.add_argument("--pytorch", metavar="DIR", help="checkout of the official PyTorch code, for step and inference")
    group.add_argument(
        "--torch_python", metavar="PATH", default=sys.executable, help="interpreter with PyTorch (default: this one)"
    )
    group.add_argument(
        "--check", action="store_true", help="compare with the baseline; exit code 1 if a ratio got worse"
    )
    group.add_argument("--update_baseline", action="store_true", help="make these results the baseline")
    group.add_argument(
        "--baseline", type=pathlib.Path, default=baseline.PATH, metavar="FILE", help="default: %(default)s"
    )
    group = parser.add_argument_group("model")
    kind = group.add_mutually_exclusive_group()
    kind.add_argument("--light", action="store_true", default=True, help="the light generator (default)")
    kind.add_argument("--full", dest="light", action="store_false", help="the full generator")
    group.add_argument("--flavor", default="pytorch", help="of this project's model (default: %(default)s)")
    group.add_argument("--img_size", type=int, default=256, help="default: %(default)s")
    group.add_argument("--ch", type=int, default=64, help="default: %(default)s")
    group.add_argument("--n_dis", type=int, default=6, help="default: %(default)s")
    group.add_argument("--batch_size", type=int, default=1, help="of step, pipeline and growth (default: %(default)s)")
    measure.add_threads_flag(group)
    group = parser.add_argument_group("how much of it")
    group.add_argument("--steps", type=int, default=3, help="of step and growth, the first included (default: 3)")
    group.add_argument("--matmul_sizes", default="2048,3072,4096", help="of the matrix products (default: %(default)s)")
    group.add_argument("--runs", type=int, default=7, help="translations of inference (default: %(default)s)")
    group.add_argument("--export", metavar="DIR", help="of `ugatit export`, for inference (default: one is made)")
    group.add_argument("--pipeline_seconds", type=float, default=5.0, help="default: %(default)s")
    for name, default in (
        ("sizes", "96,128,192,256,320"),
        ("channels", "16,32,64,96"),
        ("batches", "1,2,4"),
        ("full_sizes", "128,192,256"),
    ):
        group.add_argument(f"--growth_{name}", type=_numbers, default=default, help="default: %(default)s")
    return parser


def _numbers(text):
    return [int(number) for number in text.split(",") if number]


def check(parser, options):
    """Refuse, before anything is measured, what could not be measured; fills in the parts."""
    options.parts = options.parts or list(jobs.PARTS)
    unknown = [part for part in options.parts if part not in jobs.PARTS]
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; there are: {', '.join(jobs.PARTS)}.")
    for name in ("rounds", "runs", "threads"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1; received {getattr(options, name)}.")
    if options.steps < 2:
        parser.error(f"--steps must be at least 2, since the first has the compilation; received {options.steps}.")
    if options.export and not jobs.exported(options.export):
        parser.error(f"--export {options.export} holds no files of `ugatit export`.")
    if options.pytorch:
        options.pytorch = str(pathlib.Path(options.pytorch).resolve())
        fault = measure.checkout_fault(options.pytorch)
        if not fault and subprocess.run([options.torch_python, "-c", "import torch"], capture_output=True).returncode:
            fault = measure.torch_fault(options.torch_python)
        if fault:
            parser.error(fault)


def flags(arguments):
    """The flags of the command line, for the tables: a list, without parts, and without this machine's paths."""
    shown, arguments = [], [word for word in arguments if word not in jobs.PARTS]
    places = {"--pytorch": "PATH/TO/UGATIT-pytorch", "--torch_python": "PATH/TO/PYTHON", "--export": "DIR"}
    silent = ("--out", "--baseline", "--check", "--update_baseline")
    while arguments:
        name, equals, value = arguments.pop(0).partition("=")
        if name.startswith("--") and not equals and arguments and not arguments[0].startswith("--"):
            value = arguments.pop(0)
        if name not in silent:
            shown.append(f"{name} {places.get(name, shlex.quote(value) if value else '')}".strip())
    return shown


def machine(options):
    """What the results were measured on, and with."""
    cpu = platform.processor() or platform.machine()
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = {"python": platform.python_version()}
    for package in ("tensorflow", "keras", "numpy", "ai-edge-litert"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    if options.pytorch:
        code = "import torch; print(torch.__version__)"
        versions["torch"] = _output([options.torch_python, "-c", code])
    found = {
        "cpu": cpu,
        "cpu_class": measure.cpu_class(),
        "cores": measure.cores(),
        "memory_gib": round(memory, 1),
        "versions": versions,
    }
    return found | {"load_before": [round(load, 2) for load in os.getloadavg()]}


def _output(command):
    result = subprocess.run(command, capture_output=True, text=True)
    return result.stdout.strip() or None


def _environment():
    """That of the measured processes: the package of this checkout, and quiet."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


def execute(command):
    """Run a measurement; returns its record, or one with `error`: the last line of what it said."""
    result = subprocess.run(command, capture_output=True, text=True, env=_environment())
    lines = result.stdout.strip().splitlines()
    if result.returncode == 0 and lines:
        return json.loads(lines[-1])  # of our own scripts
    if result.returncode < 0:
        return {"error": f"ended by signal {-result.returncode} (9: the memory was not enough)"}
    said = [line for line in (result.stderr or result.stdout).strip().splitlines() if line]
    return {"error": said[-1] if said else f"exit code {result.returncode}"}


def prepare_inputs(options, folder):
    """Make what the measurements read: an export, pictures, and the folder of the demo set, which start_up.py draws."""
    inputs = {"export": options.export or folder / "export", "data_dir": folder / "data"}
    inputs["data_dir"].mkdir()
    if "inference" in options.parts and not options.export:
        print("Exporting an untrained generator ...", flush=True)
        arguments = jobs.model_arguments(options)
        record = execute([sys.executable, str(jobs.HERE / "export_files.py"), str(inputs["export"]), *arguments])
        if "error" in record:
            print(f"  not all files could be made: {record['error']}", file=sys.stderr)
    for name, (side, suffix) in jobs.PICTURES.items():
        inputs[name] = folder / f"pictures_{len(inputs)}"
        if "pipeline" in options.parts:
            pictures.write(inputs[name], side or options.img_size, suffix)
    inputs[jobs.RECORDS] = folder / "records"
    if "pipeline" in options.parts:
        words = ["prepare", str(inputs["JPEG"]), "--tfrecord", "--out", str(inputs[jobs.RECORDS])]
        subprocess.run([sys.executable, "-m", "ugatit_tf.cli.main", *words], env=_environment(), capture_output=True)
    return inputs


def run(options, arguments):
    """Measure everything, writing results.json after every measurement; returns the results."""
    settings = {
        name: value for name, value in vars(options).items() if name in {*baseline.SETTINGS, "threads", "rounds"}
    }
    growth = jobs.growth_settings(options) if "growth" in options.parts else []
    settings["growth_base"] = jobs.growth_name({}, options)
    settings["growth"] = [(curve, value, jobs.growth_name(changes, options)) for curve, value, changes in growth]
    results = {
        "command": shlex.join(["python", "benchmarks/run.py", *arguments]),
        "flags": flags(arguments),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _output(["git", "-C", str(ROOT), "describe", "--always", "--dirty"]),
        "machine": machine(options),
        "parts": options.parts,
        "settings": settings,
        "samples": {},
    }
    if results["machine"]["load_before"][0] > 0.3 * measure.cores():
        print(f"The machine is not idle (load {results['machine']['load_before'][0]}): the times will be noisy.")
    with tempfile.TemporaryDirectory() as folder:
        plan = list(jobs.plan(options, prepare_inputs(options, pathlib.Path(folder))))
        rounds = [
            (number, job)
            for number in range(options.rounds)
            for job in plan
            if job.repeated or number == options.rounds - 1
        ]
        for count, (number, job) in enumerate(rounds, start=1):
            start = time.monotonic()
            record = execute(job.command) | {"round": number, "command": shlex.join(job.command[1:])}
            results["samples"].setdefault(job.part, {}).setdefault(job.name, []).append(record)
            done = record.get("error") or f"{time.monotonic() - start:.0f} s"
            print(f"[{count}/{len(rounds)}] round {number + 1}: {job.part}: {job.name}: {done}", flush=True)
            _write(options.out / "results.json", results)
    return results


def _write(path, results):
    found = summary.ratios(results)
    whole = results | {"ratios": {name: vars(ratio) for name, ratio in found.items()}}
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(whole, indent=1) + "\n")
    draft.replace(path)


def main(arguments=None):
    """Measure, write and print; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = make_parser()
    options = parser.parse_args(arguments)
    check(parser, options)
    options.out.mkdir(parents=True, exist_ok=True)
    results = run(options, arguments)
    text = summary.tables(results)
    (options.out / "results.md").write_text(text)
    print(text)
    try:
        plot.draw(results, options.out / "results.png")
    except ModuleNotFoundError as error:
        print(f"results.png was not drawn: {error}. pip install matplotlib, then benchmarks/plot.py.", file=sys.stderr)
    print(f"Written to {options.out}.")
    if options.check:
        code = baseline.check(results, options.baseline)
        if code:
            return code
    if options.update_baseline:
        baseline.update(results, options.baseline)
    return 0


if __name__ == "__main__":
    sys.exit(main())
