"""The pool of translated images, against the official rule image by image, with the same draws."""

import numpy as np
import pytest
import tensorflow as tf
from networks import images

from ugatit_tf.training.pool import ImagePool


def official(pool, size, batch, draws):
    """`ImagePool.query` of the official CycleGAN code, with its two draws an image given."""
    shown = []
    for image, (place, chance) in zip(batch, draws.T, strict=True):
        if len(pool) < size:
            pool.append(image)
            shown.append(image)
        elif chance < 0.5:
            index = int(place * size)
            shown.append(pool[index])
            pool[index] = image
        else:
            shown.append(image)
    return shown


@pytest.mark.parametrize("count", [1, 3])
def test_it_is_the_official_rule(count):
    pool, expected = ImagePool(4, 8, "pool"), []
    exchange = tf.function(pool.exchange)
    swapped = 0
    for step in range(12):
        batch = images(count, 8, 8) + np.float32(step)
        seed = tf.constant([7, step])
        draws = tf.random.stateless_uniform([2, count], seed).numpy()
        wanted = official(expected, 4, batch, draws)
        np.testing.assert_array_equal(exchange(tf.constant(batch), seed), wanted)
        np.testing.assert_array_equal(pool.images[: len(expected)], expected)
        assert int(pool.count) == len(expected) == min(4, count * (step + 1))
        swapped += not np.array_equal(wanted, batch)
    assert 2 <= swapped <= 10


def test_a_pool_of_one_shows_the_image_from_before():
    """With size 1 every exchange gives back what the one before has left: no draw can point beyond it."""
    pool = ImagePool(1, 8, "pool")
    last = None
    for step in range(20):
        batch = images(1, 8, 8) + np.float32(step)
        shown = pool.exchange(tf.constant(batch), tf.constant([0, step])).numpy()
        if last is not None:
            assert np.array_equal(shown, batch) or np.array_equal(shown[0], last)
        last = pool.images[0].numpy()
