"""A photo with a face, and a generator that anyone can compute."""

import numpy as np
import pytest
import skimage.data


@pytest.fixture(scope="session")
def astronaut():
    """uint8 [512, 512, 3]; one face, 106 px wide, at about (225, 124)."""
    return skimage.data.astronaut()


class Negative:
    """Stands in for a generator: gives negatives, and a heatmap that rises from left to right."""

    size = 64

    def __call__(self, image):
        assert image.shape == (self.size, self.size, 3)
        assert image.dtype == np.uint8
        return 255 - image, np.broadcast_to(np.arange(self.size // 4, dtype=np.float32), (self.size // 4,) * 2)


@pytest.fixture
def negative():
    return Negative()
