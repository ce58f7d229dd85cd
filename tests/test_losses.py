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


def test_gradient_penalty_of_no_gradient_is_finite():
    zero = tf.zeros((1, 2, 2, 3))
    with tf.GradientTape() as tape:
        tape.watch(zero)
        penalty = losses.gradient_penalty("wgan-gp", zero)
    assert float(penalty) == pytest.approx(1.0)
    assert np.isfinite(tape.gradient(penalty, zero)).all()
