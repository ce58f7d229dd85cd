"""The networks: U-GAT-IT's generator and discriminator, and CycleGAN's."""

from ugatit_tf.models.cyclegan import PatchGAN, ResNetGenerator
from ugatit_tf.models.discriminator import Discriminator
from ugatit_tf.models.generator import Generator

__all__ = ["Discriminator", "Generator", "PatchGAN", "ResNetGenerator"]
