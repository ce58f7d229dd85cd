"""Processes are told apart: living ones, dead ones, later ones of the same id, and those that cannot be seen."""

import dataclasses
import subprocess
import sys

import pytest

from ugatit_tf.weights import process
from ugatit_tf.weights.process import Process, tag_runs


def of(pid):
    return dataclasses.replace(Process.here(), pid=pid, started=process._look(pid)[1])


@pytest.fixture
def sleeper():
    with subprocess.Popen(["sleep", "60"]) as child:
        yield child
        child.kill()


def test_a_process_runs_until_it_ends(sleeper):
    other = of(sleeper.pid)
    assert Process.here().runs() is tag_runs(Process.here().tag) is True
    assert other.runs() is tag_runs(other.tag) is True
    assert other.tag != Process.here().tag
    sleeper.kill()
    sleeper.wait()
    assert other.runs() is tag_runs(other.tag) is False


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_a_process_that_nobody_has_waited_for_is_dead(sleeper):
    other = of(sleeper.pid)
    sleeper.kill()
    while process._look(sleeper.pid)[0]:
        pass
    assert other.runs() is tag_runs(other.tag) is False


def test_a_later_process_of_the_same_id_is_another():
    other = dataclasses.replace(Process.here(), started="long ago")
    assert other.runs() is tag_runs(other.tag) is False


@pytest.mark.parametrize(
    ("field", "runs"),
    [("machine", None), ("namespace", None), ("boot", False)],
    ids=["machine", "container", "restart"],
)
def test_what_can_be_seen_from_here(field, runs):
    other = dataclasses.replace(Process.here(), **{field: "other"})
    assert other.runs() is runs
    assert tag_runs(other.tag) is None  # it does not say in what the place differs


@pytest.mark.parametrize("text", ["", "12", "0123456789-1-2", "no tag"])
def test_other_texts_are_no_tags(text):
    assert tag_runs(text) is None


def test_start_times_by_ps(sleeper):
    """Where there is no /proc."""
    assert process._ps_start(sleeper.pid) == process._ps_start(sleeper.pid) != ""
    assert process._ps_start(2**30) == ""
