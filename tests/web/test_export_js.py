"""The lines of docs/export.md that call a TFLite file from JavaScript, run in a browser; only the size differs."""

import functools
import http.server
import importlib.util
import json
import pathlib
import re
import threading

import numpy as np
import pytest
from web_page import WEB

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "export.md"
PAGE = """<!doctype html>
<script type="importmap">{"imports": {"@litertjs/core": "./litert/index.js"}}</script>
<script type="module">
const pixels = Float32Array.from(await (await fetch("pixels.json")).json());
%s
window.translated = [...translated];
</script>"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.mark.slow
def test_tflite_in_javascript(browse, model, tiny_generator, tmp_path):
    (lines,) = re.findall(r"```javascript\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert lines.count("256") == 2
    spec = importlib.util.spec_from_file_location("serve", WEB / "serve.py")
    serve = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(serve)
    image = np.random.default_rng(0).uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32)
    files = {name: content for name, content in serve.site([model]).items() if name.startswith("litert/")}
    files |= {
        "index.html": (PAGE % lines.replace("256", "32")).encode(),
        "pixels.json": json.dumps(image.ravel().tolist()).encode(),
        "ugatit_a2b_float16.tflite": model.read_bytes(),
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            found = browse("script", url=f"http://127.0.0.1:{server.server_port}/")
        finally:
            server.shutdown()
    assert (found["outside"], found["problems"]) == ([], [])
    expected = tiny_generator(image, training=False)[0]
    # half-precision weights: see the bound of float16 in docs/export.md
    assert 10 * np.log10(4 / np.mean((np.reshape(found["translated"], image.shape) - expected) ** 2)) > 60
