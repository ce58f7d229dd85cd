"""What every layer must do alike: configuration, symbolic and traced calls, half precision, a gradient everywhere."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from ugatit_tf.layers import (
    CAM,
    LIN,
    AdaIN,
    AdaLIN,
    GroupNorm,
    InstanceNorm,
    ReflectPad2D,
    SpectralNormConv2D,
    SpectralNormDense,
    UpsampleConv2D,
)

MAP, VECTOR = (None, None, None, 3), (None, 3)
# No argument has its default here, so that one which get_config forgets comes back different.
CASES = {
    "ada_lin": (
        AdaLIN,
        {"flavor": "pytorch", "smoothing": True, "relu": True, "by_rows": True, "epsilon": 1e-3},
        [MAP, VECTOR, VECTOR],
    ),
    "ada_in": (
        AdaIN,
        {"flavor": "pytorch", "relu": True, "by_rows": True, "epsilon": 1e-3},
        [MAP, VECTOR, VECTOR],
    ),
    "group_norm": (GroupNorm, {"groups": 1, "relu": True, "by_rows": True, "epsilon": 1e-3}, [MAP]),
    "lin": (LIN, {"flavor": "pytorch", "relu": True, "by_rows": True, "epsilon": 1e-3}, [MAP]),
    "instance_norm": (InstanceNorm, {"flavor": "pytorch", "relu": True, "by_rows": True, "epsilon": 1e-3}, [MAP]),
    "instance_norm_tf1": (InstanceNorm, {"flavor": "tf1", "relu": True, "by_rows": True, "epsilon": 1e-3}, [MAP]),
    "cam": (CAM, {"flavor": "pytorch", "spectral_norm": True, "activation": "linear"}, [MAP]),
    "cam_tf1": (CAM, {"flavor": "tf1", "spectral_norm": False, "activation": "linear"}, [MAP]),
    "conv": (SpectralNormConv2D, {"filters": 4, "kernel_size": 3, "strides": 2, "use_bias": False}, [MAP]),
    "dense": (SpectralNormDense, {"units": 4, "use_bias": False}, [VECTOR]),
    "pad": (ReflectPad2D, {"before": 1, "after": 2, "repeat_edge": True, "as_slices": True}, [MAP]),
    "upsample": (UpsampleConv2D, {"filters": 4, "use_bias": False}, [MAP]),
}
every_layer = pytest.mark.parametrize(("layer_class", "values", "shapes"), CASES.values(), ids=CASES)


def inputs(shapes, size=(6, 8), dtype="float32", scale=1.0):
    rng = np.random.default_rng(0)
    full = [(2, *size, 3) if shape == MAP else (2, 3) for shape in shapes]
    values = [tf.constant(rng.normal(size=shape), tf.float32) for shape in full]
    return [tf.cast(values[0] * scale, dtype), *values[1:]]


def arrays(outputs):
    return [np.asarray(tf.cast(y, tf.float32)) for y in tf.nest.flatten(outputs)]


@every_layer
def test_configuration(layer_class, values, shapes):
    layer = layer_class(**values, name="some_name", dtype="mixed_bfloat16")
    again = layer_class.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.name, again.dtype_policy.name) == ("some_name", "mixed_bfloat16")
    arguments = set(inspect.signature(layer_class.__init__).parameters) - {"self", "kwargs"}
    assert arguments == set(values), "an argument that this test does not set"
    for name, value in values.items():
        assert getattr(again, name) == (keras.activations.get(value) if name == "activation" else value)


@every_layer
def test_symbolic_call_and_unknown_sizes(layer_class, values, shapes):
    """A functional model of unknown sizes, and one trace of unknown shapes for two sizes, give the eager values."""
    layer = layer_class(**values)
    symbols = [keras.Input(shape[1:]) for shape in shapes]
    model = keras.Model(symbols, layer(*symbols))
    signature = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    traced = tf.function(lambda *args: layer(*args), input_signature=signature)
    for size in ((6, 8), (9, 5)):
        given = inputs(shapes, size)
        eager = arrays(layer(*given))
        for other in (model(given if len(given) > 1 else given[0]), traced(*given)):
            for got, expected in zip(arrays(other), eager, strict=True):
                np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)  # float32, another order of sums


@every_layer
def test_a_model_of_it_is_saved_and_loaded(tmp_path, layer_class, values, shapes):
    symbols = [keras.Input(shape[1:]) for shape in shapes]
    model = keras.Model(symbols, layer_class(**values, dtype="mixed_bfloat16")(*symbols))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[-1].get_config() == model.layers[-1].get_config()
    for got, expected in zip(arrays(loaded(inputs(shapes))), arrays(model(inputs(shapes))), strict=True):
        np.testing.assert_array_equal(got, expected)


@every_layer
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(layer_class, values, shapes, dtype):
    """Maps of the order of 1e3, whose squares leave float16: half out, near the float32 layer, float32 weights."""
    given = inputs(shapes, dtype=dtype, scale=1e3)
    layer, exact = layer_class(**values, dtype=f"mixed_{dtype}"), layer_class(**values)
    with tf.GradientTape() as tape:
        tape.watch(given)
        outputs = layer(*given)
        loss = tf.add_n([tf.reduce_mean(tf.cast(y, tf.float32)) for y in tf.nest.flatten(outputs)])
    expected = exact(tf.cast(given[0], tf.float32), *given[1:])
    if layer.variables:
        for mine, other in zip(exact.variables, layer.variables, strict=True):
            mine.assign(other)
        expected = exact(tf.cast(given[0], tf.float32), *given[1:])
    first = tf.nest.flatten(outputs)[0]
    assert first.dtype.name == ("float32" if layer_class is SpectralNormDense else dtype)
    for got, other in zip(arrays(outputs), arrays(expected), strict=True):
        assert np.isfinite(got).all()
        # a relative 2^-8 (bfloat16) of the largest value, in the map, the kernel and the result, and some cancellation
        np.testing.assert_allclose(got, other, atol=0.02 * np.abs(other).max())
    assert all(np.isfinite(array).all() for array in arrays(tape.gradient(loss, [*given, *layer.trainable_variables])))
    assert all(v.dtype == "float32" for v in layer.variables if v.name not in ("bias",))


@every_layer
def test_every_weight_has_a_gradient(layer_class, values, shapes, value_and_gradients):
    layer, given = layer_class(**values), inputs(shapes)
    layer(*given)
    weights = [v.value for v in layer.trainable_variables]
    _, *gradients = value_and_gradients(
        lambda *_: tf.concat([tf.reshape(y, [-1]) for y in tf.nest.flatten(layer(*given))], 0), *given, *weights
    )
    for gradient in gradients:
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["ada_lin", "ada_in", "lin", "group_norm", "instance_norm", "instance_norm_tf1"])
def test_norms_keep_statistics_in_float32(name, dtype, mixed):
    """A mean of 1000 with a spread of 4, which is one step of bfloat16 there: half sums would lose the spread."""
    layer_class, values, _ = CASES[name]
    x = tf.constant(1000 + 4 * np.random.default_rng(0).integers(-2, 3, (2, 16, 16, 3)), dtype)
    gamma, beta = tf.ones((2, 3)), tf.zeros((2, 3))
    layer = layer_class(**values, dtype=f"mixed_{dtype}")
    y = layer(x, gamma, beta) if layer_class in (AdaLIN, AdaIN) else layer(x)
    rho = {"ada_lin": 0.8, "lin": 0.0, "group_norm": 0.0}.get(name, 1.0)
    flavor = "pytorch" if name in ("ada_lin", "ada_in", "lin") else "tf1"
    expected = tf.nn.relu(mixed(tf.cast(x, tf.float32), rho, gamma, beta, flavor, epsilon=1e-3))
    # bfloat16 rounds the centred values and the results, which go up to 1.6, by 2^-8 of themselves
    np.testing.assert_allclose(tf.cast(y, tf.float64), expected, atol=2 * 1.6 * 2**-8)
