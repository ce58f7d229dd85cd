"""Group normalisation, with layer normalisation as its case of one group."""

import math

import keras
from keras import ops

from ugatit_tf.layers.statistics import centre, scale_shift


@keras.saving.register_keras_serializable("ugatit_tf")
class GroupNorm(keras.layers.Layer):
    """Normalises groups of neighbouring channels of each image to mean 0 and variance 1; gamma and beta are weights.

    `keras.layers.GroupNormalization` gives the same values; this one takes its statistics from those of the channels,
    as all norms here do, and converts to TFLite's fast kernels.

    Args:
        groups: number of groups; 1 is layer norm. Of a number of channels that it does not divide, the greatest common
            divisor is taken.
        relu: whether ReLU follows; as part of the norm it keeps no map of its own for the gradient.
        by_rows: whether maps are summed row by row: see `statistics.centre`.
        epsilon: added to the variance, inside the root.

    Input and output: [N, H, W, C]. The statistics are float32 whatever the policy.

    Reference: Wu and He, arXiv:1803.08494; paper, section 4.3.
    """

    def __init__(self, groups=32, relu=False, by_rows=False, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.groups = groups
        self.relu = relu
        self.by_rows = by_rows
        self.epsilon = epsilon

    def build(self, input_shape):
        channels = input_shape[-1]
        self.gamma = self.add_weight((channels,), initializer="ones", name="gamma", autocast=False)
        self.beta = self.add_weight((channels,), initializer="zeros", name="beta", autocast=False)

    def call(self, x):
        channels = x.shape[-1]
        groups = math.gcd(self.groups, channels)
        grouped = (-1, 1, groups, channels // groups)
        centred, mean, variance = centre(x, self.by_rows)
        mean, variance = ops.reshape(mean, grouped), ops.reshape(variance, grouped)
        group_mean = ops.mean(mean, axis=-1, keepdims=True)
        group_variance = ops.mean(variance + ops.square(mean - group_mean), axis=-1, keepdims=True)
        scale = ops.rsqrt(group_variance + self.epsilon) * ops.reshape(self.gamma, grouped)
        shift = ops.reshape(self.beta, grouped) + scale * (mean - group_mean)
        flat = (-1, 1, 1, channels)
        return scale_shift(centred, ops.reshape(scale, flat), ops.reshape(shift, flat), self.relu)

    def get_config(self):
        own = {"groups": self.groups, "relu": self.relu, "by_rows": self.by_rows, "epsilon": self.epsilon}
        return {**super().get_config(), **own}
