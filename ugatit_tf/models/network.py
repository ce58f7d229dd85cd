"""What all networks have in common: how they begin, and in which precision they compute."""

import math

import keras
import numpy as np
from keras import ops

from ugatit_tf import environment

PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


class Block(keras.layers.Layer):
    """A layer made of layers, which build themselves at the first call; Keras would trace the whole for that before."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.built = True


class _WithKerasDefaults(type(keras.Model)):
    """Networks are made under Keras's own defaults, whatever data format and precision the process has set globally."""

    def __call__(cls, *args, **kwargs):
        with environment.keras_defaults():
            return super().__call__(*args, **kwargs)


class Network(keras.Model, metaclass=_WithKerasDefaults):
    """A model that is built when it is made, from a seed, and whose precision can be changed afterwards.

    Args:
        seed: decides the initial weights, together with `flavor`.
    """

    def __init__(self, flavor, seed=0, **kwargs):
        super().__init__(autocast=False, **kwargs)  # images and logits stay float32 under a mixed policy
        self.flavor = flavor
        self.seed = seed
        self.precision = "float32"
        self.remat = False
        self.built = True  # as a Block

    def finish(self, image_size):
        """Create the weights by a call on zeros, and draw them."""
        self(ops.zeros((1, image_size, image_size, 3), "float32"), training=False)
        self._draw_weights()

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

    def copy(self):
        """A network of the same weights that computes in float32."""
        copy = type(self).from_config(self.get_config())
        for mine, other in zip(copy.variables, self.variables, strict=True):
            mine.assign(other)
        return copy

    def suit_tflite(self):
        """Pad by slices, which TFLite's fast kernels have, and sum by rows: one long sum in them loses digits."""
        for layer in self._flatten_layers():
            for choice in ("as_slices", "by_rows"):
                if hasattr(layer, choice):
                    setattr(layer, choice, True)


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
