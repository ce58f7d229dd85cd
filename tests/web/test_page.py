"""The page in a browser, used as a person would; what it draws is compared with Python's output of the same file."""

import base64
import io
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from web_page import WEB

from ugatit_tf.data.images import Photo
from ugatit_tf.inference.faces import FaceDetector
from ugatit_tf.inference.generators import load_generator
from ugatit_tf.inference.photo import PhotoTranslator
from ugatit_tf.inference.translate import translate_folders

pytestmark = pytest.mark.slow


def in_python(model, pixels, what="every", strength=100, heatmap=False):
    detector = None if what == "whole" else FaceDetector()
    translator = PhotoTranslator(load_generator(model), detector, what == "largest", strength / 100, heatmap)
    return translator(Photo(pixels, None, None, None)).pixels


def pixels_of(path):
    return np.asarray(Image.open(path).convert("RGB"))


def difference(one, other):
    assert one.shape == other.shape
    return np.abs(one.astype(float) - other).mean()


@pytest.fixture(scope="module")
def group(portrait):
    """Three faces of several sizes, one turned, and a fourth that is too dark."""
    canvas = Image.new("RGB", (1000, 600), (120, 140, 160))
    image = Image.fromarray(portrait)
    canvas.paste(image.crop((100, 0, 400, 300)).resize((400, 400)), (0, 100))
    canvas.paste(image.crop((100, 0, 400, 300)).rotate(25, fillcolor=(120, 140, 160)), (410, 20))
    canvas.paste(image.crop((120, 0, 320, 200)), (420, 360))
    canvas.paste(image.crop((120, 0, 320, 200)).point(lambda value: value // 8), (760, 360))
    return np.asarray(canvas)


def test_a_photo_becomes_what_python_makes_of_it(browse, url, model, group, scenery, save, tmp_path):
    steps = [
        {"photo": "group"},
        {"what": "largest"},
        {"strength": 40},
        {"heatmap": True},
        {"what": "whole"},
        {"photo": "scenery", "what": "whole"},
        {"photo": "scenery", "what": "whole", "heatmap": True, "strength": 60},
    ]
    photos = {"group": group, "scenery": scenery}
    files = {name: save(f"{name}.png", pixels) for name, pixels in photos.items()}
    sent = [
        {**step, "out": str(tmp_path / f"{k}.png"), "photo": files.get(step.get("photo"))}
        for k, step in enumerate(steps)
    ]
    found = browse("upload", url=url, steps=sent, before=str(tmp_path / "before.png"))
    assert found["problems"] == found["outside"] == []
    photo = None
    for k, step in enumerate(steps):
        photo = photos.get(step.pop("photo", None), photo)
        drawn, expected = pixels_of(tmp_path / f"{k}.png"), in_python(model, photo, **step)
        where = (expected != photo).any(axis=-1)
        assert where.mean() > 0.01  # something was translated, or the comparison would say nothing
        assert np.abs(drawn.astype(float) - expected)[where].mean() <= 2, (step, found["said"][k])
        assert difference(drawn, expected) <= 2
    assert (pixels_of(tmp_path / "before.png") == scenery).all()
    assert found["said"][0] == "3 faces were translated. Left as it is: 1 face, too dark."
    assert found["said"][1] == "1 face was translated."
    assert found["said"][4] == "The picture was translated."
    assert found["isolated"]
    assert found["device"].startswith("processor, ")
    assert "ms" in found["time"]
    assert found["licence"] == "CC0-1.0"
    assert found["models"] == ["Test one, float16", "Test one"]


def test_no_face_is_said(browse, url, scenery, save, tmp_path):
    steps = [{"photo": save("scenery.png", scenery), "out": str(tmp_path / "0.png")}]
    steps += [{**steps[0], "photo": None, "what": "whole"}, {**steps[0], "photo": None}]
    found = browse("upload", url=url, steps=steps, before=str(tmp_path / "before.png"))
    assert found["said"][0].startswith("No face was found. Try ")
    assert (pixels_of(tmp_path / "0.png") == scenery).all()
    nothing = {"label": "Not translated", "canvas": "Not translated", "original": False, "slider": False, "save": False}
    whole = {"label": "Translation", "canvas": "Translation", "original": True, "slider": True, "save": True}
    title = {"title": ["Test one"] * 2}
    assert found["shown"] == [nothing | title, whole | title, nothing | title]


@pytest.mark.parametrize("quarters", [1, 2])
def test_a_face_on_its_side_or_upside_down(browse, url, model, portrait, save, tmp_path, quarters):
    photo = np.ascontiguousarray(np.rot90(portrait, quarters))
    steps = [{"photo": save("turned.png", photo), "out": str(tmp_path / "out.png")}]
    found = browse("upload", url=url, steps=steps, before=str(tmp_path / "before.png"))
    assert found["said"] == ["1 face was translated."]
    drawn, expected = pixels_of(tmp_path / "out.png"), in_python(model, photo)
    where = (expected != photo).any(axis=-1)
    assert where.mean() > 0.01
    assert np.abs(drawn.astype(float) - expected)[where].mean() <= 2


def test_transparent_and_turned_photos(browse, url, model, scenery, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right
    Image.fromarray(scenery).save(tmp_path / "turned.png", exif=exif)
    alpha = np.dstack([scenery, np.full(scenery.shape[:2], 0, np.uint8)])
    Image.fromarray(alpha).save(tmp_path / "clear.png")
    steps = [
        {"photo": str(tmp_path / f"{name}.png"), "out": str(tmp_path / f"{name}-out.png"), "what": "whole"}
        for name in ("turned", "clear")
    ]
    browse("upload", url=url, steps=steps, before=str(tmp_path / "before.png"))
    assert difference(pixels_of(tmp_path / "turned-out.png"), in_python(model, np.rot90(scenery, -1), "whole")) <= 2
    assert (pixels_of(tmp_path / "before.png") == 255).all()


def test_a_file_without_a_heatmap(browse, url):
    found = browse("noHeatmap", url=url)
    assert found["had"] == {"disabled": False, "note": False}
    assert found["has"] == {"disabled": True, "note": True}


def write_video(path, frame, frames=30):
    """A Motion JPEG file, which Chromium takes for a camera."""
    content = io.BytesIO()
    Image.fromarray(frame).save(content, "JPEG", quality=95, subsampling=0)
    pathlib.Path(path).write_bytes(content.getvalue() * frames)


@pytest.mark.parametrize("what", ["every", "whole"])
def test_the_camera(browse, url, model, portrait, tmp_path, what):
    frame = np.asarray(Image.fromarray(portrait).resize((480, 480)).crop((0, 0, 640, 480)))
    write_video(tmp_path / "camera.mjpeg", frame)
    out = {name: str(tmp_path / f"{name}.png") for name in ("before", "after", "without")}
    found = browse("camera", url=url, video=str(tmp_path / "camera.mjpeg"), what=what, **out)
    assert found["problems"] == found["outside"] == []
    before, after = pixels_of(out["before"]), pixels_of(out["after"])
    assert difference(before, frame) < 10  # a camera's frames are JPEG, with a quarter of the colour's pixels
    assert (after != before).any(axis=-1).mean() > 0.05
    assert difference(after, in_python(model, before, what)) <= 2
    assert float(found["live"]["rate"].split()[0]) > 0
    assert "ms" in found["live"]["time"]
    assert found["live"]["status"] == ("1 face was translated." if what == "every" else "The picture was translated.")
    assert found["focus"] == "stop"
    assert found["mirrored"]
    assert found["tracks"] is None
    assert found["status"] == "The camera is off."
    assert (pixels_of(out["without"]) == before).all()  # the last frame stays, and can still be changed
    assert "frames" not in found["rate"]


def test_the_camera_is_refused(browse, url, scenery, save):
    found = browse("cameraRefused", url=url, photo=save("photo.png", scenery))
    assert "refused. Allow it" in found["refused"]
    assert found["after"].startswith("No face was found.")  # the page goes on


def test_no_camera(browse, url):
    assert "No camera was found. Connect one, or choose a photo." in browse("noCamera", url=url)["said"]


def test_the_camera_goes_away(browse, url):
    assert "disconnected" in browse("cameraUnplugged", url=url)["said"]


WRONG = {
    "no model listed": ({"models": []}, "no model here"),
    "models.json missing": ({"missing": "**/models.json"}, "no model here"),
    "model missing": (
        {"models": [{"file": "models/none.tflite", "label": "None", "licence": "", "kind": ""}]},
        "The model None could not be loaded: the server answered 404 for /models/none.tflite.",
    ),
    "no model file": (
        {"models": [{"file": "index.html", "label": "Page", "licence": "", "kind": ""}]},
        "The model Page is damaged, or no TFLite file. Write it anew with ugatit export.",
    ),
    "another's model": (
        {"models": [{"file": "face_detection_back.tflite", "label": "Faces", "licence": "", "kind": ""}]},
        "The page needs the signature float",
    ),
    "engine missing": ({"missing": "**/litert/wasm/*"}, "The engine could not be started"),
    "no WebAssembly": ({"without": "WebAssembly"}, "This browser has no WebAssembly"),
    "no OffscreenCanvas": ({"remove": "OffscreenCanvas"}, "This browser is too old"),
}


@pytest.mark.parametrize("name", WRONG)
def test_words_instead_of_a_blank_page(browse, url, name):
    values, expected = WRONG[name]
    found = browse("wrong", url=url, **values)
    assert expected in found["error"]
    assert found["visible"]


def test_the_detector_is_missing(browse, url, scenery, save):
    found = browse("wrong", url=url, missing="**/face_detection_back.tflite", photo=save("photo.png", scenery))
    assert "The face detector could not be loaded: the server answered 404" in found["error"]
    assert "The whole picture" in found["error"]


def test_no_picture(browse, url, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    found = browse("wrong", url=url, photo=str(tmp_path / "text.png"))
    assert found["error"].startswith("text.png could not be read as a picture.")


def test_no_javascript(browse, url):
    assert "needs JavaScript" in browse("wrong", url=url, context={"javaScriptEnabled": False})["body"]


def test_after_a_damaged_model_the_next_one_works(browse, start_server, model, tmp_path, scenery, save):
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(model.read_bytes()[:5000])
    found = browse("recover", url=start_server(damaged, model).url, photo=save("photo.png", scenery))
    assert "damaged" in found["error"]
    assert found["hidden"]
    assert found["said"].startswith("No face was found.")


def test_offline(browse, model, packages, portrait, save, tmp_path):
    command = [sys.executable, "-u", str(WEB / "serve.py"), "--port", "0", "--model", str(model)]
    out = str(tmp_path / "out.png")
    found = browse("offline", serve=command, photo=save("photo.png", portrait), out=out)
    assert found["down"]
    assert found["said"] == found["offline"] == "1 face was translated."
    assert found["isolated"]
    assert found["isolatedLater"]
    assert difference(pixels_of(out), in_python(model, portrait)) <= 2


def test_installable(browse, url):
    found = browse("installable", url=url)
    assert found["manifest"] == []
    assert [error["errorId"] for error in found["errors"]] == ["in-incognito"]  # as every page of these tests is


def test_by_keyboard(browse, url, portrait, save):
    found = browse("keyboard", url=url, photo=save("photo.png", portrait))
    assert found["said"] == "1 face was translated."
    assert not found["lost"]
    assert found["order"][-1] == "heatmap"
    assert found["split"] == "55%"
    assert found["view"] == "beside"
    assert found["during"] == "stop"
    assert found["after"] == "camera"
    assert found["nameless"] == []


def test_by_mouse(browse, url, scenery, model, tmp_path):
    content = io.BytesIO()
    Image.fromarray(scenery).save(content, "PNG")
    out = str(tmp_path / "saved.png")
    found = browse("pointer", url=url, bytes=base64.b64encode(content.getvalue()).decode(), out=out)
    assert found["said"] == "The picture was translated."
    assert found["value"] == "25"
    assert "75%" in found["clip"]
    assert found["name"] == "dropped-translated.png"
    assert difference(pixels_of(out), in_python(model, scenery, "whole")) <= 2


def test_the_page_never_freezes(browse, url, portrait, save):
    large = np.asarray(Image.fromarray(portrait).resize((3000, 3000)))
    found = browse("responsive", url=url, photo=save("photo.png", large))
    assert found["time"] > 500  # there was work
    assert found["gap"] < max(200, found["time"] / 4)  # ms; on a busy machine everything takes longer


def test_every_size_of_screen(browse, url, portrait, save):
    sizes = [(360, 740), (390, 844), (1280, 800)]
    found = browse("layout", url=url, sizes=sizes, photo=save("photo.png", portrait))
    for width, _ in sizes:
        for scheme in ("light", "dark"):
            assert found[f"{width}-{scheme}"] == {"wide": width, "small": []}


def test_the_page_of_results(browse, tmp_path):
    """`--phase test` writes it; opened as a file, as people do."""

    def generator(images, training=False):
        return -images, np.zeros((len(images), 2)), images[:, ::4, ::4, :1]

    rng = np.random.default_rng(0)
    batches = [
        (rng.uniform(-1, 1, (1, 16, 16, 3)).astype("float32"), [f"/src/{name}"]) for name in ("a b.png", "<i>.png")
    ]
    translate_folders(generator, generator, batches, batches[:1], tmp_path, "Cats & dogs", "/src", "/src")
    found = browse("results", url=f"{tmp_path.as_uri()}/")
    assert found["problems"] == found["outside"] == found["nameless"] == []
    first, second, third = ("A to B: a b.png (1 of 3)", "A to B: <i>.png (2 of 3)", "B to A: a b.png (3 of 3)")
    assert [state["name"] for state in found["states"]] == [first, second, third, second, third, first, third, first]
    assert all(state["open"] and state["loaded"] == [16, 16, 112] for state in found["states"])
    assert found["closed"]
    assert found["beside"]
    assert found["again"]["name"] == second
    assert found["focus"] == 1
    assert found["address"] == f"{tmp_path.as_uri()}/index.html"
    assert found["wide"] <= 1280
    phone = browse("results", url=f"{tmp_path.as_uri()}/", context={"viewport": {"width": 360, "height": 740}})
    assert phone["wide"] == 360


def test_a_host_without_headers(browse, start_server, model, portrait, save, tmp_path):
    site = tmp_path / "site"
    start = [str(WEB / "serve.py"), "--model", str(model), "--build", str(site)]
    subprocess.run([sys.executable, *start], check=True, capture_output=True)
    host = start_server(command=["-m", "http.server", "0", "--bind", "127.0.0.1"], cwd=site)
    found = browse("plainHost", url=host.url, photo=save("photo.png", portrait))
    assert found["first"] == {"isolated": False, "device": "processor, 1 thread (no WebGPU)"}
    assert found["second"]["isolated"]
    assert found["said"] == found["again"] == "1 face was translated."


def test_webgpu(browse, url, model, scenery, save, tmp_path):
    steps = [{"photo": save("photo.png", scenery), "what": "whole", "out": str(tmp_path / "out.png")}]
    found = browse("upload", url=url, steps=steps, before=str(tmp_path / "before.png"), webgpu=True)
    if found["device"] != "WebGPU":
        pytest.skip(f"No WebGPU here, not even Chromium's software one: {found['device']}")
    assert difference(pixels_of(tmp_path / "out.png"), in_python(model, scenery, "whole")) <= 2
