"""Squares of a photo, turned and scaled: cut out for a network, and pasted back with a soft edge. numpy only.

Places are continuous: the photo's upper left corner is (0, 0), and the centre of its first pixel (0.5, 0.5). The web
page, examples/web/faces.js, computes the same; a change here belongs there too.
"""

import dataclasses
import math

import numpy as np

FEATHER = 0.25  # of the way from a square's edge to its centre, over which what is pasted fades in
_ROWS = 256  # of a photo that are pasted at a time: bounds the memory


@dataclasses.dataclass(frozen=True)
class Square:
    """A rectangle anywhere in the plane, a square as a rule.

    Args:
        centre: (x, y).
        right: (x, y), from the centre to the middle of the right side; its direction is the square's own right.
        down: (x, y), from the centre to the middle of the lower side, at a right angle to `right`.
    """

    centre: tuple
    right: tuple
    down: tuple

    @classmethod
    def upright(cls, left, top, width, height):
        """The rectangle with these edges."""
        return cls((left + width / 2, top + height / 2), (width / 2, 0.0), (0.0, height / 2))

    def turned(self, quarters):
        """The same rectangle, its own right turned clockwise by so many quarters of a circle."""
        square = self
        for _ in range(quarters % 4):
            square = Square(square.centre, square.down, (-square.right[0], -square.right[1]))
        return square

    @property
    def sides(self):
        """Width and height."""
        return 2 * math.hypot(*self.right), 2 * math.hypot(*self.down)

    def points(self, across, along):
        """The places (x, y) at `across` and `along` the square, each from -1 to 1; arrays broadcast."""
        x = self.centre[0] + across * self.right[0] + along * self.down[0]
        y = self.centre[1] + across * self.right[1] + along * self.down[1]
        return x, y

    def box(self, width, height):
        """The part of a photo, at least a pixel, that the square lies on: first and last + 1 column, and row."""
        x, y = self.points(np.array([-1, 1, -1, 1]), np.array([-1, -1, 1, 1]))
        left, top = min(max(math.floor(x.min()), 0), width - 1), min(max(math.floor(y.min()), 0), height - 1)
        right, bottom = max(min(math.ceil(x.max()), width), left + 1), max(min(math.ceil(y.max()), height), top + 1)
        return left, right, top, bottom


def cut(pixels, square, size):
    """The square's content, with every pixel of a large one counted.

    Blocks of pixels are averaged first, so that a block is about as large as a pixel of the result; between them values
    are interpolated. Where the square leaves the photo, the photo's border goes on.

    Args:
        pixels: uint8 [H, W, C].
        square: `Square`.
        size: of the result, one int or (height, width).

    Returns:
        uint8 [height, width, C].
    """
    height, width = (size, size) if isinstance(size, int) else size
    across, along = ((2 * np.arange(count) + 1) / count - 1 for count in (width, height))
    x, y = square.points(across[None, :], along[:, None])
    left, right, top, bottom = square.box(pixels.shape[1], pixels.shape[0])
    blocks = [max(1, int(side / count)) for side, count in zip(square.sides, (width, height), strict=True)]
    return _round(
        _sample(_reduce(pixels[top:bottom, left:right], *blocks), (x - left) / blocks[0], (y - top) / blocks[1])
    )


def paste(pixels, square, image, strength=1.0, feather=FEATHER):
    """Lay an image over a photo's square, in place.

    Args:
        pixels: uint8 [H, W, C], changed.
        square: `Square`.
        image: uint8 [h, w, C].
        strength: 0 leaves the photo, 1 shows the image.
        feather: see `FEATHER`; 0 for a hard edge.
    """
    height, width = image.shape[:2]
    blocks = [max(1, int(count / side)) for side, count in zip(square.sides, (width, height), strict=True)]
    reduced = _reduce(image, *blocks)
    left, right, top, bottom = square.box(pixels.shape[1], pixels.shape[0])
    x = np.arange(left, right) + 0.5 - square.centre[0]
    for start in range(top, bottom, _ROWS):
        rows = slice(start, min(start + _ROWS, bottom))
        y = np.arange(rows.start, rows.stop)[:, None] + 0.5 - square.centre[1]
        across, along = (
            (x * axis[0] + y * axis[1]) / (axis[0] ** 2 + axis[1] ** 2) for axis in (square.right, square.down)
        )
        if feather:
            fade = np.clip((1 - (across**4 + along**4) ** 0.25) / feather, 0, 1)  # a square with round corners
            mask = fade * fade * (3 - 2 * fade)
        else:
            mask = (np.maximum(abs(across), abs(along)) <= 1).astype(float)
        new = _sample(reduced, (across + 1) / 2 * width / blocks[0], (along + 1) / 2 * height / blocks[1])
        old = pixels[rows, left:right]
        pixels[rows, left:right] = _round(old + strength * mask[..., None] * (new - old))


def _round(values):
    return np.floor(values + 0.5).astype(np.uint8)


def _reduce(pixels, width, height):
    """Means of blocks of pixels, float64; the last ones of a row and column may be smaller."""
    for axis, step in ((0, height), (1, width)):
        if step > 1:
            starts = np.arange(0, pixels.shape[axis], step)
            counts = np.diff(np.append(starts, pixels.shape[axis]))
            pixels = np.add.reduceat(pixels, starts, axis, np.float64) / counts.reshape(
                (-1, 1, 1) if axis == 0 else (-1, 1)
            )
    return pixels.astype(np.float64, copy=False)  # not before: a large photo would take eight times its memory


def _sample(pixels, x, y):
    """Bilinear interpolation at places of `pixels`; outside, its border goes on."""
    x, y = np.broadcast_arrays(np.clip(x - 0.5, 0, pixels.shape[1] - 1), np.clip(y - 0.5, 0, pixels.shape[0] - 1))
    left, top = x.astype(int), y.astype(int)
    right, bottom = np.minimum(left + 1, pixels.shape[1] - 1), np.minimum(top + 1, pixels.shape[0] - 1)
    across, along = (x - left)[..., None], (y - top)[..., None]
    upper = pixels[top, left] * (1 - across) + pixels[top, right] * across
    lower = pixels[bottom, left] * (1 - across) + pixels[bottom, right] * across
    return upper * (1 - along) + lower * along
