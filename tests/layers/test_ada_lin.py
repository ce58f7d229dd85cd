"""AdaLIN against the paper's equation 1, term by term in double precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ugatit_tf.layers import AdaLIN

GAMMA, BETA = (tf.constant(v, tf.float32) for v in np.random.default_rng(2).normal(size=(2, 2, 3)))
# Below 0.1 (which smoothing clips), between, and instance norm alone.
RHO = np.array([0.05, 0.5, 1.0], "float32")


def built(x, *args, rho=None, **kwargs):
    layer = AdaLIN(*args, **kwargs)
    layer.build(x.shape)
    if rho is not None:
        layer.rho.assign(rho)
    return layer


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
@pytest.mark.parametrize("smoothing", [False, True])
@pytest.mark.parametrize("relu", [False, True])
def test_values_and_gradients(flavor, smoothing, relu, skewed_map, mixed, value_and_gradients):
    layer = built(skewed_map, flavor, smoothing, relu, rho=RHO)

    def naive(x, gamma, beta, rho):
        y = mixed(x, tf.clip_by_value(rho - 0.1, 0, 1) if smoothing else rho, gamma, beta, flavor)
        return tf.nn.relu(y) if relu else y

    got = value_and_gradients(lambda *args: layer(*args[:3]), skewed_map, GAMMA, BETA, layer.rho.value)
    expected = value_and_gradients(naive, skewed_map, GAMMA, BETA, tf.constant(RHO))
    for ours, exact in zip(got, expected, strict=True):
        # float32: results up to 10 from sums over 60 entries, a few roundings of 1e-7 each
        np.testing.assert_allclose(ours, exact, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("flavor", "smoothing", "used"), [("tf1", False, 1.0), ("tf1", True, 0.9), ("pytorch", False, 0.9)]
)
def test_rho_at_the_start(flavor, smoothing, used, skewed_map, mixed):
    y = built(skewed_map, flavor, smoothing)(skewed_map, GAMMA, BETA)
    np.testing.assert_allclose(y, mixed(skewed_map, used, GAMMA, BETA, flavor), atol=2e-5)  # as above


def test_two_pixels_by_hand():
    """The map (0, 2): mean 1, variance 1 (n) or 2 (n - 1), hence -1, 1 or -1/sqrt 2, 1/sqrt 2."""
    x = tf.constant([0.0, 2.0], shape=(1, 1, 2, 1))
    for flavor, one in (("tf1", 1.0), ("pytorch", 0.5**0.5)):
        y = built(x, flavor)(x, tf.constant([[3.0]]), tf.constant([[10.0]]))
        np.testing.assert_allclose(y[0, 0, :, 0], [10 - 3 * one, 10 + 3 * one], atol=1e-4)  # epsilon: 3 * 0.5e-5


def test_an_update_keeps_rho_between_0_and_1(skewed_map):
    layer = built(skewed_map, rho=[0.01, 0.99, 0.5])
    keras.optimizers.SGD(1.0).apply([np.array([1.0, -1.0, 0.25], "float32")], [layer.rho])
    np.testing.assert_allclose(layer.rho, [0.0, 1.0, 0.25], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_gamma_and_beta_are_not_rounded_to_half(dtype, mixed):
    """1000.25 is 1000 in both; with a beta of -1000 the quarter is all that is left of the pixel 1."""
    x = tf.constant([-1.0, 1.0], dtype, shape=(1, 1, 2, 1))
    gamma, beta = tf.constant([[1000.25]]), tf.constant([[-1000.0]])
    y = AdaLIN(dtype=f"mixed_{dtype}")(x, gamma, beta)
    assert y.dtype == dtype
    # float32 is exact to 6e-5 at 1000, and the half result to 2^-8 of itself
    exact = mixed(tf.cast(x, tf.float32), 1.0, gamma, beta)
    np.testing.assert_allclose(tf.cast(y, tf.float64), exact, rtol=2**-8, atol=2e-4)
