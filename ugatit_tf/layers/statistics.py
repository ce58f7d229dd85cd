"""Means, variances and the one multiply-add that the norms of U-GAT-IT share.

Every norm here is `centred * scale + shift`, where `centred` is the map less its channels' means, and scale and shift
are given per image and channel. AdaLIN and LIN need the statistics of a whole image as well; they follow from those of
its channels (law of total variance), so the map is not read again for them. All of it is computed in float32, and kept
for the backward pass in the precision of the map.
"""

from keras import ops


def centre(x, by_rows):
    """The map less the mean of each channel of each image, and those means and variances.

    Args:
        x: map, [N, H, W, C], any float type.
        by_rows: False sums over a map as TensorFlow does, entry after entry; True sums rows first, which rounds ten
            times less, as PyTorch's pairwise sums do. Each flavor agrees with its original to the last digits that way.

    Returns:
        `centred, mean, variance`: [N, H, W, C] in the type of `x`; float32, [N, 1, 1, C] and biased.
    """

    def channel_mean(values):
        if by_rows:
            return ops.mean(ops.mean(values, axis=1, keepdims=True), axis=2, keepdims=True)
        return ops.mean(values, axis=(1, 2), keepdims=True)

    @ops.custom_gradient
    def statistics(x):
        values = ops.cast(x, "float32")
        mean = channel_mean(values)
        centred = values - mean
        variance = channel_mean(ops.square(centred))
        centred = ops.cast(centred, x.dtype)

        def gradient(d_centred, d_mean, d_variance):
            d_centred = ops.cast(d_centred, "float32")
            slope = d_variance * (2.0 / count_pixels(x))
            constant = d_mean / count_pixels(x) - channel_mean(d_centred)
            return ops.cast(d_centred + (ops.cast(centred, "float32") * slope + constant), x.dtype)

        return (centred, mean, variance), gradient

    return statistics(x)


def scale_shift(x, scale, shift, relu=False):
    """`x * scale + shift`, and ReLU of it if asked for; no map but `x` is kept for the gradient.

    Args:
        x: map, [N, H, W, C].
        scale, shift: float32, [N, 1, 1, C].
        relu: whether ReLU follows. Its slope is found again from `x`, so that its result need not be kept.

    Returns:
        [N, H, W, C], in the type of `x`.
    """

    @ops.custom_gradient
    def multiply_add(x, scale, shift):
        def gradient(d_y):
            values, d_y = ops.cast(x, "float32"), ops.cast(d_y, "float32")
            if relu:
                d_y = ops.where(values * scale + shift > 0, d_y, 0.0)
            d_scale = ops.sum(d_y * values, axis=(1, 2), keepdims=True)
            return ops.cast(d_y * scale, x.dtype), d_scale, ops.sum(d_y, axis=(1, 2), keepdims=True)

        y = ops.cast(x, "float32") * scale + shift
        return ops.cast(ops.relu(y) if relu else y, x.dtype), gradient

    return multiply_add(x, scale, shift)


def count_pixels(x):
    """H * W of a map [N, H, W, C], as a float32 scalar."""
    return ops.cast(ops.shape(x)[1] * ops.shape(x)[2], "float32")


def mix_norms(x, rho, gamma, beta, epsilon, flavor, by_rows, relu=False):
    """`gamma * (rho * IN(x) + (1 - rho) * LN(x)) + beta` (paper, equation 1), as one multiply-add.

    Args:
        x: map, [N, H, W, C].
        rho: float32, [C], in [0, 1]: 1 is instance norm, 0 is layer norm.
        gamma, beta: float32, [N, 1, 1, C] or [C].
        epsilon: added to the variances, inside the root.
        flavor: `"tf1"`: variances divided by n; `"pytorch"`: by n - 1, as `torch.var` has it.
        by_rows: see `centre`.
        relu: whether ReLU follows.
    """
    centred, mean, variance = centre(x, by_rows or flavor == "pytorch")
    image_mean = ops.mean(mean, axis=-1, keepdims=True)
    image_variance = ops.mean(variance + ops.square(mean - image_mean), axis=-1, keepdims=True)
    if flavor == "pytorch":
        pixels = count_pixels(x)
        entries = pixels * x.shape[-1]
        variance = variance * (pixels / (pixels - 1.0))
        image_variance = image_variance * (entries / (entries - 1.0))
    instance = rho * ops.rsqrt(variance + epsilon)
    layer = (1.0 - rho) * ops.rsqrt(image_variance + epsilon)
    return scale_shift(centred, gamma * (instance + layer), beta + gamma * layer * (mean - image_mean), relu)


def clip_rho(rho):
    """The constraint of every rho: [0, 1], applied after each update (paper, section 2.1)."""
    return ops.clip(rho, 0.0, 1.0)
