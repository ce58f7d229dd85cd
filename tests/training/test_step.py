"""The training step: every adversarial loss and precision, the order of the updates, n_critic, and the averages."""

import numpy as np
import pytest
import tensorflow as tf
from networks import draw_all, images

import ugatit_tf
from ugatit_tf.config import GAN_TYPES, PENALTY_TYPES

TINY = {"light": True, "ch": 2, "n_res": 1, "n_dis": 4, "img_size": 24}


def make(flavor="tf1", **train):
    model = ugatit_tf.UGATIT(ugatit_tf.ModelConfig(flavor=flavor, **TINY), seed=1)
    return ugatit_tf.Trainer(model, ugatit_tf.TrainConfig(**{"lr": 1e-3, "decay_flag": False, **train}))


def batch(n=1, seed=0):
    """Smooth images, whose colours a narrow network can learn in a few steps."""
    rng = np.random.default_rng(seed)
    wave = np.sin(np.linspace(0, 3, 24))[None, :, None, None] * np.ones((n, 24, 24, 3))
    return [(0.3 * wave + rng.uniform(-0.6, 0.6, (n, 1, 1, 3))).astype("float32") for _ in range(2)]


def floats(terms):
    return {name: float(value) for name, value in terms.items()}


@pytest.mark.parametrize(
    ("gan_type", "precision", "flavor"),
    [
        *((gan_type, "float32", "tf1") for gan_type in GAN_TYPES),
        ("lsgan", "bfloat16", "tf1"),
        ("lsgan", "float16", "pytorch"),
        ("wgan-gp", "bfloat16", "pytorch"),
    ],
)
def test_learns_on_one_batch(gan_type, precision, flavor):
    """On one fixed batch the reconstruction must improve and the sums must be those of the terms."""
    trainer = make(flavor, gan_type=gan_type, precision=precision, cam_weight=1.0)
    a, b = batch(2)
    first = floats(trainer.step(a, b))
    for _ in range(14):
        last = floats(trainer.step(a, b))
    assert all(np.isfinite(value) for value in last.values())
    assert last["g_identity_a"] + last["g_identity_b"] < 0.95 * (first["g_identity_a"] + first["g_identity_b"])
    for domain in "ab":
        adversarial = sum(value for name, value in last.items() if name.startswith("g_adv") and name[-1] == domain)
        total = (
            adversarial + 10 * last[f"g_cycle_{domain}"] + 10 * last[f"g_identity_{domain}"] + last[f"g_cam_{domain}"]
        )
        assert last[f"g_{domain}"] == pytest.approx(total, rel=1e-5)
        players = [name for name in last if name.startswith(("d_adv", "d_gp")) and name[-1] == domain]
        assert last[f"d_{domain}"] == pytest.approx(sum(last[name] for name in players), rel=1e-4, abs=1e-5)
    with_penalty = gan_type in ("wgan-gp", "wgan-lp", "dragan")
    assert ("d_gp_a" in last, "d_gp_cam_b" in last) == (with_penalty, with_penalty)
    assert ("d_reg" in last) == (flavor == "tf1")
    if precision == "float16":
        assert float(trainer.optimizer_g.dynamic_scale) > 0


def test_generators_see_the_updated_discriminators():
    """G's adversarial terms are those of the discriminators after their update, on the images from before it."""
    trainer = make()
    a, b = batch()
    model = trainer.model
    fake = model.gen_a2b(a, training=False)[0]
    before = model.dis_global_b(fake, training=False)[0].numpy()
    terms = floats(trainer.step(a, b))
    after = model.dis_global_b(fake, training=False)[0].numpy()
    assert terms["g_adv_global_b"] == pytest.approx(np.mean((after - 1) ** 2), rel=1e-4)
    assert abs(terms["g_adv_global_b"] - np.mean((before - 1) ** 2)) > 1e-3 * terms["g_adv_global_b"]


def test_n_critic_updates_generators_at_the_first_step_and_every_nth():
    trainer = make(n_critic=2)
    a, b = batch()
    changed = []
    for _ in range(4):
        before = {name: array for name, array in trainer.model.arrays().items() if name.endswith("kernel")}
        terms = trainer.step(a, b)
        after = trainer.model.arrays()
        moved = {name.split("_")[0] for name, array in before.items() if not np.array_equal(array, after[name])}
        changed.append(moved)
        assert ("g_loss" in terms) == ("gen" in moved)
    assert changed == [{"gen", "dis"}, {"dis"}, {"gen", "dis"}, {"dis"}]


def test_one_power_iteration_per_step():
    """u moves once a step: by the D update's iteration, not by the G update's calls."""
    trainer = make(gan_type="wgan-gp")
    layer = trainer.model.dis_local_a.convs[0]
    matrix, u = layer.kernel.numpy().reshape(-1, 2), layer.u.numpy()
    trainer.step(*batch())
    v = matrix @ u
    expected = (v / np.linalg.norm(v)) @ matrix
    np.testing.assert_allclose(layer.u.numpy(), expected / np.linalg.norm(expected), rtol=1e-5)


def test_average_follows_its_formula():
    trainer = make(ema=0.9)
    average = trainer.averages["gen_a2b"].out_conv.kernel
    expected = average.numpy()
    for seed in range(3):
        trainer.step(*batch(seed=seed))
        expected = 0.9 * expected + 0.1 * trainer.model.gen_a2b.out_conv.kernel.numpy()
    np.testing.assert_allclose(average.numpy(), expected, rtol=1e-5, atol=1e-7)


def test_rho_stays_in_range():
    """With a large learning rate rho would leave [0, 1] at once."""
    trainer = make(lr=0.5)
    for seed in range(2):
        trainer.step(*batch(seed=seed))
    rhos = [v.numpy() for g in trainer.model.generators.values() for v in g.trainable_variables if v.name == "rho"]
    assert len(rhos) == 8
    assert all((rho >= 0).all() and (rho <= 1).all() for rho in rhos)
    assert any((rho == 0).any() or (rho == 1).any() for rho in rhos)


def still(gan_type):
    """A trainer whose weights stand still (its learning rate is 0 but for a hair): its networks can be asked later.

    Its discriminators' slopes lie on both sides of 1, where the penalties differ.
    """
    model = ugatit_tf.UGATIT(ugatit_tf.ModelConfig(**TINY, sn=False))
    for network in model.discriminators.values():
        for variable in draw_all(network).variables:
            variable.assign(1.5 * variable)
    return ugatit_tf.Trainer(model, ugatit_tf.TrainConfig(gan_type=gan_type, seed=3, lr=1e-30, weight_decay=0.0))


def softplus(x):
    return np.log1p(np.exp(x))


D_LOSSES = {
    "lsgan": lambda real, fake: np.mean((real - 1) ** 2) + np.mean(fake**2),
    "gan": lambda real, fake: np.mean(softplus(-real)) + np.mean(softplus(fake)),
    "hinge": lambda real, fake: np.mean(np.maximum(0, 1 - real)) + np.mean(np.maximum(0, 1 + fake)),
    "wgan-gp": lambda real, fake: np.mean(fake) - np.mean(real),
}
G_LOSSES = {
    "lsgan": lambda fake: np.mean((fake - 1) ** 2),
    "gan": lambda fake: np.mean(softplus(-fake)),
    "hinge": lambda fake: -np.mean(fake),
    "wgan-gp": lambda fake: -np.mean(fake),
}
SAME_LOSS = {"wgan-lp": "wgan-gp", "dragan": "gan"}


@pytest.mark.parametrize("gan_type", GAN_TYPES)
def test_adversarial_terms_are_those_of_the_gan_type(gan_type):
    trainer = still(gan_type)
    a, b = images(2, 24, 24), images(3, 24, 24)[1:]
    fake = trainer.model.gen_b2a(b, training=False)[0]
    terms = floats(trainer.step(a, b))
    kind = SAME_LOSS.get(gan_type, gan_type)
    for depth in ("global", "local"):
        network = trainer.model.networks[f"dis_{depth}_a"]
        outputs = zip(("", "_cam"), network(a, training=False), network(fake, training=False), strict=False)
        for suffix, on_real, on_fake in outputs:
            on_real, on_fake = on_real.numpy().astype(float), on_fake.numpy().astype(float)
            expected = D_LOSSES[kind](on_real, on_fake), G_LOSSES[kind](on_fake)
            actual = terms[f"d_adv_{depth}{suffix}_a"], terms[f"g_adv_{depth}{suffix}_a"]
            assert actual == pytest.approx(expected, rel=1e-4), (depth, suffix)


@pytest.mark.parametrize("gan_type", PENALTY_TYPES)
def test_penalty_is_that_of_the_gradient_between(gan_type):
    """TF1's `gradient_panalty`, in numpy but for D's own gradient."""
    trainer = still(gan_type)
    a, b = images(3, 24, 24), images(4, 24, 24)[1:]
    other = trainer.model.gen_b2a(b, training=False)[0].numpy()
    terms = floats(trainer.step(a, b))
    if gan_type == "dragan":
        other = a + 0.5 * a.std() * tf.random.stateless_uniform(a.shape, [3, 1]).numpy()
    alpha = tf.random.stateless_uniform([3, 1, 1, 1], [3, 0]).numpy()
    between = tf.constant(alpha * other + (1 - alpha) * a)
    expected = [0.0, 0.0]
    for network in (trainer.model.dis_global_a, trainer.model.dis_local_a):
        for i in range(2):
            with tf.GradientTape() as tape:
                tape.watch(between)
                logits = network(between, training=False)[i]
            slope = np.sqrt((tape.gradient(logits, between).numpy().reshape(3, -1) ** 2).sum(axis=1))
            excess = np.maximum(slope - 1, 0) if gan_type == "wgan-lp" else slope - 1
            expected[i] += 10 * np.mean(excess**2)
    assert [terms["d_gp_a"], terms["d_gp_cam_a"]] == pytest.approx(expected, rel=1e-4)
    assert min(expected) > 0.1


@pytest.mark.parametrize(("precision", "rounding"), [("bfloat16", 2**-8), ("float16", 2**-11)])
def test_mixed_precision_rounds_maps_and_nothing_else(precision, rounding):
    """Losses and gradients are float32's up to the rounding of maps, and not equal to them, for maps are rounded.

    The gradients are read from Adam's first moments after one step; float16's loss scale must be gone there.
    """
    a, b = images(1, 24, 24), images(2, 24, 24)[1:]
    losses, gradients = [], []
    for name in ("float32", precision):
        trainer = make("pytorch", precision=name, cam_weight=1.0, weight_decay=0.0)
        if name == "float16":  # the initial scale overflows, and the first steps would be skipped
            trainer.optimizer_d.dynamic_scale.assign(64.0)
            trainer.optimizer_g.dynamic_scale.assign(64.0)
        losses.append(np.array(list(floats(trainer.step(a, b)).values())))
        adams = [getattr(o, "inner_optimizer", o) for o in (trainer.optimizer_d, trainer.optimizer_g)]
        gradients.append([np.concatenate([np.ravel(m) for m in adam._momentums]) for adam in adams])
    error = np.max(np.abs(losses[1] - losses[0]) / (np.abs(losses[0]) + 0.1))
    assert 0.1 * rounding < error < 10 * rounding
    # In so small a generator some maxima (of the CAM) and ReLUs switch, whose gradient is then another one.
    for expected, actual, bound in zip(*gradients, (20 * rounding, 0.3), strict=True):
        error = np.linalg.norm(actual - expected) / np.linalg.norm(expected)
        assert rounding < error < bound


def test_penalty_draws_follow_the_seed_and_the_step():
    first, second, other = (make(gan_type="dragan", seed=seed) for seed in (3, 3, 4))
    a, b = batch()
    results = [[float(t.step(a, b)["d_gp_a"]) for _ in range(2)] for t in (first, second, other)]
    assert results[0] == results[1]
    assert results[0][0] != results[2][0]
