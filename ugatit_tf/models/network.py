"""What all networks have in common: how they begin, in which precision they compute, and which images they take."""

import hashlib
import math

import keras
import numpy as np
from keras import ops

from ugatit_tf import environment

PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
_LARGEST = 8.0  # noise around [-1, 1] stays below; of images in [0, 255] only an all but black one does


class _WithKerasDefaults(type(keras.Model)):
    """Networks are made under Keras's own defaults, whatever data format and precision the process has set globally."""

    def __call__(cls, *args, **kwargs):
        with environment.keras_defaults():
            return super().__call__(*args, **kwargs)


class Network(keras.Model, metaclass=_WithKerasDefaults):
    """A model that is built when it is made, from a seed, and whose precision can be changed afterwards.

    `save("a2b.keras")` and `export("a2b")` are Keras's own. `keras.models.load_model` needs `import ugatit_tf.models`
    first, and gives back the same weights and precision.

    Args:
        seed: decides the initial weights, together with `flavor`.
        dtype: `"float32"`, `"mixed_bfloat16"` or `"mixed_float16"`; None: float32. See `set_precision`.

    Raises:
        ValueError: another dtype.
    """

    fixed_size = None

    def __init__(self, flavor, seed=0, dtype=None, **kwargs):
        # Without autocast images and logits stay float32 under a mixed policy.
        super().__init__(autocast=False, dtype=dtype, **kwargs)
        precisions = {policy: precision for precision, policy in PRECISIONS.items()}
        if self.dtype_policy.name not in precisions:
            raise ValueError(f"dtype must be one of {', '.join(precisions)}; received {self.dtype_policy.name!r}.")
        self.flavor = flavor
        self.seed = seed
        self.precision = precisions[self.dtype_policy.name]
        self.remat = False

    def finish(self, image_size):
        """Create the weights by a pass over zeros of that size, draw them, and set the precision of all layers."""
        self._smallest = image_size
        self.build((None, self.fixed_size, self.fixed_size, 3))
        self._draw_weights()
        self.set_precision(self.precision)

    def build(self, input_shape):
        if not self.built:  # load_model builds once more
            self.call(ops.zeros((1, self._smallest, self._smallest, 3), "float32"), training=False)

    def predict_step(self, data):
        """Keras's, for `predict`: a network without CAM gives its images and heatmaps, without the None between."""
        return tuple(output for output in super().predict_step(data) if output is not None)

    def save(self, filepath, *args, **kwargs):
        """Keras's `save`, as `.keras` alone.

        Raises:
            ValueError: another suffix; Keras's old HDF5 files do not find registered classes when they are loaded.
        """
        if not str(filepath).endswith(".keras"):
            raise ValueError(
                f"The name must end in .keras; received {filepath}. The weights alone: save_weights('a2b.weights.h5')."
            )
        super().save(filepath, *args, **kwargs)

    def export(self, filepath, *args, input_signature=None, **kwargs):
        """Keras's `export`, of images [N, H, W, 3] of any size that the network takes.

        Use `ugatit export` for files with uint8 and encoded images, labels and a proof.

        Raises:
            ValueError: a network without CAM, whose second output is None.
        """
        if getattr(self, "cam", None) is None:
            raise ValueError(
                f"{self.name} has no CAM and gives None for its logits, which a SavedModel cannot hold. Use "
                "`ugatit export`, or ExportArchive with a function that returns the images alone."
            )
        if input_signature is None:
            input_signature = [keras.InputSpec("float32", (None, self.fixed_size, self.fixed_size, 3))]
        super().export(filepath, *args, input_signature=input_signature, **kwargs)

    def _draw_weights(self):
        """The official initial weights.

        `tf1`: every kernel from normal(0, 0.02), biases 0. `pytorch`: kernels and biases uniform within
        1 / sqrt(fan-in), PyTorch's default. Both: u from normal(0, 1), normalised.
        """
        rng = np.random.default_rng(self.seed)
        for layer in self._flatten_layers(include_self=False):
            kernel = getattr(layer, "kernel", None)
            if kernel is None:
                continue
            if self.flavor == "tf1":
                kernel.assign(rng.standard_normal(kernel.shape, dtype="float32") * 0.02)
            else:
                bound = 1.0 / math.sqrt(math.prod(kernel.shape[:-1]))
                for variable in (kernel, getattr(layer, "bias", None)):
                    if variable is not None:
                        values = rng.random(variable.shape, dtype="float32")
                        values *= 2.0
                        values -= 1.0
                        values *= bound
                        variable.assign(values)
            if hasattr(layer, "reset"):
                layer.reset(rng.standard_normal(layer.u.shape, dtype="float32"))

    def set_precision(self, precision):
        """Compute in `"float32"`, `"bfloat16"` or `"float16"` from now on; the weights stay float32.

        Layers that were made with the policy `FLOAT32` (those behind gamma and beta) keep it; norms and CAM logits are
        float32 by what their layers do.
        """
        self.precision = precision
        for layer in self._flatten_layers():
            if layer.dtype_policy is not FLOAT32:
                layer.dtype_policy = PRECISIONS[precision]

    def runner(self, training):
        """How a block is run: as `run(block, *inputs)`.

        With the attribute `remat` (rematerialisation; Chen et al., arXiv:1604.06174) nothing of a block but its inputs
        is kept for the gradient, for which it runs once more. Blocks that change a variable, as spectral norm does,
        must not be run by it: they would change it twice.
        """
        if self.remat and training:
            return lambda block, *inputs: keras.remat(block)(*inputs)
        return lambda block, *inputs: block(*inputs)

    def weights_sha256(self):
        """SHA-256 of the weights: of each variable's path and float32 values, in the order of the paths."""
        digest = hashlib.sha256()
        named = {variable.path.partition("/")[2]: variable for variable in self.variables}
        for path in sorted(named):
            digest.update(path.encode() + b"\0" + named[path].numpy().astype("<f4").tobytes())
        return digest.hexdigest()

    def copy(self):
        """A network of the same weights that computes in float32."""
        copy = type(self).from_config(self.get_config() | {"dtype": "float32"})
        for mine, other in zip(copy.variables, self.variables, strict=True):
            mine.assign(other)
        return copy

    def suit_tflite(self):
        """Pad by slices, which TFLite's fast kernels have, and sum by rows: one long sum in them loses digits."""
        for layer in self._flatten_layers():
            for choice in ("as_slices", "by_rows"):
                if hasattr(layer, choice):
                    setattr(layer, choice, True)


def check_images(images):
    """See that images are a batch of floats in [-1, 1]; their values count where they are at hand, outside graphs.

    Args:
        images: tensor, [N, H, W, 3].

    Raises:
        ValueError: they are not; says how to change them.
    """
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[3] != 3:
        way_out = "Expected RGB with the channels last."
        if len(shape) == 3 and shape[2] == 3:
            way_out = "Add the batch axis: images[None]."
        raise ValueError(f"Images must have the shape [N, H, W, 3]; received {shape}. {way_out}")
    dtype = keras.backend.standardize_dtype(images.dtype)
    if "float" not in dtype:
        raise ValueError(f"Images must be floats in [-1, 1]; received {dtype}. Convert: images / 127.5 - 1.")
    check_range(images)


def check_range(images):
    """See that images are not in [0, 255]; without values, inside a graph, nothing is checked.

    Raises:
        ValueError: they must be.
    """
    if not (hasattr(images, "numpy") or isinstance(images, np.ndarray)) or not math.prod(images.shape):
        return
    largest = float(ops.max(ops.abs(images)))
    if largest > _LARGEST:
        raise ValueError(
            f"Images must be in [-1, 1]; received values up to {largest:.4g}. If they are in [0, 255], convert: "
            "images / 127.5 - 1."
        )


def check_size(shape, fixed_size=None):
    """See that a generator can take images.

    Args:
        shape: of the images, [N, H, W, 3]; unknown sizes are None.
        fixed_size: the one height and width that it takes, or None for any multiple of 4.

    Raises:
        ValueError: it cannot; says which size would do.
    """
    for side, size in (("height", shape[1]), ("width", shape[2])):
        if size is None:
            continue
        if fixed_size not in (None, size):
            raise ValueError(
                f"This full generator was built for {fixed_size} px: give images of that height and width, or "
                f"use a light generator, which takes any multiple of 4. Received images of shape {tuple(shape)}."
            )
        if size % 4 or size < 8:
            below, above = max(8, size // 4 * 4), max(8, size // 4 * 4 + 4)
            raise ValueError(
                f"The {side} must be a multiple of 4 and at least 8; received images of shape {tuple(shape)}. "
                f"Resize to {below}{f' or {above}' if above != below else ''}."
            )


FLOAT32 = keras.DTypePolicy("float32")
"""The policy, as an object of its own, of layers that compute in float32 whatever the network's precision."""
