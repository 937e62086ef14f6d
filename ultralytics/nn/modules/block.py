"""Blocks of YOLOv8 and YOLO11: residual and cross-stage blocks, pyramid pooling, attention, and DFL's expectation.

Class and attribute names are those of ultralytics 8.3.0, because checkpoints hold them. A subclass that replaces its
parent's list `m` lets the parent build its own first and drops it: under one seed the random numbers are then drawn in
the order of 8.3.0, and both packages start from the same weights.
Maps are (B, C, H, W); N = H*W points of a map; A anchors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ultralytics.nn.modules.conv import Conv, DWConv, GhostConv, Size

SQUARE_3 = ((3, 3), (3, 3))  # kernels of a bottleneck with two 3×3 convolutions
HEAD_CHANNELS = 64  # channels that one attention head gets in PSA, C2PSA and C2fPSA


class Bottleneck(nn.Module):
    """Two convolutions through `int(c2 * e)` channels; adds its input when `shortcut` is set and c1 == c2."""

    def __init__(
        self, c1: int, c2: int, shortcut: bool = True, g: int = 1, k: Sequence[Size] = (3, 3), e: float = 0.5
    ) -> None:
        super().__init__()
        hidden = int(c2 * e)
        self.cv1 = Conv(c1, hidden, k[0], 1)
        self.cv2 = Conv(hidden, c2, k[1], 1, g=g)
        self.add = shortcut and c1 == c2

    def forward(self, x: Tensor) -> Tensor:
        y = self.cv2(self.cv1(x))
        return x + y if self.add else y

    def start_as_identity(self) -> bool:
        """Let the block change nothing for now; False if it adds nothing to its input. See nn/transfer/transfer.py."""
        return self.add and _silence(self.cv2)


class GhostBottleneck(nn.Module):
    """Bottleneck of two GhostConv; stride 2 puts a depthwise convolution between them and one on the shortcut."""

    def __init__(self, c1: int, c2: int, k: int = 3, s: int = 1) -> None:
        super().__init__()
        half, halves_map = c2 // 2, s == 2
        self.conv = nn.Sequential(
            GhostConv(c1, half, 1, 1),
            DWConv(half, half, k, s, act=False) if halves_map else nn.Identity(),
            GhostConv(half, c2, 1, 1, act=False),
        )
        self.shortcut = (
            nn.Sequential(DWConv(c1, c1, k, s, act=False), Conv(c1, c2, 1, 1, act=False))
            if halves_map
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + self.shortcut(x)


class C1(nn.Module):
    """1×1 convolution, then `n` 3×3 convolutions with one shortcut around them."""

    def __init__(self, c1: int, c2: int, n: int = 1) -> None:
        super().__init__()
        self.cv1 = Conv(c1, c2, 1, 1)
        self.m = nn.Sequential(*(Conv(c2, c2, 3) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        y = self.cv1(x)
        return self.m(y) + y


class _CrossStage(nn.Module):
    """Entrance cv1 to two halves of `int(c2 * e)` channels each, and exit cv2 from `parts` maps of that width."""

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


class C2(_CrossStage):
    """Cross-stage block: one half of the channels passes through `n` bottlenecks, the other half around them."""

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = True, g: int = 1, e: float = 0.5) -> None:
        super().__init__(c1, c2, e, parts=2)
        self.m = nn.Sequential(*_bottlenecks(self.c, n, shortcut, g))

    def forward(self, x: Tensor) -> Tensor:
        through, around = self.halves(x)
        return self.join(self.m(through), around)


class C2f(_CrossStage):
    """Cross-stage block that keeps the output of every bottleneck: cv2 reads both halves and all `n` results."""

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = False, g: int = 1, e: float = 0.5) -> None:
        super().__init__(c1, c2, e, parts=2 + n)
        self.m = nn.ModuleList(_bottlenecks(self.c, n, shortcut, g))

    def forward(self, x: Tensor) -> Tensor:
        return self._through(*self.halves(x))

    def forward_split(self, x: Tensor) -> Tensor:
        """The same by `split`, which some export formats understand better than `chunk`."""
        return self._through(*self.cv1(x).split((self.c, self.c), 1))

    def _through(self, *halves: Tensor) -> Tensor:
        parts = list(halves)
        for block in self.m:
            parts.append(block(parts[-1]))
        return self.join(*parts)


class C3(nn.Module):
    """Cross-stage block with two entrances: cv1 leads through `n` bottlenecks, cv2 around them."""

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = True, g: int = 1, e: float = 0.5) -> None:
        super().__init__()
        hidden = int(c2 * e)
        self.cv1 = Conv(c1, hidden, 1, 1)
        self.cv2 = Conv(c1, hidden, 1, 1)
        self.cv3 = Conv(2 * hidden, c2, 1)
        self.m = nn.Sequential(*(Bottleneck(hidden, hidden, shortcut, g, ((1, 1), (3, 3)), 1.0) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        return self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))


class C3Ghost(C3):
    """C3 of ghost bottlenecks."""

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = True, g: int = 1, e: float = 0.5) -> None:
        super().__init__(c1, c2, n, shortcut, g, e)
        hidden = int(c2 * e)
        self.m = nn.Sequential(*(GhostBottleneck(hidden, hidden) for _ in range(n)))


class C3k(C3):
    """C3 whose bottlenecks have two k×k convolutions."""

    def __init__(
        self, c1: int, c2: int, n: int = 1, shortcut: bool = True, g: int = 1, e: float = 0.5, k: int = 3
    ) -> None:
        super().__init__(c1, c2, n, shortcut, g, e)
        hidden = int(c2 * e)
        self.m = nn.Sequential(*(Bottleneck(hidden, hidden, shortcut, g, (k, k), 1.0) for _ in range(n)))


class C3k2(C2f):
    """C2f of C3k blocks (`c3k` set) or of bottlenecks that halve the channels; `e` comes before `g` and `shortcut`."""

    def __init__(
        self, c1: int, c2: int, n: int = 1, c3k: bool = False, e: float = 0.5, g: int = 1, shortcut: bool = True
    ) -> None:
        super().__init__(c1, c2, n, shortcut, g, e)
        kind, args = (C3k, (2, shortcut, g)) if c3k else (Bottleneck, (shortcut, g))
        self.m = nn.ModuleList([kind(self.c, self.c, *args) for _ in range(n)])


class SPP(nn.Module):
    """Spatial pyramid pooling: the map beside its maxima over windows of several sizes."""

    def __init__(self, c1: int, c2: int, k: Sequence[int] = (5, 9, 13)) -> None:
        super().__init__()
        hidden = c1 // 2
        self.cv1 = Conv(c1, hidden, 1, 1)
        self.cv2 = Conv(hidden * (len(k) + 1), c2, 1, 1)
        self.m = nn.ModuleList(nn.MaxPool2d(side, 1, side // 2) for side in k)

    def forward(self, x: Tensor) -> Tensor:
        x = self.cv1(x)
        return self.cv2(torch.cat([x, *(pool(x) for pool in self.m)], 1))


class SPPF(nn.Module):
    """SPP by one pooling applied three times; k = 5 sees the windows 5, 9 and 13."""

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


class Attention(nn.Module):
    """Self-attention between all points of a map, with a depthwise 3×3 convolution of v for their positions.

    Raises:
        ValueError: `num_heads` does not divide `dim`.
    """

    def __init__(self, dim: int, num_heads: int = 8, attn_ratio: float = 0.5) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"{dim} channels cannot be shared by {num_heads} attention heads; use a divisor of {dim}")
        self.num_heads = num_heads
        self.head_dim = dim // num_heads
        self.key_dim = int(self.head_dim * attn_ratio)
        self.scale = self.key_dim**-0.5
        self.qkv = Conv(dim, dim + 2 * self.key_dim * num_heads, 1, act=False)
        self.proj = Conv(dim, dim, 1, act=False)
        self.pe = Conv(dim, dim, 3, 1, g=dim, act=False)

    def forward(self, x: Tensor) -> Tensor:
        B, C, H, W = x.shape
        # reshape everywhere: channels_last maps have strides that view refuses
        qkv = self.qkv(x).reshape(B, self.num_heads, 2 * self.key_dim + self.head_dim, H * W)
        q, k, v = qkv.split((self.key_dim, self.key_dim, self.head_dim), 2)
        # scaled before the product, so that half precision does not overflow; plain products, because the fused kernel
        # of PyTorch is not deterministic in the backward pass and N is small here (400 at 640 pixels)
        weights = ((q * self.scale).transpose(-2, -1) @ k).softmax(-1)  # (B, heads, N, N), rows sum to 1
        mixed = (v @ weights.transpose(-2, -1)).reshape(B, C, H, W)
        return self.proj(mixed + self.pe(v.reshape(B, C, H, W)))


class PSABlock(nn.Module):
    """Attention, then two 1×1 convolutions, each with a shortcut around it when `shortcut` is set."""

    def __init__(self, c: int, attn_ratio: float = 0.5, num_heads: int = 4, shortcut: bool = True) -> None:
        super().__init__()
        self.attn = Attention(c, num_heads, attn_ratio)
        self.ffn = nn.Sequential(Conv(c, 2 * c, 1), Conv(2 * c, c, 1, act=False))
        self.add = shortcut

    def forward(self, x: Tensor) -> Tensor:
        if self.add:
            x = x + self.attn(x)
            return x + self.ffn(x)
        return self.ffn(self.attn(x))

    def start_as_identity(self) -> bool:
        """Let the block change nothing for now; False if it adds nothing to its input. See nn/transfer/transfer.py."""
        return self.add and _silence(self.attn.proj) and _silence(self.ffn)


class PSA(_CrossStage):
    """One half of the channels passes through attention and two 1×1 convolutions; c1 == c2."""

    def __init__(self, c1: int, c2: int, e: float = 0.5) -> None:
        _check_same("PSA", c1, c2)
        super().__init__(c1, c2, e, parts=2)
        self.attn = Attention(self.c, _num_heads(self.c), 0.5)
        self.ffn = nn.Sequential(Conv(self.c, 2 * self.c, 1), Conv(2 * self.c, self.c, 1, act=False))

    def forward(self, x: Tensor) -> Tensor:
        around, y = self.halves(x)
        y = y + self.attn(y)
        return self.join(around, y + self.ffn(y))


class C2PSA(_CrossStage):
    """C2 of attention blocks; c1 == c2."""

    def __init__(self, c1: int, c2: int, n: int = 1, e: float = 0.5) -> None:
        _check_same("C2PSA", c1, c2)
        super().__init__(c1, c2, e, parts=2)
        self.m = nn.Sequential(*_attention_blocks(self.c, n))

    def forward(self, x: Tensor) -> Tensor:
        around, through = self.halves(x)
        return self.join(around, self.m(through))


class C2fPSA(C2f):
    """C2f of attention blocks; c1 == c2."""

    def __init__(self, c1: int, c2: int, n: int = 1, e: float = 0.5) -> None:
        _check_same("C2fPSA", c1, c2)
        super().__init__(c1, c2, n=n, e=e)
        self.m = nn.ModuleList(_attention_blocks(self.c, n))


class DFL(nn.Module):
    """Expected value of a distribution over 0 … c1-1, for each side of each box ('distribution focal loss')."""

    def __init__(self, c1: int = 16) -> None:
        super().__init__()
        self.c1 = c1
        # a convolution only because checkpoints hold `dfl.conv.weight`; it is the constant 0, 1, …, c1-1
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


def _silence(branch: nn.Module) -> bool:
    """Let a branch give 0 at first: its last normalisation starts with weight 0; False if it has none (fused)."""
    norms = [m for m in branch.modules() if isinstance(m, nn.BatchNorm2d)]
    for parameter in norms[-1].parameters() if norms else ():
        nn.init.zeros_(parameter)
    return bool(norms)


def _bottlenecks(c: int, n: int, shortcut: bool, g: int) -> list[Bottleneck]:
    # the plain content of C2 and C2f: full width, two 3×3 convolutions
    return [Bottleneck(c, c, shortcut, g, SQUARE_3, 1.0) for _ in range(n)]


def _attention_blocks(c: int, n: int) -> list[PSABlock]:
    return [PSABlock(c, num_heads=_num_heads(c)) for _ in range(n)]


def _num_heads(c: int) -> int:
    # 8.3.0 takes c // 64 and fails for fewer than 64 channels or a remainder; the next smaller divisor works for both
    return next(heads for heads in range(max(c // HEAD_CHANNELS, 1), 0, -1) if c % heads == 0)


def _check_same(block: str, c1: int, c2: int) -> None:
    if c1 != c2:
        raise ValueError(f"{block} keeps the channel count, but {c1} channels come in and {c2} are asked for")
