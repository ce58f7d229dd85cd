import html.parser
import os
import shutil
import urllib.parse

import numpy as np
import pytest
from PIL import Image

from ugatit_tf.inference import sheets, translate


def fake(shift):
    def generator(images, training=False):
        assert training is False
        images = np.asarray(images, np.float32)
        return images + np.float32(shift), np.zeros((len(images), 2)), images[:, ::4, ::4, :1]

    return generator


TO_B, TO_A = fake(0.5), fake(-0.25)
SIZE = 8


def batches(root, names, batch_size=1, level=0.0):
    """Constant images, each a little brighter than the one before, so that none can be taken for another."""
    for start in range(0, len(names), batch_size):
        part = names[start : start + batch_size]
        images = [np.full((SIZE, SIZE, 3), level + 0.02 * (start + i), np.float32) for i in range(len(part))]
        yield np.stack(images), [f"{root}/{name}" for name in part]


def run(out_dir, names_a=(), names_b=(), title="title", **options):
    return translate.translate_folders(
        TO_B,
        TO_A,
        batches("/src/testA", list(names_a), **options),
        batches("/src/testB", list(names_b), level=-0.5, **options),
        out_dir,
        title,
        "/src/testA",
        "/src/testB",
    )


def level(path):
    pixels = np.asarray(Image.open(path))
    assert pixels.shape == (SIZE, SIZE, 3)
    assert (pixels == pixels[0, 0, 0]).all()
    return int(pixels[0, 0, 0])


def expected(value):
    return round((value + 1) * 127.5)


class Page(html.parser.HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.urls, self.tags, self.text = [], [], ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.urls += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.text += data


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_both_directions_in_folders_of_their_own(tmp_path):
    counts = run(tmp_path, ["one.jpg", "sub/two.png"], ["one.jpg"], batch_size=2)
    assert counts == {"a2b": 2, "b2a": 1}
    assert files(tmp_path / "a2b") == ["one.png", "sub/two.png"]
    assert files(tmp_path / "b2a") == ["one.png"]
    assert level(tmp_path / "a2b/one.png") == expected(0.5)
    assert level(tmp_path / "a2b/sub/two.png") == expected(0.52)
    assert level(tmp_path / "b2a/one.png") == expected(-0.75)
    assert level(tmp_path / "inputs/a/sub/two.png") == expected(0.02)
    assert level(tmp_path / "inputs/b/one.png") == expected(-0.5)


def test_sheet_shows_the_seven_pictures_of_its_image(tmp_path):
    run(tmp_path, ["a.png"], ["b.png"])
    image = np.full((SIZE, SIZE, 3), -0.5, np.float32)
    column = sheets.sample_column(image, TO_A, TO_B)  # of domain B: there is to A
    sheet = np.asarray(Image.open(tmp_path / "sheets/b2a/b.png"))
    np.testing.assert_array_equal(sheet, np.concatenate(list(column), axis=1))
    assert files(tmp_path / "sheets") == ["a2b/a.png", "b2a/b.png"]


def test_names_that_meet_are_all_kept(tmp_path):
    names = ["x.jpeg", "x.jpg", "x.png", "X.PNG", "x.png.png", "y.tar.png", "sub/x.jpg"]
    run(tmp_path, names)
    # First come, first served; the later ones keep their whole name, and get a suffix until they meet no other,
    # in whichever case: x.png.png meets x.png's x.png.png, then X.PNG.png.png.
    written = ["x.png", "x.jpg.png", "x.png.png", "X.PNG.png.png", "x.png.png.png.png", "y.tar.png", "sub/x.png"]
    assert files(tmp_path / "a2b") == sorted(written)
    for index, name in enumerate(written):
        assert level(tmp_path / "inputs/a" / name) == expected(0.02 * index), name


AWKWARD = [
    "plain.png",
    "q'uo\"te.png",
    "<script>alert(1)<.png",
    "hash#1.png",
    "what?.png",
    "100%20 & space.png",
    "日本語 ü.png",
    "a:b.png",
    "javascript:alert(1).png",
    "$name ${sheet}.png",
]


def test_page_refers_to_every_picture_by_working_relative_urls(tmp_path):
    run(tmp_path / "first", AWKWARD, AWKWARD[:2], title="<b>A & B</b>")
    moved = tmp_path / "moved"
    shutil.move(tmp_path / "first", moved)  # a page that works when moved refers to nothing outside
    page = Page(moved / "index.html")
    local = [url for url in page.urls if not url.startswith("#")]
    for url in local:
        parts = urllib.parse.urlsplit(url)
        assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("", "", "", ""), url
        assert (moved / urllib.parse.unquote(parts.path)).is_file(), url
    assert {urllib.parse.unquote(url) for url in local} == set(files(moved)) - {"index.html"}
    assert page.tags.count("script") == 1  # the page's own
    assert "b" not in page.tags
    assert "<b>A & B</b>" in page.text
    for name in AWKWARD:
        assert name in page.text
    assert page.tags.count("img") == 2 * (len(AWKWARD) + 2)


def test_page_loads_nothing_from_elsewhere(tmp_path):
    run(tmp_path, ["a.png"])
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "://" not in text
    assert "url(" not in text
    assert text.count('loading="lazy"') == 2
    assert "prefers-color-scheme: dark" in text


def test_name_that_is_not_unicode(tmp_path):
    path = b"/src/testA/caf\xe9.png"
    image = np.zeros((1, SIZE, SIZE, 3), np.float32)
    translate.translate_folders(TO_B, TO_A, [(image, np.array([path], object))], (), tmp_path, "t", "/src/testA", None)
    assert os.listdir(os.fsencode(tmp_path / "a2b")) == [b"caf\xe9.png"]
    assert "a2b/caf%E9.png" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_tensors_and_byte_paths(tmp_path):
    tf = pytest.importorskip("tensorflow")
    dataset = tf.data.Dataset.from_tensors(
        (tf.zeros((2, SIZE, SIZE, 3)), tf.constant(["/src/testA/ü.jpg", "/src/testA/b"]))
    )
    counts = translate.translate_folders(TO_B, TO_A, dataset, (), tmp_path, "t", "/src/testA", None)
    assert counts == {"a2b": 2, "b2a": 0}
    assert files(tmp_path / "a2b") == ["b.png", "ü.png"]


@pytest.mark.parametrize(("names_a", "names_b"), [((), ("b.png",)), (("a.png",), ()), ((), ())])
def test_either_domain_may_be_empty(tmp_path, names_a, names_b):
    assert run(tmp_path, names_a, names_b) == {"a2b": len(names_a), "b2a": len(names_b)}
    assert Page(tmp_path / "index.html").text.count("No test images.") == (not names_a) + (not names_b)


def test_earlier_results_are_replaced(tmp_path):
    run(tmp_path, ["old.png", "both.png"], ["old.png"])
    (tmp_path / "notes.txt").write_text("mine")
    run(tmp_path, ["new.png", "both.png"])
    assert files(tmp_path) == sorted(
        ["index.html", "notes.txt"]
        + [f"{folder}/{name}" for folder in ("a2b", "inputs/a", "sheets/a2b") for name in ("both.png", "new.png")]
    )


def test_an_interrupted_test_is_replaced_too(tmp_path):
    def interrupted():
        yield from batches("/src/testA", ["a.png"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        translate.translate_folders(TO_B, TO_A, interrupted(), (), tmp_path, "t", "/src/testA", None)
    assert level(tmp_path / "a2b/a.png") == expected(0.5)
    assert "has not finished" in Page(tmp_path / "index.html").text
    run(tmp_path, ["b.png"])
    assert files(tmp_path / "a2b") == ["b.png"]
    assert "has not finished" not in Page(tmp_path / "index.html").text


@pytest.mark.parametrize("name", ["a2b/holiday.jpg", "inputs/data.csv", "index.html"])
def test_what_no_test_wrote_is_not_overwritten(tmp_path, name):
    mine = tmp_path / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(FileExistsError, match="Choose another folder"):
        run(tmp_path, ["a.png"])
    assert mine.read_text() == "mine"
    assert files(tmp_path) == [name]


def test_test_images_inside_the_results_are_not_removed(tmp_path):
    run(tmp_path, ["a.png"])
    with pytest.raises(ValueError, match="Move them"):
        translate.translate_folders(TO_B, TO_A, (), (), tmp_path, "t", tmp_path / "a2b", None)
    assert files(tmp_path / "a2b") == ["a.png"]


def test_path_outside_its_root_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not below"):
        translate.translate_folders(
            TO_B, TO_A, batches("/elsewhere", ["a.png"]), (), tmp_path / "out", "t", "/src/testA", None
        )
    with pytest.raises(ValueError, match="not below"):
        run(tmp_path / "out", ["../../etc/a.png"])
