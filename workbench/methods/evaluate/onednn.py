"""Products of float32 by oneDNN.

torch multiplies float32 on a CPU by MKL, which on AMD's processors leaves half of the vector units
unused; oneDNN, which torch carries for bfloat16, does not (measured: twice as fast on an EPYC).
"""

from __future__ import annotations

from types import MethodType

import torch
from torch.nn import functional


def by_onednn(model: torch.nn.Module) -> torch.nn.Module:
    """`model`, whose linear layers compute by oneDNN wherever no gradient is asked for."""
    if torch.backends.mkldnn.is_available():
        for module in model.modules():
            if type(module) is torch.nn.Linear and "forward" not in vars(module):
                module.forward = MethodType(_linear, module)
    return model


def _linear(layer: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
    plain = x.device.type == "cpu" and x.dtype == layer.weight.dtype == torch.float32
    if not plain or torch.is_grad_enabled():
        return functional.linear(x, layer.weight, layer.bias)
    return torch.ops.mkldnn._linear_pointwise(x, layer.weight, layer.bias, "none", [], "")
