"""The scripts in examples/distributed, with doubles of Slurm's commands and of `ugatit`, which notes its TF_CONFIG.

No Slurm and no Kubernetes are at hand: what is shown is that each worker is started once, as itself, with flags that
exist, that the signal reaches it, and that the job goes on until the last step's checkpoint is there.
"""

import json
import os
import pathlib
import signal
import subprocess
import time

import pytest
import yaml

from ugatit_tf.cli import train
from ugatit_tf.training import workers

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples" / "distributed"
UGATIT = """#!/bin/bash
# Notes how it was called, waits if it is to, makes the last checkpoint if it is to, and ends as it is told.
trap 'touch "$NOTES/signalled"; exit 0' TERM
printf '%s\\n' "$TF_CONFIG" "$*" > "$NOTES/worker-$(ls "$NOTES" | wc -l)"
for ((i = 0; i < ${WAIT:-0}; i++)); do sleep 0.1; done
[ -z "$LAST" ] || { mkdir -p "${LAST%/*}" && touch "$LAST"; }
exit ${CODE:-0}
"""
SCONTROL = """#!/bin/bash
case "$1" in
    show) [ "$2 $3" = "hostnames gpu[07-08]" ] && printf 'gpu07\\ngpu08\\n' ;;
    requeue) echo "$2" > "$REQUEUED" ;;
    *) exit 1 ;;
esac
"""
SRUN = """#!/bin/bash
while [[ "$1" == --* ]]; do shift; done
for node in 0 1; do SLURM_NODEID=$node "$@" || code=$?; done
exit ${code:-0}
"""


@pytest.fixture
def place(tmp_path):
    """A folder with the doubles, and the environment in which they are found."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "bin").mkdir()
    for name, text in (("ugatit", UGATIT), ("scontrol", SCONTROL), ("srun", SRUN)):
        path = tmp_path / "bin" / name
        path.write_text(text)
        path.chmod(0o755)
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "NOTES": str(tmp_path / "notes")}
    return tmp_path, environment | {"REQUEUED": str(tmp_path / "requeued")}


def noted(folder, monkeypatch):
    """(index, count), the workers' names, and the run's configuration, of each process that was started."""
    for path in sorted((folder / "notes").glob("worker-*")):
        text, flags = path.read_text().splitlines()
        monkeypatch.setenv("TF_CONFIG", text)
        command = train.make_command()
        name, *flags = flags.split(" ")
        values = command.parse(flags)
        assert (name, values["strategy"]) == ("train", "multi_worker")
        yield workers._cluster(), json.loads(text)["cluster"]["worker"], values, train._run_config(command, values)


def slurm(place, **variables):
    folder, environment = place
    own = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": "gpu[07-08]", "SLURM_SUBMIT_DIR": str(folder)}
    script = EXAMPLES / "slurm.sbatch"
    done = subprocess.run(["bash", script], env=environment | own | variables, capture_output=True, text=True)
    assert done.stderr == ""
    return done.returncode


def test_slurm_starts_each_worker_as_itself(place, monkeypatch):
    folder, _ = place
    assert slurm(place) == 0
    names = ["gpu07:24711", "gpu08:24711"]
    first, second = noted(folder, monkeypatch)
    assert (first[:2], second[:2]) == (((0, 2), names), ((1, 2), names))
    assert first[2] == second[2]
    assert first[2]["run_dir"] == f"{folder}/runs/selfie2anime"
    assert first[3].data.path == folder / "dataset" / "selfie2anime"
    assert first[3].train.batch_size % 8 == 0  # 2 machines with 4 GPUs


@pytest.mark.parametrize(
    ("finished", "code", "restarts", "again"),
    [
        (False, 0, None, True),  # stopped by the signal
        (False, 1, "3", True),  # a worker has died
        (False, 2, None, False),
        (False, 1, "20", False),
        (True, 0, None, False),
    ],
)
def test_slurm_starts_the_job_again_until_all_steps_are_done(finished, code, restarts, again, place):
    folder, _ = place
    variables = {"CODE": str(code)} | ({"SLURM_RESTART_COUNT": restarts} if restarts else {})
    if finished:
        variables["LAST"] = f"{folder}/runs/selfie2anime/checkpoint/step-{100 * 10000:08d}.npz"
    assert slurm(place, **variables) == code
    assert (folder / "requeued").exists() == again
    assert not again or (folder / "requeued").read_text() == "4711\n"


def test_slurm_is_asked_for_one_process_a_machine_and_for_the_signal():
    text = (EXAMPLES / "slurm.sbatch").read_text()
    for option in ("--ntasks-per-node=1", "--signal=TERM@120", "--requeue"):
        assert f"\n#SBATCH {option}\n" in text


@pytest.fixture(scope="module")
def manifest():
    service, job = yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text())
    return service, job


def container(job):
    [found] = job["spec"]["template"]["spec"]["containers"]
    return found


def kubernetes(manifest, place, index, **variables):
    """Start one pod's process; its run folder is in the place."""
    folder, environment = place
    own = {variable["name"]: variable["value"] for variable in container(manifest[1])["env"]}
    own |= {"RUN_DIR": str(folder / "run"), "JOB_COMPLETION_INDEX": str(index)}
    command = [*container(manifest[1])["command"], *container(manifest[1])["args"]]
    return subprocess.Popen(command, env=environment | own | variables, stderr=subprocess.PIPE, text=True)


def test_kubernetes_has_a_pod_for_each_worker_and_names_for_the_pods(manifest):
    service, job = manifest
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    name = job["metadata"]["name"]
    assert (service["kind"], job["kind"], spec["completionMode"]) == ("Service", "Job", "Indexed")
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"job-name": name}
    assert pod["subdomain"] == service["metadata"]["name"]
    variables = {variable["name"]: variable["value"] for variable in container(job)["env"]}
    assert spec["completions"] == spec["parallelism"] == int(variables["WORKERS"])
    assert {mount["name"] for mount in container(job)["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_kubernetes_starts_each_worker_as_itself(manifest, place, monkeypatch):
    folder, _ = place
    service, job = manifest
    for index in range(2):
        kubernetes(manifest, place, index).wait(60)
    name, domain = job["metadata"]["name"], service["metadata"]["name"]
    [port] = [port["port"] for port in service["spec"]["ports"]]
    names = [f"{name}-{index}.{domain}:{port}" for index in range(2)]
    first, second = noted(folder, monkeypatch)
    assert (first[:2], second[:2]) == (((0, 2), names), ((1, 2), names))
    assert first[2]["run_dir"] == second[2]["run_dir"] == str(folder / "run")
    gpus = container(job)["resources"]["limits"]["nvidia.com/gpu"]
    assert first[3].train.batch_size % (2 * gpus) == 0


@pytest.mark.parametrize(("finished", "code", "expected"), [(True, 0, 0), (False, 0, 75), (False, 1, 1), (True, 1, 1)])
def test_kubernetes_ends_with_success_when_all_steps_are_done(finished, code, expected, manifest, place):
    folder, _ = place
    last = {"LAST": str(folder / "run" / "checkpoint" / f"step-{100 * 10000:08d}.npz")} if finished else {}
    process = kubernetes(manifest, place, 0, CODE=str(code), **last)
    assert process.wait(60) == expected
    assert process.stderr.read() == ""


def test_kubernetes_hands_the_signal_on_and_waits(manifest, place):
    folder, _ = place
    process = kubernetes(manifest, place, 1, WAIT="600")
    deadline = time.monotonic() + 60
    while not list((folder / "notes").glob("worker-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 75  # saved, and not done
    assert (folder / "notes" / "signalled").exists()
