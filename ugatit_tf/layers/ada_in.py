"""Adaptive instance normalisation, which AdaLIN is compared with."""

import keras
from keras import ops

from ugatit_tf.layers.statistics import mix_norms


@keras.saving.register_keras_serializable("ugatit_tf")
class AdaIN(keras.layers.Layer):
    """`gamma * IN(x) + beta`, with gamma and beta given: AdaLIN with rho fixed at 1.

    Args:
        flavor: `"tf1"`: the variance is divided by n; `"pytorch"`: by n - 1.
        relu: whether ReLU follows; as part of the norm it keeps no map of its own for the gradient.
        by_rows: whether maps are summed row by row, as the flavor `"pytorch"` always does: see `statistics.centre`.
        epsilon: added to the variance, inside the root.

    Call:
        x: map, [N, H, W, C].
        gamma, beta: float32, [N, C].

    Reference: Huang and Belongie, arXiv:1703.06868; paper, section 4.3.
    """

    def __init__(self, flavor="tf1", relu=False, by_rows=False, epsilon=1e-5, **kwargs):
        super().__init__(autocast=False, **kwargs)  # gamma and beta stay float32 under a mixed policy
        self.built = True  # without weights
        self.flavor = flavor
        self.relu = relu
        self.by_rows = by_rows
        self.epsilon = epsilon

    def call(self, x, gamma, beta):
        gamma, beta = (ops.expand_dims(ops.cast(value, "float32"), (1, 2)) for value in (gamma, beta))
        return mix_norms(x, 1.0, gamma, beta, self.epsilon, self.flavor, self.by_rows, self.relu)

    def get_config(self):
        own = {"flavor": self.flavor, "relu": self.relu, "by_rows": self.by_rows, "epsilon": self.epsilon}
        return {**super().get_config(), **own}
