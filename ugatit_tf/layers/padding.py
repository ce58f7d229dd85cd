"""Reflection padding."""

import keras
from keras import ops


class ReflectPad2D(keras.layers.Layer):
    """Pads height and width by reflection, without repeating the edge.

    Args:
        before: rows and columns added at the top and left.
        after: rows and columns added at the bottom and right; None: as `before`.

    Input: [N, H, W, C], H and W larger than both pads. Output: [N, H + before + after, W + before + after, C].

    Raises:
        ValueError: the image is too small to be reflected.
    """

    def __init__(self, before, after=None, **kwargs):
        super().__init__(**kwargs)
        self.before = before
        self.after = before if after is None else after

    def call(self, x):
        pad = (self.before, self.after)
        for side, size in (("height", x.shape[1]), ("width", x.shape[2])):
            if size is not None and size <= max(pad):
                raise ValueError(
                    f"Reflecting by {max(pad)} needs a {side} of at least {max(pad) + 1}; received a map of shape "
                    f"{tuple(x.shape)}. Use a larger image or a smaller n_dis."
                )
        return ops.pad(x, ((0, 0), pad, pad, (0, 0)), mode="reflect")

    def get_config(self):
        return {**super().get_config(), "before": self.before, "after": self.after}
