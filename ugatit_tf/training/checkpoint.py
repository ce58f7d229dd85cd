"""Saves, prunes and restores checkpoints; `ugatit_tf.weights.archive` has the file format."""

import collections
import collections.abc
import math
import pathlib

import numpy as np

from ugatit_tf.config import RunConfig
from ugatit_tf.weights import archive, atomic

_IMAGES = "training images"
_SCORE = "score"


class NonFiniteError(ArithmeticError):
    """A loss or a weight became infinite or not a number, which no checkpoint may hold.

    Args:
        fault: what, and at which step.
    """

    def __init__(self, fault):
        super().__init__(
            f"{fault} No checkpoint holds it. Resuming as it is would arrive here again: resume with a lower --lr and "
            "--change, or begin another --run_dir with another --precision (float32, or bfloat16 instead of float16), "
            "and with --init from this run if it has a checkpoint."
        )


class _Arrays(collections.abc.Mapping):
    """Variables by name as the arrays they are when asked: a copy of all would be as large as the model itself."""

    def __init__(self, variables):
        self.variables = variables

    def __getitem__(self, name):
        return self.variables[name].numpy()

    def __iter__(self):
        return iter(self.variables)

    def __len__(self):
        return len(self.variables)


def finite_arrays(trainer):
    """The trainer's whole state, a mapping of name to array; each is read from its variable when it is asked for.

    Raises:
        NonFiniteError: an array holds infinity or not-a-number.
    """
    arrays = _Arrays(trainer.state())
    bad = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    if bad:
        raise NonFiniteError(
            f"Weights not finite after step {trainer.steps}: {', '.join(bad[:5])}{' ...' * (len(bad) > 5)}."
        )
    return arrays


def refuse_differences(former, run, source, change=False, begun=True):
    """Raise ValueError if a run cannot be resumed with a configuration; the message says what can be done.

    Args:
        former: the run's `ugatit_tf.RunConfig`.
        run: the one to resume with.
        source: the file that `former` is from.
        change: whether `config.CHANGEABLE` may change.
        begun: whether the run has a checkpoint.
    """
    differences = former.differences(run, change)
    if not differences:
        return
    final = former.differences(run, change=True)
    on_demand = [row for row in differences if row not in final]
    advice = []
    if on_demand:
        advice.append(
            f"With --change {_names(on_demand)} may change" + (f"; {_names(final)} may not." * bool(final) or ".")
        )
    if former.train.epoch > run.train.epoch:
        advice.append(f"--epoch can only grow: {former.train.epoch} or more.")
    if not begun:
        advice.append(f"It has no checkpoint yet: delete {source} to begin anew.")
    raise ValueError(
        f"{source} is of a run with another configuration:\n  "
        + "\n  ".join(differences)
        + "\n"
        + " ".join([*advice, "Otherwise give" if advice else "Give"])
        + " the former flags, or another --run_dir for a new run; --init starts "
        "that from these weights."
    )


def _names(rows):
    return ", ".join(row.partition(":")[0] for row in rows)


class CheckpointStore:
    """The checkpoints of one run.

    Args:
        folder: where they are; made when the first one is written.
        run: `ugatit_tf.RunConfig`, stored in each and compared when one is taken up.
        check: function without arguments, called before anything is written; raises OSError where that must not be.

    Attributes:
        images: text that tells the training images from others (`Dataset.training_images`), stored and compared, too.
    """

    def __init__(self, folder, run, check=lambda: None):
        self.folder = pathlib.Path(folder)
        self.run = run
        self.check = check
        self.images = ""
        self._between = None

    def save(self, trainer, between=False):
        """Write the trainer's whole state, and remove what is older than the last `run.keep`.

        Args:
            trainer: `Trainer`.
            between: whether this one is beside those of `run.save_freq`: the next one takes its place, and it takes no
                other's.

        Raises:
            NonFiniteError: an array holds infinity or not-a-number; nothing was written.
            OSError: it cannot be written; the earlier checkpoints are as they were.
        """
        path = self._write(f"step-{trainer.steps:08d}.npz", finite_arrays(trainer))
        if self._between not in (None, path):
            self._between.unlink(missing_ok=True)
        self._between = path if between else None
        for old in [old for old in archive.list_checkpoints(self.folder) if old != self._between][: -self.run.keep]:
            old.unlink(missing_ok=True)
        atomic.remove_abandoned(self.folder)
        return path

    def save_best(self, trainer, score):
        """Write `best.npz`: the weights and averages, without what only a training needs.

        Args:
            score: the lower, the better; it is kept with the weights.

        Raises:
            As `save`.
        """
        state = finite_arrays(trainer).variables
        kept = {name: variable for name, variable in state.items() if not name.startswith(("adam/", "pool/"))}
        return self._write("best.npz", _Arrays(kept), **{_SCORE: score})

    def best_score(self):
        """The score in `best.npz`; infinity where there is none."""
        try:
            return float(archive.read(self.folder / "best.npz")[0][_SCORE])
        except (OSError, ValueError):
            return math.inf

    def _write(self, name, arrays, **more):
        self.check()
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        try:
            more |= {_IMAGES: self.images}
            archive.write(path, collections.ChainMap(arrays, more), self.run.to_json())
        except OSError as error:
            raise OSError(
                f"{path} cannot be written ({error.strerror}). The checkpoints from before are as they were: make "
                "room, and give the same command again."
            ) from error
        return path

    def __bool__(self):
        """Whether there is anything to take up."""
        return bool(archive.list_checkpoints(self.folder))

    def restore(self, trainer, warn, change=False):
        """Take up the newest checkpoint that is whole.

        Args:
            trainer: made from this run's configuration.
            warn: function of a text, told of torn files that were passed over, and of images that have changed.
            change: whether `config.CHANGEABLE` may change.

        Raises:
            ValueError: the run there was made with another configuration, or all its checkpoints are torn.
        """
        path, arrays, text = archive.read_newest(self.folder, warn)
        refuse_differences(RunConfig.from_json(text, path), self.run, path, change)
        trainer.set_arrays(arrays, path)
        images = str(arrays.get(_IMAGES, self.images))
        if images != self.images:
            warn(
                f"The training images have changed since {path.name} (then {images}; now {self.images}). "
                "The run goes on, but not to the weights that it would have had with the former images."
            )
        return path
