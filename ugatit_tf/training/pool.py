"""The history of translated images that CycleGAN's discriminators see."""

import tensorflow as tf


class ImagePool:
    """The last translations of one domain, half of which are shown in the place of new ones.

    Args:
        size: number of images.
        img_size: their side in pixels.
        name: of the variables.

    Attributes:
        variables: the images and their count; with them a training goes on exactly.

    Reference: Shrivastava et al., arXiv:1612.07828; `ImagePool` of junyanz/pytorch-CycleGAN-and-pix2pix.
    """

    def __init__(self, size, img_size, name):
        self.size = size
        self.images = tf.Variable(tf.zeros((size, img_size, img_size, 3)), trainable=False, name=f"{name}_images")
        self.count = tf.Variable(0, trainable=False, name=f"{name}_count")
        self.variables = [self.images, self.count]

    def exchange(self, images, seed):
        """Images to show to a discriminator instead of new ones; belongs in a `tf.function`.

        Until the pool is full each image is kept and shown. Then, half of the time, one of the pool is shown, and the
        new one takes its place.

        Args:
            images: float32, [N, img_size, img_size, 3], N known.
            seed: of the draws, int32 [2].

        Returns:
            float32, [N, img_size, img_size, 3].
        """
        draws = tf.random.stateless_uniform([2, images.shape[0]], seed)
        shown = []  # By handles, which under a strategy are those of this replica's copy.
        for number, image in enumerate(tf.unstack(images)):
            filling = self.count < self.size
            drawn = tf.cast(draws[0, number] * float(self.size), tf.int32)
            index = tf.where(filling, self.count, drawn)
            former = tf.raw_ops.ResourceGather(resource=self.images.handle, indices=index, dtype=tf.float32)
            old_one = tf.logical_and(tf.logical_not(filling), draws[1, number] < 0.5)
            shown.append(tf.where(old_one, former, image))
            kept = tf.where(tf.logical_or(filling, old_one), image, former)
            tf.raw_ops.ResourceScatterUpdate(resource=self.images.handle, indices=[index], updates=[kept])
            self.count.assign(tf.minimum(self.count + 1, self.size))
        return tf.stack(shown)
