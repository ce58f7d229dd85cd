"""Photos: read with what a camera wrote into them, translated face by face, and written again."""

import dataclasses
import io

import numpy as np
from PIL import Image

from ugatit_tf.data.colours import Colours
from ugatit_tf.data.images import ORIENTATION_TAG, fitted
from ugatit_tf.inference import faces
from ugatit_tf.inference.sheets import colour_heatmap
from ugatit_tf.inference.squares import Square, cut, paste

_JPEG = dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG")
SUFFIXES = {**_JPEG, ".png": "PNG", ".webp": "WEBP"}  # others become PNG
QUALITY = 95
_EXIF, _MAKER_NOTE = 0x8769, 0x927C
_LARGEST_JPEG_PROFILE = 255 * 65519  # bytes; of a larger one Pillow writes wrong numbers, and says nothing
LONG_SIDE = 4  # of a photo that is translated as a whole: times the model's size in training, at most


@dataclasses.dataclass(frozen=True)
class Result:
    """A photo's translation.

    Args:
        pixels: uint8 [H, W, C], as large as the photo, or as what was cropped; None if nothing was translated.
        translated: the `Face`s that were.
        refused: `(Face, reason)` for those that were not; the reasons are keys of `faces.FAULTS`.
        fault: why nothing was translated, a key of `faces.FAULTS`; None if something was.
        notes: what happened to the photo otherwise than people may think, words for them.
    """

    pixels: np.ndarray | None
    translated: list
    refused: list
    fault: str | None
    notes: tuple = ()


class PhotoTranslator:
    """Translates photos of any size.

    Args:
        generator: as `load_generator` gives it, or `ugatit_tf.serving.generator.ServedGenerator`.
        detector: `faces.FaceDetector`, or None to translate photos as a whole.
        largest: translate the largest face of each photo, not every one.
        strength: 0 leaves a photo as it is, 1 shows the translation.
        heatmap: lay the colours of the heatmap over each translation: where the generator looked.
        max_side: pixels of the longer side, at which a generator of any size sees a photo as a whole; None: `LONG_SIDE`
            times its size in training. A smaller photo is not enlarged.
        fit: how photos that are translated as a whole become squares of the generator's size, see
            `ugatit_tf.data.images.to_aspect`; None: they keep their shape where the generator takes any size, else
            "squeeze". What is squeezed or padded is undone afterwards; of a cropped photo the middle is the result.
    """

    def __init__(self, generator, detector, largest=False, strength=1.0, heatmap=False, max_side=None, fit=None):
        if not 0 <= strength <= 1:
            raise ValueError(f"strength must be from 0 to 1; received {strength}.")
        self.generator = generator
        self.detector = detector
        self.largest = largest
        self.strength = strength
        self.heatmap = heatmap
        self.max_side = max_side or LONG_SIDE * generator.size
        self.own_shape = detector is None and fit is None and getattr(generator, "any_size", False)
        self.fit = fit or "squeeze"

    def __call__(self, photo):
        """Translate a `ugatit_tf.data.images.Photo`; returns a `Result`."""
        result = photo.layer.copy() if photo.layer is not None else photo.pixels.copy()
        colours = Colours(photo.icc)
        notes = ("the first of several frames or pages",) * photo.several
        if self.detector is None:
            pixels, own = self._translate_whole(photo, result, colours)
            return Result(pixels, [], [], None, (*notes, *own))
        found = self.detector(photo.pixels)
        good, refused = [], []
        for face in found[:1] if self.largest else found:
            fault = faces.fault(photo.pixels, face.square(), self.generator.size)
            refused.append((face, fault)) if fault else good.append(face)
        if not good:
            return Result(None, [], refused, refused[0][1] if refused else "no_face", notes)
        for face in good:
            self._translate(photo, face.square(), result, colours, self.generator.size)
        return Result(result, good, refused, None, notes)

    def _translate_whole(self, photo, result, colours):
        """The pixels of the result, and notes."""
        height, width = photo.pixels.shape[:2]
        if self.own_shape:
            whole = Square.upright(0, 0, width, height)
            self._translate(photo, whole, result, colours, self.whole_size(height, width), feather=0)
            return result, ()
        left, top, across, along = fitted(width, height, self.fit)
        square = Square.upright(left, top, across, along)
        self._translate(photo, square, result, colours, self.generator.size, feather=0)
        if self.fit == "crop":
            result = result[top : top + along, left : left + across]
        done = {"squeeze": "squeezed into a square and back", "crop": "the middle", "pad": "padded to a square and cut"}
        return result, (f"{width}x{height}: {done[self.fit]}",) * (width != height)

    def whole_size(self, height, width):
        """(height, width) at which a generator of any size sees a photo as a whole."""
        scale = min(1, self.max_side / max(height, width))
        return tuple(max(8, round(side * scale / 4) * 4) for side in (height, width))  # what a generator takes

    def _translate(self, photo, square, result, colours, size, **options):
        image, heatmap = self.generator(colours.to_srgb(cut(photo.pixels, square, size)))
        if self.heatmap:
            if heatmap is None:
                raise ValueError("This TFLite file gives no heatmap: export it anew, or leave the heatmap out.")
            image = np.uint8(np.floor((image / 2 + colour_heatmap(heatmap, image.shape[:2]) / 2) + 0.5))
        paste(result[..., :3], square, colours.from_srgb(image), self.strength, **options)


def encode(photo, pixels, suffix):
    """The bytes of a photo's file, with the profile and the camera's data of the one it was made from.

    The camera's data go without the orientation, since the pixels are upright, and without the thumbnail, which shows
    the photo from before. What the format has no room for is left out, first of all the maker's note; a profile that is
    too large for it is applied instead.

    Args:
        photo: `ugatit_tf.data.images.Photo`.
        pixels: uint8 [H, W, 3], or [H, W, 4] of a transparent one; upright.
        suffix: of the new file, such as `.jpg`.
    """
    kind = SUFFIXES.get(suffix.lower(), "PNG")
    if kind == "JPEG" and pixels.shape[-1] == 4:
        layer = Image.fromarray(pixels)
        pixels = np.asarray(Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB"))
    options = {} if kind == "PNG" else {"quality": QUALITY}
    icc = photo.icc
    if icc and kind == "JPEG" and len(icc) > _LARGEST_JPEG_PROFILE:
        pixels, icc = Colours(icc).to_srgb(pixels), None
    for exif in (_camera_data(photo.exif), _camera_data(photo.exif, maker_note=False)):
        try:
            return _save(pixels, kind, icc_profile=icc, exif=exif, **options)
        except Exception:  # what Pillow raises of data that are too large depends on the format
            continue
    return _save(pixels, kind, icc_profile=icc, **options)


def _save(pixels, kind, **options):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind, **options)
    return content.getvalue()


def _camera_data(exif, maker_note=True):
    """What a camera wrote, as bytes; empty if nobody can read it. (Pillow writes no thumbnail.)"""
    kept = Image.Exif()
    try:
        kept.load(exif or b"")
        kept.pop(ORIENTATION_TAG, None)
        if not maker_note:
            kept.get_ifd(_EXIF).pop(_MAKER_NOTE, None)
        return kept.tobytes()
    except Exception:  # damaged metadata raises anything, and is not worth a picture
        return b""
