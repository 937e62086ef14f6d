"""Learned activation function, at the path where ultralytics 8.3.0 has it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

MIN_LAMBDA = 1e-4  # keeps the logarithm and the quotient finite


class AGLU(nn.Module):
    """Adaptive unit between a sigmoid and an exponential, with two learned numbers.

    Paper: K. P. Alexandridis et al., Adaptive Parametric Activation, 2024, arXiv:2407.08567.
    """

    def __init__(self, device: torch.device | None = None, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.lambd, self.kappa = (nn.Parameter(torch.rand(1, device=device, dtype=dtype)) for _ in range(2))
        self.act = nn.Softplus(beta=-1.0)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.lambd.clamp(min=MIN_LAMBDA)
        return torch.exp(self.act(self.kappa * x - scale.log()) / scale)
