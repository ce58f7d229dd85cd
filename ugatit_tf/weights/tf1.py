"""Checkpoints of the official TF1 implementation (taki0112/UGATIT)."""

import re

import tensorflow as tf

from ugatit_tf.weights.official import Entry, Layout, assign, configured, deepest, image_size_of, names_of, require

_NOT_WEIGHTS = re.compile(r"(/Adam(_\d+)?|^beta[12]_power(_\d+)?|^global_step)$")
_NETWORKS = {
    "gen_a2b": "generator_B",
    "gen_b2a": "generator_A",
    **{
        f"dis_{depth}_{domain}": f"discriminator_{domain.upper()}/{depth}"
        for domain in "ab"
        for depth in ("global", "local")
    },
}
_ROW = Layout(lambda array: array.reshape(-1), lambda array: array.reshape(1, -1))  # [1, C] and [C]


def load(path, build, **overrides):
    """Make the model that a TF1 checkpoint holds.

    Args:
        path: prefix of the checkpoint, `.../UGATIT.model-100000`.
        build: function of a `ModelConfig` and a list of names that makes the dict of these networks.
        overrides: what the weights cannot show, for example `smoothing=False`.

    Returns:
        What `build` returned, with the checkpoint's weights.

    Raises:
        ValueError: the files are no readable checkpoint, or its entries are not those of U-GAT-IT.
    """
    try:
        reader = tf.train.load_checkpoint(str(path))
        names = [name for name in reader.get_variable_to_shape_map() if not _NOT_WEIGHTS.search(name)]
        arrays = {name: reader.get_tensor(name) for name in names}
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:
        raise ValueError(
            f"{path} is not a readable TensorFlow checkpoint ({error}). Both the .index and the .data file are needed, "
            "complete."
        ) from error

    present = names_of(_NETWORKS, {scope for scope in _NETWORKS.values() if any(n.startswith(scope) for n in arrays)})
    generator = _NETWORKS[present[0]] if present else "generator_B"
    first = require(arrays, f"{generator}/conv/conv2d/kernel", path)
    ch = first.shape[-1]
    mlp_inputs = require(arrays, f"{generator}/MLP/linear_0/dense/kernel", path).shape[0]
    n_global = _count(arrays, r"discriminator_A/global/conv_(\d+)/kernel")
    config = {
        "flavor": "tf1",
        "light": mlp_inputs == 4 * ch,
        "ch": ch,
        "n_res": _count(arrays, rf"{generator}/resblock_(\d+)/res1/conv_0/conv2d/kernel"),
    }
    if not config["light"]:
        config["img_size"] = image_size_of(mlp_inputs, 4 * ch, path)
    if len(present) > 2:
        config |= {"n_dis": n_global + 1, "sn": "discriminator_A/global/conv_0/u" in arrays}
    else:
        overrides = {"n_dis": deepest(config, overrides), **overrides}
    networks = build(configured(config, overrides, path), present)
    assign(list(entries(networks)), arrays, path)
    reset_v(networks)
    return networks


def _count(arrays, pattern):
    return len([name for name in arrays if re.fullmatch(pattern, name)])


def reset_v(networks):
    """TF1 stores u alone: v follows from it."""
    for network in networks.values():
        for layer in network._flatten_layers():
            if hasattr(layer, "reset"):
                layer.reset(layer.u)


def entries(networks):
    """Every entry of a TF1 checkpoint of these networks with its variable."""
    for name, scope in _NETWORKS.items():
        if name in networks:
            yield from (_generator if name.startswith("gen") else _discriminator)(networks[name], scope)


def _weights(layer, scope, *names):
    for name in names:
        yield Entry(f"{scope}/{name}", getattr(layer, name))


def _conv(layer, scope):
    return _weights(layer, f"{scope}/conv2d", "kernel", "bias")


def _generator(net, scope):
    blocks = [(net.stem, "conv", "ins_norm")]
    blocks += [(block, f"conv_{i}", f"ins_norm_{i}") for i, block in enumerate(net.down)]
    for i, block in enumerate(net.encoder_blocks):
        blocks += [
            (half, f"resblock_{i}/{res}/conv_0", f"resblock_{i}/{res}/instance_norm")
            for half, res in ((block.first, "res1"), (block.second, "res2"))
        ]
    for block, conv, norm in blocks:
        yield from _conv(block.conv, f"{scope}/{conv}")
        yield from _weights(block.norm, f"{scope}/{norm}", "gamma", "beta")

    yield from _weights(net.cam.gap_fc, f"{scope}/CAM_logit", "kernel", "bias")
    yield from _conv(net.cam, f"{scope}/conv_1x1")
    for layer, name in zip((*net.hidden, net.gamma, net.beta), ("linear_0", "linear_1", "gamma", "beta"), strict=True):
        yield from _weights(layer, f"{scope}/MLP/{name}/dense", "kernel", "bias")

    for i, block in enumerate(net.decoder_blocks):
        for res, conv, norm in (("res1", block.conv1, block.norm1), ("res2", block.conv2, block.norm2)):
            yield from _conv(conv, f"{scope}/adaptive_resblock{i}/{res}/conv_0")
            yield from _weights(norm, f"{scope}/adaptive_resblock{i}/{res}/instance_layer_norm", "rho")
    for i, (conv, norm) in enumerate(zip(net.up, net.up_norms, strict=True)):
        yield from _conv(conv, f"{scope}/up_conv_{i}")
        yield from _weights(norm, f"{scope}/layer_ins_norm_{i}", "rho", "gamma", "beta")
    yield from _conv(net.out_conv, f"{scope}/G_logit")


def _discriminator(net, scope):
    named = [(conv, f"conv_{i}") for i, conv in enumerate(net.convs)]
    named += [(net.last_conv, "conv_last"), (net.cam.gap_fc, "CAM_logit"), (net.logit_conv, "D_logit")]
    for layer, name in named:
        # Without spectral norm TF1 makes an ordinary convolution, which adds a scope of its own.
        own = "" if net.sn or name == "CAM_logit" else "/conv2d"
        yield from _weights(layer, f"{scope}/{name}{own}", "kernel", "bias")
        if net.sn:
            yield Entry(f"{scope}/{name}/u", layer.u, _ROW)
    yield from _conv(net.cam, f"{scope}/conv_1x1")
