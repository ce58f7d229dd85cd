"""Sets everything up from a bare clone, and runs one thing: `python3 bootstrap.py demo` or `python3 bootstrap.py test`.

Makes a virtual environment in .venv (once), installs this project into it, and

    demo   trains on the drawn demo set, translates its test images, and shows the page with the results
    test   runs the tests

Needs Python 3.11 to 3.13 and nothing else. What follows the word is passed on, for example `test -k golden`.
"""

import os
import pathlib
import signal
import subprocess
import sys
import venv
import webbrowser

ROOT = pathlib.Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
# Found by trial: what makes convincing pictures of the demo set in the fewest minutes on two cores (docs/training.md).
DEMO = (
    "train --dataset demo --run_dir runs/demo --light --img_size 64 --n_dis 5 --ch 16 --n_res 2 --precision auto "
    "--epoch 8 --iteration 500 --lr 4e-4 --ema 0.99 --cam_weight 30 --cycle_weight 10 --identity_weight 20 "
    "--print_freq 500 --save_freq 500"
)


def main():
    """Set up, run, and return the exit code."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        return f"TensorFlow needs Python 3.11, 3.12 or 3.13; this is {sys.version.split()[0]}. Use python3.12, say."
    if len(sys.argv) < 2 or sys.argv[1] not in ("demo", "test"):
        return __doc__
    task, *rest = sys.argv[1:]
    set_up()
    if task == "test":
        workers = str(min(4, os.cpu_count() or 1))
        return run("-m", "pytest", "-n", workers, "--dist", "loadscope", "--no-loadscope-reorder", *rest)
    command = ["-m", "ugatit_tf.cli.main", *DEMO.split(), *rest]
    code = run(*command) or run(*command, "--phase", "test")
    page = ROOT / "runs/demo/results/index.html"
    if code == 0:
        print(f"Scores: {PYTHON.with_name('ugatit')} evaluate {ROOT / 'runs/demo'} --features random")
    if code == 0 and (os.name == "nt" or sys.platform == "darwin" or os.environ.get("DISPLAY")):
        webbrowser.open(page.as_uri())
    return code


def set_up():
    """The virtual environment, with this project as it is now and what its tests need."""
    if not PYTHON.exists():
        print(f"Making a virtual environment in {ENVIRONMENT} ...", flush=True)
        try:
            venv.create(ENVIRONMENT, with_pip=True)
        except subprocess.CalledProcessError:
            sys.exit("This Python cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv")
    if subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True).returncode:
        sys.exit(f"{ENVIRONMENT} has no pip in it: was its making interrupted? Delete it, and run this again.")
    wanted, installed = (ROOT / "setup.py").read_text(), ENVIRONMENT / "installed.txt"
    if not installed.exists() or installed.read_text() != wanted:
        print("Installing (takes a minute or two) ...", flush=True)
        subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", "--editable", f"{ROOT}[test]"], check=True)
        installed.write_text(wanted)


def run(*arguments):
    """Run the environment's Python in the project's folder; returns the exit code."""
    process = subprocess.Popen([PYTHON, *arguments], cwd=ROOT)
    signal.signal(signal.SIGTERM, lambda number, frame: process.terminate())  # it saves before it leaves
    interrupted = False
    while process.poll() is None:
        try:
            process.wait()
        except KeyboardInterrupt:  # the process has received it, too, and saves before it leaves
            interrupted = True
    return 130 if interrupted else process.returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"The installation failed (exit code {error.returncode}); its messages are above.")
    except KeyboardInterrupt:
        sys.exit(130)
