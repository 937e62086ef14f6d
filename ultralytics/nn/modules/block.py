"""The module that official checkpoints name for every block; pooling blocks, DFL and Proto are defined here.

All other blocks are defined in files by subject (csp.py, elan.py, cib.py, psa.py, stages.py) and re-exported: pickles
of ultralytics 8.3.0 and of this package name them `ultralytics.nn.modules.block.<class>`.
Feature maps are (B, C, H, W); A anchors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ultralytics.nn.modules.cib import CIB, C2fCIB, RepVGGDW, SCDown
from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.modules.csp import (
    C1,
    C2,
    C3,
    C3TR,
    Bottleneck,
    BottleneckCSP,
    C2f,
    C3f,
    C3Ghost,
    C3k,
    C3k2,
    C3x,
    GhostBottleneck,
)
from ultralytics.nn.modules.elan import (
    ELAN1,
    SPPELAN,
    AConv,
    ADown,
    CBFuse,
    CBLinear,
    RepBottleneck,
    RepC3,
    RepCSP,
    RepNCSPELAN4,
)
from ultralytics.nn.modules.psa import C2PSA, PSA, Attention, C2fPSA, PSABlock
from ultralytics.nn.modules.stages import HGBlock, HGStem, ResNetBlock, ResNetLayer
from ultralytics.nn.registry import register

Silence = nn.Identity  # name in checkpoints of the first YOLOv9 conversions

_IMPORTED = (
    *(C1, C2, C3, C3TR, Bottleneck, BottleneckCSP, C2f, C3f, C3Ghost, C3k, C3k2, C3x, GhostBottleneck),
    *(ELAN1, SPPELAN, AConv, ADown, CBFuse, CBLinear, RepBottleneck, RepC3, RepCSP, RepNCSPELAN4),
    *(CIB, C2fCIB, RepVGGDW, SCDown, C2PSA, PSA, Attention, C2fPSA, PSABlock),
    *(HGBlock, HGStem, ResNetBlock, ResNetLayer),
)
for _cls in _IMPORTED:  # pickle writes a class by its __module__, and 8.3.0 reads checkpoints of this package
    _cls.__module__ = __name__

__all__ = ["DFL", "SPP", "SPPF", "Proto", "Silence", *(cls.__name__ for cls in _IMPORTED)]


@register("c1, c2, *args")
class SPP(nn.Module):
    """Spatial pyramid pooling: the map and its maxima over windows of several sizes, concatenated."""

    def __init__(self, c1: int, c2: int, k: Sequence[int] = (5, 9, 13)) -> None:
        super().__init__()
        hidden = c1 // 2
        self.cv1 = Conv(c1, hidden, 1, 1)
        self.cv2 = Conv(hidden * (len(k) + 1), c2, 1, 1)
        self.m = nn.ModuleList(nn.MaxPool2d(side, 1, side // 2) for side in k)

    def forward(self, x: Tensor) -> Tensor:
        x = self.cv1(x)
        return self.cv2(torch.cat([x, *(pool(x) for pool in self.m)], 1))


@register("c1, c2, *args")
class SPPF(nn.Module):
    """SPP by one pooling applied three times; k = 5 equals the windows 5, 9 and 13."""

    def __init__(self, c1: int, c2: int, k: int = 5) -> None:
        super().__init__()
        hidden = c1 // 2
        self.cv1 = Conv(c1, hidden, 1, 1)
        self.cv2 = Conv(4 * hidden, c2, 1, 1)
        self.m = nn.MaxPool2d(k, 1, k // 2)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.cv1(x)]
        for _ in range(3):
            maps.append(self.m(maps[-1]))
        return self.cv2(torch.cat(maps, 1))


class DFL(nn.Module):
    """Expected value of a distribution over 0 … c1-1, for each side of each box ('distribution focal loss')."""

    def __init__(self, c1: int = 16) -> None:
        super().__init__()
        self.c1 = c1
        # a convolution only because checkpoints contain `dfl.conv.weight`; it is the constant 0, 1, …, c1-1
        self.conv = nn.Conv2d(c1, 1, 1, bias=False).requires_grad_(False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the constant."""
        self.conv.weight.data = torch.arange(self.c1, dtype=torch.float32).reshape(1, self.c1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 4*c1, A) to distances (B, 4, A), in cells."""
        B, _, A = x.shape
        probabilities = x.reshape(B, 4, self.c1, A).softmax(2)
        values = self.conv.weight.reshape(1, self.c1).to(probabilities.dtype)
        return (values @ probabilities).reshape(B, 4, A)


class Proto(nn.Module):
    """Mask prototypes: c2 maps of twice the size of the input, through c_ channels."""

    def __init__(self, c1: int, c_: int = 256, c2: int = 32) -> None:
        super().__init__()
        self.cv1 = Conv(c1, c_, 3)
        self.upsample = nn.ConvTranspose2d(c_, c_, 2, 2)
        self.cv2 = Conv(c_, c_, 3)
        self.cv3 = Conv(c_, c2)

    def forward(self, x: Tensor) -> Tensor:
        return self.cv3(self.cv2(self.upsample(self.cv1(x))))
