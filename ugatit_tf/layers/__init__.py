"""The Keras layers that U-GAT-IT and its ablations are made of."""

from ugatit_tf import environment
from ugatit_tf.layers.ada_in import AdaIN
from ugatit_tf.layers.ada_lin import AdaLIN
from ugatit_tf.layers.cam import CAM
from ugatit_tf.layers.group_norm import GroupNorm
from ugatit_tf.layers.instance_norm import InstanceNorm
from ugatit_tf.layers.lin import LIN
from ugatit_tf.layers.padding import ReflectPad2D
from ugatit_tf.layers.spectral_norm import SpectralNormConv2D, SpectralNormDense
from ugatit_tf.layers.upsample import UpsampleConv2D

environment.check_backend()

__all__ = [
    "CAM",
    "LIN",
    "AdaIN",
    "AdaLIN",
    "GroupNorm",
    "InstanceNorm",
    "ReflectPad2D",
    "SpectralNormConv2D",
    "SpectralNormDense",
    "UpsampleConv2D",
]
