"""What an exported file can be asked for: functions of one generator, with the preprocessing inside.

All of them take images as people have them and give such images back; there is no mean or standard deviation to know.
"""

import tensorflow as tf

from ugatit_tf.data.pipeline import resize, to_float

MAX_PIXELS = 32_000_000
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


def to_uint8(images):
    """From [-1, 1] to the nearest of 0 to 255, as uint8."""
    return tf.cast(images * 127.5 + 128.0, tf.uint8)  # a cast cuts off, hence the half more


class Signatures:
    """The functions that become a file's signatures; each takes and returns tensors by keyword.

    Args:
        generator: `ugatit_tf.models.Generator`.
        max_pixels: what `encoded` decodes at most; a small file can hold a huge image.
        heatmaps: `float`, `uint8` and `rgba` give a second result too, `heatmap`: float32 [N, H/4, W/4, 1], where the
            generator looked.
    """

    def __init__(self, generator, max_pixels=MAX_PIXELS, heatmaps=False):
        self.generator = generator
        self.max_pixels = max_pixels
        self.heatmaps = heatmaps

    def float(self, image):
        """float32 [N, H, W, 3] in [-1, 1] to the same."""
        result, _, heatmap = self._translate(image)
        return {"image": result, "heatmap": heatmap} if self.heatmaps else {"image": result}

    def uint8(self, image):
        """uint8 [N, H, W, 3] to the same."""
        results = self.float(to_float(image))
        return results | {"image": to_uint8(results["image"])}

    def rgba(self, image):
        """uint8 [N, H, W, 4], what a canvas or a camera gives, to the same; alpha is ignored, and 255 in the result."""
        results = self.uint8(image[..., :3])
        return results | {"image": tf.pad(results["image"], [[0, 0]] * 3 + [[0, 1]], constant_values=255)}

    def heatmap(self, image):
        """uint8 [N, H, W, 3] to the same and the heatmap, as `uint8` with `heatmaps`."""
        return Signatures(self.generator, heatmaps=True).uint8(image)

    def encoded(self, image_bytes):
        """JPEG or PNG files [N], of any sizes, each resized to the generator's `img_size`, to PNG files [N].

        Transparent parts are put on white. The orientation in a JPEG's EXIF data is not applied: TensorFlow cannot
        read it, so whoever sends the file applies it.
        """
        images = tf.map_fn(self._decode, image_bytes, fn_output_signature=tf.float32)
        result = to_uint8(self._translate(to_float(images))[0])
        return {"image_bytes": tf.map_fn(tf.io.encode_png, result, fn_output_signature=tf.string)}

    def _translate(self, image):
        """The generator, behind a check whose words reach a client."""
        height, width = tf.shape(image)[1], tf.shape(image)[2]
        if self.generator.fixed_size is None:
            fits = (height % 4 == 0) & (width % 4 == 0) & (tf.minimum(height, width) >= 8)
            wanted = "a height and width that are multiples of 4 and at least 8"
        else:
            fits = (height == self.generator.fixed_size) & (width == self.generator.fixed_size)
            wanted = f"a height and width of {self.generator.fixed_size}"
        if None in image.shape[1:3]:
            check = tf.debugging.Assert(fits, [f"Images must have {wanted}; received", height, "x", width])
            with tf.control_dependencies([check]):
                image = tf.identity(image)
            if self.generator.fixed_size is not None:
                image = tf.ensure_shape(image, (None, self.generator.fixed_size, self.generator.fixed_size, 3))
        return self.generator(image, training=False)

    def _decode(self, content):
        """One file's pixels at the generator's size, float32 in [0, 255]."""
        is_jpeg = tf.strings.substr(content, 0, len(_JPEG)) == _JPEG
        is_png = tf.strings.substr(content, 0, len(_PNG)) == _PNG
        known = tf.debugging.Assert(is_jpeg | is_png, ["Expected the bytes of a JPEG or PNG file."])
        with tf.control_dependencies([known]):
            # The size first, from the header: 30 kB can unpack to gigabytes.
            height, width = tf.cond(is_jpeg, lambda: _jpeg_size(content), lambda: _png_size(content))
        small = tf.debugging.Assert(
            height * width <= self.max_pixels,
            [f"An image may have {self.max_pixels:,} pixels at most; received", height, "x", width],
        )
        with tf.control_dependencies([small]):
            image = tf.cond(is_jpeg, lambda: _jpeg(content), lambda: _png_on_white(content))
        return resize(image, self.generator.img_size)


def _jpeg_size(content):
    shape = tf.cast(tf.io.extract_jpeg_shape(content), tf.int64)
    return shape[0], shape[1]


def _png_size(content):
    """The header's first entries, in a fixed place: width and height, four bytes each."""
    header = tf.strings.join([content, b"\0" * 24])  # a file cut short has no size, and fails when it is decoded
    size = tf.cast(tf.io.decode_raw(tf.strings.substr(header, 16, 8), tf.uint8), tf.int64)
    size = tf.reduce_sum(tf.reshape(size, (2, 4)) * tf.constant([2**24, 2**16, 2**8, 1], tf.int64), axis=1)
    return size[1], size[0]


def _jpeg(content):
    return tf.cast(tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE"), tf.float32)


def _png_on_white(content):
    pixels = tf.cast(tf.io.decode_png(content, channels=4), tf.float32)
    alpha = pixels[..., 3:] / 255.0
    return tf.round(pixels[..., :3] * alpha + 255.0 * (1.0 - alpha))
