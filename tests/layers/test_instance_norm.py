"""Instance norm against its formula in double precision."""

import numpy as np
import pytest
import tensorflow as tf

from ugatit_tf.layers import InstanceNorm


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
@pytest.mark.parametrize("relu", [False, True])
def test_values_and_gradients(flavor, relu, skewed_map, mixed, value_and_gradients):
    """Both originals divide by n here, whatever they do in AdaLIN; only TF1's has gamma and beta."""

    def naive(x, gamma, beta):
        y = mixed(x, 1.0, gamma, beta)
        return tf.nn.relu(y) if relu else y

    layer = InstanceNorm(flavor, relu)
    layer.build(skewed_map.shape)
    gamma, beta = tf.ones(3), tf.zeros(3)
    if flavor == "tf1":
        gamma, beta = tf.constant([2.0, -1.0, 0.5]), tf.constant([-3.0, 0.0, 1.0])
        layer.gamma.assign(gamma)
        layer.beta.assign(beta)
    assert [v.name for v in layer.weights] == (["gamma", "beta"] if flavor == "tf1" else [])
    got = value_and_gradients(lambda x, *_: layer(x), skewed_map, *(v.value for v in layer.weights))
    expected = value_and_gradients(naive, skewed_map, gamma, beta)
    for ours, exact in zip(got, expected, strict=False):  # without affine weights there are two, y and dx
        # float32: results up to 10 from sums over 20 entries, a few roundings of 1e-7 each
        np.testing.assert_allclose(ours, exact, rtol=1e-5, atol=2e-5)


def test_epsilon_is_inside_the_root():
    """The map (0, 2e-3): variance 1e-6, so 1e-3 / sqrt(1e-6 + 1e-5) = 0.3015; outside it would be 0.99."""
    y = InstanceNorm("pytorch")(tf.constant([0.0, 2e-3], shape=(1, 1, 2, 1)))
    np.testing.assert_allclose(y[0, 0, :, 0], np.array([-1, 1]) * 11**-0.5, rtol=1e-5)  # float32


def test_a_constant_map_gives_zero_and_a_finite_gradient(value_and_gradients):
    y, dx = value_and_gradients(InstanceNorm("pytorch"), tf.fill((1, 4, 4, 2), 7.0))
    np.testing.assert_array_equal(y, np.zeros((1, 4, 4, 2)))
    assert np.isfinite(dx).all()
