"""Colour profiles: from a picture's own colour space to sRGB, and back. Pillow only, no TensorFlow."""

import functools
import io

import numpy as np
from PIL import Image, ImageCms

_SAME = 1  # levels; a profile that changes no colour by more is sRGB, whatever it calls itself
_GRID = np.linspace(0, 255, 9).round().astype(np.uint8)
_PROBE = np.stack(np.meshgrid(_GRID, _GRID, _GRID), axis=-1).reshape(27, 27, 3)


class Colours:
    """From a picture's colour space to sRGB, which is the networks', and back.

    A damaged profile, or one that is none of RGB, counts as sRGB, as viewers have it. So does one that changes no
    colour by more than a level: then the pixels stay as they are.

    Args:
        icc: the picture's ICC profile, bytes; None for sRGB.
    """

    def __init__(self, icc):
        self._to_srgb, self._from_srgb = _transforms(icc) if icc else (None, None)

    def to_srgb(self, image):
        """uint8 [H, W, 3] of the picture's colours as sRGB."""
        return _transform(image, self._to_srgb)

    def from_srgb(self, image):
        """uint8 [H, W, 3] of sRGB as the picture's colours."""
        return _transform(image, self._from_srgb)


def as_rgb(image, icc):
    """A grey or CMYK image with a profile as sRGB, or None where the profile is of no use.

    Args:
        image: `PIL.Image`, of mode L or CMYK.
        icc: bytes.
    """
    try:
        return ImageCms.applyTransform(image, _transform_between(icc, image.mode))
    except Exception:  # damaged profiles raise anything
        return None


def kind(icc):
    """What pixels a profile is for: "RGB", "L" or "CMYK"; None for others and for no profile."""
    return {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}.get(bytes(icc[16:20])) if icc else None


def _transform(image, transform):
    if transform is None:
        return image
    return np.asarray(ImageCms.applyTransform(Image.fromarray(image), transform))


@functools.lru_cache(maxsize=64)  # a set has few profiles, each in many files
def _transforms(icc):
    if kind(icc) != "RGB":
        return None, None
    try:
        there, back = _transform_between(icc, "RGB"), _transform_between(icc, "RGB", back=True)
        change = np.abs(_transform(_PROBE, there).astype(int) - _PROBE).max()
    except Exception:  # damaged profiles raise anything
        return None, None
    return (None, None) if change <= _SAME else (there, back)


@functools.lru_cache(maxsize=64)
def _transform_between(icc, mode, back=False):
    profile, srgb = ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB")
    # Without the transform's cache of the last colour, since threads share it.
    options = {"flags": ImageCms.Flags.NOCACHE}
    if back:
        return ImageCms.buildTransform(srgb, profile, "RGB", mode, **options)
    return ImageCms.buildTransform(profile, srgb, mode, "RGB", **options)
