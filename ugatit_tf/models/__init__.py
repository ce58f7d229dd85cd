"""The generator and the discriminator."""

from ugatit_tf.models.discriminator import Discriminator
from ugatit_tf.models.generator import Generator

__all__ = ["Discriminator", "Generator"]
