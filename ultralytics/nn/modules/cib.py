"""Blocks of YOLOv10: the compact inverted block with its large-kernel form, and downsampling without full convolution.

Paper: A. Wang et al., YOLOv10: Real-Time End-to-End Object Detection, 2024, arXiv:2405.14458.
Class and attribute names are those of ultralytics 8.3.0, because checkpoints contain them.
Feature maps are (B, C, H, W).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ultralytics.nn.modules.conv import Conv, convolution_like, merged_kernel, pad_kernel
from ultralytics.nn.modules.csp import C2f, zero_last_norm
from ultralytics.nn.registry import register

LARGE_KERNEL = 7


class RepVGGDW(nn.Module):
    """Sum of a depthwise 7×7 and a depthwise 3×3 convolution, then SiLU; one convolution after fuse()."""

    def __init__(self, ed: int) -> None:
        super().__init__()
        self.conv: Conv | nn.Conv2d = Conv(ed, ed, LARGE_KERNEL, 1, g=ed, act=False)
        self.conv1 = Conv(ed, ed, 3, 1, g=ed, act=False)
        self.dim = ed
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv(x) + self.conv1(x))

    def forward_fuse(self, x: Tensor) -> Tensor:
        """Forward pass after fuse()."""
        return self.act(self.conv(x))

    @torch.no_grad()
    def fuse(self) -> None:
        """Replace both branches by one convolution with bias, in place; the layer is then for inference only."""
        assert isinstance(self.conv, Conv), "fuse() runs once"
        kernel, bias = merged_kernel(self.conv.conv, self.conv.bn)
        small_kernel, small_bias = merged_kernel(self.conv1.conv, self.conv1.bn)
        kernel = kernel + pad_kernel(small_kernel, LARGE_KERNEL)
        self.conv = convolution_like(self.conv.conv, kernel, bias + small_bias)
        del self.conv1
        self.forward = self.forward_fuse  # type: ignore[method-assign]


class CIB(nn.Module):
    """Depthwise 3×3, 1×1, depthwise, 1×1, depthwise 3×3; the middle one is RepVGGDW if `lk` (large kernel) is set."""

    def __init__(self, c1: int, c2: int, shortcut: bool = True, e: float = 0.5, lk: bool = False) -> None:
        super().__init__()
        wide = 2 * int(c2 * e)
        self.cv1 = nn.Sequential(
            Conv(c1, c1, 3, g=c1),
            Conv(c1, wide, 1),
            RepVGGDW(wide) if lk else Conv(wide, wide, 3, g=wide),
            Conv(wide, c2, 1),
            Conv(c2, c2, 3, g=c2),
        )
        self.add = shortcut and c1 == c2

    def forward(self, x: Tensor) -> Tensor:
        return x + self.cv1(x) if self.add else self.cv1(x)

    def start_as_identity(self) -> bool:
        """Initialize as the identity; False if the block does not add its input. See nn/transfer/transfer.py."""
        return self.add and zero_last_norm(self.cv1)


@register("c1, c2, n, *args")
class C2fCIB(C2f):
    """C2f of compact inverted blocks."""

    def __init__(
        self,
        c1: int,
        c2: int,
        n: int = 1,
        shortcut: bool = False,
        lk: bool = False,
        g: int = 1,
        e: float = 0.5,
    ) -> None:
        super().__init__(c1, c2, n, shortcut, g, e)
        self.m = nn.ModuleList(CIB(self.c, self.c, shortcut, e=1.0, lk=lk) for _ in range(n))


@register("c1, c2, *args")
class SCDown(nn.Module):
    """Downsampling: a 1×1 convolution changes the channels, a depthwise k×k convolution with stride s the size."""

    def __init__(self, c1: int, c2: int, k: int, s: int) -> None:
        super().__init__()
        self.cv1 = Conv(c1, c2, 1, 1)
        self.cv2 = Conv(c2, c2, k, s, g=c2, act=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.cv2(self.cv1(x))
