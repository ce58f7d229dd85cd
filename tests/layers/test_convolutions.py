"""Padding, upsampling, spectral norm and CAM against their definitions, written out naively."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ugatit_tf.layers import CAM, ReflectPad2D, SpectralNormConv2D, SpectralNormDense, UpsampleConv2D

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


@pytest.mark.parametrize("pads", [(1, None), (3, None), (1, 2), (1, 0)])
def test_reflect_pad(pads):
    x = normal(2, 5, 4, 3)
    pad = (pads[0], pads[0] if pads[1] is None else pads[1])
    np.testing.assert_array_equal(ReflectPad2D(*pads)(x), np.pad(x, ((0, 0), pad, pad, (0, 0)), mode="reflect"))


def test_reflect_pad_of_a_small_map_says_what_would_do():
    with pytest.raises(ValueError, match=r"height of at least 4; received a map of shape \(1, 3, 8, 1\).*n_dis"):
        ReflectPad2D(3)(normal(1, 3, 8, 1))


@pytest.mark.parametrize("use_bias", [False, True])
def test_upsample_is_nearest_reflect_convolution(use_bias):
    x = tf.constant(normal(2, 4, 6, 3))
    layer = UpsampleConv2D(5, use_bias=use_bias)
    layer(x)
    if use_bias:
        layer.bias.assign(normal(5))

    def naive(x, kernel):
        enlarged = tf.repeat(tf.repeat(x, 2, axis=1), 2, axis=2)
        padded = tf.pad(enlarged, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="REFLECT")
        return tf.nn.conv2d(padded, kernel, 1, "VALID") + (layer.bias if use_bias else 0.0)

    weight = normal(2, 8, 12, 5)
    results = []
    for function in (lambda x: layer(x), lambda x: naive(x, layer.kernel.value)):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
            loss = tf.reduce_sum(y * weight)
        results.append((y, *tape.gradient(loss, [x, layer.kernel.value])))
    for ours, expected in zip(*results, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)  # sums of up to 216 products of order 1


def singular_value(layer):
    matrix = layer.kernel.numpy().reshape(-1, layer.kernel.shape[-1])
    return np.linalg.svd(matrix, compute_uv=False)[0]


def test_spectral_norm_of_ones():
    """The 2x2 matrix of ones has the singular value 2."""
    layer = SpectralNormDense(2, use_bias=False)
    layer.build((None, 2))
    layer.kernel.assign(np.ones((2, 2)))
    layer.reset(np.array([1.0, 0.5], "float32"))
    np.testing.assert_allclose(layer.normalized_kernel(update=True), np.full((2, 2), 0.5), rtol=1e-6)


def test_spectral_norm_converges_follows_and_keeps_the_kernel_raw():
    layer = SpectralNormConv2D(6, 4)
    x = normal(1, 8, 8, 3)
    layer(x)
    for _ in range(2):
        raw = layer.kernel.numpy()
        for _ in range(200):
            layer(x, update=True)
        np.testing.assert_array_equal(layer.kernel, raw)
        np.testing.assert_allclose(layer.normalized_kernel(), raw / singular_value(layer), rtol=1e-4)
        layer.kernel.assign(raw + 0.5 * normal(*raw.shape))  # and again, from the old vectors
    before = [v.numpy() for v in layer.variables]
    layer(x)
    for variable, value in zip(layer.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_gradient_flows_through_sigma_with_constant_vectors():
    """For W / sigma with sigma = v W u: dL/dW = G / sigma - <G, W> / sigma^2 * v u^T."""
    layer = SpectralNormDense(4, use_bias=False)
    layer.build((None, 5))
    upstream = normal(5, 4)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer.normalized_kernel(update=True) * upstream)
    gradient = tape.gradient(loss, layer.kernel.value)
    kernel, u, v = (x.numpy().astype("float64") for x in (layer.kernel, layer.u, layer.v))
    sigma = v @ kernel @ u
    expected = upstream / sigma - (upstream * kernel).sum() / sigma**2 * np.outer(v, u)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


def test_float16_convolution_is_finite_and_its_kernel_float32():
    layer = SpectralNormConv2D(4, 4, dtype="mixed_float16")
    y = layer(normal(1, 8, 8, 3), update=True)
    assert (y.dtype, layer.kernel.dtype) == (tf.float16, "float32")
    assert np.isfinite(y).all()


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
@pytest.mark.parametrize("spectral_norm", [False, True])
def test_cam_is_product_concatenation_convolution(flavor, spectral_norm):
    x = normal(2, 5, 4, 3)
    layer = CAM(flavor, spectral_norm=spectral_norm)
    layer(x)
    for variable in layer.trainable_variables:
        variable.assign(normal(*variable.shape))
    attended, logit, heatmap = layer(x)

    def dense(fc):
        raw = fc.kernel.numpy()
        used = fc.normalized_kernel().numpy() if spectral_norm else raw
        if flavor == "tf1":
            return used, fc.bias.numpy(), used[:, 0] + fc.bias.numpy()
        return used, 0.0, raw[:, 0]

    maps, logits = [], []
    for fc, pooled in ((layer.gap_fc, x.mean((1, 2))), (layer.gmp_fc, x.max((1, 2)))):
        kernel, bias, attention = dense(fc)
        logits.append(pooled @ kernel + bias)
        maps.append(x * attention)
    both = np.concatenate(maps, axis=-1)
    expected = np.maximum(both @ layer.kernel.numpy()[0, 0] + layer.bias.numpy(), 0)
    np.testing.assert_allclose(logit, np.concatenate(logits, axis=-1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(attended, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(heatmap, expected.sum(-1, keepdims=True), rtol=1e-4, atol=1e-4)
    assert (layer.gap_fc is layer.gmp_fc) == (flavor == "tf1")


@pytest.mark.parametrize(
    "layer",
    [ReflectPad2D(1, 2), UpsampleConv2D(4), SpectralNormConv2D(4, 2, 2), CAM("pytorch", True)],
)
def test_config_round_trip_and_symbolic_call(layer):
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    output = again(keras.Input((None, None, 3)))
    assert (output[0] if isinstance(output, tuple) else output).shape[0] is None
