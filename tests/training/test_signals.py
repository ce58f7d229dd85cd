"""Stopping by signal: answered at once, and never twice by mistake; output whose reader has gone."""

import contextlib
import hashlib
import io
import os
import signal
import sys
import threading
import time

import pytest

from ugatit_tf.training import signals
from ugatit_tf.training.signals import lasting_output, stopping

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")


@pytest.fixture
def said(monkeypatch):
    """What the terminal gets: time and text."""
    texts = []
    monkeypatch.setattr(signals, "_say", lambda text: texts.append((time.monotonic(), text.strip())))
    return texts


@pytest.fixture
def handled():
    """Signals that reach the handlers from before: pytest must survive them."""
    numbers, names = [], (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    former = {name: signal.signal(name, lambda number, frame: numbers.append(number)) for name in names}
    yield numbers
    for name, handler in former.items():
        signal.signal(name, handler)


def send(number):
    os.kill(os.getpid(), number)


def wait_for(happened):
    deadline = time.monotonic() + 5
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_asks_to_stop_and_says_so(name, said, handled):
    with stopping() as stop:
        assert not stop
        stop.when = "soon"
        send(signal.Signals[name])
        wait_for(lambda: said)
        assert stop
    text = {
        "SIGTERM": "SIGTERM: stops soon, and saves. SIGTERM again stops at once, without saving.",
        "SIGINT": "Ctrl-C: stops soon, and saves. Ctrl-C again stops at once, without saving.",
        "SIGHUP": "The terminal is closed (SIGHUP): stops soon, and saves.",
    }[name]
    assert [line for _, line in said] == [text]
    assert handled == []


def test_the_answer_comes_while_the_main_thread_computes(said, handled):
    """Python runs no handler before a computation returns, here some tenths of a second; in TensorFlow minutes."""
    with stopping():
        threading.Timer(0.05, send, [signal.SIGINT]).start()
        hashlib.pbkdf2_hmac("sha256", b"", b"", 700_000)
        done = time.monotonic()
        wait_for(lambda: said)
    assert said[0][0] < done - 0.05


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_one_acts_as_if_nothing_was_there(number, said, handled):
    with stopping():
        send(number)
        time.sleep(signals._APART)
        send(number)
        wait_for(lambda: len(said) == 2)
    assert handled == [number]
    assert said[1][1].endswith(": stopping at once.")


def test_a_pair_sent_at_once_is_one(said, handled):
    """`timeout` and several runners signal the process and then its group: that must not lose the work."""
    with stopping() as stop:
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        time.sleep(0.2)
        assert stop
    assert handled == []
    assert len(said) == 1


def test_a_second_one_ends_a_process_that_does_not_return(said, handled, monkeypatch):
    ended = []
    monkeypatch.setattr(signals, "_GRACE", 0.01)
    monkeypatch.setattr(signals, "_APART", 0.0)
    monkeypatch.setattr(signals.os, "_exit", ended.append)
    with stopping():
        send(signal.SIGINT)
        wait_for(lambda: said)
        send(signal.SIGINT)
        wait_for(lambda: ended)
    assert ended == [130]


def test_a_closed_terminal_is_never_the_second_signal(said, handled):
    """The kernel and the shell send SIGHUP each; systems send SIGTERM with it."""
    with stopping() as stop:
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
            send(number)
        wait_for(lambda: len(said) == 4)
        assert stop
    assert handled == []


def test_nohup_is_respected(said, handled):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stopping() as stop:
        send(signal.SIGHUP)
        time.sleep(0.05)
        assert not stop
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    assert said == []


def test_the_handlers_from_before_are_back(said, handled):
    before = [signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for sent in (False, True):
        with stopping():
            if sent:
                send(signal.SIGTERM)
        assert [signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)] == before
    assert signal.set_wakeup_fd(-1) == -1
    assert not [thread for thread in threading.enumerate() if thread.name == "signals"]
    assert (len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0) == descriptors


def test_other_threads_handle_no_signals(said):
    stops = []

    def run():
        with stopping() as stop:
            stops.append(bool(stop))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert stops == [False]


@contextlib.contextmanager
def pipe(buffering):
    """A text stream into a pipe, and the end to read from."""
    reader, writer = os.pipe()
    stream = io.TextIOWrapper(os.fdopen(writer, "wb", buffering), write_through=buffering == 0)
    try:
        yield reader, stream
    finally:
        with contextlib.suppress(OSError):
            os.close(reader)


@pytest.mark.parametrize("name", ["stdout", "stderr"])
@pytest.mark.parametrize("buffering", [0, 1000])
def test_output_whose_reader_has_gone_is_no_error(name, buffering, monkeypatch):
    with pipe(buffering) as (reader, stream):
        monkeypatch.setattr(sys, name, stream)
        with lasting_output():
            print("first", file=getattr(sys, name), flush=True)
            assert os.read(reader, 100) == b"first\n"
            os.close(reader)
            for _ in range(3):
                print("second", file=getattr(sys, name))  # reaches the closed pipe here, or when the context ends
        assert getattr(sys, name) is stream
        print("third", file=stream, flush=True)  # as Python itself does when it ends
        stream.close()


def test_output_that_is_read_is_as_it_was(capsys):
    with lasting_output():
        print("text")
        print("error", file=sys.stderr)
        assert not sys.stdout.isatty()
    assert capsys.readouterr() == ("text\n", "error\n")
