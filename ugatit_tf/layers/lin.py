"""Layer-Instance Normalisation: AdaLIN with gamma and beta of its own."""

import keras

from ugatit_tf.layers.statistics import clip_rho, mix_norms


@keras.saving.register_keras_serializable("ugatit_tf")
class LIN(keras.layers.Layer):
    """`gamma * (rho * IN(x) + (1 - rho) * LN(x)) + beta`, with gamma (1), beta (0) and rho (0 at first) as weights.

    Args:
        flavor: `"tf1"`: variances are divided by n; `"pytorch"`: by n - 1.
        relu: whether ReLU follows; as part of the norm it keeps no map of its own for the gradient.
        by_rows: whether maps are summed row by row, as the flavor `"pytorch"` always does: see `statistics.centre`.
        epsilon: added to the variances, inside the root.

    Input and output: [N, H, W, C].

    Reference: paper, section 2.1; `layer_instance_norm` (TF1), `ILN` (PyTorch).
    """

    def __init__(self, flavor="tf1", relu=False, by_rows=False, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.flavor = flavor
        self.relu = relu
        self.by_rows = by_rows
        self.epsilon = epsilon

    def build(self, input_shape):
        shape = (input_shape[-1],)
        self.rho = self.add_weight(shape, initializer="zeros", constraint=clip_rho, name="rho", autocast=False)
        self.gamma = self.add_weight(shape, initializer="ones", name="gamma", autocast=False)
        self.beta = self.add_weight(shape, initializer="zeros", name="beta", autocast=False)

    def call(self, x):
        return mix_norms(x, self.rho, self.gamma, self.beta, self.epsilon, self.flavor, self.by_rows, self.relu)

    def get_config(self):
        own = {"flavor": self.flavor, "relu": self.relu, "by_rows": self.by_rows, "epsilon": self.epsilon}
        return {**super().get_config(), **own}
