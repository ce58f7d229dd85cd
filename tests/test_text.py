"""Numbers with their nouns."""

import pytest

from ugatit_tf.text import count


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((0, "step"), "0 steps"),
        ((1, "step"), "1 step"),
        ((2, "step"), "2 steps"),
        ((100_000, "step"), "100,000 steps"),
        ((1, "copy", "copies"), "1 copy"),
        ((3, "copy", "copies"), "3 copies"),
    ],
)
def test_count(words, expected):
    assert count(*words) == expected
