"""Adam against both originals' formulas in double precision, and the learning rate against its closed forms."""

import keras
import numpy as np
import pytest

from ugatit_tf.config import TrainConfig
from ugatit_tf.training.optimizer import Adam
from ugatit_tf.training.schedule import learning_rate

RNG = np.random.default_rng(0)


def reference(flavor, weight, gradients, lr, l2):
    """tf.train.AdamOptimizer's and torch.optim.Adam's update, beta 0.5 and 0.999, epsilon 1e-8."""
    m = v = np.zeros_like(weight)
    for t, gradient in enumerate(gradients, start=1):
        gradient = gradient + l2 * weight
        m, v = 0.5 * m + 0.5 * gradient, 0.999 * v + 0.001 * gradient**2
        if flavor == "tf1":
            weight = weight - lr * np.sqrt(1 - 0.999**t) / (1 - 0.5**t) * m / (np.sqrt(v) + 1e-8)
        else:
            weight = weight - lr * (m / (1 - 0.5**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return weight


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
def test_adam(flavor):
    """Gradients down to 1e-9, where the place of epsilon decides; decay on kernels only in tf1, on all in pytorch."""
    start = RNG.normal(size=6)
    gradients = RNG.normal(size=(5, 6)) * 10.0 ** -np.arange(4, 10)
    variables = [keras.Variable(start.astype("float32"), name=name) for name in ("kernel", "bias")]
    optimizer = Adam(flavor, l2=1e-9, learning_rate=0.01)
    optimizer.build(variables)
    for gradient in gradients.astype("float32"):
        optimizer.apply([gradient, gradient])
    for variable, l2 in zip(variables, (1e-9, 1e-9 if flavor == "pytorch" else 0.0), strict=True):
        moved = reference(flavor, start, gradients, 0.01, l2) - start
        np.testing.assert_allclose(variable.numpy() - start, moved, rtol=2e-3, atol=3e-7)


def test_the_two_places_of_epsilon_differ():
    gradients = np.full((1, 1), 1e-9)
    moves = [reference(flavor, np.zeros(1), gradients, 0.01, 0.0)[0] for flavor in ("tf1", "pytorch")]
    assert abs(moves[0] / moves[1]) < 0.5


def test_overflow_skips_the_step_and_halves_the_scale():
    variable = keras.Variable(np.ones(2, "float32"), name="kernel")
    optimizer = keras.optimizers.LossScaleOptimizer(Adam("tf1", learning_rate=0.1), initial_scale=8.0)
    optimizer.build([variable])
    optimizer.apply([np.array([np.inf, 1.0], "float32")])
    np.testing.assert_array_equal(variable, np.ones(2))
    assert float(optimizer.dynamic_scale) == 4.0
    optimizer.apply([np.array([4.0, 4.0], "float32")])
    np.testing.assert_allclose(variable, np.full(2, 0.9), rtol=1e-5)


def rates(flavor, **values):
    config = TrainConfig(**{"epoch": 4, "iteration": 3, "lr": 1.0, **values})
    return [learning_rate(step, config, flavor) for step in range(config.total_steps)]


def test_learning_rate():
    assert rates("tf1") == [1.0] * 6 + [1.0] * 3 + [0.5] * 3  # by epoch: (4 - 2) / 2, (4 - 3) / 2
    assert rates("pytorch") == pytest.approx([1.0] * 6 + [5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0.0])
    assert rates("tf1", decay_epoch=4) == rates("pytorch", decay_flag=False) == [1.0] * 12
    assert rates("tf1", epoch=100, iteration=1)[-1] == pytest.approx(1 / 50)
