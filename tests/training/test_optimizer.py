"""Adam against the formulas of both originals in double precision, and loss scaling."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ugatit_tf.layers.statistics import clip_rho
from ugatit_tf.models import Discriminator, Generator
from ugatit_tf.training.optimizer import Adam

RNG = np.random.default_rng(0)


def reference(flavor, weight, gradients, rates, l2):
    """The weights after each update of tf.train.AdamOptimizer or torch.optim.Adam (0.5, 0.999, epsilon 1e-8)."""
    m = v = np.zeros_like(weight)
    weights = []
    for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        gradient = gradient + l2 * weight
        m, v = 0.5 * m + 0.5 * gradient, 0.999 * v + 0.001 * gradient**2
        if flavor == "tf1":
            weight = weight - rate * np.sqrt(1 - 0.999**t) / (1 - 0.5**t) * m / (np.sqrt(v) + 1e-8)
        else:
            weight = weight - rate * (m / (1 - 0.5**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        weights.append(weight)
    return weights


def variables_of(start, names=("kernel",)):
    return [keras.Variable(np.asarray(start, "float32"), name=name) for name in names]


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_formula(flavor, l2):
    """Over steps of different rates; tf1's weight decay concerns kernels, pytorch's every weight."""
    start, gradients, rates = RNG.normal(size=6), RNG.normal(size=(5, 6)), [0.01, 0.01, 0.005, 0.02, 0.0]
    variables = variables_of(start, ("kernel", "bias", "rho"))
    optimizer = Adam(flavor, variables, l2=l2)
    apply = tf.function(lambda gradient, rate: optimizer.apply([gradient] * 3, rate))
    decays = [l2, *([l2, l2] if flavor == "pytorch" else [0.0, 0.0])]
    expected = zip(*(reference(flavor, start, gradients, rates, decay) for decay in decays), strict=True)
    for gradient, rate, weights in zip(gradients, rates, expected, strict=True):
        apply(tf.constant(gradient, tf.float32), tf.constant(rate, tf.float32))
        for variable, weight in zip(variables, weights, strict=True):
            # float32: weights of order 1 to 1e-7 a step; 1 - 0.999^t to 1e-4, of moves of 0.02
            np.testing.assert_allclose(variable, weight, atol=3e-6)


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
def test_the_place_of_epsilon(flavor):
    """Of a first gradient g the update is -g / (|g| + 1e-8) in pytorch; in tf1 epsilon weighs sqrt(1000) as much."""
    (variable,) = variables_of(np.zeros(3))
    gradient = np.array([1e-6, 1e-8, -1e-9])
    Adam(flavor, [variable]).apply([gradient.astype("float32")], 1.0)
    epsilon = 1e-8 * (1000**0.5 if flavor == "tf1" else 1)
    np.testing.assert_allclose(variable, -gradient / (np.abs(gradient) + epsilon), rtol=1e-4)  # 1 - 0.999 in float32


def test_values_of_pytorch():
    """What torch.optim.Adam of PyTorch 2.13 gave in double precision, weight_decay=0.1."""
    (variable,) = variables_of([1.0, -2.0, 0.5, 0.0], ("bias",))
    optimizer = Adam("pytorch", [variable], l2=0.1)
    updates = [
        ([0.3, -0.1, 1e-3, 1e-8], [0.99000000, -1.99000000, 0.49000000, -0.00500000]),
        ([-0.2, 0.4, 1e-3, -2e-8], [0.98773706, -1.99133166, 0.48003345, 0.00442537]),
        ([0.0, 0.1, -5.0, 3e-8], [0.98427620, -1.98938495, 0.48984950, 0.00157193]),
    ]
    for gradient, weights in updates:
        optimizer.apply([np.array(gradient, "float32")], 0.01)
        np.testing.assert_allclose(variable, weights, atol=2e-6)  # as above


def test_kernels_are_what_tf1_regularises():
    """Every weight with two axes or more (convolutions, CAM, MLP) has the name that weight decay goes by, no other."""
    for network in (Generator(ch=2, n_res=1, light=True), Discriminator(ch=2, levels=1)):
        for variable in network.trainable_variables:
            assert (variable.name == "kernel") == (len(variable.shape) > 1), variable.path


def test_constraints_hold_after_each_update():
    """A rho that would leave [0, 1] stays at its end; a variable without a constraint goes on."""
    rho, free = (keras.Variable([0.95, 0.5]) for _ in range(2))
    rho.constraint = clip_rho
    Adam("tf1", [rho, free]).apply([np.array([-1.0, 1.0], "float32")] * 2, 0.1)
    np.testing.assert_allclose(rho, [1.0, 0.4], rtol=1e-5)
    np.testing.assert_allclose(free, [1.05, 0.4], rtol=1e-5)


def test_state_is_all_there_is():
    """With its state and weights another optimizer goes on to the same weights, loss scale included."""
    mine, others = variables_of(np.ones(2)), variables_of(np.zeros(2))
    straight, other = (Adam("pytorch", v, l2=0.1, loss_scaling=True, initial_scale=4.0) for v in (mine, others))
    gradients = [np.array(g, "float32") for g in ([1, 2], [np.inf, 1], [3, -1])]
    for gradient in gradients[:2]:
        straight.apply([gradient], 0.1)
    others[0].assign(mine[0])
    for name, value in straight.state.items():
        other.state[name].assign(value)
    for optimizer in (straight, other):
        optimizer.apply([gradients[2]], 0.1)
    np.testing.assert_array_equal(mine[0], others[0])
    for name, value in straight.state.items():
        np.testing.assert_array_equal(value, other.state[name], err_msg=name)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_overflow_skips_the_step_and_halves_the_scale(bad):
    (variable,) = variables_of(np.ones(2))
    optimizer = Adam("tf1", [variable], loss_scaling=True, initial_scale=8.0)
    optimizer.finite_steps.assign(5)
    optimizer.apply([np.array([bad, 1.0], "float32")], 0.1)
    np.testing.assert_array_equal(variable, np.ones(2))
    assert all(not value.numpy().any() for name, value in optimizer.state.items() if name != "loss_scale")
    assert float(optimizer.scale) == 4.0
    assert float(optimizer.scaled(tf.constant(3.0))) == 12.0
    # A first Adam step moves by the learning rate whatever the gradient; the first moment shows that it was unscaled.
    optimizer.apply([np.array([4.0, 8.0], "float32")], 0.1)
    np.testing.assert_allclose(variable, [0.9, 0.9], rtol=1e-5)
    np.testing.assert_allclose(optimizer.moments[0][0], [0.5, 1.0], rtol=1e-6)
    assert float(optimizer.scale) == 4.0
    assert int(optimizer.finite_steps) == 1


def test_the_scale_doubles_after_2000_finite_steps():
    optimizer = Adam("tf1", variables_of(np.ones(2)), loss_scaling=True, initial_scale=8.0)
    optimizer.finite_steps.assign(1998)
    scales = []
    for _ in range(3):
        optimizer.apply([np.ones(2, "float32")], 0.1)
        scales.append((float(optimizer.scale), int(optimizer.finite_steps)))
    assert scales == [(8.0, 1999), (16.0, 0), (16.0, 1)]
