import dataclasses
import inspect
import json
import os

import numpy as np
import pytest
from PIL import Image

from ugatit_tf.data import demo
from ugatit_tf.metrics import sample_size
from ugatit_tf.weights.process import Process


def person(**changes):
    """An upright, centred person with black hair on a bright background."""
    values = {
        "hair_style": "short",
        "hair": (0.1, 0.1, 0.1),
        "skin": (0.9, 0.75, 0.65),
        "eyes": (0.2, 0.4, 0.7),
        "backdrop": (0.5, 0.8, 0.5),
        "clothes": (0.7, 0.2, 0.2),
        "fringe": False,
        "part": 0.5,
        "tilt": 0.0,
        "turn": 0.0,
        "shift": (0.0, 0.0),
        "scale": 1.0,
        "smile": 0.3,
        "light": 0.7,
        "glasses": False,
        "grain": 1,
    }
    return demo.Portrait(**(values | changes))


def floats(image):
    return np.asarray(image, np.float64) / 255


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "demo"
    calls = []
    demo.write_demo(folder, seed=3, size=32, train=4, test=2, progress=lambda *call: calls.append(call))
    return folder, calls


def test_counts_names_and_sizes(drawn):
    folder, calls = drawn
    counts = {"trainA": 4, "trainB": 4, "testA": 2, "testB": 2}
    expected = {f"{split}/{i:04d}.png" for split, count in counts.items() for i in range(count)}
    assert set(files(folder)) == expected | {"demo.json"}
    for name in expected:
        with Image.open(folder / name) as image:
            assert (image.size, image.mode, image.format) == ((32, 32), "RGB", "PNG")
    assert json.loads((folder / "demo.json").read_text()) == {
        "version": demo.VERSION,
        "seed": 3,
        "size": 32,
        "train": 4,
        "test": 2,
    }
    assert calls == [(i, 12) for i in range(1, 13)]


def test_the_seed_decides_every_byte(drawn, tmp_path):
    folder, _ = drawn
    np.random.seed(0)  # the global generator must have no influence
    demo.write_demo(tmp_path / "same", seed=3, size=32, train=4, test=2)
    demo.write_demo(tmp_path / "other", seed=4, size=32, train=4, test=2)
    first, other = files(folder), files(tmp_path / "other")
    assert files(tmp_path / "same") == first
    assert all(first[name] != other[name] for name in first)


def test_more_pictures_leave_the_first_ones_as_they_are(drawn, tmp_path):
    demo.write_demo(tmp_path / "demo", seed=3, size=32, train=5, test=3)
    more = files(tmp_path / "demo")
    assert all(more[name] == data for name, data in files(drawn[0]).items() if name != "demo.json")


def test_a_set_with_another_number_of_pictures_stays_as_it_is(drawn, tmp_path):
    """And is used: what was scored with it stays comparable."""
    demo.write_demo(tmp_path / "demo", seed=3, size=32, train=4, test=1)
    before = files(tmp_path / "demo")
    with pytest.raises(FileExistsError, match="not this demo set"):
        demo.write_demo(tmp_path / "demo", seed=3, size=32, train=4, test=2)
    assert files(tmp_path / "demo") == before
    assert before.items() - {("demo.json", before["demo.json"])} <= files(drawn[0]).items()
    assert demo.demo_ready(tmp_path / "demo")


def test_the_default_set_has_enough_test_pictures_for_kid():
    count = inspect.signature(demo.write_demo).parameters["test"].default
    assert sample_size.shortfalls("kid", count) is None
    assert sample_size.shortfalls("kid", count // 2) is not None


def test_train_domains_show_different_people_and_test_domains_the_same(tmp_path, monkeypatch):
    shown = {"photo": [], "anime": []}

    def draw(kind):
        def record(portrait, size):
            shown[kind].append(portrait)
            return Image.new("RGB", (size, size))

        return record

    monkeypatch.setattr(demo, "draw_photo", draw("photo"))
    monkeypatch.setattr(demo, "draw_anime", draw("anime"))
    demo.write_demo(tmp_path / "demo", train=20, test=5)
    train_a, test_a = shown["photo"][:20], shown["photo"][20:]
    train_b, test_b = shown["anime"][:20], shown["anime"][20:]
    assert test_a == test_b
    assert len(set(train_a + train_b + test_a)) == 45


@pytest.mark.parametrize("style", demo.HAIR_STYLES)
def test_both_drawings_of_a_person_keep_colours(style):
    colours = {"red": (0.75, 0.2, 0.2), "green": (0.2, 0.75, 0.2), "blue": (0.2, 0.2, 0.75)}
    for channel, colour in enumerate(colours.values()):
        shown = person(hair_style=style, hair=colour, backdrop=colour, clothes=colour, fringe=True)
        for draw in (demo.draw_photo, demo.draw_anime):
            image = floats(draw(shown, 64))
            # In the middle of the picture's width: hair in the rows above the forehead. At the edge: background.
            # Below: clothes. Each must be dominated by its own colour.
            for patch in (image[12:18, 28:36], image[8:24, :3], image[-3:, 12:18]):
                assert patch.mean((0, 1)).argmax() == channel


def test_the_pose_moves_both_drawings_alike():
    for draw in (demo.draw_photo, demo.draw_anime):

        def centre(portrait, draw=draw):
            hair = floats(draw(portrait, 64)).sum(-1)[:24] < 0.9  # black hair, rows above the eyes
            return hair.nonzero()[1].mean()

        # A shift of 0.2 half pictures is 6.4 pixels of 64, and is cut nowhere.
        moved = centre(person(shift=(0.2, 0.0))) - centre(person(shift=(-0.2, 0.0)))
        assert moved == pytest.approx(12.8, abs=1.5)
        assert centre(person(tilt=9.0)) > centre(person()) + 1 > centre(person(tilt=-9.0)) + 2


def test_the_domains_differ_in_shape():
    # What changes with the colour of the eyes is the irises: those of the anime are several times as large.
    area = {}
    for draw in (demo.draw_photo, demo.draw_anime):
        change = floats(draw(person(eyes=(0.0, 0.0, 0.0)))) - floats(draw(person(eyes=(0.2, 0.9, 0.2))))
        area[draw] = (np.abs(change).max(-1) > 0.1).sum()
    assert area[demo.draw_photo] > 50
    assert area[demo.draw_anime] > 3 * area[demo.draw_photo]


def test_the_photo_is_shaded_and_the_anime_flat():
    def tones(draw):
        cheeks = np.asarray(draw(person()))[74:86, 40:88]  # skin below the eyes, the nose included
        return len(np.unique(cheeks.reshape(-1, 3), axis=0)), cheeks.shape[0] * cheeks.shape[1]

    photo, pixels = tones(demo.draw_photo)
    anime, _ = tones(demo.draw_anime)
    assert photo > 0.8 * pixels
    assert anime < 0.5 * pixels


def test_a_change_of_any_parameter_shows_in_both_drawings():
    base = person(smile=0.5)
    changed = {
        "hair_style": "long",
        "hair": (0.8, 0.6, 0.3),
        "skin": (0.5, 0.35, 0.25),
        "eyes": (0.6, 0.3, 0.1),
        "backdrop": (0.8, 0.6, 0.5),
        "clothes": (0.2, 0.3, 0.5),
        "fringe": True,
        "part": -0.5,
        "tilt": 5.0,
        "turn": 0.8,
        "shift": (0.05, 0.05),
        "scale": 1.06,
        "smile": 0.9,
        "light": -0.7,
        "glasses": True,
    }
    names = {field.name for field in dataclasses.fields(demo.Portrait)}
    assert set(changed) == names - {"grain"}  # grain is detail of the photo alone
    for draw in (demo.draw_photo, demo.draw_anime):
        before = floats(draw(base, 64))
        for name, value in changed.items():
            after = floats(draw(dataclasses.replace(base, **{name: value}), 64))
            assert (np.abs(after - before).max(-1) > 0.15).sum() >= 8, (draw.__name__, name)


def test_an_exception_leaves_nothing_behind(tmp_path):
    def interrupt(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demo.write_demo(tmp_path / "demo", size=16, train=2, test=1, progress=interrupt)
    assert list(tmp_path.iterdir()) == []
    assert not demo.demo_ready(tmp_path / "demo")


def test_the_folder_appears_only_when_it_is_complete(tmp_path):
    seen = []
    demo.write_demo(
        tmp_path / "demo", size=16, train=1, test=1, progress=lambda *_: seen.append((tmp_path / "demo").exists())
    )
    assert seen == [False] * 4
    assert demo.demo_ready(tmp_path / "demo")
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_a_second_drawer_of_the_same_set_discards_its_own(tmp_path):
    arguments = {"size": 16, "train": 1, "test": 1}
    first = []

    def overtake(done, total):
        if done == total:
            demo.write_demo(tmp_path / "demo", **arguments)
            first.append((tmp_path / "demo").stat().st_ino)

    demo.write_demo(tmp_path / "demo", **arguments, progress=overtake)
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
    assert (tmp_path / "demo").stat().st_ino == first[0]


def test_an_existing_set_is_not_drawn_again_and_nothing_else_is_overwritten(tmp_path):
    folder = tmp_path / "demo"
    demo.write_demo(folder, size=16, train=1, test=1)
    calls = []
    demo.write_demo(folder, size=16, train=1, test=1, progress=lambda *call: calls.append(call))
    assert calls == []
    with pytest.raises(FileExistsError, match="not this demo set"):
        demo.write_demo(folder, seed=1, size=16, train=1, test=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="Remove it"):
        demo.write_demo(tmp_path / "mine", size=16, train=1, test=1)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_ready_means_this_version(tmp_path):
    assert not demo.demo_ready(tmp_path)
    for text, ready in (
        ("", False),
        ("[]", False),
        (json.dumps({"version": demo.VERSION + 1}), False),
        (json.dumps({"version": demo.VERSION}), True),
    ):
        (tmp_path / "demo.json").write_text(text)
        assert demo.demo_ready(tmp_path) is ready


@pytest.mark.parametrize(("name", "value"), [("seed", -1), ("size", 8), ("train", 0), ("test", 0)])
def test_values_out_of_range_are_refused(tmp_path, name, value):
    with pytest.raises(ValueError, match=rf"{name} must be at least \d+; received {value}"):
        demo.write_demo(tmp_path / "demo", **{name: value})
    assert list(tmp_path.iterdir()) == []


def test_a_picture_too_small_is_refused():
    with pytest.raises(ValueError, match="at least 16 pixels; received 8"):
        demo.draw_anime(person(), 8)


def test_a_draft_of_a_power_cut_goes(tmp_path):
    """One of another container, and an earlier version's, both two days old; a new one stays."""
    elsewhere = dataclasses.replace(Process.here(), machine="another")
    names = [f".demo.{elsewhere.tag}-0.tmp", f".{'0' * 32}", f".{'1' * 32}"]
    for name in names:
        (tmp_path / name).mkdir()
    for name in names[:2]:
        os.utime(tmp_path / name, (0, 0))
    demo.write_demo(tmp_path / "demo", size=16, train=1, test=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [names[2], "demo"]
