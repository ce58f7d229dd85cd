"""TFLite files, run by LiteRT; the Keras generator is the oracle."""

import math

import numpy as np
import pytest
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.hardware_accelerator import HardwareAccelerator
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from flatbuffers.table import Table

from ugatit_tf.data.pipeline import to_float
from ugatit_tf.export import metadata, tflite
from ugatit_tf.export.signatures import to_uint8
from ugatit_tf.export.verify import BOUNDS, measure_tflite

SIZE = (16, 16)


def runner(content):
    """Ask a file: signature and image to image."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    return lambda signature, image, result="image": interpreter.get_signature_runner(signature)(image=image)[result]


def psnr(actual, expected):
    return 10 * math.log10(4 / max(1e-30, np.mean((actual - expected).astype(float) ** 2)))


@pytest.fixture(scope="module")
def generator(make_generator):
    return make_generator()


@pytest.fixture(scope="module", params=tflite.KINDS)
def converted(request, generator, description, pictures):
    return request.param, tflite.convert(generator, request.param, SIZE, description, pictures)


def test_every_signature_is_the_generator(converted, generator, pictures):
    kind, content = converted
    ask = runner(content)
    for picture in pictures:
        floats = to_float(picture[None]).numpy()
        expected = generator(floats, training=False)[0].numpy()
        actual = ask("float", floats)
        assert psnr(actual, expected) > BOUNDS[kind]
        as_uint8 = ask("uint8", picture[None])
        assert np.abs(as_uint8.astype(int) - to_uint8(actual).numpy()).max() <= 1
        rgba = np.concatenate([picture, np.full((*SIZE, 1), 7, np.uint8)], axis=-1)[None]
        result = ask("rgba", rgba)
        np.testing.assert_array_equal(result[..., :3], as_uint8)
        assert (result[..., 3] == 255).all()


def test_every_signature_gives_the_heatmap(converted, generator, pictures):
    kind, content = converted
    ask = runner(content)
    floats = to_float(pictures[:1]).numpy()
    expected = generator(floats, training=False)[2].numpy()
    rgba = np.pad(pictures[:1], [(0, 0)] * 3 + [(0, 1)])
    for signature, image in (("float", floats), ("uint8", pictures[:1]), ("rgba", rgba)):
        actual = ask(signature, image, "heatmap")
        assert actual.shape == (1, SIZE[0] // 4, SIZE[1] // 4, 1)
        error = np.sqrt(np.mean((actual - expected) ** 2)) / np.std(expected)
        assert error < {"float32": 1e-4, "float16": 1e-2}.get(kind, 0.3)


def test_signatures_share_the_weights(converted, generator):
    kind, content = converted
    weights = sum(np.prod(variable.shape) for variable in generator.variables)
    bytes_each = {"float32": 4, "float16": 2}.get(
        kind, 4
    )  # int8 leaves the smallest kernels, which are all here, alone
    assert len(content) < 2 * bytes_each * weights + 250_000
    interpreter = Interpreter(model_content=content)
    assert set(interpreter.get_signature_list()) == {"float", "uint8", "rgba"}


@pytest.mark.parametrize(
    ("kind", "stored"),
    [("float32", "FLOAT32"), ("float16", "FLOAT16"), ("dynamic_range", "INT8"), ("static_int8", "INT8")],
)
def test_kernels_are_stored_as_the_kind_says(make_generator, description, pictures, kind, stored):
    types = flatbuffer_utils.schema_fb.TensorType
    generator = make_generator(ch=8)  # TensorFlow leaves kernels of fewer than 1,024 numbers in float32
    content = tflite.convert(generator, kind, SIZE, description, pictures)
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    sizes = {}
    for tensor in model.subgraphs[0].tensors:
        data = model.buffers[tensor.buffer].data
        if data is not None and np.prod(tensor.shape) >= 1024:
            sizes[tensor.type] = sizes.get(tensor.type, 0) + np.prod(tensor.shape)
    assert max(sizes, key=sizes.get) == getattr(types, stored)


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
@pytest.mark.parametrize("light", [True, False])
def test_xnnpack_takes_the_whole_graph(make_generator, tmp_path, flavor, light):
    path = tmp_path / "x.tflite"
    path.write_bytes(tflite.float_only(make_generator(flavor, light=light), SIZE))
    assert CompiledModel.from_file(str(path), HardwareAccelerator.CPU).is_fully_accelerated()


# CycleGAN and, between them, the norms and the lack of attention; of 48 channels, groups have 3.
OTHERS = [
    {"flavor": "cyclegan", "ch": 4},
    {"norm": "gn", "ch": 12, "cam": False},
    {"norm": "in", "ch": 4, "cam": False, "light": False},
    {"norm": "ln", "ch": 4, "flavor": "pytorch"},
    {"norm": "adain", "ch": 4, "light": False},
]


@pytest.mark.slow
@pytest.mark.parametrize("values", OTHERS, ids=str)
def test_baseline_and_ablations_are_exact_and_whole_in_xnnpack(make_generator, tmp_path, pictures, values):
    generator, path = make_generator(**values), tmp_path / "x.tflite"
    content = tflite.float_only(generator, SIZE)
    path.write_bytes(content)
    assert CompiledModel.from_file(str(path), HardwareAccelerator.CPU).is_fully_accelerated()
    for picture in pictures:
        floats = to_float(picture[None]).numpy()
        image, _, heatmap = generator(floats, training=False)
        assert np.ptp(image) > 0.5
        assert psnr(runner(content)("float", floats), image.numpy()) > BOUNDS["float32"]
        np.testing.assert_allclose(runner(content)("float", floats, "heatmap"), heatmap, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("values", OTHERS[:2], ids=str)
def test_baseline_and_ablations_with_int8_weights(make_generator, tmp_path, pictures, description, values):
    generator, path = make_generator(**values | {"ch": 12}), tmp_path / "x.tflite"
    path.write_bytes(tflite.convert(generator, "dynamic_range", SIZE, description))
    proof = measure_tflite(path, "dynamic_range", generator, pictures)
    assert proof.faults() == []
    assert proof.psnr < 70  # int8 it is
    assert proof.partitions == 1


@pytest.mark.slow
def test_a_cyclegan_of_any_size(make_generator, description):
    generator = make_generator("cyclegan")
    ask = runner(tflite.convert(generator, "float32", None, description))
    for shape in ((1, 16, 16, 3), (2, 24, 8, 3)):
        image = np.random.default_rng(0).uniform(-1, 1, shape).astype("float32")
        assert psnr(ask("float", image), generator(image, training=False)[0].numpy()) > 100


def test_flat_pictures_keep_their_digits(make_generator, description):
    """One sum over 65,536 pixels that are nearly all equal loses digits, and the norms enlarge what is lost."""
    generator = make_generator("tf1", img_size=256)
    exact = generator.copy()
    exact.suit_tflite()  # Keras's own long sums lose some as well
    image = np.full((1, 256, 256, 3), 0.5, "float32")
    image[:, 100:160, 80:140] = -0.5
    actual = runner(tflite.convert(generator, "float32", (256, 256), description))("float", image)
    assert psnr(actual, exact(image, training=False)[0].numpy()) > 110


@pytest.mark.parametrize("size", [(16, 32), (24, 8)])
def test_other_sizes_of_a_light_generator(generator, description, size):
    ask = runner(tflite.convert(generator, "float32", size, description))
    image = np.random.default_rng(0).uniform(-1, 1, (1, *size, 3)).astype("float32")
    assert psnr(ask("float", image), generator(image, training=False)[0].numpy()) > 100


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
def test_full_generators(make_generator, description, flavor, pictures):
    generator = make_generator(flavor, light=False)
    ask = runner(tflite.convert(generator, "float32", SIZE, description))
    image = to_float(pictures[:1]).numpy()
    assert psnr(ask("float", image), generator(image, training=False)[0].numpy()) > 100


def test_dynamic_files_take_any_size_and_batch(generator, description):
    content = tflite.convert(generator, "float32", None, description)
    for shape in ((1, 16, 16, 3), (2, 24, 32, 3), (3, 8, 12, 3)):
        image = np.random.default_rng(0).uniform(-1, 1, shape).astype("float32")
        assert psnr(runner(content)("float", image), generator(image, training=False)[0].numpy()) > 100


def test_mixed_precision_exports_in_float32(make_generator, generator):
    mixed = make_generator()
    mixed.set_precision("bfloat16")
    assert tflite.float_only(mixed, SIZE) == tflite.float_only(generator, SIZE)
    assert mixed.precision == "bfloat16"


def test_what_cannot_be_converted_is_refused(generator, description):
    with pytest.raises(ValueError, match=r"kind must be one of float32, .*; received 'int4'"):
        tflite.convert(generator, "int4", SIZE, description)
    for images in (None, np.zeros((0, *SIZE, 3), np.uint8)):
        with pytest.raises(ValueError, match="static_int8 needs representative images"):
            tflite.convert(generator, "static_int8", SIZE, description, images)


# metadata


def test_our_description_reads_back(converted, description):
    assert metadata.read(converted[1]) == description


def test_a_file_without_description_is_refused(generator):
    with pytest.raises(ValueError, match="no description"):
        metadata.read(tflite.float_only(generator, SIZE))


class Reader:
    """A FlatBuffer table by the numbers of its fields, as TFLite's metadata_schema.fbs counts them."""

    def __init__(self, content, position):
        self.table = Table(content, position)

    def _offset(self, field):
        offset = self.table.Offset(4 + 2 * field)
        assert offset, f"field {field} is not there"
        return offset + self.table.Pos

    def text(self, field):
        return self.table.String(self._offset(field)).decode()

    def byte(self, field):
        return self.table.Bytes[self._offset(field)]

    def child(self, field):
        return Reader(self.table.Bytes, self.table.Indirect(self._offset(field)))

    def floats(self, field):
        start, length = self._vector(field)
        return np.frombuffer(self.table.Bytes, "<f4", length, start).tolist()

    def children(self, field):
        start, length = self._vector(field)
        return [Reader(self.table.Bytes, self.table.Indirect(start + 4 * i)) for i in range(length)]

    def _vector(self, field):
        offset = self._offset(field) - self.table.Pos
        return self.table.Vector(offset), self.table.VectorLen(offset)


def output_names(content):
    """For each subgraph, what LiteRT calls its outputs, in its own order."""
    interpreter = Interpreter(model_content=content)
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    names = {}
    for definition in model.signatureDefs:
        runner = interpreter.get_signature_runner(definition.signatureKey.decode())
        indices = list(model.subgraphs[definition.subgraphIndex].outputs)
        shapes = [tuple(model.subgraphs[definition.subgraphIndex].tensors[index].shape) for index in indices]
        by_shape = {tuple(details["shape"]): name for name, details in runner.get_output_details().items()}
        names[definition.subgraphIndex] = [by_shape[shape] for shape in shapes]
    return [names[index] for index in sorted(names)]


def test_standard_metadata_says_what_the_tensors_mean(converted, description):
    """Written by hand against the schema, and read once by TFLite Support's own reader, which needs old packages."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(converted[1]))
    (buffer,) = (model.buffers[entry.buffer].data for entry in model.metadata if entry.name == b"TFLITE_METADATA")
    content = bytes(buffer)
    assert content[4:8] == b"M001"
    root = Reader(content, int.from_bytes(content[:4], "little"))
    assert (root.text(0), root.text(2), root.text(5)) == (description["label"], "0.1.0", description["licence"])
    subgraphs = root.children(3)
    assert [[tensor.text(0) for tensor in part.children(3)] for part in subgraphs] == output_names(converted[1])
    order = sorted(model.signatureDefs, key=lambda definition: definition.subgraphIndex)
    assert [part.text(0) for part in subgraphs] == [definition.signatureKey.decode() for definition in order]
    for part in subgraphs:
        name = part.text(0)
        outputs = {tensor.text(0): tensor for tensor in part.children(3)}
        assert set(outputs) == {"image", "heatmap"}
        assert "quarter" in outputs["heatmap"].text(1)
        for tensor in (*part.children(2), outputs["image"]):
            assert tensor.text(0) == "image"
            assert tensor.child(3).byte(0) == 2  # ImageProperties
            assert tensor.child(3).child(1).byte(0) == 1  # RGB
            (unit,) = tensor.children(4)
            assert unit.byte(0) == 1  # NormalizationOptions
            scaling = unit.child(1).floats(0), unit.child(1).floats(1)
            assert scaling == (([127.5], [127.5]) if name == "float" else ([0.0], [1.0]))
            limits = tensor.child(5).floats(1), tensor.child(5).floats(0)
            assert limits == (([-1.0], [1.0]) if name == "float" else ([0.0], [255.0]))
