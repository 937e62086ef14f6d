"""Residual bottlenecks and the cross-stage blocks made of them: C1, C2, C2f, C3 and their variants.

Class and attribute names are those of ultralytics 8.3.0, because checkpoints contain them. A subclass that replaces its
parent's list `m` lets the parent build its own first and drops it: under one seed the random numbers are then drawn in
the order of 8.3.0, and both packages start from the same weights.
Feature maps are (B, C, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from ultralytics.nn.modules.conv import Conv, DWConv, GhostConv, Size
from ultralytics.nn.modules.transformer import TransformerBlock
from ultralytics.nn.registry import register

KERNELS_3X3 = ((3, 3), (3, 3))  # of a bottleneck with two 3×3 convolutions
C3TR_HEADS = 4


@register("c1, c2, *args")
class Bottleneck(nn.Module):
    """Two convolutions through `int(c2 * e)` channels; adds its input if `shortcut` is set and c1 == c2."""

    def __init__(
        self, c1: int, c2: int, shortcut: bool = True, g: int = 1, k: Sequence[Size] = (3, 3), e: float = 0.5
    ) -> None:
        super().__init__()
        hidden = int(c2 * e)
        self.cv1: nn.Module = Conv(c1, hidden, k[0], 1)
        self.cv2 = Conv(hidden, c2, k[1], 1, g=g)
        self.add = shortcut and c1 == c2

    def forward(self, x: Tensor) -> Tensor:
        y = self.cv2(self.cv1(x))
        return x + y if self.add else y

    def start_as_identity(self) -> bool:
        """Initialize as the identity; False if the block does not add its input. See nn/transfer/transfer.py."""
        return self.add and zero_last_norm(self.cv2)


@register("c1, c2, *args")
class GhostBottleneck(nn.Module):
    """Bottleneck of two GhostConv; stride 2 adds a depthwise convolution between them and one on the shortcut."""

    def __init__(self, c1: int, c2: int, k: int = 3, s: int = 1) -> None:
        super().__init__()
        half, downsample = c2 // 2, s == 2
        self.conv = nn.Sequential(
            GhostConv(c1, half, 1, 1),
            DWConv(half, half, k, s, act=False) if downsample else nn.Identity(),
            GhostConv(half, c2, 1, 1, act=False),
        )
        self.shortcut = (
            nn.Sequential(DWConv(c1, c1, k, s, act=False), Conv(c1, c2, 1, 1, act=False))
            if downsample
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + self.shortcut(x)


@register("c1, c2, n, *args")
class BottleneckCSP(nn.Module):
    """The first cross-stage block of YOLOv5: both paths end in a plain convolution and share one normalization."""

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = True, g: int = 1, e: float = 0.5) -> None:
        super().__init__()
        hidden = int(c2 * e)
        self.cv1 = Conv(c1, hidden, 1, 1)
        self.cv2 = nn.Conv2d(c1, hidden, 1, 1, bias=False)
        self.cv3 = nn.Conv2d(hidden, hidden, 1, 1, bias=False)
        self.cv4 = Conv(2 * hidden, c2, 1, 1)
        self.bn = nn.BatchNorm2d(2 * hidden)
        self.act = nn.SiLU()
        self.m = nn.Sequential(*(Bottleneck(hidden, hidden, shortcut, g, e=1.0) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat((self.cv3(self.m(self.cv1(x))), self.cv2(x)), 1)
        return self.cv4(self.act(self.bn(y)))


@register("c1, c2, n, *args")
class C1(nn.Module):
    """1×1 convolution, then `n` 3×3 convolutions with one shortcut around them."""

    def __init__(self, c1: int, c2: int, n: int = 1) -> None:
        super().__init__()
        self.cv1 = Conv(c1, c2, 1, 1)
        self.m = nn.Sequential(*(Conv(c2, c2, 3) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        y = self.cv1(x)
        return self.m(y) + y


class CrossStage(nn.Module):
    """Base: cv1 gives two halves of `int(c2 * e)` channels each, cv2 reads `parts` maps of that width."""

    def __init__(self, c1: int, c2: int, e: float, parts: int) -> None:
        super().__init__()
        self.c = int(c2 * e)
        self.cv1 = Conv(c1, 2 * self.c)
        self.cv2 = Conv(parts * self.c, c2)

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, c1, H, W) to two maps (B, c, H, W)."""
        first, second = self.cv1(x).chunk(2, 1)
        return first, second

    def join(self, *maps: Tensor) -> Tensor:
        """`parts` maps (B, c, H, W) to (B, c2, H, W)."""
        return self.cv2(torch.cat(maps, 1))


@register("c1, c2, n, *args")
class C2(CrossStage):
    """Cross-stage block: one half of the channels passes through `n` bottlenecks, the other half around them."""

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = True, g: int = 1, e: float = 0.5) -> None:
        super().__init__(c1, c2, e, parts=2)
        self.m = nn.Sequential(*_bottlenecks(self.c, n, shortcut, g))

    def forward(self, x: Tensor) -> Tensor:
        through, around = self.halves(x)
        return self.join(self.m(through), around)


@register("c1, c2, n, *args")
class C2f(CrossStage):
    """Cross-stage block that keeps the output of every bottleneck: cv2 reads both halves and all `n` results."""

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = False, g: int = 1, e: float = 0.5) -> None:
        super().__init__(c1, c2, e, parts=2 + n)
        self.m = nn.ModuleList(_bottlenecks(self.c, n, shortcut, g))

    def forward(self, x: Tensor) -> Tensor:
        return self._through(*self.halves(x))

    def forward_split(self, x: Tensor) -> Tensor:
        """The same by `split`, which some export formats support better than `chunk`."""
        return self._through(*self.cv1(x).split((self.c, self.c), 1))

    def _through(self, *halves: Tensor) -> Tensor:
        maps = list(halves)
        for block in self.m:
            maps.append(block(maps[-1]))
        return self.join(*maps)


@register("c1, c2, n, *args")
class C3(nn.Module):
    """Cross-stage block with two input convolutions: cv1 leads through `n` bottlenecks, cv2 around them."""

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = True, g: int = 1, e: float = 0.5) -> None:
        super().__init__()
        hidden = int(c2 * e)
        self.cv1 = Conv(c1, hidden, 1, 1)
        self.cv2 = Conv(c1, hidden, 1, 1)
        self.cv3 = Conv(2 * hidden, c2, 1)
        self.m: nn.Module = _sequence(hidden, n, shortcut, g, ((1, 1), (3, 3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))


@register("c1, c2, n, *args")
class C3x(C3):
    """C3 whose bottlenecks have a 1×3 and a 3×1 convolution."""

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = True, g: int = 1, e: float = 0.5) -> None:
        super().__init__(c1, c2, n, shortcut, g, e)
        self.c_ = int(c2 * e)
        self.m = _sequence(self.c_, n, shortcut, g, ((1, 3), (3, 1)))


@register("c1, c2, n, *args")
class C3TR(C3):
    """C3 with `n` transformer layers in place of the bottlenecks."""

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = True, g: int = 1, e: float = 0.5) -> None:
        super().__init__(c1, c2, n, shortcut, g, e)
        hidden = int(c2 * e)
        self.m = TransformerBlock(hidden, hidden, C3TR_HEADS, n)


@register("c1, c2, n, *args")
class C3Ghost(C3):
    """C3 of ghost bottlenecks."""

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = True, g: int = 1, e: float = 0.5) -> None:
        super().__init__(c1, c2, n, shortcut, g, e)
        hidden = int(c2 * e)
        self.m = nn.Sequential(*(GhostBottleneck(hidden, hidden) for _ in range(n)))


@register("c1, c2, n, *args")
class C3k(C3):
    """C3 whose bottlenecks have two k×k convolutions."""

    def __init__(
        self, c1: int, c2: int, n: int = 1, shortcut: bool = True, g: int = 1, e: float = 0.5, k: int = 3
    ) -> None:
        super().__init__(c1, c2, n, shortcut, g, e)
        self.m = _sequence(int(c2 * e), n, shortcut, g, (k, k))


@register("c1, c2, n, *args")
class C3f(nn.Module):
    """C2f with two input convolutions in place of one that is split."""

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = False, g: int = 1, e: float = 0.5) -> None:
        super().__init__()
        hidden = int(c2 * e)
        self.cv1 = Conv(c1, hidden, 1, 1)
        self.cv2 = Conv(c1, hidden, 1, 1)
        self.cv3 = Conv((2 + n) * hidden, c2, 1)
        self.m = nn.ModuleList(_bottlenecks(hidden, n, shortcut, g))

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.cv2(x), self.cv1(x)]
        for block in self.m:
            maps.append(block(maps[-1]))
        return self.cv3(torch.cat(maps, 1))


@register("c1, c2, n, *args")
class C3k2(C2f):
    """C2f of C3k blocks (`c3k` set) or of bottlenecks that halve the channels; `e` comes before `g` and `shortcut`."""

    def __init__(
        self, c1: int, c2: int, n: int = 1, c3k: bool = False, e: float = 0.5, g: int = 1, shortcut: bool = True
    ) -> None:
        super().__init__(c1, c2, n, shortcut, g, e)
        block = partial(C3k, n=2) if c3k else Bottleneck
        for i in range(n):
            self.m[i] = block(self.c, self.c, shortcut=shortcut, g=g)


def zero_last_norm(branch: nn.Module) -> bool:
    """Make a residual branch output 0 at first, by its last BatchNorm2d; False if it has none (fused)."""
    norms = [m for m in branch.modules() if isinstance(m, nn.BatchNorm2d)]
    for parameter in norms[-1].parameters() if norms else ():
        nn.init.zeros_(parameter)
    return bool(norms)


def _bottlenecks(c: int, n: int, shortcut: bool, g: int, k: Sequence[Size] = KERNELS_3X3) -> list[Bottleneck]:
    return [Bottleneck(c, c, shortcut, g, k, 1.0) for _ in range(n)]


def _sequence(c: int, n: int, shortcut: bool, g: int, k: Sequence[Size]) -> nn.Sequential:
    return nn.Sequential(*_bottlenecks(c, n, shortcut, g, k))
