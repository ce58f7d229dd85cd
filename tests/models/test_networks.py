"""Generator and discriminator: shapes, sizes, seeds, precision, and what they refuse."""

import numpy as np
import pytest

from ugatit_tf.models import Discriminator, Generator

RNG = np.random.default_rng(0)


def images(*shape):
    return RNG.uniform(-1, 1, (*shape, 3)).astype("float32")


def small(flavor="tf1", **values):
    return Generator(flavor, **{"light": True, "ch": 2, "n_res": 1, **values})


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
def test_light_generator_takes_any_batch_and_multiples_of_4(flavor):
    generator = small(flavor)
    for shape in ((1, 8, 8), (3, 16, 28)):
        image, cam_logit, heatmap = generator(images(*shape), training=False)
        assert image.shape == (*shape, 3)
        assert cam_logit.shape == (shape[0], 2)
        assert heatmap.shape == (shape[0], shape[1] // 4, shape[2] // 4, 1)
        assert {x.dtype.name for x in (image, cam_logit, heatmap)} == {"float32"}


@pytest.mark.parametrize("light", [False, True])
def test_images_of_a_batch_do_not_see_each_other(light):
    generator = small(light=light, img_size=16)
    batch = images(3, 16, 16)
    together = generator(batch, training=False)
    alone = [generator(image[None], training=False) for image in batch]
    for whole, *parts in zip(together, *alone, strict=True):
        # float32 rounding of another convolution blocking, amplified by norms over maps of 4x4
        np.testing.assert_allclose(whole, np.concatenate(parts), atol=1e-4)


@pytest.mark.parametrize(
    ("values", "shape", "message"),
    [
        ({}, (1, 10, 8), "height must be a multiple of 4 .*Resize to 8 or 12"),
        ({}, (1, 8, 4), "width must be a multiple of 4 and at least 8.*Resize to 8"),
        ({"light": False, "img_size": 16}, (1, 20, 20), "built for 16 px"),
    ],
)
def test_generator_says_which_size_would_do(values, shape, message):
    with pytest.raises(ValueError, match=message):
        small(**values)(images(*shape))


@pytest.mark.parametrize(("flavor", "logit", "heatmap"), [("tf1", 4, 4), ("pytorch", 2, 3)])
def test_discriminator_shapes(flavor, logit, heatmap):
    """tf1 keeps H / 2^levels; in pytorch each of the last two convolutions takes one row and column off."""
    outputs = Discriminator(flavor, ch=2, levels=3)(images(2, 32, 32), training=False)
    assert [tuple(x.shape) for x in outputs] == [(2, logit, logit, 1), (2, 2), (2, heatmap, heatmap, 1)]


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
@pytest.mark.parametrize("levels", [1, 2, 4])
def test_discriminator_smallest_image(flavor, levels):
    discriminator = Discriminator(flavor, ch=2, levels=levels)
    smallest = 3 * 2**levels
    discriminator(images(1, smallest, smallest), training=False)
    with pytest.raises(ValueError, match=f"needs images of {smallest} px or more.*smaller n_dis"):
        discriminator(images(1, smallest - 1, smallest), training=False)


def test_only_spectral_norm_vectors_change_and_only_in_training():
    discriminator = Discriminator(ch=2, levels=2)
    x = images(1, 16, 16)
    before = {v.path: v.numpy() for v in discriminator.variables}
    discriminator(x, training=False)
    assert all(np.array_equal(v, before[v.path]) for v in discriminator.variables)
    discriminator(x, training=True)
    changed = {v.path.rsplit("/")[-1] for v in discriminator.variables if not np.array_equal(v, before[v.path])}
    assert changed <= {"u", "v"}
    assert changed


def test_without_spectral_norm():
    discriminator = Discriminator(ch=2, levels=2, sn=False)
    assert not discriminator.non_trainable_variables
    discriminator(images(1, 16, 16), training=True)


def test_weights_follow_the_seed():
    kernels = [small(seed=seed).out_conv.kernel.numpy() for seed in (3, 3, 4)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


def test_initial_weights_by_flavor():
    kernel = small(ch=16).encoder_blocks[0].first.conv.kernel.numpy()
    assert kernel.std() == pytest.approx(0.02, rel=0.02)  # 36,864 draws: the standard error is 0.4 %
    kernel = small("pytorch", ch=16).encoder_blocks[0].first.conv.kernel.numpy()
    bound = 1 / np.sqrt(9 * 64)
    assert 0.99 * bound < np.abs(kernel).max() <= bound
    assert kernel.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_precision_can_be_changed_and_changed_back(precision):
    generator = small(ch=8)
    x = images(1, 16, 16)
    exact = [np.array(y) for y in generator(x, training=False)]
    generator.set_precision(precision)
    rough = generator(x, training=False)
    assert {y.dtype.name for y in rough} == {"float32"}
    assert generator.stem.conv.compute_dtype == precision
    assert generator.gamma.compute_dtype == "float32"
    assert all(v.dtype == "float32" for v in generator.variables)
    np.testing.assert_allclose(rough[0], exact[0], atol=0.05)  # 8 bits of mantissa through twenty layers
    assert not np.array_equal(rough[0], exact[0])
    generator.set_precision("float32")
    for again, first in zip(generator(x, training=False), exact, strict=True):
        np.testing.assert_array_equal(again, first)


def count(network):
    return sum(int(np.prod(v.shape)) for v in network.trainable_variables)


@pytest.mark.slow
def test_known_parameter_counts():
    """reference: light 10.6 M, four discriminators 112.8 M (PyTorch flavor, ch 64)."""
    assert count(Generator("pytorch", light=True)) / 1e6 == pytest.approx(10.6, abs=0.05)
    discriminators = sum(count(Discriminator("pytorch", levels=levels)) for levels in (5, 3))
    assert 2 * discriminators / 1e6 == pytest.approx(112.8, abs=0.05)


def test_full_generator_parameter_count():
    """279 M at 256 px and ch 64: the light one, and (64 * 64 - 1) * 256 * 256 more weights in a hidden layer."""
    light, full = (count(small("pytorch", light=light, img_size=16)) for light in (True, False))
    assert full - light == (4 * 4 - 1) * 8 * 8
    assert pytest.approx(279, abs=0.5) == (10_589_888 + (64 * 64 - 1) * 256 * 256) / 1e6
