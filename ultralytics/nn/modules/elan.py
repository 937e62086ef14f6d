"""Blocks of YOLOv9 (ELAN, programmable gradient information) and of RepVGG-style cross-stage blocks.

Paper: C.-Y. Wang, I.-H. Yeh, H.-Y. M. Liao, YOLOv9: Learning What You Want to Learn Using Programmable Gradient
Information, 2024, arXiv:2402.13616.
Class and attribute names are those of ultralytics 8.3.0, because checkpoints contain them.
Feature maps are (B, C, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ultralytics.nn.modules.conv import Conv, RepConv, autopad
from ultralytics.nn.modules.csp import C3, Bottleneck
from ultralytics.nn.registry import register


class RepBottleneck(Bottleneck):
    """Bottleneck whose first convolution is a RepConv."""

    def __init__(
        self, c1: int, c2: int, shortcut: bool = True, g: int = 1, k: Sequence[int] = (3, 3), e: float = 0.5
    ) -> None:
        super().__init__(c1, c2, shortcut, g, k, e)
        self.cv1 = RepConv(c1, int(c2 * e), k[0], 1)


class RepCSP(C3):
    """C3 of RepBottleneck."""

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = True, g: int = 1, e: float = 0.5) -> None:
        super().__init__(c1, c2, n, shortcut, g, e)
        hidden = int(c2 * e)
        self.m = nn.Sequential(*(RepBottleneck(hidden, hidden, shortcut, g, e=1.0) for _ in range(n)))


@register("c1, c2, n, *args")
class RepC3(nn.Module):
    """`n` RepConv and a 1×1 convolution beside them, added."""

    def __init__(self, c1: int, c2: int, n: int = 3, e: float = 1.0) -> None:
        super().__init__()
        hidden = int(c2 * e)
        # 8.3.0 gives cv1 and cv2 c2 channels, which fails in the forward pass unless e == 1
        self.cv1 = Conv(c1, hidden, 1, 1)
        self.cv2 = Conv(c1, hidden, 1, 1)
        self.m = nn.Sequential(*(RepConv(hidden, hidden) for _ in range(n)))
        self.cv3 = Conv(hidden, c2, 1, 1) if hidden != c2 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.cv3(self.m(self.cv1(x)) + self.cv2(x))


@register("c1, c2, *args")
class RepNCSPELAN4(nn.Module):
    """ELAN block: two halves of c3 channels, then two stages of RepCSP and a convolution, all concatenated.

    Args:
        c1: input channels.
        c2: output channels.
        c3: channels of both halves together; even.
        c4: channels of every stage.
        n: bottlenecks per RepCSP.
    """

    def __init__(self, c1: int, c2: int, c3: int, c4: int, n: int = 1) -> None:
        super().__init__()
        self.c = c3 // 2
        self.cv1 = Conv(c1, c3, 1, 1)
        self.cv2: nn.Module = nn.Sequential(RepCSP(self.c, c4, n), Conv(c4, c4, 3, 1))
        self.cv3: nn.Module = nn.Sequential(RepCSP(c4, c4, n), Conv(c4, c4, 3, 1))
        self.cv4 = Conv(c3 + 2 * c4, c2, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self._through(*self.cv1(x).chunk(2, 1))

    def forward_split(self, x: Tensor) -> Tensor:
        """The same by `split`, which some export formats support better than `chunk`."""
        return self._through(*self.cv1(x).split((self.c, self.c), 1))

    def _through(self, first: Tensor, second: Tensor) -> Tensor:
        stage = self.cv2(second)
        return self.cv4(torch.cat((first, second, stage, self.cv3(stage)), 1))


@register("c1, c2, *args")
class ELAN1(RepNCSPELAN4):
    """RepNCSPELAN4 with a plain convolution in place of every stage."""

    def __init__(self, c1: int, c2: int, c3: int, c4: int) -> None:
        super().__init__(c1, c2, c3, c4)
        self.cv1 = Conv(c1, c3, 1, 1)
        self.cv2 = Conv(self.c, c4, 3, 1)
        self.cv3 = Conv(c4, c4, 3, 1)
        self.cv4 = Conv(c3 + 2 * c4, c2, 1, 1)


@register("c1, c2, *args")
class AConv(nn.Module):
    """Halves the map by 2×2 average pooling at stride 1 and a 3×3 convolution at stride 2."""

    def __init__(self, c1: int, c2: int) -> None:
        super().__init__()
        self.cv1 = Conv(c1, c2, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.cv1(F.avg_pool2d(x, 2, 1))


@register("c1, c2, *args")
class ADown(nn.Module):
    """Halves the map: after average pooling, half of the channels by a convolution, half by maximum pooling."""

    def __init__(self, c1: int, c2: int) -> None:
        super().__init__()
        half, self.c = c1 // 2, c2 // 2
        self.cv1, self.cv2 = Conv(half, self.c, k=3, s=2), Conv(half, self.c)

    def forward(self, x: Tensor) -> Tensor:
        first, second = F.avg_pool2d(x, 2, 1).chunk(2, 1)
        return torch.cat((self.cv1(first), self.cv2(F.max_pool2d(second, 3, 2, 1))), 1)


@register("c1, c2, *args")
class SPPELAN(nn.Module):
    """Spatial pyramid pooling: one pooling applied three times, on c3 channels."""

    def __init__(self, c1: int, c2: int, c3: int, k: int = 5) -> None:
        super().__init__()
        self.c = c3
        self.cv1 = Conv(c1, c3, 1, 1)
        self.cv2 = nn.MaxPool2d(k, 1, k // 2)
        self.cv3 = nn.MaxPool2d(k, 1, k // 2)
        self.cv4 = nn.MaxPool2d(k, 1, k // 2)
        self.cv5 = Conv(4 * c3, c2, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.cv1(x)]
        for pool in (self.cv2, self.cv3, self.cv4):
            maps.append(pool(maps[-1]))
        return self.cv5(torch.cat(maps, 1))


@register("c1, *args")
class CBLinear(nn.Module):
    """1×1 convolution whose output channels are divided into several maps, which CBFuse rows read.

    Args:
        c1: input channels.
        c2s: channels of every map.
        k: kernel size.
        s: stride.
        p: padding; None keeps the map size at stride 1.
        g: groups.
    """

    def __init__(self, c1: int, c2s: Sequence[int], k: int = 1, s: int = 1, p: int | None = None, g: int = 1) -> None:
        super().__init__()
        self.c2s = c2s
        self.conv = nn.Conv2d(c1, sum(c2s), k, s, autopad(k, p), groups=g, bias=True)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.conv(x).split(list(self.c2s), 1)

    @staticmethod
    def out_channels(c1: int, args: list[list[int]]) -> list[int]:
        """Output channels of every map, for the parser."""
        return args[0]


@register("*args")
class CBFuse(nn.Module):
    """Adds to the last input one map of each other input, resized to its size.

    Args:
        idx: for each input but the last, the index of its map.
    """

    def __init__(self, idx: Sequence[int]) -> None:
        super().__init__()
        self.idx = idx

    def forward(self, xs: Sequence[Sequence[Tensor] | Tensor]) -> Tensor:
        """Add; `xs` holds the outputs of CBLinear rows and then the map (B, C, H, W) that they are added to."""
        *sources, last = xs
        assert isinstance(last, Tensor), "the last input of CBFuse is a map"
        maps = [F.interpolate(maps[i], last.shape[-2:]) for maps, i in zip(sources, self.idx, strict=True)]
        return torch.stack([*maps, last]).sum(0)

    @staticmethod
    def out_channels(c1: list[int], args: list[object]) -> int:
        """Output channels, for the parser: those of the last input."""
        return c1[-1]
