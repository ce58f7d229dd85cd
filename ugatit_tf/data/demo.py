"""A drawn demo set: shaded portraits (domain A) and anime portraits (domain B), made on first use from a seed.

Both domains draw the same kind of `Portrait`, so a translation keeps what a viewer would call the person (hair,
skin, eyes, clothes, pose) and changes the shapes as well as the texture. The training images of the two domains show
different people; the test images show the same people under the same names, so a translation has a truth.
"""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ugatit_tf.weights import atomic

VERSION = 1
HAIR_STYLES = ("short", "bob", "long", "tails")

# Few and distinct colours, and one studio's backdrop: instance norm makes colour the slowest thing to learn, and this
# set is for minutes of training.
_HAIR = ("26202a", "6b3f24", "e0b566", "c2512a", "d9738f", "4a68b8")
_SKIN = ("f0cab0", "dca985", "9a6845")
_EYES = ("4a2a18", "2f7d4f", "2c6cb5", "6d4aa8")
_BACKDROPS = ("bcd3e6", "c6d8e4")
_CLOTHES = ("c0392b", "2d4a7c", "e8e4dc", "3b3a45")
_SUPERSAMPLING = 4
_ZOOM = 1.08  # the portraits' coordinates leave a margin that a picture of 64 pixels cannot spare


@dataclasses.dataclass(frozen=True)
class Portrait:
    """The parameters of one person and of one picture of them.

    Args:
        hair_style: one of `HAIR_STYLES`.
        hair, skin, eyes, backdrop, clothes: RGB colours, three floats in [0, 1].
        fringe: whether the hair covers the forehead.
        part: where the hair parts, from -1 (left in the picture) to 1.
        tilt: rotation of the head in degrees, clockwise; `random` draws it from [-9, 9].
        turn: the head's turn to the side, in [-1, 1]; moves the features within the face.
        shift: (x, y) of the head relative to the centre, in half pictures; within [-0.06, 0.06].
        scale: size of the head, in [0.94, 1.06].
        smile: from 0 (neutral) to 1; the mouth opens above 0.6.
        light: the side that the light comes from, from -1 (left) to 1.
        glasses: whether the person wears glasses.
        grain: seed of the photo's details: strands of hair, skin texture, lights in the background.
    """

    hair_style: str
    hair: tuple
    skin: tuple
    eyes: tuple
    backdrop: tuple
    clothes: tuple
    fringe: bool
    part: float
    tilt: float
    turn: float
    shift: tuple
    scale: float
    smile: float
    light: float
    glasses: bool
    grain: int

    @classmethod
    def random(cls, rng):
        """Draw a person from `rng`, a `numpy.random.Generator`."""

        def color(palette, spread):
            text, factor = palette[rng.integers(len(palette))], rng.uniform(1 - spread, 1 + spread)
            return tuple(min(1.0, int(text[i : i + 2], 16) / 255 * float(factor)) for i in (0, 2, 4))

        def uniform(low, high):
            return float(rng.uniform(low, high))

        return cls(
            hair_style=HAIR_STYLES[rng.integers(len(HAIR_STYLES))],
            hair=color(_HAIR, 0.08),
            skin=color(_SKIN, 0.03),
            eyes=color(_EYES, 0.1),
            backdrop=color(_BACKDROPS, 0.03),
            clothes=color(_CLOTHES, 0.05),
            fringe=bool(rng.random() < 0.5),
            part=(-1, 1)[rng.integers(2)] * uniform(0.3, 1),
            tilt=uniform(-9, 9),
            turn=uniform(-1, 1),
            shift=(uniform(-0.06, 0.06), uniform(-0.02, 0.06)),
            scale=uniform(0.94, 1.06),
            smile=uniform(0.1, 1),
            light=(-1, 1)[rng.integers(2)] * uniform(0.5, 1),
            glasses=bool(rng.random() < 0.2),
            grain=int(rng.integers(2**31)),
        )


# Colours have shape (3, 1, 1) and pictures (3, size, size), so that masks and shades of shape (size, size) broadcast.


def _color(red, green, blue):
    return np.array([red, green, blue], np.float32).reshape(3, 1, 1)


_WHITE = _color(1, 1, 1)
_SKIN_SHADE = _color(0.8, 1.1, 1.2)  # exponents of a shade: light that passes through skin reddens its shadows


def _mix(color, other, amount):
    return color + (other - color) * amount


# Outlines are paths: arrays of shape (n, 2) of x and y, where y points down.


def _ellipse(x, y, rx, ry, start=0.0, stop=360.0):
    angle = np.deg2rad(np.linspace(start, stop, 40))
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], 1)


def _spline(*points, closed=False):
    """A smooth (Catmull-Rom) curve through points."""
    p = np.array(points, float)
    p = np.concatenate([p[-1:], p, p[:2]]) if closed else np.concatenate([p[:1], p, p[-1:]])
    t = np.linspace(0, 1, 9)[:-1, None]
    a, b, c, d = (p[i : len(p) - 3 + i, None] for i in range(4))
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.concatenate([curve.reshape(-1, 2), p[-2:-1]])


def _symmetric(*points):
    """A smooth closed outline from its right half, top to bottom, whose first and last points have x = 0."""
    return _spline(*points, *[(-x, y) for x, y in points[-2:0:-1]], closed=True)


def _locks(*points):
    """A path through (x, y, bulge) points with sharp corners; bulge bends the piece that follows to its left."""
    p = np.array(points, float)
    start, end, bulge = p[:-1, None, :2], p[1:, None, :2], p[:-1, None, 2:]
    t = np.linspace(0, 1, 9)[:-1, None]
    path = start + t * (end - start) + 4 * t * (1 - t) * bulge * (end - start)[..., ::-1] * [1, -1]
    return np.concatenate([path.reshape(-1, 2), p[-1:, :2]])


def _stroke(path, width):
    """The outline of a brush stroke along an open path, thickest in its middle."""
    tangent = np.gradient(path, axis=0)
    normal = tangent[:, ::-1] * [1, -1] / np.maximum(np.hypot(*tangent.T)[:, None], 1e-6)
    half = normal * width / 2 * np.sqrt(np.sin(np.linspace(0.06, np.pi - 0.06, len(path))))[:, None]
    return np.concatenate([path + half, (path - half)[::-1]])


def _mirror(path):
    return path * [-1, 1]


def _moved(path, x, y):
    return path + np.array([x, y])


class _Canvas:
    """A float picture painted through masks, in the coordinates of a portrait's head.

    Before the head is moved, tilted and scaled its coordinates reach from -1 to 1 over the picture. `u` and `v` hold
    those of each pixel, `x` and `y` those of the unmoved picture.
    """

    def __init__(self, portrait, size):
        if size < 16:
            raise ValueError(f"size must be at least 16 pixels; received {size}. Use 64 or 128.")
        self.size = size
        self.scale = _ZOOM * portrait.scale
        cos, sin = np.cos(np.deg2rad(portrait.tilt)), np.sin(np.deg2rad(portrait.tilt))
        self.turn = self.scale * np.array([[cos, sin], [-sin, cos]])
        self.pivot = np.array([0, 0.7])  # a head tilts about its neck
        self.shift = np.array(portrait.shift)
        line = (np.arange(size) + 0.5) / size * 2 - 1
        grid = np.stack(np.meshgrid(line, line), -1)
        self.x, self.y = np.moveaxis(grid, -1, 0).astype(np.float32)
        grid = (grid - self.pivot - self.shift) @ np.linalg.inv(self.turn) + self.pivot
        self.u, self.v = np.moveaxis(grid, -1, 0).astype(np.float32)
        self.pixels = np.zeros((3, size, size), np.float32)

    def mask(self, *paths, blur=0.0, line=0.0, body=False):
        """The area within the closed paths, in [0, 1].

        Args:
            blur: standard deviation of a blur.
            line: width of an outline to return instead of the area.
            body: whether the paths stay upright and unscaled while the head tilts.
        """
        big = Image.new("L", (self.size * _SUPERSAMPLING,) * 2)
        draw = ImageDraw.Draw(big)
        for path in paths:
            points = path + self.shift if body else (path - self.pivot) @ self.turn + self.pivot + self.shift
            points = (points + 1) / 2 * big.width
            if line:
                points = np.concatenate([points, points[:2]])
                draw.line(points.ravel().tolist(), fill=255, width=round(line / 2 * big.width), joint="curve")
            else:
                draw.polygon(points.ravel().tolist(), fill=255)
        small = big.reduce(_SUPERSAMPLING)
        if blur:
            small = small.filter(ImageFilter.GaussianBlur(blur * self.size / 2))
        return np.asarray(small, np.float32) / 255

    def paint(self, mask, color):
        self.pixels += mask * (color - self.pixels)

    def glow(self, x, y, width, height):
        """A Gaussian spot of height 1."""
        return np.exp(-(((self.u - x) / width) ** 2) - ((self.v - y) / height) ** 2)

    def image(self):
        return Image.fromarray(np.round(np.clip(self.pixels, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0))


def _glasses(canvas, x, y, apart, rx, ry, color):
    for side in (-1, 1):
        rim = _ellipse(x + side * apart, y, rx, ry)
        canvas.paint(canvas.mask(rim) * 0.12, _WHITE)
        canvas.paint(canvas.mask(rim, line=0.024), color)
        canvas.paint(canvas.mask(_locks((x + side * (apart + rx), y, 0), (side * 0.5, y - 0.03, 0)), line=0.024), color)
    canvas.paint(canvas.mask(_stroke(_locks((x - apart + rx, y, 0.15), (x + apart - rx, y, 0)), 0.03)), color)


def draw_photo(portrait, size=128):
    """Draw a person as a shaded, photo-like portrait (domain A).

    Args:
        portrait: a `Portrait`.
        size: side of the square picture in pixels, at least 16.

    Returns:
        An RGB `PIL.Image.Image`.
    """
    canvas, rng = _Canvas(portrait, size), np.random.default_rng(portrait.grain)
    skin, clothes, backdrop = _color(*portrait.skin), _color(*portrait.clothes), _color(*portrait.backdrop)
    light, style = portrait.light, portrait.hair_style

    # A background out of focus: a gradient and discs of light.
    canvas.pixels += backdrop * (0.92 + 0.2 * canvas.x * light - 0.15 * canvas.y)
    for _ in range(5):
        disc = _ellipse(*rng.uniform(-1, 1, 2), *[rng.uniform(0.15, 0.35)] * 2)
        spot = _mix(backdrop, _WHITE * rng.choice([0.3, 1.0]), 0.5)
        canvas.paint(canvas.mask(disc, blur=0.04, body=True) * 0.3, spot)

    strands = _strands(canvas, portrait, rng)
    if style == "tails":
        tail = _spline((0.4, 0.05), (0.62, 0.12), (0.74, 0.45), (0.7, 0.95), (0.6, 1.05), (0.54, 0.6), closed=True)
        canvas.paint(canvas.mask(tail, _mirror(tail), blur=0.01), strands)
    elif style != "short":
        low = ((0.66, 0.4), (0.52, 0.62), (0, 0.6)) if style == "bob" else ((0.66, 0.7), (0.64, 1.3), (0, 1.4))
        back = _symmetric((0, -0.72), (0.5, -0.5), (0.63, 0.1), *low)
        canvas.paint(canvas.mask(back, blur=0.01), strands * 0.65)

    outline = _symmetric(
        (0, -0.6), (0.3, -0.52), (0.45, -0.22), (0.455, 0.06), (0.405, 0.34), (0.27, 0.58), (0.12, 0.7), (0, 0.72)
    )
    neck = _spline((-0.21, 0.4), (-0.2, 0.8), (-0.34, 1.1), (0.34, 1.1), (0.2, 0.8), (0.21, 0.4), closed=True)
    neck = canvas.mask(neck, blur=0.008)
    canvas.paint(neck, skin * (0.75 + 0.22 * np.clip(canvas.u * light / 0.25, -1, 1)) ** _SKIN_SHADE)
    shadow = canvas.mask(_moved(outline, -0.04 * light, 0.1), blur=0.06) * neck * 0.6
    canvas.paint(shadow, skin * _color(0.42, 0.28, 0.24))
    left = _spline((-1.4, 1.4), (-1.0, 0.95), (-0.6, 0.84), (-0.24, 0.76))
    shirt = np.concatenate([left, _spline((-0.18, 0.9), (0, 0.98), (0.18, 0.9)), _mirror(left)[::-1]])
    folds = 0.07 * np.sin(9 * canvas.x + 3 * canvas.y + portrait.grain % 7)
    folds += 0.03 * np.sin(23 * canvas.x - 5 * canvas.y)
    canvas.paint(canvas.mask(shirt, blur=0.006, body=True), clothes * (0.8 + folds + 0.2 * canvas.x * light))

    if style in ("short", "tails"):
        ear = _ellipse(0.465, 0.06, 0.06, 0.12)
        canvas.paint(canvas.mask(ear, _mirror(ear), blur=0.008), skin * _color(0.85, 0.68, 0.62))
    face = canvas.mask(outline, blur=0.006)
    canvas.paint(face, _lit_skin(canvas, portrait) * (1 + 0.012 * rng.standard_normal((size, size), np.float32)))
    _features_photo(canvas, portrait)
    if portrait.glasses:
        _glasses(canvas, 0.06 * portrait.turn, 0.0, 0.205, 0.15, 0.12, _color(0.1, 0.09, 0.1))

    front = _front_photo(portrait, rng)
    shadow = canvas.mask(_moved(front, -0.03 * light, 0.05), blur=0.03) * face * 0.55
    canvas.paint(shadow, skin * _color(0.4, 0.25, 0.2))
    canvas.paint(canvas.mask(front, blur=0.009), strands)
    canvas.pixels += 0.006 * rng.standard_normal((size, size), np.float32)
    return canvas.image()


def _lit_skin(canvas, portrait):
    """The colours of the face: a height map in the head's units, lit from above and from one side."""
    u, v, glow = canvas.u, canvas.v, canvas.glow
    middle, nose = 0.06 * portrait.turn, 0.09 * portrait.turn
    z = 0.75 * np.sqrt(np.maximum(0.02, 1 - (u / 0.6) ** 2 - ((v - 0.02) / 0.88) ** 2))
    ridge = np.exp(-(((u - nose) / 0.065) ** 2)) / (1 + np.exp(-(v + 0.02) / 0.07)) / (1 + np.exp((v - 0.2) / 0.03))
    z += 0.045 * ridge + 0.05 * glow(nose, 0.185, 0.07, 0.055)
    z += 0.04 * glow(middle, 0.42, 0.2, 0.1) + 0.04 * glow(middle, 0.62, 0.11, 0.07)
    for side in (-1, 1):
        z -= 0.05 * glow(middle + side * 0.2, -0.03, 0.14, 0.08)
        z += 0.03 * glow(nose + side * 0.07, 0.2, 0.035, 0.04)
        z += 0.045 * glow(middle + side * 0.26, 0.17, 0.13, 0.12)
    slope_v, slope_u = np.gradient(z, 2 / canvas.size / canvas.scale)
    steep = np.sqrt(slope_u**2 + slope_v**2 + 1)

    def facing(direction):
        x, y, z = direction / np.linalg.norm(direction)
        return np.clip((z - x * slope_u - y * slope_v) / steep, 0, 1)

    light = np.array([0.6 * portrait.light, -0.45, 0.85])
    shade = 0.48 + 0.67 * facing(light)
    shade *= (1 - 0.3 * glow(nose, 0.255, 0.09, 0.03)) * (1 - 0.2 * glow(middle, 0.515, 0.11, 0.03))
    color = _color(*portrait.skin) * shade**_SKIN_SHADE
    for side in (-1, 1):
        color *= 1 + _color(0.03, -0.09, -0.07) * glow(middle + side * 0.26, 0.2, 0.14, 0.11)
    return color + 0.15 * facing(light / np.linalg.norm(light) + [0, 0, 1]) ** 26


def _features_photo(canvas, portrait):
    """Eyes, brows, nostrils and mouth."""
    skin, eyes = _color(*portrait.skin), _color(*portrait.eyes)
    middle, nose, light = 0.06 * portrait.turn, 0.09 * portrait.turn, portrait.light
    upper = _locks((-0.112, 0.022, 0.29), (0.118, -0.008, 0))
    lower = _locks((0.118, -0.008, 0.18), (-0.112, 0.022, 0))
    for side in (-1, 1):
        x = middle + side * 0.2
        look = x + 0.01 * portrait.turn

        def on_side(path, x=x, side=side):
            return _moved(path * [side, 1], x, 0)

        ball = canvas.mask(on_side(np.concatenate([upper, lower])))
        canvas.paint(ball, _color(0.95, 0.92, 0.9))
        canvas.paint(ball * canvas.mask(_ellipse(look, -0.012, 0.06, 0.06)), eyes * 0.5)
        canvas.paint(ball * canvas.mask(_ellipse(look, -0.006, 0.046, 0.044)), eyes * 1.2)
        canvas.paint(ball * canvas.mask(_ellipse(look, -0.012, 0.023, 0.023)), _WHITE * 0.04)
        canvas.paint(ball * canvas.mask(on_side(_stroke(_moved(upper, 0, 0.012), 0.04)), blur=0.01) * 0.6, _WHITE * 0.1)
        canvas.paint(canvas.mask(_ellipse(look + 0.02 * light, -0.032, 0.014, 0.014)), _WHITE)
        canvas.paint(canvas.mask(on_side(_stroke(upper, 0.026))), _color(0.1, 0.06, 0.06))
        crease = canvas.mask(on_side(_stroke(_moved(upper, 0, -0.035), 0.02)), blur=0.008)
        canvas.paint(crease * 0.5, skin * _color(0.5, 0.33, 0.28))
        canvas.paint(canvas.mask(on_side(_stroke(lower, 0.014)), blur=0.004) * 0.5, skin * _color(0.45, 0.28, 0.24))
        brow = _stroke(_spline((-0.12, -0.13), (0.02, -0.165), (0.16, -0.125)), 0.036)
        dark = _mix(_color(*portrait.hair) * 0.5, _color(0.14, 0.09, 0.08), 0.4)
        canvas.paint(canvas.mask(on_side(brow), blur=0.009) * 0.85, dark)
        nostril = canvas.mask(_ellipse(nose + side * 0.038, 0.232, 0.022, 0.012), blur=0.006)
        canvas.paint(nostril * 0.7, skin * _color(0.35, 0.2, 0.18))

    # The corners of the mouth rise with the smile, and a wide smile shows teeth.
    x, wide, y = middle * 1.1, 0.135 + 0.05 * portrait.smile, 0.43 - 0.06 * portrait.smile
    gap = max(0.0, portrait.smile - 0.6) * 0.13
    lip = _mix(skin * _color(0.86, 0.5, 0.5), _color(0.75, 0.28, 0.3), 0.35)
    top = _spline((x - wide, y), (x - 0.05, 0.383), (x, 0.393), (x + 0.05, 0.383), (x + wide, y))
    low = _spline((x - wide, y), (x - 0.07, 0.475 + gap), (x, 0.488 + gap), (x + 0.07, 0.475 + gap), (x + wide, y))
    above = _spline((x + wide, y), (x, 0.422), (x - wide, y))
    below = _spline((x + wide, y), (x, 0.43 + gap), (x - wide, y))
    canvas.paint(canvas.mask(np.concatenate([top, below]), blur=0.006), lip * 0.85)
    canvas.paint(canvas.mask(np.concatenate([low, below]), blur=0.006), lip)
    canvas.paint(canvas.mask(_ellipse(x + 0.03 * light, 0.458 + gap, 0.06, 0.011), blur=0.01) * 0.5, _WHITE)
    if gap:
        canvas.paint(canvas.mask(np.concatenate([below, above[::-1]])), _WHITE * 0.93)
    canvas.paint(canvas.mask(_stroke(above, 0.016), blur=0.004) * 0.8, skin * _color(0.3, 0.12, 0.12))


def _strands(canvas, portrait, rng):
    """The colours of the hair: strands with a gloss on the side of the light."""
    u, v = canvas.u - 0.2 * portrait.part, canvas.v + 0.1
    if portrait.fringe:  # strands spread from the crown
        across = 1.5 + np.arctan2(u, np.maximum(canvas.v + 1.0, 0.05))
    else:  # strands arch over the sides of the head
        across = np.hypot(u, 0.75 * np.minimum(v, 0)) * (1.4 + 0.4 * np.tanh(u / 0.3))
    across += 0.02 * np.sin(5 * v + 6 * u)
    texture = np.zeros_like(across)
    for pitch, weight in ((10, 0.10), (24, 0.10), (55, 0.07)):
        table = np.convolve(rng.standard_normal(3 * pitch + 8), [0.25, 0.5, 0.25], "same")
        texture += weight * np.interp(across * pitch, np.arange(len(table)), table).astype(np.float32)
    side = np.clip(0.5 + 0.5 * canvas.u * portrait.light / 0.6, 0, 1)
    height = np.arctan2(v, np.abs(u) + 0.2) + 0.62 + 1.2 * texture
    gloss = np.exp(-((height / 0.28) ** 2)) * (0.35 + 0.65 * side)
    shade = (0.66 + 0.36 * side - 0.12 * canvas.v) * (1 + 1.1 * texture)
    hair = _color(*portrait.hair)
    return hair * np.clip(shade, 0.25, 1.3) + gloss * (0.35 * hair + 0.1)


def _front_photo(portrait, rng):
    """The outline of the hair in front of the face."""
    part = 0.22 * portrait.part
    reach = {"short": -0.02, "tails": 0.05, "bob": 0.5, "long": 0.95}[portrait.hair_style]
    middle = (0.57, 0.5 * reach + 0.05) if reach > 0.1 else (0.55, -0.1)
    dome = ((-0.56, -0.2), (-0.47, -0.54), (-0.25, -0.74), (0, -0.79), (0.25, -0.74), (0.47, -0.54), (0.56, -0.2))
    outer = _spline((-0.5, reach), (-middle[0], middle[1]), *dome, middle, (0.5, reach))
    if portrait.fringe:
        x = np.linspace(0.38, -0.38, 17)
        y = -0.14 - 0.06 * (1 - np.abs(x - part)) - rng.uniform(0, 0.07, 17) * (np.arange(17) % 2)
        inner = np.stack([x, y], 1)
    else:
        inner = _spline((0.40, -0.22), (part + 0.14, -0.43), (part, -0.5), (part - 0.14, -0.43), (-0.40, -0.22))
    right = _spline((0.5, reach), (0.46, 0.3 * reach), (0.44, -0.08), inner[0])
    left = _spline(inner[-1], (-0.44, -0.08), (-0.46, 0.3 * reach), (-0.5, reach))
    return np.concatenate([outer, right, inner, left])


def draw_anime(portrait, size=128):
    """Draw a person as a flat, outlined anime portrait (domain B).

    Args:
        portrait: a `Portrait`.
        size: side of the square picture in pixels, at least 16.

    Returns:
        An RGB `PIL.Image.Image`.
    """
    canvas = _Canvas(portrait, size)
    hair, clothes, backdrop, skin = map(_flat, (portrait.hair, portrait.clothes, portrait.backdrop, portrait.skin))
    skin = _mix(skin, _color(1, 0.92, 0.84), 0.2)
    hair_dark, skin_dark = hair * _color(0.72, 0.66, 0.78), skin * _color(0.9, 0.74, 0.72)
    ink = _mix(hair * 0.25, _color(0.16, 0.08, 0.1), 0.6)
    light, style, turn = portrait.light, portrait.hair_style, 0.07 * portrait.turn

    def shape(path, color, shadow=0.0, tone=0.0, body=False):
        """A flat area with one tone of shadow and an outline."""
        area = canvas.mask(path, body=body)
        canvas.paint(area, color)
        canvas.paint(area * shadow, tone)
        canvas.paint(canvas.mask(path, line=0.022, body=body), ink)
        return area

    canvas.pixels += backdrop
    canvas.paint(canvas.mask(_ellipse(0.5 * light, -0.25, 0.85, 0.85), body=True), _mix(backdrop, _WHITE, 0.35))

    for path in _back_anime(style):
        shape(path, hair_dark if style != "tails" else hair, canvas.mask(_moved(path, -0.12 * light, 0.12)), hair_dark)

    face = _symmetric(
        (0, -0.6), (0.36, -0.5), (0.52, -0.15), (0.52, 0.12), (0.46, 0.33), (0.28, 0.53), (0.08, 0.675), (0, 0.69)
    )
    neck = _spline((-0.15, 0.4), (-0.14, 0.75), (-0.24, 1.1), (0.24, 1.1), (0.14, 0.75), (0.15, 0.4), closed=True)
    shape(neck, skin, canvas.mask(_moved(face, 0, 0.13)), skin_dark)
    left = _spline((-1.2, 1.4), (-0.8, 1.0), (-0.5, 0.89), (-0.18, 0.82))
    shirt = np.concatenate([left, [[0, 1.02]], _mirror(left)[::-1]])
    shadow = canvas.mask(_moved(shirt, -0.4 * light, 0.1), body=True)
    shape(shirt, clothes, shadow, clothes * _color(0.78, 0.74, 0.82), body=True)

    if style in ("short", "tails"):
        for side in (-1, 1):
            shape(_ellipse(side * 0.52, 0.14, 0.06, 0.1), skin_dark)
    area = shape(face, skin, 1 - canvas.mask(_moved(face, 0.07 * light, -0.05)), skin_dark)
    _features_anime(canvas, portrait, skin, ink)
    if portrait.glasses:
        _glasses(canvas, turn, 0.17, 0.255, 0.2, 0.19, _color(0.2, 0.14, 0.18))

    # The hair over the face: its shadow, two tones, strands and a zigzag of gloss.
    front = _front_anime(portrait)
    canvas.paint(area * canvas.mask(_moved(front, -0.03 * light, 0.06)), canvas.pixels * _color(0.9, 0.76, 0.76))
    area = shape(front, hair, 1 - canvas.mask(_ellipse(0.14 * light, -0.33, 0.6, 0.56)), hair_dark)
    for x in (-0.4, -0.16, 0.14, 0.38):
        strand = _spline((0.4 * x + 0.1 * portrait.part, -0.74), (0.9 * x, -0.5), (x, -0.24))
        canvas.paint(area * canvas.mask(_stroke(strand, 0.024)), hair_dark)
    x = np.linspace(-0.42, 0.42, 13) + 0.08 * light
    top = np.stack([x, 0.6 * x**2 - 0.6], 1)
    low = top + np.stack([0 * x, np.where(np.arange(13) % 2, 0.16, 0.06) * (1 - (x / 0.42) ** 2)], 1)
    canvas.paint(area * canvas.mask(np.concatenate([top, low[::-1]])), _mix(hair, _WHITE, 0.3))
    for side in (-1, 1):  # brows show through the hair, as anime draws them
        brow = _spline((turn + side * 0.15, -0.1), (turn + side * 0.25, -0.135), (turn + side * 0.37, -0.1))
        canvas.paint(canvas.mask(_stroke(brow, 0.028)), ink)
    return canvas.image()


def _flat(color):
    """The flat tone of a drawing for a photo's colour: lighter and more saturated."""
    color = _color(*color)
    return np.clip(_mix(_mix(color.mean(), color, 1.15), _WHITE, 0.12), 0, 1)


def _features_anime(canvas, portrait, skin, ink):
    """Large eyes, a small nose and a small mouth."""
    eyes, light, turn = _flat(portrait.eyes), portrait.light, 0.07 * portrait.turn
    upper = _locks((-0.13, -0.03, 0.42), (0.15, -0.03, 0))
    lower = _locks((0.15, -0.03, 0.1), (0.08, 0.155, 0.1), (-0.08, 0.155, 0.1), (-0.13, -0.03, 0))
    lash = _locks((-0.15, 0, 0.42), (0.155, -0.04, 0), (0.2, -0.06, 0), (0.16, 0, -0.36), (-0.12, -0.02, 0))
    y = 0.15
    for side in (-1, 1):
        x = turn + side * 0.245
        look = x + 0.015 * portrait.turn

        def on_side(path, x=x, side=side):
            return _moved(path * [side, 1], x, y)

        blush = canvas.mask(_ellipse(x + side * 0.05, y + 0.22, 0.085, 0.035), blur=0.02)
        canvas.paint(blush * 0.5, skin * _color(1, 0.62, 0.62))
        ball, iris = canvas.mask(on_side(np.concatenate([upper, lower]))), _ellipse(look, y + 0.015, 0.108, 0.155)
        inside = ball * canvas.mask(iris)
        canvas.paint(ball, _WHITE)
        fade = np.clip((canvas.v - y + 0.1) * 4, 0, 1)
        canvas.paint(inside, _mix(eyes * 0.45, _mix(eyes * 1.15, _WHITE, 0.15), fade))
        canvas.paint(ball * canvas.mask(iris, line=0.02), eyes * 0.35)
        canvas.paint(inside * canvas.mask(_ellipse(look, y + 0.01, 0.045, 0.07)), eyes * 0.15)
        canvas.paint(ball * canvas.mask(on_side(_stroke(_moved(upper, 0, 0.02), 0.06))) * 0.5, ink)
        canvas.paint(canvas.mask(_ellipse(x + 0.045 * light, y - 0.06, 0.036, 0.044)), _WHITE)
        canvas.paint(canvas.mask(_ellipse(x - 0.04 * light, y + 0.085, 0.02, 0.022)), _WHITE)
        canvas.paint(canvas.mask(on_side(lash)), ink)
        canvas.paint(canvas.mask(on_side(_stroke(_spline((-0.07, 0.165), (0, 0.175), (0.09, 0.155)), 0.02))), ink)

    nose, mouth, smile = 1.5 * turn, 1.1 * turn, portrait.smile
    nose = _spline((nose, 0.36), (nose - 0.022 * light, 0.395), (nose - 0.002 * light, 0.405))
    canvas.paint(canvas.mask(_stroke(nose, 0.022)), skin * _color(0.6, 0.36, 0.36))
    left, right = ((mouth + side * (0.07 + 0.05 * smile), 0.515 - 0.04 * smile) for side in (-1, 1))
    lips = _spline(left, (mouth, 0.515), right)
    if smile > 0.6:
        depth = 0.53 + 0.06 * smile
        low = _spline(right, (mouth + 0.055, depth - 0.02), (mouth - 0.055, depth - 0.02), left)
        opened = np.concatenate([lips, low])
        canvas.paint(canvas.mask(opened), _color(0.85, 0.35, 0.36))
        canvas.paint(canvas.mask(opened, line=0.016), ink)
    canvas.paint(canvas.mask(_stroke(lips, 0.024)), ink)


def _back_anime(style):
    """The outlines of the hair behind the head."""
    if style == "long":
        right = _locks((0, -0.8, 0.2), (0.66, -0.2, 0.04), (0.84, 1.4, 0))
        return [np.concatenate([right, _mirror(right)[::-1]])]
    if style == "bob":
        right = _locks((0, -0.8, 0.2), (0.66, -0.1, 0.14), (0.5, 0.68, -0.05), (0.38, 0.55, 0))
        return [np.concatenate([right, _mirror(right)[::-1]])]
    if style == "tails":
        ends = (0.86, 0.95, 0.04), (0.76, 0.7, 0), (0.66, 0.88, 0.1)
        right = _locks((0.5, -0.35, 0.2), (0.9, 0.1, 0.12), *ends, (0.6, 0.2, 0.1), (0.5, -0.35, 0))
    else:
        ends = (0.7, 0.26, -0.1), (0.54, 0.22, 0.1), (0.5, 0.46, -0.1)
        right = _locks((0.5, -0.4, 0), (0.6, 0, 0.1), *ends, (0.3, 0.2, 0))
    return [right, _mirror(right)]


def _front_anime(portrait):
    """The outline of the hair in front of the face: a dome whose lower edge ends in pointed locks."""
    part = 0.25 * portrait.part
    reach = {"short": 0.2, "tails": 0.42, "bob": 0.55, "long": 0.85}[portrait.hair_style]
    if portrait.hair_style == "short":
        left = (-0.62, -0.25, 0.1), (-0.8, -0.36, -0.1), (-0.6, -0.52, 0.1), (-0.66, -0.74, -0.1), (-0.36, -0.72, 0.1)
        top = (-0.28, -0.88, -0.1), (0.04, -0.79, 0.1), (0.3, -0.88, 0.1), (0.42, -0.68, 0.1)
        right = (0.72, -0.66, 0.1), (0.62, -0.4, 0.1), (0.76, -0.16, 0), (0.6, -0.1, 0.06)
        dome = _locks((-0.54, reach, 0.06), *left, *top, *right, (0.54, reach, 0))
    else:
        left = _spline((-0.54, reach), (-0.64, 0.5 * reach - 0.1), (-0.64, -0.2))
        dome = np.concatenate([left, _ellipse(0, -0.2, 0.64, 0.67, 180, 360), _mirror(left)[::-1]])
    if portrait.fringe:
        locks = ((0.45, -0.12, 0.1), (0.36, 0.06, -0.05), (0.25, -0.2, 0.1), (0.12, 0.06, -0.05), (0, -0.24, 0.1))
        locks += ((-0.14, 0.1, -0.05), (-0.25, -0.18, 0.1), (-0.38, 0.05, -0.05), (-0.45, -0.12, 0.05))
    else:
        locks = ((0.47, -0.06, 0.1), (0.41, 0.06, 0.16), (part, -0.48, 0.16), (-0.41, 0.06, 0.1), (-0.47, -0.06, 0.05))
    return np.concatenate([dome, _locks((0.54, reach, 0.05), *locks, (-0.54, reach, 0))])


def _person(seed, split, index):
    """A portrait of one split of the set; splits of different numbers hold different people."""
    return Portrait.random(np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(split, index))))


def _stored(folder):
    """What `demo.json` in `folder` holds; None where there is none that can be read."""
    try:
        return json.loads((pathlib.Path(folder) / "demo.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def demo_ready(folder):
    """Whether `folder` holds a demo set of this version (a set is complete where there is one at all).

    Args:
        folder: the folder that `write_demo` was given.
    """
    stored = _stored(folder)
    return isinstance(stored, dict) and stored.get("version") == VERSION


def write_demo(folder, seed=0, size=128, train=400, test=100, progress=None):
    """Draw the demo set into `folder/{trainA,trainB,testA,testB}/NNNN.png`, beside a `demo.json`.

    The folder appears when the set is complete. Several processes may draw it at once: the first to finish gives
    the folder, the others discard theirs. If the same set is there already, nothing is drawn. The first
    pictures are the same whatever the numbers `train` and `test`.

    Args:
        folder: the folder to make; a missing or an empty one.
        seed: every picture follows from it; at least 0.
        size: side of the pictures in pixels, at least 16.
        train: pictures in each of trainA and trainB, of different people; at least 1.
        test: pictures in each of testA and testB, of the same people under the same names; at least 1. KID needs 100.
        progress: called as `progress(done, total)` after each picture.

    Raises:
        ValueError: an argument is out of range.
        FileExistsError: `folder` holds something else.
    """
    for name, value, least in (("seed", seed, 0), ("size", size, 16), ("train", train, 1), ("test", test, 1)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}; received {value}.")
    folder = pathlib.Path(folder)
    description = {"version": VERSION, "seed": seed, "size": size, "train": train, "test": test}

    def is_there():
        if _stored(folder) == description:
            return True
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise FileExistsError(f"{folder} is not empty and not this demo set. Remove it, or choose another folder.")
        return False

    if is_there():
        return
    # The third value selects the people: the two test folders show the same ones.
    splits = (("trainA", draw_photo, 0, train), ("trainB", draw_anime, 1, train))
    splits += (("testA", draw_photo, 2, test), ("testB", draw_anime, 2, test))
    done, total = 0, 2 * (train + test)
    # Not tempfile.mkdtemp, whose folders only their owner may read. A sibling, because a rename stays on one disk.
    atomic.remove_abandoned(folder.parent, "demo.*", atomic.OLD_DRAFTS)
    drawing = folder.with_name(atomic.draft_name("demo"))
    try:
        for name, draw, split, count in splits:
            (drawing / name).mkdir(parents=True)
            for index in range(count):
                draw(_person(seed, split, index), size).save(drawing / name / f"{index:04d}.png")
                done += 1
                if progress is not None:
                    progress(done, total)
        (drawing / "demo.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        try:
            drawing.rename(folder)
        except OSError:
            if not is_there():
                raise
    finally:
        shutil.rmtree(drawing, ignore_errors=True)
