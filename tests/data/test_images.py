import concurrent.futures
import dataclasses
import io
import json
import os
import pathlib
import struct
import sys
import threading
import warnings
import zlib

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from ugatit_tf.data import images


def encoded(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def noise(height=12, width=8, channels=3, seed=0):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def png(width, height, bit_depth, color_type, rows, *chunks):
    """A PNG file made by hand. `rows`: the uncompressed image data without the filter bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, color_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [chunk(b"IHDR", header), *(chunk(*pair) for pair in chunks), chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def save(path, pixels=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise() if pixels is None else pixels).save(path)
    return path


def dataset(folder, names=images.FOLDERS, count=2):
    for name in names:
        for index in range(count):
            save(folder / name / f"{index}.png")
    return folder


# decode


@pytest.mark.parametrize(
    ("file_format", "options"), [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True}), ("GIF", {})]
)
def test_lossless_formats_give_the_pixels_back(file_format, options):
    pixels = noise(4, 5)  # few colours, so that a GIF's palette holds them
    result = images.decode(encoded(Image.fromarray(pixels), file_format, **options))
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, pixels)


def test_jpeg_from_a_path(tmp_path):
    for source in (tmp_path / "a.jpg", str(tmp_path / "a.jpg")):
        Image.new("RGB", (9, 7), (200, 30, 90)).save(source, quality=95)
        result = images.decode(source)
        assert result.shape == (7, 9, 3)
        # A flat picture has only its mean to quantise, and two roundings between colour spaces.
        np.testing.assert_allclose(result.astype(int), np.broadcast_to([200, 30, 90], (7, 9, 3)), atol=3)


def test_grey_and_one_bit():
    grey = noise(channels=1)
    np.testing.assert_array_equal(images.decode(encoded(Image.fromarray(grey), "PNG")), np.stack([grey] * 3, -1))
    bits = grey > 127
    np.testing.assert_array_equal(images.decode(encoded(Image.fromarray(bits), "PNG"))[..., 0], np.where(bits, 255, 0))


def on_white(color, alpha):
    """alpha * color + (1 - alpha) * white"""
    return np.asarray(color) * (alpha / 255) + 255 * (1 - alpha / 255)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
@pytest.mark.parametrize("alpha", [0, 1, 100, 254, 255])
def test_alpha_is_composited_on_white(file_format, alpha):
    color = (10, 120, 250)
    options = {"lossless": True, "exact": True} if file_format == "WEBP" else {}
    result = images.decode(encoded(Image.new("RGBA", (4, 3), (*color, alpha)), file_format, **options))
    assert result.shape == (3, 4, 3)
    np.testing.assert_allclose(result[1, 1], on_white(color, alpha), atol=1)  # one rounding


def test_grey_with_alpha():
    result = images.decode(encoded(Image.new("LA", (4, 3), (40, 128)), "PNG"))
    np.testing.assert_allclose(result[0, 0], on_white([40] * 3, 128), atol=1)


def palette_image():
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 200])
    image.putdata([0, 1])
    return image


def test_palette_with_and_without_transparency():
    for file_format in ("PNG", "GIF", "BMP"):
        result = images.decode(encoded(palette_image(), file_format))
        np.testing.assert_array_equal(result, [[[255, 0, 0], [0, 0, 200]]])
    for file_format in ("PNG", "GIF"):
        result = images.decode(encoded(palette_image(), file_format, transparency=1))
        np.testing.assert_array_equal(result, [[[255, 0, 0], [255, 255, 255]]])
    result = images.decode(encoded(palette_image(), "PNG", transparency=bytes([255, 51])))
    np.testing.assert_allclose(result[0].astype(int), [[255, 0, 0], on_white([0, 0, 200], 51)], atol=1)


def test_one_transparent_colour():
    """PNG's tRNS chunk in pictures without an alpha channel, at each depth."""
    grey = png(2, 1, 8, 0, [bytes([7, 9])], (b"tRNS", struct.pack(">H", 9)))
    np.testing.assert_array_equal(images.decode(grey)[0], [[7] * 3, [255] * 3])
    color = png(2, 1, 8, 2, [bytes([7, 8, 9, 1, 2, 3])], (b"tRNS", struct.pack(">HHH", 1, 2, 3)))
    np.testing.assert_array_equal(images.decode(color)[0], [[7, 8, 9], [255] * 3])
    bit = png(2, 1, 1, 0, [bytes([0b10000000])], (b"tRNS", struct.pack(">H", 0)))
    np.testing.assert_array_equal(images.decode(bit)[0], [[255] * 3, [255] * 3])
    deep = png(2, 1, 16, 0, [struct.pack(">HH", 257, 514)], (b"tRNS", struct.pack(">H", 514)))
    np.testing.assert_array_equal(images.decode(deep)[0], [[1] * 3, [255] * 3])


def test_sixteen_bit_grey_is_scaled():
    values = [0, 128, 129, 257, 32896, 65406, 65407, 65535]
    expected = [round(value / 257) for value in values]
    assert expected[4] == 128
    assert expected[-1] == 255
    array = np.array([values], np.uint16)
    for content in (encoded(Image.fromarray(array), "PNG"), png(8, 1, 16, 0, [array.astype(">u2").tobytes()])):
        np.testing.assert_array_equal(images.decode(content), np.stack([[expected]] * 3, -1))


def test_sixteen_bit_colour_and_alpha():
    color = png(1, 1, 16, 2, [struct.pack(">HHH", 0, 32896, 65535)])
    np.testing.assert_array_equal(images.decode(color), [[[0, 128, 255]]])
    alpha = png(1, 1, 16, 6, [struct.pack(">HHHH", 0, 32896, 65535, 0)])
    np.testing.assert_array_equal(images.decode(alpha), [[[255, 255, 255]]])


def test_cmyk():
    for ink, color in (((0, 255, 255, 0), (255, 0, 0)), ((255, 0, 0, 0), (0, 255, 255)), ((0, 0, 0, 255), (0, 0, 0))):
        content = encoded(Image.new("CMYK", (8, 8), ink), "JPEG", quality=95)
        assert Image.open(io.BytesIO(content)).mode == "CMYK"
        np.testing.assert_allclose(images.decode(content)[4, 4].astype(int), color, atol=8)


UPRIGHT = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: x[::-1].transpose(1, 0, 2),  # a quarter turn clockwise: the first column, read upwards, is on top
    7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
    8: lambda x: x.transpose(1, 0, 2)[::-1],  # a quarter turn counterclockwise
}


@pytest.mark.parametrize("orientation", [*UPRIGHT, 0, 9])
@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_exif_orientation(orientation, file_format):
    pixels = noise(5, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if file_format == "WEBP" else {}
    result = images.decode(encoded(Image.fromarray(pixels), file_format, exif=exif, **options))
    np.testing.assert_array_equal(result, UPRIGHT.get(orientation, UPRIGHT[1])(pixels))


def test_exif_orientation_of_a_jpeg():
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    result = images.decode(encoded(Image.fromarray(pixels), "JPEG", exif=exif, quality=95))
    assert result.shape == (32, 16, 3)
    np.testing.assert_array_equal(result > 127, UPRIGHT[6](pixels) > 127)


def test_damaged_exif_does_not_spoil_the_picture():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for exif in (b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"):
            result = images.decode(encoded(Image.fromarray(noise()), "JPEG", exif=exif))
            assert result.shape == (12, 8, 3)


@pytest.mark.parametrize(("file_format", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})])
def test_first_frame_of_an_animation(file_format, options):
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "lime", "blue")]
    content = encoded(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(content)).n_frames == 3
    np.testing.assert_array_equal(images.decode(content), np.broadcast_to([255, 0, 0], (4, 4, 3)))


def bomb(file_format, side):
    """A picture of one pixel whose header says side x side."""
    if file_format == "PNG":
        return png(side, side, 8, 2, [b"abc"])
    content = bytearray(encoded(Image.new("RGB", (1, 1)), file_format))
    if file_format == "GIF":
        struct.pack_into("<HH", content, 6, side, side)
    elif file_format == "BMP":
        struct.pack_into("<ii", content, 18, side, side)
    else:
        start = content.index(b"\xff\xc0")
        struct.pack_into(">HH", content, start + 5, side, side)
    return bytes(content)


@pytest.mark.parametrize("file_format", ["PNG", "GIF", "BMP", "JPEG"])
@pytest.mark.parametrize("side", [8001, 10000, 60000])  # Pillow itself: silent, a warning, an error
def test_bombs_are_refused_from_the_header(file_format, side, tmp_path, monkeypatch):
    def load(self):
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(file_format, side))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=f"bomb.png: {side}x{side} pixels, more than the limit of 64,000,000"):
            images.decode(path)


def test_the_limit_is_ours_and_not_pillows(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert images.decode(encoded(Image.fromarray(noise()), "PNG")).shape == (12, 8, 3)
    monkeypatch.setattr(images, "MAX_PIXELS", 96)
    images.decode(encoded(Image.fromarray(noise(12, 8)), "PNG"))
    with pytest.raises(ValueError, match="image: 8x13 pixels"):
        images.decode(encoded(Image.fromarray(noise(13, 8)), "PNG"))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "BMP", "GIF", "WEBP"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_file_cut_off_is_an_error(file_format, progressive, tmp_path):
    options = {"progressive": progressive} if file_format == "JPEG" else {}
    content = encoded(Image.fromarray(noise(64, 64)), file_format, **options)
    for part in (0.1, 0.5, 0.95):
        path = tmp_path / f"cut.{file_format.lower()}"
        path.write_bytes(content[: int(len(content) * part)])
        with pytest.raises(ValueError, match=r"cut\.\w+: damaged"):
            images.decode(path)


def test_other_errors_name_file_and_reason(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "page.jpg").write_text("<html>not found</html>")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "radio.webp").write_bytes(b"RIFF\x10\0\0\0WAVEfmt \x10\0\0\0" + bytes(16))
    (tmp_path / "film.avif").write_bytes(b"\0\0\0\x18ftypisom\0\0\2\0isommp42")
    for name, reason in (
        ("empty.png", r"empty file \(0 bytes\)"),
        ("page.jpg", "not a JPEG, PNG, BMP, GIF, WebP, TIFF, AVIF or HEIC image. Convert"),
        ("film.avif", "not a JPEG, PNG, BMP, GIF, WebP, TIFF, AVIF or HEIC image. Convert"),
        ("folder.jpg", "cannot be read .Is a directory"),
        ("absent.jpg", "cannot be read .No such file"),
        ("radio.webp", "damaged"),
    ):
        with pytest.raises(ValueError, match=f"{name}: {reason}"):
            images.decode(tmp_path / name)


def test_the_suffix_does_not_matter(tmp_path):
    pixels = noise()
    (tmp_path / "a.jpg").write_bytes(encoded(Image.fromarray(pixels), "PNG"))
    np.testing.assert_array_equal(images.decode(tmp_path / "a.jpg"), pixels)


def test_running_out_of_memory_is_not_the_files_fault(monkeypatch):
    def load(self):
        raise MemoryError

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    with pytest.raises(MemoryError):
        images.decode(encoded(Image.fromarray(noise()), "PNG"))


# find_images


def test_images_are_found_in_a_fixed_order(tmp_path):
    wanted = ["B.JPG", "a.png", "a/z.webp", "a/deep/er/x.gif", "b.jpeg", "z.bmp", "pictures.jpg/in.png"]
    for name in [
        *wanted,
        ".hidden.png",
        ".git/a.png",
        "__MACOSX/a.png",
        "a/__MACOSX/b.png",
        "notes.txt",
        "jpg",
        "x.psd",
    ]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    elsewhere = save(tmp_path.parent / f"{tmp_path.name}-elsewhere.png")
    (tmp_path / "link.png").symlink_to(elsewhere)
    found = images.find_images(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in found] == sorted([*wanted, "link.png"])


def test_a_folder_that_cannot_be_listed_is_no_empty_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        images.find_images(tmp_path / "absent")


# examine


def check_images(paths, memory_file):
    """The good paths, and (path, reason) of the bad ones."""
    verdicts = list(zip(paths, images.examine(paths, memory_file), strict=True))
    good = [path for path, verdict in verdicts if verdict.reason is None]
    return good, [(path, verdict.reason) for path, verdict in verdicts if verdict.reason is not None]


def spoilt_folder(folder):
    good = [save(folder / "a.png"), save(folder / "b" / "c.jpg")]
    (folder / "cut.jpg").write_bytes(encoded(Image.fromarray(noise(64, 64)), "JPEG")[:1000])
    (folder / "empty.gif").touch()
    (folder / "link.png").symlink_to(folder / "nowhere.png")
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    bad = [folder / name for name in ("cut.jpg", "empty.gif", "folder.png", "link.png", "pipe.png")]
    return good, bad


def counting(monkeypatch):
    seen, lock, read = [], threading.Lock(), images.read

    def count(path):
        with lock:
            seen.append(pathlib.Path(path).name)
        return read(path)

    monkeypatch.setattr(images, "read", count)
    return seen


def test_good_and_bad_files_are_told_apart(tmp_path):
    expected, spoilt = spoilt_folder(tmp_path)
    paths = sorted([*expected, *spoilt])
    good, bad = check_images(paths, tmp_path / "memory.json")
    assert good == expected
    assert [path for path, _ in bad] == spoilt
    assert all(
        fragment in reason
        for (_, reason), fragment in zip(
            bad, ("truncated", "0 bytes", "not a file", "No such file", "not a file"), strict=True
        )
    )
    assert all(path.name not in reason for path, reason in bad)


def test_a_second_check_decodes_nothing(tmp_path, monkeypatch):
    expected, spoilt = spoilt_folder(tmp_path)
    paths = sorted([*expected, *spoilt])
    first = check_images(paths, tmp_path / "memory.json")
    written = (tmp_path / "memory.json").stat().st_mtime_ns

    def refuse(path):
        raise AssertionError(f"{path} was decoded")

    monkeypatch.setattr(images, "read", refuse)
    assert check_images(paths, tmp_path / "memory.json") == first
    assert (tmp_path / "memory.json").stat().st_mtime_ns == written
    assert sorted(path.name for path in tmp_path.glob("memory*")) == ["memory.json"]


def test_a_moved_dataset_is_remembered(tmp_path, monkeypatch):
    paths = [save(tmp_path / "here" / f"{index}.png") for index in range(3)]
    check_images(paths, tmp_path / "here" / "memory.json")
    (tmp_path / "here").rename(tmp_path / "there")
    seen = counting(monkeypatch)
    moved = [tmp_path / "there" / path.name for path in paths]
    assert check_images(moved, tmp_path / "there" / "memory.json") == (moved, [])
    assert seen == []


def test_changed_files_are_checked_again(tmp_path, monkeypatch):
    paths = [save(tmp_path / f"{name}.png") for name in ("same", "touched", "grown", "mended")]
    paths[3].write_bytes(paths[3].read_bytes()[:100])
    memory = tmp_path / "memory.json"
    assert [path for path, _ in check_images(paths, memory)[1]] == paths[3:]
    status = paths[2].stat()
    os.utime(paths[1], ns=(0, 10**18))
    paths[2].write_bytes(paths[2].read_bytes() + b"\0")
    os.utime(paths[2], ns=(status.st_atime_ns, status.st_mtime_ns))
    save(paths[3])
    seen = counting(monkeypatch)
    assert check_images(paths, memory) == (paths, [])
    assert sorted(seen) == ["grown.png", "mended.png", "touched.png"]


def test_the_rules_are_part_of_the_memory(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png")
    assert check_images([path], tmp_path / "memory.json")[0] == [path]
    monkeypatch.setattr(images, "MAX_PIXELS", 10)
    assert check_images([path], tmp_path / "memory.json")[0] == []


def test_a_check_of_some_files_keeps_what_is_known_of_the_others(tmp_path, monkeypatch):
    a, b, c = (save(tmp_path / f"{name}.png") for name in "abc")
    memory = tmp_path / "memory.json"
    check_images([a, b], memory)
    b.unlink()
    check_images([c], memory)
    assert sorted(json.loads(memory.read_text())["files"]) == ["a.png", "c.png"]
    seen = counting(monkeypatch)
    check_images([a, c], memory)
    assert seen == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "{}",
        '{"judges": 1, "files": {}}',
        "[" * 100_000,
        "\xff",
        '{"judges": JUDGES, "files": []}',
        '{"judges": JUDGES, "files": {"a.png": 5}}',
        '{"judges": JUDGES, "files": {"a.png": [1, 2]}}',
        '{"judges": JUDGES, "files": {"a.png": [1, 2, 3]}}',
        '{"judges": JUDGES, "files": {"a.png": [1, 2, null, "x", 8, false]}}',
        '{"judges": JUDGES, "files": {"a.png": "abc"}}',
    ],
)
def test_a_damaged_memory_is_no_problem(tmp_path, text):
    path = save(tmp_path / "a.png")
    memory = tmp_path / "memory.json"
    memory.write_text(text.replace("JUDGES", json.dumps(images._judges())), encoding="latin-1")
    assert check_images([path], memory) == ([path], [])
    assert list(json.loads(memory.read_text())["files"]) == ["a.png"]


def test_a_memory_that_cannot_be_written_is_no_problem(tmp_path):
    path = save(tmp_path / "a.png")
    for memory in (tmp_path / "absent" / "memory.json", tmp_path / "taken"):
        (tmp_path / "taken").mkdir(exist_ok=True)
        assert check_images([path], memory) == ([path], [])
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.png", "taken"]


def test_what_the_system_refuses_is_not_remembered(tmp_path, monkeypatch):
    """chmod changes neither size nor time. The refusal is simulated: the tests may run as root, whom nothing stops."""
    path = save(tmp_path / "a.png")

    def refuse(*arguments):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", refuse)
        good, bad = check_images([path], tmp_path / "memory.json")
    assert good == []
    assert bad == [(path, "cannot be read (Permission denied)")]
    assert check_images([path], tmp_path / "memory.json") == ([path], [])


def test_an_interrupted_check_keeps_what_it_saw(tmp_path, monkeypatch):
    paths = [save(tmp_path / f"{index}.png") for index in range(40)]
    read = images.read

    def interrupt(path):
        if path == paths[20]:
            raise KeyboardInterrupt
        return read(path)

    monkeypatch.setattr(images, "read", interrupt)
    with pytest.raises(KeyboardInterrupt):
        check_images(paths, tmp_path / "memory.json")
    assert len(json.loads((tmp_path / "memory.json").read_text())["files"]) == 20


def test_a_memory_that_was_half_written_goes(tmp_path):
    """By an earlier version, two days ago."""
    path = save(tmp_path / "a.png")
    half = tmp_path / f"{images.MEMORY_FILE}.{'0' * 32}.tmp"
    half.write_bytes(b"half")
    os.utime(half, (0, 0))
    check_images([path], tmp_path / images.MEMORY_FILE)
    assert sorted(item.name for item in tmp_path.iterdir()) == [images.MEMORY_FILE, "a.png"]


def test_names_that_are_not_text(tmp_path):
    path = pathlib.Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe4.png"))
    path.touch()
    assert images.find_images(tmp_path) == [path]
    for _ in range(2):
        assert check_images([path], tmp_path / "memory.json") == ([], [(path, "empty file (0 bytes)")])
    with pytest.raises(ValueError, match=r"\\udce4\.png: empty") as caught:
        images.decode(path)
    str(caught.value).encode()


# load_dataset


def test_a_dataset_is_read(tmp_path):
    dataset(tmp_path, count=1)
    save(tmp_path / "trainA" / "more" / "x.png")
    (tmp_path / "testB" / "bad.jpg").write_text("no image")
    result = images.load_dataset(tmp_path)
    assert result.train_a == [tmp_path / "trainA" / "0.png", tmp_path / "trainA" / "more" / "x.png"]
    assert result.train_b == [tmp_path / "trainB" / "0.png"]
    assert result.test_a == [tmp_path / "testA" / "0.png"]
    assert result.test_b == [tmp_path / "testB" / "0.png"]
    assert [path for path, _ in result.bad] == [tmp_path / "testB" / "bad.jpg"]
    assert (tmp_path / images.MEMORY_FILE).exists()


def test_only_what_is_needed_must_be_there(tmp_path):
    dataset(tmp_path / "train", ("trainA", "trainB"))
    result = images.load_dataset(tmp_path / "train")
    assert (len(result.train_a), result.test_a, result.test_b) == (2, [], [])
    with pytest.raises(FileNotFoundError, match="testA is missing"):
        images.load_dataset(tmp_path / "train", need=("testA", "testB"))
    dataset(tmp_path / "test", ("testA",))
    result = images.load_dataset(tmp_path / "test", need=("testA",))
    assert (result.train_a, len(result.test_a), result.test_b) == ([], 2, [])


def test_training_images_are_not_checked_for_a_test(tmp_path, monkeypatch):
    dataset(tmp_path, count=1)
    seen = counting(monkeypatch)
    result = images.load_dataset(tmp_path, need=("testA", "testB"))
    assert (result.train_a, result.train_b, len(seen)) == ([], [], 2)


def message(folder, **arguments):
    with pytest.raises(FileNotFoundError) as caught:
        images.load_dataset(folder, **arguments)
    return str(caught.value)


def test_a_missing_dataset_ends_with_the_layout(tmp_path):
    text = message(tmp_path / "absent")
    assert "absent is not there" in text
    for name in images.FOLDERS:
        assert f"{tmp_path / 'absent' / name}/" in text
    assert "https://drive.google.com/file/d/1xOWj1UVgp6NKMT3HbPhBbtq2A4EDkghF" in text
    assert "--dataset demo" in text
    assert "--data_dir" in text


@pytest.mark.parametrize("close", ["TrainA", "train_A", "train-a", "TRAIN A"])
def test_a_close_name_is_pointed_out(tmp_path, close):
    dataset(tmp_path, (close, "trainB"))
    assert f"trainA is missing. Rename {close} to trainA?" in message(tmp_path)


def test_what_was_found_is_said(tmp_path):
    dataset(tmp_path, ("photos", "trainB"))
    assert "trainA is missing; found there: photos, trainB" in message(tmp_path)
    (tmp_path / "trainA").mkdir()
    assert "trainA is empty" in message(tmp_path)
    (tmp_path / "trainA" / "a.psd").touch()
    (tmp_path / "trainA" / "b.mov").touch()
    assert "trainA has 2 files, but none ends in .jpg, " in message(tmp_path)
    (tmp_path / "trainA" / "b.png").touch()
    text = message(tmp_path)
    assert "trainA has 1 images, none of which can be read" in text
    assert "b.png: empty file" in text
    assert "trainB" not in text.partition("Expected")[0]
    (tmp_path / "file").touch()
    assert "file is not a folder" in message(tmp_path / "file")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "trainA").touch()
    assert "trainA is not a folder" in message(tmp_path / "other")


def test_an_unknown_need_is_refused(tmp_path):
    with pytest.raises(ValueError, match="received 'valA'"):
        images.load_dataset(tmp_path, need=("valA",))


# hold_out


def named(a, b, **others):
    """A dataset of files of these names, which need not be there."""
    lists = {"train_a": a, "train_b": b, "test_a": ["x"], "test_b": ["y"], **others}
    return images.Dataset(**{name: [pathlib.Path(path) for path in paths] for name, paths in lists.items()}, bad=[])


def numbered(folder, count):
    return [f"{folder}/{index:04d}.png" for index in range(count)]


@pytest.mark.parametrize(
    ("counts", "held"), [((40, 49), (4, 4)), ((50, 99), (5, 9)), ((999, 1000), (99, 100)), ((1010, 5000), (100, 100))]
)
def test_a_tenth_is_held_out_and_at_most_a_hundred(counts, held):
    before = named(numbered("A", counts[0]), numbered("B", counts[1]))
    rest, aside = before.hold_out()
    assert (len(aside.test_a), len(aside.test_b)) == held
    assert (aside.train_a, aside.train_b) == ([], [])
    assert (rest.test_a, rest.test_b) == (before.test_a, before.test_b)
    for train, test in (("train_a", "test_a"), ("train_b", "test_b")):
        kept, set_aside = getattr(rest, train), getattr(aside, test)
        assert sorted(kept + set_aside) == getattr(before, train)  # each image is in one of them
        assert kept == sorted(kept)
        assert set_aside == sorted(set_aside)
    assert before == named(numbered("A", counts[0]), numbered("B", counts[1]))


def test_which_are_held_out_never_changes():
    """Committed with the first version: a training that goes on must not meet the images that judge it."""
    _, aside = named(numbered("A", 40), numbered("B", 40)).hold_out()
    expected = ["0015.png", "0019.png", "0027.png", "0030.png"]
    assert [path.name for path in aside.test_a] == expected
    assert [path.name for path in aside.test_b] == expected


def test_which_are_held_out_depends_on_their_names_alone():
    paths = [f"A/{name}" for name in (*"abcdefghijklmnopqrstuvwxyz", *"ABCDEFGHIJKLMN")]
    other = numbered("B", 60)
    _, first = named(paths, other).hold_out()
    moved = [path.replace("A/", "/another/place/") for path in reversed(paths)]
    _, second = named(moved, numbered("B", 40)).hold_out()
    assert [path.name for path in second.test_a] == [path.name for path in reversed(first.test_a)]
    assert [path.name for path in first.test_a] != sorted(path.name for path in map(pathlib.Path, paths))[:4]


def test_images_of_one_name_in_two_folders_are_told_apart():
    paths = [*numbered("A/x", 30), *numbered("A/y", 30)]
    rest, aside = named(paths, paths).hold_out()
    assert (len(rest.train_a), len(aside.test_a)) == (54, 6)


def test_names_that_are_not_text_can_be_held_out():
    paths = [os.fsdecode(b"A/\xe4%d.png" % index) for index in range(40)]
    assert len(named(paths, paths).hold_out()[1].test_a) == 4


@pytest.mark.parametrize(("counts", "name"), [((39, 40), "train_a has 39"), ((40, 0), "train_b has 0")])
def test_too_few_images_cannot_be_held_out(counts, name):
    with pytest.raises(ValueError, match=f"4 or more of each domain; {name} images. Train without --eval_every, or"):
        named(numbered("A", counts[0]), numbered("B", counts[1])).hold_out()


def test_what_is_held_out_keeps_the_files_left_out():
    before = images.Dataset(numbered("A", 0), [], [], [], [(pathlib.Path("bad.png"), "empty")])
    lists = {name: [pathlib.Path(path) for path in numbered(name, 40)] for name in ("train_a", "train_b")}
    assert dataclasses.replace(before, **lists).hold_out()[0].bad == before.bad


# what else people bring


@pytest.mark.parametrize(
    ("file_format", "options"),
    [("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"big_tiff": True}), ("AVIF", {}), ("HEIF", {})],
)
def test_formats_of_scanners_of_the_web_and_of_phones(tmp_path, file_format, options):
    pixels = np.zeros((40, 64, 3), np.uint8)
    pixels[:, :32] = 200, 30, 90
    (tmp_path / "x").write_bytes(_encoded(Image.fromarray(pixels), file_format, **options))
    result = images.decode(tmp_path / "x")
    assert result.shape == pixels.shape
    # Lossless TIFF; of the others flat areas, away from their border, are true to a few levels.
    tolerance = 0 if file_format == "TIFF" else 6
    np.testing.assert_allclose(result[8:32, 8:24].astype(int), pixels[8:32, 8:24], atol=tolerance)
    np.testing.assert_allclose(result[8:32, 40:56].astype(int), pixels[8:32, 40:56], atol=tolerance)


def _encoded(image, file_format, **options):
    if file_format != "HEIF":
        return encoded(image, file_format, **options)
    content = io.BytesIO()
    pillow_heif.from_pillow(image).save(content, **options)
    return content.getvalue()


@pytest.mark.parametrize("file_format", ["TIFF", "AVIF", "HEIF"])
def test_exif_orientation_of_these(file_format):
    """A quarter turn, once: each format has its own place for it, and its reader may obey it or not."""
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:16, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"exif": exif.tobytes()} if file_format != "TIFF" else {"tiffinfo": {0x0112: 6}}
    result = images.decode(_encoded(Image.fromarray(pixels), file_format, **options))
    assert result.shape == (64, 32, 3)
    np.testing.assert_array_equal(result[4:-4:8, 4:-4:8] > 127, UPRIGHT[6](pixels)[4:-4:8, 4:-4:8] > 127)


def test_a_heic_without_the_package_names_the_extra(tmp_path, monkeypatch):
    content = _encoded(Image.new("RGB", (48, 48), "teal"), "HEIF")
    for index in range(5):
        (tmp_path / f"{index}.heic").write_bytes(content)
    save(tmp_path / "a.png")
    paths = images.find_images(tmp_path)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pillow_heif", None)  # an import of it fails
        patch.setattr(images.importlib.util, "find_spec", lambda name: None)
        good, bad = check_images(paths, tmp_path / "memory.json")
    assert [path.name for path in good] == ["a.png"]
    (line,) = images.describe_bad(bad)
    assert line.startswith(f"Left out: 5 files, {tmp_path}/0.heic for one: HEIC")
    assert "pip install" in line
    assert "[heif]" in line
    assert check_images(paths, tmp_path / "memory.json") == (paths, [])  # with it, all are looked at again


def test_floating_point_pixels_are_refused():
    with pytest.raises(ValueError, match=r"floating-point pixels.*Save it with 8 or 16 bits"):
        images.decode(encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"))


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize(
    "chunk",
    [
        (b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(b"x" * 2_000_000)),
        (b"zTXt", b"comment\0\0" + zlib.compress(b"x" * 2_000_000)),
        (b"zTXt", b"comment\0\0no deflate"),
        (b"iCCP", b"large\0\0" + zlib.compress(bytes(2_000_000))),
        (b"iCCP", b"broken"),
        (b"pHYs", b""),
    ],
    ids=["text", "packed", "damaged text", "profile", "damaged profile", "resolution"],
)
def test_what_is_beside_a_pngs_pixels_does_not_cost_the_picture(chunk, where):
    rows = [bytes([1, 2, 3, 4, 5, 6])]
    content = png(2, 1, 8, 2, rows, chunk)
    if where == "after":
        plain = png(2, 1, 8, 2, rows)
        start = content.index(chunk[0]) - 4
        piece = content[start : start + 12 + len(chunk[1])]
        content = plain[:-12] + piece + plain[-12:]
    np.testing.assert_array_equal(images.decode(content), [[[1, 2, 3], [4, 5, 6]]])
    damaged = content.replace(chunk[0] + chunk[1][:4], chunk[0] + b"\xff\xfe\xfd\xfc"[: len(chunk[1])], 1)
    np.testing.assert_array_equal(images.decode(damaged), [[[1, 2, 3], [4, 5, 6]]])  # its checksum is wrong now
    with pytest.raises(ValueError, match="damaged"):
        images.decode(content.replace(b"IDAT", b"IDAX"))


def test_a_pngs_orientation_and_profile_survive_its_metadata():
    pixels, exif = noise(5, 3), Image.Exif()
    exif[0x0112] = 6
    info = PngImagePlugin.PngInfo()
    info.add_text("a", "x" * 2_000_000, zip=True)
    content = encoded(Image.fromarray(pixels), "PNG", exif=exif, icc_profile=profile("rXYZ", "bXYZ"), pnginfo=info)
    expected = UPRIGHT[6](pixels)[..., ::-1].astype(int)
    np.testing.assert_allclose(images.decode(content).astype(int), expected, atol=2)
    assert images.read(content).icc == profile("rXYZ", "bXYZ")


# colours


def profile(one="", other=""):
    """sRGB, or with two primaries in each other's place."""
    content = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return content.replace(one.encode(), b"?XYZ").replace(other.encode(), one.encode()).replace(b"?XYZ", other.encode())


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
def test_every_picture_is_given_in_srgb(file_format):
    """In the profile red and blue have changed places, so the pixels' change them once more."""
    pixels = noise(16, 16)
    options = {"lossless": True} if file_format == "WEBP" else {}
    content = encoded(Image.fromarray(pixels), file_format, icc_profile=profile("rXYZ", "bXYZ"), **options)
    np.testing.assert_allclose(images.decode(content).astype(int), pixels[..., ::-1], atol=2)
    np.testing.assert_array_equal(images.read(content).pixels, pixels)  # for those that write it again


def test_transparent_pictures_too():
    layer = np.dstack([noise(16, 16), np.full((16, 16), 255, np.uint8)])
    layer[0, 0, 3] = 0
    result = images.decode(encoded(Image.fromarray(layer), "PNG", icc_profile=profile("rXYZ", "bXYZ")))
    np.testing.assert_allclose(result[1:].astype(int), layer[1:, :, 2::-1], atol=2)
    np.testing.assert_array_equal(result[0, 0], 255)


@pytest.mark.parametrize("icc", [profile(), b"x" * 200, profile("rXYZ", "bXYZ")[:400]], ids=["srgb", "none", "cut"])
def test_srgb_and_damaged_profiles_change_nothing(icc):
    pixels = noise(16, 16)
    np.testing.assert_array_equal(images.decode(encoded(Image.fromarray(pixels), "PNG", icc_profile=icc)), pixels)


def test_grey_pictures_obey_their_profile_too():
    """A grey profile with a gamma of 1.8; sRGB encodes the light by its own formula."""

    def tag(kind, data):
        return kind + bytes(4) + data

    white = tag(b"XYZ ", struct.pack(">iii", 63190, 65536, 54061))  # D50 by 2**16
    curve = tag(b"curv", struct.pack(">IH", 1, round(1.8 * 256))) + bytes(2)
    table = struct.pack(">I", 2) + b"wtpt" + struct.pack(">II", 156, 20) + b"kTRC" + struct.pack(">II", 176, 14)
    head = bytearray(128)
    head[8:12], head[12:16], head[16:20], head[20:24], head[36:40] = b"\2\x40\0\0", b"mntr", b"GRAY", b"XYZ ", b"acsp"
    head[68:80] = struct.pack(">iii", 63190, 65536, 54061)
    icc = bytes(head) + table + white + curve
    icc = struct.pack(">I", len(icc)) + icc[4:]
    grey = np.arange(0, 256, dtype=np.uint8).reshape(16, 16)
    light = (grey / 255) ** (round(1.8 * 256) / 256)
    expected = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    result = images.decode(encoded(Image.fromarray(grey), "PNG", icc_profile=icc))
    np.testing.assert_allclose(result, np.stack([expected] * 3, -1), atol=1.5)
    photo = images.read(encoded(Image.fromarray(np.dstack([grey, grey])), "PNG", icc_profile=icc))
    np.testing.assert_allclose(photo.layer[..., 0], expected, atol=1.5)
    np.testing.assert_array_equal(photo.layer[..., 3], grey)


def test_many_threads_share_a_transform():
    contents = [
        encoded(Image.fromarray(noise(64, 64, seed=i)), "PNG", icc_profile=profile("rXYZ", "gXYZ")) for i in (0, 1)
    ]
    alone = [images.decode(content) for content in contents]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for index, result in enumerate(pool.map(images.decode, contents * 100)):
            np.testing.assert_array_equal(result, alone[index % 2])


# proportions


def test_proportions_by_hand():
    pixels = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    assert images.to_aspect(pixels, "squeeze") is pixels
    np.testing.assert_array_equal(images.to_aspect(pixels, "crop"), pixels[:, :2])
    np.testing.assert_array_equal(images.to_aspect(pixels, "pad"), pixels[[0, 0, 1]])
    np.testing.assert_array_equal(images.to_aspect(pixels, "crop", (10, 5)), pixels[:, 1:2])
    np.testing.assert_array_equal(images.to_aspect(pixels, "pad", (10, 20)), pixels[:, [0, 0, 1, 2]])
    for fit in ("crop", "pad"):
        assert images.to_aspect(pixels, fit, (2, 3)) is pixels
        assert images.to_aspect(np.zeros((1, 9, 3), np.uint8), fit).shape[:2] == ((1, 1) if fit == "crop" else (9, 9))
    with pytest.raises(ValueError, match="fit must be one of squeeze, crop, pad; received 'stretch'"):
        images.to_aspect(pixels, "stretch")


@pytest.mark.parametrize("turned", [False, True])
def test_padding_makes_no_picture_larger_than_the_limit(turned, monkeypatch):
    """300 x 21 pixels would become 300 x 300 of 10,000 allowed: shrunk by 3 first, to the means of 3 x 3."""
    monkeypatch.setattr(images, "MAX_PIXELS", 10_000)
    pixels = np.random.default_rng(0).integers(0, 256, (21, 300, 3), np.uint8)
    means = pixels.reshape(7, 3, 100, 3, 3).mean(axis=(1, 3))
    expected = np.pad(means, ((47, 46), (0, 0), (0, 0)), mode="edge")
    if turned:
        pixels, expected = pixels.swapaxes(0, 1), expected.swapaxes(0, 1)
    padded = images.to_aspect(pixels, "pad")
    assert padded.shape == (100, 100, 3)
    assert np.abs(padded - expected).max() <= 1
    assert images.to_aspect(pixels[:99, :99], "pad").shape[0] <= 99


# scan


def test_linked_folders_are_followed_once_and_without_loops(tmp_path):
    folder = tmp_path / "trainA"
    save(folder / "own" / "a.png")
    save(tmp_path / "elsewhere" / "deep" / "b.png")
    (folder / "again").symlink_to(folder / "own")  # there already, under its own name
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "linked_too").symlink_to(tmp_path / "elsewhere" / "deep")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(folder)
    (folder / "up").symlink_to(tmp_path)
    found = images.scan(folder)
    assert [path.relative_to(folder).as_posix() for path in found.images] == ["linked/deep/b.png", "own/a.png"]
    assert found.notes() == [f"Not used: {folder}/up, a link to a folder that {folder} lies in."]


def test_what_is_not_used_is_told_by_kind_and_number(tmp_path):
    dataset(tmp_path)
    for name in ("a.MOV", "b.mov", "notes.txt", "README", "Thumbs.db", ".hidden", "c.mov"):
        (tmp_path / "trainA" / name).touch()
    frames = [Image.new("RGB", (30, 20), color) for color in ("red", "lime")]
    frames[0].save(tmp_path / "trainB" / "pages.tif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "trainB" / "film.gif", save_all=True, append_images=frames[1:])
    for _ in range(2):  # from the memory, too
        found = images.load_dataset(tmp_path)
        lines = found.notes("pad")
        assert lines[0] == (
            f"Not used in {tmp_path}/trainA: 5 files that have no image's name: 3 .mov, 1 .txt, 1 without an ending."
        )
        assert f"{tmp_path}/trainB: 2 files have several frames or pages; the first is used." in lines
        (oblong,) = [line for line in lines if line.startswith(f"{tmp_path}/trainB: 4 of 4 ")]
        assert oblong.endswith("images are not square, such as 8x12: padded with the edge pixels (--fit pad).")
    assert "--fit crop or --fit pad keeps" in found.notes()[-1]
    assert images.decode(tmp_path / "trainB" / "pages.tif")[0, 0].tolist() == [255, 0, 0]


def test_a_check_tells_how_far_it_is(tmp_path):
    paths, told = [save(tmp_path / f"{index}.png") for index in range(3)], []
    images.examine(paths, tmp_path / "memory.json", lambda *numbers: told.append(numbers))
    assert told == [(1, 3), (2, 3), (3, 3)]
