"""Times that are told: measured, without the first step."""

import math

import pytest

from ugatit_tf.training.clock import Clock, Measured


class Hand:
    """A clock that stands until it is moved."""

    def __init__(self):
        self.time = 1000.0

    def __call__(self):
        return self.time


def run(seconds, start=0, total=1000, first=60):
    """The clock after its first step, and a function that does steps and returns what is told."""
    hand = Hand()
    clock = Clock(start, total, now=hand)
    step = start

    def steps(count, each=seconds):
        nonlocal step
        told = []
        for _ in range(count):
            step += 1
            hand.time += each
            if clock.needs(step):
                told.append((step, clock.reached(step)))
        return told

    told = steps(1, first)
    assert told == [(start + 1, Measured(0, first, math.inf))]
    return hand, clock, steps


@pytest.mark.parametrize("start", [0, 500])
def test_the_time_is_told_once_after_twenty_steps_without_the_first(start):
    _, _, steps = run(0.5, start)
    assert steps(40) == [(start + 21, Measured(20, 10.0, (1000 - start - 21) * 0.5))]


def test_each_of_the_first_steps_that_compiles_is_left_out():
    """With n_critic 2 the second step, without the generators' update, compiles a function of its own."""
    hand = Hand()
    clock, told = Clock(0, 1000, 2, hand), []
    for step, seconds in enumerate([60.0, 60.0, *[0.5] * 30], start=1):
        hand.time += seconds
        if clock.needs(step):
            told.append((step, clock.reached(step)))
        if step == 1:
            assert clock.read(1) == (0.0, math.inf)
            clock.go_on()
    assert told == [(2, Measured(0, 120.0, math.inf)), (22, Measured(20, 10.0, 978 * 0.5))]


def test_slow_steps_are_told_after_a_minute():
    _, _, steps = run(25.0)
    assert steps(5) == [(4, Measured(3, 75.0, 996 * 25.0))]


def test_nothing_is_told_when_there_is_nothing_left():
    _, _, steps = run(0.5, total=21)
    assert steps(20) == []


def test_the_rate_is_that_since_the_last_reading_and_the_time_left_counts_everything():
    hand, clock, steps = run(0.5)
    assert clock.read(1) == (0.0, math.inf)  # only the first step so far
    clock.go_on()
    steps(9)
    assert clock.read(10) == pytest.approx((2.0, 990 * 0.5))
    hand.time += 20  # a sheet and a checkpoint
    clock.go_on()
    steps(10, 1.0)
    rate, left = clock.read(20)
    assert rate == pytest.approx(1.0)
    assert left == pytest.approx(980 * (4.5 + 20 + 10) / 19)


def test_the_time_left_follows_a_change_of_speed():
    """The mean of the last hundred readings."""
    _, clock, steps = run(0.5, total=10_000)
    for step in range(2, 2001):
        steps(1, 5.0 if step <= 1000 else 0.5)
        rate, left = clock.read(step)
        clock.go_on()
    assert (rate, left) == pytest.approx((2.0, 8000 * 0.5))
