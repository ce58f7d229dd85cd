"""The judgement of a training, on histories made for each case."""

import pytest

from ugatit_tf.training.health import MIN_STEPS, hit_rate, judge

RHOS = {"rho/gen_a2b/decoder_block_0/norm1": [0.8, 0.9], "rho/gen_a2b/up_norm_0": [0.1, 0.2]}


def history(steps=10_000, freq=50, **values):
    """Readings of a healthy run; a value may be a function of the step."""
    usual = {"g_loss": 1000.0}
    for domain in "ab":
        usual |= {f"hit_{kind}_{depth}_{domain}": 0.7 for kind in ("real", "fake") for depth in ("global", "local")}
        usual |= {f"hit_cam_{domain}": 0.97, f"g_cam_{domain}": 0.25}
        usual |= {f"g_cycle_{domain}": 0.08, f"g_identity_{domain}": 0.06}
    terms = {**usual, **values}
    return [
        {"step": step, **{name: value(step) if callable(value) else value for name, value in terms.items()}}
        for step in range(freq, steps + 1, freq)
    ]


def lines(records, rhos=RHOS, flavor="tf1", cam_weight=1000.0):
    return judge(records, rhos, flavor, cam_weight)


def wins(domain, value):
    return {f"hit_{kind}_{depth}_{domain}": value for kind in ("real", "fake") for depth in ("global", "local")}


def test_a_healthy_run_has_a_line_on_every_part():
    assert lines(history()) == [
        "D of A is right 70% of the time: a fair game (50% is guessing, 100% a generator that fools nobody).",
        "D of B is right 70% of the time: a fair game (50% is guessing, 100% a generator that fools nobody).",
        "CAM of A is right 97% of the time, its loss 0.25 without its weight: it tells A from B, and heatmaps show by "
        "what.",
        "CAM of B is right 97% of the time, its loss 0.25 without its weight: it tells A from B, and heatmaps show by "
        "what.",
        "rho is 0.85 in AdaLIN (it began at 1) and 0.15 in LIN (it began at 0) on average; 1 is instance norm, 0 layer "
        "norm: the layers are finding their mixture.",
        "The cycle misses A by 10.2 and B by 10.2 grey levels of 255: what was in the image is still there.",
        "The identity misses A by 7.7 and B by 7.7 grey levels of 255: what was in the image is still there.",
        "g_loss is 1,000, 50% of it the CAM's loss times its weight of 1000: its size says little. With the weight "
        "1000 it begins near 2800, and 1000 is normal.",
    ]


def test_a_discriminator_that_wins_and_for_how_long():
    records = history(**wins("b", lambda step: 0.99 if step > 8000 else 0.7))
    a, b = lines(records)[:2]
    assert "a fair game" in a
    assert b.startswith("D of B is right 99% of the time, and has been for 2,000 steps: it wins, and the generators")


def test_a_discriminator_that_guesses():
    line = lines(history(**wins("a", 0.5)))[0]
    assert line.startswith("D of A is right 50% of the time, and has been for 10,000 steps: it guesses.")


def test_a_single_reading_beyond_the_bound_is_no_duration():
    """The last tenth is beyond on average, the last reading is not: nothing is said of how long."""
    line = lines(history(**wins("a", lambda step: 0.7 if step == 10_000 else 0.99)))[0]
    assert line.startswith("D of A is right 98% of the time: it wins")


def test_only_the_last_tenth_counts():
    late = lines(history(hit_cam_a=lambda step: 0.5 if step < 9000 else 0.9))[2]
    assert "CAM of A is right 90%" in late
    early = lines(history(hit_cam_a=lambda step: 0.9 if step < 9000 else 0.5))[2]
    assert "CAM of A is right 50% of the time, its loss 0.25 without its weight (guessing: 50%, 1.39)" in early
    assert "it does not tell A from B yet" in early


@pytest.mark.parametrize("steps", [1, 60, 999, 1000])
def test_no_verdict_from_too_few_steps(steps):
    """After one step: it guesses. After 60, when the sheets show brown blobs: all that was in the image is there."""
    found = lines(history(steps, freq=1, **wins("a", 0.5)))
    if steps < 1000:
        times = "1 step" if steps == 1 else f"{steps} steps"
        assert found == [f"no verdict after {times}; it takes 1,000. Until then look at the sheets."]
    else:
        assert len(found) == 8
    assert MIN_STEPS == 1000  # docs/evaluation.md says so


@pytest.mark.parametrize(
    ("rate", "words"),
    [(0.51, "it guesses"), (0.6, "a fair game"), (0.89, "a fair game"), (0.93, "it is ahead"), (0.96, "it wins")],
)
def test_limits_of_the_discriminators(rate, words):
    assert words in lines(history(**wins("a", rate)))[0]


@pytest.mark.parametrize(
    ("rate", "loss", "words"),
    [
        (1.0, 1.36, "does not tell A from B yet"),  # always right, and by hardly anything
        (0.55, 0.3, "does not tell A from B yet"),
        (0.98, 1.0, "begins to tell A from B"),
        (0.78, 0.78, "begins to tell A from B"),
        (0.98, 0.68, "it tells A from B"),
    ],
)
def test_the_cam_needs_hits_and_loss(rate, loss, words):
    assert words in lines(history(hit_cam_b=rate, g_cam_b=loss))[3]


# Seen on sheets of the demo: noise at 40 grey levels, blurred heads from 30 on, soft pictures at 20.
@pytest.mark.parametrize(
    ("grey", "words"),
    [(41, "much is lost"), (31, "much is lost"), (25, "shapes and colours are there, blurred"), (11, "is still there")],
)
def test_limits_of_reconstructions(grey, words):
    line = lines(history(**{f"g_cycle_{domain}": grey / 127.5 for domain in "ab"}))[5]
    assert words in line


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.01, "misses A by 1.3 and B by 1.3 grey levels of 255: as good as a copy"), (0.4, "51.0 and B by 51.0 grey")],
)
@pytest.mark.parametrize("kind", ["cycle", "identity"])
def test_reconstruction(kind, value, words):
    records = history(**{f"g_{kind}_{domain}": value for domain in "ab"})
    line = lines(records)[5 + (kind == "identity")]
    assert words in line
    assert f"--{kind}_weight" in line


@pytest.mark.parametrize(("flavor", "begun"), [("tf1", 1.0), ("pytorch", 0.9)])
def test_rho_that_has_not_moved(flavor, begun):
    rhos = {"rho/gen_a2b/decoder_block_0/norm1": [begun - 0.01], "rho/gen_a2b/up_norm_0": [0.005]}
    assert "it has hardly moved" in lines(history(), rhos, flavor)[4]
    assert "finding their mixture" in lines(history(), rhos, "pytorch" if flavor == "tf1" else "tf1")[4]


def test_what_is_not_there_is_not_judged():
    """A CycleGAN (no CAM, no rho, one discriminator), readings without generators (n_critic), and nothing at all."""
    records = [
        {"step": 500, "hit_real_a": 0.8, "hit_fake_a": 0.6, "hit_real_b": 0.9, "hit_fake_b": 1.0, "g_cycle_a": 0.1},
        {"step": 1000, "hit_real_a": 0.8, "hit_fake_a": 0.6, "hit_real_b": None, "hit_fake_b": 1.0},
    ]
    found = lines(records, rhos={})
    assert [line.split(":")[0] for line in found] == ["D of A is right 70% of the time"]
    assert lines([]) == []


def test_hit_rate_counts_real_and_fake_of_one_domain_alike():
    record = {"hit_real_global_a": 1.0, "hit_real_local_a": 0.8, "hit_fake_global_a": 0.2, "hit_fake_local_a": 0.4}
    assert hit_rate("a", {**record, "hit_real_global_b": 0.0, "hit_cam_a": 0.0}) == pytest.approx(0.6)
    assert hit_rate("b", record) is None
