"""The generator (paper, section 2.1.1 and appendix)."""

import keras
from keras import ops

from ugatit_tf.layers import CAM, LIN, AdaIN, AdaLIN, GroupNorm, InstanceNorm, ReflectPad2D, UpsampleConv2D
from ugatit_tf.layers.cam import heatmap_of
from ugatit_tf.models.network import FLOAT32, Network, check_images, check_size

ADAPTIVE = ("adalin", "adain")


def decoder_norm(kind, flavor, smoothing=True, relu=False, adaptive=True, **kwargs):
    """A norm of the decoder: AdaLIN, or what an ablation has in its place (paper, section 4.3).

    Args:
        kind: one of `ugatit_tf.config.NORMS`. Among all but the first two, gamma (1) and beta (0) are weights.
        flavor, smoothing, relu: see `AdaLIN`.
        adaptive: whether gamma and beta can be given, as to residual blocks. Upsampling has LIN for AdaLIN, and
            instance norm for AdaIN.
        kwargs: `name` and `dtype` of the layer.
    """
    if adaptive and kind == "adalin":
        return AdaLIN(flavor, smoothing and flavor == "tf1", relu, **kwargs)
    if adaptive and kind == "adain":
        return AdaIN(flavor, relu, **kwargs)
    if kind == "adalin":
        return LIN(flavor, relu, **kwargs)
    if kind in ("adain", "in"):
        return InstanceNorm("tf1", relu, by_rows=flavor == "pytorch", **kwargs)
    return GroupNorm(1 if kind == "ln" else 32, relu, by_rows=flavor == "pytorch", **kwargs)


@keras.saving.register_keras_serializable("ugatit_tf")
class ConvNorm(keras.layers.Layer):
    """Reflection padding, convolution, instance norm and, with `relu`, ReLU. [N, H, W, C] to [N, H/s, W/s, filters]."""

    def __init__(self, filters, kernel_size, strides=1, flavor="tf1", relu=True, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.flavor = flavor
        self.relu = relu
        pad = kernel_size // 2
        # With stride 2 the last row and column of a pad of 1 on an even size are never read.
        own = {"dtype": self.dtype_policy}
        self.pad = ReflectPad2D(pad, pad - strides + 1, name="pad", **own)
        self.conv = keras.layers.Conv2D(filters, kernel_size, strides, use_bias=flavor == "tf1", name="conv", **own)
        self.norm = InstanceNorm(flavor, relu, name="norm", **own)

    def build(self, x_shape):
        self.conv.build(x_shape)
        self.norm.build((*x_shape[:-1], self.filters))

    def call(self, x):
        return self.norm(self.conv(self.pad(x)))

    def get_config(self):
        names = ("filters", "kernel_size", "strides", "flavor", "relu")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable("ugatit_tf")
class ResBlock(keras.layers.Layer):
    """`x + f(x)` with two 3x3 convolutions and instance norms. [N, H, W, C] to the same."""

    def __init__(self, filters, flavor="tf1", **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.flavor = flavor
        own = {"flavor": flavor, "dtype": self.dtype_policy}
        self.first = ConvNorm(filters, 3, name="first", **own)
        self.second = ConvNorm(filters, 3, relu=False, name="second", **own)

    def build(self, x_shape):
        self.first.build(x_shape)
        self.second.build(x_shape)

    def call(self, x):
        return x + self.second(self.first(x))

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "flavor": self.flavor}


@keras.saving.register_keras_serializable("ugatit_tf")
class DecoderBlock(keras.layers.Layer):
    """`x + f(x)` with two 3x3 convolutions and two norms; AdaLINs (AdaINs) share one gamma and beta.

    Call:
        x: [N, H, W, C].
        gamma, beta: float32, [N, C], for adaptive norms.
    """

    def __init__(self, filters, flavor="tf1", smoothing=True, norm="adalin", **kwargs):
        super().__init__(autocast=False, **kwargs)  # gamma and beta stay float32
        self.filters = filters
        self.flavor = flavor
        self.smoothing = smoothing
        self.norm = norm
        tf1, own = flavor == "tf1", {"dtype": self.dtype_policy}
        self.pad = ReflectPad2D(1, name="pad", **own)
        self.conv1 = keras.layers.Conv2D(filters, 3, use_bias=tf1, name="conv1", **own)
        self.norm1 = decoder_norm(norm, flavor, smoothing, relu=True, name="norm1", **own)
        self.conv2 = keras.layers.Conv2D(filters, 3, use_bias=tf1, name="conv2", **own)
        self.norm2 = decoder_norm(norm, flavor, smoothing, name="norm2", **own)

    def build(self, x_shape, gamma_shape=None, beta_shape=None):
        for layer in (self.conv1, self.norm1, self.conv2, self.norm2):
            layer.build(x_shape)

    def call(self, x, gamma=None, beta=None):
        style = () if gamma is None else (gamma, beta)
        x = ops.cast(x, self.compute_dtype)
        y = self.norm1(self.conv1(self.pad(x)), *style)
        return x + self.norm2(self.conv2(self.pad(y)), *style)

    def get_config(self):
        names = ("filters", "flavor", "smoothing", "norm")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable("ugatit_tf")
class Generator(Network):
    """Translates images of one domain into the other.

    The weights alone go through Keras's own file: `generator.save_weights("a2b.weights.h5")`, and `load_weights` of a
    generator with the same configuration, take every variable exactly.

    Args:
        flavor, light, ch, n_res, img_size, smoothing, norm: see `ugatit_tf.ModelConfig`.
        cam: attention; without it (ablation) the encoder's map goes on as it is.
        seed: decides the initial weights.

    Call:
        images: float32 in [-1, 1], [N, H, W, 3]. H and W any multiples of 4, or `fixed_size` both where it is not
            None: in a full generator with AdaLIN or AdaIN, whose gamma and beta come from every pixel of the map.

    Returns:
        The translated images in [-1, 1] [N, H, W, 3], the CAM logits [N, 2] and the heatmap [N, H/4, W/4, 1]; float32.
        Without CAM the logits are None, and the heatmap is that of the encoder's map.

    Raises:
        ValueError: the images have no batch axis, another type or range, or a size that this generator cannot take.

    Reference: paper, section 2.1.1; `generator` (TF1), `ResnetGenerator` (PyTorch).
    """

    def __init__(
        self,
        flavor="tf1",
        light=False,
        ch=64,
        n_res=4,
        img_size=256,
        smoothing=True,
        norm="adalin",
        cam=True,
        seed=0,
        name="generator",
        **kwargs,
    ):
        super().__init__(flavor, seed, name=name, **kwargs)
        self.light = light
        self.ch = ch
        self.n_res = n_res
        self.img_size = img_size
        self.smoothing = smoothing
        self.norm = norm
        self.adaptive = norm in ADAPTIVE
        self.fixed_size = img_size if self.adaptive and not light else None
        tf1 = flavor == "tf1"

        # Encoder
        self.stem = ConvNorm(ch, 7, flavor=flavor, name="stem")
        self.down = [ConvNorm(ch * 2 ** (i + 1), 3, 2, flavor=flavor, name=f"down_{i}") for i in range(2)]
        self.encoder_blocks = [ResBlock(4 * ch, flavor, name=f"encoder_block_{i}") for i in range(n_res)]

        # Attention, and gamma and beta from its map
        self.cam = CAM(flavor, name="cam") if cam else None
        if self.adaptive:
            self.hidden = [
                keras.layers.Dense(4 * ch, activation="relu", use_bias=tf1, dtype=FLOAT32, name=f"hidden_{i}")
                for i in range(2)
            ]
            self.gamma = keras.layers.Dense(4 * ch, use_bias=tf1, dtype=FLOAT32, name="gamma")
            self.beta = keras.layers.Dense(4 * ch, use_bias=tf1, dtype=FLOAT32, name="beta")

        # Decoder
        self.decoder_blocks = [
            DecoderBlock(4 * ch, flavor, smoothing, norm, name=f"decoder_block_{i}") for i in range(n_res)
        ]
        self.up = [UpsampleConv2D(ch * 2 ** (1 - i), use_bias=tf1, name=f"up_{i}") for i in range(2)]
        self.up_norms = [decoder_norm(norm, flavor, relu=True, adaptive=False, name=f"up_norm_{i}") for i in range(2)]
        self.out_pad = ReflectPad2D(3, name="out_pad")
        self.out_conv = keras.layers.Conv2D(3, 7, use_bias=tf1, name="out_conv")

        self.finish(self.fixed_size or 16)

    def get_config(self):
        return {
            **super().get_config(),
            "flavor": self.flavor,
            "light": self.light,
            "ch": self.ch,
            "n_res": self.n_res,
            "img_size": self.img_size,
            "smoothing": self.smoothing,
            "norm": self.norm,
            "cam": self.cam is not None,
            "seed": self.seed,
        }

    def call(self, images, training=False):
        check_images(images)
        check_size(images.shape, self.fixed_size)
        run = self.runner(training)
        x = run(self._encode, ops.cast(images, self.compute_dtype))
        for block in self.encoder_blocks:
            x = run(block, x)

        if self.cam is None:
            cam_logit, heatmap = None, heatmap_of(x)
        else:
            x, cam_logit, heatmap = self.cam(x)

        style = self._style(x) if self.adaptive else ()
        for block in self.decoder_blocks:
            x = run(block, x, *style)
        return run(self._draw, x), cam_logit, heatmap

    def _encode(self, x):
        """The stem, and both halvings of the size."""
        x = self.stem(x)
        for block in self.down:
            x = block(x)
        return x

    def _draw(self, x):
        """Both doublings of the size, and the image in [-1, 1], float32."""
        for conv, norm in zip(self.up, self.up_norms, strict=True):
            x = norm(conv(x))
        x = self.out_conv(self.out_pad(x))
        return ops.tanh(ops.cast(x, "float32"))

    def _style(self, x):
        """gamma and beta, float32 [N, C], from the map behind the attention."""
        style = ops.cast(x, "float32")
        if self.light:
            style = ops.mean(style, axis=(1, 2))
        else:
            style = ops.reshape(style, (-1, (self.img_size // 4) ** 2 * 4 * self.ch))  # in the order H, W, C
        for dense in self.hidden:
            style = dense(style)
        return self.gamma(style), self.beta(style)
