"""TensorFlow Datasets, written once to a dataset folder and then read like any other."""

import pathlib
import shutil

from PIL import Image

from ugatit_tf import environment
from ugatit_tf.data.images import FOLDERS
from ugatit_tf.weights import atomic


def write_tfds(name, folder):
    """Write a dataset of TensorFlow Datasets to a dataset folder, as PNG files. An existing folder is left as it is.

    Args:
        name: `"tfds:"` and the name of a builder with the splits trainA, trainB, testA and testB and the feature
            `image`, such as `"tfds:cycle_gan/horse2zebra"`.
        folder: where to; it appears when all is written, or not at all.

    Raises:
        ValueError: tensorflow-datasets is not installed, has no such builder, or the builder has other splits or no
            images.
        OSError: the folder cannot be written, or the dataset not be downloaded.
    """
    folder = pathlib.Path(folder)
    if folder.exists():
        return
    builder_name = name.removeprefix("tfds:")
    if builder_name == name or not builder_name:
        raise ValueError(f"name must look like tfds:cycle_gan/horse2zebra; received {name!r}.")
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ValueError(f"{name} needs TensorFlow Datasets ({error}): {environment.install_hint('tfds')}") from error
    try:
        builder = tfds.builder(builder_name)
    except ValueError as error:  # its message goes on to list every dataset there is
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"TensorFlow Datasets cannot make {builder_name!r}: {reason} Use a name such as tfds:cycle_gan/horse2zebra."
        ) from error
    if "image" not in builder.info.features:
        raise ValueError(
            f"{name} must have a feature 'image'; it has {', '.join(builder.info.features)}. "
            "Use a dataset of images, such as tfds:cycle_gan/horse2zebra."
        )
    if builder.info.splits:  # often unknown until the dataset is there
        _check_splits(name, builder.info.splits)
    builder.download_and_prepare()
    _check_splits(name, builder.info.splits)

    # Not tempfile.mkdtemp, whose folders only their owner may read. A sibling, because a rename stays on one disk.
    atomic.remove_abandoned(folder.parent, "tfds.*", atomic.OLD_DRAFTS)
    draft = folder.with_name(atomic.draft_name("tfds"))
    try:
        for split in FOLDERS:
            (draft / split).mkdir(parents=True)
            examples = tfds.as_numpy(builder.as_dataset(split=split, shuffle_files=False))
            for index, example in enumerate(examples):
                pixels = example["image"]
                image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
                image.save(draft / split / f"{index:06d}.png")
        try:
            draft.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _check_splits(name, splits):
    if not set(FOLDERS) <= set(splits):
        raise ValueError(
            f"{name} must have the splits {', '.join(FOLDERS)}; it has {', '.join(splits) or 'none'}. "
            "The datasets under tfds:cycle_gan/ have them."
        )
