"""Several devices and machines: the `tf.distribute` strategy of a run, and what its workers agree on between steps."""

import json
import os
import re

import tensorflow as tf

STRATEGIES = ("none", "mirrored", "multi_worker")


class Workers:
    """The processes that train one model together; on one machine there is one.

    Args:
        kind: `"none"`: one device. `"mirrored"`: all GPUs of this machine (without any, its logical CPUs).
            `"multi_worker"`: all GPUs of the machines that the environment variable TF_CONFIG names; gradients travel
            by NCCL between GPUs, by gRPC in a ring between CPUs.

    Attributes:
        strategy: `tf.distribute.Strategy`; models and trainers are made in its `scope()`.
        index, count: of this worker, and of all.
        chief: whether this is the worker that reports and writes.

    Raises:
        ValueError: TF_CONFIG is missing or wrong.
        OSError: the other workers cannot be reached.
    """

    def __init__(self, kind="none"):
        self.index, self.count = _cluster() if kind == "multi_worker" else (0, 1)
        self.chief = self.index == 0
        gpus = tf.config.list_physical_devices("GPU")
        if kind == "none":
            self.strategy = tf.distribute.get_strategy()
        elif kind == "mirrored":
            self.strategy = tf.distribute.MirroredStrategy(
                [device.name for device in tf.config.list_logical_devices("GPU" if gpus else "CPU")]
            )
        else:
            implementation = tf.distribute.experimental.CommunicationImplementation
            options = tf.distribute.experimental.CommunicationOptions(
                implementation=implementation.NCCL if gpus else implementation.RING
            )
            try:
                self.strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
            except tf.errors.OpError as error:
                raise OSError(f"The other workers cannot be reached: {_reason(error)}") from error
        self.replicas = self.strategy.num_replicas_in_sync
        self._exchange = tf.function(self._gathered)

    def _gathered(self, value):
        def gather():
            return tf.distribute.get_replica_context().all_gather(tf.reshape(value, [1]), axis=0)

        return self.strategy.experimental_local_results(self.strategy.run(gather))[0]

    def everyones(self, value):
        """What each replica's worker gives, a list of float; all must ask at the same time, and wait for one another.

        Raises:
            OSError: a worker has died.
        """
        if self.replicas == 1:
            return [float(value)]
        with self.lost():
            return [float(number) for number in self._exchange(tf.constant(value, tf.float64))]

    def any(self, value):
        """Whether any worker says so."""
        return any(self.everyones(float(value))) if self.count > 1 else bool(value)

    def share(self, make, batch_size):
        """The strategy's dataset of batches.

        Args:
            make: function of `share`, (index, count), to that share of the batches (`pipeline.train_batches`).
            batch_size: of all replicas together.
        """
        if self.replicas == 1:
            return make((0, 1))

        def of_this_worker(context):
            batches = make((context.input_pipeline_id, context.num_input_pipelines))
            batches = batches.rebatch(batch_size // self.replicas)
            # Or before every step all workers would tell each other, and wait for it, that they have a batch.
            return batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))

        return self.strategy.distribute_datasets_from_function(of_this_worker)

    def lost(self):
        """A context in which TensorFlow's errors of communication become an OSError in plain words."""
        return _Lost(self.count)


class _Lost:
    def __init__(self, count):
        self.count = count

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        lost = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.InternalError, tf.errors.CancelledError)
        lost += (tf.errors.DeadlineExceededError, tf.errors.FailedPreconditionError, tf.errors.UnknownError)
        collective = isinstance(error, tf.errors.OpError) and "ollective" in error.message
        if self.count > 1 and (collective or isinstance(error, lost)):
            raise OSError(
                f"Another of the {self.count} workers has died, or cannot be reached ({_reason(error)}). Nothing "
                "is lost but the steps since the last checkpoint: start all workers again with the same command."
            ) from error


def _reason(error):
    """The line of a message that tells what has happened; others tell of operations and where they were made."""
    message = re.sub(r"\{\{.*?\}\}", "", error.message.rpartition("aborted by:")[2])
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    about = ("Graph execution error", "Detected at node", "<stack traces", 'File "')
    return next((line[:300] for line in lines if not line.startswith(about)), type(error).__name__)


def _cluster():
    """(index, count) of this worker, from TF_CONFIG."""
    text = os.environ.get("TF_CONFIG", "")
    example = '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, "task": {"type": "worker", "index": 0}}'
    try:
        values = json.loads(text)
        workers, task = values["cluster"]["worker"], values["task"]
        if list(values["cluster"]) != ["worker"] or task["type"] != "worker":
            raise ValueError("all tasks must be of the type 'worker'")
        if not all(isinstance(worker, str) and ":" in worker for worker in workers):
            raise ValueError("workers are named host:port")
        index = int(task["index"])
        if not 0 <= index < len(workers):
            raise ValueError(f"there is no worker {index} among {len(workers)}")
    except (ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}" if text else "it is not set"
        raise ValueError(
            f"--strategy multi_worker finds the other machines in the environment variable TF_CONFIG ({reason}). On "
            f"worker 0 of two: TF_CONFIG='{example}'. See docs/distributed.md."
        ) from error
    return index, len(workers)
