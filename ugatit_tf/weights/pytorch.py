"""Checkpoints of the official PyTorch implementation (znxlwm/UGATIT-pytorch)."""

import re

import numpy as np

from ugatit_tf.config import ModelConfig
from ugatit_tf.weights.official import Entry, assign, image_size_of, require
from ugatit_tf.weights.torch_file import read_torch_file

_NETWORKS = {
    "gen_a2b": "genA2B",
    "gen_b2a": "genB2A",
    "dis_global_a": "disGA",
    "dis_global_b": "disGB",
    "dis_local_a": "disLA",
    "dis_local_b": "disLB",
}


def load(path, build, **overrides):
    """Make the model that an official `.pt` holds.

    Args, Returns, Raises: as `ugatit_tf.weights.tf1.load`, with the path of the file.
    """
    arrays = {
        f"{network}/{name}": array for network, state in read_torch_file(path).items() for name, array in state.items()
    }
    ch = require(arrays, "genA2B/DownBlock.1.weight", path).shape[0]
    mlp_inputs = require(arrays, "genA2B/FC.0.weight", path).shape[-1]
    n_convs = len([name for name in arrays if re.fullmatch(r"disGA/model\.\d+\.weight_orig", name)])
    config = {
        "flavor": "pytorch",
        "light": mlp_inputs == 4 * ch,
        "ch": ch,
        "n_res": len([name for name in arrays if re.fullmatch(r"genA2B/UpBlock1_\d+\.conv1\.weight", name)]),
        "n_dis": n_convs,  # n_dis - 1 stride-2 convolutions and the last one
    }
    if not config["light"]:
        config["img_size"] = image_size_of(mlp_inputs, 4 * ch, path)
    networks = build(ModelConfig(**{**config, **overrides}))
    assign(list(entries(networks)), arrays, path)
    return networks


def entries(networks):
    """Every entry of an official `.pt`, as `network/name`, with its variable."""
    for ours, official in _NETWORKS.items():
        walk = _generator if ours.startswith("gen") else _discriminator
        for entry in walk(networks[ours]):
            yield Entry(f"{official}/{entry.name}", entry.variable, entry.convert)


def conv_kernel(array):
    """[out, in, h, w] to [h, w, in, out]."""
    return array.transpose(2, 3, 1, 0)


def vector(array):
    """[1, C, 1, 1] to [C]."""
    return array.reshape(-1)


def _generator(net):
    blocks = [("DownBlock.1", net.stem)]
    blocks += [(f"DownBlock.{5 + 4 * i}", block) for i, block in enumerate(net.down)]
    for i, block in enumerate(net.encoder_blocks):
        blocks += [
            (f"DownBlock.{12 + i}.conv_block.1", block.first),
            (f"DownBlock.{12 + i}.conv_block.5", block.second),
        ]
    for name, block in blocks:
        yield Entry(f"{name}.weight", block.conv.kernel, conv_kernel)

    yield Entry("gap_fc.weight", net.cam.gap_fc.kernel, np.transpose)
    yield Entry("gmp_fc.weight", net.cam.gmp_fc.kernel, np.transpose)
    yield Entry("conv1x1.weight", net.cam.kernel, conv_kernel)
    yield Entry("conv1x1.bias", net.cam.bias)

    def flattened_map(array):
        """[out, C*h*w] to [h*w*C, out]: PyTorch flattens channels first."""
        side = net.img_size // 4
        return array.reshape(-1, 4 * net.ch, side, side).transpose(2, 3, 1, 0).reshape(-1, array.shape[0])

    yield Entry("FC.0.weight", net.hidden[0].kernel, np.transpose if net.light else flattened_map)
    yield Entry("FC.2.weight", net.hidden[1].kernel, np.transpose)
    yield Entry("gamma.weight", net.gamma.kernel, np.transpose)
    yield Entry("beta.weight", net.beta.kernel, np.transpose)

    for i, block in enumerate(net.decoder_blocks, start=1):
        for half, conv, norm in ((1, block.conv1, block.norm1), (2, block.conv2, block.norm2)):
            yield Entry(f"UpBlock1_{i}.conv{half}.weight", conv.kernel, conv_kernel)
            yield Entry(f"UpBlock1_{i}.norm{half}.rho", norm.rho, vector)
    for i, (conv, norm) in enumerate(zip(net.up, net.up_norms, strict=True)):
        yield Entry(f"UpBlock2.{2 + 5 * i}.weight", conv.kernel, conv_kernel)
        for name in ("rho", "gamma", "beta"):
            yield Entry(f"UpBlock2.{3 + 5 * i}.{name}", getattr(norm, name), vector)
    yield Entry("UpBlock2.11.weight", net.out_conv.kernel, conv_kernel)


def _discriminator(net):
    convs = [(f"model.{1 + 3 * i}", conv) for i, conv in enumerate((*net.convs, net.last_conv))]
    for name, conv in (*convs, ("conv", net.logit_conv)):
        yield from _normalized(name, conv, conv_kernel)
        if conv.use_bias:
            yield Entry(f"{name}.bias", conv.bias)
    yield from _normalized("gap_fc", net.cam.gap_fc, np.transpose)
    yield from _normalized("gmp_fc", net.cam.gmp_fc, np.transpose)
    yield Entry("conv1x1.weight", net.cam.kernel, conv_kernel)
    yield Entry("conv1x1.bias", net.cam.bias)


def _normalized(name, layer, convert):
    """The raw kernel with its u and v; v runs over the inputs in the kernel's own order."""
    inputs = layer.kernel.shape[:-1]

    def convert_v(array):
        if len(inputs) == 1:
            return array
        height, width, channels = inputs
        return array.reshape(channels, height, width).transpose(1, 2, 0).reshape(-1)

    yield Entry(f"{name}.weight_orig", layer.kernel, convert)
    yield Entry(f"{name}.weight_u", layer.u)
    yield Entry(f"{name}.weight_v", layer.v, convert_v)
