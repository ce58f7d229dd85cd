"""Spectrally normalised convolution and dense layers, by the official codes' rule.

The kernel is kept raw and used as kernel / sigma. Sigma, its largest singular value, is `v W u` with the
kernel as the matrix W [inputs, outputs]; gradients flow through sigma, while u and v count as constants. One power
iteration (v from u, then u from v) precedes each call with `update=True`; other calls change nothing.
`keras.layers.SpectralNormalization` follows another rule: it overwrites its kernel and keeps sigma out of the gradient.

Reference: Miyato et al., arXiv:1802.05957; `spectral_norm` in the official TF1 code, `torch.nn.utils.spectral_norm`.
"""

import math

import keras
from keras import ops


def _normalize(vector):
    # The lower bound is tf.nn.l2_normalize's.
    return vector * ops.rsqrt(ops.maximum(ops.sum(ops.square(vector)), 1e-12))


class _SpectralNorm(keras.layers.Layer):
    """The kernel with its u and v, shared by the two layers below."""

    def __init__(self, use_bias, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.use_bias = use_bias

    def _add_weights(self, kernel_shape):
        outputs = kernel_shape[-1]
        self.kernel = self.add_weight(kernel_shape, initializer="glorot_uniform", name="kernel", autocast=False)
        if self.use_bias:
            self.bias = self.add_weight((outputs,), initializer="zeros", name="bias", autocast=False)
        inputs = math.prod(kernel_shape[:-1])
        self.u = self.add_weight((outputs,), initializer="ones", name="u", trainable=False, autocast=False)
        self.v = self.add_weight((inputs,), initializer="zeros", name="v", trainable=False, autocast=False)
        self.reset(keras.random.normal((outputs,)))

    def _matrix(self):
        return ops.reshape(self.kernel, (-1, self.kernel.shape[-1]))

    def reset(self, u):
        """Take u, of any length, [outputs], and the v that half a power iteration makes from it."""
        self.u.assign(_normalize(ops.convert_to_tensor(u)))
        self.v.assign(_normalize(ops.matmul(self._matrix(), self.u)))

    def sigma(self, update=False):
        """The kernel's largest singular value; with `update`, after one power iteration that changes u and v."""
        matrix = self._matrix()
        if update:
            constant = ops.stop_gradient(matrix)
            self.v.assign(_normalize(ops.matmul(constant, self.u)))
            self.u.assign(_normalize(ops.matmul(self.v, constant)))
        v, u = (ops.stop_gradient(ops.convert_to_tensor(vector)) for vector in (self.v, self.u))
        return ops.sum(ops.matmul(v, matrix) * u)

    def normalized_kernel(self, update=False):
        """kernel / sigma, float32."""
        return self.kernel / self.sigma(update)

    def _with_bias(self, x):
        return x + ops.cast(self.bias, x.dtype) if self.use_bias else x

    def get_config(self):
        return {**super().get_config(), "use_bias": self.use_bias}


@keras.saving.register_keras_serializable("ugatit_tf")
class SpectralNormConv2D(_SpectralNorm):
    """Convolution without padding, with a spectrally normalised kernel.

    Args:
        filters: output channels.
        kernel_size: height and width of the kernel.
        strides: stride in both directions.
        use_bias: whether a bias is added.

    Call:
        x: [N, H, W, C].
        update: run one power iteration first.
    """

    def __init__(self, filters, kernel_size, strides=1, use_bias=True, **kwargs):
        super().__init__(use_bias, **kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides

    def build(self, input_shape):
        self._add_weights((self.kernel_size, self.kernel_size, input_shape[-1], self.filters))

    def call(self, x, update=False):
        sigma = self.sigma(update)
        if self.compute_dtype == "float32":
            # The map is divided, not the kernel: the same by linearity, and no second kernel, the largest array of a
            # discriminator, has to be made and held.
            return self._with_bias(self._convolve(x, self.kernel) / sigma)
        # In half precision the kernel is copied anyhow, and only the normalised one is sure to be in range.
        return self._with_bias(self._convolve(x, ops.cast(self.kernel / sigma, self.compute_dtype)))

    def _convolve(self, x, kernel):
        x = ops.cast(x, self.compute_dtype)
        sides = [side and (side - self.kernel_size) // self.strides + 1 for side in x.shape[1:3]]
        if None in sides or 4 * math.prod(sides) > self.filters:
            return ops.conv(x, kernel, strides=self.strides, padding="valid", data_format="channels_last")
        # Where the kernel is larger than all that it is applied to, as a matrix product, which reads it once: CPU
        # convolutions would copy it into another order first.
        height, width = sides
        patches = [
            x[:, i : i + self.strides * height : self.strides, j : j + self.strides * width : self.strides]
            for i in range(self.kernel_size)
            for j in range(self.kernel_size)
        ]
        inputs = self.kernel_size**2 * x.shape[-1]
        rows = ops.reshape(ops.concatenate(patches, axis=-1), (-1, inputs))
        return ops.reshape(ops.matmul(rows, ops.reshape(kernel, (inputs, -1))), (-1, height, width, self.filters))

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
        }


@keras.saving.register_keras_serializable("ugatit_tf")
class SpectralNormDense(_SpectralNorm):
    """Dense layer with a spectrally normalised kernel, always in float32: it makes CAM logits.

    Args:
        units: outputs.
        use_bias: whether a bias is added.

    Call:
        x: [N, C].
        update: run one power iteration first.
    """

    def __init__(self, units, use_bias=True, **kwargs):
        super().__init__(use_bias, **kwargs)
        self.units = units

    def build(self, input_shape):
        self._add_weights((input_shape[-1], self.units))

    def call(self, x, update=False):
        return self._with_bias(ops.matmul(ops.cast(x, "float32"), self.normalized_kernel(update)))

    def get_config(self):
        return {**super().get_config(), "units": self.units}
