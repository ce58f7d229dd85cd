"""The memory planner against the memory that a step takes, here and now."""

import memory
import pytest


@pytest.mark.slow
@pytest.mark.parametrize("flags", ["--light --img_size 128 --ch 32", "--light --img_size 256 --ch 16 --remat"])
def test_a_step_takes_what_was_predicted(flags):
    """Within 15 %, as every configuration in docs/performance.md."""
    assert memory.predict(flags) / 2**20 == pytest.approx(memory.measure(flags), rel=0.15)
