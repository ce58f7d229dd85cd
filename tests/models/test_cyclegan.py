"""CycleGAN's networks: the official code's numbers, shapes, initial weights, and what they refuse."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf
from networks import draw_all, images

from ugatit_tf.models import PatchGAN, ResNetGenerator

GOLDEN = pathlib.Path(__file__).parents[1] / "golden/cyclegan/networks.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


def assign(layer, golden, name):
    """PyTorch has a convolution's kernel as [out, in, h, w], a transposed one's as [in, out, h, w]."""
    transposed = "Transpose" in type(layer).__name__
    kernel = golden[f"{name}.weight"].transpose((2, 3, 1, 0))
    # Keras stores a transposed convolution's kernel as [h, w, out, in] too.
    assert kernel.shape == tuple(layer.kernel.shape), (name, transposed)
    layer.kernel.assign(kernel)
    layer.bias.assign(golden[f"{name}.bias"])


def test_the_generator_computes_the_official_numbers(golden):
    generator = ResNetGenerator(ch=4, n_res=2, img_size=32)
    layers = {1: generator.stem, 4: generator.down[0], 7: generator.down[1], 12: generator.up[0], 15: generator.up[1]}
    layers[19] = generator.out_conv
    for number, layer in layers.items():
        assign(layer, golden, f"generator/model.{number}")
    for number, block in enumerate(generator.blocks, start=10):
        for place, conv in zip((1, 5), block.convs, strict=True):
            assign(conv, golden, f"generator/model.{number}.conv_block.{place}")
    image, cam_logit, heatmap = generator(golden["images"], training=False)
    # Measured: float32 in PyTorch is 3e-6 away, an epsilon of 1e-6 instead of 1e-5 1e-4, any other padding 1.
    np.testing.assert_allclose(image, golden["generator_output"], atol=2e-5)
    assert cam_logit is None
    assert heatmap.shape == (2, 8, 12, 1)


def test_the_discriminator_computes_the_official_numbers(golden):
    discriminator = PatchGAN(ch=4)
    layers = (*discriminator.convs, discriminator.logit_conv)
    for number, layer in zip((0, 2, 5, 8, 11), layers, strict=True):
        assign(layer, golden, f"discriminator/model.{number}")
    logit, cam_logit, heatmap = discriminator(golden["images"], training=True)
    np.testing.assert_allclose(logit, golden["discriminator_output"], atol=2e-5)  # as above
    assert cam_logit is None
    assert heatmap.shape == (2, 3, 5, 1)


def test_heatmaps(monkeypatch):
    """The sum of the map behind the generator's blocks, and of the one that the discriminator's logits are made of."""
    generator, discriminator = draw_all(ResNetGenerator(ch=2)), draw_all(PatchGAN(ch=2))
    for network, layer in ((generator, generator.up[0]), (discriminator, discriminator.pad)):
        call, seen = layer.call, []
        monkeypatch.setattr(layer, "call", lambda x, call=call, seen=seen: seen.append(x) or call(x))
        heatmap = network(images(1, 32, 32))[2]
        np.testing.assert_allclose(heatmap, np.sum(seen[-1], axis=-1, keepdims=True), rtol=1e-5, atol=1e-5)
        assert np.ptp(heatmap) > 1


def test_every_weight_of_the_official_networks_has_its_place(golden):
    for network, prefix in ((ResNetGenerator(4, 2), "generator/"), (PatchGAN(4), "discriminator/")):
        theirs = sum(array.size for name, array in golden.items() if name.startswith(prefix))
        assert sum(int(np.prod(v.shape)) for v in network.variables) == theirs


def test_a_patch_has_70_pixels():
    """One logit's gradient reaches 70 rows and columns; norms, which spread it over the image, are left out."""
    discriminator = draw_all(PatchGAN(ch=2))
    discriminator.norms = [None] * 4
    x = tf.constant(images(1, 160, 160))
    with tf.GradientTape() as tape:
        tape.watch(x)
        logit = discriminator(x, training=False)[0][0, 9, 9, 0]
    reached = np.abs(tape.gradient(logit, x)).max((0, 3)) > 0
    assert (reached.any(0).sum(), reached.any(1).sum()) == (70, 70)


def test_initial_weights():
    """Kernels from normal(0, 0.02), biases 0, from the seed."""
    first, same, other = (ResNetGenerator(ch=16, n_res=1, seed=seed) for seed in (3, 3, 4))
    kernel = first.blocks[0].convs[0].kernel.numpy()
    assert kernel.std() == pytest.approx(0.02, rel=0.02)  # 36,864 draws: the standard error is 0.4 %
    assert first.up[0].kernel.numpy().std() == pytest.approx(0.02, rel=0.03)  # 18,432 draws
    assert all(not v.numpy().any() for v in first.variables if v.name == "bias")
    np.testing.assert_array_equal(kernel, same.blocks[0].convs[0].kernel)
    assert not np.array_equal(kernel, other.blocks[0].convs[0].kernel)


def test_sizes():
    generator = ResNetGenerator(ch=2, n_res=1, img_size=24)
    assert generator(images(2, 8, 20))[0].shape == (2, 8, 20, 3)
    with pytest.raises(ValueError, match=r"width must be a multiple of 4 and at least 8; received images of shape"):
        generator(images(1, 8, 22))


@pytest.mark.parametrize("network_class", [ResNetGenerator, PatchGAN])
def test_unknown_sizes_in_a_graph(network_class):
    """One trace of unknown batch, height and width serves every size; the result that there is not is None."""
    network = draw_all(network_class(ch=2))
    traced = tf.function(lambda x: network(x, training=False), input_signature=[tf.TensorSpec((None, None, None, 3))])
    for shape in ((1, 24, 32), (2, 32, 24)):
        got, expected = traced(images(*shape)), network(images(*shape), training=False)
        assert got[1] is None
        for mine, theirs in ((got[0], expected[0]), (got[2], expected[2])):
            np.testing.assert_allclose(mine, theirs, atol=1e-4)  # float32 in another order, through norms of tiny maps


@pytest.mark.parametrize("network_class", [ResNetGenerator, PatchGAN])
def test_every_weight_has_a_finite_gradient(network_class):
    network = draw_all(network_class(ch=2))
    with tf.GradientTape() as tape:
        result = network(images(2, 32, 32), training=True)[0]
        loss = tf.reduce_sum(result * np.random.default_rng(2).normal(size=result.shape))
    gradients = tape.gradient(loss, [v.value for v in network.trainable_variables])
    for variable, gradient in zip(network.trainable_variables, gradients, strict=True):
        assert np.isfinite(gradient).all()
        # An instance norm takes the bias of the convolution before it out again.
        assert variable.name == "bias" or np.abs(gradient).max() > 0, variable.path


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_near_float32(precision):
    for network in (draw_all(ResNetGenerator(ch=4, n_res=2)), draw_all(PatchGAN(ch=4))):
        exact = network(images(2, 32, 32))[0]
        network.set_precision(precision)
        half = network(images(2, 32, 32))[0]
        assert half.dtype == "float32"
        assert 0 < np.abs(half - exact).mean() < 0.05 * np.abs(exact).mean()  # 2^-8 a rounding, a dozen layers


@pytest.mark.parametrize("network_class", [ResNetGenerator, PatchGAN])
def test_configuration_and_copy(network_class):
    network = draw_all(network_class(ch=2, seed=[1, 2], name="some_name"))
    assert network_class.from_config(network.get_config()).get_config() == network.get_config()
    network.set_precision("bfloat16")
    copy = network.copy()
    assert copy.precision == "float32"
    for mine, other in zip(copy.variables, network.variables, strict=True):
        np.testing.assert_array_equal(mine, other)
