"""The training step: every adversarial loss and precision, the order of the updates, n_critic, and the averages."""

import numpy as np
import pytest
import tensorflow as tf
from networks import draw_all, images

import ugatit_tf
from ugatit_tf.config import GAN_TYPES, PENALTY_TYPES

TINY = {"light": True, "ch": 2, "n_res": 1, "n_dis": 4, "img_size": 24}


CYCLEGAN = {"architecture": "cyclegan", "ch": 2, "n_res": 1, "img_size": 24}


def make(flavor="tf1", config=TINY, **train):
    model = ugatit_tf.UGATIT(ugatit_tf.ModelConfig(flavor=flavor, **config), seed=1)
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
        assert float(trainer.optimizers["generators"].scale) > 0


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
            for optimizer in trainer.optimizers.values():
                optimizer.scale.assign(64.0)
        losses.append(np.array(list(floats(trainer.step(a, b)).values())))
        moments = {name: [np.ravel(m) for m, _ in adam.moments] for name, adam in trainer.optimizers.items()}
        generators = np.concatenate(moments.pop("generators"))
        gradients.append([np.concatenate([m for rest in moments.values() for m in rest]), generators])
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


def test_a_step_of_cyclegan_by_its_formulas():
    """Each term from the networks as they stand before (D, cycle, identity) and after (G's adversarial) D's update."""
    trainer = make(config=CYCLEGAN, identity_weight=5.0, weight_decay=0.0)
    a, b = images(2, 24, 24), images(3, 24, 24)[1:]
    model = trainer.model

    def judge(network, x):
        return network(x, training=False)[0].numpy().astype(float)

    fake_b, fake_a = model.gen_a2b(a)[0], model.gen_b2a(b)[0]
    expected = {
        "d_adv_a": np.mean((judge(model.dis_a, a) - 1) ** 2) + np.mean(judge(model.dis_a, fake_a) ** 2),
        "d_adv_b": np.mean((judge(model.dis_b, b) - 1) ** 2) + np.mean(judge(model.dis_b, fake_b) ** 2),
        "g_cycle_a": np.mean(np.abs(model.gen_b2a(fake_b)[0] - a)),
        "g_cycle_b": np.mean(np.abs(model.gen_a2b(fake_a)[0] - b)),
        "g_identity_a": np.mean(np.abs(model.gen_b2a(a)[0] - a)),
        "g_identity_b": np.mean(np.abs(model.gen_a2b(b)[0] - b)),
        "hit_real_a": np.mean(judge(model.dis_a, a) > 0.5),
        "hit_fake_b": np.mean(judge(model.dis_b, fake_b) <= 0.5),
    }
    before = {name: judge(model.dis_b, fake_b) for name in ("b",)}
    terms = floats(trainer.step(a, b))
    expected["g_adv_a"] = np.mean((judge(model.dis_a, fake_a) - 1) ** 2)
    expected["g_adv_b"] = np.mean((judge(model.dis_b, fake_b) - 1) ** 2)
    assert {name: terms[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert abs(terms["g_adv_b"] - np.mean((before["b"] - 1) ** 2)) > 1e-3  # the updated D
    cycles, identities = (sum(terms[f"g_{kind}_{domain}"] for domain in "ab") for kind in ("cycle", "identity"))
    adversarial = terms["g_adv_a"] + terms["g_adv_b"]
    assert terms["g_loss"] == pytest.approx(adversarial + 10 * cycles + 5 * identities, rel=1e-5)
    assert terms["d_loss"] == pytest.approx(terms["d_adv_a"] + terms["d_adv_b"], rel=1e-5)
    rest = {"hit_real_b", "hit_fake_a", "d_a", "d_b", "d_reg", "d_loss", "g_a", "g_b", "g_reg", "g_loss"}
    assert set(terms) <= set(expected) | rest


def test_discriminators_see_the_pool_and_generators_do_not():
    """Weights stand still, so that with a pool of one the fake of the step before is known."""
    trainer = make(config=CYCLEGAN, pool_size=1, lr=1e-30, weight_decay=0.0)
    model, before, swapped = trainer.model, None, 0
    for step in range(8):
        a, b = (np.roll(images(2, 24, 24), step, axis)[:1] * (1 - 0.1 * step) for axis in (1, 2))
        fake = model.gen_a2b(a)[0]
        terms = floats(trainer.step(a, b))

        def d_loss(shown, b=b):
            return float(np.mean((model.dis_b(b)[0] - 1) ** 2) + np.mean(model.dis_b(shown)[0] ** 2))

        held = trainer.pools["b"].images.numpy()
        seen_old = before is not None and terms["d_adv_b"] == pytest.approx(d_loss(before), rel=1e-5)
        seen_new = terms["d_adv_b"] == pytest.approx(d_loss(fake), rel=1e-5)
        assert seen_old != seen_new
        assert terms["g_adv_b"] == pytest.approx(float(np.mean((model.dis_b(fake)[0] - 1) ** 2)), rel=1e-5)
        if seen_old:
            np.testing.assert_allclose(held, fake, atol=1e-6)
        swapped += seen_old
        before = held
    assert 1 <= swapped <= 7


ABLATIONS = [
    {"cam_g": False, "norm": "in"},
    {"cam_d": False, "norm": "ln"},
    {"cam_g": False, "cam_d": False, "norm": "gn"},
    {"norm": "adain"},
]


@pytest.mark.parametrize(
    ("config", "train", "flavor"),
    [
        *((TINY | {"ch": 4} | ablation, {}, "tf1") for ablation in ABLATIONS),
        (TINY | {"norm": "in", "cam_d": False}, {"gan_type": "dragan", "precision": "bfloat16"}, "pytorch"),
        (CYCLEGAN, {"pool_size": 2, "ema": 0.9, "n_critic": 2}, "tf1"),
        (CYCLEGAN, {"gan_type": "wgan-gp", "pool_size": 2}, "pytorch"),
        (CYCLEGAN, {"precision": "float16", "pool_size": 2}, "pytorch"),
    ],
    ids=str,
)
def test_ablations_and_baseline_learn_on_one_batch(config, train, flavor):
    trainer = make(flavor, config, cam_weight=1.0, **train)
    a, b = batch(2)
    first = floats(trainer.step(a, b))
    for _ in range(14):
        last = floats(trainer.step(a, b))
    assert all(np.isfinite(value) for value in last.values())
    if "g_identity_a" in last:
        assert last["g_identity_a"] + last["g_identity_b"] < 0.97 * (first["g_identity_a"] + first["g_identity_b"])
    with_cam = config.get("cam_g", True) and "architecture" not in config
    assert ("g_cam_a" in first, "hit_cam_b" in first) == (with_cam, with_cam)
    with_cam = config.get("cam_d", True) and "architecture" not in config
    assert any(name.startswith("d_adv") and "_cam_" in name for name in first) == with_cam
    assert any(name.startswith("g_adv") and "_cam_" in name for name in first) == with_cam
    hits = {name: value for name, value in last.items() if name.startswith("hit_")}
    assert any(name.startswith("hit_real") for name in hits) == (train.get("gan_type") != "wgan-gp")
    assert all(0 <= value <= 1 for value in hits.values())


@pytest.mark.parametrize("gan_type", ["lsgan", "gan", "hinge", "dragan"])
def test_hits_are_counted_from_the_logits(gan_type):
    """lsgan is undecided at 0.5, the others at 0; CAM's logits of the generator are always at 0."""
    trainer = still(gan_type)
    model, bound = trainer.model, 0.5 if gan_type == "lsgan" else 0.0
    a, b = images(2, 24, 24), images(3, 24, 24)[1:]

    def cam_logits():
        return [model.gen_b2a(x, training=False)[1].numpy() for x in (b, a)]

    def logits(network):
        return [network(x, training=False)[0].numpy() for x in (a, model.gen_b2a(b, training=False)[0])]

    # Biases that put the boundary between the logits; those of the CAM first, for they change the images.
    translated, identity = cam_logits()
    cam = model.gen_b2a.cam.gap_fc
    cam.bias.assign(cam.bias - np.median(np.concatenate([translated[:, :1], identity[:, :1]])))
    judges = {depth: model.networks[f"dis_{depth}_a"] for depth in ("global", "local")}
    for network in judges.values():
        network.logit_conv.bias.assign(network.logit_conv.bias + bound - np.mean([x.mean() for x in logits(network)]))
    (translated, identity), expected = cam_logits(), {depth: logits(network) for depth, network in judges.items()}
    terms = floats(trainer.step(a, b))
    for depth, (real_logit, fake_logit) in expected.items():
        assert terms[f"hit_real_{depth}_a"] == pytest.approx(np.mean(real_logit > bound), abs=1e-6)
        assert terms[f"hit_fake_{depth}_a"] == pytest.approx(np.mean(fake_logit <= bound), abs=1e-6)
        assert 0 < np.mean(np.concatenate([real_logit, fake_logit]) > bound) < 1, "the case shows nothing"
    assert terms["hit_cam_a"] == pytest.approx((np.mean(translated > 0) + np.mean(identity <= 0)) / 2, abs=1e-6)
    assert 0 < np.mean(np.concatenate([translated, identity]) > 0) < 1, "the case shows nothing"
