"""The client, against a double of TensorFlow Serving over loopback. What holds for both protocols is tested on both."""

import base64
import http.client
import io
import json
import shutil
import socket
import subprocess
import sys
import time

import fake_server
import numpy as np
import pytest
from fake_server import ServingDouble, answer, drop, hang
from PIL import Image

from ugatit_tf.serving import client
from ugatit_tf.serving.client import GrpcClient, RestClient, ServingError, connect

MODEL = "ugatit_a2b"


@pytest.fixture(params=["rest", "grpc"])
def double(request):
    return request.getfixturevalue("server" if request.param == "rest" else "grpc_server")


def url_of(double):
    return f"grpc://{double.grpc}" if hasattr(double, "grpc") else f"http://{double.rest}"


def client_of(double, model=MODEL, **options):
    return connect(url_of(double), model, **options)


@pytest.fixture
def free_port():
    """A port on which nobody listens: bound, and therefore given to no one else."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


# Images in, images out.


def test_images_come_back_as_the_model_gives_them(double, picture):
    others = [picture, np.ascontiguousarray(picture[:3, :5]), picture[::-1, ::2]]
    results = client_of(double).translate(others)
    assert [result.dtype for result in results] == [np.uint8] * 3
    for image, result in zip(others, results, strict=True):
        np.testing.assert_array_equal(result, 255 - image)


def test_no_images_no_request(double):
    assert client_of(double).translate([]) == []
    assert not double.calls


def test_paths_and_bytes_and_pixels_are_the_same_image(double, picture, sent, tmp_path):
    path = tmp_path / "photo.bmp"  # the server reads JPEG and PNG only
    Image.fromarray(picture).save(path)
    results = client_of(double).translate([path, str(path), path.read_bytes(), picture])
    (images,) = sent(double)
    for image, result in zip(images, results, strict=True):
        np.testing.assert_array_equal(image, picture)
        np.testing.assert_array_equal(result, 255 - picture)


def test_exif_is_applied(double, picture, sent, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned clockwise
    path = tmp_path / "photo.png"
    Image.fromarray(picture[:4]).save(path, exif=exif)
    client_of(double).translate([path])
    np.testing.assert_array_equal(sent(double)[0][0], np.rot90(picture[:4], -1))


def test_alpha_lies_on_white(double, sent):
    buffer = io.BytesIO()
    Image.fromarray(np.array([[[255, 0, 0, 255], [0, 0, 0, 0]]], np.uint8)).save(buffer, "PNG")
    client_of(double).translate([buffer.getvalue()])
    np.testing.assert_array_equal(sent(double)[0][0], [[[255, 0, 0], [255, 255, 255]]])


def test_a_few_images_in_a_request(double, sent):
    images = [np.full((2, 2, 3), level, np.uint8) for level in range(19)]
    results = client_of(double).translate(iter(images))
    assert [len(batch) for batch in sent(double)] == [8, 8, 3]
    assert [result[0, 0, 0] for result in results] == [255 - level for level in range(19)]


def test_large_images_are_sent_apart(double, sent, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (3, 100, 100, 3), np.uint8)  # 30 kB each: noise does not shrink
    small = np.zeros((2, 2, 3), np.uint8)
    monkeypatch.setattr(client, "MAX_BYTES", 25_000)
    client_of(double).translate([small, small, noise[0], noise[1], small, small])
    assert [[len(image) for image in batch] for batch in sent(double)] == [[2, 2], [100], [100], [2, 2]]


def test_answers_larger_than_grpcs_own_limit(double):
    noise = np.random.default_rng(0).integers(0, 256, (1300, 1300, 3), np.uint8)  # 5 MB; the limit is 4 MiB
    np.testing.assert_array_equal(client_of(double).translate([noise])[0], 255 - noise)


def test_rest_asks_for_the_signature_as_documented(server, picture):
    RestClient(f"http://{server.rest}/", MODEL, headers={"Authorization": "Bearer word"}).translate([picture])
    ((method, path, headers, body),) = server.calls
    assert (method, path) == ("POST", "/v1/models/ugatit_a2b:predict")
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Bearer word"
    assert sorted(body) == ["instances", "signature_name"]
    assert body["signature_name"] == "encoded"
    assert [list(item) for item in body["instances"]] == [["b64"]]


def test_a_path_in_the_address_comes_first(server):
    with pytest.raises(ServingError, match="Malformed request: GET /models/here/v1/models/ugatit_a2b"):
        RestClient(f"http://{server.rest}/models/here/", MODEL).server_status()


CALL = "/v1/models/ugatit_a2b"


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("", CALL),
        ("/", CALL),
        ("/v1", CALL),
        ("/v1/", CALL),
        ("/v1/models", CALL),
        ("/v1/models/", CALL),
        (CALL, CALL),
        (CALL + "/", CALL),
        (CALL + ":predict", CALL),
        (CALL + ":predict/", CALL),
        ("/V1/Models/ugatit_a2b:Predict", CALL),
        (CALL + "/metadata", CALL),
        (CALL + "/versions/1:predict", CALL + "/versions/1"),
        (CALL + "/versions/1", CALL + "/versions/1"),
        (CALL + "/labels/stable:predict", CALL + "/labels/stable"),
    ],
)
@pytest.mark.parametrize("model", [MODEL, None])
def test_the_address_of_a_call_is_understood_once(server, picture, path, asked, model):
    server.labels[MODEL, "stable"] = 1
    client = RestClient(f"http://{server.rest}{path}", model)
    np.testing.assert_array_equal(client.translate([picture])[0], 255 - picture)
    assert client.server_status() == {1: "AVAILABLE"}
    assert [call[1] for call in server.calls] == [f"{asked}:predict", asked]
    assert (client.url, client.model) == (f"http://{server.rest}", MODEL)


def test_the_address_names_the_model(server, picture):
    server.models = {"caf\u00e9": server.models[MODEL]}
    (result,) = connect(f"http://{server.rest}/v1/models/caf%C3%A9:predict").translate([picture])
    np.testing.assert_array_equal(result, 255 - picture)


def test_a_path_of_a_proxy_stays_before_the_calls():
    client = RestClient("https://host/ml/v1/models/a2b:predict")
    assert (client.url, client._path, client.model) == ("https://host/ml", "/ml/v1/models/a2b", "a2b")


@pytest.mark.parametrize("path", ["/api/v1", "/api/v1/"])
def test_a_path_of_a_proxy_may_end_in_v1(path):
    client = RestClient(f"https://host{path}", "a2b")
    assert (client.url, client._path) == ("https://host/api/v1", "/api/v1/v1/models/a2b")


def test_an_address_that_contradicts_the_model_or_is_no_call():
    with pytest.raises(ValueError, match="names the model 'a2b', and model says 'b2a'"):
        RestClient("http://host:8501/v1/models/a2b:predict", "b2a")
    for path in ("a2b:classify", "a2b/versions/new", "a2b/versions/1/more", "a2b:predict:predict"):
        with pytest.raises(ValueError, match=r"NAME may be followed by /versions/NUMBER or /labels/LABEL; received"):
            RestClient(f"http://host:8501/v1/models/{path}")


def test_pixels_of_the_models_size_and_the_heatmap(double, picture):
    result, heatmap = client_of(double).run(picture)
    assert (result.dtype, heatmap.dtype) == (np.uint8, np.float32)
    np.testing.assert_array_equal(result, 255 - picture)
    np.testing.assert_allclose(heatmap, picture[::4, ::4, 0] / 255, rtol=1e-6)
    with pytest.raises(ServingError, match=r"refused the request") as caught:
        client_of(double).run(picture[:4])
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "body", ['{"predictions": []}', '{"predictions": [{"image": [[[300, 0, 0]]], "heatmap": [[[0]]]}]}', "{}"]
)
def test_an_answer_without_pixels(server, picture, body):
    server.faults.append(answer(200, body))
    with pytest.raises(ServingError, match="without an image and a heatmap in its predictions"):
        client_of(server).run(picture)


def test_grpc_asks_for_the_signature_and_sends_headers(grpc_server, picture):
    connect(f"grpc://{grpc_server.grpc}", MODEL, headers={"Authorization": "Bearer word"}).translate([picture])
    ((method, metadata, request),) = grpc_server.calls
    assert method == "Predict"
    assert metadata["authorization"] == "Bearer word"
    assert (request.model_spec.name, request.model_spec.signature_name) == (MODEL, "encoded")
    assert list(request.inputs) == ["image_bytes"]


def test_server_status(double):
    assert client_of(double).server_status() == {1: "AVAILABLE"}
    with pytest.raises(ServingError, match=r"has no model 'other' \(.*Could not find any versions of model other\)"):
        client_of(double, "other").server_status()


def test_a_saved_model_behind_the_double(picture, tmp_path):
    tf = pytest.importorskip("tensorflow")

    class Model(tf.Module):
        def __init__(self):
            self.white = tf.Variable(255, dtype=tf.int32)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
        def encoded(self, image_bytes):
            def one(content):
                pixels = tf.cast(tf.io.decode_png(content, 3), tf.int32)
                return tf.io.encode_png(tf.cast(self.white - pixels, tf.uint8))

            return {"image_bytes": tf.map_fn(one, image_bytes)}

    module = Model()
    tf.saved_model.save(module, str(tmp_path), signatures={"encoded": module.encoded})
    with ServingDouble({MODEL: {3: fake_server.saved_model_signatures(tmp_path)}}) as server:
        (result,) = client_of(server).translate([picture])
        np.testing.assert_array_equal(result, 255 - picture)
        message = {"signature_name": "encoded", "instances": [{"b64": base64.b64encode(b"no image").decode()}]}
        with pytest.raises(ServingError, match=r"refused the request \(HTTP 400: .*image") as caught:
            client_of(server)._exchange("POST", f"/v1/models/{MODEL}:predict", message)
    assert caught.value.status == 400


# Retries.


def test_a_failing_server_is_asked_again(double, picture, delays):
    fault = fake_server.abort("UNAVAILABLE", "loading") if hasattr(double, "grpc") else answer(503, "{}")
    double.faults.extend([fault] * 3)
    (result,) = client_of(double).translate([picture])
    np.testing.assert_array_equal(result, 255 - picture)
    assert delays == [0.5, 1, 2]
    assert len(double.calls) == 4


@pytest.mark.parametrize(("retries", "tried"), [(0, ""), (1, " Tried 2 times."), (4, " Tried 5 times.")])
def test_retries_end(double, picture, delays, retries, tried):
    fault = fake_server.abort("INTERNAL", "on fire") if hasattr(double, "grpc") else answer(500, '{"error":"on fire"}')
    double.faults.extend([fault] * 9)
    with pytest.raises(ServingError) as caught:
        client_of(double, retries=retries).translate([picture])
    code = "INTERNAL" if hasattr(double, "grpc") else "HTTP 500"
    assert str(caught.value) == f"{url_of(double)} failed ({code}: on fire).{tried}"
    assert (caught.value.status, caught.value.hopeless) == (500, False)
    assert delays == [0.5, 1, 2, 4][:retries]
    assert len(double.calls) == retries + 1


def test_a_connection_that_breaks_off_is_tried_again(server, picture, delays):
    def half_an_answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"predictions"')
        handler.close_connection = True

    server.faults.extend([drop, half_an_answer])
    assert len(client_of(server).translate([picture])) == 1
    assert delays == [0.5, 1]


def test_a_server_that_comes_late_is_found(grpc_server, picture):
    """gRPC remembers an address that refused for a second and more; a retry connects nevertheless."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        address = holder.getsockname()
        calls = []

        def listen_and_forward(pause):
            calls.append(pause)
            holder.listen()

        slow = GrpcClient(f"grpc://127.0.0.1:{address[1]}", MODEL, timeout=0.3, retries=1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(client.time, "sleep", listen_and_forward)
            # Now something listens that never answers: a time-out, where the remembered refusal would be UNAVAILABLE.
            with pytest.raises(ServingError, match="did not answer within"):
                slow.translate([picture])
    assert calls == [0.5]


# Errors in words.


def refuse(double, code, status, text):
    return fake_server.abort(code, text) if hasattr(double, "grpc") else answer(status, json.dumps({"error": text}))


def test_an_unknown_model(double, picture, delays):
    with pytest.raises(ServingError) as caught:
        client_of(double, "selfie").translate([picture])
    code = "NOT_FOUND" if hasattr(double, "grpc") else "HTTP 404"
    words = f"({code}: Servable not found for request: Latest(selfie))"
    assert str(caught.value) == f"{url_of(double)} has no model 'selfie' {words}."
    assert (caught.value.status, caught.value.hopeless) == (404, True)
    assert not delays


def test_a_missing_signature(double, picture, delays):
    with pytest.raises(ServingError, match=r'refused the request \(.*: Serving signature (name|key):? "encoded"'):
        client_of(double, "half").translate([picture])
    assert not delays


def test_what_the_server_refuses_is_not_repeated(double, picture, delays):
    double.faults.append(refuse(double, "INVALID_ARGUMENT", 400, "too green"))
    with pytest.raises(ServingError) as caught:
        client_of(double).translate([picture])
    code = "INVALID_ARGUMENT" if hasattr(double, "grpc") else "HTTP 400"
    assert str(caught.value) == f"{url_of(double)} refused the request ({code}: too green)."
    assert (caught.value.status, caught.value.hopeless) == (400, False)
    assert not delays
    assert len(double.calls) == 1


@pytest.mark.parametrize(("code", "status"), [("UNAUTHENTICATED", 401), ("PERMISSION_DENIED", 403)])
def test_not_let_in(double, picture, delays, code, status):
    double.faults.append(refuse(double, code, status, "who are you?"))
    with pytest.raises(ServingError, match=r"does not let this client in \(.*who are you\?\)") as caught:
        client_of(double).translate([picture])
    assert (caught.value.status, caught.value.hopeless) == (status, True)
    assert not delays


def test_no_server(picture, delays, free_port):
    with pytest.raises(ServingError) as caught:
        RestClient(f"http://127.0.0.1:{free_port}", MODEL).translate([picture])
    question = "Is the server running, and the address right?"
    refused = f"http://127.0.0.1:{free_port} cannot be reached: Connection refused. {question}"
    assert str(caught.value) == f"{refused} Tried 4 times."
    assert (caught.value.status, caught.value.hopeless) == (None, True)
    assert isinstance(caught.value, OSError)
    assert delays == [0.5, 1, 2]


def test_no_server_of_grpc(picture, delays, free_port):
    pytest.importorskip("tensorflow_serving", reason="gRPC needs tensorflow-serving-api: pip install '.[grpc]'")
    with pytest.raises(ServingError, match=r"is not available \(UNAVAILABLE: .*refused.*4 times") as caught:
        GrpcClient(f"grpc://127.0.0.1:{free_port}", MODEL).translate([picture])
    assert caught.value.hopeless
    assert delays == [0.5, 1, 2]


def test_no_answer_in_time(double, picture, delays):
    double.faults.append(hang())
    started = time.monotonic()
    with pytest.raises(ServingError, match=r"did not answer within 0\.2 s") as caught:
        client_of(double, timeout=0.2).translate([picture])
    assert time.monotonic() - started < 2
    assert not caught.value.hopeless
    assert not delays  # a server that is too slow is not given more to do


def test_an_unknown_host_is_not_tried_again(monkeypatch, delays, picture):
    def nowhere(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", nowhere)
    monkeypatch.setattr(http.client.socket, "create_connection", nowhere)
    with pytest.raises(ServingError, match="http://nowhere cannot be reached: Name or service not known"):
        RestClient("http://nowhere", MODEL).translate([picture])
    assert not delays


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        # What TensorFlow Serving really writes: C's escapes, which are not JSON's.
        (answer(400, r"""{ "error": "Missing \'inputs\' or \'b\' key" }"""), r": Missing 'inputs' or 'b' key\)"),
        (answer(400, r'{ "error": "caf\303\251 \"x\"\nend" }'), r'caf\?\? "x" end'),
        (answer(400, "plain words", "text/plain"), "plain words"),
        (answer(400, "", "text/plain"), "HTTP 400: Bad Request"),
        (answer(400, b"\xff\x1b[31m", "text/plain"), r"\?\?|\ufffd\?\[31m"),
        (answer(400, "x" * 5000, "text/plain"), r"\(HTTP 400: x{300} \.\.\.\)"),
        (answer(400, "[" * 5000), r"refused the request"),
        (answer(413, "<html>\r\n<head>title</head><h1>Too Large</h1></html>", "text/html"), r"413: Too Large\)"),
        (answer(413, "", "text/html"), "takes no request this large"),
        (answer(301, "", Location="https://there/"), r"elsewhere \(HTTP 301: to https://there/\)\. Give the address"),
        (answer(200, "<html>", "text/html"), "answered without JSON"),
        (answer(200, "[" * 100_000), "answered without JSON"),
        (answer(200, "{}"), "without images in its predictions"),
        (answer(200, "[]"), "without images in its predictions"),
        (answer(200, '{"predictions": [[1, 2]]}'), "without images in its predictions"),
        (answer(200, '{"predictions": ["text"]}'), "without images in its predictions"),
        (answer(200, '{"predictions": [{"b64": 1}]}'), "without images in its predictions"),
        (answer(200, '{"predictions": [{"b64": "***"}]}'), "without images in its predictions"),
        (answer(200, '{"predictions": [{"b64": "\u00e9"}]}'), "without images in its predictions"),
        (answer(200, '{"predictions": []}'), "answered 0 images for the 1"),
        (answer(200, '{"predictions": [{"b64": ""}]}'), "answered an image: empty file"),
        (answer(200, '{"predictions": [{"b64": "AAAA"}]}'), "answered an image: not a JPEG, PNG"),
        (lambda handler: handler.wfile.write(b"220 mail ready\r\n"), "something else than HTTP"),
    ],
)  # fmt: skip
def test_answers_of_all_kinds_are_explained(server, picture, delays, fault, message):
    server.faults.append(fault)
    with pytest.raises(ServingError, match=message) as caught:
        client_of(server).translate([picture])
    assert str(caught.value).startswith(f"http://{server.rest} ")
    assert str(caught.value).isprintable()
    assert not delays


@pytest.mark.parametrize(("status", "message"), [(413, "takes no request this large"), (404, "has no model")])
def test_a_proxys_answer_to_grpc(grpc_server, picture, delays, status, message):
    """gRPC itself calls most of them UNKNOWN; this is its text for what nginx answered."""
    grpc_server.faults.append(fake_server.abort("UNKNOWN", f"Received http2 header with status: {status}"))
    with pytest.raises(ServingError, match=message) as caught:
        client_of(grpc_server).translate([picture])
    assert caught.value.status == status
    assert not delays


def test_a_cut_off_image_in_the_answer(double, picture, monkeypatch):
    function = double.models[MODEL][1]["encoded"].function

    def cut(image_bytes):
        return {
            "image_bytes": np.array([item[: len(item) // 2] for item in function(image_bytes)["image_bytes"]], object)
        }

    monkeypatch.setattr(double.models[MODEL][1]["encoded"], "function", cut)
    with pytest.raises(ServingError, match=r"answered an image: damaged"):
        client_of(double).translate([picture])


def test_too_few_images_in_the_answer(double, picture, monkeypatch):
    monkeypatch.setattr(
        double.models[MODEL][1]["encoded"], "function", lambda image_bytes: {"image_bytes": image_bytes[1:]}
    )
    with pytest.raises(ServingError, match="answered 2 images for the 3 that were sent"):
        client_of(double).translate([picture] * 3)


# TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if not shutil.which("openssl"):
        pytest.skip("openssl, which makes the certificate, is not installed")
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    command += " -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return str(folder / "cert.pem"), str(folder / "key.pem")


def test_tls_with_a_certificate_of_ones_own(certificate, server, picture, delays, monkeypatch):
    with ServingDouble(server.models, tls=certificate) as double:
        secure = RestClient(f"https://{double.rest}", MODEL)
        with pytest.raises(ServingError, match=r"cannot be reached: self.signed certificate.*SSL_CERT_FILE=FILE"):
            secure.translate([picture])
        monkeypatch.setenv("SSL_CERT_FILE", certificate[0])
        np.testing.assert_array_equal(secure.translate([picture])[0], 255 - picture)
    with pytest.raises(ServingError, match=r"cannot be reached: .*(WRONG_VERSION|RECORD_LAYER)"):
        RestClient(f"https://{server.rest}", MODEL).translate([picture])
    assert not delays


GRPC_TLS = """
import sys, numpy as np
from ugatit_tf.serving.client import GrpcClient
picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
print(GrpcClient(sys.argv[1], "ugatit_a2b", retries=0).translate([picture])[0].ravel().tolist())
"""


@pytest.mark.slow
def test_tls_of_grpc(certificate, grpc_server, picture, monkeypatch):
    """The client that trusts the certificate in a process of its own: gRPC reads the variable once."""
    with ServingDouble(grpc_server.models, grpc=True, tls=certificate) as double:
        with pytest.raises(ServingError, match=r"is not available \(UNAVAILABLE: .*CERTIFICATE_VERIFY_FAILED"):
            GrpcClient(f"grpcs://{double.grpc}", MODEL, retries=0).translate([picture])
        monkeypatch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", certificate[0])
        command = [sys.executable, "-c", GRPC_TLS, f"grpcs://{double.grpc}"]
        trusted = subprocess.run(command, capture_output=True, text=True, check=False)
    assert trusted.stdout.strip() == str(list(range(255, 243, -1))), trusted.stderr


# Wrong arguments.


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ("localhost:8501", r"is http://HOST:PORT or https://HOST:PORT; received 'localhost:8501'. Perhaps http://localhost"),
        ("ftp://host", "received 'ftp://host'"),
        ("http://", "received 'http://'"),
        ("http://host:port", "received 'http://host:port'"),
        ("http://host:0", "received"),
        ("http://host:99999", "received"),
        ("http://[::1", "received"),
        ("", "received ''"),
        ("http://name:word@host", "holds no name and password"),
        ("http://host/?a=b", "no '\\?'"),
        ("grpc://host", "grpc://HOST:PORT and no more"),
        ("grpc://host:8500/path", "grpc://HOST:PORT and no more"),
        ("grpcs://host:", "grpcs://HOST:PORT and no more"),
    ],
)  # fmt: skip
def test_addresses_that_cannot_be(server, message):
    with pytest.raises(ValueError, match=message) as caught:
        connect(server, MODEL)
    assert "word" not in str(caught.value).replace("password", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "a/b"}, "model must be a name"),
        ({"model": ""}, "model must be a name"),
        ({"timeout": 0}, "timeout must be more than 0"),
        ({"timeout": float("nan")}, "timeout must be more than 0"),
        ({"retries": -1}, "retries must be 0 or more"),
        ({"headers": {"Authorization": "secret\r\nHost: x"}}, "header 'Authorization' has characters"),
        ({"headers": {"A b": "secret"}}, "header 'A b' has characters"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message) as caught:
        RestClient("http://host", **{"model": MODEL, **options})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), r"uint8 array \[H,W,3\]; received float32 \[4, 4, 3\]"),
        (np.zeros((4, 4), np.uint8), r"received uint8 \[4, 4\]"),
        (np.zeros((0, 4, 3), np.uint8), r"received uint8 \[0, 4, 3\]"),
        (b"no image", "image: not a JPEG, PNG"),
        ("/no/such/photo.jpg", "/no/such/photo.jpg: cannot be read"),
        (3, "received int"),  # which open() would take for a file of the process
    ],
)
def test_images_that_cannot_be(server, image, message):
    with pytest.raises(ValueError, match=message):
        client_of(server).translate([image])
    assert not server.calls


def test_only_pixels_are_run(server, picture):
    with pytest.raises(ValueError, match="received float32"):
        client_of(server).run(np.float32(picture))
    assert not server.calls


@pytest.mark.parametrize("images", ["photo.jpg", b"content"])
def test_one_image_is_not_a_list(server, images):
    with pytest.raises(ValueError, match="Give \\[image\\]"):
        client_of(server).translate(images)


def test_without_grpcs_packages(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    with pytest.raises(ImportError, match=r'pip install ".*\[grpc\]"'):
        connect("grpc://localhost:8500", MODEL)
    connect("http://localhost:8501", MODEL)
