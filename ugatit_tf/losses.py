"""The losses of U-GAT-IT (paper, section 3.2), as pure functions of float32 tensors; each returns a scalar.

`logits` stands for a discriminator's logit map [N, h, w, 1] and, by the same formula, for its CAM logits [N, 2].
"""

from keras import ops

# The logit on which a discriminator is undecided; the critics of wgan-gp and wgan-lp have none.
BOUNDARY = {"lsgan": 0.5, "gan": 0.0, "dragan": 0.0, "hinge": 0.0}


def _bce(logits, label):
    # softplus(x) - x * label is sigmoid cross-entropy without overflow.
    return ops.mean(ops.softplus(logits) - logits * label)


def discriminator_loss(gan_type, real_logits, fake_logits):
    """What the discriminator minimises: real images to be judged 1, translated ones 0.

    Args:
        gan_type: one of `ugatit_tf.config.GAN_TYPES`; dragan has gan's losses.

    Reference: `discriminator_loss` of the official TF1 code.
    """
    if gan_type == "lsgan":
        return ops.mean(ops.square(real_logits - 1.0)) + ops.mean(ops.square(fake_logits))
    if gan_type == "hinge":
        return ops.mean(ops.relu(1.0 - real_logits)) + ops.mean(ops.relu(1.0 + fake_logits))
    if gan_type in ("wgan-gp", "wgan-lp"):
        return ops.mean(fake_logits) - ops.mean(real_logits)
    return _bce(real_logits, 1.0) + _bce(fake_logits, 0.0)


def generator_loss(gan_type, fake_logits):
    """What the generator minimises: translated images to be judged 1.

    Reference: `generator_loss` of the official TF1 code.
    """
    if gan_type == "lsgan":
        return ops.mean(ops.square(fake_logits - 1.0))
    if gan_type in ("hinge", "wgan-gp", "wgan-lp"):
        return -ops.mean(fake_logits)
    return _bce(fake_logits, 1.0)


def gradient_penalty(gan_type, gradients):
    """The penalty on the gradient of one logit tensor's sum with respect to the interpolated images.

    Its norm is to be 1 (wgan-gp, dragan), or at most 1 (wgan-lp), image by image.

    Args:
        gradients: [N, H, W, 3].

    Reference: `gradient_panalty` of the official TF1 code.
    """
    squares = ops.sum(ops.square(gradients), axis=(1, 2, 3))
    # The root's slope is infinite at 0, where an image without any gradient would make everything NaN.
    excess = ops.sqrt(ops.maximum(squares, 1e-24)) - 1.0
    return ops.mean(ops.square(ops.relu(excess) if gan_type == "wgan-lp" else excess))


def l1(images, targets):
    """Mean absolute difference: the cycle and identity losses."""
    return ops.mean(ops.abs(images - targets))


def cam_loss(translated_logits, identity_logits):
    """The generator's CAM classifier: inputs to translate are 1, images of the target domain 0.

    Args:
        translated_logits, identity_logits: CAM logits [N, 2] of the generator on either kind of image.
    """
    return _bce(translated_logits, 1.0) + _bce(identity_logits, 0.0)


def l2(kernels):
    """Official TF1's regulariser before its weight: half the sum of all squared entries."""
    return sum(ops.sum(ops.square(kernel)) for kernel in kernels) * 0.5


def share_above(logits, bound):
    """The share of logits above a bound, of any shape: how often something is judged real, a number to watch."""
    return ops.mean(ops.cast(logits > bound, "float32"))


def hit_rate(ones, zeros, bound):
    """How often a classifier is right, the two kinds counted alike."""
    return 0.5 * (share_above(ones, bound) + 1.0 - share_above(zeros, bound))
