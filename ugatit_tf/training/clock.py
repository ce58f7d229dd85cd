"""How fast a training is, and how long it still takes: measured, without the first step, which is compiled."""

import collections
import time
from typing import NamedTuple

_STEPS, _SECONDS = 20, 60  # told after that many steps, or after that long
_READINGS = 100  # whose mean rate tells the time left: sheets and checkpoints in between count, too


class Measured(NamedTuple):
    """What was measured.

    Args:
        steps: number of steps that were measured; 0: the first one alone.
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
        now: function without arguments that gives the time in seconds.
    """

    def __init__(self, start, total, now=time.monotonic):
        self._start, self._total, self._now = start, total, now
        self._began = now()  # of the session; of the second step as soon as the first one is done
        self._told = False
        self._since = None  # step and time from which the rate until the next reading counts
        self._readings = collections.deque(maxlen=_READINGS)

    def needs(self, step):
        """Whether `reached` has something to measure at this step; the device must have finished it then."""
        if step == self._start + 1:
            return True
        if self._told or step >= self._total:
            return False
        return step == self._start + 1 + _STEPS or self._now() - self._began > _SECONDS

    def reached(self, step):
        """The `Measured` of the first step, and later, once, of the steps after it."""
        now = self._now()
        seconds = now - self._began
        if step == self._start + 1:
            self._began = now
            self._since = (step, now)
            self._readings.append((step, now))
            return Measured(0, seconds, float("inf"))
        self._told = True
        steps = step - self._start - 1
        return Measured(steps, seconds, seconds / steps * (self._total - step))

    def read(self, step):
        """`rate, left` at a reading of the losses: steps per second since the last one, and seconds to the end.

        A rate of 0 and infinity as long as there is nothing but the first step.
        """
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
        self._since = (self._readings[-1][0], self._now())
