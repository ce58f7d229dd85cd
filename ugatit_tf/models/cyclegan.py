"""CycleGAN's generator and discriminator: the baseline, in the forms of its authors' PyTorch code."""

import keras
from keras import ops

from ugatit_tf.layers import InstanceNorm, ReflectPad2D
from ugatit_tf.layers.cam import heatmap_of
from ugatit_tf.models.discriminator import leaky_relu
from ugatit_tf.models.network import Network, check_images, check_size


def _norm(relu, name, **kwargs):
    """Instance norm without weights, which the flavor `"pytorch"` has."""
    return InstanceNorm("pytorch", relu, name=name, **kwargs)


@keras.saving.register_keras_serializable("ugatit_tf")
class _ResBlock(keras.layers.Layer):
    """`x + f(x)` with two 3x3 convolutions and instance norms. [N, H, W, C] to the same."""

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        own = {"dtype": self.dtype_policy}
        self.pad = ReflectPad2D(1, name="pad", **own)
        self.convs = [keras.layers.Conv2D(filters, 3, name=f"conv_{i}", **own) for i in range(2)]
        self.norms = [_norm(relu=i == 0, name=f"norm_{i}", **own) for i in range(2)]

    def build(self, x_shape):
        for layer in (*self.convs, *self.norms):
            layer.build(x_shape)

    def call(self, x):
        y = x
        for conv, norm in zip(self.convs, self.norms, strict=True):
            y = norm(conv(self.pad(y)))
        return x + y

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


@keras.saving.register_keras_serializable("ugatit_tf")
class ResNetGenerator(Network):
    """Translates images of one domain into the other.

    Args:
        ch, n_res, img_size: see `ugatit_tf.ModelConfig`.
        seed: decides the initial weights, all kernels from normal(0, 0.02), biases 0.

    Call:
        images: float32 in [-1, 1], [N, H, W, 3], H and W any multiples of 4.

    Returns:
        As `Generator` without CAM: the translated images in [-1, 1] [N, H, W, 3], None, and the heatmap of the map
        behind the residual blocks [N, H/4, W/4, 1]; float32.

    Raises:
        ValueError: the images have no batch axis, another type or range, or a size that this generator cannot take.

    Reference: Zhu et al., arXiv:1703.10593, appendix 7.2; `ResnetGenerator` of junyanz/pytorch-CycleGAN-and-pix2pix.
    """

    def __init__(self, ch=64, n_res=9, img_size=256, seed=0, name="generator", **kwargs):
        super().__init__("tf1", seed, name=name, **kwargs)  # whose initial weights are CycleGAN's too
        self.ch = ch
        self.n_res = n_res
        self.img_size = img_size

        self.stem_pad = ReflectPad2D(3, name="stem_pad")
        self.stem = keras.layers.Conv2D(ch, 7, name="stem")
        self.stem_norm = _norm(relu=True, name="stem_norm")
        # Zeros above and at the left: of an even size a stride of 2 never reads those below and at the right.
        self.down_pad = keras.layers.ZeroPadding2D(((1, 0), (1, 0)), name="down_pad")
        self.down = [keras.layers.Conv2D(ch * 2 ** (i + 1), 3, 2, name=f"down_{i}") for i in range(2)]
        self.down_norms = [_norm(relu=True, name=f"down_norm_{i}") for i in range(2)]
        self.blocks = [_ResBlock(4 * ch, name=f"block_{i}") for i in range(n_res)]
        self.up = [keras.layers.Conv2DTranspose(ch * 2 ** (1 - i), 3, 2, name=f"up_{i}") for i in range(2)]
        self.up_norms = [_norm(relu=True, name=f"up_norm_{i}") for i in range(2)]
        self.out_pad = ReflectPad2D(3, name="out_pad")
        self.out_conv = keras.layers.Conv2D(3, 7, name="out_conv")

        self.finish(16)

    def get_config(self):
        own = {"ch": self.ch, "n_res": self.n_res, "img_size": self.img_size, "seed": self.seed}
        return {**super().get_config(), **own}

    def call(self, images, training=False):
        check_images(images)
        check_size(images.shape)
        x = ops.cast(images, self.compute_dtype)
        run = self.runner(training)
        x = run(self._encode, x)
        for block in self.blocks:
            x = run(block, x)
        return run(self._draw, x), None, heatmap_of(x)

    def _encode(self, x):
        """The stem, and both halvings of the size."""
        x = self.stem_norm(self.stem(self.stem_pad(x)))
        for conv, norm in zip(self.down, self.down_norms, strict=True):
            x = norm(conv(self.down_pad(x)))
        return x

    def _draw(self, x):
        """Both doublings of the size, and the image in [-1, 1], float32."""
        for conv, norm in zip(self.up, self.up_norms, strict=True):
            x = norm(conv(x)[:, 1:, 1:])  # PyTorch's padding of 1 and output padding of 1
        x = self.out_conv(self.out_pad(x))
        return ops.tanh(ops.cast(x, "float32"))


@keras.saving.register_keras_serializable("ugatit_tf")
class PatchGAN(Network):
    """Judges patches of 70x70 pixels: whether they belong to a domain.

    Args:
        ch: see `ugatit_tf.ModelConfig`.
        seed: decides the initial weights.

    Call:
        images: float32 in [-1, 1], [N, H, W, 3], H and W at least 24.

    Returns:
        As `Discriminator` without CAM: the logit map [N, H/8 - 2, W/8 - 2, 1], None, and the heatmap of the last map
        but one [N, H/8 - 1, W/8 - 1, 1]; float32.

    Reference: Isola et al., arXiv:1611.07004; `NLayerDiscriminator` of junyanz/pytorch-CycleGAN-and-pix2pix.
    """

    def __init__(self, ch=64, seed=0, name="discriminator", **kwargs):
        super().__init__("tf1", seed, name=name, **kwargs)  # whose initial weights are CycleGAN's too
        self.ch = ch
        self.pad = keras.layers.ZeroPadding2D(1, name="pad")
        layers = ((ch, 2), (2 * ch, 2), (4 * ch, 2), (8 * ch, 1))
        self.convs = [
            keras.layers.Conv2D(filters, 4, strides, name=f"conv_{i}") for i, (filters, strides) in enumerate(layers)
        ]
        self.norms = [None, *(_norm(relu=False, name=f"norm_{i}") for i in range(1, 4))]
        self.logit_conv = keras.layers.Conv2D(1, 4, name="logit_conv")

        self.finish(24)

    def get_config(self):
        return {**super().get_config(), "ch": self.ch, "seed": self.seed}

    def call(self, images, training=False):
        check_images(images)
        x = ops.cast(images, self.compute_dtype)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = conv(self.pad(x))
            x = leaky_relu(x if norm is None else norm(x))
        logit = self.logit_conv(self.pad(x))
        return ops.cast(logit, "float32"), None, heatmap_of(x)
