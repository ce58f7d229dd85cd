"""The memory that `ugatit train --dry_run` predicts, against what a step takes.

    python benchmarks/memory.py                                          # the configurations of docs/performance.md
    python benchmarks/memory.py "--light --ch 32 --set n_res=2 ema=0.99" # others, each one argument, as train_step.py's

Each is measured in a process of its own: two steps of `train_step.py` on the CPU, and the peak of resident memory. One
that would not fit is left out. Prints a table; other load on the machine does not matter, as long as memory is free.
"""

import argparse
import json
import pathlib
import shlex
import subprocess
import sys

import train_step

HERE = pathlib.Path(__file__).parent
CONFIGURATIONS = (
    # By these the constants of ugatit_tf.training.memory were fitted ...
    "--light --img_size 64 --n_dis 5 --ch 16 --set n_res=2",
    "--light --img_size 96 --ch 8",
    "--light --img_size 96 --ch 8 --precision bfloat16",
    "--light --img_size 96 --ch 8 --remat",
    "--light --img_size 96 --ch 8 --set n_res=6",
    "--light --img_size 96 --ch 8 --set gan_type=wgan-gp",
    "--light --img_size 96 --ch 8 --flavor tf1",
    "--img_size 96 --ch 8 --set architecture=cyclegan n_res=6",
    "--img_size 128 --set architecture=cyclegan n_res=6 pool_size=50",
    "--light --img_size 128 --ch 32",
    "--light --img_size 128 --ch 32 --flavor tf1",
    "--light --img_size 128 --ch 32 --set gan_type=wgan-gp",
    "--light --img_size 128 --ch 32 --set n_res=6 ema=0.999",
    "--light --img_size 256 --ch 32",
    "--light --img_size 256 --ch 32 --remat",
    "--light --img_size 256 --ch 32 --precision bfloat16",
    "--light --img_size 256 --ch 32 --precision bfloat16 --remat",
    "--light --img_size 256 --ch 16 --batch_size 4",
    "--light --img_size 128",
    "--light --img_size 128 --batch_size 4",
    "--light --img_size 128 --ch 96",
    "--light",
    "--light --remat",
    "--light --precision bfloat16",
    "--img_size 128 --ch 32",
    "--img_size 128",
    "--img_size 64 --n_dis 4 --batch_size 4 --flavor tf1",
    # ... and these came afterwards.
    "--light --img_size 128 --ch 32 --flavor tf1 --set gan_type=dragan",
    "--light --img_size 128 --ch 32 --precision float16",
    "--img_size 128 --ch 32 --set norm=in",
    "--img_size 96 --ch 48 --flavor tf1 --batch_size 3 --set gan_type=hinge",
    "--light --img_size 192 --ch 48 --precision bfloat16 --remat",
    "--light --img_size 320",
    "--set architecture=cyclegan n_res=9 pool_size=50",
    "--precision bfloat16 --remat",
    "",
)


def main():
    """Measure, and print the table."""
    from ugatit_tf.training import room

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configurations", nargs="*", help="flags of train_step.py, each time all in one argument")
    print("| configuration | predicted, MiB | measured, MiB | error |\n|---|---|---|---|")
    for flags in parser.parse_args().configurations or CONFIGURATIONS:
        expected, peak = predict(flags), None
        there = room.free_memory()
        if there is None or expected < there:
            peak = measure(flags)
        told = f"{peak} | {round(100 * (expected / 2**20 / peak - 1)):+d} %" if peak else "not measured |"
        print(f"| `{flags or '(the full model)'}` | {expected / 2**20:.0f} | {told} |", flush=True)


def predict(flags):
    """Bytes of one step of a configuration."""
    from ugatit_tf.training.memory import step_bytes

    return step_bytes(*train_step.configurations(train_step.make_parser().parse_args(shlex.split(flags)))).total


def measure(flags):
    """The peak of resident memory in MiB."""
    command = [sys.executable, str(HERE / "train_step.py"), "--steps", "2", *shlex.split(flags)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])["peak_mib"]


if __name__ == "__main__":
    main()
