"""Signals that end a command as Ctrl-C does, so that it removes what it has not finished."""

import contextlib
import signal
import threading


@contextlib.contextmanager
def as_ctrl_c():
    """In the block SIGTERM and SIGHUP raise KeyboardInterrupt, once. `stopping` of a training goes before it.

    SIGHUP stays ignored where it is: under nohup.
    """

    def stop(number, frame):
        for name in former:
            signal.signal(name, signal.SIG_IGN)  # nothing interrupts the cleaning up
        raise KeyboardInterrupt

    former = {}
    try:
        if threading.current_thread() is threading.main_thread():  # no other can handle signals
            for name in {"SIGTERM", "SIGHUP"} & set(dir(signal)):
                number = getattr(signal, name)
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    former[number] = signal.signal(number, stop)
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
