"""A sign of life while something takes long."""

import contextlib
import itertools
import threading

EVERY = 5.0  # seconds


@contextlib.contextmanager
def waiting(what, announce=True):
    """Print what is being done, and every few seconds that it still is.

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
