"""Feature networks: the random one against numpy, and files that give back what reached them."""

import hashlib
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ugatit_tf.data import pipeline
from ugatit_tf.evaluation import features
from ugatit_tf.evaluation.features import load_features

layers = keras.layers


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def resized(image, height, width):
    """Pillow's bilinear resizing, which is antialiased, too, in float32."""
    channels = [Image.fromarray(np.float32(image[..., c])) for c in range(3)]
    return np.stack([np.asarray(c.resize((width, height), Image.Resampling.BILINEAR)) for c in channels], -1)


def keras_file(path, *stack, shape=(4, 6, 3), dtype="float32"):
    keras.Sequential([keras.Input(shape, dtype=dtype), *stack]).save(path)
    return path


def two_outputs():
    """Per-channel means, and probabilities of two classes that depend on them."""
    image = keras.Input((4, 6, 3))
    means = layers.GlobalAveragePooling2D()(image)
    kernel = keras.initializers.Constant([[1, 0], [0, 1], [2, 0]])
    return keras.Model(image, [means, layers.Dense(2, "softmax", kernel_initializer=kernel)(means)])


def expected_of_two(images):
    means = (np.float64(images) / 127.5 - 1).mean((1, 2))
    powers = np.exp(means @ [[1, 0], [0, 1], [2, 0]])
    return means, powers / powers.sum(1, keepdims=True)


def saved_model(path, function, shape=(None, 4, 6, 3), dtype=tf.float32, name="serving_default"):
    module = tf.Module()
    module.function = tf.function(function, input_signature=[tf.TensorSpec(shape, dtype, name="image")])
    tf.saved_model.save(module, str(path), {name: module.function})
    return path


def tflite_file(path, function, shape=(1, 4, 6, 3), dtype=tf.float32, prepare=lambda converter: None):
    saved_model(path.with_suffix(""), function, shape, dtype)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(path.with_suffix("")))
    prepare(converter)
    path.write_bytes(converter.convert())
    return path


def means(images):
    return {"features": tf.reduce_mean(tf.cast(images, tf.float32), (1, 2))}


@pytest.fixture(scope="module")
def random():
    return load_features("random")


# --- random ---


def drawn_image(height, width):
    """Of whole numbers alone, the same for ever."""
    rows, columns, channels = np.ogrid[:height, :width, :3]
    return ((rows * rows * 3 + columns * (5 + 2 * channels) + rows * columns) // 7 % 256).astype(np.uint8)


def convolved(maps, kernel, stride):
    side = (len(maps) - 3) // stride + 1
    places = stride * np.arange(side)
    return sum(maps[np.ix_(places + i, places + j)] @ kernel[i, j] for i in range(3) for j in range(3))


def test_random_is_what_numpy_computes(random):
    image = drawn_image(128, 128)
    draws, maps = np.random.RandomState(0), image / 127.5 - 1
    expected = [maps.mean((0, 1)), maps.std((0, 1))]
    for filters in (32, 64, 64, 64):
        kernel = draws.standard_normal((3, 3, maps.shape[2], filters)) * np.sqrt(2 / (9 * maps.shape[2]))
        responses = convolved(maps, kernel - kernel.mean((0, 1)), 1)
        strengths = np.abs(responses).mean((0, 1)), responses.std((0, 1))
        expected += [1 + np.log(0.03 + strength) for strength in strengths]
        maps = np.maximum(convolved(np.pad(maps, ((1, 1), (1, 1), (0, 0))), kernel, 2), 0)
    actual, probabilities = random(image[None])
    assert (actual.dtype, actual.shape, probabilities) == (np.float32, (1, 454), None)
    assert (random.size, random.dimension) == ((128, 128), 454)
    # float32 sums of up to 576 products: 1e-6 of values of 1 or so; a wrong tap moves them by 1e-2.
    np.testing.assert_allclose(actual[0], np.concatenate(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "golden"),
    [
        ((128, 128), [1.6839, 27.2507, 42.4393, 31.1673, 10.5346]),
        ((150, 200), [1.1020, 1.5222, -7.3794, -18.9531, -38.8787]),
    ],
    ids=["as it is", "resized"],
)
def test_random_never_drifts(random, size, golden):
    """Sums over the colours' and each stage's features, committed with the first version."""
    values = np.float64(random(drawn_image(*size)[None])[0][0])
    sums = [part.sum() for part in np.split(values, np.cumsum([6, 64, 128, 128]))]
    np.testing.assert_allclose(sums, golden, atol=2e-3)  # float32: 1e-5 each of up to 128 summands


def test_random_depends_on_no_policy_seed_or_batch(random):
    images = noise(5, 40, 60, 3)
    expected, _ = random(images)
    policy = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        keras.utils.set_random_seed(5)
        np.random.seed(5)
        again = load_features("random")
        np.testing.assert_array_equal(again(images)[0], expected)
        assert again.digest == random.digest
    finally:
        keras.config.set_dtype_policy(policy)
    singles = np.concatenate([random(image[None])[0] for image in images])
    np.testing.assert_allclose(singles, expected, rtol=1e-5, atol=1e-5)  # sums may be in another order
    assert np.abs(expected[0] - expected[1]).max() > 0.01


def test_batches_of_any_size_share_one_trace(tmp_path, monkeypatch):
    traced = []
    convolution, flatten = tf.nn.conv2d, layers.Flatten.call
    monkeypatch.setattr(tf.nn, "conv2d", lambda *args, **words: traced.append("") or convolution(*args, **words))
    monkeypatch.setattr(layers.Flatten, "call", lambda *args: traced.append("") or flatten(*args))
    for name in ("random", keras_file(tmp_path / "flat.keras", layers.Flatten())):
        traced.clear()
        network = load_features(name)
        assert traced
        traced.clear()
        for count in (1, 2, 7):
            assert len(network(noise(count, 20, 20, 3))[0]) == count
        assert not traced


# --- what reaches a network ---


@pytest.mark.parametrize("size", [(2, 3), (23, 31), (4, 31), (4, 5)], ids=str)
def test_a_float_input_gets_resized_images_from_minus_one_to_one(tmp_path, size):
    network = load_features(keras_file(tmp_path / "flat.keras", layers.Flatten()))
    assert (network.size, network.dimension) == ((4, 6), 72)
    images = noise(2, *size, 3)
    expected = np.stack([resized(image, 4, 6) for image in images]) / 127.5 - 1
    # Pillow and TensorFlow both compute in float32.
    np.testing.assert_allclose(network(images)[0], expected.reshape(2, -1), atol=1e-5)


def test_another_range_as_the_module_says(tmp_path):
    """A network that wants [0, 255], with a layer in front."""
    wanted = keras.Sequential([keras.Input((4, 6, 3)), layers.Flatten()])
    network = load_features(keras_file(tmp_path / "whole.keras", layers.Rescaling(127.5, 127.5), wanted))
    images = noise(2, 4, 6, 3)
    np.testing.assert_allclose(network(images)[0], images.reshape(2, -1), atol=1e-4)  # float32 near 255


@pytest.mark.parametrize("size", [(2, 3), (23, 31)], ids=str)
def test_a_uint8_input_gets_rounded_images(tmp_path, size):
    network = load_features(keras_file(tmp_path / "flat.keras", layers.Flatten(), dtype="uint8"))
    images = noise(2, *size, 3)
    actual, expected = network(images)[0], np.stack([resized(image, 4, 6) for image in images]).reshape(2, -1)
    assert actual.dtype == np.float32
    np.testing.assert_array_equal(actual, np.round(actual))
    assert np.abs(actual - expected).max() <= 0.5 + 1e-3


def test_images_of_the_right_size_are_not_resized(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "resize", None)
    images = np.arange(256, dtype=np.uint8)[: 4 * 6 * 3].reshape(1, 4, 6, 3)
    images[0, 0, 0] = (0, 128, 255)
    values = load_features(keras_file(tmp_path / "flat.keras", layers.Flatten()))(images)[0]
    np.testing.assert_array_equal(values[0, [0, 2]], [-1, 1])
    np.testing.assert_allclose(values, images.reshape(1, -1) / 127.5 - 1, atol=1e-6)
    whole = load_features(keras_file(tmp_path / "uint8.keras", layers.Flatten(), dtype="uint8"))(images)[0]
    np.testing.assert_array_equal(whole, images.reshape(1, -1))


def test_an_open_size_is_224(tmp_path):
    network = load_features(keras_file(tmp_path / "open.keras", layers.GlobalMaxPooling2D(), shape=(None, None, 3)))
    assert network.size == (224, 224)
    half = load_features(saved_model(tmp_path / "half", means, (None, 8, None, 3)))
    assert half.size == (8, 224)
    lite = load_features(tflite_file(tmp_path / "open.tflite", means, (None, None, None, 3)))
    assert lite.size == (224, 224)
    image = np.full((1, 10, 10, 3), (0, 255, 255), np.uint8)
    for loaded in (network, half, lite):
        np.testing.assert_allclose(loaded(image)[0], [[-1, 1, 1]], atol=1e-5)


@pytest.mark.parametrize(
    ("images", "received"),
    [
        (np.zeros((1, 4, 6, 3), np.float32), r"float32 \[1, 4, 6, 3\]"),
        (np.zeros((4, 6, 3), np.uint8), r"uint8 \[4, 6, 3\]"),
        (np.zeros((1, 4, 6, 1), np.uint8), r"uint8 \[1, 4, 6, 1\]"),
        (np.zeros((0, 4, 6, 3), np.uint8), r"uint8 \[0, 4, 6, 3\]"),
    ],
    ids=["float", "one image", "grey", "none"],
)
def test_other_images_are_refused(random, images, received):
    with pytest.raises(ValueError, match=rf"images must be uint8 \[N, H, W, 3\]; received {received}"):
        random(images)


# --- files ---


def test_maps_are_averaged(tmp_path):
    pooled = layers.AveragePooling2D(2)
    network = load_features(keras_file(tmp_path / "maps.keras", pooled))
    images = noise(3, 4, 6, 3)
    np.testing.assert_allclose(network(images)[0], (images / 127.5 - 1).mean((1, 2)), atol=1e-6)
    assert network.dimension == 3


def test_two_outputs_are_features_and_probabilities(tmp_path):
    images = noise(3, 4, 6, 3)
    model = two_outputs()
    model.save(tmp_path / "two.keras")
    model.export(str(tmp_path / "two"), verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "two"))
    (tmp_path / "two.tflite").write_bytes(converter.convert())
    for name in ("two.keras", "two", "two.tflite"):
        network = load_features(tmp_path / name)
        assert (network.name, network.dimension) == (name, 3)
        for actual, expected in zip(network(images), expected_of_two(images), strict=True):
            assert actual.dtype == np.float32
            np.testing.assert_allclose(actual, expected, atol=1e-6)


def named(first, second):
    """A function of images with named outputs: the means, and one class."""

    def function(images):
        return {first: tf.reduce_mean(images, (1, 2)), second: tf.ones_like(images[:, 0, 0, :1])}

    return function


def test_named_outputs_come_in_the_order_of_their_names(tmp_path):
    for load, end in ((saved_model, ""), (tflite_file, ".tflite")):
        for names in (("a", "b"), ("one", "two")):
            network = load_features(load(tmp_path / f"{names[0]}{end}", named(*names)))
            values, probabilities = network(noise(2, 4, 6, 3))
            assert (values.shape, probabilities.shape) == ((2, 3), (2, 1))
        path = load(tmp_path / f"swapped{end}", named("z", "b"))
        with pytest.raises(ValueError, match=r"swapped.* must have class probabilities as its second output"):
            load_features(path)


def test_a_saved_model_for_one_image_at_a_time(tmp_path):
    network = load_features(saved_model(tmp_path / "one", means, (1, 4, 6, 3)))
    images = noise(3, 4, 6, 3)
    np.testing.assert_allclose(network(images)[0], (images / 127.5 - 1).mean((1, 2)), atol=1e-6)
    archive = keras.export.ExportArchive()
    model = keras.Sequential([keras.Input((4, 6, 3), batch_size=1), layers.Flatten(), layers.Dense(5)])
    archive.track(model)
    archive.add_endpoint("serve", model.call, [tf.TensorSpec((1, 4, 6, 3), tf.uint8)])
    archive.write_out(str(tmp_path / "dense"), verbose=False)
    dense = load_features(tmp_path / "dense")
    kernel, bias = model.get_weights()
    expected = images.reshape(3, -1) @ kernel + bias
    np.testing.assert_allclose(dense(images)[0], expected, rtol=1e-5, atol=1e-3)  # of 0 to 255


def test_tflite_of_both_types(tmp_path):
    images = noise(3, 9, 5, 3)
    expected = np.stack([resized(image, 4, 6) for image in images])
    for dtype, wanted, tolerance in ((tf.float32, expected / 127.5 - 1, 1e-5), (tf.uint8, expected, 0.5)):
        network = load_features(tflite_file(tmp_path / f"{dtype.name}.tflite", means, dtype=dtype))
        assert (network.size, network.dimension) == ((4, 6), 3)
        np.testing.assert_allclose(network(images)[0], wanted.mean((1, 2)), atol=tolerance)


def quantised(input_type):
    def prepare(converter):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([np.full((1, 4, 6, 3), value, np.float32)] for value in (-1, 1))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = input_type

    return prepare


def test_a_quantised_tflite_file(tmp_path):
    network = load_features(tflite_file(tmp_path / "uint8.tflite", means, prepare=quantised(tf.uint8)))
    images = noise(3, 4, 6, 3) // np.uint8([1, 2, 4])
    # Its 256 levels from -1 to 1 are the images' own; the result's are as wide.
    np.testing.assert_allclose(network(images)[0], (images / 127.5 - 1).mean((1, 2)), atol=2 / 255)
    path = tflite_file(tmp_path / "int8.tflite", means, prepare=quantised(tf.int8))
    with pytest.raises(ValueError, match=r"int8.tflite must take float32 or uint8 .* received int8 \[1, 4, 6, 3\]"):
        load_features(path)


def test_a_tflite_file_without_signatures(tmp_path):
    function = tf.function(lambda images: tf.reduce_mean(images, (1, 2)))
    concrete = function.get_concrete_function(tf.TensorSpec((1, 4, 6, 3)))
    content = tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()
    (tmp_path / "bare.tflite").write_bytes(content)
    images = noise(2, 4, 6, 3)
    actual, _ = load_features(tmp_path / "bare.tflite")(images)
    np.testing.assert_allclose(actual, (images / 127.5 - 1).mean((1, 2)), atol=1e-6)


def test_a_tflite_file_with_several_signatures_is_refused(tmp_path):
    module, spec = tf.Module(), tf.TensorSpec((1, 4, 6, 3), name="image")
    module.function = tf.function(means, input_signature=[spec])
    signature = module.function.get_concrete_function()
    tf.saved_model.save(module, str(tmp_path / "many"), {"serving_default": signature, "other": signature})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "many"), ["serving_default", "other"])
    (tmp_path / "many.tflite").write_bytes(converter.convert())
    with pytest.raises(ValueError, match="must have one input and one signature at most; received 1 and 2"):
        load_features(tmp_path / "many.tflite")


@pytest.mark.parametrize(
    ("function", "shape", "message"),
    [
        (lambda x: {"f": tf.reduce_sum(x)}, None, r"must give features, .*; for N = 1 it gave \[\]\."),
        (lambda x: {"f": tf.reduce_sum(x, 1)}, None, r"for N = 1 it gave \[1, 6, 3\]"),
        (lambda x: {"f": tf.reshape(x, (-1, 3))}, None, r"for N = 1 it gave \[24, 3\]"),
        (lambda x: {"f": x[:, 0, 0], "g": x[:, 0]}, None, r"for N = 1 it gave \[1, 3\], \[1, 6, 3\]"),
        (lambda x: {n: x[:, 0, 0] for n in "fgh"}, None, r"for N = 1 it gave \[1, 3\], \[1, 3\], \[1, 3\]"),
        (lambda x: {"f": x[:, 0, 0], "g": x[:, 0, 0] * 0 + 1}, None, "with the sum 1; received the sum 3, the least 1"),
        (lambda x: {"f": x[:, 0, 0], "g": x[:, 0, 0] + [2, 2, 0]}, None, "received the sum 1, the least -1"),
        (
            lambda x: {"f": tf.reshape(x, (-1, 7))},
            None,
            "does not run on images of 4 x 6: Input to reshape",
        ),
        (lambda x: {"f": x[:, 0, 0]}, (None, 4, 6, 1), r"must take .* received float32 \[None, 4, 6, 1\]"),
        (lambda x: {"f": x[:, 0, 0]}, (None, 3, 4, 6), r"must take .* received float32 \[None, 3, 4, 6\]"),
        (lambda x: {"f": x[:, 0, 0]}, (2, 4, 6, 3), r"must take .* received float32 \[2, 4, 6, 3\]"),
        (lambda x: {"f": x[:, 0]}, (None, 4, 3), r"must take .* received float32 \[None, 4, 3\]"),
    ],
)
def test_other_networks_are_refused(tmp_path, function, shape, message):
    path = saved_model(tmp_path / "some_net", function, shape or (None, 4, 6, 3))
    with pytest.raises(ValueError, match=f"some_net .*{message}"):
        load_features(path)


def test_a_network_that_mixes_images_is_refused(tmp_path):
    network = load_features(saved_model(tmp_path / "mix", lambda x: {"f": tf.reduce_mean(x, (0, 1, 2))[None]}))
    with pytest.raises(ValueError, match=r"mix must give .* for N = 2 it gave \[1, 3\]"):
        network(noise(2, 4, 6, 3))


def test_signatures_that_do_not_fit(tmp_path):
    with pytest.raises(ValueError, match="must have the signature serving_default; received other"):
        load_features(saved_model(tmp_path / "other", means, name="other"))
    module, spec = tf.Module(), tf.TensorSpec((None, 4, 6, 3))
    module.function = tf.function(lambda a, b: {"sum": a[:, 0, 0] + b[:, 0, 0]}, input_signature=[spec, spec])
    tf.saved_model.save(module, str(tmp_path / "two"), {"serving_default": module.function})
    with pytest.raises(ValueError, match="two must have one input; received a, b"):
        load_features(tmp_path / "two")
    content = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "two")).convert()
    (tmp_path / "two.tflite").write_bytes(content)
    with pytest.raises(ValueError, match=r"two.tflite must have one input .* received 2 and 1"):
        load_features(tmp_path / "two.tflite")
    inputs = [keras.Input((4, 6, 3)), keras.Input((4, 6, 3))]
    keras.Model(inputs, layers.Flatten()(layers.Add()(inputs))).save(tmp_path / "two.keras")
    with pytest.raises(ValueError, match=r"two.keras must have one input; received 2"):
        load_features(tmp_path / "two.keras")


def test_unsafe_files_are_not_loaded(tmp_path):
    path = keras_file(tmp_path / "lambda.keras", layers.Lambda(lambda x: x + 1), layers.Flatten())
    with pytest.raises(ValueError, match=r"lambda.keras is unsafe and was not loaded: it has Python code"):
        load_features(path)


class OwnLayer(layers.Layer):
    def call(self, inputs):
        return inputs


def test_layers_that_keras_does_not_know(tmp_path):
    path = keras_file(tmp_path / "own.keras", OwnLayer(), layers.Flatten())
    with pytest.raises(ValueError, match=r"own.keras cannot be loaded: .*: Could not locate class 'OwnLayer'\."):
        load_features(path)


def test_damaged_files_are_named(tmp_path):
    whole = keras_file(tmp_path / "a.keras", layers.Flatten(), layers.Dense(2)).read_bytes()
    for content in (b"", whole[: len(whole) // 2]):
        (tmp_path / "a.keras").write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.keras is damaged, or no \.keras file"):
            load_features(tmp_path / "a.keras")
    (tmp_path / "a.keras").write_bytes(whole.replace(b"config.json", b"confog.json"))
    with pytest.raises(ValueError, match=r"a\.keras cannot be loaded: it is damaged"):
        load_features(tmp_path / "a.keras")

    whole = tflite_file(tmp_path / "a.tflite", means).read_bytes()
    (tmp_path / "a.tflite").write_bytes(b"a text, no network")
    with pytest.raises(ValueError, match=r"a\.tflite is damaged, or no TFLite file"):
        load_features(tmp_path / "a.tflite")
    (tmp_path / "a.tflite").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"a\.tflite cannot be loaded: it is damaged"):
        load_features(tmp_path / "a.tflite")

    graph = tmp_path / "a" / "saved_model.pb"  # made on the way to a.tflite
    graph.write_bytes(graph.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"/a cannot be loaded: it is damaged"):
        load_features(tmp_path / "a")


def test_what_is_no_network(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no features 'incption': give random, inception or the path"):
        load_features("incption")
    (tmp_path / "weights.h5").write_bytes(b"x")
    (tmp_path / "folder.keras").mkdir()
    for path in (tmp_path, tmp_path / "weights.h5", tmp_path / "folder.keras"):
        with pytest.raises(ValueError, match=f"{path.name} is no .keras file, no .tflite file and no folder"):
            load_features(path)


def test_tflite_without_litert(tmp_path, monkeypatch):
    (tmp_path / "a.tflite").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ImportError, match=r'pip install ".*\[export\]"'):
        load_features(tmp_path / "a.tflite")


# --- names, notes and digests ---


def test_a_files_name_and_note(tmp_path, monkeypatch):
    keras_file(tmp_path / "a net.keras", layers.Flatten())
    monkeypatch.chdir(tmp_path)
    network = load_features("a net.keras")
    assert network.name == "a net.keras"
    note = f"The network in {tmp_path / 'a net.keras'}: values compare only among runs scored with the same file."
    assert network.note == note


def test_the_random_networks_name_and_note(random):
    assert random.name == "random-conv"
    assert random.note == "Fixed random convolutions (seed 0), not Inception: values compare only with each other."


def test_the_digest_of_a_file_is_that_of_its_content(tmp_path, random):
    path = keras_file(tmp_path / "a.keras", layers.Flatten(), layers.Dense(2))
    first = load_features(path).digest
    assert len(first) == 64
    assert int(first, 16) != int(random.digest, 16)
    assert load_features(path.rename(tmp_path / "b.keras")).digest == first
    keras_file(path, layers.Flatten(), layers.Dense(2))  # other weights
    assert load_features(path).digest != first


def test_the_digest_of_a_saved_model_is_of_all_its_files(tmp_path):
    folder = saved_model(tmp_path / "a", means)
    digests = [load_features(folder).digest, load_features(folder).digest]
    assert digests[0] == digests[1]
    (folder / "assets").mkdir(exist_ok=True)
    for name, content in (("x", b"1"), ("x", b"2"), ("y", b"2")):
        for old in (folder / "assets").iterdir():
            old.unlink()
        (folder / "assets" / name).write_bytes(content)
        digests.append(load_features(folder).digest)
    assert len(set(digests)) == 4
    moved = folder.rename(tmp_path / "b")
    assert load_features(moved).digest == digests[-1]


def test_the_preprocessing_and_the_random_weights_and_version_are_in_the_digest(random, tmp_path, monkeypatch):
    path = keras_file(tmp_path / "a.keras", layers.Flatten())
    before = load_features(path).digest
    state = np.random.RandomState
    monkeypatch.setattr(np.random, "RandomState", lambda seed: state(seed + 1))
    assert load_features("random").digest != random.digest
    monkeypatch.setattr(np.random, "RandomState", state)
    monkeypatch.setattr(features, "_RANDOM_VERSION", features._RANDOM_VERSION + 1)
    other = load_features("random").digest
    assert other != random.digest
    monkeypatch.setattr(features, "PREPROCESSING", features.PREPROCESSING + 1)
    assert load_features("random").digest != other
    assert load_features(path).digest != before


def test_the_digest_of_arrays():
    array = np.arange(6, dtype=np.float32)
    digests = [features._arrays_digest(arrays) for arrays in ([array], [array.reshape(2, 3)], [array + 1], [array] * 2)]
    assert len(set(digests)) == 4
    assert digests[0] == hashlib.sha256(b"<f4 (6,) " + array.tobytes()).hexdigest()


# --- inception ---


def small_inception(weights):
    """Another network with the names of Inception's layers."""
    assert weights == "imagenet"
    image = keras.Input((12, 10, 3))
    pooled = layers.GlobalMaxPooling2D(name="avg_pool")(layers.ReLU()(image))
    return keras.Model(image, layers.Dense(4, "softmax")(pooled))


def test_inception_by_its_layers(monkeypatch):
    monkeypatch.setattr(keras.applications, "InceptionV3", small_inception)
    policy = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        network = load_features("inception")
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy(policy)
    assert (network.name, network.size, network.dimension) == ("inception-v3-imagenet", (12, 10), 3)
    assert network.note.startswith("Keras's ImageNet Inception-v3, not the network of published FID and KID figures")
    images = noise(2, 12, 10, 3)
    values, probabilities = network(images)
    expected = np.maximum(images / 127.5 - 1, 0).max((1, 2))
    np.testing.assert_allclose(values, expected, atol=1e-6)  # bfloat16 would be off by 1e-3
    assert probabilities.shape == (2, 4)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    assert load_features("inception").digest != network.digest  # other weights


@pytest.mark.parametrize("home", ["there", "missing"])
def test_inception_offline(tmp_path, monkeypatch, home):
    def fail(weights):
        raise failure

    (tmp_path / "there").mkdir()
    failure = Exception("URL fetch failure on https://storage: None -- [Errno -2] Name or service not known")
    monkeypatch.setattr(keras.applications, "InceptionV3", fail)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / home))
    with pytest.raises(OSError, match=r"could not be fetched \(URL fetch failure .*\)") as caught:
        load_features("inception")
    folder = tmp_path / "there" if home == "there" else "/tmp/.keras"  # where Keras goes when it cannot write
    file = f"{folder}/models/inception_v3_weights_tf_dim_ordering_tf_kernels.h5"
    assert f"They belong in {file}: run this once with a connection, copy that file" in str(caught.value)
    assert caught.value.__cause__ is failure


@pytest.mark.slow
def test_keras_without_a_connection_looks_where_the_error_says(tmp_path):
    """A process of its own: Keras reads KERAS_HOME when it is imported."""
    code = "from ugatit_tf.evaluation.features import load_features; load_features('inception')"
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:1")
    environment = {**os.environ, **proxies, "KERAS_HOME": str(tmp_path), "no_proxy": "", "NO_PROXY": ""}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("OSError: The ImageNet weights of Inception-v3 could not be fetched (URL fetch failure on")
    assert f"They belong in {tmp_path}/models/inception_v3_weights_tf_dim_ordering_tf_kernels.h5:" in last
    (tmp_path / "models").rmdir()  # Keras made it, and left nothing in it


@pytest.mark.slow
def test_inception_itself_without_its_weights(monkeypatch):
    real = keras.applications.InceptionV3
    monkeypatch.setattr(keras.applications, "InceptionV3", lambda weights: real(weights=None))
    network = load_features("inception")
    values, probabilities = network(noise(2, 60, 50, 3))
    assert (network.size, network.dimension) == ((299, 299), 2048)
    assert (values.shape, probabilities.shape) == ((2, 2048), (2, 1000))
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-4)
