"""Photos: read with what a camera wrote into them, translated face by face, and written again."""

import contextlib
import dataclasses
import io

import numpy as np
from PIL import Image, ImageCms

from ugatit_tf.data.images import ORIENTATION_TAG
from ugatit_tf.inference import faces
from ugatit_tf.inference.sheets import colour_heatmap
from ugatit_tf.inference.squares import Square, cut, paste

SUFFIXES = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}  # others become PNG
QUALITY = 95
LONG_SIDE = 4  # of a photo that is translated as a whole: times the model's size in training, at most


@dataclasses.dataclass(frozen=True)
class Result:
    """A photo's translation.

    Args:
        pixels: uint8 [H, W, C], as large as the photo; None if nothing was translated.
        translated: the `Face`s that were.
        refused: `(Face, reason)` for those that were not; the reasons are keys of `faces.FAULTS`.
        fault: why nothing was translated, a key of `faces.FAULTS`; None if something was.
    """

    pixels: np.ndarray | None
    translated: list
    refused: list
    fault: str | None


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
    """

    def __init__(self, generator, detector, largest=False, strength=1.0, heatmap=False, max_side=None):
        if not 0 <= strength <= 1:
            raise ValueError(f"strength must be from 0 to 1; received {strength}.")
        self.generator = generator
        self.detector = detector
        self.largest = largest
        self.strength = strength
        self.heatmap = heatmap
        self.max_side = max_side or LONG_SIDE * generator.size

    def __call__(self, photo):
        """Translate a `ugatit_tf.data.images.Photo`; returns a `Result`."""
        result = photo.layer.copy() if photo.layer is not None else photo.pixels.copy()
        colours = Colours(photo.icc)
        if self.detector is None:
            whole = Square.upright(0, 0, photo.pixels.shape[1], photo.pixels.shape[0])
            size = self.whole_size(*photo.pixels.shape[:2])
            self._translate(photo, whole, result, colours, size, feather=0)
            return Result(result, [], [], None)
        found = self.detector(photo.pixels)
        good, refused = [], []
        for face in found[:1] if self.largest else found:
            fault = faces.fault(photo.pixels, face.square(), self.generator.size)
            refused.append((face, fault)) if fault else good.append(face)
        if not good:
            return Result(None, [], refused, refused[0][1] if refused else "no_face")
        for face in good:
            self._translate(photo, face.square(), result, colours, self.generator.size)
        return Result(result, good, refused, None)

    def whole_size(self, height, width):
        """(height, width) at which the generator sees a photo as a whole: of its own shape where that is possible."""
        if not getattr(self.generator, "any_size", False):
            return self.generator.size, self.generator.size
        scale = min(1, self.max_side / max(height, width))
        return tuple(max(8, round(side * scale / 4) * 4) for side in (height, width))  # what a generator takes

    def _translate(self, photo, square, result, colours, size, **options):
        image, heatmap = self.generator(colours.to_srgb(cut(photo.pixels, square, size)))
        if self.heatmap:
            if heatmap is None:
                raise ValueError("This TFLite file gives no heatmap: export it anew, or leave the heatmap out.")
            image = np.uint8(np.floor((image / 2 + colour_heatmap(heatmap, image.shape[:2]) / 2) + 0.5))
        paste(result[..., :3], square, colours.from_srgb(image), self.strength, **options)


class Colours:
    """From a photo's colour space to that of the network's images, and back.

    Args:
        icc: the photo's ICC profile, for RGB; None for sRGB.
    """

    def __init__(self, icc):
        self._there = self._back = None
        if icc is None:
            return
        with contextlib.suppress(ImageCms.PyCMSError, OSError):  # viewers take a photo for sRGB, too, in that case
            profile, srgb = ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB")
            there = ImageCms.buildTransform(profile, srgb, "RGB", "RGB")
            self._there, self._back = there, ImageCms.buildTransform(srgb, profile, "RGB", "RGB")

    def to_srgb(self, image):
        return _transform(image, self._there)

    def from_srgb(self, image):
        return _transform(image, self._back)


def _transform(image, transform):
    if transform is None:
        return image
    return np.asarray(ImageCms.applyTransform(Image.fromarray(image), transform))


def encode(photo, pixels, suffix):
    """The bytes of a photo's file, with the profile and the camera's data of the one it was made from.

    Args:
        photo: `ugatit_tf.data.images.Photo`.
        pixels: uint8 [H, W, 3], or [H, W, 4] of a transparent one; upright.
        suffix: of the new file, such as `.jpg`.
    """
    kind = SUFFIXES.get(suffix.lower(), "PNG")
    image = Image.fromarray(pixels)
    if kind == "JPEG" and image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    content = io.BytesIO()
    options = {} if kind == "PNG" else {"quality": QUALITY}
    image.save(content, kind, icc_profile=photo.icc, exif=_upright(photo.exif), **options)
    return content.getvalue()


def _upright(exif):
    """What a camera wrote, without the orientation, as bytes; empty if nobody can read it."""
    kept = Image.Exif()
    try:
        kept.load(exif or b"")
        kept.pop(ORIENTATION_TAG, None)
        return kept.tobytes()
    except Exception:  # damaged metadata raises anything, and is not worth a picture
        return b""
