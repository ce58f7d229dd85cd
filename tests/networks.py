"""Networks and images that the tests of several parts use."""

import numpy as np


def images(*shape):
    return np.random.default_rng(0).uniform(-1, 1, (*shape, 3)).astype("float32")


def draw_all(network):
    """Weights that let every part of the network show in its outputs: the first ones are small, or 0 and 1."""
    rng = np.random.default_rng(1)
    for variable in network.trainable_variables:
        fan_in = np.prod(variable.shape[:-1]) if variable.name == "kernel" else 10
        values = rng.normal(size=variable.shape) / fan_in**0.5
        variable.assign(np.clip(variable + values, 0, 1) if variable.name == "rho" else variable + values)
    return network
