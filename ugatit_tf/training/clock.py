"""How fast a training is, and how long it still takes: measured, without the first steps, which are compiled."""

import collections
import time
from typing import NamedTuple

_STEPS, _SECONDS = 20, 60  # told after that many steps, or after that long
_READINGS = 100  # whose mean rate tells the time left: sheets and checkpoints in between count, too


class Measured(NamedTuple):
    """What was measured.

    Args:
        steps: number of steps that were measured; 0: the first ones alone.
        seconds: what they took.
        left: estimated seconds to the end of the training; infinity where unknown.
    """

    steps: int
    seconds: float
    left: float


class Clock:
    """Measures the steps of one session.

    Args:
        start: number of steps done before it.
        total: number of steps of the whole training.
        compiled: number of steps that are not measured, since each compiles a function of its own.
        now: function without arguments that gives the time in seconds.
    """

    def __init__(self, start, total, compiled=1, now=time.monotonic):
        self._first, self._total, self._now = start + compiled, total, now
        self._began = now()  # of the session; of the steps to be measured, as soon as there are some
        self._told = False
        self._since = None  # step and time from which the rate until the next reading counts
        self._readings = collections.deque(maxlen=_READINGS)

    def needs(self, step):
        """Whether `reached` has something to measure at this step; the device must have finished it then."""
        if step == self._first:
            return True
        if self._told or step >= self._total or step < self._first:
            return False
        return step == self._first + _STEPS or self._now() - self._began > _SECONDS

    def reached(self, step):
        """The `Measured` of the first steps, and later, once, of the steps after them."""
        now = self._now()
        seconds = now - self._began
        if step == self._first:
            self._began = now
            self._since = (step, now)
            self._readings.append((step, now))
            return Measured(0, seconds, float("inf"))
        self._told = True
        steps = step - self._first
        return Measured(steps, seconds, seconds / steps * (self._total - step))

    def read(self, step):
        """`rate, left` at a reading of the losses: steps per second since the last one, and seconds to the end.

        A rate of 0 and infinity as long as there is nothing but the first steps.
        """
        if self._since is None:
            return 0.0, float("inf")
        now = self._now()
        before, then = self._since
        rate = (step - before) / max(1e-9, now - then)
        first, began = self._readings[0]
        left = (now - began) / (step - first) * (self._total - step) if step > first else float("inf")
        if step > self._readings[-1][0]:
            self._readings.append((step, now))
        return rate, left

    def go_on(self):
        """The rate counts from here: what a reading brought with it (sheets, a checkpoint) is over."""
        if self._since is not None:
            self._since = (self._readings[-1][0], self._now())
