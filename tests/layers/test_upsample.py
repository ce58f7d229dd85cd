"""UpsampleConv2D against nearest upsampling, reflection padding and a convolution, one after the other."""

import numpy as np
import pytest
import tensorflow as tf

from ugatit_tf.layers import UpsampleConv2D


@pytest.mark.parametrize("size", [(4, 6), (1, 1), (5, 2)])
@pytest.mark.parametrize("use_bias", [False, True])
def test_values_and_gradients(size, use_bias, value_and_gradients):
    rng = np.random.default_rng(0)
    x, bias = tf.constant(rng.normal(size=(2, *size, 3)), tf.float32), tf.constant(rng.normal(size=5), tf.float32)
    layer = UpsampleConv2D(5, use_bias=use_bias)
    layer.build(x.shape)
    if use_bias:
        layer.bias.assign(bias)

    def naive(x, kernel, bias=0.0):
        enlarged = tf.repeat(tf.repeat(x, 2, axis=1), 2, axis=2)
        padded = tf.pad(enlarged, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="REFLECT")
        return tf.nn.conv2d(padded, kernel, 1, "VALID") + bias

    got = value_and_gradients(lambda x, *_: layer(x), x, *(v.value for v in layer.weights))
    expected = value_and_gradients(naive, x, *(tf.constant(v) for v in layer.weights))
    for ours, exact in zip(got, expected, strict=True):
        # float32 sums of up to 2 * 8 * 12 products of order 1
        np.testing.assert_allclose(ours, exact, rtol=1e-5, atol=2e-5)


def test_a_kernel_of_ones_by_hand():
    """The map (0, 1) becomes (0, 0, 1, 1) in each row; sums of 3x3 with reflected borders: 0, 3, 6, 9."""
    layer = UpsampleConv2D(1)
    x = tf.constant([[0.0, 1.0], [0.0, 1.0]])[None, :, :, None]
    layer.build(x.shape)
    layer.kernel.assign(np.ones((3, 3, 1, 1)))
    np.testing.assert_allclose(layer(x)[0, :, :, 0], [[0, 3, 6, 9]] * 4)


def test_half_precision_sums_the_taps_before_rounding():
    """1 and 2^-9 and -1: each sum in half would lose the small tap (bfloat16), summed in float32 first it stays."""
    layer = UpsampleConv2D(1, use_bias=False, dtype="mixed_bfloat16")
    layer.build((1, 2, 2, 1))
    kernel = np.zeros((3, 3, 1, 1), "float32")
    kernel[1, :, 0, 0] = 1 + 2**-9, -1, 0
    layer.kernel.assign(kernel)
    # Odd columns see the first two taps at one input pixel: 1 + 2^-9 - 1.
    np.testing.assert_array_equal(tf.cast(layer(tf.ones((1, 2, 2, 1))), tf.float32)[0, :, 1, 0], [2**-9] * 4)
