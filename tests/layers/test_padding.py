"""Reflection padding against numpy's."""

import re

import numpy as np
import pytest

from ugatit_tf.layers import ReflectPad2D


@pytest.mark.parametrize(("before", "after"), [(1, None), (3, None), (1, 2), (1, 0), (0, 2)])
@pytest.mark.parametrize("as_slices", [False, True])
@pytest.mark.parametrize(("repeat_edge", "mode"), [(False, "reflect"), (True, "symmetric")])
def test_values(before, after, as_slices, repeat_edge, mode):
    x = np.arange(2 * 5 * 4 * 3, dtype="float32").reshape(2, 5, 4, 3)
    pad = (before, before if after is None else after)
    layer = ReflectPad2D(before, after, repeat_edge, as_slices)
    np.testing.assert_array_equal(layer(x), np.pad(x, ((0, 0), pad, pad, (0, 0)), mode=mode))


@pytest.mark.parametrize(("shape", "side"), [((1, 3, 8, 1), "height"), ((1, 8, 3, 1), "width")])
def test_too_small_a_map(shape, side):
    message = f"by 3 needs a {side} of at least 4; received a map of shape {shape}. Use a larger image"
    with pytest.raises(ValueError, match=re.escape(message)):
        ReflectPad2D(1, 3)(np.zeros(shape, "float32"))
    ReflectPad2D(1, 3)(np.zeros((1, 4, 4, 1), "float32"))
