"""Diagnoses a training run from its logged losses; docs/evaluation.md has the same limits."""

import math

from ugatit_tf.text import count

GREY = 127.5  # grey levels of a difference of 1 between images in [-1, 1]
MIN_STEPS = 1000  # of a run; with fewer there is no verdict: all numbers still move by themselves
_SHARE = 0.1  # of the steps, whose last readings count
_GUESSES, _FAIR, _WINS = 0.55, 0.9, 0.95  # D's share of right answers: below, up to, from which on
_BLIND = 2 * math.log(2)  # loss of a CAM that guesses: two entropies
_COPY, _KEPT, _LOST = 2, 12, 30  # grey levels of a reconstruction; seen on sample sheets


def judge(records, rhos, flavor, cam_weight):
    """A verdict per part of a training, from its last tenth.

    Args:
        records: what `Trainer.step` returned, averaged between readings, with `step`; in order. Names that are missing
            (CycleGAN has no CAM, wgan-gp no right answers) are not judged.
        rhos: rho values of AdaLIN and LIN by layer, as the training ends; the layer's name has `up_norm` in it where it
            is a LIN.
        flavor: "tf1" or "pytorch".
        cam_weight: the weight of the CAM's loss.

    Returns:
        A list of lines: none for no records, and one that says so for fewer than `MIN_STEPS` steps.
    """
    if not records:
        return []
    steps = records[-1]["step"]
    if steps < MIN_STEPS:
        return [f"no verdict after {count(steps, 'step')}; it takes {MIN_STEPS:,}. Until then look at the sheets."]
    begin = (1 - _SHARE) * steps
    last = [record for record in records if record["step"] >= begin]
    lines = [_discriminator(domain, records, last) for domain in "ab"]
    lines += [_cam(domain, last) for domain in "ab"]
    lines += [_rho(rhos, flavor), _reconstruction("cycle", last), _reconstruction("identity", last)]
    lines += [_total(last, cam_weight)]
    return [line for line in lines if line]


def hit_rate(domain, record):
    """How often a domain's discriminators are right, real and translated images counted alike; None if unknown."""
    hits = [value for name, value in record.items() if name.startswith(("hit_real", "hit_fake")) and name[-1] == domain]
    return sum(hits) / len(hits) if hits and None not in hits else None


def _mean(name, records):
    values = [record[name] for record in records if record.get(name) is not None]
    return sum(values) / len(values) if values else None


def _discriminator(domain, records, last):
    rates = [rate for record in last if (rate := hit_rate(domain, record)) is not None]
    if not rates:
        return None
    rate = sum(rates) / len(rates)
    text = f"D of {domain.upper()} is right {rate:.0%} of the time"
    if rate > _WINS:
        since = _since(records, domain, lambda value: value > _WINS)
        return (
            f"{text}{since}: it wins, and the generators learn little from it. If that lasts for thousands of steps, "
            "more images, --augment_flag, or a smaller discriminator (--n_dis) help."
        )
    if rate < _GUESSES:
        since = _since(records, domain, lambda value: value < _GUESSES)
        return (
            f"{text}{since}: it guesses. With good sheets that is success; with bad ones it learns nothing: lower "
            "--lr, and see whether the images of A and B differ."
        )
    if rate > _FAIR:
        return f"{text}: it is ahead (50% is guessing, 100% a generator that fools nobody)."
    return f"{text}: a fair game (50% is guessing, 100% a generator that fools nobody)."


def _since(records, domain, holds):
    """For how many steps, up to now, something has held of a domain's hit rate; nothing where it just began."""
    before = 0
    for record in records:
        rate = hit_rate(domain, record)
        if rate is None or not holds(rate):
            before = record["step"]
    steps = records[-1]["step"] - before
    return f", and has been for {steps:,} steps" if steps else ""


def _cam(domain, last):
    rate, loss = _mean(f"hit_cam_{domain}", last), _mean(f"g_cam_{domain}", last)
    if rate is None or loss is None:
        return None
    text = f"CAM of {domain.upper()} is right {rate:.0%} of the time, its loss {loss:.2f} without its weight"
    if rate < 0.6 or loss > 0.9 * _BLIND:
        return (
            f"{text} (guessing: 50%, {_BLIND:.2f}): it does not tell A from B yet, and heatmaps mean nothing. "
            "Train on, or raise --cam_weight."
        )
    if rate < 0.8 or loss > 0.6 * _BLIND:
        return (
            f"{text} (guessing: 50%, {_BLIND:.2f}): it begins to tell A from B; heatmaps still change with every sheet."
        )
    return f"{text}: it tells A from B, and heatmaps show by what."


def _rho(rhos, flavor):
    kinds = {"AdaLIN": [], "LIN": []}
    for name, values in rhos.items():
        kinds["LIN" if "up_norm" in name else "AdaLIN"] += [float(value) for value in values]
    if not all(kinds.values()):
        return None
    means = {kind: sum(values) / len(values) for kind, values in kinds.items()}
    begun = {"AdaLIN": 1.0 if flavor == "tf1" else 0.9, "LIN": 0.0}
    parts = " and ".join(f"{mean:.2f} in {kind} (it began at {begun[kind]:g})" for kind, mean in means.items())
    moved = max(abs(means[kind] - begun[kind]) for kind in kinds) >= 0.02
    text = f"rho is {parts} on average; 1 is instance norm, 0 layer norm"
    return (
        f"{text}: {'the layers are finding their mixture.' if moved else 'it has hardly moved, as in short trainings.'}"
    )


def _reconstruction(kind, last):
    values = [_mean(f"g_{kind}_{domain}", last) for domain in "ab"]
    if None in values:
        return None
    a, b = (GREY * value for value in values)
    name = "The cycle misses" if kind == "cycle" else "The identity misses"
    text = f"{name} A by {a:.1f} and B by {b:.1f} grey levels of 255"
    if max(a, b) < _COPY:
        return f"{text}: as good as a copy. If the translations look like their inputs, lower --{kind}_weight."
    if max(a, b) > _LOST:
        return f"{text}: much is lost. Train on; if it stays, raise --{kind}_weight."
    if max(a, b) > _KEPT:
        return f"{text}: shapes and colours are there, blurred. Train on for details."
    return f"{text}: what was in the image is still there."


def _total(last, cam_weight):
    total, parts = _mean("g_loss", last), [_mean(f"g_cam_{domain}", last) for domain in "ab"]
    if total is None or None in parts or total <= 0:
        return None
    share = cam_weight * sum(parts) / total
    return (
        f"g_loss is {total:,.4g}, {share:.0%} of it the CAM's loss times its weight of {cam_weight:g}: its size says "
        "little. With the weight 1000 it begins near 2800, and 1000 is normal."
    )
