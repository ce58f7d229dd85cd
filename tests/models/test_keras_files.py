"""Keras's own files of our networks and layers: what is saved comes back bit for bit, and what cannot be is refused."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import draw_all, images

from ugatit_tf.models import Discriminator, Generator, PatchGAN, ResNetGenerator
from ugatit_tf.models.cyclegan import _ResBlock
from ugatit_tf.models.generator import ConvNorm, DecoderBlock, ResBlock
from ugatit_tf.models.network import PRECISIONS

LIGHT = {"light": True, "ch": 2, "n_res": 1, "img_size": 16}
NETWORKS = {
    "light": lambda **dtype: Generator(**LIGHT, smoothing=False, seed=[5, 1], name="gen_a2b", **dtype),
    "full": lambda **dtype: Generator("pytorch", ch=2, n_res=1, img_size=16, **dtype),
    "ablation": lambda **dtype: Generator(**LIGHT, norm="gn", cam=False, **dtype),
    "discriminator": lambda **dtype: Discriminator(ch=2, levels=2, **dtype),
    "resnet": lambda **dtype: ResNetGenerator(ch=2, n_res=1, img_size=16, **dtype),
    "patchgan": lambda **dtype: PatchGAN(ch=2, **dtype),
}


def equal(outputs, others):
    pairs = zip(tf.nest.flatten(outputs), tf.nest.flatten(others), strict=True)
    return all(p is q is None or np.array_equal(p, q) for p, q in pairs)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_keras_file_gives_back_every_bit(tmp_path, name):
    network = draw_all(NETWORKS[name]())
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    assert type(loaded) is type(network)
    assert loaded.get_config() == network.get_config()
    assert [v.path for v in loaded.variables] == [v.path for v in network.variables]
    assert equal(loaded.variables, network.variables)
    size = 24 if name in ("discriminator", "patchgan") else 16
    assert equal(loaded(images(1, size, size)), network(images(1, size, size)))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_the_precision_comes_back(tmp_path, precision):
    network = draw_all(NETWORKS["light"](dtype=PRECISIONS[precision]))
    other = draw_all(NETWORKS["light"]())
    other.set_precision(precision)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    assert loaded.precision == network.precision == precision
    policies = [[layer.compute_dtype for layer in net._flatten_layers()] for net in (loaded, network, other)]
    assert policies[0] == policies[1] == policies[2]
    assert equal(loaded(images(1, 16, 16)), other(images(1, 16, 16)))
    assert loaded.copy().precision == "float32"


def test_a_policy_that_no_precision_has():
    with pytest.raises(
        ValueError, match="dtype must be one of float32, mixed_bfloat16, mixed_float16; received 'float64'"
    ):
        NETWORKS["light"](dtype="float64")


@pytest.mark.slow
def test_a_new_process_needs_one_import(tmp_path):
    """`import ugatit_tf` after Keras, or `import ugatit_tf.models` at any time."""
    network = draw_all(NETWORKS["light"]())
    network.save(tmp_path / "network.keras")
    np.save(tmp_path / "expected.npy", network(images(1, 16, 16))[0])
    code = f"""
import sys, keras
assert "ugatit_tf" not in sys.modules
import ugatit_tf
import numpy as np
x = np.random.default_rng(0).uniform(-1, 1, (1, 16, 16, 3)).astype("float32")
found = keras.models.load_model({str(tmp_path / "network.keras")!r})(x)[0]
print(np.abs(found - np.load({str(tmp_path / "expected.npy")!r})).max())
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(result.stdout) == 0.0


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.keras; received .*net\.h5"):
        NETWORKS["light"]().save(tmp_path / "net.h5")
    assert not list(tmp_path.iterdir())


def test_keras_export_and_tensorflows_saved_model_take_any_size(tmp_path):
    """Neither needs a call before."""
    network = draw_all(NETWORKS["light"]())
    network.export(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(tmp_path / "exported")
    tf.saved_model.save(network, str(tmp_path / "saved"))
    saved = tf.saved_model.load(tmp_path / "saved")  # each is held: a function does not hold its variables
    signature = saved.signatures["serving_default"]
    for batch in (images(1, 16, 16), images(2, 24, 20)):
        expected = network(batch)
        # another order of operations in the graph than in eager calls, as in tests/export
        for results in (exported.serve(batch), [signature(tf.constant(batch))[f"output_{i}"] for i in range(3)]):
            for result, output in zip(results, expected, strict=True):
                np.testing.assert_allclose(result, output, rtol=1e-5, atol=1e-5)


def test_without_cam_export_says_what_it_lacks(tmp_path):
    with pytest.raises(ValueError, match="gives None for its logits, which a SavedModel cannot hold"):
        NETWORKS["ablation"]().export(tmp_path / "exported")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["light", "ablation"])
def test_predict_summary_and_clone(name, capsys):
    network = draw_all(NETWORKS[name]())
    outputs = [output for output in network(images(2, 16, 16)) if output is not None]
    for found, expected in zip(network.predict(images(2, 16, 16), verbose=0), outputs, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    network.summary()
    assert f"{network.count_params():,}" in capsys.readouterr().out
    clone = keras.models.clone_model(network)  # Keras's clones begin anew
    assert clone.get_config() == network.get_config()


@pytest.mark.parametrize(
    ("make", "inputs"),
    [
        (lambda: ConvNorm(4, 3, 2, "pytorch", relu=False, dtype="mixed_bfloat16"), 1),
        (lambda: ResBlock(4, "pytorch"), 1),
        (lambda: DecoderBlock(4, smoothing=False), 3),
        (lambda: DecoderBlock(4, "pytorch", norm="adain"), 3),
        (lambda: DecoderBlock(4, norm="gn", dtype="mixed_float16"), 1),
        (lambda: _ResBlock(4), 1),
    ],
    ids=["conv", "res", "adalin", "adain", "gn", "resnet"],
)
def test_blocks_in_models_of_others(tmp_path, make, inputs):
    """A block is built from shapes alone, keeps its precision, and comes back with a functional model."""
    symbols = [keras.Input(shape) for shape in ((6, 8, 4), (4,), (4,))[:inputs]]
    model = keras.Model(symbols, make()(*symbols))
    draw_all(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    block, other = model.layers[-1], loaded.layers[-1]
    assert other.get_config() == block.get_config()
    assert [layer.dtype_policy.name for layer in other._flatten_layers()] == [block.dtype_policy.name] * len(
        list(block._flatten_layers())
    )
    draws = [np.random.default_rng(i).normal(size=(2, *x.shape[1:])).astype("float32") for i, x in enumerate(symbols)]
    assert equal(loaded(draws), model(draws))
    alone = make()
    alone.build((None, None, None, 4))
    assert [v.shape for v in alone.variables] == [v.shape for v in block.variables]


@pytest.mark.parametrize("name", ["light", "discriminator", "resnet", "patchgan"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            np.zeros((24, 24, 3), "float32"),
            r"shape \[N, H, W, 3\]; received \(24, 24, 3\). Add the batch axis: images\[None\]",
        ),
        (np.zeros((1, 3, 24, 24), "float32"), r"received \(1, 3, 24, 24\). Expected RGB with the channels last"),
        (np.zeros((1, 24, 24, 4), "float32"), "Expected RGB"),
        (np.zeros((1, 24, 24, 3), "uint8"), r"floats in \[-1, 1\]; received uint8. Convert: images / 127.5 - 1"),
        (np.full((1, 24, 24, 3), 255.0), r"in \[-1, 1\]; received values up to 255. .* convert: images / 127.5 - 1"),
    ],
    ids=["one", "channels first", "rgba", "uint8", "0 to 255"],
)
def test_images_that_are_none(name, given, message):
    network = NETWORKS[name]()
    with pytest.raises(ValueError, match=message):
        network(given)
    if given.max() < 255:  # inside a graph there are no values to look at
        with pytest.raises(ValueError, match=message):
            tf.function(network)(given)


def test_noise_around_images_is_taken():
    NETWORKS["light"]()(3 * images(1, 16, 16))
