"""Losses against their closed forms in numpy."""

import numpy as np
import pytest
import tensorflow as tf

from ugatit_tf import losses

RNG = np.random.default_rng(0)
REAL, FAKE = RNG.normal(size=(2, 2, 4, 4, 1)).astype("float32") * 2


def bce(x, label):
    p = 1 / (1 + np.exp(-x.astype("float64")))
    return -np.mean(label * np.log(p) + (1 - label) * np.log(1 - p))


EXPECTED_D = {
    "lsgan": np.mean((REAL - 1) ** 2) + np.mean(FAKE**2),
    "gan": bce(REAL, 1) + bce(FAKE, 0),
    "dragan": bce(REAL, 1) + bce(FAKE, 0),
    "hinge": np.mean(np.maximum(0, 1 - REAL)) + np.mean(np.maximum(0, 1 + FAKE)),
    "wgan-gp": np.mean(FAKE) - np.mean(REAL),
    "wgan-lp": np.mean(FAKE) - np.mean(REAL),
}
EXPECTED_G = {
    "lsgan": np.mean((FAKE - 1) ** 2),
    "gan": bce(FAKE, 1),
    "dragan": bce(FAKE, 1),
    "hinge": -np.mean(FAKE),
    "wgan-gp": -np.mean(FAKE),
    "wgan-lp": -np.mean(FAKE),
}


@pytest.mark.parametrize("gan_type", EXPECTED_D)
def test_adversarial_losses(gan_type):
    assert float(losses.discriminator_loss(gan_type, REAL, FAKE)) == pytest.approx(EXPECTED_D[gan_type], rel=1e-5)
    assert float(losses.generator_loss(gan_type, FAKE)) == pytest.approx(EXPECTED_G[gan_type], rel=1e-5)


@pytest.mark.parametrize("gan_type", EXPECTED_D)
def test_extreme_logits_stay_finite(gan_type):
    extreme = tf.constant([[1e3, -1e3]])
    with tf.GradientTape() as tape:
        tape.watch(extreme)
        loss = losses.discriminator_loss(gan_type, extreme, extreme) + losses.generator_loss(gan_type, extreme)
    assert np.isfinite(loss)
    assert np.isfinite(tape.gradient(loss, extreme)).all()


def test_extreme_logits_by_hand():
    """Sigmoid cross-entropy of a logit x is 0 where it is right and |x| where it is wrong, far from 0."""
    right, wrong = tf.constant([[1e3, -1e3]]), tf.constant([[-1e3, 1e3]])
    assert float(losses.discriminator_loss("gan", right[:, :1], right[:, 1:])) == 0.0
    assert float(losses.discriminator_loss("gan", wrong[:, :1], wrong[:, 1:])) == 2e3
    assert float(losses.generator_loss("gan", right)) == 500.0
    assert float(losses.cam_loss(wrong[:, :1], wrong[:, 1:])) == 2e3


@pytest.mark.parametrize("gan_type", EXPECTED_D)
def test_a_loss_is_one_float32(gan_type):
    for loss in (losses.discriminator_loss(gan_type, REAL, FAKE), losses.generator_loss(gan_type, FAKE)):
        assert (loss.shape, loss.dtype) == ((), tf.float32)


def test_cam_and_l1_losses():
    a, b = REAL[:, 0, :2, 0], FAKE[:, 0, :2, 0]
    assert float(losses.cam_loss(a, b)) == pytest.approx(bce(a, 1) + bce(b, 0), rel=1e-5)
    assert float(losses.l1(REAL, FAKE)) == pytest.approx(np.mean(np.abs(REAL - FAKE)), rel=1e-6)
    assert float(losses.l2([tf.constant([1.0, 2.0]), tf.constant([[3.0]])])) == 7.0


def test_gradient_penalty():
    """Norms 0.5 and 2: (0.5^2 + 1^2) / 2 two-sided, and (0 + 1^2) / 2 where only an excess counts."""
    gradients = np.zeros((2, 2, 2, 3), "float32")
    gradients[0, 0, 0, 0], gradients[1, :, :, 1] = 0.5, 1.0
    assert float(losses.gradient_penalty("wgan-gp", gradients)) == pytest.approx(0.625)
    assert float(losses.gradient_penalty("dragan", gradients)) == pytest.approx(0.625)
    assert float(losses.gradient_penalty("wgan-lp", gradients)) == pytest.approx(0.5)


@pytest.mark.parametrize(("gan_type", "value"), [("wgan-gp", 1.0), ("wgan-lp", 0.0), ("dragan", 1.0)])
def test_gradient_penalty_of_no_gradient_is_finite(gan_type, value):
    zero = tf.zeros((1, 2, 2, 3))
    with tf.GradientTape() as tape:
        tape.watch(zero)
        penalty = losses.gradient_penalty(gan_type, zero)
    assert float(penalty) == pytest.approx(value)
    np.testing.assert_array_equal(tape.gradient(penalty, zero), zero)


@pytest.mark.parametrize("norm", [0.5, 2.0])
def test_slope_of_the_gradient_penalty(norm):
    """d (|g| - 1)^2 / dg = 2 (|g| - 1) g / |g|, and 0 below 1 in wgan-lp."""
    gradients = tf.constant(np.full((1, 1, 1, 4), norm / 2), tf.float32)
    for gan_type in ("wgan-gp", "wgan-lp", "dragan"):
        with tf.GradientTape() as tape:
            tape.watch(gradients)
            penalty = losses.gradient_penalty(gan_type, gradients)
        slope = 0.0 if gan_type == "wgan-lp" and norm < 1 else 2 * (norm - 1) * 0.5
        np.testing.assert_allclose(tape.gradient(penalty, gradients), np.full((1, 1, 1, 4), slope), rtol=1e-6)
