"""The learning rate of each step against both originals' closed forms."""

import pytest

from ugatit_tf.config import TrainConfig
from ugatit_tf.training.schedule import learning_rate


def rates(flavor, **values):
    config = TrainConfig(**{"epoch": 4, "iteration": 3, "lr": 1.0, **values})
    return [learning_rate(step, config, flavor) for step in range(config.total_steps)]


def test_tf1_lowers_it_at_each_epoch():
    """lr * (epoch - e) / (epoch - decay_epoch) from epoch decay_epoch on, by default the half."""
    assert rates("tf1") == [1.0] * 6 + [1.0] * 3 + [0.5] * 3
    assert rates("tf1", epoch=5) == [1.0] * 6 + [1.0] * 3 + [2 / 3] * 3 + [1 / 3] * 3
    assert rates("tf1", decay_epoch=0) == [1.0] * 3 + [0.75] * 3 + [0.5] * 3 + [0.25] * 3


def test_pytorch_lowers_it_at_each_step_and_ends_at_0():
    assert rates("pytorch") == pytest.approx([1.0] * 6 + [5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0.0])
    assert rates("pytorch", decay_epoch=3) == pytest.approx([1.0] * 9 + [2 / 3, 1 / 3, 0.0])


def test_of_the_paper():
    """100 epochs of 10,000: constant for the first half; the last step at lr / 50 (tf1) or 0 (pytorch)."""
    config = TrainConfig()
    for flavor, last in (("tf1", 1e-4 / 50), ("pytorch", 0.0)):
        assert learning_rate(499_999, config, flavor) == 1e-4
        assert learning_rate(749_999, config, flavor) == pytest.approx(1e-4 / 2, rel=0.05)
        assert learning_rate(999_999, config, flavor) == pytest.approx(last)
        assert learning_rate(1_000_000, config, flavor) == 0.0  # never below
        assert learning_rate(1_000_000, TrainConfig(decay_epoch=100), flavor) == 0.0


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
@pytest.mark.parametrize("values", [{"decay_flag": False}, {"decay_epoch": 4}])
def test_no_decay(flavor, values):
    assert rates(flavor, **values) == [1.0] * 12


def test_n_critic_and_batch_size_do_not_count():
    assert rates("pytorch", n_critic=3, batch_size=8) == rates("pytorch")
