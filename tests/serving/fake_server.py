"""A test double of TensorFlow Serving: its REST and gRPC interfaces over Python functions, on loopback.

Written after the REST API's documentation and the behaviour of the server's sources (http_rest_api_handler.cc,
json_tensor.cc, predict_util.cc): paths, row and columnar JSON, the `_bytes` suffix, the error messages and how they
are escaped. What it does not know (classify, regress, configuration) it refuses.
"""

import base64
import collections
import concurrent.futures
import dataclasses
import http.server
import json
import pathlib
import re
import ssl
import threading
import urllib.parse

import numpy as np

HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "FAILED_PRECONDITION": 412,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
}
DTYPES = {"uint8": "DT_UINT8", "float32": "DT_FLOAT", "object": "DT_STRING"}
FIELDS = {"uint8": "int_val", "float32": "float_val", "object": "string_val"}


class ServerError(Exception):
    """An error as TensorFlow Serving has it: a code, and a message."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


@dataclasses.dataclass
class Tensor:
    """dtype is numpy's name, "object" for strings; None in the shape is any size."""

    dtype: str
    shape: tuple


@dataclasses.dataclass
class Signature:
    """function takes the inputs as arrays by name and returns the outputs so; its ValueError is INVALID_ARGUMENT."""

    function: object
    inputs: dict
    outputs: dict


def saved_model_signatures(path):
    """The signatures of a SavedModel, for a `ServingDouble`."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))

    def signature(function):
        def run(**inputs):
            try:
                outputs = function(**{name: tf.constant(value) for name, value in inputs.items()})
            except tf.errors.InvalidArgumentError as error:
                raise ValueError(error.message) from error
            return {name: value.numpy() for name, value in outputs.items()}

        def tensors(specs):
            return {
                name: Tensor("object" if spec.dtype == tf.string else spec.dtype.name, tuple(spec.shape))
                for name, spec in specs.items()
            }

        run.loaded = loaded  # its functions hold their variables only weakly
        return Signature(run, tensors(function.structured_input_signature[1]), tensors(function.structured_outputs))

    return {name: signature(function) for name, function in loaded.signatures.items()}


class ServingDouble:
    """A server for `models`, {name: {version: {signature name: Signature}}}; a context manager.

    Args:
        models: see above.
        grpc: serve gRPC too (needs tensorflow-serving-api).
        tls: (certificate file, key file): both interfaces speak TLS only.

    `rest` and `grpc` are HOST:PORT. `labels` has the version of (model, label). `calls` holds what came in: (method,
    path, headers, parsed body) of REST, and (method, metadata, request) of gRPC. `faults` are used up one a request,
    before anything else is done: functions of the HTTP handler or gRPC context (`answer`, `hang`, `drop`, `abort`).
    """

    def __init__(self, models, grpc=False, tls=None):
        self.models = models
        self.labels = {}
        self.calls = []
        self.faults = collections.deque()
        self.closing = threading.Event()
        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"double": self}))
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            # The handshake belongs into the connection's own thread: here a stranger's would stop the server.
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        self._http.handle_error = lambda *_: None  # a client that went away; the tests look at the client's side
        self.rest = f"127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self._grpc = None
        if grpc:
            self._grpc, port = _grpc_server(self, tls)
            self.grpc = f"127.0.0.1:{port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(10)
        if self._grpc:
            self._grpc.stop(None).wait(10)

    def find(self, model, version, missing):
        """The version's number and signatures; the latest without a version."""
        versions = self.models.get(model, {})
        number = version if version is not None else max(versions, default=None)
        if number not in versions:
            raise ServerError("NOT_FOUND", missing)
        return number, versions[number]

    def signatures(self, model, version):
        wanted = f"Latest({model})" if version is None else f"Specific({model}, {version})"
        return self.find(model, version, f"Servable not found for request: {wanted}")

    def states(self, model, version):
        missing = f"Could not find {'any versions' if version is None else f'version {version}'} of model {model}"
        number, _ = self.find(model, version, missing)
        return sorted(self.models[model], reverse=True) if version is None else [number]

    def predict(self, signature, inputs):
        """Run a signature on arrays by name."""
        if set(inputs) != set(signature.inputs):
            wanted, given = (",".join(sorted(names)) for names in (signature.inputs, inputs))
            extra, lacking = (
                ",".join(sorted(set(some) - set(others)))
                for some, others in ((inputs, signature.inputs), (signature.inputs, inputs))
            )
            raise ServerError(
                "INVALID_ARGUMENT",
                f"input size does not match signature: {len(inputs)}!={len(signature.inputs)} len({{{given}}}) != "
                f"len({{{wanted}}}). Sent extra: {{{extra}}}. Missing but required: {{{lacking}}}.",
            )
        for name, tensor in signature.inputs.items():
            value = inputs[name]
            fits = len(value.shape) == len(tensor.shape) and all(
                want in (None, got) for want, got in zip(tensor.shape, value.shape, strict=True)
            )
            if not fits or str(value.dtype) != tensor.dtype:
                expected = f"{DTYPES[tensor.dtype]} {list(tensor.shape)}"
                raise ServerError("INVALID_ARGUMENT", f"{name} is {value.dtype} {list(value.shape)}, not {expected}")
        try:
            return signature.function(**inputs)
        except ValueError as error:
            raise ServerError("INVALID_ARGUMENT", str(error)) from error


# Faults of REST.


def answer(status, body, content_type="application/json", **headers):
    """Answer so, whatever was asked."""
    body = body.encode() if isinstance(body, str) else body
    return lambda handler: handler.reply(status, body, content_type, headers)


def hang(seconds=5):
    """Keep the client waiting, until the server is closed at the latest. For gRPC too."""
    return lambda place: (place.double if isinstance(place, _Handler) else place.servicer.double).closing.wait(seconds)


def drop(handler):
    """End the connection without a word."""
    handler.close_connection = True


def _c_escaped(text):
    """As absl::CEscape: the server writes its errors so, which is not always JSON."""
    special = {10: "\\n", 13: "\\r", 9: "\\t", 34: '\\"', 39: "\\'", 92: "\\\\"}
    return "".join(special.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}") for byte in text.encode())


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    double = None

    def log_message(self, *_):
        pass

    def reply(self, status, body, content_type="application/json", headers=None):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self._serve(None)

    def do_POST(self):
        self._serve(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _serve(self, body):
        try:
            parsed = json.loads(body or "null")
        except ValueError:
            parsed = body
        self.double.calls.append((self.command, self.path, dict(self.headers), parsed))
        if self.double.faults:
            self.double.faults.popleft()(self)
            return
        try:
            self.reply(200, self._answer(body))
        except ServerError as error:
            self.reply(HTTP_STATUS[error.code], f'{{ "error": "{_c_escaped(str(error))}" }}'.encode())

    def _answer(self, body):
        pattern = r"(?i)/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?(:predict|/metadata)?"
        match = re.fullmatch(pattern, urllib.parse.unquote(self.path))
        if not match or (self.command == "POST") != (match[4] == ":predict"):
            raise ServerError("INVALID_ARGUMENT", f"Malformed request: {self.command} {self.path}")
        model, version, verb = match[1], int(match[2]) if match[2] else None, match[4]
        if match[3]:
            version = self.double.labels.get((model, match[3]), -1)
        if verb == ":predict":
            return self._predict(model, version, body)
        if verb == "/metadata":
            return self._metadata(model, version)
        states = [
            {"version": str(number), "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
            for number in self.double.states(model, version)
        ]
        return json.dumps({"model_version_status": states}, indent=1).encode()

    def _metadata(self, model, version):
        number, signatures = self.double.signatures(model, version)
        message = {
            "model_spec": {"name": model, "signature_name": "", "version": str(number)},
            "metadata": {
                "signature_def": {
                    "signature_def": {
                        name: {
                            "inputs": _tensor_infos(name, signature.inputs),
                            "outputs": _tensor_infos("StatefulPartitionedCall", signature.outputs),
                            "method_name": "tensorflow/serving/predict",
                        }
                        for name, signature in signatures.items()
                    }
                }
            },
        }
        return json.dumps(message, indent=1).encode()

    def _predict(self, model, version, body):
        try:
            message = json.loads(body)
        except ValueError as error:
            raise ServerError("INVALID_ARGUMENT", "JSON Parse error: Invalid value. at offset: 0") from error
        if not isinstance(message, dict):
            raise ServerError("INVALID_ARGUMENT", f"JSON Value: {json.dumps(message)} Is not object")
        name = message.get("signature_name") or "serving_default"
        _, signatures = self.double.signatures(model, version)
        if name not in signatures:
            raise ServerError("INVALID_ARGUMENT", f'Serving signature name: "{name}" not found in signature def')
        signature = signatures[name]
        row = "instances" in message
        if row and "inputs" in message:
            text = f"JSON Value: {body.decode()} Not formatted correctly expecting only one of 'inputs' or 'instances'"
            raise ServerError("INVALID_ARGUMENT", f"{text} keys to exist ")
        if row:
            inputs = _from_instances(message["instances"], signature.inputs)
        elif "inputs" in message:
            inputs = _from_inputs(message["inputs"], signature.inputs)
        else:
            raise ServerError("INVALID_ARGUMENT", "Missing 'inputs' or 'instances' key")
        outputs = {key: _to_json(key, value) for key, value in self.double.predict(signature, inputs).items()}
        if not row:
            result = {"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))}
        elif len(outputs) == 1:
            result = {"predictions": next(iter(outputs.values()))}
        else:
            rows = zip(*outputs.values(), strict=True)
            result = {"predictions": [dict(zip(outputs, values, strict=True)) for values in rows]}
        return json.dumps(result, indent=4).encode()


def _is_b64(value):
    return isinstance(value, dict) and list(value) == ["b64"] and isinstance(value["b64"], str)


def _from_instances(instances, tensors):
    if not isinstance(instances, list) or not instances:
        raise ServerError("INVALID_ARGUMENT", "Excepting 'instances' to be an list/array")
    if not (isinstance(instances[0], dict) and not _is_b64(instances[0])):
        if len(tensors) > 1:
            text = "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            raise ServerError("INVALID_ARGUMENT", f"{text}tensorinfo_map")
        (name,) = tensors
        return {name: _from_json(instances, tensors[name])}
    for number, item in enumerate(instances):
        for name in item:
            if name not in tensors:
                raise ServerError(
                    "INVALID_ARGUMENT",
                    f"Failed to process element: {number} key: {name} of 'instances' list. Error: INVALID_ARGUMENT: "
                    f"JSON object: does not have named input: {name}",
                )
        if set(item) != set(tensors):
            text = f"Failed to process element: {number} of 'instances' list. JSON object: {json.dumps(item)} keys must"
            raise ServerError("INVALID_ARGUMENT", f"{text} be equal to: {','.join(sorted(tensors))}")
    return {name: _from_json([item[name] for item in instances], tensor) for name, tensor in tensors.items()}


def _from_inputs(inputs, tensors):
    if not isinstance(inputs, dict) or _is_b64(inputs):
        if len(tensors) > 1:
            text = "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            raise ServerError("INVALID_ARGUMENT", f"{text}tensorinfo_map")
        (name,) = tensors
        return {name: _from_json(inputs, tensors[name])}
    for name in tensors:
        if name not in inputs:
            raise ServerError("INVALID_ARGUMENT", f"Missing named input: {name} in 'inputs' object.")
    return {name: _from_json(inputs[name], tensor) for name, tensor in tensors.items()}


def _from_json(value, tensor):
    def leaf(item):
        if tensor.dtype != "object":
            kinds = int if tensor.dtype == "uint8" else (int, float)
            if isinstance(item, bool) or not isinstance(item, kinds):
                text = f"JSON Value: {json.dumps(item)} Type: {type(item).__name__} is not of expected type: "
                raise ServerError("INVALID_ARGUMENT", text + tensor.dtype)
            return item
        if isinstance(item, str):
            return item.encode()
        if not _is_b64(item):
            text = f"JSON Value: {json.dumps(item)} not formatted correctly for base64 data"
            raise ServerError("INVALID_ARGUMENT", text)
        try:
            return base64.b64decode(item["b64"], validate=True)
        except ValueError as error:
            raise ServerError("INVALID_ARGUMENT", "Unable to base64 decode") from error

    def walk(item):
        return [walk(part) for part in item] if isinstance(item, list) else leaf(item)

    try:
        return np.array(walk(value), tensor.dtype)
    except (ValueError, OverflowError) as error:
        raise ServerError("INVALID_ARGUMENT", f"Encountered list at unexpected size: {error}") from error


def _to_json(name, value):
    if value.dtype != object:
        return value.tolist()

    def text(item):
        return {"b64": base64.b64encode(item).decode()} if name.endswith("_bytes") else item.decode()

    def walk(item):
        return [walk(part) for part in item] if isinstance(item, list) else text(item)

    return walk(value.tolist())


def _tensor_infos(prefix, tensors):
    return {
        name: {
            "dtype": DTYPES[tensor.dtype],
            "tensor_shape": {
                "dim": [{"size": str(-1 if size is None else size), "name": ""} for size in tensor.shape],
                "unknown_rank": False,
            },
            "name": f"{prefix}_{name}:0",
        }
        for name, tensor in tensors.items()
    }


# gRPC.


def abort(code, details):
    """A fault: end the call with this code, a name of grpc.StatusCode."""
    import grpc

    return lambda call: call.context.abort(grpc.StatusCode[code], details)


@dataclasses.dataclass
class _Call:
    servicer: object
    context: object


def _grpc_server(double, tls):
    import grpc
    import tensorflow as tf
    from google.protobuf import any_pb2
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )

    def served(method):
        def run(self, request, context):
            double.calls.append((method.__name__, dict(context.invocation_metadata()), request))
            if double.faults:
                double.faults.popleft()(_Call(self, context))
            try:
                version = request.model_spec.version.value if request.model_spec.HasField("version") else None
                return method(self, request, request.model_spec.name, version)
            except ServerError as error:
                context.abort(grpc.StatusCode[error.code], str(error))

        return run

    class Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
        def __init__(self):
            self.double = double

        @served
        def Predict(self, request, model, version):  # noqa: N802
            number, signatures = double.signatures(model, version)
            name = request.model_spec.signature_name or "serving_default"
            if name not in signatures:
                raise ServerError("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
            inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
            response = predict_pb2.PredictResponse()
            response.model_spec.name = model
            response.model_spec.version.value = number
            response.model_spec.signature_name = name
            for key, value in double.predict(signatures[name], inputs).items():
                tensor = response.outputs[key]
                tensor.dtype = tf.as_dtype(tf.string if value.dtype == object else value.dtype).as_datatype_enum
                for size in value.shape:
                    tensor.tensor_shape.dim.add(size=size)
                # Value by value rather than as content: the server's default.
                getattr(tensor, FIELDS[str(value.dtype)]).extend(value.ravel().tolist())
            return response

        @served
        def GetModelMetadata(self, request, model, version):  # noqa: N802
            number, signatures = double.signatures(model, version)
            if list(request.metadata_field) != ["signature_def"]:
                raise ServerError("INVALID_ARGUMENT", "Metadata field must be signature_def")
            definitions = get_model_metadata_pb2.SignatureDefMap()
            for name, signature in signatures.items():
                definition = definitions.signature_def[name]
                definition.method_name = "tensorflow/serving/predict"
                for infos, tensors in (
                    (definition.inputs, signature.inputs),
                    (definition.outputs, signature.outputs),
                ):
                    for key, tensor in tensors.items():
                        infos[key].name = f"{name}_{key}:0"
                        infos[key].dtype = getattr(tf, DTYPES[tensor.dtype][3:].lower(), tf.float32).as_datatype_enum
                        for size in tensor.shape:
                            infos[key].tensor_shape.dim.add(size=-1 if size is None else size)
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.model_spec.name = model
            response.model_spec.version.value = number
            packed = any_pb2.Any()
            packed.Pack(definitions)
            response.metadata["signature_def"].CopyFrom(packed)
            return response

    class Model(model_service_pb2_grpc.ModelServiceServicer):
        def __init__(self):
            self.double = double

        @served
        def GetModelStatus(self, request, model, version):  # noqa: N802
            response = get_model_status_pb2.GetModelStatusResponse()
            for number in double.states(model, version):
                state = get_model_status_pb2.ModelVersionStatus.AVAILABLE
                response.model_version_status.add(version=number, state=state)
            return response

    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(4),
        options=(("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)),
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Prediction(), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(Model(), server)
    if tls:
        certificate, key = (pathlib.Path(path).read_bytes() for path in tls)
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port
