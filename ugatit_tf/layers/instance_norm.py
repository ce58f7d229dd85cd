"""Instance normalisation."""

import keras
from keras import ops

from ugatit_tf.layers.statistics import centre, scale_shift


@keras.saving.register_keras_serializable("ugatit_tf")
class InstanceNorm(keras.layers.Layer):
    """Normalises each channel of each image to mean 0 and variance 1.

    Args:
        flavor: `"tf1"`: gamma (1 at first) and beta (0) are weights; `"pytorch"`: there are none.
        relu: whether ReLU follows; as part of the norm it keeps no map of its own for the gradient.
        by_rows: whether maps are summed row by row, as the flavor `"pytorch"` always does: see `statistics.centre`.
        epsilon: added to the variance, inside the root.

    Input and output: [N, H, W, C]. The statistics are float32 whatever the policy.

    Reference: Ulyanov et al., arXiv:1607.08022; `instance_norm` in the official TF1 code.
    """

    def __init__(self, flavor="tf1", relu=False, by_rows=False, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.flavor = flavor
        self.relu = relu
        self.by_rows = by_rows
        self.epsilon = epsilon

    def build(self, input_shape):
        if self.flavor == "tf1":
            channels = input_shape[-1]
            self.gamma = self.add_weight((channels,), initializer="ones", name="gamma", autocast=False)
            self.beta = self.add_weight((channels,), initializer="zeros", name="beta", autocast=False)

    def call(self, x):
        centred, _, variance = centre(x, self.by_rows or self.flavor == "pytorch")
        scale = ops.rsqrt(variance + self.epsilon)
        if self.flavor == "tf1":
            return scale_shift(centred, scale * self.gamma, ops.zeros_like(scale) + self.beta, self.relu)
        return scale_shift(centred, scale, ops.zeros_like(scale), self.relu)

    def get_config(self):
        own = {"flavor": self.flavor, "relu": self.relu, "by_rows": self.by_rows, "epsilon": self.epsilon}
        return {**super().get_config(), **own}
