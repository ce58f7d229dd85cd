"""The discriminator, with CAM and without: shapes, what training changes, weights, precision, and what it refuses."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from networks import draw_all, images, pass_through

from ugatit_tf.models import Discriminator


@pytest.mark.parametrize(
    ("flavor", "levels", "size", "logit", "heatmap"),
    [
        # tf1 keeps H / 2^levels; in pytorch each of the last two convolutions takes one row and column off.
        ("tf1", 3, (32, 32), (4, 4), (4, 4)),
        ("pytorch", 3, (32, 32), (2, 2), (3, 3)),
        ("tf1", 1, (16, 24), (8, 12), (8, 12)),
        ("pytorch", 1, (16, 24), (6, 10), (7, 11)),
        # Known: 256 px, global: 8x8 in tf1 and 6x6 in pytorch.
        ("tf1", 5, (256, 256), (8, 8), (8, 8)),
        ("pytorch", 5, (256, 256), (6, 6), (7, 7)),
    ],
)
def test_shapes(flavor, levels, size, logit, heatmap):
    outputs = Discriminator(flavor, ch=1, levels=levels)(images(2, *size), training=False)
    assert [tuple(x.shape) for x in outputs] == [(2, *logit, 1), (2, 2), (2, *heatmap, 1)]
    assert {x.dtype.name for x in outputs} == {"float32"}


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_smallest_image(flavor, levels):
    discriminator, smallest = Discriminator(flavor, ch=2, levels=levels), 3 * 2**levels
    discriminator(images(1, smallest, smallest), training=False)
    for size in ((smallest - 1, smallest), (smallest, smallest - 1)):
        message = rf"{levels} stride-2 levels needs images of {smallest} px or more.*\(1, {size[0]}, {size[1]}, 3\)"
        with pytest.raises(ValueError, match=f"{message}.*smaller n_dis"):
            discriminator(images(1, *size), training=False)


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
def test_images_of_a_batch_do_not_see_each_other(flavor):
    discriminator, batch = draw_all(Discriminator(flavor, ch=2, levels=2)), images(3, 16, 20)
    together = discriminator(batch, training=False)
    alone = [discriminator(image[None], training=False) for image in batch]
    for whole, *parts in zip(together, *alone, strict=True):
        np.testing.assert_allclose(whole, np.concatenate(parts), rtol=1e-5, atol=1e-5)  # float32, another blocking
        assert np.abs(whole[1] - whole[0]).max() > 0.01


def test_training_changes_the_spectral_norm_vectors_and_inference_nothing():
    discriminator, x = draw_all(Discriminator(ch=2, levels=2)), images(1, 16, 16)
    before = [v.numpy() for v in discriminator.variables]

    def changed():
        pairs = zip(discriminator.variables, before, strict=True)
        return {variable.path for variable, value in pairs if not np.array_equal(variable, value)}

    discriminator(x, training=False)
    assert not changed()
    discriminator(x, training=True)
    vectors = {v.path for v in discriminator.non_trainable_variables}
    assert {path.rsplit("/")[-1] for path in vectors} == {"u", "v"}
    assert vectors == {v.path for v in discriminator.variables if v.name in ("u", "v")}
    # With one output, in the CAM's dense layer and in the last convolution, u is 1 or -1 and may stay so.
    assert vectors >= changed() >= {v.path for v in discriminator.non_trainable_variables if v.shape != (1,)}


def test_one_power_iteration_a_call():
    """Every layer's u after one call in training is the one that numpy makes from the kernel and the u before."""
    discriminator = Discriminator(ch=2, levels=2)
    layers = [*discriminator.convs, discriminator.last_conv]
    expected = []
    for layer in layers:
        kernel = layer.kernel.numpy().reshape(-1, layer.filters).astype("float64")
        v = kernel @ layer.u.numpy()
        u = v @ kernel
        expected.append(u / np.linalg.norm(u))
    discriminator(images(1, 16, 16), training=True)
    for layer, u in zip(layers, expected, strict=True):
        np.testing.assert_allclose(layer.u, u, atol=1e-6)  # float32 units


def test_without_spectral_norm():
    discriminator, x = Discriminator(ch=2, levels=2, sn=False), images(1, 16, 16)
    assert not discriminator.non_trainable_variables
    np.testing.assert_array_equal(discriminator(x, training=True)[0], discriminator(x, training=False)[0])


@pytest.mark.parametrize(("flavor", "cam"), [("tf1", True), ("pytorch", True), ("tf1", False)])
def test_every_weight_has_a_finite_gradient(flavor, cam):
    discriminator = Discriminator(flavor, ch=2, levels=2, cam=cam)
    with tf.GradientTape() as tape:
        logit, cam_logit, _ = discriminator(images(2, 16, 16), training=True)
        loss = tf.reduce_sum((logit - 1) ** 2) + (tf.reduce_sum((cam_logit - 1) ** 2) if cam else 0.0)
    for gradient in tape.gradient(loss, [v.value for v in discriminator.trainable_variables]):
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0


def test_the_seed_decides_the_weights():
    first, same, other = (Discriminator(ch=2, levels=2, seed=seed) for seed in (3, 3, 4))
    for mine, again, another in zip(first.variables, same.variables, other.variables, strict=True):
        np.testing.assert_array_equal(mine, again)
        # a bias is 0 in tf1; a vector of one number is 1 or -1
        assert mine.name == "bias" or mine.shape == (1,) or not np.array_equal(mine, another)


def test_initial_weights_by_flavor():
    """As in the generator; u is a unit vector and v fits the kernel as drawn, not as first built."""
    kernel = Discriminator(ch=16, levels=1).last_conv.kernel.numpy()
    assert kernel.std() == pytest.approx(0.02, rel=0.04)  # 8,192 draws: the standard error is 0.8 %
    layer = Discriminator("pytorch", ch=16, levels=1).last_conv
    for values in (layer.kernel, layer.bias):
        bound = (16 * 16) ** -0.5
        assert 0.9 * bound < np.abs(values).max() <= bound
    u, v = layer.u.numpy(), layer.kernel.numpy().reshape(256, 32) @ layer.u.numpy()
    assert np.linalg.norm(u) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(layer.v, v / np.linalg.norm(v), atol=1e-6)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    ("flavor", "sn", "cam"), [("tf1", True, True), ("tf1", False, True), ("pytorch", True, True), ("tf1", True, False)]
)
def test_precision_can_be_changed_and_changed_back(flavor, sn, cam, precision):
    discriminator, x = Discriminator(flavor, ch=8, levels=2, sn=sn, cam=cam), images(2, 16, 16)

    def outputs():
        return [np.array(y) for y in discriminator(x, training=False) if y is not None]

    exact = outputs()
    discriminator.set_precision(precision)
    rough = outputs()
    assert {y.dtype.name for y in rough} == {"float32"}
    assert discriminator.last_conv.compute_dtype == precision
    assert {v.dtype for v in discriminator.variables} == {"float32"}
    for got, expected in zip(rough, exact, strict=True):
        # 8 bits of mantissa through six layers, relative to the largest value; a CAM logit is a sum that cancels
        np.testing.assert_allclose(got, expected, atol=0.1 * np.abs(expected).max())
    assert not np.array_equal(rough[0], exact[0])
    discriminator.set_precision("float32")
    for again, first in zip(outputs(), exact, strict=True):
        np.testing.assert_array_equal(again, first)


@pytest.mark.parametrize("cam", [True, False])
def test_configuration_gives_the_same_network(cam):
    discriminator = Discriminator(ch=3, levels=2, sn=False, cam=cam, seed=5, name="dis_local_b")
    again = Discriminator.from_config(discriminator.get_config())
    assert again.get_config() == discriminator.get_config()
    x = images(1, 16, 16)
    np.testing.assert_array_equal(again(x, training=False)[0], discriminator(x, training=False)[0])


@pytest.mark.parametrize(("flavor", "sn"), [("tf1", False), ("pytorch", True)])
def test_without_cam(flavor, sn):
    """It is the discriminator with CAM whose attention gives the map back; as a graph, too, where a result is None."""
    plain, attending = (draw_all(Discriminator(flavor, ch=2, levels=2, sn=sn, cam=cam)) for cam in (False, True))
    assert not [v.path for v in plain.variables if "cam" in v.path]
    theirs = {v.path.partition("/")[2]: v for v in plain.variables}
    for variable in attending.variables:
        if "cam" not in variable.path:
            variable.assign(theirs.pop(variable.path.partition("/")[2]))
    assert not theirs
    pass_through(attending.cam)
    x = images(2, 16, 24)
    logit, _, heatmap = attending(x, training=False)
    for call in (plain, tf.function(plain)):
        got = call(x, training=False)
        assert got[1] is None
        np.testing.assert_allclose(got[0], logit, atol=1e-5)  # of values up to 5, in another blocking
        np.testing.assert_allclose(got[2], heatmap, rtol=1e-5, atol=1e-5)
    assert np.ptp(heatmap) > 1


def formula(c, levels):
    """Trainable weights, pytorch flavor: convolutions with bias, CAM, and the last convolution without."""
    widths = [3, *(c * 2**i for i in range(levels + 1))]
    convs = sum(16 * a * b + b for a, b in itertools.pairwise(widths))
    top = widths[-1]
    return convs + 2 * top + 2 * top * top + top + 16 * top


def test_known_parameter_counts():
    """The network has the formula's weights, and the formula gives the known 112.8 M for all four at ch 64."""
    for levels in (1, 3):
        discriminator = Discriminator("pytorch", ch=2, levels=levels)
        assert sum(v.numpy().size for v in discriminator.trainable_variables) == formula(2, levels)
    assert 2 * (formula(64, 5) + formula(64, 3)) / 1e6 == pytest.approx(112.8, abs=0.05)
