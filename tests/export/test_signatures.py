"""The functions behind every export, before they are written anywhere."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ugatit_tf.data import images
from ugatit_tf.data.pipeline import resize, to_float
from ugatit_tf.export.signatures import Signatures, to_uint8

INVALID = tf.errors.InvalidArgumentError


@pytest.fixture(scope="module")
def signatures(make_generator):
    return Signatures(make_generator(), max_pixels=4096)


@pytest.fixture(scope="module")
def encoded(signatures):
    """In a graph, as a server runs it."""
    call = tf.function(signatures.encoded, input_signature=[tf.TensorSpec((None,), tf.string)])
    return lambda files: call(tf.constant(files))["image_bytes"].numpy()


def expected(generator, pixels):
    """What the Keras generator makes of uint8 images, and its heatmap."""
    image, _, heatmap = generator(np.float32(pixels) / 127.5 - 1, training=False)
    return np.clip(np.floor((image.numpy() + 1) * 127.5 + 0.5), 0, 255).astype(int), heatmap.numpy()


def within_one_level(actual, wanted):
    assert actual.shape == wanted.shape
    assert np.abs(actual.astype(int) - wanted).max() <= 1  # where rounding in float32 falls on the other side of a half


def test_every_level_goes_through_unchanged():
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_uint8(to_float(levels)), levels)
    assert to_uint8(tf.constant([-1.0, 1.0])).numpy().tolist() == [0, 255]
    np.testing.assert_array_equal(to_uint8(tf.constant((levels[:-1] + 0.4) / 127.5 - 1, tf.float32)), levels[:-1])
    np.testing.assert_array_equal(to_uint8(tf.constant((levels[:-1] + 0.6) / 127.5 - 1, tf.float32)), levels[1:])


def test_float_is_the_generator(signatures, pictures):
    x = to_float(pictures)
    np.testing.assert_array_equal(signatures.float(x)["image"], signatures.generator(x, training=False)[0])


def test_uint8_and_heatmap(signatures, pictures):
    image, heatmap = expected(signatures.generator, pictures)
    assert np.ptp(image) > 100  # a grey result would agree with anything
    within_one_level(signatures.uint8(pictures)["image"].numpy(), image)
    both = signatures.heatmap(pictures)
    within_one_level(both["image"].numpy(), image)
    np.testing.assert_allclose(both["heatmap"], heatmap, rtol=1e-5, atol=1e-6)
    assert both["heatmap"].shape == (2, 4, 4, 1)


def test_rgba_ignores_alpha_and_gives_opaque_images(signatures, pictures):
    alpha = np.random.default_rng(1).integers(0, 256, (2, 16, 16, 1), np.uint8)
    result = signatures.rgba(np.concatenate([pictures, alpha], axis=-1))["image"].numpy()
    np.testing.assert_array_equal(result[..., :3], signatures.uint8(pictures)["image"])
    assert (result[..., 3] == 255).all()


def test_encoded_reads_what_the_dataset_reads(signatures, encoded, make_file):
    """Sizes, colours and transparency as in training: `images.decode` is the oracle (it knows more formats)."""
    rng = np.random.default_rng(2)
    rgb, rgba = rng.integers(0, 256, (20, 33, 3), np.uint8), rng.integers(0, 256, (16, 16, 4), np.uint8)
    files = [
        make_file(rgb),
        make_file(rgba),
        make_file(rgba[..., 0]),
        make_file(rgb, "JPEG", quality=90),
        make_file(rgb[..., 0], "JPEG", quality=90),
    ]
    results = encoded(files)
    batch = np.concatenate([np.asarray(resize(images.decode(file), 16))[None] for file in files])
    wanted = to_uint8(signatures.generator(to_float(batch), training=False)[0]).numpy()
    for content, image, kind in zip(results, wanted, ("PNG", "PNG", "PNG", "JPEG", "JPEG"), strict=True):
        assert content.startswith(b"\x89PNG")
        difference = np.abs(images.decode(content).astype(int) - image)
        assert difference.max() <= (1 if kind == "PNG" else 8), kind  # decoders of JPEG differ by rounding


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_pixel_limit_looks_at_the_header_only(encoded, make_file, kind):
    whole = make_file(np.zeros((64, 64, 3), np.uint8), kind)
    assert encoded([whole]).shape == (1,)
    large = make_file(np.zeros((65, 64, 3), np.uint8), kind)
    with pytest.raises(INVALID, match=r"4,096 pixels at most; received.*65.*64"):
        encoded([whole, large])
    cut = large[:40] if kind == "PNG" else large[:-2]  # refused for its size before anybody looks at its pixels
    with pytest.raises(INVALID, match="4,096 pixels at most"):
        encoded([cut])


def test_gigapixel_png_is_refused(encoded, make_file):
    png = bytearray(make_file(np.zeros((8, 8, 3), np.uint8)))
    png[16:24] = (2**31 - 1).to_bytes(4, "big") * 2
    with pytest.raises(INVALID, match="pixels at most; received"):
        encoded([bytes(png)])


@pytest.mark.parametrize("content", [b"", b"GIF89a" + b"\0" * 40, b"plain words"])
def test_other_files_are_refused(encoded, content):
    with pytest.raises(INVALID, match="Expected the bytes of a JPEG or PNG file"):
        encoded([content])


def test_a_file_cut_short_is_refused(encoded, make_file):
    rng = np.random.default_rng(3)
    for kind in ("PNG", "JPEG"):
        whole = make_file(rng.integers(0, 256, (32, 32, 3), np.uint8), kind)
        for length in (8, 20, len(whole) // 2):
            with pytest.raises(INVALID):
                encoded([whole[:length]])


@pytest.mark.parametrize("size", [(18, 16), (16, 15), (4, 16), (16, 4)])
def test_sizes_that_a_light_generator_cannot_take(signatures, size):
    call = tf.function(signatures.uint8, input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)])
    words = f"multiples of 4 and at least 8; received.*{size[0]}.*x.*{size[1]}"
    with pytest.raises(INVALID, match=words):
        call(np.zeros((1, *size, 3), np.uint8))


def test_a_full_generator_takes_its_own_size_only(make_generator):
    full = Signatures(make_generator(light=False))
    call = tf.function(full.uint8, input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)])
    assert call(np.zeros((3, 16, 16, 3), np.uint8))["image"].shape == (3, 16, 16, 3)
    with pytest.raises(INVALID, match=r"a height and width of 16; received.*20.*x.*16"):
        call(np.zeros((1, 20, 16, 3), np.uint8))


def test_smallest_size_works(signatures):
    assert signatures.uint8(np.zeros((1, 8, 8, 3), np.uint8))["image"].shape == (1, 8, 8, 3)


def test_exif_orientation_is_the_clients(encoded, make_file):
    """As documented: the picture is translated as it is stored."""
    pixels = np.random.default_rng(4).integers(0, 256, (16, 16, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = make_file(pixels, "JPEG", quality=95, exif=exif)
    plain = make_file(pixels, "JPEG", quality=95)
    lying, plain = encoded([lying, plain])
    assert lying == plain
