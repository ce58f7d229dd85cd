"""How far an image is from the one it should be: uint8 images [H, W, 3] of one size, in float64.

Each function raises a ValueError for another type or shape.
"""

import math

import numpy as np

_WINDOW = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
_WINDOW /= _WINDOW.sum()


def l1(image, truth):
    """Mean absolute difference in grey levels, 0 to 255."""
    image, truth = _pair(image, truth)
    return float(np.mean(np.abs(image - truth)))


def psnr(image, truth):
    """Peak signal-to-noise ratio in dB; inf for identical images."""
    image, truth = _pair(image, truth)
    error = np.mean((image - truth) ** 2)
    return 10 * math.log10(255**2 / error) if error else math.inf


def ssim(image, truth):
    """Structural similarity, at most 1: the mean over the channels R, G and B, and over all places of the window.

    With the Gaussian window of the paper (11 x 11, sigma 1.5) and its K1 = 0.01 and K2 = 0.03; images must be 11 px or
    more.

    Reference: Wang et al., Image quality assessment: from error visibility to structural similarity, 2004.
    """
    image, truth = _pair(image, truth, least=len(_WINDOW))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    x, y = _blur(image), _blur(truth)
    variances = _blur(image**2) - x**2 + _blur(truth**2) - y**2
    covariance = _blur(image * truth) - x * y
    similarity = (2 * x * y + c1) * (2 * covariance + c2) / ((x**2 + y**2 + c1) * (variances + c2))
    return float(similarity.mean())


def _pair(image, truth, least=1):
    for name, pixels in (("image", image), ("truth", truth)):
        if pixels.dtype != np.uint8:
            raise ValueError(f"{name} must be uint8; received {pixels.dtype}.")
        if pixels.ndim != 3 or pixels.shape[2] != 3 or min(pixels.shape) == 0:
            raise ValueError(f"{name} must have the shape [H,W,3]; received {list(pixels.shape)}.")
    if image.shape != truth.shape:
        raise ValueError(
            f"Both images must have one size; received {list(image.shape)} and {list(truth.shape)}: resize one first."
        )
    if min(image.shape[:2]) < least:
        raise ValueError(f"Images must be at least {least} px high and wide; received {list(image.shape)}.")
    return image.astype(np.float64), truth.astype(np.float64)


def _blur(pixels):
    """Means under the window, wherever all of it lies on the image: [H - 10, W - 10, 3]."""
    for _ in range(2):  # along the rows, then along the columns; each turns the image over its diagonal
        places = len(pixels) - len(_WINDOW) + 1
        pixels = sum(weight * pixels[i : i + places] for i, weight in enumerate(_WINDOW)).swapaxes(0, 1)
    return pixels
