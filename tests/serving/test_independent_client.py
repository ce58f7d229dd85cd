"""The double is judged by a client that is not ours: ovmsclient gets the model's answers from it.

OVMSCLIENT_PYTHON names a Python that has it; its packages and ours need not go together:
    python3 -m venv DIR && DIR/bin/pip install ovmsclient && OVMSCLIENT_PYTHON=DIR/bin/python pytest tests/serving
"""

import json
import os
import subprocess

import pytest

PYTHON = os.environ.get("OVMSCLIENT_PYTHON")

# ovmsclient knows only the default signature; for `encoded` its requests are sent with the name of that added.
SCRIPT = r"""
import io, json, sys
import numpy as np
from ovmsclient import make_grpc_client, make_http_client
from ovmsclient.tfs_compat.base.errors import InvalidInputError, ModelNotFoundError
from ovmsclient.tfs_compat.grpc.requests import make_predict_request as grpc_request
from ovmsclient.tfs_compat.http.requests import make_predict_request as http_request

rest, grpc, path = sys.argv[1:]
images = np.random.default_rng(1).integers(0, 256, (3, 8, 8, 3), np.uint8)
content = open(path, "rb").read()
found = {}
for name, client in (("rest", make_http_client(rest)), ("grpc", make_grpc_client(grpc))):
    answer = client.predict({"image": images}, "ugatit_a2b", 1)
    assert np.array_equal(np.asarray(answer, np.uint8), 255 - images), (name, answer)
    missing = []
    for inputs, model, version in (
        ({"image": images}, "other", 1), ({"image": images}, "ugatit_a2b", 7), ({"photo": images}, "ugatit_a2b", 1),
        ({"image": images.astype(np.float32)}, "ugatit_a2b", 1),
    ):
        try:
            client.predict(inputs, model, version)
        except (InvalidInputError, ModelNotFoundError) as error:
            missing.append([type(error).__name__, str(error)])
    metadata = client.get_model_metadata("ugatit_a2b", 1)
    if name == "rest":
        # Written for OpenVINO's spelling, modelSpec, it gives TensorFlow Serving's answer as it is.
        assert metadata["model_spec"]["version"] == "1", metadata
        info = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]["image"]
        shape = [int(size["size"]) for size in info["tensor_shape"]["dim"]]
    else:
        shape = metadata["inputs"]["image"]["shape"]
    state = client.get_model_status("ugatit_a2b", 1)[1]["state"]
    if name == "rest":
        message = json.loads(http_request({"image_bytes": [content]}, "ugatit_a2b", 1).parsed_inputs)
        message["signature_name"] = "encoded"
        reply = client.session.post(f"http://{rest}/v1/models/ugatit_a2b:predict", data=json.dumps(message), timeout=10)
        encoded = reply.json()["outputs"][0]["b64"]
    else:
        import base64
        message = grpc_request({"image_bytes": [content]}, "ugatit_a2b", 1).raw_request
        message.model_spec.signature_name = "encoded"
        reply = client.prediction_service_stub.Predict(message, 10)
        encoded = base64.b64encode(reply.outputs["image_bytes"].string_val[0]).decode()
    found[name] = {"missing": missing, "shape": shape, "state": state, "encoded": encoded}
print(json.dumps(found))
"""


@pytest.mark.skipif(not PYTHON, reason="OVMSCLIENT_PYTHON names no Python with ovmsclient (see the head of this file)")
def test_ovmsclient_gets_the_same_answers(grpc_server, picture, tmp_path):
    import base64

    from conftest import invert_encoded, png

    from ugatit_tf.serving.client import connect

    path = tmp_path / "photo.png"
    path.write_bytes(png(picture))
    command = [PYTHON, "-c", SCRIPT, grpc_server.rest, grpc_server.grpc, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])

    expected = invert_encoded([path.read_bytes()])["image_bytes"][0]
    for name, address in (("rest", f"http://{grpc_server.rest}"), ("grpc", f"grpc://{grpc_server.grpc}")):
        answers = found[name]
        assert answers["shape"] == [-1, 8, 8, 3]
        assert answers["state"] == "AVAILABLE"
        kinds = [kind for kind, _ in answers["missing"]]
        # In JSON 8.0 is no integer; in gRPC the type is said.
        assert kinds == ["ModelNotFoundError"] * 2 + ["InvalidInputError"] * 2
        assert "Servable not found for request: Specific(other, 1)" in answers["missing"][0][1]
        content = base64.b64decode(answers["encoded"])
        assert content == expected
        # Our own client gives the pixels of what the independent one got.
        assert (connect(address, "ugatit_a2b").translate([path])[0] == 255 - picture).all()
