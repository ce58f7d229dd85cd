"""Sheets that show what the generators do with an image, drawn as the official PyTorch code draws them.

A sheet has seven pictures for an image: the input, and the heatmap and the result of the identity, of the
translation and of the cycle. Neither TensorFlow nor Keras is imported here: generators are callables,
`gen(images, training=False)`, that give an image [N,H,W,3] in [-1,1], the CAM logit [N,2] and the heatmap [N,h,w,1].
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ugatit_tf.data.images import to_uint8

ROWS = (
    "input",
    "identity\nheatmap",
    "identity",
    "translation\nheatmap",
    "translation",
    "cycle\nheatmap",
    "cycle",
)
TRANSLATION = ROWS.index("translation")
_SMALLEST_LABELLED = 48  # pixels; below, the names would cover each other


# OpenCV's COLORMAP_JET as RGB [256,3]: each channel rises and falls by 4 a level.
_LEVEL = np.arange(256)
_JET = np.stack(
    [
        np.minimum(4 * (_LEVEL - 96) + 2, 4 * (287 - _LEVEL)),
        np.minimum(4 * (_LEVEL - 32), 4 * (223 - _LEVEL)),
        np.minimum(4 * (_LEVEL + 32), 4 * (159 - _LEVEL) + 2),
    ],
    axis=-1,
)
_JET = np.clip(_JET, 0, 255).astype(np.uint8)


def colour_heatmap(heatmap, size):
    """Colour a heatmap for the eye: blue where it is lowest, through cyan and yellow to red where it is highest.

    As in the official code the map is shifted and scaled to [0,1], quantised, enlarged and coloured. A constant map
    has no highest place and becomes plain blue; so does one that is not finite.

    Args:
        heatmap: float [h,w] or [h,w,1], any range.
        size: (height, width) of the result, or one int for both.

    Returns:
        uint8 [height,width,3].
    """
    heatmap = np.asarray(heatmap, np.float32)
    if heatmap.ndim == 3 and heatmap.shape[-1] == 1:
        heatmap = heatmap[..., 0]
    if heatmap.ndim != 2:
        raise ValueError(f"heatmap must have the shape [h,w] or [h,w,1]; received {heatmap.shape}.")
    height, width = (size, size) if isinstance(size, int) else size
    levels = np.zeros(heatmap.shape, np.uint8)
    if np.isfinite(heatmap).all() and (span := np.ptp(heatmap)) > 0:
        levels = np.uint8(255 * ((heatmap - heatmap.min()) / span))
    enlarged = Image.fromarray(levels).resize((width, height), Image.Resampling.BILINEAR)
    return _JET[np.asarray(enlarged)]


def sample_column(image, gen_there, gen_back):
    """The seven pictures of one image, in the order of `ROWS`.

    Args:
        image: float [H,W,3] in [-1,1], of the domain that `gen_there` translates from.
        gen_there: generator to the other domain.
        gen_back: generator into the image's own domain; applied to the image itself it gives the identity. None: the
            pictures of the identity and of the cycle are white.

    Returns:
        uint8 [7,H,W,3].
    """
    image = np.asarray(image, np.float32)
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"image must have the shape [H,W,3]; received {image.shape}.")

    white = np.full(image.shape, 255, np.uint8)

    def apply(generator, batch):
        if generator is None:
            return None, (white, white)
        result, _, heatmap = generator(batch, training=False)
        return result, (colour_heatmap(np.asarray(heatmap)[0], image.shape[:2]), to_uint8(result)[0])

    _, identity_pictures = apply(gen_back, image[None])
    translation, translation_pictures = apply(gen_there, image[None])
    _, cycle_pictures = apply(gen_back, translation)
    return np.stack([to_uint8(image), *identity_pictures, *translation_pictures, *cycle_pictures])


def draw_sheet(columns, labels=True, across=False, names=ROWS):
    """Put the pictures of several images on one sheet.

    Args:
        columns: uint8 [N,K,H,W,3], a `sample_column` for each image.
        labels: name the pictures in a margin (left out where a picture is smaller than 48 pixels).
        across: lay an image's pictures side by side, one row an image, instead of one column an image.
        names: of the K pictures.

    Returns:
        A `PIL.Image`, RGB.
    """
    columns = np.asarray(columns)
    height, width = columns.shape[2:4]
    pictures = columns.transpose((0, 2, 1, 3, 4) if across else (1, 2, 0, 3, 4))
    pictures = Image.fromarray(pictures.reshape(pictures.shape[0] * height, pictures.shape[2] * width, 3))
    if not labels or min(height, width) < _SMALLEST_LABELLED:
        return pictures

    font = ImageFont.load_default(max(8, min(height, width) // 14))
    measure = ImageDraw.Draw(pictures)
    boxes = [measure.multiline_textbbox((0, 0), name, font=font) for name in names]
    pad = max(4, min(height, width) // 32)
    margin = pad * 2 + int(max(box[3] if across else box[2] for box in boxes))
    left, top = (0, margin) if across else (margin, 0)
    sheet = Image.new("RGB", (left + pictures.width, top + pictures.height), "white")
    sheet.paste(pictures, (left, top))
    draw = ImageDraw.Draw(sheet)
    for row, name in enumerate(names):
        if across:
            place, anchor, align = ((row + 0.5) * width, margin - pad), "md", "center"
        else:
            place, anchor, align = (margin - pad, (row + 0.5) * height), "rm", "right"
        draw.multiline_text(place, name, fill="black", font=font, anchor=anchor, align=align)
    return sheet


def sample_sheet(images, gen_there, gen_back, labels=True):
    """The official sample sheet: seven rows (`ROWS`), one column an image.

    The generators see one image at a time, so that the memory used does not depend on how many there are.

    Args:
        images: float [N,H,W,3] in [-1,1], N at least 1.
        gen_there, gen_back: see `sample_column`.
        labels: name the rows in a margin on the left.

    Returns:
        A `PIL.Image`, RGB, 7*H high and N*W wide, and the margin.
    """
    columns = [sample_column(image, gen_there, gen_back) for image in images]
    if not columns:
        raise ValueError("A sheet needs at least one image; received none.")
    return draw_sheet(columns, labels)
