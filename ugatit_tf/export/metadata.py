"""What an exported file says of itself: the model's label and licence, and what each tensor means.

TFLite files carry it twice: as TFLITE_METADATA, the FlatBuffer that Android's tools show, and as JSON for all others.
"""

import json

import flatbuffers
from ai_edge_litert.tools import flatbuffer_utils

_STANDARD, _JSON = b"TFLITE_METADATA", b"ugatit_tf"
_RGB, _IMAGE_PROPERTIES, _NORMALIZATION_OPTIONS = 1, 2, 1  # enumerators of TFLite's metadata_schema.fbs


def attach(content, description):
    """A TFLite file with its description inside.

    Args:
        content: bytes of the file.
        description: `label`, `licence` and whatever else is worth saying, as JSON takes it.

    Returns:
        The bytes of the new file.
    """
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    for name, data in ((_STANDARD, _standard(model, description)), (_JSON, json.dumps(description).encode())):
        entry = flatbuffer_utils.schema_fb.MetadataT()
        entry.name, entry.buffer = name, len(model.buffers)
        buffer = flatbuffer_utils.schema_fb.BufferT()
        buffer.data = list(data)
        model.buffers.append(buffer)
        model.metadata = [*(model.metadata or []), entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def read(content):
    """The description that `attach` put into a TFLite file.

    Raises:
        ValueError: there is none.
    """
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    for entry in model.metadata or []:
        if entry.name == _JSON:
            return json.loads(bytes(model.buffers[entry.buffer].data))
    raise ValueError("This TFLite file has no description by ugatit_tf in it.")


class _Table(dict):
    """A FlatBuffer table: field numbers, as the schema counts them, to values."""


class _Byte(int):
    """An enumerator of one byte."""


def _standard(model, description):
    """The ModelMetadata table: one subgraph a signature, with the meaning of its image tensors."""
    subgraphs = []
    for signature in sorted(model.signatureDefs, key=lambda definition: definition.subgraphIndex):
        name = signature.signatureKey.decode()
        meaning = {
            "float": "RGB in [-1, 1]",
            "uint8": "RGB in [0, 255]",
            "rgba": "RGBA in [0, 255]; alpha is ignored",
        }[name]
        image = _Table({0: "image", 1: f"Image, {meaning}.", 3: _content(), 4: [_scaling(name)], 5: _range(name)})
        heatmap = _Table({0: "heatmap", 1: "Where the generator looked, a quarter of the image's height and width."})
        names = {entry.tensorIndex: entry.name for entry in signature.outputs}
        order = [names[index] for index in model.subgraphs[signature.subgraphIndex].outputs]
        outputs = [image if name == b"image" else heatmap for name in order]
        subgraphs.append(_Table({0: name, 1: f"{description['label']}: {meaning}.", 2: [image], 3: outputs}))
    table = _Table(
        {
            0: description["label"],
            1: "Translates images of one kind into images of another.",
            2: description["version"],
            3: subgraphs,
            4: "ugatit-tf",
            5: description["licence"],
            7: "1.0.0",
        }
    )
    builder = flatbuffers.Builder(1024)
    builder.Finish(_write(builder, table), file_identifier=b"M001")
    return bytes(builder.Output())


def _content():
    return _Table({0: _Byte(_IMAGE_PROPERTIES), 1: _Table({0: _Byte(_RGB)})})


def _scaling(name):
    """How 0 to 255 become the tensor's values: less a mean, divided by a deviation."""
    mean, deviation = (127.5, 127.5) if name == "float" else (0.0, 1.0)
    return _Table({0: _Byte(_NORMALIZATION_OPTIONS), 1: _Table({0: [mean], 1: [deviation]})})


def _range(name):
    low, high = (-1.0, 1.0) if name == "float" else (0.0, 255.0)
    return _Table({0: [high], 1: [low]})


def _write(builder, value):
    """Write a table, string or vector; returns its offset."""
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, list):
        tables = isinstance(value[0], _Table)
        items = [_write(builder, item) for item in value] if tables else value
        builder.StartVector(4, len(items), 4)
        for item in reversed(items):
            (builder.PrependUOffsetTRelative if tables else builder.PrependFloat32)(item)
        return builder.EndVector()
    fields = {slot: item if isinstance(item, _Byte) else _write(builder, item) for slot, item in value.items()}
    builder.StartObject(max(fields) + 1)
    for slot, item in fields.items():
        if isinstance(item, _Byte):
            builder.PrependInt8Slot(slot, item, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, item, 0)
    return builder.EndObject()
