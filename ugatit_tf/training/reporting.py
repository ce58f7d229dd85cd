"""What a training run says: the progress line, the losses as JSON lines, TensorBoard, and the sample sheets."""

import contextlib
import dataclasses
import datetime
import errno
import json
import math
import os
import pathlib
import shutil
import sys
import time

import numpy as np
import tensorflow as tf

from ugatit_tf.text import count
from ugatit_tf.training.health import GREY
from ugatit_tf.weights.atomic import remove_abandoned, replacing

# What the progress line shows: a name, and the loss terms that are added up under it.
_SHOWN = {
    "d": ("d_loss",),
    "g": ("g_loss",),
    "cycle": ("g_cycle_a", "g_cycle_b"),
    "identity": ("g_identity_a", "g_identity_b"),
    "cam": ("g_cam_a", "g_cam_b"),
}


def format_duration(seconds):
    """Seconds as `"03:12:45"`, or from one day on as `"2 d 03:12"`; `"--:--:--"` if not finite."""
    if not math.isfinite(seconds):
        return "--:--:--"
    minutes, second = divmod(max(0, round(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{days} d {hour:02}:{minute:02}" if days else f"{hour:02}:{minute:02}:{second:02}"


def format_about(seconds):
    """Seconds as `"About 13 minutes"`, in the unit that a person would choose."""
    if not math.isfinite(seconds):
        return "An unknown time"
    for unit, size in (("days", 86400), ("hours", 3600)):
        if seconds >= 2 * size:
            return f"About {seconds / size:,.0f} {unit}"
    minutes = round(seconds / 60)
    return f"About {count(minutes, 'minute')}" if minutes else "Less than a minute"


def device_report(gpus, cores):
    """A line on what the training runs on.

    Args:
        gpus: names of the GPUs found, a list of str, possibly empty.
        cores: number of CPU cores.
    """
    if gpus:
        return f"Device: {', '.join(gpus)}."
    return f"Device: no GPU found; training on the CPU ({count(cores, 'core')})."


def smaller_flags(model_config):
    """Flags of a model that takes less time: the light generator, half the size, half the channels; "" for none."""
    light = model_config.architecture == "ugatit"
    smaller = dataclasses.replace(model_config, light=light, ch=max(1, model_config.ch // 2))
    with contextlib.suppress(ValueError):  # half the size can be too small for the discriminators
        smaller = dataclasses.replace(smaller, img_size=model_config.img_size // 8 * 4)
    flags = ["--light"] if light and not model_config.light else []
    flags += [
        f"--{name} {getattr(smaller, name)}"
        for name in ("img_size", "ch")
        if getattr(smaller, name) != getattr(model_config, name)
    ]
    return " ".join(flags)


def _parse_line(line):
    """The record of one JSON line, or None for one that was torn when a run was killed."""
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
        return record if isinstance(record["step"], int) else None
    except (ValueError, TypeError, KeyError):
        return None


def _drop_lines_after(path, step):
    """Rewrite a file of JSON lines without those of a later step, and without torn ones."""
    if not path.exists():
        return
    with open(path, "rb") as old, replacing(path) as new:
        for line in old:
            record = _parse_line(line)
            if record is not None and record["step"] <= step:
                new.write(line)


def _append(path, line):
    """Append a whole line or, where the disk is full, nothing of it."""
    with open(path, "ab", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        try:
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(size)
            raise


def _write_session_start(log_dir, step):
    """Tell TensorBoard that a run starts after `step`, so that it forgets what an earlier one logged beyond.

    TensorBoard drops the events with a step at or above that of a SessionLog START event, from the second such
    event on, and reads a folder's files in the order of their names. So every run leaves one, in a file whose name
    is the first of this second: shorter than, and a prefix of, those that `tf.summary` makes.
    """
    names = [path.name.split(".") for path in log_dir.glob("events.out.tfevents.*")]
    latest = max((int(parts[3]) for parts in names if parts[3].isdigit()), default=0)
    # At most one second: the names of an earlier run in the same second would come after this one's.
    time.sleep(min(1, max(0, latest + 1 - time.time())))
    path = log_dir / f"events.out.tfevents.{int(time.time()):010d}"
    event = tf.compat.v1.Event
    start = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
        writer.write(event(wall_time=time.time(), step=step + 1, session_log=start).SerializeToString())


def _tag(name, terms):
    if name.startswith("hit_"):
        return f"health/{name}"
    return f"loss/{name}" if name in terms else name


class Reporter:
    """Shows and records a training run; a context manager.

    A run that is taken up again at `start_step` drops what an interrupted one reported after that step. Writing
    that fails while the training goes on (a full disk) is told once for each kind of output, on stderr, and the
    training continues: its checkpoints matter more than its reports.

    Args:
        run_dir: the run's folder.
        log_dir: folder of `losses.jsonl`, `evaluation.jsonl` and TensorBoard's events.
        sample_dir: folder of the sample sheets.
        total_steps: steps of the whole training.
        start_step: number of steps that were done before.
        stream: where the progress goes; a terminal gets one line that is rewritten, anything else a line each time.

    Raises:
        OSError: a folder cannot be made, or the files of the earlier run cannot be rewritten.
    """

    def __init__(self, run_dir, log_dir, sample_dir, total_steps, start_step=0, stream=None):
        self.run_dir = pathlib.Path(run_dir)
        self.log_dir = pathlib.Path(log_dir)
        self.sample_dir = pathlib.Path(sample_dir)
        self.total_steps = total_steps
        self.start_step = start_step
        self.stream = sys.stdout if stream is None else stream
        self._in_place = self.stream.isatty()
        self._line = ""
        self._warned = set()
        for folder in (self.run_dir, self.log_dir, self.sample_dir):
            folder.mkdir(parents=True, exist_ok=True)
            remove_abandoned(folder)
        self._losses_path = self.log_dir / "losses.jsonl"
        self._evaluation_path = self.log_dir / "evaluation.jsonl"
        for path in (self._losses_path, self._evaluation_path):
            _drop_lines_after(path, start_step)
        try:
            _write_session_start(self.log_dir, start_step)
            self._writer = tf.summary.create_file_writer(str(self.log_dir))
        except tf.errors.OpError as error:  # how TensorFlow reports a full disk
            raise OSError(errno.EIO, error.message.partition("\n")[0], str(self.log_dir)) from error

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    @contextlib.contextmanager
    def _tolerate(self, what):
        """Let the training go on when writing fails, and say so once for each kind of output."""
        try:
            yield
        # tf.summary's writers report a full disk as an OpError.
        except (OSError, tf.errors.OpError) as error:
            if what in self._warned:
                return
            self._warned.add(what)
            reason = str(getattr(error, "message", error)).splitlines()[0]
            text = f"WARNING: cannot write {what}: {reason}. Training goes on; this is said only once."
            with contextlib.suppress(OSError):
                print(("\n" if self._in_place and self._line else "") + text, file=sys.stderr, flush=True)

    def _print(self, text):
        with self._tolerate("the progress"):
            self.stream.write(text)
            self.stream.flush()

    @contextlib.contextmanager
    def _tensorboard(self, step):
        what = "TensorBoard's events (none follow in this session)"
        with self._tolerate(what), self._writer.as_default(int(step)):
            try:
                yield
                self._writer.flush()
            except (OSError, tf.errors.OpError):
                # What followed would lie behind half a record, where none can read it. A closed writer is not
                # flushed again on the way out, where a failure would leave it TensorFlow's default writer.
                with contextlib.suppress(tf.errors.OpError):
                    self._writer.close()
                self._writer = tf.summary.create_noop_writer()
                raise

    def _progress_line(self, step, terms, steps_per_second, left):
        if steps_per_second >= 1:
            speed = f"{steps_per_second:5.1f} it/s"
        else:
            speed = f"{1 / steps_per_second:5.1f} s/it" if steps_per_second > 0 else "  --- it/s"
        parts = [f"step {step:{len(str(self.total_steps))}}/{self.total_steps}", speed]
        parts.append(f"{format_duration(left):>11} left")
        for label, names in _SHOWN.items():
            values = [float(terms[name]) for name in names if name in terms]
            if values:
                parts.append(f"{label} {sum(values):7.5g}")
        return "  ".join(parts)

    def losses(self, step, terms, learning_rate, steps_per_second, left=None):
        """Report the losses of a step: progress line, one JSON line, and TensorBoard's scalars.

        Args:
            step: number of steps done.
            terms: dict of name to float; `d_loss`, `g_loss`, `g_cycle_a`, `g_cycle_b`, `g_identity_a`,
                `g_identity_b`, `g_cam_a` and `g_cam_b` are shown in the progress line, all are recorded. A value
                that is not finite becomes null in JSON, which has no such numbers.
            learning_rate: float.
            steps_per_second: float; 0 when it is not known yet.
            left: seconds to the end of the training; None: what `steps_per_second` makes of it.
        """
        if left is None:
            left = (self.total_steps - step) / steps_per_second if steps_per_second > 0 else math.inf
        numbers = {"learning_rate": learning_rate, "steps_per_second": steps_per_second, **terms}
        numbers = {name: float(value) for name, value in numbers.items()}
        line = self._progress_line(step, terms, numbers["steps_per_second"], left)
        if self._in_place:
            # A line longer than the terminal would wrap, and could not be rewritten.
            line = line[: shutil.get_terminal_size().columns - 1]
            self._print("\r" + line.ljust(len(self._line)))
            self._line = line
        else:
            self._print(line + "\n")

        record = {"step": int(step), "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
        record |= {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        with self._tolerate(str(self._losses_path)):
            _append(self._losses_path, (json.dumps(record) + "\n").encode())

        with self._tensorboard(step):
            for name, value in numbers.items():
                tf.summary.scalar(_tag(name, terms), value)
                if name.startswith(("g_cycle", "g_identity")):
                    tf.summary.scalar(f"health/{name[2:]}_grey_levels", GREY * value)

    def images(self, step, name, picture):
        """Save a sample sheet as `sample_dir/NAME_0001000.png` (whole or not at all), and show it in TensorBoard.

        Args:
            step: number of steps done.
            name: `"a2b"` or `"b2a"`.
            picture: a `PIL.Image`.
        """
        with self._tolerate("the sample sheets"):
            with replacing(self.sample_dir / f"{name}_{int(step):07d}.png") as file:
                picture.save(file, format="PNG")
            # Not reached on a full disk: TensorFlow does not report that it could write only half of a large event.
            with self._tensorboard(step):
                tf.summary.image(f"sample/{name}", np.asarray(picture.convert("RGB"))[None])

    def rho(self, step, named_values):
        """Log AdaLIN's and LIN's rho to TensorBoard: a histogram of each, and as scalars its `_min`, `_mean`, `_max`.

        Args:
            step: number of steps done.
            named_values: dict of name to float array, any shape.
        """
        with self._tensorboard(step):
            for name, values in named_values.items():
                values = np.asarray(values, np.float32)
                tf.summary.histogram(name, values)
                for suffix in ("min", "mean", "max"):
                    tf.summary.scalar(f"{name}_{suffix}", getattr(values, suffix)())

    def evaluation(self, step, scores, best):
        """Report the scores of held-out images: a line, one JSON line, and TensorBoard's scalars.

        Args:
            step: number of steps done.
            scores: dict of name to float.
            best: whether they are the best so far.
        """
        shown = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
        self.message(f"step {step}: held out: {shown}{' (the best so far)' if best else ''}")
        with self._tolerate(str(self._evaluation_path)):
            _append(self._evaluation_path, (json.dumps({"step": int(step), **scores}) + "\n").encode())
        with self._tensorboard(step):
            for name, value in scores.items():
                tf.summary.scalar(f"evaluation/{name}", value)

    def health(self, step, lines):
        """Show a training's health, one line per verdict, on the screen and in TensorBoard; nothing for no lines."""
        if not lines:
            return
        if len(lines) == 1:
            self.message(f"Health: {lines[0]}")
        else:
            self.message("\n- ".join(["Health, from the last tenth of the steps:", *lines]))
        with self._tensorboard(step):
            tf.summary.text("health/judgement", "\n".join(f"- {line}" for line in lines))

    def history(self):
        """What `losses` recorded since the training began, earlier sessions included: dicts with `step`."""
        with contextlib.suppress(OSError), open(self._losses_path, "rb") as file:
            return [record for line in file if (record := _parse_line(line)) is not None]
        return []

    def message(self, text):
        """Print a line of its own; a progress line in place stays below it."""
        if self._line:
            lines = f"{text}\n".split("\n", 1)
            self._print("\r" + lines[0].ljust(len(self._line)) + "\n" + lines[1] + self._line)
        else:
            self._print(f"{text}\n")

    def close(self):
        """End the progress line and close the event file. Closing twice is allowed."""
        if self._line:
            self._line = ""
            self._print("\n")
        with self._tolerate("TensorBoard's events"):
            self._writer.close()
