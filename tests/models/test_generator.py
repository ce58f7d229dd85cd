"""The generator and its ablations: shapes, sizes, weights by flavor and seed, precision, and what it refuses."""

import math

import numpy as np
import pytest
import tensorflow as tf
from networks import draw_all, images, pass_through

from ugatit_tf.models import Generator

ABLATIONS = [{"norm": "in"}, {"norm": "ln"}, {"norm": "adain"}, {"norm": "gn"}, {"cam": False}]
MLP = ("hidden_0", "hidden_1", "gamma", "beta")


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


@pytest.mark.parametrize("values", [{}, *ABLATIONS], ids=str)
@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
def test_every_weight_has_a_finite_gradient(flavor, values):
    generator = small(flavor, n_res=2, light=False, img_size=16, **values)
    with tf.GradientTape() as tape:
        image, cam_logit, _ = generator(images(2, 16, 16), training=True)
        loss = tf.reduce_sum(image * images(2, 16, 16)[::-1])
        loss += 0.0 if cam_logit is None else tf.reduce_sum(cam_logit)
    gradients = tape.gradient(loss, [v.value for v in generator.trainable_variables])
    for variable, gradient in zip(generator.trainable_variables, gradients, strict=True):
        assert np.isfinite(gradient).all()
        # A norm takes the bias of the convolution before it out again (tf1), so that one's may be 0.
        assert variable.name == "bias" or np.abs(gradient).max() > 0, variable.path


@pytest.mark.parametrize("values", [{}, {"norm": "gn", "cam": False}], ids=str)
def test_the_seed_decides_the_weights(values):
    first, same, other = (small(seed=seed, **values) for seed in (3, 3, 4))
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
@pytest.mark.parametrize(
    ("flavor", "values"), [("tf1", {}), ("pytorch", {}), *(("tf1", v) for v in ABLATIONS)], ids=str
)
def test_precision_can_be_changed_and_changed_back(flavor, values, precision):
    generator, x = small(flavor, ch=8, **values), images(1, 16, 16)

    def outputs():
        return [np.array(y) for y in generator(x, training=False) if y is not None]

    exact = outputs()
    generator.set_precision(precision)
    rough = outputs()
    assert {y.dtype.name for y in rough} == {"float32"}
    assert generator.stem.conv.compute_dtype == precision
    assert generator.decoder_blocks[0].conv1.compute_dtype == precision
    behind_style = [layer for layer in generator._flatten_layers() if layer.name in MLP]
    assert len(behind_style) == (4 if generator.adaptive else 0)
    assert {layer.compute_dtype for layer in behind_style} <= {"float32"}
    assert {v.dtype for v in generator.variables} == {"float32"}
    np.testing.assert_allclose(rough[0], exact[0], atol=0.05)  # 8 bits of mantissa through twenty layers
    assert not np.array_equal(rough[0], exact[0])
    generator.set_precision("float32")
    for again, first in zip(outputs(), exact, strict=True):
        np.testing.assert_array_equal(again, first)


@pytest.mark.parametrize("values", [{}, {"norm": "adain"}, {"norm": "gn", "cam": False}], ids=str)
def test_configuration_gives_the_same_network(values):
    generator = small("pytorch", n_res=2, smoothing=False, seed=5, name="gen_a2b", light=False, img_size=12, **values)
    again = Generator.from_config(generator.get_config())
    assert again.get_config() == generator.get_config()
    draw_all(generator).set_precision("bfloat16")
    copy = generator.copy()
    assert copy.precision == "float32"
    generator.set_precision("float32")
    draw_all(again)
    x = images(1, 12, 12)
    for same in (again, copy):
        np.testing.assert_array_equal(same(x, training=False)[0], generator(x, training=False)[0])


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


# The paper's ablations


ADAPTIVE_NORM, OWN_STYLE = {"norm1/rho", "norm2/rho"}, {f"norm{i}/{name}" for i in (1, 2) for name in ("gamma", "beta")}


@pytest.mark.parametrize("light", [True, False])
@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
@pytest.mark.parametrize(
    ("norm", "in_blocks", "rho_in_upsampling"),
    [
        ("adalin", ADAPTIVE_NORM, True),
        ("adain", set(), False),
        ("in", OWN_STYLE, False),
        ("ln", OWN_STYLE, False),
        ("gn", OWN_STYLE, False),
    ],
)
def test_weights_and_shapes_of_each_norm(norm, in_blocks, rho_in_upsampling, flavor, light):
    generator = small(flavor, norm=norm, light=light, img_size=16)
    paths = [v.path.partition("/")[2] for v in generator.variables]
    assert len(set(paths)) == len(paths)
    block = {path.removeprefix("decoder_block_0/") for path in paths if path.startswith("decoder_block_0/norm")}
    assert block == in_blocks
    for i in range(2):
        names = {path.removeprefix(f"up_norm_{i}/") for path in paths if path.startswith(f"up_norm_{i}")}
        assert names == {"gamma", "beta"} | ({"rho"} if rho_in_upsampling else set())
    mlp = {path.partition("/")[0] for path in paths} & set(MLP)
    assert mlp == (set(MLP) if norm in ("adalin", "adain") else set())

    image, cam_logit, heatmap = generator(images(2, 16, 16), training=False)
    assert (image.shape, cam_logit.shape, heatmap.shape) == ((2, 16, 16, 3), (2, 2), (2, 4, 4, 1))
    assert {x.dtype.name for x in (image, cam_logit, heatmap)} == {"float32"}


def normalised(x, groups, unbiased=False):
    """A map [N, H, W, C] less its mean and over its deviation, in groups of channels and double precision."""
    grouped = np.reshape(x, (*x.shape[:3], groups, -1)).astype("float64")
    over = {"axis": (1, 2, 4), "keepdims": True}
    return ((grouped - grouped.mean(**over)) / np.sqrt(grouped.var(ddof=int(unbiased), **over) + 1e-5)).reshape(x.shape)


def by_hand(norm, flavor, layer, x, style=None):
    """What a norm of the decoder is to make of a map: the paper's formula, with `style` or the layer's weights."""
    gamma, beta = (layer.gamma.numpy(), layer.beta.numpy()) if style is None else style[:, :, None, None]
    channels = x.shape[-1]
    unbiased = flavor == "pytorch" and (norm == "adalin" or style is not None)
    instance, whole = normalised(x, channels, unbiased), normalised(x, 1, unbiased)
    if norm == "adalin":
        smoothing = style is not None and flavor == "tf1"
        rho = np.clip(layer.rho.numpy() - 0.1, 0, 1) if smoothing else layer.rho.numpy()
        y = rho * instance + (1 - rho) * whole
    elif norm == "gn":
        y = normalised(x, math.gcd(32, channels))
    else:
        y = whole if norm == "ln" else instance
    return gamma * y + beta


@pytest.mark.parametrize("flavor", ["tf1", "pytorch"])
@pytest.mark.parametrize("norm", ["adalin", "adain", "in", "ln", "gn"])
def test_the_decoder_has_the_norm_that_was_asked_for(norm, flavor):
    """Block and upsampling by formula, from their own convolutions; ch 24 makes 32 groups of 3 channels, then 16."""
    generator = draw_all(small(flavor, norm=norm, ch=24))
    rng = np.random.default_rng(2)
    x = (rng.normal(size=(2, 5, 4, 96)) * rng.uniform(0.5, 3, 96) + rng.normal(size=96) * 2).astype("float32")
    style = rng.normal(size=(2, 2, 96)).astype("float32") if norm in ("adalin", "adain") else None

    block, y = generator.decoder_blocks[0], x
    for conv, layer, relu in ((block.conv1, block.norm1, True), (block.conv2, block.norm2, False)):
        y = conv(np.pad(y, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")).numpy()
        y = by_hand(norm, flavor, layer, y, style)
        y = np.maximum(y, 0) if relu else y
    # float32 through sums of 864 products and two norms, of values up to 10
    np.testing.assert_allclose(block(x, *(() if style is None else style)), x + y, atol=2e-5)

    for conv, layer in zip(generator.up, generator.up_norms, strict=True):
        x = conv(x).numpy()
        expected = np.maximum(by_hand(norm, flavor, layer, x), 0)
        x = layer(x).numpy()
        np.testing.assert_allclose(x, expected, atol=1e-5)


def share(generator, other):
    """Give a generator the weights of another, where it has such."""
    theirs = {v.path.partition("/")[2]: v for v in other.variables}
    for variable in generator.variables:
        if (path := variable.path.partition("/")[2]) in theirs:
            variable.assign(theirs[path])


@pytest.mark.parametrize(("norm", "rho"), [("adain", 1.0), ("in", 1.0), ("ln", 0.0)])
def test_ablations_are_special_cases_of_adalin(norm, rho):
    """AdaIN is AdaLIN with rho 1; IN and LN are it with rho 1 and 0 and a gamma and beta that see no map."""
    ablation, adalin = draw_all(small(norm=norm)), draw_all(small(smoothing=False))
    share(adalin, ablation)
    for variable in adalin.variables:
        if variable.name == "rho":
            variable.assign(np.full(variable.shape, rho))
    if norm != "adain":
        for name in ("gamma", "beta"):
            getattr(adalin, name).kernel.assign(np.zeros((8, 8)))
            for layer in (ablation.decoder_blocks[0].norm1, ablation.decoder_blocks[0].norm2):
                getattr(layer, name).assign(getattr(adalin, name).bias)
    x = images(2, 16, 24)
    np.testing.assert_allclose(ablation(x)[0], adalin(x)[0], atol=1e-5)  # the same sums, perhaps in another order


def test_groups_of_one_channel_are_instance_norm():
    """The 8, 4 and 2 channels of ch 2 leave no groups to share statistics."""
    gn, instance = draw_all(small(norm="gn")), draw_all(small(norm="in"))
    np.testing.assert_allclose(gn(images(2, 16, 16))[0], instance(images(2, 16, 16))[0], atol=1e-5)


@pytest.mark.parametrize("norm", ["in", "ln", "gn"])
def test_without_gamma_and_beta_from_the_map_a_full_one_takes_any_size(norm):
    generator = small(norm=norm, light=False, img_size=256)
    assert generator.fixed_size is None
    assert generator(images(2, 8, 20))[0].shape == (2, 8, 20, 3)
    assert generator.count_params() == small(norm=norm).count_params()  # nothing is left for `light` to decide
    with pytest.raises(ValueError, match="multiple of 4"):
        generator(images(1, 8, 18))


def test_only_gamma_and_beta_from_a_full_map_fix_the_size():
    sizes = [small(norm=norm, light=light, img_size=16).fixed_size for norm in ("adalin", "adain") for light in (0, 1)]
    assert sizes == [16, None, 16, None]


@pytest.mark.parametrize(("flavor", "norm"), [("tf1", "adalin"), ("pytorch", "adalin"), ("tf1", "gn")])
def test_without_cam(flavor, norm):
    """It is the generator with CAM whose attention gives the map back: weight 1 for average pooling, 0 for the rest."""
    plain, attending = draw_all(small(flavor, norm=norm, cam=False)), draw_all(small(flavor, norm=norm))
    assert not [v.path for v in plain.variables if "cam" in v.path]
    assert (
        len(attending.variables) - len(plain.variables) == 4
    )  # kernel, bias and, for logits, two of one or one of two
    share(attending, plain)
    pass_through(attending.cam)
    x = images(2, 16, 24)
    image, cam_logit, heatmap = plain(x, training=False)
    expected = attending(x, training=False)
    assert cam_logit is None
    np.testing.assert_allclose(image, expected[0], atol=1e-6)
    np.testing.assert_allclose(heatmap, expected[2], rtol=1e-5, atol=1e-5)

    y = plain.stem(x)
    for block in (*plain.down, *plain.encoder_blocks):
        y = block(y)
    np.testing.assert_allclose(heatmap, np.sum(y, axis=-1, keepdims=True), rtol=1e-5, atol=1e-5)
    assert np.ptp(heatmap) > 1


def test_without_cam_in_a_graph_of_unknown_sizes():
    generator = draw_all(small(cam=False, norm="gn"))
    traced = tf.function(lambda x: generator(x, training=False), input_signature=[tf.TensorSpec((None, None, None, 3))])
    for shape in ((1, 8, 12), (2, 16, 8)):
        got, expected = traced(images(*shape)), generator(images(*shape), training=False)
        assert got[1] is None
        for mine, theirs in ((got[0], expected[0]), (got[2], expected[2])):
            np.testing.assert_allclose(mine, theirs, atol=1e-4)  # as above
