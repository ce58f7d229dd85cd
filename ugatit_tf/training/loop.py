"""The training loop: steps, and what happens between them."""

import time

import numpy as np
import tensorflow as tf

from ugatit_tf.text import count
from ugatit_tf.training.checkpoint import NonFiniteError, finite_arrays
from ugatit_tf.training.clock import Clock
from ugatit_tf.training.health import judge
from ugatit_tf.training.reporting import format_about, smaller_flags
from ugatit_tf.training.schedule import learning_rate
from ugatit_tf.training.signals import stopping

SAVE_SECONDS = 600  # a checkpoint at least as often, whatever `save_freq`: what a power cut may cost


def fit(trainer, batches, run, store, reporter, draw_samples, evaluate=None, workers=None):
    """Train until the configured number of steps, or until a signal asks to stop.

    Losses stay on the device and are read every `run.log_freq` steps, and before every checkpoint, so that no
    checkpoint can hold weights from after a loss that was not finite; the store looks at the weights themselves.
    Checkpoints are written every `run.save_freq` steps, and every `SAVE_SECONDS`.

    Args:
        trainer: `Trainer`, fresh or restored.
        batches: pairs of image batches, beginning with the one of step `trainer.steps`; may raise an OSError.
        run: `ugatit_tf.RunConfig`.
        store: `CheckpointStore`.
        reporter: `Reporter`.
        draw_samples: function without arguments, returning PIL images by name.
        evaluate: function without arguments, returning a score (the lower, the better) and dict of name to float;
            called every `run.eval_every` steps. The weights with the lowest score are kept beside the last ones.
        workers: `Workers`, if there are several: each calls this function, the chief alone reports, draws, scores and
            saves, and a signal to any stops all at the next reading of the losses.

    Returns:
        Whether all steps are done (otherwise a signal stopped them; either way the state is saved).

    Raises:
        NonFiniteError: names the step and the terms or weights; the last checkpoint is from before.
        OSError: a checkpoint cannot be written, or an image not be read (then the state is saved).
    """
    total = run.train.total_steps
    unread, saved = [], trainer.steps
    best = store.best_score() if evaluate else None
    clock, saved_at = Clock(trainer.steps, total, compiled_steps(run.train)), time.monotonic()
    batches, failure = iter(batches), None
    chief = workers is None or workers.chief
    together = workers is not None and workers.count > 1
    stop = False
    with stopping() as asked:
        if chief and trainer.steps < total:
            reporter.message(
                "Compiling the training step, once per start: seconds for a small model, minutes for a large one ..."
            )
            asked.when = "after the first step, which is being compiled"
        while trainer.steps < total and not stop:
            try:
                real_a, real_b = next(batches)
            except OSError as error:
                failure = error
                break
            unread.append(trainer.step_values(real_a, real_b))
            step = trainer.steps
            if clock.needs(step):
                np.asarray(unread[-1][1])  # waits for the device, which works ahead of this
                told = clock.reached(step)
                asked.when = "at the next reading of the losses" if together else "after the current step"
                if told and chief:
                    for line in _told(told, run):
                        reporter.message(line)

            def due(freq, step=step):
                return freq and (step % freq == 0 or step == total)

            stop = bool(asked) if not together else due(run.log_freq) and workers.any(bool(asked))
            late = chief and time.monotonic() - saved_at > SAVE_SECONDS
            freqs = (run.log_freq, run.save_freq, run.print_freq, run.eval_every)
            if any(due(freq) for freq in freqs) or stop or late:
                means = _read(unread, step)
                unread = []
                if not chief:
                    continue
                store.check()
                rate, left = clock.read(step)
                reporter.losses(step, means, learning_rate(step - 1, run.train, run.model.flavor), rate, left)
                if due(run.print_freq):
                    for name, picture in draw_samples().items():
                        reporter.images(step, name, picture)
                    reporter.rho(step, _rhos(trainer.model))
                if evaluate and due(run.eval_every):
                    finite_arrays(trainer)
                    score, numbers = evaluate()
                    reporter.evaluation(step, numbers, best=score < best)
                    if score < best:
                        store.save_best(trainer, score)
                        best = score
                if due(run.save_freq) or late:
                    store.save(trainer, between=not due(run.save_freq))
                    saved, saved_at = step, time.monotonic()
                clock.go_on()
        if unread:
            _read(unread, trainer.steps)
        if chief and trainer.steps > saved:
            store.save(trainer)
    if chief:
        verdict = judge(reporter.history(), _rhos(trainer.model), run.model.flavor, run.train.cam_weight)
        reporter.health(trainer.steps, verdict)
    if failure:
        raise OSError(f"Stopped{' and saved' * chief} at step {trainer.steps}: {failure}") from failure
    return trainer.steps >= total


def compiled_steps(train):
    """How many of a session's first steps each compile a function: with n_critic there is one without the generators'
    update, too."""
    return 1 + (train.n_critic > 1)


def _told(told, run):
    """Lines on the time that a training takes, as `Clock.reached` measured it."""
    if told.steps == 0:
        return [f"The first step is done, after {count(round(told.seconds), 'second')}."]
    lines = [f"{format_about(told.left)} left, measured over {count(told.steps, 'step')}."]
    flags = smaller_flags(run.model)
    if told.left > 3600 and flags and not tf.config.list_logical_devices("GPU"):
        lines.append(f"A smaller model is faster: {flags}, in another --run_dir. So is a GPU: docs/performance.md.")
    return lines


def _read(unread, last_step):
    """The mean of each loss term over some steps, after a look at every single one."""
    collected = {}
    for offset, (names, values) in enumerate(unread, start=1 - len(unread)):
        values = np.asarray(values)
        if not np.isfinite(values).all():
            bad = [f"{name} = {value}" for name, value in zip(names, values, strict=True) if not np.isfinite(value)]
            raise NonFiniteError(f"Loss not finite at step {last_step + offset}: {', '.join(bad)}.")
        for name, value in zip(names, values, strict=True):
            collected.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in collected.items()}


def _rhos(model):
    return {
        f"rho/{network}/{variable.path.partition('/')[2].removesuffix('/rho')}": variable.numpy()
        for network, generator in model.generators.items()
        for variable in generator.trainable_variables
        if variable.name == "rho"
    }
