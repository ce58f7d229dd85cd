"""Servers for the tests of the client: doubles of TensorFlow Serving whose model inverts images."""

import base64
import io

import numpy as np
import pytest
from fake_server import ServingDouble, Signature, Tensor
from PIL import Image

from ugatit_tf.serving import client

SIZE = 8


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def pixels_of(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def invert_encoded(image_bytes):
    """What the exported `encoded` does, without the resizing: every image may have its own size."""
    try:
        results = [png(255 - pixels_of(content)) for content in image_bytes]
    except OSError as error:
        raise ValueError("Unknown image file format. One of JPEG, PNG, GIF, BMP required.") from error
    return {"image_bytes": np.array(results, object)}


def heatmap(image):
    return {"image": 255 - image, "heatmap": image[:, ::4, ::4, :1].astype(np.float32) / 255}


PIXELS = (None, SIZE, SIZE, 3)
INVERT = {
    "serving_default": Signature(
        lambda image: {"image": 255 - image}, {"image": Tensor("uint8", PIXELS)}, {"image": Tensor("uint8", PIXELS)}
    ),
    "float": Signature(
        lambda image: {"image": -image}, {"image": Tensor("float32", PIXELS)}, {"image": Tensor("float32", PIXELS)}
    ),
    "encoded": Signature(
        invert_encoded,
        {"image_bytes": Tensor("object", (None,))},
        {"image_bytes": Tensor("object", (None,))},
    ),
    "heatmap": Signature(
        heatmap,
        {"image": Tensor("uint8", PIXELS)},
        {"image": Tensor("uint8", PIXELS), "heatmap": Tensor("float32", (None, SIZE // 4, SIZE // 4, 1))},
    ),
}
MODELS = {"ugatit_a2b": {1: INVERT}, "half": {1: {"serving_default": INVERT["serving_default"]}}}


@pytest.fixture
def server():
    with ServingDouble(MODELS) as double:
        yield double


@pytest.fixture
def grpc_server():
    pytest.importorskip("tensorflow_serving", reason="gRPC needs tensorflow-serving-api: pip install '.[grpc]'")
    with ServingDouble(MODELS, grpc=True) as double:
        yield double


@pytest.fixture
def delays(monkeypatch):
    """The client's pauses, which take no time."""
    pauses = []
    monkeypatch.setattr(client.time, "sleep", pauses.append)
    return pauses


@pytest.fixture
def picture():
    """Random pixels, so that no row, column or channel can be taken for another."""
    return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)


@pytest.fixture
def sent():
    """The pictures in the calls that a double has received."""

    def pictures(double):
        found = []
        for call in double.calls:
            if call[0] == "POST":
                found.append([pixels_of(base64.b64decode(item["b64"])) for item in call[3]["instances"]])
            elif call[0] == "Predict":
                found.append([pixels_of(content) for content in call[2].inputs["image_bytes"].string_val])
        return found

    return pictures
