import numpy as np
import pytest

from ugatit_tf.inference import sheets

# cv2.applyColorMap(level, cv2.COLORMAP_JET) of OpenCV 4, as RGB.
OPENCV_JET = {
    0: (0, 0, 128),
    31: (0, 0, 252),
    32: (0, 0, 255),
    64: (0, 128, 255),
    95: (0, 252, 255),
    96: (2, 255, 254),
    127: (126, 255, 130),
    128: (130, 255, 126),
    158: (250, 255, 6),
    160: (255, 252, 0),
    192: (255, 124, 0),
    223: (255, 0, 0),
    224: (252, 0, 0),
    255: (128, 0, 0),
}


def fake(shift, calls=None):
    """A generator that adds `shift`, and whose heatmap rises from the left (shift > 0) or from the right."""

    def generator(images, training=False):
        assert training is False
        images = np.asarray(images, np.float32)
        if calls is not None:
            calls.append(images.shape)
        ramp = np.linspace(0, np.sign(shift), 4, dtype=np.float32)
        heatmap = np.broadcast_to(ramp[None, None, :, None], (len(images), 4, 4, 1))
        return images + np.float32(shift), np.zeros((len(images), 2)), heatmap

    return generator


def test_to_uint8_rounds_and_clips():
    # (x + 1) * 127.5: -1 -> 0, 0.001 -> 127.6 -> 128, 0.99 -> 253.7 -> 254, 1 -> 255
    values = np.array([-3, -1, 0.001, 0.99, 1, 7], np.float32)
    result = sheets.to_uint8(values)
    assert result.dtype == np.uint8
    assert result.tolist() == [0, 0, 128, 254, 255, 255]


def test_to_uint8_inverts_the_decoding_of_every_level():
    levels = np.arange(256)
    np.testing.assert_array_equal(sheets.to_uint8(levels / 127.5 - 1), levels)


def test_heatmap_colours_are_opencv_jet():
    # A map of the levels themselves, scaled and shifted: (max - min) maps back to exactly 0..255.
    heatmap = np.arange(256, dtype=np.float32).reshape(16, 16) * 2 - 100
    coloured = sheets.colour_heatmap(heatmap, 16).reshape(256, 3)
    for level, colour in OPENCV_JET.items():
        assert tuple(coloured[level].tolist()) == colour, level


def test_heatmap_is_enlarged_bilinearly():
    # Half-pixel centres, as OpenCV: [0, 255] becomes [0, 63.75, 191.25, 255].
    coloured = sheets.colour_heatmap(np.array([[0.0, 1.0]]), (3, 4))
    assert coloured.shape == (3, 4, 3)
    assert (coloured == coloured[:1]).all()
    levels = np.array([0, 64, 191, 255])
    np.testing.assert_allclose(coloured[0], [sheets._JET[level] for level in levels], atol=4)  # one level


@pytest.mark.parametrize("value", [0.0, -2.5, np.nan, np.inf])
def test_constant_or_broken_heatmap_is_plain_blue(value):
    with np.errstate(all="raise"):
        coloured = sheets.colour_heatmap(np.full((4, 4, 1), value), (8, 8))
    assert (coloured == (0, 0, 128)).all()


def test_heatmap_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"received \(2, 4, 4\)"):
        sheets.colour_heatmap(np.zeros((2, 4, 4)), 8)


def test_column_holds_the_official_seven_pictures():
    image = np.full((8, 8, 3), -0.2, np.float32)
    column = sheets.sample_column(image, fake(0.4), fake(-0.1))
    assert column.shape == (7, 8, 8, 3)
    # input; identity = back(x); translation = there(x); cycle = back(there(x))
    expected = np.rint((np.array([-0.2, -0.3, 0.2, 0.1]) + 1) * 127.5)
    np.testing.assert_array_equal(column[[0, 2, 4, 6], 0, 0, 0], expected)
    # gen_there's heatmap is red on the right, gen_back's on the left.
    blue, red = [0, 0, 128], [128, 0, 0]
    for row, (left, right) in {1: (red, blue), 3: (blue, red), 5: (red, blue)}.items():
        assert column[row, 0, 0].tolist() == left
        assert column[row, 0, -1].tolist() == right


def test_sheet_has_a_column_an_image_and_sees_one_at_a_time():
    images = np.stack([np.full((8, 12, 3), value, np.float32) for value in (-1, 0, 1)])
    calls = []
    sheet = sheets.sample_sheet(images, fake(0.1, calls), fake(-0.1, calls), labels=False)
    assert sheet.size == (3 * 12, 7 * 8)
    assert set(calls) == {(1, 8, 12, 3)}
    assert len(calls) == 9
    pixels = np.asarray(sheet)
    for index, level in enumerate((0, 128, 255)):
        assert (pixels[:8, index * 12 : (index + 1) * 12] == level).all()


@pytest.mark.parametrize("across", [False, True])
def test_labels_add_a_margin_and_change_no_picture(across):
    columns = np.random.default_rng(0).integers(0, 256, (2, 7, 64, 64, 3), np.uint8)
    plain = sheets.draw_sheet(columns, labels=False, across=across)
    labelled = sheets.draw_sheet(columns, across=across)
    left, top = labelled.width - plain.width, labelled.height - plain.height
    assert (left, top > 0) == (0, True) if across else (left > 0, top) == (True, 0)
    np.testing.assert_array_equal(np.asarray(labelled)[top:, left:], np.asarray(plain))
    margin = np.asarray(labelled.convert("L"))[: top or None, : left or None]
    # Every picture's share of the margin has writing on it, and none runs into the edge.
    for share in np.split(margin[:, : 7 * 64] if across else margin[: 7 * 64], 7, axis=1 if across else 0):
        assert share.min() < 128
    assert margin[:, 0].min() == 255
    assert margin[0].min() == 255


def test_across_transposes_the_sheet():
    columns = np.random.default_rng(0).integers(0, 256, (2, 7, 8, 8, 3), np.uint8)
    across = np.asarray(sheets.draw_sheet(columns, across=True))  # too small for names
    assert across.shape == (16, 56, 3)
    np.testing.assert_array_equal(across[8:, 3 * 8 : 4 * 8], columns[1, 3])
    np.testing.assert_array_equal(np.asarray(sheets.draw_sheet(columns))[3 * 8 : 4 * 8, 8:], columns[1, 3])


def test_sheet_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        sheets.sample_sheet(np.zeros((0, 8, 8, 3)), fake(1), fake(1))
    with pytest.raises(ValueError, match=r"\[H,W,3\]"):
        sheets.sample_column(np.zeros((1, 8, 8, 3)), fake(1), fake(1))


def test_without_the_way_back_its_pictures_are_white():
    image = np.full((8, 8, 3), -0.5, np.float32)
    whole = sheets.sample_column(image, fake(0.5), fake(-0.25))
    alone = sheets.sample_column(image, fake(0.5), None)
    for name, picture, expected in zip(sheets.ROWS, alone, whole, strict=True):
        white = name.startswith(("identity", "cycle"))
        np.testing.assert_array_equal(picture, 255 if white else expected)
