import dataclasses
import datetime
import io
import json
import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.util import tensor_util

from ugatit_tf.config import ModelConfig
from ugatit_tf.training import reporting
from ugatit_tf.training.reporting import Reporter, device_report, format_about, format_duration, smaller_flags
from ugatit_tf.weights.process import Process

TERMS = {
    "d_loss": 1.234,
    "g_loss": 1023.4,
    "g_cycle_a": 1.0,
    "g_cycle_b": 0.5,
    "g_identity_a": 0.25,
    "g_identity_b": 0.5,
    "g_cam_a": 400.0,
    "g_cam_b": 350.0,
}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def make(folder, start_step=0, stream=None):
    return Reporter(folder, folder / "logs", folder / "samples", 1_000_000, start_step, stream or io.StringIO())


def records(folder):
    return [json.loads(line) for line in (folder / "logs/losses.jsonl").read_text().splitlines()]


def events(folder):
    accumulator = plugin_event_accumulator.EventAccumulator(str(folder / "logs"), tensor_size_guidance={"tensors": 0})
    accumulator.Reload()
    return {
        tag: {event.step: tensor_util.make_ndarray(event.tensor_proto) for event in accumulator.Tensors(tag)}
        for tag in accumulator.Tags()["tensors"]
    }


def screen(text):
    """What a terminal shows of the text: a carriage return goes back, and what follows overwrites."""
    shown = []
    for line in text.split("\n"):
        row = ""
        for part in line.split("\r"):
            row = part + row[len(part) :]
        shown.append(row.rstrip())
    return shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "00:00:00"),
        (59.6, "00:01:00"),
        (3 * 3600 + 12 * 60 + 45, "03:12:45"),
        (86399.4, "23:59:59"),
        (86399.6, "1 d 00:00"),
        (2 * 86400 + 3 * 3600 + 12 * 60 + 59, "2 d 03:12"),
        (-5, "00:00:00"),
        (float("inf"), "--:--:--"),
    ],
)
def test_format_duration(seconds, text):
    assert format_duration(seconds) == text


def test_plain_lines_where_there_is_no_terminal(tmp_path):
    stream = io.StringIO()
    with make(tmp_path, stream=stream) as reporter:
        reporter.losses(1200, TERMS, 1e-4, 3.4)
        reporter.message("Saved a checkpoint.")
        reporter.losses(1250, TERMS, 1e-4, 0.08)
        reporter.losses(1300, TERMS, 1e-4, 0.0)
    first, message, slow, unknown = stream.getvalue().splitlines()
    # 998 800 steps at 3.4 a second are 293 765 s = 3 d 9 h 36 min
    assert first.startswith("step    1200/1000000  ")
    assert " 3.4 it/s " in first
    assert " 3 d 09:36 left" in first
    assert " ".join(first.split("left")[1].split()) == "d 1.234 g 1023.4 cycle 1.5 identity 0.75 cam 750"
    assert message == "Saved a checkpoint."
    assert "12.5 s/it" in slow
    assert "--:--:-- left" in unknown
    assert len({len(line) for line in (first, slow, unknown)}) == 1  # aligned
    assert "\r" not in stream.getvalue()


def test_one_line_rewritten_on_a_terminal(tmp_path, monkeypatch):
    monkeypatch.setattr(reporting.shutil, "get_terminal_size", lambda: os.terminal_size((70, 24)))
    stream = Terminal()
    with make(tmp_path, stream=stream) as reporter:
        reporter.losses(50, TERMS, 1e-4, 3.4)
        reporter.losses(100, {"d_loss": 1.0}, 1e-4, 3.4)  # shorter: nothing of the longer one may stay
        assert stream.getvalue().count("\n") == 0
        reporter.message("Saved a checkpoint.\nAnd more.")
    shown = screen(stream.getvalue())
    assert shown[:2] == ["Saved a checkpoint.", "And more."]
    assert shown[2].startswith("step     100/1000000")
    assert shown[2].endswith("d       1")
    assert shown[3:] == [""]
    assert max(len(part) for part in stream.getvalue().replace("\n", "\r").split("\r")) < 70


def test_json_lines(tmp_path):
    before = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=1)
    with make(tmp_path) as reporter:
        reporter.losses(np.int64(50), TERMS, np.float32(0.5), 3.4)
        assert len(records(tmp_path)) == 1  # there while the training runs
        reporter.losses(100, {"d_loss": float("nan"), "g_loss": np.float32(2)}, 1e-4, 3.5)
    first, second = records(tmp_path)
    time = datetime.datetime.fromisoformat(first.pop("time"))
    assert before <= time <= datetime.datetime.now(datetime.UTC)
    assert first == {"step": 50, "learning_rate": 0.5, "steps_per_second": 3.4, **TERMS}
    assert second["d_loss"] is None
    assert second["g_loss"] == 2


def test_tensorboard_holds_losses_rho_and_images(tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 4, 3), np.uint8))
    rho = np.array([0.0, 0.25, 1.0, 0.75])
    with make(tmp_path) as reporter:
        reporter.losses(50, TERMS, 1e-4, 3.4)
        reporter.images(50, "a2b", picture)
        reporter.rho(50, {"gen_a2b/up/rho": rho})
        logged = events(tmp_path)  # flushed while the training runs
    for name, value in TERMS.items():
        assert logged[f"loss/{name}"][50] == np.float32(value)
    assert logged["learning_rate"][50] == np.float32(1e-4)
    assert logged["steps_per_second"][50] == np.float32(3.4)
    assert [logged[f"gen_a2b/up/rho_{name}"][50] for name in ("min", "mean", "max")] == [0, 0.5, 1]
    assert logged["gen_a2b/up/rho"][50][:, 2].sum() == 4  # a histogram: left, right, count
    width, height, encoded = logged["sample/a2b"][50]
    assert (int(width), int(height)) == (4, 6)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encoded))), np.asarray(picture))


def test_sample_sheets_are_png_files(tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 4, 3), np.uint8))
    with make(tmp_path) as reporter:
        reporter.images(1000, "b2a", picture)
    assert os.listdir(tmp_path / "samples") == ["b2a_0001000.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "samples/b2a_0001000.png")), np.asarray(picture))


def test_a_resumed_run_forgets_what_came_after_its_start(tmp_path):
    for start, value in ((0, 1.0), (100, 2.0)):  # the second starts in the same second, in a test
        with make(tmp_path, start) as reporter:
            for step in range(start + 50, start + 201, 50):
                reporter.losses(step, {"d_loss": value}, 1e-4, 1.0)
                reporter.rho(step, {"rho": np.array([value])})
    steps = {50: 1.0, 100: 1.0, 150: 2.0, 200: 2.0, 250: 2.0, 300: 2.0}
    assert {record["step"]: record["d_loss"] for record in records(tmp_path)} == steps
    assert len(records(tmp_path)) == len(steps)
    logged = events(tmp_path)
    assert {step: float(value) for step, value in logged["loss/d_loss"].items()} == steps
    assert list(logged["rho"]) == list(steps)

    # An earlier start leaves the steps up to it, and drops the rest before anything is logged.
    make(tmp_path, 120).close()
    assert [record["step"] for record in records(tmp_path)] == [50, 100]
    assert list(events(tmp_path)["loss/d_loss"]) == [50, 100]


def test_health_has_its_own_place_in_tensorboard(tmp_path):
    """Right answers as they are, cycle and identity in grey levels, and the judgement as text."""
    with make(tmp_path) as reporter:
        reporter.health(50, [])
        reporter.losses(50, {**TERMS, "hit_real_global_a": 0.75, "hit_cam_b": 0.5}, 1e-4, 3.4)
        reporter.health(50, ["first", "second"])
        logged = events(tmp_path)
    assert logged["health/hit_real_global_a"][50] == 0.75
    assert "loss/hit_cam_b" not in logged
    grey = [float(logged[f"health/{name}_grey_levels"][50]) for name in ("cycle_a", "cycle_b", "identity_a")]
    assert grey == [127.5, 63.75, 31.875]
    assert logged["health/judgement"][50] == b"- first\n- second"


def test_scores_of_held_out_images(tmp_path):
    """On the screen, in TensorBoard and as JSON lines, which a run taken up again begins to write anew."""
    stream = io.StringIO()
    for start in (0, 100):
        with make(tmp_path, start, stream) as reporter:
            for step in (start + 50, start + 100, start + 150):
                reporter.evaluation(step, {"kid_a2b": 0.01 * step, "kid_b2a": 12.345678}, best=step == 100)
    lines = (tmp_path / "logs/evaluation.jsonl").read_text().splitlines()
    expected = [{"step": step, "kid_a2b": 0.01 * step, "kid_b2a": 12.345678} for step in (50, 100, 150, 200, 250)]
    assert [json.loads(line) for line in lines] == expected
    assert {step: float(value) for step, value in events(tmp_path)["evaluation/kid_a2b"].items()} == {
        record["step"]: np.float32(record["kid_a2b"]) for record in expected
    }
    assert stream.getvalue().splitlines()[:2] == [
        "step 50: held out: kid_a2b 0.5, kid_b2a 12.35",
        "step 100: held out: kid_a2b 1, kid_b2a 12.35 (the best so far)",
    ]


def test_history_reaches_back_over_sessions(tmp_path):
    assert make(tmp_path).history() == []
    for start, value in ((0, 1.0), (100, 2.0)):
        with make(tmp_path, start) as reporter:
            reporter.losses(start + 50, {"d_loss": value}, 1e-4, 1.0)
            reporter.losses(start + 100, {"d_loss": value}, 1e-4, 1.0)
            reporter.losses(start + 150, {"d_loss": value}, 1e-4, 1.0)
            history = reporter.history()
    assert [(record["step"], record["d_loss"]) for record in history] == [
        (50, 1.0),
        (100, 1.0),
        (150, 2.0),
        (200, 2.0),
        (250, 2.0),
    ]


def test_torn_lines_are_dropped(tmp_path):
    (tmp_path / "logs").mkdir()
    path = tmp_path / "logs/losses.jsonl"
    path.write_bytes(b'{"step": 50}\n{"st\nnull\n{"step": 100}\n{"step": 150}')  # the last has no newline
    with make(tmp_path, 200) as reporter:
        assert [record["step"] for record in records(tmp_path)] == [50, 100]
        reporter.losses(250, TERMS, 1e-4, 1.0)
    assert [record["step"] for record in records(tmp_path)] == [50, 100, 250]
    assert not [name for name in os.listdir(tmp_path / "logs") if name.endswith((".part", ".tmp"))]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_is_said_once_and_training_goes_on(tmp_path, capsys):
    stream = io.StringIO()
    with make(tmp_path, stream=stream) as reporter:
        os.symlink("/dev/full", tmp_path / "logs/losses.jsonl")  # every write to it: no space left
        for step in (50, 100, 150):
            reporter.losses(step, TERMS, 1e-4, 1.0)
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 1
    assert "losses.jsonl" in warnings[0]
    assert "No space left" in warnings[0]
    assert len(stream.getvalue().splitlines()) == 3
    assert list(events(tmp_path)["loss/d_loss"]) == [50, 100, 150]


def test_a_line_cut_by_a_full_disk_is_taken_back(tmp_path, monkeypatch, capsys):
    class Short(io.FileIO):
        def write(self, data):
            return super().write(data[:10])

    with make(tmp_path) as reporter:
        reporter.losses(50, TERMS, 1e-4, 1.0)
        with monkeypatch.context() as patch:
            patch.setattr(reporting, "open", lambda path, mode, buffering: Short(path, mode), raising=False)
            reporter.losses(100, TERMS, 1e-4, 1.0)
        reporter.losses(150, TERMS, 1e-4, 1.0)
    assert [record["step"] for record in records(tmp_path)] == [50, 150]
    assert "No space left" in capsys.readouterr().err


def test_failed_sample_sheet_leaves_no_half_file(tmp_path, monkeypatch, capsys):
    picture = Image.new("RGB", (4, 4))

    def full(self, file, format):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with make(tmp_path) as reporter:
        reporter.images(1, "a2b", picture)
        monkeypatch.setattr(Image.Image, "save", full)
        reporter.images(2, "a2b", picture)
        reporter.images(3, "a2b", picture)
    assert os.listdir(tmp_path / "samples") == ["a2b_0000001.png"]
    assert capsys.readouterr().err.count("sample sheets") == 1


def test_full_disk_of_every_output(tmp_path, capsys):
    resource = pytest.importorskip("resource")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with make(tmp_path) as reporter:
        reporter.losses(50, TERMS, 1e-4, 1.0)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))  # no file can grow beyond: as a full disk
        try:
            reporter.images(50, "a2b", noise)
            reporter.losses(100, TERMS, 1e-4, 1.0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        reporter.losses(150, TERMS, 1e-4, 1.0)
        reporter.images(150, "a2b", noise)
        # TensorFlow's default writer and step are as before.
        assert tf.summary.experimental.get_step() is None
        assert not tf.summary.should_record_summaries()
    assert [record["step"] for record in records(tmp_path)] == [50, 150]
    assert os.listdir(tmp_path / "samples") == ["a2b_0000150.png"]
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("WARNING: cannot")]
    assert [line.split()[3:5] for line in warnings] == [
        ["the", "sample"],
        [f"{tmp_path}/logs/losses.jsonl:", "[Errno"],
        ["TensorBoard's", "events"],
    ]
    assert list(events(tmp_path)["loss/d_loss"]) == [50]


def test_failing_tensorboard_leaves_no_default_writer(tmp_path, monkeypatch, capsys):
    calls = []

    def flush():
        if "close" not in calls:
            raise tf.errors.ResourceExhaustedError(None, None, "No space left on device\nmore")

    with make(tmp_path) as reporter:
        monkeypatch.setattr(reporter._writer, "flush", flush)
        monkeypatch.setattr(reporter._writer, "close", lambda: calls.append("close"))
        for step in (50, 100):
            reporter.losses(step, TERMS, 1e-4, 1.0)
        assert tf.summary.experimental.get_step() is None
        assert not tf.summary.should_record_summaries()
    assert len(records(tmp_path)) == 2
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 1
    assert "No space left on device. Training goes on" in warnings[0]


def test_a_closed_pipe_does_not_stop_the_training(tmp_path, capsys):
    class Pipe(io.StringIO):
        def write(self, text):
            raise BrokenPipeError(32, "Broken pipe")

    with make(tmp_path, stream=Pipe()) as reporter:
        reporter.losses(50, TERMS, 1e-4, 1.0)
        reporter.message("text")
    assert len(records(tmp_path)) == 1
    assert capsys.readouterr().err.count("Broken pipe") == 1


def test_an_error_of_the_training_passes_through(tmp_path):
    with pytest.raises(ZeroDivisionError), make(tmp_path):
        raise ZeroDivisionError


def test_a_folder_that_cannot_be_made_is_an_error_at_the_start(tmp_path):
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(FileExistsError):
        make(tmp_path)


def test_device_report():
    assert device_report(["NVIDIA H200"], 16) == "Device: NVIDIA H200."
    assert device_report([], 2) == "Device: no GPU found; training on the CPU (2 cores)."
    assert device_report([], 1).endswith("(1 core).")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (29, "Less than a minute"),
        (40, "About 1 minute"),
        (13.4 * 60, "About 13 minutes"),
        (7199, "About 120 minutes"),
        (7200, "About 2 hours"),
        (47 * 3600, "About 47 hours"),
        (153 * 86400, "About 153 days"),
        (float("inf"), "An unknown time"),
    ],
)
def test_times_in_words(seconds, text):
    assert format_about(seconds) == text


@pytest.mark.parametrize(
    ("model", "flags"),
    [
        ({}, "--light --img_size 128 --ch 32"),
        ({"light": True}, "--img_size 128 --ch 32"),
        # n_dis 6 needs 96 px, so the size cannot be halved: only what works is proposed.
        ({"light": True, "img_size": 128}, "--ch 32"),
        ({"architecture": "cyclegan"}, "--img_size 128 --ch 32"),
        ({"light": True, "img_size": 24, "n_dis": 4, "ch": 1}, ""),
    ],
)
def test_flags_of_a_smaller_model(model, flags):
    assert smaller_flags(ModelConfig(**model)) == flags


def test_the_time_left_can_be_another_than_the_rates(tmp_path):
    stream = io.StringIO()
    with make(tmp_path, stream=stream) as reporter:
        reporter.losses(1200, TERMS, 1e-4, 3.4, left=125.0)
    assert " 3.4 it/s " in stream.getvalue()
    assert " 00:02:05 left" in stream.getvalue()


def test_drafts_of_killed_runs_go_and_others_stay(tmp_path):
    mine = Process.here()
    dead = dataclasses.replace(mine, started="long ago")
    for folder in ("logs", "samples"):
        (tmp_path / folder).mkdir()
        for owner in (mine, dead):
            (tmp_path / folder / f".x.{owner.tag}-9.tmp").write_bytes(b"half")
    make(tmp_path).close()
    assert [path.name for path in tmp_path.rglob("*.tmp")] == [f".x.{mine.tag}-9.tmp"] * 2
