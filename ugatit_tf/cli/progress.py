"""Signs of life while something takes long: a line every few seconds."""

import contextlib
import itertools
import threading
import time

EVERY = 5.0  # seconds


class Progress:
    """Prints how far something is: nothing at first, then a line every few seconds.

    Args:
        what: is being done, the beginning of each line.
        every: seconds between two lines, and before the first.
    """

    def __init__(self, what, every=None):
        self.what = what
        self.every = EVERY if every is None else every
        self._start = self._last = time.monotonic()

    def __call__(self, done, total, more=""):
        """Tell it that `done` of `total` are done; it prints a line if it is time for one, with `more` at its end."""
        now = time.monotonic()
        if now - self._last < self.every or not done:
            return
        self._last = now
        left = (now - self._start) / done * (total - done)
        print(f"{self.what}: {done}/{total}{more}" + (f", about {_duration(left)} left" if left else ""), flush=True)


def _duration(seconds):
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


@contextlib.contextmanager
def waiting(what, announce=True):
    """Print what is being done, and every few seconds that it still is, where nobody knows how far it is.

    Args:
        what: the beginning of the lines.
        announce: print a line at once, too.
    """
    if announce:
        print(f"{what} ...", flush=True)
    stop = threading.Event()

    def tell():
        for count in itertools.count(1):
            if stop.wait(EVERY):
                return
            print(f"{what}: {count * EVERY:.0f} s so far", flush=True)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
