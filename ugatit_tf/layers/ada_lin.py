"""Adaptive Layer-Instance Normalisation, the norm that U-GAT-IT introduces."""

import keras
from keras import ops

from ugatit_tf.layers.statistics import clip_rho, mix_norms


@keras.saving.register_keras_serializable("ugatit_tf")
class AdaLIN(keras.layers.Layer):
    """`gamma * (rho * IN(x) + (1 - rho) * LN(x)) + beta`, with gamma and beta given by the attention map.

    Args:
        flavor: `"tf1"`: rho starts at 1.0, variances are divided by n; `"pytorch"`: 0.9, and by n - 1.
        smoothing: use `clip(rho - 0.1, 0, 1)` in the forward pass (official TF1's `--smoothing`).
        relu: whether ReLU follows; as part of the norm it keeps no map of its own for the gradient.
        by_rows: whether maps are summed row by row, as the flavor `"pytorch"` always does: see `statistics.centre`.
        epsilon: added to the variances, inside the root.

    Call:
        x: map, [N, H, W, C].
        gamma, beta: float32, [N, C].

    Reference: paper, section 2.1, equation 1; `adaptive_instance_layer_norm` (TF1), `adaILN` (PyTorch).
    """

    def __init__(self, flavor="tf1", smoothing=False, relu=False, by_rows=False, epsilon=1e-5, **kwargs):
        super().__init__(autocast=False, **kwargs)  # gamma and beta stay float32 under a mixed policy
        self.flavor = flavor
        self.smoothing = smoothing
        self.relu = relu
        self.by_rows = by_rows
        self.epsilon = epsilon

    def build(self, x_shape, gamma_shape=None, beta_shape=None):
        self.rho = self.add_weight(
            (x_shape[-1],),
            initializer=keras.initializers.Constant(1.0 if self.flavor == "tf1" else 0.9),
            constraint=clip_rho,
            name="rho",
            autocast=False,
        )

    def call(self, x, gamma, beta):
        rho = clip_rho(self.rho - 0.1) if self.smoothing else self.rho
        gamma, beta = (ops.expand_dims(ops.cast(value, "float32"), (1, 2)) for value in (gamma, beta))
        return mix_norms(x, rho, gamma, beta, self.epsilon, self.flavor, self.by_rows, self.relu)

    def get_config(self):
        return {
            **super().get_config(),
            "flavor": self.flavor,
            "smoothing": self.smoothing,
            "relu": self.relu,
            "by_rows": self.by_rows,
            "epsilon": self.epsilon,
        }
