"""Backbone stages of other families: ResNet (classification model files) and HGNet.

Papers: K. He et al., Deep Residual Learning for Image Recognition, 2015, arXiv:1512.03385, with the activation of the
YOLO networks (SiLU); HGNet: C. Cui et al., Beyond Self-Supervision, 2021, arXiv:2103.05959.
Class and attribute names are those of ultralytics 8.3.0, because checkpoints contain them.
Feature maps are (B, C, H, W).
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ultralytics.nn.modules.conv import RELU, Conv, LightConv
from ultralytics.nn.modules.csp import zero_last_norm
from ultralytics.nn.registry import register


class ResNetBlock(nn.Module):
    """ResNet bottleneck: 1×1, 3×3 with stride s, 1×1 to e * c2 channels; the input is added, then ReLU."""

    def __init__(self, c1: int, c2: int, s: int = 1, e: int = 4) -> None:
        super().__init__()
        c3 = e * c2
        self.cv1 = Conv(c1, c2, 1, 1)
        self.cv2 = Conv(c2, c2, 3, s)
        self.cv3 = Conv(c2, c3, 1, act=False)
        self.shortcut = nn.Sequential(Conv(c1, c3, 1, s, act=False)) if s != 1 or c1 != c3 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.cv3(self.cv2(self.cv1(x))) + self.shortcut(x))


@register("*args")
class ResNetLayer(nn.Module):
    """One stage of a ResNet; its row gives all arguments, without scaling.

    Args:
        c1: input channels.
        c2: channels inside the blocks, or, of the first stage, output channels.
        s: stride of the first block.
        is_first: the stage before the blocks, a 7×7 convolution and a maximum pooling, each with stride 2.
        n: number of blocks.
        e: output channels of a block are e * c2.
    """

    def __init__(self, c1: int, c2: int, s: int = 1, is_first: bool = False, n: int = 1, e: int = 4) -> None:
        super().__init__()
        self.is_first = is_first
        if is_first:
            self.layer = nn.Sequential(Conv(c1, c2, 7, 2, 3), nn.MaxPool2d(3, 2, 1))
        else:
            blocks = [ResNetBlock(c1, c2, s, e), *(ResNetBlock(e * c2, c2, 1, e) for _ in range(n - 1))]
            self.layer = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)

    @staticmethod
    def out_channels(c1: int, args: list[int]) -> int:
        """Output channels, for the parser."""
        is_first, expansion = len(args) > 3 and args[3], args[5] if len(args) > 5 else 4
        return args[1] if is_first else expansion * args[1]


class HGStem(nn.Module):
    """First layers of an HGNet: quarters the map; a pooled and a convolved path are concatenated in between."""

    def __init__(self, c1: int, cm: int, c2: int) -> None:
        super().__init__()
        half = cm // 2
        # channels in and out, kernel size, stride, padding
        sizes = ((c1, cm, 3, 2, 1), (cm, half, 2, 1, 0), (half, cm, 2, 1, 0), (2 * cm, cm, 3, 2, 1), (cm, c2, 1, 1, 0))
        self.stem1, self.stem2a, self.stem2b, self.stem3, self.stem4 = (Conv(*s, act=nn.ReLU()) for s in sizes)
        self.pool = nn.MaxPool2d(2, 1, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        x = _pad_end(self.stem1(x))
        convolved = self.stem2b(_pad_end(self.stem2a(x)))
        return self.stem4(self.stem3(torch.cat((self.pool(x), convolved), 1)))


class HGBlock(nn.Module):
    """`n` convolutions of cm channels whose outputs and input are concatenated, then squeezed and expanded to c2."""

    def __init__(
        self,
        c1: int,
        cm: int,
        c2: int,
        k: int = 3,
        n: int = 6,
        lightconv: bool = False,
        shortcut: bool = False,
        act: nn.Module = RELU,
    ) -> None:
        super().__init__()
        widths = [c1, *[cm] * n]
        convolution = partial(LightConv if lightconv else Conv, k=k, act=act)
        self.m = nn.ModuleList(map(convolution, widths, widths[1:]))
        squeezed = c2 // 2
        self.sc, self.ec = (Conv(*sizes, act=act) for sizes in ((sum(widths), squeezed), (squeezed, c2)))
        self.add = shortcut and c1 == c2

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for layer in self.m:
            maps.append(layer(maps[-1]))
        y = self.ec(self.sc(torch.cat(maps, 1)))
        return x + y if self.add else y

    def start_as_identity(self) -> bool:
        """Initialize as the identity; False if the block does not add its input. See nn/transfer/transfer.py."""
        return self.add and zero_last_norm(self.ec)


def _pad_end(x: Tensor) -> Tensor:
    # one column right, one row below: a 2×2 window at stride 1 then keeps the size
    return F.pad(x, (0, 1, 0, 1))
