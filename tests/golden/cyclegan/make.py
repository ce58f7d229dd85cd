"""Writes networks.npz here; needs PyTorch (2.13 wrote it), which the tests do not.

Usage: make.py CHECKOUT, a checkout of junyanz/pytorch-CycleGAN-and-pix2pix (c3268ed wrote it).
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, sys.argv[1])
from models.networks import NLayerDiscriminator, ResnetGenerator, get_norm_layer

rng = np.random.default_rng(0)
norm = get_norm_layer("instance")
nets = {
    "generator": ResnetGenerator(3, 3, ngf=4, norm_layer=norm, n_blocks=2),
    "discriminator": NLayerDiscriminator(3, ndf=4, n_layers=3, norm_layer=norm),
}
images = rng.uniform(-1, 1, (2, 32, 48, 3)).astype(np.float32)
arrays = {"images": images}
for name, net in nets.items():
    weights = {key: (rng.normal(size=w.shape) * 0.1).astype(np.float32) for key, w in net.state_dict().items()}
    net.double().load_state_dict({key: torch.from_numpy(w) for key, w in weights.items()})
    with torch.no_grad():
        output = net(torch.from_numpy(images).double().permute(0, 3, 1, 2))
    arrays |= {f"{name}/{key}": w for key, w in weights.items()}
    arrays[f"{name}_output"] = output.permute(0, 2, 3, 1).numpy().astype(np.float32)
np.savez_compressed(Path(__file__).parent / "networks.npz", **arrays)
