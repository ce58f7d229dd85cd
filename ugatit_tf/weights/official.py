"""Moving the arrays of an official checkpoint into the six networks, all or nothing, and back."""

import dataclasses
from collections.abc import Callable

import numpy as np

from ugatit_tf.config import ModelConfig


@dataclasses.dataclass(frozen=True)
class Layout:
    """How an official array becomes ours and back. Elements only change places, so both ways are exact."""

    to_ours: Callable[[np.ndarray], np.ndarray]
    to_official: Callable[[np.ndarray], np.ndarray]


SAME = Layout(np.asarray, np.asarray)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One entry of an official checkpoint: its name, our variable, and how the arrays of both are laid out."""

    name: str
    variable: object
    layout: Layout = SAME

    def official_array(self):
        """Our variable's value as the official checkpoint has it."""
        return self.layout.to_official(self.variable.numpy())


def assign(entries, arrays, path):
    """Give every entry's variable its array.

    Args:
        entries: list of `Entry`.
        arrays: name to array, nothing missing and nothing over.
        path: of the checkpoint, for the error.

    Raises:
        ValueError: entries are missing, surplus, misshapen or not finite; it names them, and no variable has changed.
    """
    expected = {entry.name: entry for entry in entries}
    faults = [f"missing: {name}" for name in expected if name not in arrays]
    faults += [f"surplus: {name}" for name in arrays if name not in expected]
    converted = []
    for name, entry in expected.items():
        if name not in arrays:
            continue
        try:
            value = entry.layout.to_ours(arrays[name])
        except ValueError:  # an array that cannot even be laid out as the variable is
            value = None
        if value is None or value.shape != tuple(entry.variable.shape):
            faults.append(f"misshapen: {name} has shape {arrays[name].shape}, for {tuple(entry.variable.shape)} here")
        elif not np.issubdtype(value.dtype, np.floating) or not np.isfinite(value).all():
            faults.append(f"not finite numbers: {name}")
        else:
            converted.append((entry.variable, value))
    if faults:
        shown = "\n  ".join(faults[:20])
        more = f"\n  ... and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise ValueError(
            f"{path} does not hold the weights of this model, and nothing was loaded:\n  {shown}{more}\n"
            "Is it a checkpoint of the official U-GAT-IT, complete and unchanged?"
        )
    for variable, value in converted:
        variable.assign(value.astype("float32"))


def require(arrays, name, path):
    """The array under a name that tells the model's shape, or a ValueError that names it."""
    if name not in arrays:
        raise ValueError(
            f"{path} holds no entry {name!r}, so it is no official U-GAT-IT checkpoint; it begins with "
            f"{sorted(arrays)[:5]}."
        )
    return arrays[name]


def names_of(known, there):
    """Which networks a file is for: all, if it has any discriminator, else the generators that it has.

    Args:
        known: our name to the official one.
        there: the official names that the file has entries of.

    Returns:
        A list of our names; empty if there is no generator.
    """
    generators = [ours for ours, official in known.items() if ours.startswith("gen") and official in there]
    complete = any(official in there for ours, official in known.items() if ours.startswith("dis"))
    return list(known) if complete else generators


def deepest(found, overrides):
    """The n_dis of a model without discriminators: the official 6, or what fits its images."""
    size = {**dataclasses.asdict(ModelConfig()), **overrides, **found}["img_size"]
    return max(4, min(ModelConfig().n_dis, (size // 3).bit_length()))


def configured(found, overrides, path):
    """The `ModelConfig` of what the weights show and what is told beside them.

    Raises:
        ValueError: what is told contradicts the weights, or cannot be.
    """
    unknown = [name for name in overrides if name not in {field.name for field in dataclasses.fields(ModelConfig)}]
    if unknown:
        raise ValueError(f"No field of ModelConfig: {', '.join(unknown)}.")
    wrong = [f"{name} is {found[name]!r}" for name in overrides if found.get(name, overrides[name]) != overrides[name]]
    if wrong:
        raise ValueError(f"{path} shows by its weights that {', '.join(wrong)}; received {overrides}.")
    return ModelConfig(**found, **{name: value for name, value in overrides.items() if name not in found})


def image_size_of(inputs, channels, path):
    """The img_size of a full generator, whose first hidden layer has `inputs` = (img_size / 4)^2 * channels inputs."""
    side = round((inputs / channels) ** 0.5)
    if side * side * channels != inputs:
        raise ValueError(f"{path}: {inputs} inputs of the gamma/beta layers are no square map of {channels} channels.")
    return 4 * side
