"""Seconds from the command `ugatit train` to its first reported step, and where they go.

    python benchmarks/start_up.py --light
    python benchmarks/start_up.py --light --forget      # the images' check is not remembered from an earlier run

The dataset is the drawn demo set, which is drawn beforehand (into --data_dir, or a temporary folder). The training is
stopped as soon as it has reported its first step. Before it, `import tensorflow` is timed in a process of its own, the
best of three: a yardstick of the machine. Prints one line of JSON; `seconds` is the whole time, nothing is subtracted;
`parts` says how many of them passed between the lines that the command prints.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import measure

# How lines of the command begin, and what has been done between the line before and them.
MARKS = {
    "Dataset ": "imports, and the check of the images",
    "Run folder: ": "networks and optimizers",
    "step ": "input pipeline, tracing, and the first step",
}


def first_step(command):
    """Run a training until it reports a step; returns the seconds of each part in `MARKS`.

    Raises:
        SystemExit: it ended before; shows what it said.
    """
    start, parts, lines = time.perf_counter(), {}, []
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    try:
        for line in process.stdout:
            lines.append(line)
            begins = next((begin for begin in MARKS if line.startswith(begin)), None)
            if begins:
                now = time.perf_counter()
                parts[MARKS[begins]], start = round(now - start, 3), now
            if begins == "step ":
                return parts
    finally:
        process.kill()
        process.communicate()
    raise SystemExit(f"The training ended before its first step:\n{''.join(lines[-20:])}")


def import_seconds():
    """The time of `import tensorflow` in a process of its own."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import tensorflow"], check=True, stderr=subprocess.DEVNULL)
    return round(time.perf_counter() - start, 3)


def main():
    """Measure, and print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measure.add_model_flags(parser)
    parser.add_argument("--n_dis", type=int, default=6, help="depth of the discriminators (default: %(default)s)")
    parser.add_argument("--data_dir", help="folder for the demo set (default: a temporary one)")
    parser.add_argument("--forget", action="store_true", help="have the images checked as on the first run")
    options = parser.parse_args()
    measure.prepare(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        data_dir = pathlib.Path(options.data_dir or folder)
        _prepare_set(data_dir / "demo", options.forget)
        yardstick = min(import_seconds() for _ in range(3))  # the least disturbed
        words = [f"--img_size={options.img_size}", f"--ch={options.ch}", f"--n_dis={options.n_dis}"]
        words += [f"--flavor={options.flavor}", *(["--light"] * options.light), "--log_freq=1"]
        words += ["--dataset=demo", f"--data_dir={data_dir}", f"--run_dir={folder}/run"]
        parts = first_step([sys.executable, "-m", "ugatit_tf.cli.main", "train", *words])
    seconds = round(sum(parts.values()), 3)
    measure.finish({**vars(options), "seconds": seconds, "parts": parts, "import_tensorflow": yardstick})


def _prepare_set(folder, forget):
    """Draw the demo set where it is missing, and have its images checked, or that forgotten."""
    from ugatit_tf.data import demo, images

    if not demo.demo_ready(folder):
        demo.write_demo(folder)
    images.load_dataset(folder)
    if forget:
        (folder / images.MEMORY_FILE).unlink()


if __name__ == "__main__":
    main()
