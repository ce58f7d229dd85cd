"""The discriminator (paper, section 2.1.2 and appendix)."""

import keras
from keras import ops

from ugatit_tf.layers import CAM, ReflectPad2D, SpectralNormConv2D
from ugatit_tf.layers.cam import heatmap_of
from ugatit_tf.models.network import Network, check_images


@keras.saving.register_keras_serializable("ugatit_tf")
class Discriminator(Network):
    """Judges whether images belong to a domain.

    Args:
        flavor, ch, sn: see `ugatit_tf.ModelConfig`.
        levels: number of stride-2 convolutions: `n_dis - 1` in a global discriminator, `n_dis - 3` in a local one.
        cam: attention; without it (ablation) the map goes on as it is.
        seed: decides the initial weights.

    Call:
        images: float32 in [-1, 1], [N, H, W, 3], H and W at least `smallest_image(levels)`.
        training: run the spectral norm's power iteration first.

    Returns:
        The logit map [N, h, w, 1], the CAM logits [N, 2] (None without CAM) and the heatmap [N, h', w', 1]; float32.
        In `tf1` h = h' = H / 2^levels; in `pytorch` each of the last two convolutions takes one row and column off.

    Raises:
        ValueError: the images have no batch axis, another type or range, or are too small for this many levels.

    Reference: paper, section 2.1.2; `discriminator_global`, `discriminator_local` (TF1), `Discriminator` (PyTorch).
    """

    def __init__(self, flavor="tf1", ch=64, levels=5, sn=True, cam=True, seed=0, name="discriminator", **kwargs):
        super().__init__(flavor, seed, name=name, **kwargs)
        self.ch = ch
        self.levels = levels
        self.sn = sn
        tf1 = flavor == "tf1"

        self.pad = ReflectPad2D(1, name="pad")
        self.convs = [self._conv(ch * 2**i, 2, name=f"conv_{i}") for i in range(levels)]
        # TF1 keeps the size of a stride-1 convolution by padding 1 and 2; PyTorch pads 1 and 1.
        self.last_pad = ReflectPad2D(1, 2 if tf1 else 1, name="last_pad")
        self.last_conv = self._conv(ch * 2**levels, 1, name="last_conv")
        self.cam = CAM(flavor, spectral_norm=sn, activation=leaky_relu, name="cam") if cam else None
        self.logit_conv = self._conv(1, 1, use_bias=tf1, name="logit_conv")

        self.finish(smallest_image(levels))

    def get_config(self):
        return {
            **super().get_config(),
            "flavor": self.flavor,
            "ch": self.ch,
            "levels": self.levels,
            "sn": self.sn,
            "cam": self.cam is not None,
            "seed": self.seed,
        }

    def _conv(self, filters, strides, use_bias=True, name=None):
        conv = SpectralNormConv2D if self.sn else keras.layers.Conv2D
        return conv(filters, 4, strides=strides, use_bias=use_bias, name=name)

    def call(self, images, training=False):
        check_images(images)
        self._check_size(images.shape)
        update = {"update": training} if self.sn else {}
        x = ops.cast(images, self.compute_dtype)
        for conv in self.convs:
            x = leaky_relu(conv(self.pad(x), **update))
        x = leaky_relu(self.last_conv(self.last_pad(x), **update))
        if self.cam is None:
            cam_logit, heatmap = None, heatmap_of(x)
        else:
            x, cam_logit, heatmap = self.cam(x, update=training)
        logit = self.logit_conv(self.last_pad(x), **update)
        return ops.cast(logit, "float32"), cam_logit, heatmap

    def _check_size(self, shape):
        smallest = smallest_image(self.levels)
        for size in shape[1:3]:
            if size is not None and size < smallest:
                raise ValueError(
                    f"A discriminator of {self.levels} stride-2 levels needs images of {smallest} px or more; received "
                    f"images of shape {tuple(shape)}. Use larger ones or a smaller n_dis."
                )


def leaky_relu(x):
    """LeakyReLU with slope 0.2."""
    return ops.leaky_relu(x, negative_slope=0.2)


def smallest_image(levels):
    """Pixels below which the last convolutions have nothing left to reflect: 3 must remain after the levels."""
    return 3 * 2**levels
