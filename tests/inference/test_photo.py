"""Photos: every face translated in its place, and all else as it was."""

import io
import struct

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from ugatit_tf.data.images import Photo, read
from ugatit_tf.inference import photo as photos
from ugatit_tf.inference.faces import Face
from ugatit_tf.inference.photo import PhotoTranslator, encode
from ugatit_tf.inference.sheets import colour_heatmap
from ugatit_tf.inference.squares import Square, cut, paste


def picture(height=200, width=300):
    """Soft and bright, with detail enough not to count as blurred."""
    rng = np.random.default_rng(0)
    return rng.integers(60, 256, (height, width, 3), np.uint8)


def at(x, y, apart=20):
    """A face whose eyes are `apart`: its square has four times that for a side."""
    return Face(0.9, (x, y, 2 * apart, 2 * apart), ((x - apart / 2, y), (x + apart / 2, y)), (x, y + apart))


def plain(pixels, **values):
    return Photo(**({"pixels": pixels, "layer": None, "icc": None, "exif": None} | values))


def finds(*faces):
    return lambda pixels: list(faces)


def by_hand(pixels, negative, faces, strength=1.0):
    expected = pixels.copy()
    for face in faces:
        paste(expected, face.square(), negative(cut(pixels, face.square(), 64))[0], strength)
    return expected


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_every_face_is_cut_translated_and_pasted(negative, strength):
    pixels, faces = picture(), [at(80, 90), at(220, 100, 15)]
    result = PhotoTranslator(negative, finds(*faces), strength=strength)(plain(pixels))
    assert (result.translated, result.refused, result.fault) == (faces, [], None)
    np.testing.assert_array_equal(result.pixels, by_hand(pixels, negative, faces, strength))
    if strength == 0:
        np.testing.assert_array_equal(result.pixels, pixels)


def test_the_largest_alone(negative):
    pixels, faces = picture(), [at(80, 90), at(220, 100, 15)]
    result = PhotoTranslator(negative, finds(*faces), largest=True)(plain(pixels))
    np.testing.assert_array_equal(result.pixels, by_hand(pixels, negative, faces[:1]))


def test_faces_close_together_are_cut_from_the_photo_not_from_each_other(negative):
    pixels, faces = picture(), [at(100, 90), at(130, 95)]
    result = PhotoTranslator(negative, finds(*faces))(plain(pixels))
    np.testing.assert_array_equal(result.pixels, by_hand(pixels, negative, faces))


def test_no_face_has_a_reason_and_no_picture(negative):
    result = PhotoTranslator(negative, finds())(plain(picture()))
    assert (result.pixels, result.fault) == (None, "no_face")


def test_faces_that_would_look_bad_are_left_as_they_are_and_named(negative):
    pixels = picture()
    good, tiny = at(80, 90), at(220, 100, 5)
    result = PhotoTranslator(negative, finds(good, tiny))(plain(pixels))
    assert (result.translated, result.refused, result.fault) == ([good], [(tiny, "tiny_face")], None)
    np.testing.assert_array_equal(result.pixels, by_hand(pixels, negative, [good]))
    result = PhotoTranslator(negative, finds(tiny))(plain(pixels))
    assert (result.pixels, result.refused, result.fault) == (None, [(tiny, "tiny_face")], "tiny_face")
    dark = PhotoTranslator(negative, finds(good))(plain(pixels // 8))
    assert dark.fault == "dark_face"


def test_the_whole_photo(negative):
    pixels = np.broadcast_to(np.uint8([10, 100, 250]), (90, 160, 3))
    result = PhotoTranslator(negative, None)(plain(pixels))
    assert (result.pixels == 255 - pixels).all()
    assert result.fault is None


class AnySize:
    """A generator that takes any multiples of 4, and shows what it was given."""

    size, any_size = 16, True

    def __init__(self):
        self.seen = []

    def __call__(self, image):
        assert image.shape[0] % 4 == image.shape[1] % 4 == 0
        self.seen.append(image)
        return 255 - image, image[::4, ::4, 0].astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "limit", "seen"),
    [
        ((40, 60), None, (40, 60)),  # below 4 * 16
        ((43, 61), None, (44, 60)),  # the nearest multiples of 4
        ((100, 300), None, (20, 64)),
        ((300, 100), 128, (128, 44)),
        ((3, 900), 100, (8, 100)),  # 8 at least
    ],
)
def test_a_whole_photo_keeps_its_shape_where_the_generator_takes_it(shape, limit, seen):
    generator, pixels = AnySize(), picture(*shape)
    result = PhotoTranslator(generator, None, max_side=limit)(plain(pixels))
    assert [image.shape[:2] for image in generator.seen] == [seen]
    np.testing.assert_array_equal(generator.seen[0], cut(pixels, Square.upright(0, 0, shape[1], shape[0]), seen))
    assert result.pixels.shape == pixels.shape
    if seen == shape:
        np.testing.assert_array_equal(result.pixels, 255 - pixels)
        shown = PhotoTranslator(generator, None, heatmap=True)(plain(pixels)).pixels
        expected = ((255.0 - pixels) + colour_heatmap(pixels[::4, ::4, 0], shape)) / 2
        assert np.abs(shown - expected).max() <= 0.5


def test_a_face_has_the_models_size_whatever_it_takes():
    generator = AnySize()
    PhotoTranslator(generator, finds(at(80, 90)))(plain(picture()))
    assert [image.shape for image in generator.seen] == [(16, 16, 3)]


def test_of_a_generator_for_faces_nobody_asks_whether_it_takes_any_size(negative):
    """Asking a server costs a request."""

    class Asked:
        size = 64

        @property
        def any_size(self):
            pytest.fail("asked")

    assert not PhotoTranslator(Asked(), finds(at(80, 90))).own_shape
    assert not PhotoTranslator(Asked(), None, fit="crop").own_shape


def test_the_heatmap_is_laid_over_the_translation(negative):
    pixels = picture(64, 64)
    result = PhotoTranslator(negative, None, heatmap=True)(plain(pixels))
    image, heatmap = negative(pixels)
    expected = (image.astype(float) + colour_heatmap(heatmap, 64)) / 2
    assert np.abs(result.pixels - expected).max() <= 0.5


class NoHeatmap:
    size = 64

    def __call__(self, image):
        return image, None


def test_a_file_without_heatmap_says_so():
    with pytest.raises(ValueError, match="gives no heatmap: export it anew"):
        PhotoTranslator(NoHeatmap(), None, heatmap=True)(plain(picture()))


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_strengths_that_are_none(negative, strength):
    with pytest.raises(ValueError, match="strength must be from 0 to 1; received"):
        PhotoTranslator(negative, None, strength=strength)


def test_transparency_stays(negative):
    layer = np.dstack([picture(), np.full((200, 300), 77, np.uint8)])
    result = PhotoTranslator(negative, finds(at(80, 90)))(plain(picture(), layer=layer))
    assert (result.pixels[..., 3] == 77).all()
    np.testing.assert_array_equal(result.pixels[..., :3], by_hand(picture(), negative, [at(80, 90)]))


def red_and_blue_swapped():
    """An ICC profile: sRGB, but with the red and the blue primary in each other's place."""
    content = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return content.replace(b"rXYZ", b"?XYZ").replace(b"bXYZ", b"rXYZ").replace(b"?XYZ", b"bXYZ")


def test_the_network_sees_srgb_and_the_photo_keeps_its_own_colours():
    seen = []

    def halve(image):
        seen.append(image)
        return np.uint8(image * [0.5, 1, 1]), None

    halve.size = 64
    pixels = np.broadcast_to(np.uint8([200, 120, 40]), (64, 64, 3))
    result = PhotoTranslator(halve, None)(plain(pixels, icc=red_and_blue_swapped()))
    np.testing.assert_allclose(seen[0][0, 0], [40, 120, 200], atol=2)
    np.testing.assert_allclose(result.pixels[0, 0], [200, 120, 20], atol=3)


def test_a_broken_profile_counts_as_srgb(negative):
    result = PhotoTranslator(negative, None)(plain(picture(64, 64), icc=b"x" * 200))
    np.testing.assert_array_equal(result.pixels, 255 - picture(64, 64))


def camera_data():
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "A camera", 6
    exif.get_ifd(0x8769)[0x9003] = "2026:01:02 03:04:05"
    exif.get_ifd(0x8825)[1] = "N"
    return exif


@pytest.mark.parametrize(("suffix", "kind"), [(".jpg", "JPEG"), (".JPEG", "JPEG"), (".png", "PNG"), (".webp", "WEBP")])
def test_what_the_camera_wrote_is_kept_and_the_picture_upright(tmp_path, suffix, kind):
    ramp = np.broadcast_to(np.arange(0, 240, 4, np.uint8)[None, :, None], (40, 60, 3))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(ramp).save(tmp_path / f"x{suffix}", kind, exif=camera_data(), icc_profile=profile)
    photo = read(tmp_path / f"x{suffix}")
    assert photo.pixels.shape == (60, 40, 3)
    again = Image.open(io.BytesIO(encode(photo, photo.pixels, suffix)))
    assert (again.format, again.size, again.info["icc_profile"]) == (kind, (40, 60), profile)
    exif = again.getexif()
    assert exif.get(0x0112, 1) == 1
    assert exif[0x010F] == "A camera"
    assert exif.get_ifd(0x8769)[0x9003] == "2026:01:02 03:04:05"
    assert exif.get_ifd(0x8825)[1] == "N"
    assert np.abs(np.asarray(again.convert("RGB")).astype(int) - photo.pixels).max() <= 6


def test_a_tiffs_camera_data_are_kept_without_its_layout(tmp_path):
    exif = Image.Exif()
    exif.load(camera_data().tobytes())  # only of loaded data Pillow writes all directories into a TIFF
    Image.fromarray(picture(40, 60)).save(tmp_path / "x.tif", exif=exif)
    photo = read(tmp_path / "x.tif")
    for suffix in (".png", ".jpg"):
        exif = Image.open(io.BytesIO(encode(photo, photo.pixels, suffix))).getexif()
        assert exif[0x010F] == "A camera"
        assert exif.get_ifd(0x8769)[0x9003] == "2026:01:02 03:04:05"
        assert exif.get_ifd(0x8825)[1] == "N"
        assert set(exif) == {0x010F, 0x8769, 0x8825}  # neither sizes and strips nor the orientation
    Image.fromarray(picture(40, 60)).save(tmp_path / "x.tif", compression="tiff_lzw", tiffinfo={0x0110: "A scanner"})
    exif = Image.Exif()
    exif.load(read(tmp_path / "x.tif").exif)
    assert dict(exif) == {0x0110: "A scanner"}


def test_the_thumbnail_of_the_photo_from_before_is_dropped():
    """An Exif block with a second directory, whose tags 0x0201 and 0x0202 lead to a JPEG."""
    thumbnail = encode(plain(picture(8, 8)), picture(8, 8), ".jpg")
    first = struct.pack("<HHHIII", 1, 0x010F, 2, 4, int.from_bytes(b"Cam\0", "little"), 26)
    second = struct.pack("<HHHIIHHIII", 2, 0x0201, 4, 1, 56, 0x0202, 4, 1, len(thumbnail), 0)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + first + second + thumbnail
    assert Image.open(io.BytesIO(_with_exif(exif))).getexif().get_ifd(ExifTags.IFD.IFD1)[0x0202] == len(thumbnail)
    photo = read(_with_exif(exif))
    again = Image.open(io.BytesIO(encode(photo, photo.pixels, ".jpg")))
    assert again.getexif()[0x010F] == "Cam"
    assert not again.getexif().get_ifd(ExifTags.IFD.IFD1)
    assert thumbnail not in again.info["exif"]


def _with_exif(block):
    content = encode(plain(picture(8, 8)), picture(8, 8), ".jpg")
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + content[2:]


def test_camera_data_that_the_format_has_no_room_for():
    """A JPEG's marker has 65,533 bytes: a PNG's data may be larger. The maker's note is the first that goes."""
    exif = camera_data()
    exif.get_ifd(0x8769)[0x927C] = bytes(70_000)
    photo = plain(picture(8, 8), exif=exif.tobytes())
    again = Image.open(io.BytesIO(encode(photo, photo.pixels, ".jpg"))).getexif()
    assert again[0x010F] == "A camera"
    assert again.get_ifd(0x8769) == {0x9003: "2026:01:02 03:04:05"}
    exif[0x010E] = "x" * 70_000
    content = encode(plain(picture(8, 8), exif=exif.tobytes()), picture(8, 8), ".jpg")
    assert "exif" not in Image.open(io.BytesIO(content)).info


def test_a_profile_that_the_format_has_no_room_for_is_applied():
    """A JPEG has room for 255 markers of a profile."""
    pixels = np.broadcast_to(np.uint8([200, 120, 40]), (16, 16, 3))
    icc = red_and_blue_swapped() + bytes(17_000_000)
    again = Image.open(io.BytesIO(encode(plain(pixels, icc=icc), pixels, ".jpg")))
    assert "icc_profile" not in again.info
    np.testing.assert_allclose(np.asarray(again)[8, 8], [40, 120, 200], atol=4)


@pytest.mark.parametrize(("height", "width"), [(90, 160), (161, 90), (64, 64)])
def test_a_photo_as_a_whole_comes_back_with_its_proportions(negative, height, width):
    """Of smooth photos, which resizing changes little; the middle is what a crop gives."""
    ramps = np.linspace(0, 255, height)[:, None], np.linspace(255, 0, width)[None, :]
    pixels = np.stack(np.broadcast_arrays(*ramps, np.float64(99)), axis=-1).round().astype(np.uint8)
    seen = []

    def watching(image):
        seen.append(image)
        return negative(image)

    watching.size = negative.size
    for fit in ("squeeze", "pad"):
        result = PhotoTranslator(watching, None, fit=fit)(plain(pixels))
        np.testing.assert_allclose(result.pixels, 255.0 - pixels, atol=6)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    result = PhotoTranslator(watching, None, fit="crop")(plain(pixels))
    np.testing.assert_allclose(result.pixels, 255.0 - pixels[top : top + side, left : left + side], atol=6)
    assert len(result.notes) == (height != width)
    if height < width:  # the border goes on above and below
        assert (seen[1][:8] == seen[1][0]).all()
        np.testing.assert_allclose(seen[2][32, [0, -1], 1], pixels[45, [left, left + side - 1], 1], atol=3)


def test_of_an_animation_it_is_said_that_the_first_frame_is_used(negative):
    assert PhotoTranslator(negative, None)(plain(picture(64, 64), several=True)).notes == (
        "the first of several frames or pages",
    )


def test_damaged_camera_data_is_dropped():
    photo = plain(picture(8, 8), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert Image.open(io.BytesIO(encode(photo, photo.pixels, ".jpg"))).size == (8, 8)


def test_a_transparent_photo_as_jpeg_is_laid_on_white():
    layer = np.zeros((8, 8, 4), np.uint8)
    content = encode(plain(picture(8, 8), layer=layer), layer, ".jpg")
    assert (np.asarray(Image.open(io.BytesIO(content))) > 250).all()


def test_other_suffixes_become_png():
    assert encode(plain(picture(8, 8)), picture(8, 8), ".bmp").startswith(b"\x89PNG")
    assert set(photos.SUFFIXES) == {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp"}


@pytest.mark.parametrize(("grey", "space"), [(False, b"CMYK"), (True, b"RGB "), (True, b"GRAY")])
def test_a_profile_for_other_pixels_than_will_be_written_is_dropped(tmp_path, grey, space):
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[16:20] = space
    pixels = picture(8, 8)
    Image.fromarray(pixels[..., 0] if grey else pixels).save(tmp_path / "x.png", icc_profile=bytes(profile))
    assert read(tmp_path / "x.png").icc is None
