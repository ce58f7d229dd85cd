"""Writes the three files here; needs PyTorch (2.13 wrote them), which the tests do not.

Values: see `EXPECTED` in tests/weights/test_torch_file.py.
"""

from pathlib import Path

import torch

base = torch.arange(10, dtype=torch.float32)
gen = torch.nn.Module()  # a module's state dict carries `_metadata`, which its pickle sets as an attribute
gen.weight = torch.nn.Parameter(base.clone().view(2, 5))
gen.register_buffer("num_batches_tracked", torch.tensor(7))
dis = {
    "parameter": torch.nn.Parameter(base.clone()[:3].clone()),
    "transposed": torch.arange(6.0).view(2, 3).t(),
    "head": base[:4],
    "tail": base[4:],
    "every_third": base[1::3],
    "expanded": torch.tensor([[1.0], [2.0]]).expand(2, 3),
    "double": torch.tensor([0.1, -1e300], dtype=torch.float64),
    "half": torch.tensor([-0.5, 65504.0], dtype=torch.float16),
    "bfloat16": torch.tensor([[-1.5, 2.0**100], [0.0, 3.0]], dtype=torch.bfloat16).t(),
    "bfloat16_scalar": torch.tensor(-1.5, dtype=torch.bfloat16),
    "int": torch.tensor([-(2**31), 5], dtype=torch.int32),
    "short": torch.tensor([-(2**15), 5], dtype=torch.int16),
    "char": torch.tensor([-128, 5], dtype=torch.int8),
    "byte": torch.tensor([255, 5], dtype=torch.uint8),
    "bool": torch.tensor([True, False]),
    "bool_scalar": torch.tensor(True),
    "empty": torch.zeros(0, 3),
}
state = {"genA2B": gen.state_dict(), "disGA": dis}
here = Path(__file__).parent
torch.save(state, here / "zip.pt")
torch.save(state, here / "stream.pt", _use_new_zipfile_serialization=False)
torch.save(state, here / "protocol4.pt", pickle_protocol=4)
