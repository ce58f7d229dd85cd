"""CAM against its definition: pool, classify, weight the map twice, concatenate, convolve 1x1, activate, sum."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from ugatit_tf.layers import CAM

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def with_random_weights(*args, channels=3, **kwargs):
    layer = CAM(*args, **kwargs)
    layer.build((None, None, None, channels))
    for variable in layer.trainable_variables:
        variable.assign(normal(*variable.shape))
    return layer


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_definition(flavor, spectral_norm, activation):
    layer, x = with_random_weights(flavor, spectral_norm, activation), normal(2, 5, 4, 3)
    maps, logits = [], []
    for fc, pooled in ((layer.gap_fc, x.mean((1, 2))), (layer.gmp_fc, x.max((1, 2)))):
        raw = fc.kernel.numpy()
        used = raw / (fc.v.numpy() @ raw @ fc.u.numpy()) if spectral_norm else raw
        if flavor == "tf1":
            logits.append(pooled @ used + fc.bias.numpy())
            maps.append(x * (used[:, 0] + fc.bias.numpy()))
        else:  # without bias, and the attention is the raw weights'
            logits.append(pooled @ used)
            maps.append(x * raw[:, 0])
    expected = np.concatenate(maps, axis=-1) @ layer.kernel.numpy()[0, 0] + layer.bias.numpy()
    if activation == "relu":
        expected = np.maximum(expected, 0)

    attended, logit, heatmap = layer(x)
    # float32 sums of 6 to 18 products of order 1 to 10
    np.testing.assert_allclose(logit, np.concatenate(logits, axis=-1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(attended, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(heatmap, expected.sum(-1, keepdims=True), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
def test_gradients(flavor, value_and_gradients):
    """The products are never made: the gradients at map and weights must be those of the products all the same."""
    layer, x = with_random_weights(flavor, activation="linear"), tf.constant(normal(2, 5, 4, 3))

    def naive(x, *weights):
        *fcs, kernel, bias = weights
        if flavor == "tf1":
            fcs = [fcs[0] + fcs[1]] * 2
        both = tf.concat([x * fc[:, 0] for fc in fcs], axis=-1)
        return tf.nn.conv2d(both, kernel, 1, "VALID") + bias

    weights = [*layer.gap_fc.weights, *([] if flavor == "tf1" else layer.gmp_fc.weights), layer.kernel, layer.bias]
    got = value_and_gradients(lambda x, *_: layer(x)[0], x, *(v.value for v in weights))
    expected = value_and_gradients(naive, x, *(tf.constant(v) for v in weights))
    for ours, exact in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours, exact, rtol=1e-4, atol=1e-4)  # as above, sums over 40 pixels


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
def test_one_power_iteration_a_call(flavor):
    """tf1's one dense layer serves two poolings and is still iterated once, as TF1's reuse of the variables has it."""
    layer = with_random_weights(flavor, spectral_norm=True, channels=4)
    calls = []
    for fc in (layer.gap_fc, layer.gmp_fc):
        rule = functools.partial(type(fc).normalized_kernel, fc)
        fc.normalized_kernel = lambda update, n=fc.name, rule=rule: calls.append((n, bool(update))) or rule(update)
        fc.v.assign(np.zeros(4))  # with one output, one iteration from anywhere gives W / |W|
    layer(normal(1, 3, 3, 4), update=True)
    assert calls == [("gap_fc", True), ("gap_fc", False) if flavor == "tf1" else ("gmp_fc", True)]
    for fc in (layer.gap_fc, layer.gmp_fc):
        np.testing.assert_allclose(fc.v * fc.u, fc.kernel[:, 0] / np.linalg.norm(fc.kernel), rtol=1e-6)
    assert (layer.gap_fc is layer.gmp_fc) == (flavor == "tf1")


def test_logits_and_heatmap_of_a_half_precision_map_are_float32():
    """A map of 2048 + {0, 2}: its mean 2049 is no float16 (they are even there), its sum over 64 channels overflows."""
    channels = 64
    x = tf.constant(2048 + 2 * (np.arange(4) % 2).reshape(1, 2, 2, 1) * np.ones(channels), tf.float16)
    layer = with_random_weights("tf1", channels=channels, dtype="mixed_float16")
    for variable, value in ((layer.gap_fc.kernel, 1 / channels), (layer.gap_fc.bias, 0), (layer.bias, 0)):
        variable.assign(np.full(variable.shape, value))
    layer.kernel.assign(np.concatenate([np.eye(channels) * channels, np.zeros((channels, channels))])[None, None])
    attended, logit, heatmap = layer(x)
    assert (attended.dtype, logit.dtype, heatmap.dtype) == (tf.float16, tf.float32, tf.float32)
    np.testing.assert_allclose(logit, [[2049, 2050]], rtol=1e-6)
    np.testing.assert_array_equal(attended, x)
    np.testing.assert_array_equal(heatmap, tf.reduce_sum(tf.cast(x, tf.float32), -1, keepdims=True))


def test_a_function_as_activation_survives_the_configuration():
    layer = CAM(activation=keras.activations.leaky_relu)
    assert CAM.from_config(layer.get_config()).activation is keras.activations.leaky_relu
