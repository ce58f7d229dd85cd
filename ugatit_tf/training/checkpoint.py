"""When checkpoints are written, kept and taken up again; `ugatit_tf.weights.archive` has the file format."""

import pathlib

from ugatit_tf.config import RunConfig
from ugatit_tf.weights import archive


class CheckpointStore:
    """The checkpoints of one run.

    Args:
        folder: where they are; made when the first one is written.
        run: `ugatit_tf.RunConfig`, stored in each and compared when one is taken up.
    """

    def __init__(self, folder, run):
        self.folder = pathlib.Path(folder)
        self.run = run

    def save(self, trainer):
        """Write the trainer's whole state, and remove what is older than the last `run.keep`.

        Raises:
            OSError: it cannot be written; the earlier checkpoints are as they were.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"step-{trainer.steps:08d}.npz"
        archive.write(path, trainer.arrays(), self.run.to_json())
        for old in archive.list_checkpoints(self.folder)[: -self.run.keep]:
            old.unlink()
        for torn in self.folder.glob(".step-*.tmp"):  # left by a run that was killed while it wrote
            torn.unlink()
        return path

    def __bool__(self):
        """Whether there is anything to take up."""
        return bool(archive.list_checkpoints(self.folder))

    def restore(self, trainer, warn):
        """Take up the newest checkpoint that is whole.

        Args:
            trainer: made from this run's configuration.
            warn: function of a text, told of torn files that were passed over.

        Raises:
            ValueError: the run there was made with another configuration, or all its checkpoints are torn.
        """
        path, arrays, text = archive.read_newest(self.folder, warn)
        differences = RunConfig.from_json(text).differences(self.run)
        if differences:
            raise ValueError(
                f"{path} was trained with another configuration:\n  "
                + "\n  ".join(differences)
                + "\nGive the flags it was trained with, or another --run_dir for a new run; "
                "--init starts that from these weights."
            )
        trainer.set_arrays(arrays, path)
        return path
