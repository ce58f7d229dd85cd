"""How much memory a training step needs, reckoned from the configuration alone, and which flags would fit.

No network is built: a prediction takes a fraction of a millisecond, so that many can be tried, and the step of a model
that is too large can be predicted too. What the gradient keeps is counted exactly, block by block; what passes beside
it comes from a few constants, which were fitted to measurements (docs/performance.md). All sizes are bytes.
"""

import contextlib
import dataclasses
import functools
import itertools
import os
import pathlib
import subprocess

from ugatit_tf.config import PENALTY_TYPES


@dataclasses.dataclass(frozen=True)
class Block:
    """A stretch of a network, in numbers of entries; of maps for one image. `a + b` is both, one after the other.

    Args:
        weights: trainable entries.
        kernel: entries of the largest single one.
        maps: entries of the maps that are kept for the gradient.
        width: entries of the largest map.
        given: with `--remat`, what is kept instead of `maps`: the block's input; None where the block runs only once.
    """

    weights: int
    kernel: int
    maps: int = 0
    width: int = 0
    given: int | None = None

    def __add__(self, other):
        weights, maps = self.weights + other.weights, self.maps + other.maps
        return Block(weights, max(self.kernel, other.kernel), maps, max(self.width, other.width))

    def again(self, given):
        """The same block, which `--remat` runs a second time."""
        return dataclasses.replace(self, given=given)


def _conv(size, inputs, filters, kernel, strides=1, pad=None, beside=1, behind=1):
    """A convolution of a padded map: the block, and the size of its result.

    Args:
        size: side of the map in pixels.
        pad: rows (columns) added; None: as many as keep the size, or halve it.
        beside: weights a filter beside the kernel: bias, norm.
        behind: maps of the result's size that are kept. A norm keeps one, the centred map (`layers.statistics`).
    """
    pad = kernel - strides if pad is None else pad
    side = (size + pad - kernel) // strides + 1
    weights, result = kernel**2 * inputs * filters, side**2 * filters
    # The gradient at the kernel needs the padded map.
    maps = (size + pad) ** 2 * inputs + behind * result
    return Block(weights + beside * filters, weights, maps, max(size**2 * inputs, result)), side


def _upsample(size, inputs, beside):
    """`UpsampleConv2D`, which keeps what its four phase convolutions read, and a norm."""
    weights, result = 9 * inputs * inputs // 2, 4 * size**2 * inputs // 2
    return Block(weights + beside * inputs // 2, weights, 4 * (size + 1) ** 2 * inputs + result, result)


def _cam(size, channels, flavor):
    """`CAM`, which keeps its input and what its activation needs."""
    dense = channels + 1 if flavor == "tf1" else 2 * channels
    kernel = 2 * channels**2
    return Block(dense + kernel + channels, kernel, 2 * size**2 * channels, size**2 * channels)


def _generator(config):
    """The blocks of `Generator`."""
    size, ch, small, wide = config.img_size, config.ch, config.img_size // 4, 4 * config.ch
    bias = int(config.flavor == "tf1")
    norm = {"adalin": 1, "adain": 0}.get(config.norm, 2)  # weights a channel: in the decoder's blocks ...
    up_norm = {"adalin": 3}.get(config.norm, 2)  # ... and behind them
    given = small**2 * wide

    def conv(size, inputs, filters, kernel, strides=1, norm=2 * bias):
        return _conv(size, inputs, filters, kernel, strides, beside=bias + norm)[0]

    encode = conv(size, 3, ch, 7) + conv(size, ch, 2 * ch, 3, 2) + conv(size // 2, 2 * ch, wide, 3, 2)
    encoder, decoder = conv(small, wide, wide, 3), conv(small, wide, wide, 3, norm=norm)
    blocks = [encode.again(0), *[(encoder + encoder).again(given)] * config.n_res]
    if config.cam_g:
        blocks.append(_cam(small, wide, config.flavor))
    if config.norm in ("adalin", "adain"):  # gamma and beta from the map's mean, or from all of it
        first = wide * (wide if config.light else given)
        blocks.append(Block(first + 3 * wide**2 + 4 * bias * wide, first))
    decoders = [(decoder + decoder).again(given)] * config.n_res
    if config.cam_g:
        decoders[0] = decoders[0].again(0)  # what CAM has kept
    up = _upsample(small, wide, bias + up_norm) + _upsample(2 * small, 2 * ch, bias + up_norm)
    return [*blocks, *decoders, (up + conv(size, ch, 3, 7, norm=0)).again(given)]


def _discriminator(config, levels, half):
    """The blocks of `Discriminator`, which keeps maps before their bias, and in float32 before their division too."""
    blocks, size, channels = [], config.img_size, 3
    tf1 = config.flavor == "tf1"
    behind = 2 if config.sn and not half else 1
    last = 3 if tf1 else 2
    for filters in (config.ch * 2**level for level in range(levels)):
        block, size = _conv(size, channels, filters, 4, 2, behind=behind)
        blocks, channels = [*blocks, block], filters
    block, size = _conv(size, channels, 2 * channels, 4, pad=last, behind=behind)
    blocks.append(block)
    if config.cam_d:
        blocks.append(_cam(size, 2 * channels, config.flavor))
    return [*blocks, _conv(size, 2 * channels, 1, 4, pad=last, beside=int(tf1), behind=behind)[0]]


def _cyclegan_generator(config):
    """The blocks of `ResNetGenerator`, whose transposed convolutions keep their input, and a norm's map."""
    size, ch, small, wide = config.img_size, config.ch, config.img_size // 4, 4 * config.ch
    given = small**2 * wide
    encode = _conv(size, 3, ch, 7)[0] + _conv(size, ch, 2 * ch, 3, 2)[0] + _conv(size // 2, 2 * ch, wide, 3, 2)[0]
    block = _conv(small, wide, wide, 3)[0]
    draw = _conv(size, ch, 3, 7)[0]
    for side, filters in ((size, ch), (size // 2, 2 * ch)):
        kernel, result = 9 * 2 * filters * filters, side**2 * filters
        draw += Block(kernel + filters, kernel, result // 2 + result, result)
    return [encode.again(0), *[(block + block).again(given)] * config.n_res, draw.again(given)]


def _patch_gan(config):
    """The blocks of `PatchGAN`: behind a norm both the centred map and its result are kept, for LeakyReLU."""
    blocks, size, channels = [], config.img_size, 3
    for level, strides in enumerate((2, 2, 2, 1)):
        filters = config.ch * 2**level
        block, size = _conv(size, channels, filters, 4, strides, pad=2, behind=1 if level == 0 else 2)
        blocks, channels = [*blocks, block], filters
    return [*blocks, _conv(size, channels, 1, 4, pad=2)[0]]


def networks(config, half=False):
    """The blocks of each network of a `ModelConfig`, by the names of `UGATIT.networks`; `half`: in half precision."""
    cyclegan = config.architecture == "cyclegan"
    generator = _cyclegan_generator(config) if cyclegan else _generator(config)
    made = {"gen_a2b": generator, "gen_b2a": generator}
    for domain in "ab":
        if cyclegan:
            made[f"dis_{domain}"] = _patch_gan(config)
        else:
            made[f"dis_global_{domain}"] = _discriminator(config, config.n_dis - 1, half)
            made[f"dis_local_{domain}"] = _discriminator(config, config.n_dis - 3, half)
    return made


def count_params(config):
    """Number of trainable weights of each network, by name: what `UGATIT.count_params` gives of built ones."""
    return {name: sum(block.weights for block in blocks) for name, blocks in networks(config).items()}


def kept_maps(blocks, remat=False):
    """Entries an image that a network keeps for its gradient."""
    return sum(block.given if remat and block.given is not None else block.maps for block in blocks)
