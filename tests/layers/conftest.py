"""What the tests of several norms measure against."""

import keras
import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture(autouse=True)
def _same_initial_weights():
    """Whatever ran before: some draws cancel out in a sum, and rounding is then large beside it."""
    keras.utils.set_random_seed(0)


def _mixed(x, rho, gamma, beta, flavor="tf1", epsilon=1e-5):
    """`gamma * (rho * IN(x) + (1 - rho) * LN(x)) + beta` term by term in double precision; gamma, beta: [C] or [N, C].

    Written in TensorFlow's float64 and not in numpy, so that a tape gives the expected gradients too.
    """

    def normalized(axes):
        count = float(np.prod([x.shape[axis] for axis in axes]))
        centred = x - tf.reduce_mean(x, axes, keepdims=True)
        variance = tf.reduce_sum(centred**2, axes, keepdims=True) / (count if flavor == "tf1" else count - 1)
        return centred / tf.sqrt(variance + epsilon)

    x, rho, gamma, beta = (tf.cast(value, tf.float64) for value in (x, rho, gamma, beta))
    if gamma.shape.rank == 2:
        gamma, beta = gamma[:, None, None], beta[:, None, None]
    return gamma * (rho * normalized((1, 2)) + (1 - rho) * normalized((1, 2, 3))) + beta


@pytest.fixture(scope="session")
def mixed():
    return _mixed


@pytest.fixture(scope="session")
def skewed_map():
    """[2, 5, 4, 3] with means far from 0 and unequal spreads, so that a wrong axis or a lost mean shows."""
    values = np.random.default_rng(0).normal(size=(2, 5, 4, 3))
    return tf.constant(values * [1, 2, 3] + [4, -2, 1], tf.float32)


@pytest.fixture(scope="session")
def value_and_gradients():
    """A function's value, and the gradients of its sum (times fixed weights, or a norm's would vanish)."""

    def measure(function, *inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            y = function(*inputs)
            weights = np.random.default_rng(1).normal(size=y.shape)
            loss = tf.reduce_sum(y * tf.cast(weights, y.dtype))
        return y, *tape.gradient(loss, inputs)

    return measure
