"""The generator: shapes, sizes, weights by flavor and seed, precision, and what it refuses."""

import numpy as np
import pytest
import tensorflow as tf
from networks import draw_all, images

from ugatit_tf.models import Generator


def small(flavor="tf1", **values):
    return Generator(flavor, **{"light": True, "ch": 2, "n_res": 1, **values})


@pytest.fixture(scope="module")
def light():
    return small()


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
def test_light_takes_any_batch_and_any_multiples_of_4(flavor):
    generator = small(flavor)
    for shape in ((1, 8, 8), (3, 16, 28), (2, 36, 12)):
        image, cam_logit, heatmap = generator(images(*shape), training=False)
        assert image.shape == (*shape, 3)
        assert cam_logit.shape == (shape[0], 2)
        assert heatmap.shape == (shape[0], shape[1] // 4, shape[2] // 4, 1)
        assert {x.dtype.name for x in (image, cam_logit, heatmap)} == {"float32"}
        assert np.abs(image).max() <= 1


def test_unknown_sizes_in_a_graph(light):
    """One trace of unknown batch, height and width serves every size."""
    traced = tf.function(lambda x: light(x, training=False), input_signature=[tf.TensorSpec((None, None, None, 3))])
    for shape in ((1, 8, 12), (2, 16, 8)):
        x = images(*shape)
        for got, expected in zip(traced(x), light(x, training=False), strict=True):
            np.testing.assert_allclose(got, expected, atol=1e-4)  # float32 in another order, through norms of tiny maps


@pytest.mark.parametrize("values", [{"light": True}, {"light": False, "img_size": 16}])
def test_images_of_a_batch_do_not_see_each_other(values):
    generator = draw_all(small(**values))
    batch = images(3, 16, 16)
    together = generator(batch, training=False)
    alone = [generator(image[None], training=False) for image in batch]
    for whole, *parts in zip(together, *alone, strict=True):
        # float32 rounding of another convolution blocking, amplified by norms over maps of 4x4
        np.testing.assert_allclose(whole, np.concatenate(parts), rtol=1e-4, atol=1e-4)
        assert np.abs(whole[1] - whole[0]).max() > 0.01


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 10, 8), r"height must be a multiple of 4 .*received images of shape \(1, 10, 8, 3\).*Resize to 8 or 12"),
        ((1, 8, 30), r"width must be a multiple of 4 .*Resize to 28 or 32"),
        ((1, 8, 4), "width must be a multiple of 4 and at least 8.*Resize to 8"),
    ],
)
def test_sizes_that_a_light_one_refuses(light, shape, message):
    with pytest.raises(ValueError, match=message):
        light(images(*shape))


@pytest.mark.parametrize("shape", [(1, 20, 20), (1, 16, 20), (1, 8, 32)])
def test_a_full_one_takes_its_own_size_only(shape):
    """8 x 32 has as many pixels as 16 x 16: it must not pass by its count."""
    with pytest.raises(ValueError, match="built for 16 px: give images of that height and width, or use a light"):
        small(light=False, img_size=16)(images(*shape))


@pytest.mark.parametrize("training", [False, True])
def test_a_call_changes_nothing(light, training):
    before = [v.numpy() for v in light.variables]
    light(images(1, 8, 8), training=training)
    assert all(np.array_equal(v, value) for v, value in zip(light.variables, before, strict=True))
    assert not light.non_trainable_variables


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
def test_every_weight_has_a_finite_gradient(flavor):
    generator = small(flavor, n_res=2, light=False, img_size=16)
    with tf.GradientTape() as tape:
        image, cam_logit, _ = generator(images(2, 16, 16), training=True)
        loss = tf.reduce_sum(image * images(2, 16, 16)[::-1]) + tf.reduce_sum(cam_logit)
    gradients = tape.gradient(loss, [v.value for v in generator.trainable_variables])
    for variable, gradient in zip(generator.trainable_variables, gradients, strict=True):
        assert np.isfinite(gradient).all()
        # A norm takes the bias of the convolution before it out again (tf1), so that one's may be 0.
        assert variable.name == "bias" or np.abs(gradient).max() > 0, variable.path


def test_the_seed_decides_the_weights():
    first, same, other = (small(seed=seed) for seed in (3, 3, 4))
    drawn = [v for v in first.variables if v.name == "kernel"]
    for mine, again, another in zip(first.variables, same.variables, other.variables, strict=True):
        np.testing.assert_array_equal(mine, again)
        assert mine.name != "kernel" or not np.array_equal(mine, another)
    # Layers of one shape (of 72 numbers and more) do not get one draw.
    assert len({v.numpy().tobytes() for v in drawn}) == len(drawn)


def test_initial_weights_by_flavor():
    """tf1: kernels normal(0, 0.02), biases 0. pytorch: uniform within 1 / sqrt(fan-in), the CAM's bias too."""
    kernel = small(ch=16).encoder_blocks[0].first.conv.kernel.numpy()
    assert kernel.std() == pytest.approx(0.02, rel=0.02)  # 36,864 draws: the standard error is 0.4 %
    assert abs(kernel.mean()) < 4 * 0.02 / 192  # four standard errors
    generator = small("pytorch", ch=16)
    for kernel, fan_in in ((generator.encoder_blocks[0].first.conv.kernel, 9 * 64), (generator.hidden[0].kernel, 64)):
        bound = fan_in**-0.5
        assert 0.99 * bound < np.abs(kernel).max() <= bound
        assert np.std(kernel) == pytest.approx(bound / 3**0.5, rel=0.03)  # 4,096 draws and more: about 0.7 %
    assert 0.5 * 128**-0.5 < np.abs(generator.cam.bias).max() <= 128**-0.5
    assert all(not v.numpy().any() for v in small().variables if v.name == "bias")


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
def test_precision_can_be_changed_and_changed_back(flavor, precision):
    generator, x = small(flavor, ch=8), images(1, 16, 16)
    exact = [np.array(y) for y in generator(x, training=False)]
    generator.set_precision(precision)
    rough = generator(x, training=False)
    assert {y.dtype.name for y in rough} == {"float32"}
    assert generator.stem.conv.compute_dtype == precision
    for dense in (*generator.hidden, generator.gamma, generator.beta):
        assert dense.compute_dtype == "float32"
    assert {v.dtype for v in generator.variables} == {"float32"}
    np.testing.assert_allclose(rough[0], exact[0], atol=0.05)  # 8 bits of mantissa through twenty layers
    assert not np.array_equal(rough[0], exact[0])
    generator.set_precision("float32")
    for again, first in zip(generator(x, training=False), exact, strict=True):
        np.testing.assert_array_equal(again, first)


def test_configuration_gives_the_same_network():
    generator = small("pytorch", n_res=2, smoothing=False, seed=5, name="gen_a2b", light=False, img_size=12)
    again = Generator.from_config(generator.get_config())
    assert again.get_config() == generator.get_config()
    x = images(1, 12, 12)
    for got, expected in zip(again(x, training=False), generator(x, training=False), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("flavor", "smoothing", "used"), [("tf1", True, True), ("tf1", False, False), ("pytorch", True, False)]
)
def test_smoothing_is_tf1s_alone(flavor, smoothing, used):
    block = small(flavor, smoothing=smoothing).decoder_blocks[0]
    assert (block.norm1.smoothing, block.norm2.smoothing) == (used, used)


def formula(c, n_res, full_size=None):
    """Weights of a generator, pytorch flavor, layer by layer as the reference has them."""
    deep = 4 * c
    stem_and_out = 2 * 49 * 3 * c
    down = 9 * c * 2 * c + 9 * 2 * c * deep
    blocks = 2 * n_res * 2 * 9 * deep * deep + n_res * 2 * deep  # encoder and decoder; the rho of AdaLIN
    cam = 2 * deep + 2 * deep * deep + deep
    pixels = (full_size // 4) ** 2 if full_size else 1
    mlp = pixels * deep * deep + 3 * deep * deep
    up = 9 * deep * 2 * c + 9 * 2 * c * c + 3 * (2 * c + c)  # with LIN's rho, gamma, beta
    return stem_and_out + down + blocks + cam + mlp + up


@pytest.mark.parametrize("full_size", [None, 12])
def test_known_parameter_counts(full_size):
    """The network has the formula's weights, and the formula gives the known 10.6 M and 279 M at ch 64."""
    generator = small("pytorch", ch=3, n_res=2, light=full_size is None, img_size=full_size or 256)
    assert generator.count_params() == formula(3, 2, full_size)
    assert formula(64, 4, 256 if full_size else None) / 1e6 == pytest.approx(279 if full_size else 10.6, rel=2e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("light", [True, False])
@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
def test_keras_weights_file_takes_every_variable_exactly(tmp_path, flavor, light, precision):
    """Layers in lists, and the one that tf1's CAM uses twice, included; no two variables have equal values."""
    generator = small(flavor, light=light, n_res=2, img_size=16)
    for i, variable in enumerate(generator.variables):
        variable.assign(np.random.default_rng(i).normal(size=variable.shape))
    generator.set_precision(precision)
    generator.save_weights(tmp_path / "a2b.weights.h5")
    other = Generator.from_config({**generator.get_config(), "seed": 9, "name": "another"})
    other.load_weights(tmp_path / "a2b.weights.h5")
    assert len(other.variables) == (64 if flavor == "tf1" else 32)
    for got, expected in zip(other.variables, generator.variables, strict=True):
        assert got.numpy().tobytes() == expected.numpy().tobytes(), got.path
    if precision == "float32":
        x = images(1, 16, 16)
        np.testing.assert_array_equal(other(x, training=False)[0], generator(x, training=False)[0])
