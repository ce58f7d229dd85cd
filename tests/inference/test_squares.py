"""Cutting and pasting; what comes out is known beforehand."""

import math

import numpy as np
import pytest

from ugatit_tf.inference.squares import Square, cut, paste


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def turned(centre, half, degrees):
    x, y = half * math.cos(math.radians(degrees)), half * math.sin(math.radians(degrees))
    return Square(centre, (x, y), (-y, x))


def test_a_square_of_its_own_size_is_copied():
    pixels = noise(20, 30, 3)
    np.testing.assert_array_equal(cut(pixels, Square.upright(7, 5, 12, 12), 12), pixels[5:17, 7:19])


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns(quarters):
    pixels = noise(16, 16, 3)
    square = turned((8, 8), 8, 90 * quarters)  # its right is the photo's below, its left, or its above
    np.testing.assert_array_equal(cut(pixels, square, 16), np.rot90(pixels, quarters))


def test_the_box_has_every_pixel_that_the_square_touches():
    assert Square.upright(2.5, 1.2, 3, 3).box(30, 20) == (2, 6, 1, 5)
    assert Square.upright(0, 0, 30, 20).box(30, 20) == (0, 30, 0, 20)
    assert Square.upright(-9, 15, 12, 12).box(30, 20) == (0, 3, 15, 20)
    assert turned((10, 10), 4, 45).box(30, 20) == (4, 16, 4, 16)  # 4 * sqrt(2) is 5.7


def test_every_pixel_of_a_large_square_counts():
    pixels = noise(24, 24, 3)
    means = pixels.reshape(6, 4, 6, 4, 3).mean(axis=(1, 3))
    np.testing.assert_array_equal(cut(pixels, Square.upright(0, 0, 24, 24), 6), np.floor(means + 0.5))


def test_the_last_block_has_the_pixels_that_are_left():
    pixels = np.uint8([[0, 10, 20, 30, 200]])[..., None]  # blocks of two: 5, 25, and 200 alone
    row = cut(pixels, Square.upright(0, 0, 6, 1), 3)[0, :, 0]
    np.testing.assert_array_equal(row, [5, 25, 200])


def test_between_pixels_a_ramp_goes_on():
    ramp = np.broadcast_to(np.arange(0, 200, 10, np.uint8)[None, :, None], (20, 20, 3))
    result = cut(ramp, Square.upright(5, 5, 10, 10), 40)[0, :, 0]
    places = 5 + (np.arange(40) + 0.5) / 4  # the ramp is 10 (x - 0.5)
    inner = slice(2, -2)  # at the square's own border its last pixels go on
    np.testing.assert_allclose(result[inner], 10 * (places - 0.5)[inner], atol=0.5 + 1e-9)


def test_outside_the_photo_its_border_goes_on():
    pixels = noise(8, 8, 3)
    result = cut(pixels, Square.upright(-4, 2, 8, 8), 8)
    np.testing.assert_array_equal(result[:6, 4:], pixels[2:, :4])
    np.testing.assert_array_equal(result[:6, :4], np.repeat(pixels[2:, :1], 4, axis=1))
    np.testing.assert_array_equal(result[6:], np.repeat(result[5:6], 2, axis=0))


def test_a_square_far_outside_is_the_nearest_pixel():
    pixels = noise(8, 8, 3)
    assert (cut(pixels, Square.upright(100, 100, 8, 8), 4) == pixels[-1, -1]).all()


def mask_of(square, height, width, feather=0.25):
    """The mask, pixel after pixel, by the formula in paste's place."""
    mask = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            p = x + 0.5 - square.centre[0], y + 0.5 - square.centre[1]
            across, along = (
                (p[0] * axis[0] + p[1] * axis[1]) / (axis[0] ** 2 + axis[1] ** 2)
                for axis in (square.right, square.down)
            )
            fade = min(max((1 - (across**4 + along**4) ** 0.25) / feather, 0), 1)
            mask[y, x] = fade * fade * (3 - 2 * fade)
    return mask


@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0])
@pytest.mark.parametrize(
    "square", [Square.upright(6, 3, 30, 30), turned((20, 150), 140, 30)], ids=["upright", "turned"]
)
def test_paste_fades_in_from_the_edge(square, strength):
    pixels = noise(300, 40, 3)  # more rows than are pasted at a time
    expected = pixels + strength * mask_of(square, 300, 40)[..., None] * (np.array([10.0, 200.0, 90.0]) - pixels)
    image = np.broadcast_to(np.uint8([10, 200, 90]), (16, 16, 3))
    paste(pixels, square, image, strength)
    np.testing.assert_array_equal(pixels, np.floor(expected + 0.5))


def test_the_middle_shows_the_image_and_outside_nothing_changes():
    pixels = noise(40, 40, 3)
    before, image = pixels.copy(), noise(20, 20, 3)
    paste(pixels, Square.upright(10, 10, 20, 20), image)
    np.testing.assert_array_equal(pixels[16:24, 16:24], image[6:14, 6:14])
    outside = np.full((40, 40), True)
    outside[10:30, 10:30] = False
    np.testing.assert_array_equal(pixels[outside], before[outside])


def test_without_a_feather_all_is_replaced():
    pixels, image = noise(12, 12, 3), noise(6, 6, 3)
    image[:] = image[:1, :1]
    paste(pixels, Square.upright(0, 0, 12, 12), image, feather=0)
    assert (pixels == image[0, 0]).all()


def test_a_larger_image_is_averaged_when_it_is_pasted():
    pixels, image = np.zeros((4, 4, 3), np.uint8), noise(12, 12, 3)
    paste(pixels, Square.upright(0, 0, 4, 4), image, feather=0)
    np.testing.assert_array_equal(pixels, np.floor(image.reshape(4, 3, 4, 3, 3).mean(axis=(1, 3)) + 0.5))


def test_a_rectangle_is_cut_and_pasted_in_its_own_shape():
    pixels = noise(24, 40, 3) // 4 * 4  # so that a mean of four is no half
    whole = Square.upright(0, 0, 40, 24)
    means = pixels.reshape(12, 2, 20, 2, 3).mean(axis=(1, 3))
    small = cut(pixels, whole, (12, 20))
    np.testing.assert_array_equal(small, means)
    np.testing.assert_array_equal(cut(pixels, whole, (24, 40)), pixels)
    onto, image = np.zeros((12, 20, 3), np.uint8), pixels
    paste(onto, Square.upright(0, 0, 20, 12), image, feather=0)
    np.testing.assert_array_equal(onto, small)


def test_what_is_cut_goes_back_to_its_place():
    y, x = np.mgrid[:80, :80]
    pixels = np.uint8(np.stack([2 * x, 2 * y, x + y], axis=-1))
    after, square = pixels.copy(), turned((40, 40), 24, 25)
    paste(after, square, cut(pixels, square, 64))
    assert np.abs(after.astype(int) - pixels).max() <= 1
