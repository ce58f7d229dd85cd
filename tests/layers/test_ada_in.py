"""AdaIN against its formula, term by term in double precision, and against AdaLIN."""

import numpy as np
import pytest
import tensorflow as tf

from ugatit_tf.layers import AdaIN, AdaLIN

GAMMA, BETA = (tf.constant(v, tf.float32) for v in np.random.default_rng(2).normal(size=(2, 2, 3)))


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
@pytest.mark.parametrize("relu", [False, True])
def test_values_and_gradients(flavor, relu, skewed_map, mixed, value_and_gradients):
    def naive(x, gamma, beta):
        y = mixed(x, 1.0, gamma, beta, flavor)
        return tf.nn.relu(y) if relu else y

    layer = AdaIN(flavor, relu)
    got = value_and_gradients(lambda *args: layer(*args), skewed_map, GAMMA, BETA)
    for ours, exact in zip(got, value_and_gradients(naive, skewed_map, GAMMA, BETA), strict=True):
        # float32: results up to 10 from sums over 60 entries, a few roundings of 1e-7 each
        np.testing.assert_allclose(ours, exact, rtol=1e-5, atol=2e-5)
    assert not layer.variables


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
def test_it_is_adalin_with_rho_1(flavor, skewed_map):
    adalin = AdaLIN(flavor)
    adalin.build(skewed_map.shape)
    adalin.rho.assign(np.ones(3))
    np.testing.assert_array_equal(AdaIN(flavor)(skewed_map, GAMMA, BETA), adalin(skewed_map, GAMMA, BETA))
