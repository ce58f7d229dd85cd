"""The training loop: steps, and what happens between them."""

import contextlib
import signal
import time

import numpy as np

from ugatit_tf.training.checkpoint import NonFiniteError, finite_arrays
from ugatit_tf.training.health import judge
from ugatit_tf.training.schedule import learning_rate


def fit(trainer, batches, run, store, reporter, draw_samples, evaluate=None, workers=None):
    """Train until the configured number of steps, or until a signal asks to stop.

    Losses stay on the device and are read every `run.log_freq` steps, and before every checkpoint, so that no
    checkpoint can hold weights from after a loss that was not finite; the store looks at the weights themselves.

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
    began = time.monotonic()
    batches, failure = iter(batches), None
    chief = workers is None or workers.chief
    together = workers is not None and workers.count > 1
    stop = False
    with _signals() as signals:
        while trainer.steps < total and not stop:
            try:
                real_a, real_b = next(batches)
            except OSError as error:
                failure = error
                break
            unread.append(trainer.step_values(real_a, real_b))
            step = trainer.steps

            def due(freq, step=step):
                return freq and (step % freq == 0 or step == total)

            stop = bool(signals) if not together else due(run.log_freq) and workers.any(bool(signals))
            freqs = (run.log_freq, run.save_freq, run.print_freq, run.eval_every)
            if any(due(freq) for freq in freqs) or stop:
                means, count = _read(unread, step), len(unread)
                unread = []
                if not chief:
                    continue
                rate = count / max(1e-9, time.monotonic() - began)
                reporter.losses(step, means, learning_rate(step - 1, run.train, run.model.flavor), rate)
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
                if due(run.save_freq):
                    store.save(trainer)
                    saved = step
                began = time.monotonic()
        if unread:
            _read(unread, trainer.steps)
        if chief and trainer.steps > saved:
            store.save(trainer)
    if chief:
        lines = judge(reporter.history(), _rhos(trainer.model), run.model.flavor, run.train.cam_weight)
        if lines:
            reporter.message("Health, from the last tenth of the steps:")
            reporter.health(trainer.steps, lines)
    if failure:
        raise OSError(f"Stopped{' and saved' * chief} at step {trainer.steps}: {failure}") from failure
    return trainer.steps >= total


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


@contextlib.contextmanager
def _signals():
    """Yields a list that becomes true at SIGTERM or Ctrl-C; a second one acts at once, as it always did."""
    received = []
    former = {}

    def note(number, frame):
        received.append(number)
        for name, handler in former.items():
            signal.signal(name, handler)

    with contextlib.suppress(ValueError):  # signals can be handled in the main thread only
        for name in (signal.SIGTERM, signal.SIGINT):
            former[name] = signal.signal(name, note)
    try:
        yield received
    finally:
        for name, handler in former.items():
            signal.signal(name, handler)
