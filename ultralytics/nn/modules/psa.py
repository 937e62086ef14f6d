"""Position-sensitive attention of YOLOv10 and YOLO11: Attention, PSABlock, and the blocks PSA, C2PSA, C2fPSA.

Paper: A. Wang et al., YOLOv10: Real-Time End-to-End Object Detection, 2024, arXiv:2405.14458, section 3.2.
Class and attribute names are those of ultralytics 8.3.0, because checkpoints contain them.
Feature maps are (B, C, H, W); N = H*W locations of a map.
"""

from __future__ import annotations

from torch import Tensor, nn

from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.modules.csp import C2f, CrossStage, zero_last_norm
from ultralytics.nn.registry import register

HEAD_CHANNELS = 64  # per attention head in PSA, C2PSA and C2fPSA


class Attention(nn.Module):
    """Self-attention between all locations of a map, with a depthwise 3×3 convolution of v as position encoding.

    Raises:
        ValueError: `num_heads` does not divide `dim`.
    """

    def __init__(self, dim: int, num_heads: int = 8, attn_ratio: float = 0.5) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"{dim} channels cannot be divided among {num_heads} attention heads")
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
    """Attention, then two 1×1 convolutions, each with a shortcut around it if `shortcut` is set."""

    def __init__(self, c: int, attn_ratio: float = 0.5, num_heads: int = 4, shortcut: bool = True) -> None:
        super().__init__()
        self.attn = Attention(c, num_heads, attn_ratio)
        self.ffn = _feed_forward(c)
        self.add = shortcut

    def forward(self, x: Tensor) -> Tensor:
        if self.add:
            x = x + self.attn(x)
            return x + self.ffn(x)
        return self.ffn(self.attn(x))

    def start_as_identity(self) -> bool:
        """Initialize as the identity; False if the block does not add its input. See nn/transfer/transfer.py."""
        return self.add and zero_last_norm(self.attn.proj) and zero_last_norm(self.ffn)


@register("c1, c2, *args")
class PSA(CrossStage):
    """One half of the channels passes through attention and two 1×1 convolutions; c1 == c2."""

    def __init__(self, c1: int, c2: int, e: float = 0.5) -> None:
        _check_equal("PSA", c1, c2)
        super().__init__(c1, c2, e, parts=2)
        self.attn = Attention(self.c, _num_heads(self.c), 0.5)
        self.ffn = _feed_forward(self.c)

    def forward(self, x: Tensor) -> Tensor:
        around, y = self.halves(x)
        y = y + self.attn(y)
        return self.join(around, y + self.ffn(y))


@register("c1, c2, n, *args")
class C2PSA(CrossStage):
    """C2 of attention blocks; c1 == c2."""

    def __init__(self, c1: int, c2: int, n: int = 1, e: float = 0.5) -> None:
        _check_equal("C2PSA", c1, c2)
        super().__init__(c1, c2, e, parts=2)
        self.m = nn.Sequential(*_attention_blocks(self.c, n))

    def forward(self, x: Tensor) -> Tensor:
        around, through = self.halves(x)
        return self.join(around, self.m(through))


@register("c1, c2, n, *args")
class C2fPSA(C2f):
    """C2f of attention blocks; c1 == c2."""

    def __init__(self, c1: int, c2: int, n: int = 1, e: float = 0.5) -> None:
        _check_equal("C2fPSA", c1, c2)
        super().__init__(c1, c2, n=n, e=e)
        self.m = nn.ModuleList(_attention_blocks(self.c, n))


def _feed_forward(c: int) -> nn.Sequential:
    return nn.Sequential(Conv(c, 2 * c, 1), Conv(2 * c, c, 1, act=False))


def _attention_blocks(c: int, n: int) -> list[PSABlock]:
    return [PSABlock(c, num_heads=_num_heads(c)) for _ in range(n)]


def _num_heads(c: int) -> int:
    # 8.3.0 uses c // 64 and fails for fewer than 64 channels or a remainder; the next smaller divisor works for both
    return next(heads for heads in range(max(c // HEAD_CHANNELS, 1), 0, -1) if c % heads == 0)


def _check_equal(block: str, c1: int, c2: int) -> None:
    if c1 != c2:
        raise ValueError(f"{block} needs as many output as input channels, got c1={c1}, c2={c2}")
