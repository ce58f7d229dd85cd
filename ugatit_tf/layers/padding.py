"""Padding by reflection."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("ugatit_tf")
class ReflectPad2D(keras.layers.Layer):
    """Pads height and width by reflection.

    Args:
        before: rows and columns added at the top and left.
        after: rows and columns added at the bottom and right; None: as `before`.
        repeat_edge: whether the reflection begins with the edge itself (b a | a b c) or behind it (c b | a b c).
        as_slices: make the result from slices, which TFLite's fast kernels have; `ops.pad` is faster in training.

    Input: [N, H, W, C], H and W larger than both pads or, with `repeat_edge`, as large.
    Output: [N, H + before + after, W + before + after, C].

    Raises:
        ValueError: the image is too small to be reflected.
    """

    def __init__(self, before, after=None, repeat_edge=False, as_slices=False, **kwargs):
        super().__init__(**kwargs)
        self.built = True  # without weights
        self.before = before
        self.after = before if after is None else after
        self.repeat_edge = repeat_edge
        self.as_slices = as_slices

    def call(self, x):
        pad = (self.before, self.after)
        smallest = max(pad) + (0 if self.repeat_edge else 1)
        for side, size in (("height", x.shape[1]), ("width", x.shape[2])):
            if size is not None and size < smallest:
                raise ValueError(
                    f"Reflecting by {max(pad)} needs a {side} of at least {smallest}; received a map of shape "
                    f"{tuple(x.shape)}. Use a larger image or a smaller n_dis."
                )
        if self.as_slices:
            return self._reflect(self._reflect(x, 1), 2)
        return ops.pad(x, ((0, 0), pad, pad, (0, 0)), mode="symmetric" if self.repeat_edge else "reflect")

    def _reflect(self, x, axis):
        """Rows (axis 1) or columns (axis 2) put before and after x one by one."""

        def row(index):
            stop = index + 1 or None
            return x[:, index:stop] if axis == 1 else x[:, :, index:stop]

        skipped = 0 if self.repeat_edge else 1
        first = [row(index + skipped) for index in reversed(range(self.before))]
        last = [row(-1 - index - skipped) for index in range(self.after)]
        # In three parts: TFLite's fast kernels join at most five tensors at once.
        return ops.concatenate([ops.concatenate(part, axis) for part in (first, [x], last) if part], axis)

    def get_config(self):
        return {
            **super().get_config(),
            "before": self.before,
            "after": self.after,
            "repeat_edge": self.repeat_edge,
            "as_slices": self.as_slices,
        }
