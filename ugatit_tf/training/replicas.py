"""What the replicas of a `tf.distribute` strategy tell each other inside a step; on one device nothing."""

import tensorflow as tf


def _context():
    return tf.distribute.get_replica_context()


def count():
    """Number of replicas, those of all machines together."""
    return _context().num_replicas_in_sync


def sum(tensors):
    """A list of tensors, each added up over all replicas."""
    return tensors if count() == 1 else _context().all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def mean(tensor):
    """A tensor's mean over all replicas."""
    return tensor if count() == 1 else _context().all_reduce(tf.distribute.ReduceOp.MEAN, tensor)


def gather(images):
    """The images [N, H, W, C] of all replicas, in the order of the whole batch."""
    if count() == 1:
        return images
    everything = _context().all_gather(images, axis=0)
    return tf.ensure_shape(everything, [images.shape[0] * count(), *images.shape[1:]])


def rows(images):
    """This replica's part of what belongs to the whole batch, [N, ...]."""
    own = images.shape[0] // count()
    begin = own * tf.cast(_context().replica_id_in_sync_group, tf.int32)
    return images if count() == 1 else tf.ensure_shape(images[begin : begin + own], [own, *images.shape[1:]])


def uniform(shape, seed):
    """Draws in [0, 1) for this replica's images: a part of those that one device would draw for the whole batch.

    Args:
        shape: of the draws, this replica's images first.
        seed: int32 [2].
    """
    return rows(tf.random.stateless_uniform([shape[0] * count(), *shape[1:]], seed))


def std(images):
    """The standard deviation of all entries of the whole batch, biased."""
    centred = images - mean(tf.reduce_mean(images))
    return tf.sqrt(mean(tf.reduce_mean(tf.square(centred))))
