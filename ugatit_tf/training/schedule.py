"""The learning rate as a function of the step."""


def learning_rate(step, config, flavor):
    """The learning rate of a step: constant until the decay starts, then linear towards 0.

    `tf1` lowers it once per epoch, so that the last epoch still runs at `lr / (epoch - decay_epoch)`; `pytorch` lowers
    it at every step and reaches 0 at the last one.

    Args:
        step: counted from 0.
        config: `ugatit_tf.TrainConfig`.
        flavor: `"tf1"` or `"pytorch"`.

    Reference: the training loops of both official implementations.
    """
    if not config.decay_flag or step < config.decay_start:
        return config.lr
    if flavor == "tf1":
        step = step // config.iteration * config.iteration
    else:
        step += 1
    return config.lr * max(0, config.total_steps - step) / max(1, config.total_steps - config.decay_start)
