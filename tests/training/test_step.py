"""The training step: every adversarial loss and precision, the order of the updates, n_critic, and the averages."""

import numpy as np
import pytest

import ugatit_tf
from ugatit_tf.config import GAN_TYPES

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


def test_penalty_draws_follow_the_seed_and_the_step():
    first, second, other = (make(gan_type="dragan", seed=seed) for seed in (3, 3, 4))
    a, b = batch()
    results = [[float(t.step(a, b)["d_gp_a"]) for _ in range(2)] for t in (first, second, other)]
    assert results[0] == results[1]
    assert results[0][0] != results[2][0]
