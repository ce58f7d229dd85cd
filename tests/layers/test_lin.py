"""LIN against the paper's formula, term by term in double precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ugatit_tf.layers import LIN


def built(x, *args, **weights):
    layer = LIN(*args)
    layer.build(x.shape)
    for name, value in weights.items():
        getattr(layer, name).assign(value)
    return layer


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
@pytest.mark.parametrize("relu", [False, True])
def test_values_and_gradients(flavor, relu, skewed_map, mixed, value_and_gradients):
    def naive(*args):
        return tf.nn.relu(mixed(*args, flavor)) if relu else mixed(*args, flavor)

    weights = {"rho": [0.0, 0.3, 1.0], "gamma": [2.0, -1.0, 0.5], "beta": [-3.0, 0.0, 1.0]}
    layer = built(skewed_map, flavor, relu, **weights)
    values = [getattr(layer, name).value for name in weights]
    got = value_and_gradients(lambda x, *_: layer(x), skewed_map, *values)
    expected = value_and_gradients(naive, skewed_map, *(tf.constant(v) for v in weights.values()))
    for ours, exact in zip(got, expected, strict=True):
        # float32: results up to 10 from sums over 60 entries, a few roundings of 1e-7 each
        np.testing.assert_allclose(ours, exact, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
def test_it_starts_as_layer_norm(flavor, skewed_map):
    x = np.asarray(skewed_map, "float64")
    spread = x.std((1, 2, 3), keepdims=True, ddof=flavor == "pytorch")
    expected = (x - x.mean((1, 2, 3), keepdims=True)) / spread
    # epsilon 1e-5 beside a variance of about 10, and float32
    np.testing.assert_allclose(built(skewed_map, flavor)(skewed_map), expected, atol=1e-5)


def test_an_update_keeps_rho_between_0_and_1(skewed_map):
    layer = built(skewed_map, rho=[0.01, 0.99, 0.5])
    keras.optimizers.SGD(1.0).apply([np.array([1.0, -1.0, 0.25], "float32")], [layer.rho])
    np.testing.assert_allclose(layer.rho, [0.0, 1.0, 0.25], rtol=1e-6)
