"""Signals that end a training after its current step, answered at once, and terminals that go away."""

import contextlib
import os
import signal
import sys
import threading
import time

from ugatit_tf import environment

_APART = 1.0  # seconds: a signal that comes sooner is the same again (`timeout` signals a process, then its group)
_GRACE = 3  # seconds between a second Ctrl-C and the end of the process, if it has not left by itself


class Stop:
    """Whether a signal has asked to stop; true from the first one on.

    Attributes:
        when: what the answer on the terminal says of the moment; the training loop keeps it true.
    """

    def __init__(self):
        self.received = []
        self.when = "after the current step"

    def __bool__(self):
        return bool(self.received)


@contextlib.contextmanager
def stopping():
    """Yields a `Stop`, which becomes true at SIGTERM, Ctrl-C, or when the terminal is closed (SIGHUP).

    Python runs a signal's handler only when the computation in TensorFlow returns, which takes minutes while a step is
    compiled. So a thread, which the signal itself wakes, says at once what happens. A second Ctrl-C or SIGTERM, at
    least `_APART` seconds after the first, acts as if this context were not there, and at the latest `_GRACE` seconds
    later the process ends. SIGHUP is never a second one (shells and systems send it together with others), and stays
    ignored where it is: under nohup.
    """
    stop, former, first = Stop(), {}, []

    def note(number, frame):
        stop.received.append(number)
        if os.name == "nt":  # has no thread that says it
            _say(f"\nStops {stop.when}, and saves.\n")
        if number == getattr(signal, "SIGHUP", None):
            return
        first.append(time.monotonic())
        if first[-1] - first[0] >= _APART:
            signal.signal(number, former[number])
            signal.raise_signal(number)

    with contextlib.ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():  # no other can handle signals
            stack.enter_context(_answering(stop))
            names = [signal.SIGTERM, signal.SIGINT]
            if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
                names.append(signal.SIGHUP)
            former |= {name: signal.getsignal(name) for name in names}
            for name in names:
                signal.signal(name, note)
                stack.callback(signal.signal, name, former[name])
        yield stop


@contextlib.contextmanager
def _answering(stop):
    """A thread that writes an answer to each signal to the terminal, while the main thread may be busy elsewhere."""
    if os.name == "nt":  # the wake-up needs a socket there
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    left = threading.Event()

    def answer():
        first = None
        while number := os.read(reader, 1):
            name = signal.Signals(number[0]).name
            if name not in ("SIGINT", "SIGTERM", "SIGHUP") or left.is_set():
                continue
            again = "Ctrl-C" if name == "SIGINT" else name
            if name != "SIGHUP" and first is not None:
                if time.monotonic() - first < _APART:
                    continue
                _say(f"\n{again}: stopping at once.\n")
                if not left.wait(_GRACE):
                    os._exit(128 + number[0])
            elif name != "SIGHUP":
                first = time.monotonic()
                _say(f"\n{again}: stops {stop.when}, and saves. {again} again stops at once, without saving.\n")
            else:
                _say(f"\nThe terminal is closed (SIGHUP): stops {stop.when}, and saves.\n")

    thread = threading.Thread(target=answer, name="signals", daemon=True)
    thread.start()
    former = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(former)
        os.close(writer)
        thread.join(_GRACE)
        os.close(reader)


def _say(text):
    with contextlib.suppress(OSError):  # nobody is there to read it
        os.write(2, text.encode())


class _Lasting:
    """A text stream whose reader may go away: what is written from then on goes nowhere."""

    def __init__(self, stream):
        self._stream = stream

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def write(self, text):
        with self._surviving():
            self._stream.write(text)
        return len(text)

    def flush(self):
        with self._surviving():
            self._stream.flush()

    @contextlib.contextmanager
    def _surviving(self):
        try:
            yield
        except OSError:
            environment.discard(self._stream)


@contextlib.contextmanager
def lasting_output():
    """A closed terminal or pipe ends what is shown, and neither raises an error nor changes the exit code."""
    with contextlib.redirect_stdout(_Lasting(sys.stdout)), contextlib.redirect_stderr(_Lasting(sys.stderr)):
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
