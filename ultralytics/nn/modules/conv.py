"""Convolution blocks: the layers of a model file that hold one convolution or join feature maps.

Class and attribute names are those of ultralytics 8.3.0, because checkpoints hold them.
Maps are (B, C, H, W); B batch, C channels, H rows, W columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

Size = int | Sequence[int]


def autopad(k: Size, p: Size | None = None, d: int = 1) -> Size:
    """Padding that keeps the map size at stride 1 for kernel `k` and dilation `d`; `p` is returned when it is given."""
    if p is not None:
        return p
    if isinstance(k, int):
        return (d * (k - 1) + 1) // 2
    return [(d * (side - 1) + 1) // 2 for side in k]


class Conv(nn.Module):
    """Convolution without bias, batch normalisation, activation.

    Args:
        c1, c2: channels in and out.
        k, s, p, g, d: kernel, stride, padding (None keeps the map size at stride 1), groups, dilation.
        act: True for the default activation, a module to use that one, anything else for none.
    """

    # One instance for all blocks, as in 8.3.0: it has no state, a pickle holds it once and modules() counts it once.
    # A model file's `activation` replaces it in that network only (see parser.py).
    # Not in place: autograd would copy the input of an in-place SiLU first, so that saves nothing and costs a pass.
    default_act: nn.Module = nn.SiLU()

    def __init__(
        self,
        c1: int,
        c2: int,
        k: Size = 1,
        s: Size = 1,
        p: Size | None = None,
        g: int = 1,
        d: int = 1,
        act: bool | nn.Module = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c1, c2, k, s, autopad(k, p, d), groups=g, dilation=d, bias=False)  # type: ignore[arg-type]
        self.bn = nn.BatchNorm2d(c2)
        if act is True:
            self.act = self.default_act
        else:
            self.act = act if isinstance(act, nn.Module) else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))

    def forward_fuse(self, x: Tensor) -> Tensor:
        """Forward of a block whose normalisation was merged into the convolution (see fuse.fuse_layers)."""
        return self.act(self.conv(x))


class DWConv(Conv):
    """Conv with as many groups as the two channel counts allow: depthwise when they are equal."""

    def __init__(self, c1: int, c2: int, k: Size = 1, s: Size = 1, d: int = 1, act: bool | nn.Module = True) -> None:
        super().__init__(c1, c2, k, s, g=math.gcd(c1, c2), d=d, act=act)


class GhostConv(nn.Module):
    """Half of the output channels by a convolution, the other half by a cheap 5×5 depthwise one from the first half."""

    def __init__(self, c1: int, c2: int, k: Size = 1, s: Size = 1, g: int = 1, act: bool | nn.Module = True) -> None:
        super().__init__()
        half = c2 // 2
        self.cv1 = Conv(c1, half, k, s, None, g, act=act)
        self.cv2 = Conv(half, half, 5, 1, None, half, act=act)

    def forward(self, x: Tensor) -> Tensor:
        first = self.cv1(x)
        return torch.cat((first, self.cv2(first)), 1)


class Concat(nn.Module):
    """Joins several maps along dimension `d`."""

    def __init__(self, dimension: int = 1) -> None:
        super().__init__()
        self.d = dimension

    def forward(self, x: Sequence[Tensor]) -> Tensor:
        return torch.cat(tuple(x), self.d)

    @staticmethod
    def out_channels(c1: int | list[int], args: list) -> int:
        """Channels that come out: the sum of those that come in (asked by the reader of model files)."""
        return c1 if isinstance(c1, int) else sum(c1)
