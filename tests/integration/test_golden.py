"""Same weights in, same numbers out: the official implementations' golden values (see tests/golden/README.md).

A bound is derived from how far the official code itself is from float64, between convolution kernels and with weights
moved by a unit in their last place (`deviations.json`, made by `tests/golden/deviations.py`), or it is what is named
here where that is wider, and what every kind of CPU has met so far.
"""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

import ugatit_tf
from ugatit_tf.weights import pytorch, tf1

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
CHECKPOINTS = {
    "tf1_light": "UGATIT_light.model-1",
    "tf1_full": "UGATIT.model-1",
    "pytorch_light": "params_0000000.pt",
    "pytorch_full": "params_0000000.pt",
}
TF1_NETWORKS = {"gen_a2b": "generator_B", "gen_b2a": "generator_A"} | {
    f"dis_{depth}_{domain}": f"discriminator_{domain.upper()}/{depth}"
    for depth in ("global", "local")
    for domain in "ab"
}
PYTORCH_NETWORKS = {
    "gen_a2b": "genA2B",
    "gen_b2a": "genB2A",
    "dis_global_a": "disGA",
    "dis_local_a": "disLA",
    "dis_global_b": "disGB",
    "dis_local_b": "disLB",
}

FORWARD_TOLERANCE = 1e-5
# Relative differences of the losses of steps 1, 2 and 3. Adam's first updates are +-lr however small the gradient, so
# rounding in near-zero gradients becomes weights of the other sign (docs/parity.md, "Rounding").
LOSS_TOLERANCE = {
    "tf1_light": (1e-5, 1e-5, 5e-5),
    "tf1_full": (1e-5, 1e-5, 1e-4),
    "pytorch_light": (1e-5, 1e-5, 1e-5),
    "pytorch_full": (1e-5, 5e-5, 1e-3),
}
# Largest difference of each gradient, relative to its own largest entry. Where a map's sums round after every entry, as
# in TF1, and where an activation is near the kink of a ReLU, the official gradients themselves are far from float64's.
# An activation at a kink can change sides elsewhere than in the official runs: one tensor in twenty may be beyond its
# own bound, within the largest bound of its set's tensors.
FEW = 0.05
DISCRIMINATOR_GRADIENT_TOLERANCE = 1e-4
GENERATOR_GRADIENT_TOLERANCE = {"tf1_light": 2e-2, "tf1_full": 2e-1, "pytorch_light": 5e-3, "pytorch_full": 1e-2}


@pytest.fixture(scope="module", params=CHECKPOINTS)
def run(request):
    """One golden set: its values, the model's outputs before, and losses and gradients of three steps."""
    name = request.param
    values = dict(np.load(GOLDEN / name / "golden.npz"))
    model = ugatit_tf.UGATIT.load(GOLDEN / name / CHECKPOINTS[name])
    a, b = values["real_A"], values["real_B"]
    outputs = {
        key: [np.array(x) for x in net(a if key in ("gen_a2b",) or key.endswith("_a") else b, training=False)]
        for key, net in model.networks.items()
    }
    trainer = ugatit_tf.Trainer(model, ugatit_tf.TrainConfig(decay_flag=False))
    gradients = {}
    _record_gradients(trainer, gradients)
    losses = [{k: float(v) for k, v in trainer.step(a, b).items()} for _ in range(3)]
    return name, values, model, outputs, losses, gradients


def _record_gradients(trainer, gradients):
    """Let every optimizer keep the gradients of its first update, in variables that the traced step assigns."""
    for optimizer in trainer.optimizers.values():
        kept = [tf.Variable(tf.zeros(v.shape)) for v in optimizer.variables]
        gradients.update({v.path: (k, v.numpy()) for v, k in zip(optimizer.variables, kept, strict=True)})

        def apply(grads, learning_rate, kept=kept, optimizer=optimizer, original=optimizer.apply):
            first = tf.equal(optimizer.steps, 0)
            for keep, gradient in zip(kept, grads, strict=True):
                keep.assign(tf.where(first, gradient, keep))
            original(grads, learning_rate)

        optimizer.apply = apply


def _is_tf1(name):
    return name.startswith("tf1")


def bound(name, group, least):
    """The bound of a group of quantities: what the official code's own deviations give, or `least` if that is wider."""
    return max(least, json.loads((GOLDEN / name / "deviations.json").read_text())["bound"][group])


def test_configuration_is_found_from_the_weights(run):
    name, _, model, *_ = run
    config = model.config
    assert (config.flavor, config.light) == (name.partition("_")[0], name.endswith("light"))
    assert (config.ch, config.n_dis, config.n_res) == (2, 6, 2 if name == "pytorch_light" else 4)
    if not config.light:
        assert config.img_size == 128


def test_forward(run):
    name, values, _, outputs, *_ = run
    networks = TF1_NETWORKS if _is_tf1(name) else PYTORCH_NETWORKS
    compared, tolerance = 0, bound(name, "forward", FORWARD_TOLERANCE)
    for key, official in networks.items():
        kinds = ("image" if key.startswith("gen") else "logit", "cam_logit", "heatmap")
        for kind, output in zip(kinds, outputs[key], strict=True):
            golden = values.get(f"forward/{official}/{kind}")
            if golden is not None:
                compared += 1
                error = np.abs(output.reshape(golden.shape) - golden).max() / np.abs(golden).max()
                assert error < tolerance, (official, kind, error)
    assert compared == (14 if _is_tf1(name) else 18)


def _official_losses(name, terms):
    """Our loss terms under the names of the golden file."""
    adversarial = {
        d: sum(terms[f"g_adv_{depth}{cam}_{d}"] for depth in ("global", "local") for cam in ("", "_cam")) for d in "ab"
    }
    named = {"D": terms["d_loss"], "G": terms["g_loss"]}
    for domain, other in ("ab", "ba"):
        up = domain.upper()
        named |= {f"D_{up}": terms[f"d_{domain}"], f"G_identity_{up}": terms[f"g_identity_{domain}"]}
        named |= {f"G_cam_{up}": terms[f"g_cam_{domain}"]}
        if _is_tf1(name):  # its G_cycle_A is the reconstruction of B
            named |= {f"G_ad_{up}": adversarial[domain], f"G_cycle_{up}": terms[f"g_cycle_{other}"]}
            named[f"G_{up}"] = terms[f"g_{domain}"] + 10 * (terms[f"g_cycle_{other}"] - terms[f"g_cycle_{domain}"])
        else:
            named |= {f"G_cycle_{up}": terms[f"g_cycle_{domain}"], f"G_{up}": terms[f"g_{domain}"]}
            for letter, depth in (("G", "global"), ("L", "local")):
                for player in "DG":
                    for official, ours in (("ad", ""), ("ad_cam", "_cam")):
                        key = f"{player.lower()}_adv_{depth}{ours}_{domain}"
                        named[f"{player}_{official}_{letter}{up}"] = terms[key]
    if _is_tf1(name):
        named |= {"reg_D": terms["d_reg"], "reg_G": terms["g_reg"]}
    return named


def test_losses_of_three_steps(run):
    name, values, _, _, losses, _ = run
    for step, (terms, tolerance) in enumerate(zip(losses, LOSS_TOLERANCE[name], strict=True), start=1):
        prefix = f"loss/step{step}/"
        golden = {key.removeprefix(prefix): float(value) for key, value in values.items() if key.startswith(prefix)}
        ours = _official_losses(name, terms)
        assert set(ours) == set(golden)
        tolerance = bound(name, f"loss/step{step}", tolerance)
        for key, value in golden.items():
            assert ours[key] == pytest.approx(value, rel=tolerance), (step, key)


def test_gradients(run):
    name, values, model, _, _, recorded = run
    entries = (tf1 if _is_tf1(name) else pytorch).entries(model.networks)
    biases_before_instance_norm = [
        block.conv.bias.path
        for net in model.generators.values()
        for block in (net.stem, *net.down, *(half for b in net.encoder_blocks for half in (b.first, b.second)))
        if block.conv.use_bias
    ]
    bounds = json.loads((GOLDEN / name / "deviations.json").read_text())["gradients"]
    compared, largest, generator, beyond = 0, 0.0, {}, {}
    for entry in entries:
        golden = values.get(f"grad/{entry.name}")
        if golden is None or entry.variable.path in biases_before_instance_norm:
            continue
        keep, initial = recorded[entry.variable.path]
        ours, golden = keep.numpy(), entry.layout.to_ours(golden)
        if _is_tf1(name) and entry.variable.name == "kernel":
            ours = ours + 1e-4 * initial  # the L2 term is added inside our Adam; u and v change no kernel before it
        error = np.abs(ours - golden).max()
        compared += 1
        if entry.variable.path.startswith("dis"):
            tolerance = max(DISCRIMINATOR_GRADIENT_TOLERANCE, bounds[entry.name])
            if error >= tolerance * np.abs(golden).max():
                beyond[entry.name] = error / np.abs(golden).max()
        else:
            largest = max(largest, np.abs(golden).max())
            generator[entry.name] = (error, np.abs(golden).max())
    assert compared > 50
    assert max(error for error, _ in generator.values()) < bound(name, "grad", 1e-4) * largest
    relative = {key: error / size for key, (error, size) in generator.items()}
    usual = GENERATOR_GRADIENT_TOLERANCE[name]
    beyond |= {key: error for key, error in relative.items() if error > max(usual, bounds.get(key, 0.0))}
    assert len(beyond) <= FEW * compared, beyond
    assert max(beyond.values(), default=0.0) < max(bounds.values()), beyond
    assert np.median(list(relative.values())) < 0.1 * usual


def test_images_after_three_steps(run):
    name, values, model, *_ = run
    for key, real in (("gen_a2b", "real_A"), ("gen_b2a", "real_B")):
        official = (TF1_NETWORKS if _is_tf1(name) else PYTORCH_NETWORKS)[key]
        image = model.networks[key](values[real], training=False)[0].numpy()
        difference = np.abs(image - values[f"after3/{official}/image"])
        if name == "pytorch_full":  # whose largest deviation, of the official code itself, is a third of the range
            assert difference.mean() < bound(name, "after3 mean", 0.05)
        else:
            assert difference.max() < bound(name, "after3", 2e-2 if name == "tf1_full" else 5e-3)
