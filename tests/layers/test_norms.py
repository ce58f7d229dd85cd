"""AdaLIN, LIN and instance norm against the paper's formula, written out with numpy in double precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ugatit_tf.layers import LIN, AdaLIN, InstanceNorm

RNG = np.random.default_rng(0)
# Means far from 0 and unequal spreads, so that a wrong axis or a lost mean shows.
X = (RNG.normal(size=(2, 5, 4, 3)) * [1, 2, 3] + [4, -2, 1]).astype("float32")
GAMMA, BETA = RNG.normal(size=(2, 2, 3)).astype("float32")
# float32 statistics of 60 entries around 4: a few units in the last place of 4.
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def reference(x, rho, gamma, beta, flavor):
    """`gamma * (rho * IN(x) + (1 - rho) * LN(x)) + beta`; gamma and beta [N, C]."""
    x, ddof = x.astype("float64"), 0 if flavor == "tf1" else 1
    instance = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True, ddof=ddof) + 1e-5)
    layer = (x - x.mean((1, 2, 3), keepdims=True)) / np.sqrt(x.var((1, 2, 3), keepdims=True, ddof=ddof) + 1e-5)
    return gamma[:, None, None] * (rho * instance + (1 - rho) * layer) + beta[:, None, None]


def with_rho(layer, rho, *inputs):
    layer(*inputs)
    layer.rho.assign(rho)
    return layer


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
@pytest.mark.parametrize("smoothing", [False, True])
def test_ada_lin(flavor, smoothing):
    rho = np.array([0.05, 0.5, 1.0], "float32")
    layer = with_rho(AdaLIN(flavor, smoothing), rho, X, GAMMA, BETA)
    used = np.clip(rho - 0.1, 0, 1) if smoothing else rho
    np.testing.assert_allclose(layer(X, GAMMA, BETA), reference(X, used, GAMMA, BETA, flavor), **TOLERANCE)


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
def test_lin(flavor):
    rho = np.array([0.0, 0.3, 1.0], "float32")
    layer = with_rho(LIN(flavor), rho, X)
    layer.gamma.assign(GAMMA[0])
    layer.beta.assign(BETA[0])
    expected = reference(X, rho, np.tile(GAMMA[:1], (2, 1)), np.tile(BETA[:1], (2, 1)), flavor)
    np.testing.assert_allclose(layer(X), expected, **TOLERANCE)


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
def test_instance_norm(flavor):
    layer = InstanceNorm(flavor)
    layer(X)
    gamma, beta = np.ones((2, 3)), np.zeros((2, 3))
    if flavor == "tf1":
        gamma, beta = np.tile(GAMMA[:1], (2, 1)), np.tile(BETA[:1], (2, 1))
        layer.gamma.assign(gamma[0])
        layer.beta.assign(beta[0])
    # Both originals divide the variance of instance norm by n.
    np.testing.assert_allclose(layer(X), reference(X, 1.0, gamma, beta, "tf1"), **TOLERANCE)
    assert len(layer.weights) == (2 if flavor == "tf1" else 0)


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
def test_gradients_against_differences(flavor):
    """Central differences of the double-precision reference, for every input and parameter of AdaLIN."""
    rho = np.array([0.2, 0.5, 0.9], "float32")
    layer = with_rho(AdaLIN(flavor), rho, X, GAMMA, BETA)
    weight = RNG.normal(size=X.shape)
    inputs = [tf.constant(value) for value in (X, GAMMA, BETA)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = tf.reduce_sum(layer(*inputs) * tf.cast(weight, tf.float32))
    gradients = tape.gradient(loss, [*inputs, layer.rho.value])

    values = [X.astype("float64"), GAMMA.astype("float64"), BETA.astype("float64"), rho.astype("float64")]

    def value(arguments):
        x, gamma, beta, r = arguments
        return (reference(x, r, gamma, beta, flavor) * weight).sum()

    for number, gradient in enumerate(gradients):
        for index in list(np.ndindex(values[number].shape))[::7]:
            up, down = ([v.copy() for v in values] for _ in range(2))
            up[number][index] += 1e-5
            down[number][index] -= 1e-5
            expected = (value(up) - value(down)) / 2e-5
            assert gradient.numpy()[index] == pytest.approx(expected, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_keeps_statistics_in_float32(policy):
    """Squares of 2000 leave float16, and a mean of 2000 with a spread of 8 is lost in sums of half precision."""
    x = 2000 + 8 * RNG.integers(-1, 2, size=(1, 16, 16, 2)).astype("float32")
    layer = InstanceNorm("pytorch", dtype=policy)
    y = layer(tf.cast(x, policy.removeprefix("mixed_")))
    assert y.dtype.name == policy.removeprefix("mixed_")
    exact = x if policy == "mixed_float16" else np.asarray(tf.cast(tf.cast(x, tf.bfloat16), tf.float32))
    expected = reference(exact, 1.0, np.ones((1, 2)), np.zeros((1, 2)), "tf1")
    np.testing.assert_allclose(np.asarray(tf.cast(y, tf.float32)), expected, atol=0.02)


def test_rho_is_kept_in_range_by_the_optimizer():
    layer = with_rho(LIN(), [0.01, 0.99, 0.5], X)
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.apply([np.array([1.0, -1.0, 0.1], "float32")], [layer.rho])
    np.testing.assert_allclose(layer.rho, [0, 1, 0.4], atol=1e-6)


@pytest.mark.parametrize("layer", [InstanceNorm("pytorch"), LIN("pytorch"), AdaLIN("pytorch", True)])
def test_config_round_trip_and_symbolic_call(layer):
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    more = [keras.Input((3,)), keras.Input((3,))] if isinstance(layer, AdaLIN) else []
    assert again(keras.Input((None, None, 3)), *more).shape == (None, None, None, 3)
