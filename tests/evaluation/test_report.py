"""What people see of hand-made scores: tables letter by letter, and a plot by what was drawn."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from ugatit_tf.evaluation import report

PANEL = 600  # pixels


def record(direction="a2b", weights="raw", step=None, label="x", networks=("net",), pairs=None, **scores):
    scores = {"kid": 0.1, "kid_error": 0.01, "fid": 20.0, "note": "A note.", "warnings": [], **scores}
    found = {"label": label, "weights": weights, "step": step, "direction": direction, "size": [64, 64]}
    return {**found, "features": dict.fromkeys(networks, scores)} | ({"pairs": pairs} if pairs else {})


FULL = {
    "kid": -0.00456,
    "kid_error": 0.0123,
    "fid": 123.45678,
    "inception_score": 1.239,
    "inception_score_error": 0.0149,
    "precision": 1.0,
    "recall": 0.126,
    "density": 1.5,
    "coverage": 0.004,
    "mean_kid": 0.0777,
    "mean_kid_error": 0.1,
}


# --- tables ---


def test_a_table_with_everything():
    full = record("b2a", label="step 7, raw", pairs={"l1": 12.345, "psnr": 19.98, "ssim": 0.12345}, **FULL)
    assert report.table([full], "net").splitlines() == [
        "| B to A      | KID            | FID   | inception score | precision | recall |",
        "| ----------- | -------------- | ----- | --------------- | --------- | ------ |",
        "| step 7, raw | -0.0046±0.0123 | 123.5 | 1.24±0.01       | 1.00      | 0.13   |",
        "",
        "| B to A      | density | coverage | mean KID      | L1   | PSNR, dB | SSIM  |",
        "| ----------- | ------- | -------- | ------------- | ---- | -------- | ----- |",
        "| step 7, raw | 1.50    | 0.00     | 0.0777±0.1000 | 12.3 | 20.0     | 0.123 |",
    ]


def test_the_best_of_each_column_is_bold():
    rows = [
        record(label="untranslated", kid=0.3, fid=10.0, precision=0.5, pairs={"psnr": 20.0}),
        record(label="step 1", kid=0.2, fid=20.0, precision=0.75, pairs={"psnr": 21.0}),
        record(label="step 2", kid=0.2, fid=30.0, precision=0.75),
        record("b2a", label="step 1", kid=0.9),
    ]
    a2b, b2a = report.table(rows, "net").split("\n\n")
    assert a2b.splitlines() == [
        "| A to B       | KID               | FID      | precision | PSNR, dB |",
        "| ------------ | ----------------- | -------- | --------- | -------- |",
        "| untranslated | 0.3000±0.0100     | **10.0** | 0.50      | 20.0     |",
        "| step 1       | **0.2000±0.0100** | 20.0     | **0.75**  | **21.0** |",
        "| step 2       | **0.2000±0.0100** | 30.0     | **0.75**  |          |",
    ]
    assert b2a.splitlines()[2] == "| step 1 | 0.9000±0.0100 | 20.0 |"


def test_no_mean_kid_is_bold():
    """It is lowest for images that are not translated at all."""
    rows = [record(label="untranslated", mean_kid=0.0, mean_kid_error=0.0), record(label="step 1", **FULL)]
    lines = report.table([*rows, record(label="step 2")], "net").splitlines()
    (cells,) = [[cell.strip() for cell in line.split("|")] for line in lines if "0.0000±0.0000" in line]
    assert "0.0000±0.0000" in cells
    assert "" in [line.split("|")[-2].strip() for line in lines if line.startswith("| step 2")]  # which has none


def test_tables_fit_a_terminal():
    """As long as labels do: a column that is too wide for one line has a table of its own."""
    rows = [record(label=f"UGATIT_light_selfie2anime step {n}, average", **FULL, pairs={"l1": 1.0}) for n in range(3)]
    assert max(len(line) for line in report.table(rows, "net").splitlines()) <= 80


def test_columns_stand_only_where_a_metric_is():
    rows = [
        record(label="few"),
        record("", label="more", precision=0.5),
        record(label="pair", pairs={"psnr": math.inf}),
    ]
    rows[1]["size"], rows[2]["size"] = [64, 96], None
    assert report.table(rows, "net").splitlines() == [
        "| A to B | size     | KID               | FID      | PSNR, dB |",
        "| ------ | -------- | ----------------- | -------- | -------- |",
        "| few    | 64 px    | **0.1000±0.0100** | **20.0** |          |",
        "| pair   | own size | **0.1000±0.0100** | **20.0** | **inf**  |",
        "",
        "|      | size     | KID           | FID  | precision |",
        "| ---- | -------- | ------------- | ---- | --------- |",
        "| more | 64x96 px | 0.1000±0.0100 | 20.0 | 0.50      |",
    ]


def test_every_column_has_a_rule():
    """A Markdown table needs one, under an empty column too."""
    rule = report.table([record("", label="x")], "net").splitlines()[1]
    assert rule == "| --- | ------------- | ---- |"


def test_a_table_is_of_one_network():
    two = record(networks=("one",)) | {"direction": "b2a"}
    two["features"]["two"] = {"kid": 0.2, "kid_error": 0.0, "fid": 1.0}
    assert "| 0.1000±0.0100 | 20.0 |" in report.table([two], "one")
    assert "| 0.2000±0.0000 | 1.0 |" in report.table([two], "two")


def test_a_page_has_every_network_and_each_warning_once():
    records = [record(networks=("one", "two"), warnings=["Few."]), record(warnings=["Few.", "Old."], networks=("two",))]
    records[1]["features"]["one"] = {**records[1]["features"]["two"], "warnings": ["New.", "Few."]}
    assert report.warnings(records, "one") == ["Few.", "New."]
    assert report.warnings(records, "two") == ["Few.", "Old."]
    tables = [report.table(records, name) for name in ("one", "two")]
    sizes = "Translations and real images at 64 px."
    one, two = (
        f"Features: {n}. A note. {sizes}\n\n{table}\n\n" for n, table in zip(("one", "two"), tables, strict=True)
    )
    assert report.markdown(records) == f"{one}- Few.\n- New.\n\n{two}- Few.\n- Old.\n"
    assert report.markdown([record()]).endswith("| 20.0 |\n\n")


def test_images_of_several_sizes_compare_with_no_others():
    own = record() | {"size": None}
    assert "Translations of several sizes: each image in its own size, so compare with nothing" in report.markdown(
        [own]
    )


def test_finite():
    value = {"a": [1.5, math.inf, {"b": -math.inf, "c": (math.nan, 2)}], "d": math.nan, "e": None, "f": "nan", "g": 3}
    value["a"][2]["c"] = [math.nan, 2]
    found = report.finite(value)
    assert found == {"a": [1.5, None, {"b": None, "c": [None, 2]}], "d": None, "e": None, "f": "nan", "g": 3}
    json.dumps(found, allow_nan=False)
    assert report.finite(np.float64("inf")) is None


# --- the plot ---


@pytest.fixture
def figures(monkeypatch):
    """The figures that were drawn."""
    made, figure = [], report.Figure

    def make(*args, **words):
        made.append(figure(*args, **words))
        return made[-1]

    monkeypatch.setattr(report, "Figure", make)
    return made


def points(axes):
    """What stands in a panel: lists of (x, y), of level lines only y, by line."""
    found = []
    for line in axes.get_lines():
        x, y = line.get_xdata(), line.get_ydata()
        if line.get_linestyle() != "None":  # the ends of error bars
            found.append(y[0] if list(x) == [0, 1] else list(zip(x, y, strict=True)))
    return found


def bars(axes):
    """The error bars' lower and upper ends, by line."""
    return [[path.vertices[:, 1].tolist() for path in lines.get_paths()] for lines in axes.collections]


def of_steps(steps, **words):
    return [record(step=step, kid=step / 1000, kid_error=0.01, fid=1000 / step, **words) for step in steps]


def untranslated(direction, **words):
    return record(direction, "untranslated", None, **words)


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_metrics_against_the_step(tmp_path, figures):
    ssim = {"l1": 30.0, "psnr": 10.0, "ssim": 0.5}
    rows = [untranslated("a2b", pairs=ssim, kid=0.9), *of_steps([20, 100, 10], pairs=ssim | {"l1": 25.0})]
    report.plot(rows, [], tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (3 * PANEL, 1008))
    kid, fid, l1, ssim = figures[0].axes
    titles = ["KID (net)", "FID (net)", "L1 to the truth, grey levels", "SSIM to the truth"]
    assert [axes.get_title() for axes in (kid, fid, l1, ssim)] == titles
    assert points(kid) == [0.9, [(10, 0.01), (20, 0.02), (100, 0.1)]]
    np.testing.assert_allclose(bars(kid), [[[0, 0.02], [0.01, 0.03], [0.09, 0.11]]], atol=1e-9)
    assert points(fid) == [20, [(10, 100), (20, 50), (100, 10)]]
    assert points(l1) == [30, [(10, 25), (20, 25), (100, 25)]]
    assert points(ssim)[0] == 0.5
    assert not fid.collections  # no errors, no bars
    assert legend(figures[0]) == ["untranslated, A to B", "raw, A to B"]


@pytest.mark.parametrize("steps", [[5], list(range(1000, 60_000, 1000))], ids=["one step", "many steps"])
def test_one_step_and_many_steps(tmp_path, figures, steps):
    rows = [untranslated("b2a"), *of_steps(steps, direction="b2a"), *of_steps(steps, direction="b2a", weights="ema")]
    report.plot(rows, [], tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.size == (2 * PANEL, 528)
        assert np.ptp(np.asarray(picture.convert("L"))) > 200
    for axes in figures[0].axes:
        assert [len(line) for line in points(axes)[1:]] == [len(steps), len(steps)]
        ticks = [tick.get_text() for tick in axes.get_xticklabels()]
        assert all("." not in text for text in ticks)


def test_series_by_weights_and_direction_look_different(tmp_path, figures):
    rows = [untranslated(direction) for direction in ("a2b", "b2a")]
    for weights in ("raw", "ema"):
        rows += [row for direction in ("a2b", "b2a") for row in of_steps([1, 2], weights=weights, direction=direction)]
    report.plot(rows, [], tmp_path / "x.png")
    fid = figures[0].axes[1]
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in fid.get_lines()}
    assert len(looks) == len(points(fid)) == 6
    names = ("untranslated", "raw", "ema")
    assert sorted(legend(figures[0])) == sorted(f"{name}, {way}" for name in names for way in ("A to B", "B to A"))
    box = figures[0].legends[0].get_window_extent()
    assert all(box.y1 <= axes.get_tightbbox().y0 for axes in figures[0].axes)  # it covers no data


def test_equal_levels_do_not_cover_one_another(tmp_path, figures):
    report.plot([untranslated("a2b"), untranslated("b2a"), *of_steps([1, 2])], [], tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        fid = np.asarray(picture.convert("RGB"))[:, PANEL:].astype(int)
    blue, orange = (np.abs(fid - colour).max(2) < 20 for colour in ((31, 119, 180), (255, 127, 14)))
    assert np.minimum(blue.sum(1), orange.sum(1)).max() > 60  # pixels of one row


def test_several_networks_have_panels_of_their_own(tmp_path, figures):
    rows = [row for step in (1, 2) for row in of_steps([step], networks=("one", "two"))]
    report.plot(rows, [], tmp_path / "x.png")
    titles = [axes.get_title() for axes in figures[0].axes]
    assert titles == ["KID (one)", "FID (one)", "KID (two)", "FID (two)"]
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.size == (3 * PANEL, 1008)


def test_held_out_images_have_a_panel_of_their_own(tmp_path, figures):
    held_out = [
        {"step": 10, "kid_a2b": 0.3, "kid_b2a": 0.4, "ema_kid_a2b": None, "ema_kid_b2a": None},
        {"step": 20, "kid_a2b": None, "kid_b2a": 0.2, "ema_kid_b2a": 0.1, "ema_kid_a2b": None},
        {"step": 30, "kid_a2b": 0.1, "other": 5, "kid_b2a": math.nan},
    ]
    report.plot(of_steps([10]), held_out, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.width == 3 * PANEL
    axes = figures[0].axes[2]
    assert axes.get_title() == "KID of held-out images, in training"
    raw_a2b, raw_b2a, ema_b2a = points(axes)
    assert raw_a2b == [(10, 0.3), (30, 0.1)]
    assert raw_b2a[:2] == [(10, 0.4), (20, 0.2)]
    assert ema_b2a == [(20, 0.1)]
    assert legend(figures[0]) == ["raw, A to B", "raw, B to A", "ema, B to A"]


@pytest.mark.parametrize("held_out", [[{"step": 1, "kid_a2b": None}], [{"step": 1}], []])
def test_held_out_lines_without_a_score_draw_nothing(tmp_path, held_out):
    report.plot(of_steps([10]), held_out, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.width == 2 * PANEL


def test_a_plot_goes_to_an_open_file(tmp_path):
    with open(tmp_path / "x", "wb") as file:
        report.plot(of_steps([1, 2]), [], file)
    with Image.open(tmp_path / "x") as picture:
        assert picture.format == "PNG"
