"""Generators and pictures that the tests of several formats use."""

import io

import numpy as np
import pytest
from networks import draw_all
from PIL import Image

from ugatit_tf.models import Generator, ResNetGenerator


def _generator(flavor="tf1", light=True, img_size=16, ch=2, **values):
    """A small generator whose every part shows in what it draws; of the flavor "cyclegan" the baseline's."""
    if flavor == "cyclegan":
        return draw_all(ResNetGenerator(ch=ch, n_res=1, img_size=img_size, **values))
    return draw_all(Generator(flavor, light=light, ch=ch, n_res=1, img_size=img_size, **values))


def _file(pixels, kind="PNG", **options):
    """The bytes of an image file."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind, **options)
    return content.getvalue()


def _rounding(generator, images):
    """How far results of two float32 programs for the same network may be apart.

    They sum in other orders and fuse other steps. What a step rounds off is what exact arithmetic would give for
    operands that are a unit in the last place off (backward error: Higham, Accuracy and Stability of Numerical
    Algorithms, 2002, sections 1.5 and 3.1). So every weight is moved by one unit, up or down at random, and the largest
    change of the results in a few draws is the bound: it follows the network's depth and size, and is none of one
    processor's kernels.
    """
    expected = np.asarray(generator(images, training=False)[0])
    weights, draws, found = generator.get_weights(), np.random.default_rng(0), []
    for _ in range(3):
        signs = (draws.choice(np.float32([-np.inf, np.inf]), weight.shape) for weight in weights)
        generator.set_weights([np.nextafter(*pair) for pair in zip(weights, signs, strict=True)])
        found.append(np.abs(np.asarray(generator(images, training=False)[0]) - expected).max())
    generator.set_weights(weights)
    assert max(found) < 1e-5  # of 2: by a thousandth of what one weight in a hundred, or half precision, changes
    return max(found)


@pytest.fixture(scope="session")
def rounding():
    return _rounding


@pytest.fixture(scope="session")
def make_generator():
    return _generator


@pytest.fixture(scope="session")
def make_file():
    return _file


@pytest.fixture(scope="session")
def pictures():
    """uint8 [2, 16, 16, 3], of smooth colours with some noise, so that no two parts are alike."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 200, 16)
    smooth = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], ramp[::-1, None]), axis=-1)
    return (smooth + rng.uniform(0, 55, (2, 16, 16, 3))).astype(np.uint8)


DESCRIPTION = {
    "label": "U-GAT-IT, tests, A to B",
    "licence": "CC0-1.0",
    "version": "0.1.0",
    "direction": "a2b",
    "weights_sha256": "0" * 64,
}


@pytest.fixture(scope="session")
def description():
    return DESCRIPTION
