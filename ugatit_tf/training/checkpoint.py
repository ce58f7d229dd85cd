"""When checkpoints are written, kept and taken up again; `ugatit_tf.weights.archive` has the file format."""

import collections
import collections.abc
import math
import pathlib

import numpy as np

from ugatit_tf.config import RunConfig
from ugatit_tf.weights import archive

_IMAGES = "training images"
_SCORE = "score"


class NonFiniteError(ArithmeticError):
    """A loss or a weight became infinite or not a number, which no checkpoint may hold.

    Args:
        fault: what, and at which step.
    """

    def __init__(self, fault):
        super().__init__(
            f"{fault} No checkpoint holds it. Resuming would arrive here again: begin another --run_dir, with a lower "
            "--lr or another --precision (float32, or bfloat16 instead of float16), and with --init from this run if "
            "it has a checkpoint."
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


class CheckpointStore:
    """The checkpoints of one run.

    Args:
        folder: where they are; made when the first one is written.
        run: `ugatit_tf.RunConfig`, stored in each and compared when one is taken up.

    Attributes:
        images: text that tells the training images from others (`Dataset.training_images`), stored and compared, too.
    """

    def __init__(self, folder, run):
        self.folder = pathlib.Path(folder)
        self.run = run
        self.images = ""

    def save(self, trainer):
        """Write the trainer's whole state, and remove what is older than the last `run.keep`.

        Raises:
            NonFiniteError: an array holds infinity or not-a-number; nothing was written.
            OSError: it cannot be written; the earlier checkpoints are as they were.
        """
        path = self._write(f"step-{trainer.steps:08d}.npz", finite_arrays(trainer))
        for old in archive.list_checkpoints(self.folder)[: -self.run.keep]:
            old.unlink()
        for torn in self.folder.glob(".step-*.tmp"):  # left by a run that was killed while it wrote
            torn.unlink()
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

    def restore(self, trainer, warn):
        """Take up the newest checkpoint that is whole.

        Args:
            trainer: made from this run's configuration.
            warn: function of a text, told of torn files that were passed over, and of images that have changed.

        Raises:
            ValueError: the run there was made with another configuration, or all its checkpoints are torn.
        """
        path, arrays, text = archive.read_newest(self.folder, warn)
        differences = RunConfig.from_json(text, path).differences(self.run)
        if differences:
            raise ValueError(
                f"{path} was trained with another configuration:\n  "
                + "\n  ".join(differences)
                + "\nGive the flags it was trained with, or another --run_dir for a new run; "
                "--init starts that from these weights."
            )
        trainer.set_arrays(arrays, path)
        images = str(arrays.get(_IMAGES, self.images))
        if images != self.images:
            warn(
                f"The training images have changed since {path.name} (then {images}; now {self.images}). "
                "The run goes on, but not to the weights that it would have had with the former images."
            )
        return path
