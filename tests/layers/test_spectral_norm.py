"""Spectral norm against the singular value decomposition, and its rule for gradients and updates."""

import numpy as np
import pytest
import tensorflow as tf

from ugatit_tf.layers import SpectralNormConv2D, SpectralNormDense

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def dense(kernel, u=None):
    layer = SpectralNormDense(kernel.shape[1], use_bias=False)
    layer.build((None, kernel.shape[0]))
    layer.kernel.assign(kernel)
    layer.reset(normal(kernel.shape[1]) if u is None else np.asarray(u, "float32"))
    return layer


def test_ones_by_hand():
    """The 2x2 matrix of ones maps every u to the direction (1, 1): sigma = 2 after one iteration."""
    layer = dense(np.ones((2, 2)), u=[1.0, 0.5])
    np.testing.assert_allclose(layer.normalized_kernel(update=True), np.full((2, 2), 0.5), rtol=1e-6)
    np.testing.assert_allclose([layer.u, layer.v], np.full((2, 2), 0.5**0.5), rtol=1e-6)


def test_one_iteration_at_each_call():
    """From u: v = W u / |W u|, u = v W / |v W|, sigma = v W u, in double precision; twice."""
    layer = dense(normal(5, 4))
    kernel, u = layer.kernel.numpy().astype("float64"), layer.u.numpy().astype("float64")
    x = normal(3, 5)
    for _ in range(2):
        v = kernel @ u / np.linalg.norm(kernel @ u)
        u = v @ kernel / np.linalg.norm(v @ kernel)
        y = layer(x, update=True)
        for got, expected in ((layer.v, v), (layer.u, u), (y, x @ kernel / (v @ kernel @ u))):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)  # float32 dot products of 5


def test_reset_normalizes_u_and_makes_v_from_it():
    layer = dense(np.array([[2.0, 0.0], [0.0, 1.0]]), u=[30.0, 40.0])
    np.testing.assert_allclose(layer.u, [0.6, 0.8], rtol=1e-6)
    np.testing.assert_allclose(layer.v, np.array([1.2, 0.8]) / 2.08**0.5, rtol=1e-6)


def test_converges_to_the_svd_and_again_after_a_change_and_keeps_the_kernel_raw():
    layer = SpectralNormConv2D(6, 4)
    layer.build((None, 8, 8, 3))
    for _ in range(2):
        raw = normal(4, 4, 3, 6)
        layer.kernel.assign(raw)  # the second time the vectors start from the first kernel's
        step = tf.function(lambda: layer.normalized_kernel(update=True))
        for _ in range(200):
            step()
        np.testing.assert_array_equal(layer.kernel, raw)
        sigma = np.linalg.svd(raw.reshape(48, 6), compute_uv=False)[0]
        # The error falls with (s2/s1)^2 an iteration, to float32 after 200
        np.testing.assert_allclose(layer.normalized_kernel(), raw / sigma, rtol=1e-5)


def test_without_update_nothing_changes():
    layer = SpectralNormConv2D(6, 4)
    x = normal(1, 8, 8, 3)
    layer(x, update=True)
    before = [v.numpy() for v in layer.variables]
    layer(x)
    for variable, value in zip(layer.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert [v.name for v in layer.non_trainable_variables] == ["u", "v"]


@pytest.mark.parametrize("update", [False, True])
def test_gradient_flows_through_sigma_with_constant_vectors(update):
    """For W / sigma with sigma = v W u: dL/dW = G / sigma - <G, W> / sigma^2 * v u^T."""
    layer, upstream = dense(normal(5, 4)), normal(5, 4)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer.normalized_kernel(update) * upstream)
    gradient = tape.gradient(loss, layer.kernel.value)
    kernel, u, v = (x.numpy().astype("float64") for x in (layer.kernel, layer.u, layer.v))
    sigma = v @ kernel @ u
    expected = upstream / sigma - (upstream * kernel).sum() / sigma**2 * np.outer(v, u)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)  # float32 sums of 20


@pytest.mark.parametrize(("kernel_size", "strides", "use_bias"), [(4, 2, True), (3, 1, False)])
def test_convolution_is_that_of_the_normalized_kernel(kernel_size, strides, use_bias):
    layer, x = SpectralNormConv2D(5, kernel_size, strides, use_bias), normal(2, 9, 8, 3)
    layer.build(x.shape)
    if use_bias:
        layer.bias.assign(normal(5))
    sigma = layer.v.numpy() @ layer.kernel.numpy().reshape(-1, 5) @ layer.u.numpy()
    expected = tf.nn.conv2d(x, layer.kernel / sigma, strides, "VALID") + (layer.bias.value if use_bias else 0.0)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)  # float32 sums of 48


def test_half_precision_keeps_kernel_and_sigma_in_float32():
    """A kernel of 4e4 everywhere: its sums of squares leave float16, the normalised kernel of 1/4 does not."""
    layer = SpectralNormConv2D(1, 4, dtype="mixed_float16")
    layer.build((None, 4, 4, 1))
    layer.kernel.assign(np.full((4, 4, 1, 1), 4e4))
    y = layer(tf.ones((1, 4, 4, 1)), update=True)
    assert {v.dtype for v in layer.variables} == {"float32"}
    assert y.dtype == tf.float16
    assert float(y[0, 0, 0, 0]) == 4.0  # 16 * 1/4


@pytest.mark.parametrize(("size", "strides", "product"), [(6, 1, True), (7, 2, True), (8, 1, False)])
def test_a_kernel_larger_than_its_map_is_applied_as_a_product(size, strides, product):
    """With 36 filters: maps of 3x3 and 2x2 positions by a matrix product, of 5x5 by a convolution; the same numbers."""
    layer = SpectralNormConv2D(36, 4, strides=strides)
    x = tf.random.stateless_normal((2, size, size, 3), [1, 2])
    layer(x)

    def expected(x):
        return tf.nn.conv2d(x, layer.kernel, strides, "VALID") / layer.sigma() + layer.bias

    results = []
    for function in (layer, expected):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(function(x) ** 2)
        results.append([loss, *tape.gradient(loss, [x, layer.kernel.value, layer.bias.value])])
    for actual, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-4)
    graph = tf.function(layer).get_concrete_function(tf.TensorSpec((None, size, size, 3))).graph
    assert any(op.type == "Conv2D" for op in graph.get_operations()) != product
