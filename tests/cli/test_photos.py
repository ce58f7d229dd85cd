"""Which photos a command line means."""

import contextlib
import os

import pytest

from ugatit_tf.cli import photos
from ugatit_tf.inference.translate import Names, short_name
from ugatit_tf.weights import atomic


@pytest.fixture
def folder(tmp_path):
    """Two folders whose names have brackets, and files that a set of characters fits."""
    for name in ("photos [2024]/a.jpg", "photos [2024]/b[1].jpg", "photos [2024]/b1.jpg", "photos 2/a.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("photos [2024]/*.jpg", ["photos [2024]/a.jpg", "photos [2024]/b1.jpg", "photos [2024]/b[1].jpg"]),
        ("photos [2024]/b[1].jpg", ["photos [2024]/b[1].jpg"]),
        ("photos [2024]/b[1].j*", ["photos [2024]/b[1].jpg"]),
        ("photos [2024]/[ab].jpg", ["photos [2024]/a.jpg"]),
        ("*/a.jpg", ["photos 2/a.jpg", "photos [2024]/a.jpg"]),
        ("**/b[[]1].jpg", ["photos [2024]/b[1].jpg"]),
        ("photos [0-9]/*.jpg", ["photos 2/a.jpg"]),
        ("none [1]/*.jpg", ["none [1]/*.jpg"]),
    ],
)
def test_brackets_mean_themselves_where_such_files_are(folder, word, found):
    assert [path.relative_to(folder).as_posix() for path in photos._resolve(str(folder / word))] == found


def test_a_plan_tells_what_in_a_folder_is_not_used(folder, capsys):
    (folder / "photos 2/film.mov").touch()
    jobs, problems = photos.plan([str(folder / "photos 2")], folder / "out")
    assert (len(jobs), problems) == (1, [])
    assert capsys.readouterr().out == f"Not used in {folder}/photos 2: 1 file that has no image's name: 1 .mov.\n"


def test_names_that_are_too_long_are_cut_between_characters():
    names = Names("x")
    for _ in range(3):  # the first fits, the others meet it
        given = [names(f"x/{'写' * 83}ab.png") for _ in range(3)]
    assert len({str(name) for name in given}) == 3
    assert all(len(name.name.encode()) <= 255 and name.suffix == ".png" for name in given)
    path = given[0].with_name("ok.png")
    assert short_name(path) is path


def test_a_known_photo_keeps_the_name_of_its_result(folder):
    """And no other photo gets it, whatever the order."""
    (folder / "photos 2/a.bmp").touch()
    known = {str(folder / "photos 2/a.jpg"): "a.png"}
    jobs, _ = photos.plan([str(folder / "photos 2")], folder / "out", (), known)
    assert [(path.name, result.name) for path, result in jobs] == [("a.bmp", "a.bmp.png"), ("a.jpg", "a.png")]


@contextlib.contextmanager
def interrupted_replacing(path):
    with atomic.replacing(path) as file:
        yield file
    raise KeyboardInterrupt


def test_a_result_is_done_if_all_that_made_it_is_the_same(folder, monkeypatch):
    photo, other, result = folder / "photos 2/a.jpg", folder / "photos [2024]/a.jpg", folder / "out/in/a.png"
    results = photos.Results(folder / "out", ["model", 1])
    assert results.check(photo, result) is None
    results.write(b"1", result, results.describe(photo, result))

    def check(settings=("model", 1), photo=photo, result=result):
        return photos.Results(folder / "out", settings).check(photo, result)

    assert check() == results.check(photo, result) == ""
    assert check(photo=other) == f"exists, made from {photo}"
    assert check(settings=("model", 2)) == "exists, made with another model or other flags"
    os.utime(photo, ns=(0, 1))
    assert check() == "exists, made before the photo changed"
    results.write(b"2", result, results.describe(photo, result))
    assert check() == ""
    # Stopped after the file was replaced, and before that was recorded: it is not what was there.
    monkeypatch.setattr(photos, "replacing", interrupted_replacing)
    other_flags = photos.Results(folder / "out", ["model", 2])
    with pytest.raises(KeyboardInterrupt):
        other_flags.write(b"4", result, other_flags.describe(photo, result))
    monkeypatch.undo()
    assert result.read_bytes() == b"4"
    assert check().startswith("exists, made with another model")
    results.write(b"2", result, results.describe(photo, result))
    (folder / "out/b.png").touch()
    assert check(result=folder / "out/b.png") == "exists"
    # A power cut while the record was written: that line is lost, and neither those before nor those after.
    record = folder / "out" / photos.RECORD
    record.write_bytes(record.read_bytes() + b'\n{"result": "in/t')
    results.write(b"3", folder / "out/c.png", results.describe(other, folder / "out/c.png"))
    assert check() == check(photo=other, result=folder / "out/c.png") == ""
    assert photos.Results(folder / "out", []).names() == {str(photo): "in/a.png", str(other): "c.png"}
    result.unlink()
    assert check() is None
