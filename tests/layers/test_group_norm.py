"""Group norm against Keras's, with gradients, and against the formulas of its two ends, layer and instance norm."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ugatit_tf.layers import GroupNorm

SPREADS, MEANS = [1, 2, 3, 1, 2, 3], [4, -2, 1, 0, 3, -1]
X = tf.constant(np.random.default_rng(0).normal(size=(2, 5, 4, 6)) * SPREADS + MEANS, tf.float32)
GAMMA, BETA = (np.random.default_rng(1).normal(size=6).astype("float32") for _ in range(2))


def built(*args):
    layer = GroupNorm(*args)
    layer.build(X.shape)
    layer.gamma.assign(GAMMA)
    layer.beta.assign(BETA)
    return layer


@pytest.mark.parametrize("by_rows", [False, True])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_values_and_gradients_are_those_of_keras(groups, relu, by_rows, value_and_gradients):
    layer, theirs = built(groups, relu, by_rows), keras.layers.GroupNormalization(groups, epsilon=1e-5)
    theirs.build(X.shape)
    theirs.gamma.assign(layer.gamma)
    theirs.beta.assign(layer.beta)

    def keras_norm(x, *_):
        return tf.nn.relu(theirs(x)) if relu else theirs(x)

    got = value_and_gradients(lambda x, *_: layer(x), X, layer.gamma.value, layer.beta.value)
    expected = value_and_gradients(keras_norm, X, theirs.gamma.value, theirs.beta.value)
    for ours, other in zip(got, expected, strict=True):
        # float32 on both sides: results up to 5 from sums over 120 entries of up to 13
        np.testing.assert_allclose(ours, other, rtol=1e-4, atol=5e-5)


@pytest.mark.parametrize("groups", [1, 6])
def test_the_ends_are_layer_and_instance_norm(groups, mixed):
    """1 group is LN, rho 0 of LIN; as many groups as channels are IN, rho 1."""
    expected = mixed(X, float(groups == 6), tf.constant(GAMMA), tf.constant(BETA))
    np.testing.assert_allclose(built(groups)(X), expected, rtol=1e-5, atol=2e-5)


def test_a_number_that_does_not_divide_the_channels_becomes_one_that_does():
    """Of 32 groups and 6 channels 2 are left."""
    np.testing.assert_array_equal(built(32)(X), built(2)(X))
