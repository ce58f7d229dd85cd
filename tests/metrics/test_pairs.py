"""Measures of one pair of images against closed forms and scikit-image."""

import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from ugatit_tf.metrics.pairs import l1, psnr, ssim


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def grey(value, size=16):
    return np.full((size, size, 3), value, np.uint8)


def disturbed(image, amount):
    shift = np.random.default_rng(1).integers(-amount, amount + 1, image.shape)
    return np.clip(image.astype(int) + shift, 0, 255).astype(np.uint8)


def skimage_ssim(image, truth):
    return structural_similarity(
        image,
        truth,
        channel_axis=-1,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )


def test_identical_images():
    image = noise(20, 30, 3)
    with np.errstate(all="raise"):
        assert (l1(image, image), psnr(image, image)) == (0.0, math.inf)
    assert ssim(image, image) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(("first", "second"), [(10, 250), (250, 10)])
def test_grey_images(first, second):
    """One difference everywhere; without any structure, SSIM is what remains of its luminance term."""
    image, truth = grey(first), grey(second)
    assert l1(image, truth) == 240
    assert psnr(image, truth) == pytest.approx(20 * math.log10(255 / 240))
    c1 = 2.55**2
    assert ssim(image, truth) == pytest.approx((2 * 10 * 250 + c1) / (10**2 + 250**2 + c1), abs=1e-9)


def test_one_pixel_of_four():
    """Four pixels of three channels, one value of which is off by 30: 30 / 12, and 900 / 12 = 75."""
    image, truth = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 3), np.uint8)
    image[1, 0, 2] = 30
    assert l1(image, truth) == 2.5
    assert psnr(image, truth) == pytest.approx(10 * math.log10(65025 / 75))


@pytest.mark.parametrize("shape", [(11, 11, 3), (11, 24, 3), (37, 23, 3)], ids=str)
@pytest.mark.parametrize("amount", [5, 60])
def test_against_scikit_image(shape, amount):
    y, x = np.mgrid[: shape[0], : shape[1]]
    ramp = np.stack([5 * x + y, 100 + 3 * y - x, 200 - 2 * x], axis=-1)
    truth = disturbed(np.uint8(np.clip(ramp, 0, 255)), 20)
    image = disturbed(truth, amount)
    assert ssim(image, truth) == pytest.approx(skimage_ssim(image, truth), abs=1e-9)
    assert psnr(image, truth) == pytest.approx(peak_signal_noise_ratio(truth, image, data_range=255))
    assert l1(image, truth) == pytest.approx(np.mean(np.abs(image.astype(int) - truth)), rel=1e-12)


def test_unrelated_and_opposite_images():
    image = noise(40, 40, 3)
    for truth in (noise(40, 40, 3, seed=1), 255 - image):
        assert ssim(image, truth) == pytest.approx(skimage_ssim(image, truth), abs=1e-9)
    assert ssim(image, 255 - image) < -0.5


@pytest.mark.parametrize("metric", [l1, psnr, ssim])
def test_both_orders_and_floats(metric):
    image, truth = noise(20, 30, 3), noise(20, 30, 3, seed=1)
    assert metric(image, truth) == pytest.approx(metric(truth, image))
    assert type(metric(image, truth)) is float


@pytest.mark.parametrize("metric", [l1, psnr, ssim])
@pytest.mark.parametrize(
    ("image", "truth", "message"),
    [
        (grey(0) / 255, grey(0), "image must be uint8; received float64"),
        (grey(0), grey(0).astype(int), "truth must be uint8; received int64"),
        (grey(0)[..., 0], grey(0), r"image must have the shape \[H,W,3\]; received \[16, 16\]"),
        (grey(0), grey(0)[..., :1], r"truth must have the shape \[H,W,3\]; received \[16, 16, 1\]"),
        (grey(0)[:0], grey(0)[:0], r"image must have the shape \[H,W,3\]; received \[0, 16, 3\]"),
        (grey(0), grey(0)[1:], r"one size; received \[16, 16, 3\] and \[15, 16, 3\]: resize one first"),
    ],
)
def test_what_is_refused(metric, image, truth, message):
    with pytest.raises(ValueError, match=message):
        metric(image, truth)


def test_images_smaller_than_the_window():
    with pytest.raises(ValueError, match=r"at least 11 px high and wide; received \[16, 10, 3\]"):
        ssim(grey(0)[:, :10], grey(0)[:, :10])
