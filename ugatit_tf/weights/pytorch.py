"""Checkpoints of the official PyTorch implementation (znxlwm/UGATIT-pytorch), read and written."""

import re

import numpy as np

from ugatit_tf.weights.official import (
    SAME,
    Entry,
    Layout,
    assign,
    configured,
    deepest,
    image_size_of,
    names_of,
    require,
)
from ugatit_tf.weights.torch_file import read_torch_file
from ugatit_tf.weights.torch_writer import write_torch_file

_NETWORKS = {
    "gen_a2b": "genA2B",
    "gen_b2a": "genB2A",
    "dis_global_a": "disGA",
    "dis_global_b": "disGB",
    "dis_local_a": "disLA",
    "dis_local_b": "disLB",
}
_PREFIXES = re.compile(r"^(module\.|_orig_mod\.)+")
_MATRIX = Layout(np.transpose, np.transpose)  # [out, in] and [in, out]
_CONV_KERNEL = Layout(  # [out, in, h, w] and [h, w, in, out]
    lambda array: array.transpose(2, 3, 1, 0),
    lambda array: array.transpose(3, 2, 0, 1),
)
_VECTOR = Layout(lambda array: array.reshape(-1), lambda array: array.reshape(1, -1, 1, 1))  # [1, C, 1, 1] and [C]


def load(path, build, **overrides):
    """Make the model that an official `.pt` holds.

    Generators alone, or one of them, are taken too, and state dicts under another dict's key (`state_dict`, `model`).
    Prefixes that wrappers put before names (`module.` of DataParallel, `_orig_mod.` of torch.compile) are left out.

    Args, Returns, Raises: as `ugatit_tf.weights.tf1.load`, with the path of the file.
    """
    arrays = {
        f"{network}/{_PREFIXES.sub('', name)}": array
        for network, state in read_torch_file(path).items()
        for name, array in state.items()
    }
    present = names_of(_NETWORKS, {name.partition("/")[0] for name in arrays})
    generator = _NETWORKS[present[0]] if present else "genA2B"
    ch = require(arrays, f"{generator}/DownBlock.1.weight", path).shape[0]
    mlp_inputs = require(arrays, f"{generator}/FC.0.weight", path).shape[-1]
    n_convs = len([name for name in arrays if re.fullmatch(r"disGA/model\.\d+\.weight_orig", name)])
    config = {
        "flavor": "pytorch",
        "light": mlp_inputs == 4 * ch,
        "ch": ch,
        "n_res": len([name for name in arrays if re.fullmatch(rf"{generator}/UpBlock1_\d+\.conv1\.weight", name)]),
    }
    if not config["light"]:
        config["img_size"] = image_size_of(mlp_inputs, 4 * ch, path)
    if len(present) > 2:
        config["n_dis"] = n_convs  # n_dis - 1 stride-2 convolutions and the last one
    else:
        overrides = {"n_dis": deepest(config, overrides), **overrides}
    networks = build(configured(config, overrides, path), present)
    assign(list(entries(networks)), arrays, path)
    return networks


def save(networks, path):
    """Write the six networks, of the `pytorch` flavor, as an official `.pt`: names, order and layout are its own.

    Args:
        networks: dict of the six networks.
        path: of the file to make.
    """
    states = {official: {} for official in _NETWORKS.values()}
    for entry in entries(networks):
        network, _, name = entry.name.partition("/")
        states[network][name] = entry.official_array()
    write_torch_file(path, states)


def entries(networks):
    """Every entry of these networks, as an official `.pt` names and orders them (`network/name`), with its variable."""
    for ours, official in _NETWORKS.items():
        if ours not in networks:
            continue
        walk = _generator if ours.startswith("gen") else _discriminator
        for entry in walk(networks[ours]):
            yield Entry(f"{official}/{entry.name}", entry.variable, entry.layout)


def _generator(net):
    yield Entry("gap_fc.weight", net.cam.gap_fc.kernel, _MATRIX)
    yield Entry("gmp_fc.weight", net.cam.gmp_fc.kernel, _MATRIX)
    yield Entry("conv1x1.weight", net.cam.kernel, _CONV_KERNEL)
    yield Entry("conv1x1.bias", net.cam.bias)
    yield Entry("gamma.weight", net.gamma.kernel, _MATRIX)
    yield Entry("beta.weight", net.beta.kernel, _MATRIX)

    for i, block in enumerate(net.decoder_blocks, start=1):
        for half, conv, norm in ((1, block.conv1, block.norm1), (2, block.conv2, block.norm2)):
            yield Entry(f"UpBlock1_{i}.conv{half}.weight", conv.kernel, _CONV_KERNEL)
            yield Entry(f"UpBlock1_{i}.norm{half}.rho", norm.rho, _VECTOR)

    blocks = [("DownBlock.1", net.stem)]
    blocks += [(f"DownBlock.{5 + 4 * i}", block) for i, block in enumerate(net.down)]
    for i, block in enumerate(net.encoder_blocks):
        blocks += [
            (f"DownBlock.{12 + i}.conv_block.1", block.first),
            (f"DownBlock.{12 + i}.conv_block.5", block.second),
        ]
    for name, block in blocks:
        yield Entry(f"{name}.weight", block.conv.kernel, _CONV_KERNEL)

    side = net.img_size // 4
    yield Entry("FC.0.weight", net.hidden[0].kernel, _MATRIX if net.light else _flattened_map(side, side, 4 * net.ch))
    yield Entry("FC.2.weight", net.hidden[1].kernel, _MATRIX)

    for i, (conv, norm) in enumerate(zip(net.up, net.up_norms, strict=True)):
        yield Entry(f"UpBlock2.{2 + 5 * i}.weight", conv.kernel, _CONV_KERNEL)
        for name in ("rho", "gamma", "beta"):
            yield Entry(f"UpBlock2.{3 + 5 * i}.{name}", getattr(norm, name), _VECTOR)
    yield Entry("UpBlock2.11.weight", net.out_conv.kernel, _CONV_KERNEL)


def _discriminator(net):
    yield from _normalized("gap_fc", net.cam.gap_fc, _MATRIX)
    yield from _normalized("gmp_fc", net.cam.gmp_fc, _MATRIX)
    yield Entry("conv1x1.weight", net.cam.kernel, _CONV_KERNEL)
    yield Entry("conv1x1.bias", net.cam.bias)
    convs = [("conv", net.logit_conv)]
    convs += [(f"model.{1 + 3 * i}", conv) for i, conv in enumerate((*net.convs, net.last_conv))]
    for name, conv in convs:
        if conv.use_bias:
            yield Entry(f"{name}.bias", conv.bias)
        yield from _normalized(name, conv, _CONV_KERNEL, _flattened_inputs(*conv.kernel.shape[:-1]))


def _normalized(name, layer, kernel, inputs=SAME):
    """The raw kernel with its u and v; v runs over the inputs in the kernel's own order."""
    yield Entry(f"{name}.weight_orig", layer.kernel, kernel)
    yield Entry(f"{name}.weight_u", layer.u)
    yield Entry(f"{name}.weight_v", layer.v, inputs)


def _flattened_map(height, width, channels):
    """[out, C*h*w] and [h*w*C, out]: PyTorch flattens channels first."""
    return Layout(
        lambda array: array.reshape(-1, channels, height, width).transpose(2, 3, 1, 0).reshape(-1, array.shape[0]),
        lambda array: array.reshape(height, width, channels, -1).transpose(3, 2, 0, 1).reshape(array.shape[1], -1),
    )


def _flattened_inputs(height, width, channels):
    """[C*h*w] and [h*w*C]."""
    return Layout(
        lambda array: array.reshape(channels, height, width).transpose(1, 2, 0).reshape(-1),
        lambda array: array.reshape(height, width, channels).transpose(2, 0, 1).reshape(-1),
    )
