"""Class activation map attention."""

import keras
from keras import ops

from ugatit_tf.layers.spectral_norm import SpectralNormDense


class _Float32Dense(keras.layers.Dense):
    """A dense layer whose weights another layer reads; they are not rounded when that one has a mixed policy."""

    def add_weight(self, *args, **kwargs):
        return super().add_weight(*args, autocast=False, **kwargs)


@keras.saving.register_keras_serializable("ugatit_tf")
class CAM(keras.layers.Layer):
    """Attention by an auxiliary classifier on the pooled map.

    Global average and global max pooling each give one logit through a dense layer; that layer's weights multiply
    the map channel by channel, and a 1x1 convolution takes both products back to C channels.

    The products are never made: multiplying the input channels of a 1x1 convolution is multiplying the rows of its
    kernel, so the two halves of the kernel are weighted and added first. Same numbers to rounding, half the work.

    Args:
        flavor: `"tf1"`: one dense layer with a bias for both poolings, and kernel + bias multiplies the map.
            `"pytorch"`: two dense layers without bias, and their kernels multiply it.
        spectral_norm: whether the dense layers are spectrally normalised (discriminators). The attention then uses the
            normalised kernel in `tf1`, the raw one in `pytorch`.
        activation: function applied to the attended map.

    Call:
        x: map, [N, H, W, C].
        update: passed on to the spectral norm.

    Returns:
        The attended map [N, H, W, C], the logits of average and max pooling [N, 2] (float32), and the heatmap, the
        attended map summed over its channels [N, H, W, 1] (float32).

    Reference: paper, section 2.1; the CAM parts of both official generators and discriminators.
    """

    def __init__(self, flavor="tf1", spectral_norm=False, activation="relu", **kwargs):
        super().__init__(autocast=False, **kwargs)  # the map keeps its type, the logits are float32
        self.flavor = flavor
        self.spectral_norm = spectral_norm
        self.activation = keras.activations.get(activation)
        self.shared = flavor == "tf1"
        self.gap_fc = self._dense("gap_fc")
        self.gmp_fc = self.gap_fc if self.shared else self._dense("gmp_fc")

    def _dense(self, name):
        if self.spectral_norm:
            return SpectralNormDense(1, use_bias=self.shared, name=name)
        return _Float32Dense(1, use_bias=self.shared, name=name, dtype="float32")

    def build(self, x_shape):
        channels = x_shape[-1]
        for dense in (self.gap_fc, self.gmp_fc):
            if not dense.built:
                dense.build((None, channels))
        self.kernel = self.add_weight((1, 1, 2 * channels, channels), name="kernel", autocast=False)
        self.bias = self.add_weight((channels,), initializer="zeros", name="bias")

    def call(self, x, update=False):
        average = ops.mean(ops.cast(x, "float32"), axis=(1, 2))
        maximum = ops.cast(ops.max(x, axis=(1, 2)), "float32")
        gap_logit, gap_weight = self._classify(self.gap_fc, average, update)
        gmp_logit, gmp_weight = self._classify(self.gmp_fc, maximum, update and not self.shared)

        channels = x.shape[-1]
        kernel = self.kernel[:, :, :channels] * gap_weight + self.kernel[:, :, channels:] * gmp_weight
        attended = ops.conv(x, ops.cast(kernel, x.dtype), padding="valid", data_format="channels_last")
        attended = self.activation(attended + ops.cast(self.bias, x.dtype))
        return attended, ops.concatenate([gap_logit, gmp_logit], axis=-1), heatmap_of(attended)

    def _classify(self, dense, pooled, update):
        """The logit [N, 1] of a pooled map [N, C], and the weights [C, 1] that multiply the map."""
        kernel = dense.normalized_kernel(update) if self.spectral_norm else ops.convert_to_tensor(dense.kernel)
        logit = ops.matmul(pooled, kernel)
        if self.flavor == "tf1":
            return logit + dense.bias, kernel + dense.bias
        return logit, ops.convert_to_tensor(dense.kernel)

    def get_config(self):
        return {
            **super().get_config(),
            "flavor": self.flavor,
            "spectral_norm": self.spectral_norm,
            "activation": keras.activations.serialize(self.activation),
        }


def heatmap_of(x):
    """A map [N, H, W, C] summed over its channels: float32 [N, H, W, 1]."""
    return ops.sum(ops.cast(x, "float32"), axis=-1, keepdims=True)
