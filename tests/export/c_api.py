"""TensorFlow's C++ loader of SavedModels, which TF Serving uses too, through the C API of the installed package.

What the server does with a model is this: load the graph by its tag, look the signature up in the MetaGraph, and run
the session by the tensors' names.
"""

import ctypes
import pathlib

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

_FOLDER = pathlib.Path(tf.__file__).parent
_STRING = tf.string.as_datatype_enum
_TSTRING_BYTES = 24


class _Buffer(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("length", ctypes.c_size_t), ("deallocator", ctypes.c_void_p))


class _Output(ctypes.Structure):
    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


def _library():
    framework = ctypes.CDLL(str(next(_FOLDER.glob("libtensorflow_framework.*"))), ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(str(next(_FOLDER.glob("libtensorflow_cc.*"))))
    functions = {}

    def call(name, *arguments, returns=ctypes.c_void_p):
        if name not in functions:
            functions[name] = getattr(library if hasattr(library, name) else framework, name)
        functions[name].restype = returns
        return functions[name](*arguments)

    return call


class LoadedModel:
    """A SavedModel in a session of TensorFlow's C++ runtime.

    Args:
        folder: of the SavedModel.
    """

    def __init__(self, folder):
        self._call = _library()
        self._status = ctypes.c_void_p(self._call("TF_NewStatus"))
        self._graph = ctypes.c_void_p(self._call("TF_NewGraph"))
        options = ctypes.c_void_p(self._call("TF_NewSessionOptions"))
        meta_graph = ctypes.cast(self._call("TF_NewBuffer"), ctypes.POINTER(_Buffer))
        tags = (ctypes.c_char_p * 1)(b"serve")
        session = self._call(
            "TF_LoadSessionFromSavedModel",
            options,
            None,
            str(folder).encode(),
            tags,
            1,
            self._graph,
            meta_graph,
            self._status,
        )
        self._check()
        self._session = ctypes.c_void_p(session)
        content = ctypes.string_at(meta_graph.contents.data, meta_graph.contents.length)
        self.signatures = meta_graph_pb2.MetaGraphDef.FromString(content).signature_def

    def run(self, signature, **inputs):
        """Run a signature; arrays (bytes for strings) by name, to arrays by name.

        Raises:
            ValueError: the runtime's own words.
        """
        definition = self.signatures[signature]
        assert set(inputs) == set(definition.inputs)
        names = list(definition.outputs)
        sources = [self._output(definition.inputs[name].name) for name in inputs]
        targets = [self._output(definition.outputs[name].name) for name in names]
        values = [self._tensor(value) for value in inputs.values()]
        results = (ctypes.c_void_p * len(names))()
        self._call(
            "TF_SessionRun",
            self._session,
            None,
            (_Output * len(sources))(*sources),
            (ctypes.c_void_p * len(values))(*values),
            len(sources),
            (_Output * len(targets))(*targets),
            results,
            len(targets),
            None,
            0,
            None,
            self._status,
            returns=None,
        )
        self._check()
        return {name: self._array(ctypes.c_void_p(result)) for name, result in zip(names, results, strict=True)}

    def _check(self):
        if self._call("TF_GetCode", self._status, returns=ctypes.c_int):
            raise ValueError(self._call("TF_Message", self._status, returns=ctypes.c_char_p).decode())

    def _output(self, name):
        operation, _, index = name.partition(":")
        found = self._call("TF_GraphOperationByName", self._graph, operation.encode())
        assert found, name
        return _Output(found, int(index))

    def _tensor(self, value):
        kind = _STRING if value.dtype == object else tf.as_dtype(value.dtype).as_datatype_enum
        size = value.size * _TSTRING_BYTES if kind == _STRING else value.nbytes
        shape = (ctypes.c_int64 * value.ndim)(*value.shape)
        tensor = ctypes.c_void_p(self._call("TF_AllocateTensor", kind, shape, value.ndim, ctypes.c_size_t(size)))
        data = self._call("TF_TensorData", tensor)
        if kind == _STRING:
            for i, content in enumerate(value.flat):
                place = ctypes.c_void_p(data + i * _TSTRING_BYTES)
                self._call("TF_StringInit", place, returns=None)
                self._call("TF_StringCopy", place, content, ctypes.c_size_t(len(content)), returns=None)
        else:
            ctypes.memmove(data, np.ascontiguousarray(value).ctypes.data, size)
        return tensor

    def _array(self, tensor):
        kind = self._call("TF_TensorType", tensor, returns=ctypes.c_int)
        rank = self._call("TF_NumDims", tensor, returns=ctypes.c_int)
        shape = [self._call("TF_Dim", tensor, i, returns=ctypes.c_int64) for i in range(rank)]
        data = self._call("TF_TensorData", tensor)
        if kind == _STRING:
            result = np.empty(shape, object)
            for i in range(result.size):
                place = ctypes.c_void_p(data + i * _TSTRING_BYTES)
                length = self._call("TF_StringGetSize", place, returns=ctypes.c_size_t)
                start = self._call("TF_StringGetDataPointer", place)
                result.flat[i] = ctypes.string_at(start, length)
            return result
        dtype = tf.as_dtype(kind).as_numpy_dtype
        size = self._call("TF_TensorByteSize", tensor, returns=ctypes.c_size_t)
        return np.frombuffer(ctypes.string_at(data, size), dtype).reshape(shape)
