"""The last route of an export: photos through the client and the double of the server to the SavedModel, and back.

The Keras generator, on the images as the training would read them, is the oracle.
"""

import numpy as np
import pytest
import skimage.data
from fake_server import ServingDouble, saved_model_signatures
from networks import draw_all
from PIL import Image

from ugatit_tf.cli.main import main
from ugatit_tf.data import images
from ugatit_tf.data.pipeline import resize, to_float
from ugatit_tf.export import saved_model
from ugatit_tf.export.signatures import to_uint8
from ugatit_tf.models import Generator
from ugatit_tf.serving.client import RestClient, ServingError, connect
from ugatit_tf.serving.generator import ServedGenerator

SIZE = 16


@pytest.fixture(scope="module")
def generator():
    return draw_all(Generator("tf1", light=True, ch=2, n_res=1, img_size=SIZE))


@pytest.fixture(scope="module")
def model(generator, tmp_path_factory):
    """The folder of its SavedModel."""
    folder = tmp_path_factory.mktemp("model") / "1"
    description = {"model": {"img_size": SIZE, "light": True}}
    saved_model.write(folder, generator, "ugatit_a2b", description, max_pixels=10_000)
    return folder


@pytest.fixture(scope="module")
def double(model):
    """A double that serves the exported generator."""
    with ServingDouble({"ugatit_a2b": {1: saved_model_signatures(model)}}, grpc=True) as double:
        yield double


@pytest.fixture(params=["http", "grpc"])
def url(request, double):
    return f"{request.param}://{double.grpc if request.param == 'grpc' else double.rest}"


def photos(folder):
    """A photo that lies on its side, one that is transparent, and one that is grey; and their names."""
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(rng.integers(0, 256, (24, 40, 3), np.uint8)).save(folder / "lying.jpg", exif=exif, quality=95)
    Image.fromarray(rng.integers(0, 256, (20, 20, 4), np.uint8)).save(folder / "clear.png")
    Image.fromarray(rng.integers(0, 256, (30, 17), np.uint8)).save(folder / "grey.bmp")
    return ["lying.jpg", "clear.png", "grey.bmp"]


def translated(generator, path):
    image = resize(images.decode(path), SIZE)
    return to_uint8(generator(to_float(image[None]), training=False)[0])[0].numpy().astype(int)


def test_the_client_gives_what_the_generator_gives(url, generator, tmp_path):
    names = photos(tmp_path)
    client = connect(url, "ugatit_a2b")
    results = client.translate([tmp_path / name for name in names])
    for name, result in zip(names, results, strict=True):
        assert np.abs(result.astype(int) - translated(generator, tmp_path / name)).max() <= 1, name
    large = np.zeros((101, 100, 3), np.uint8)
    with pytest.raises(ServingError, match="10,000 pixels at most"):
        client.translate([large])


@pytest.fixture(scope="module")
def portrait(tmp_path_factory):
    """The path of a photo with a face, as PNG."""
    path = tmp_path_factory.mktemp("photo") / "one.png"
    Image.fromarray(skimage.data.astronaut()).save(path)
    return path


@pytest.mark.parametrize(
    "words", [[], ["--strength", "0.4"], ["--heatmap"], ["--whole", "--max_side", "40"]], ids="".join
)
def test_translate_with_the_server_is_translate_with_the_file(url, model, portrait, tmp_path, capsys, words):
    for name, generator in (("own", ["--model", str(model)]), ("served", ["--server", url])):
        assert main(["translate", str(portrait), "--out", str(tmp_path / name), *generator, *words]) == 0
    assert f"Asking {url} for ugatit_a2b ...\n" in capsys.readouterr().out
    own, served = (np.asarray(Image.open(tmp_path / name / "one.png")).astype(int) for name in ("own", "served"))
    assert own.shape == (512, 512, 3)
    assert (own != skimage.data.astronaut()).any()
    assert np.abs(own - served).max() <= 1


def test_what_the_server_says_of_the_model(url):
    generator = ServedGenerator(connect(url, "ugatit_a2b"))
    assert (generator.size, generator.any_size) == (SIZE, True)
    with pytest.raises(ServingError, match="has no model 'other'"):
        ServedGenerator(connect(url, "other"))


def test_a_server_that_goes_away_is_not_asked_for_every_photo(double, portrait, tmp_path, capsys, monkeypatch):
    ask, asked = RestClient.translate, []

    def once(client, images):
        asked.append(images)
        if len(asked) > 1:
            raise ServingError("gone", hopeless=True)
        return ask(client, images)

    monkeypatch.setattr(RestClient, "translate", once)
    Image.open(portrait).save(tmp_path / "two.png")
    words = ["translate", str(portrait), str(tmp_path / "two.png"), "--out", str(tmp_path / "out")]
    assert main([*words, "--server", f"http://{double.rest}"]) == 1
    out, error = capsys.readouterr()
    assert f"1/2 {portrait}: error" in out
    assert "0 of 2 translated" in out
    assert "1 more not sent: it would be the same with them." in error


def test_the_command_writes_what_the_generator_gives(url, generator, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    names = photos(tmp_path / "photos")
    assert main(["request", str(tmp_path / "photos"), "--server", url, "--out", str(tmp_path / "out")]) == 0
    assert "3 of 3 translated" in capsys.readouterr().out
    for name in names:
        result = np.asarray(Image.open((tmp_path / "out" / name).with_suffix(".png"))).astype(int)
        assert np.abs(result - translated(generator, tmp_path / "photos" / name)).max() <= 1
