"""Workers: what TF_CONFIG must say, what several agree on between steps, and what the loss of one is called."""

import contextlib
import io
import json
import os
import signal

import numpy as np
import pytest
import tensorflow as tf

import ugatit_tf
from ugatit_tf.cli.main import main
from ugatit_tf.data import pipeline
from ugatit_tf.training import workers
from ugatit_tf.training.checkpoint import CheckpointStore
from ugatit_tf.training.loop import fit
from ugatit_tf.training.reporting import Reporter

HOSTS = ["host0:12345", "host1:12345", "host2:12345"]


def described(workers=HOSTS, kind="worker", index=0, **cluster):
    return json.dumps({"cluster": {"worker": workers, **cluster}, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, r"\(it is not set\)"),
        ("", r"\(it is not set\)"),
        ("host0:12345,host1:12345", r"\(JSONDecodeError: Expecting value"),
        ("[]", r"\(TypeError: "),
        ('{"cluster": {"worker": ["host0:1"]}}', r"\(KeyError: 'task'\)"),
        (json.dumps({"cluster": {"chief": HOSTS}, "task": {"type": "chief", "index": 0}}), r"\(KeyError: 'worker'\)"),
        (described(chief=["host3:12345"]), "all tasks must be of the type 'worker'"),
        (described(ps=["host3:12345"]), "all tasks must be of the type 'worker'"),
        (described(kind="evaluator"), "all tasks must be of the type 'worker'"),
        (described(index=3), "there is no worker 3 among 3"),
        (described(index=-1), "there is no worker -1 among 3"),
        (described(index="first"), r"\(ValueError: invalid literal"),
        (described(["host0:12345", "host1"]), "workers are named host:port"),
        (described([["host0", 12345]]), "workers are named host:port"),
        (described([]), "there is no worker 0 among 0"),
    ],
)
def test_a_wrong_tf_config_is_told_with_one_that_is_right(text, reason, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=reason) as raised:
        workers.Workers("multi_worker")
    example = str(raised.value).partition("TF_CONFIG='")[2].partition("'.")[0]
    monkeypatch.setenv("TF_CONFIG", example)
    assert workers._cluster() == (0, 2)


@pytest.mark.parametrize("index", [0, 1, 2, "2"])
def test_who_this_worker_is(index, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", described(index=index))
    assert workers._cluster() == (int(index), 3)


def test_alone_there_is_nobody_to_ask(monkeypatch):
    """TF_CONFIG belongs to --strategy multi_worker: without it nothing is read from there."""
    monkeypatch.setenv("TF_CONFIG", "nonsense")
    alone = workers.Workers()
    assert (alone.index, alone.count, alone.replicas, alone.chief) == (0, 1, 1, True)
    assert alone.everyones(3) == [3.0]
    assert (alone.any([]), alone.any([signal.SIGTERM])) == (False, True)
    assert alone.share(lambda share: share, 4) == (0, 1)


def told(error):
    """What one of two workers makes of an error."""
    with pytest.raises(OSError, match="Another of the 2 workers") as raised, workers._Lost(2):
        raise error
    return raised.value


DEAD = (
    "Collective ops is aborted by: /job:worker/replica:0/task:1 unexpectedly disconnected. The error could be from a "
    "previous operation. Restart your program to reset."
)


@pytest.mark.parametrize(
    "kind", ["Unavailable", "Aborted", "Internal", "Cancelled", "DeadlineExceeded", "FailedPrecondition", "Unknown"]
)
def test_an_error_of_communication_is_told_in_plain_words(kind):
    error = getattr(tf.errors, f"{kind}Error")(None, None, "Socket closed")
    found = told(error)
    assert str(found).startswith("Another of the 2 workers has died, or cannot be reached (Socket closed). Nothing is")
    assert str(found).endswith("start all workers again with the same command.")
    assert found.__cause__ is error


GRAPH = """Graph execution error:

Detected at node CollectiveReduceV2_4 defined at (most recent call last):
  File "train.py", line 8, in <module>

  File "ugatit_tf/training/step.py", line 62, in _on_replicas

"""
GRPC = """Additional GRPC error information from remote target /job:worker/replica:0/task:1 while calling /RecvBuf:
:UNKNOWN:Error received from peer  {grpc_status:14, grpc_message:"recvmsg:Connection reset by peer"}
The error could be from a previous operation. Restart your program to reset."""
NODE = "{{function_node __wrapped__CollectiveReduceV2_device_/job:worker/replica:0/task:0/device:CPU:0}}"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (f"{NODE} Collective ops is aborted by: Socket closed\n{GRPC} [Op:CollectiveReduceV2] name: ", "Socket closed"),
        (
            f"{GRAPH}Collective ops is aborted by: recvmsg:Reset by peer\n{GRPC}\n\t [[{{{{node R}}}}]]",
            "recvmsg:Reset by peer",
        ),
        (f"{GRAPH}{{{{node IteratorGetNext}}}} Socket closed\n", "Socket closed"),
        ("Graph execution error:\n\nDetected at node R\n<stack traces unavailable>\nGone.", "Gone."),
        (f"{NODE}", "UnavailableError"),
        ("", "UnavailableError"),
    ],
    ids=["eager", "graph", "other", "no traces", "name", "nothing"],
)
def test_the_reason_is_what_has_happened(message, reason):
    """Messages as TensorFlow 2.21 gave them when a worker was killed, shortened."""
    assert f" cannot be reached ({reason}). Nothing" in str(told(tf.errors.UnavailableError(None, None, message)))


def test_an_error_of_a_collective_operation_is_one_of_whatever_kind():
    told(tf.errors.InvalidArgumentError(None, None, f"{DEAD} [Op:CollectiveReduceV2]"))


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
        tf.errors.InvalidArgumentError(None, None, "Shapes do not match"),
        OSError("An image cannot be read any more: x.png."),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
def test_other_errors_are_left_alone(error):
    with pytest.raises(type(error)) as raised, workers._Lost(2):
        raise error
    assert raised.value is error


def test_alone_no_error_is_anothers():
    error = tf.errors.UnavailableError(None, None, DEAD)
    with pytest.raises(tf.errors.UnavailableError) as raised, workers.Workers().lost():
        raise error
    assert raised.value is error


def test_no_error_is_none():
    with workers._Lost(2):
        pass


def test_a_lost_worker_is_no_unreadable_image():
    """The strategy's batches raise both kinds of error."""

    def batches(error):
        yield 1
        raise error

    lost = tf.errors.UnavailableError(None, None, DEAD)
    found = pipeline.reading(batches(lost))
    assert next(found) == 1
    with pytest.raises(tf.errors.UnavailableError) as raised:
        next(found)
    assert raised.value is lost
    unreadable = tf.errors.UnknownError(None, None, "ValueError: x.png: is no image\nTraceback ...")
    with pytest.raises(OSError, match=r"An image cannot be read any more: x\.png: is no image\."):
        list(pipeline.reading(batches(unreadable)))


class Devices:
    """In the place of Workers: four devices of one machine."""

    count, index, chief, replicas = 1, 0, True, 4
    lost = contextlib.nullcontext

    def __init__(self, kind):
        assert kind == "mirrored"


@pytest.mark.parametrize(("batch_size", "refused"), [(1, True), (6, True), (8, False)])
def test_the_batch_is_a_multiple_of_the_devices(batch_size, refused, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(workers, "Workers", Devices)
    monkeypatch.setattr("ugatit_tf.cli.train._train_together", lambda *arguments: 0)
    command = ["train", "--strategy", "mirrored", "--batch_size", str(batch_size), "--run_dir", str(tmp_path)]
    assert main(command) == (2 if refused else 0)
    expected = f"--batch_size {batch_size} is that of all 4 devices together, and must be a multiple of their number, 4"
    assert (expected in capsys.readouterr().err) == refused


def test_testing_takes_one_device(capsys):
    assert main(["train", "--phase", "test", "--strategy", "mirrored"]) == 2
    assert "--strategy mirrored has no meaning with --phase test" in capsys.readouterr().err


def test_a_wrong_tf_config_ends_the_command(monkeypatch, capsys):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert main(["train", "--strategy", "multi_worker"]) == 1
    assert "finds the other machines in the environment variable TF_CONFIG (it is not set)" in capsys.readouterr().err


class Counter:
    """A trainer that counts; at step `signalled` its process receives SIGTERM."""

    def __init__(self, signalled=None):
        self.steps, self.signalled = 0, signalled
        self.model = type("Model", (), {"generators": {}, "config": ugatit_tf.ModelConfig()})()

    def step_values(self, real_a, real_b):
        self.steps += 1
        if self.steps == self.signalled:
            os.kill(os.getpid(), signal.SIGTERM)
        return ("d_loss", "g_loss"), np.ones(2)

    def state(self):
        return {"steps": tf.constant(self.steps, tf.int64)}


class Two:
    """In the place of Workers: one of two, which notes when the other is asked; that one wants to stop at a step."""

    count = 2

    def __init__(self, index, trainer, others_stop=None):
        self.chief, self.trainer, self.others_stop = index == 0, trainer, others_stop
        self.asked = []

    def any(self, value):
        self.asked.append(self.trainer.steps)
        return value or (self.others_stop is not None and self.trainer.steps >= self.others_stop)


def run_fit(folder, trainer, pair):
    train = ugatit_tf.TrainConfig(epoch=1, iteration=14)
    run = ugatit_tf.RunConfig(train=train, log_freq=4, save_freq=3, print_freq=5)
    store = CheckpointStore(folder / "checkpoint", run)
    arguments = trainer, [(None, None)] * 20, run, store
    if not pair.chief:
        return fit(*arguments, None, None, None, pair)
    with Reporter(folder, folder / "logs", folder / "samples", 14, stream=io.StringIO()) as reporter:
        return fit(*arguments, reporter, dict, None, pair)


@pytest.mark.parametrize("index", [0, 1])
def test_the_chief_alone_writes(index, tmp_path):
    trainer = Counter()
    pair = Two(index, trainer)
    assert run_fit(tmp_path, trainer, pair)
    assert trainer.steps == 14
    assert pair.asked == [4, 8, 12, 14], "all ask at the same steps, whatever each does at others"
    assert bool(list(tmp_path.iterdir())) == (index == 0)


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("own", [True, False])
def test_a_signal_to_one_stops_all_at_the_same_step(index, own, tmp_path):
    trainer = Counter(signalled=6 if own else None)
    assert not run_fit(tmp_path, trainer, Two(index, trainer, others_stop=None if own else 6))
    assert trainer.steps == 8  # the next reading of the losses
    saved = sorted(path.stem for path in tmp_path.glob("checkpoint/*.npz"))
    assert saved[-1:] == (["step-00000008"] if index == 0 else [])
