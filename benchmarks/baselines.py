"""Baselines of the comparison: the added modules implemented from the papers' formulas as published code does.

AKConv with four gathers, ACmix with unfolded windows, D-LKA on torchvision.ops.deform_conv2d. The functions are the
operators alone; the classes wrap this package's modules and share their weights. Nothing here imports this package at
run time, so that the official one can run these operators too (step.py).

Dimension letters: B batch, C channels, H W rows and columns of the map, h w of the output, N points, d channels a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from ultralytics.nn.Addmodules.acmix import ACmix
    from ultralytics.nn.Addmodules.akconv import AKConv
    from ultralytics.nn.Addmodules.dlka import DeformConv

Points = Sequence[tuple[float, float]]


def four_gathers(x: Tensor, offset: Tensor, shape: Points, stride: int) -> Tensor:
    """AKConv's samples (B, C, h * N, w) for its (N, 1) convolution: an index, a gather and a weight per neighbor."""
    B, C, H, W = x.shape
    N, (h, w) = offset.shape[1] // 2, offset.shape[2:]
    start = torch.tensor(shape, device=x.device, dtype=offset.dtype).t()[..., None, None]  # (2, N, 1, 1)
    row = torch.arange(0, h * stride, stride, device=x.device, dtype=offset.dtype).view(1, h, 1)
    column = torch.arange(0, w * stride, stride, device=x.device, dtype=offset.dtype).view(1, 1, w)
    py = (offset[:, :N] + start[0] + row).clamp(0, H - 1)  # (B, N, h, w)
    px = (offset[:, N:] + start[1] + column).clamp(0, W - 1)
    top, left = py.detach().floor(), px.detach().floor()
    bottom, right = (top + 1).clamp(max=H - 1), (left + 1).clamp(max=W - 1)
    fy, fx = py - top, px - left

    def gather(row: Tensor, column: Tensor) -> Tensor:
        index = (row.long() * W + column.long()).view(B, 1, -1).expand(-1, C, -1).contiguous()
        return x.flatten(2).gather(2, index).view(B, C, N, h, w)

    samples = (
        ((1 - fy) * (1 - fx)).unsqueeze(1) * gather(top, left)
        + (fy * fx).unsqueeze(1) * gather(bottom, right)
        + ((1 - fy) * fx).unsqueeze(1) * gather(top, right)
        + (fy * (1 - fx)).unsqueeze(1) * gather(bottom, left)
    )  # (B, C, N, h, w)
    return samples.permute(0, 1, 3, 2, 4).reshape(B, C, h * N, w)


def unfolded_attention(q: Tensor, k: Tensor, v: Tensor, window: int, pe: Tensor | None = None) -> Tensor:
    """ACmix's attention on (B * heads, d, H, W); k, v and the position map `pe` (1, d, H, W) copied window² times."""
    d, (H, W) = q.shape[1], q.shape[2:]

    def windows(z: Tensor) -> Tensor:
        padded = F.pad(z, (window // 2,) * 4, mode="reflect")
        return F.unfold(padded, window).view(z.shape[0], d, window**2, H, W)

    queries, keys = q * d**-0.5, windows(k)
    if pe is not None:
        keys = keys + pe.unsqueeze(2) - windows(pe)
    scores = (queries.unsqueeze(2) * keys).sum(1)
    return (scores.softmax(1).unsqueeze(1) * windows(v)).sum(2)


def torchvision_deform(x: Tensor, offset: Tensor, weight: Tensor, *geometry: int) -> Tensor:
    """torchvision's operator without bias and mask; `geometry` is stride, padding, dilation.

    float16 and bfloat16 are computed in float32, as torchvision does under autocast on a GPU.
    """
    from torchvision.ops import deform_conv2d  # slow to import, and needed only here

    dtype = torch.promote_types(x.dtype, torch.float32)
    with torch.autocast(x.device.type, enabled=False):
        return deform_conv2d(x.to(dtype), offset.to(dtype), weight.to(dtype), None, *geometry).to(x.dtype)


class BaselineAKConv(nn.Module):
    """AKConv on `four_gathers`."""

    def __init__(self, m: AKConv) -> None:
        super().__init__()
        self.p_conv, self.conv, self.stride, self.shape = m.p_conv, m.conv, m.stride, m.shape

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(four_gathers(x, self.p_conv(x), self.shape, self.stride))


class BaselineACmix(nn.Module):
    """ACmix on `unfolded_attention`."""

    def __init__(self, m: ACmix) -> None:
        super().__init__()
        self.m = m

    def forward(self, x: Tensor) -> Tensor:
        m = self.m
        B, _, H, W = x.shape
        d = m.head_dim
        q, k, v = m.conv1(x), m.conv2(x), m.conv3(x)
        across = torch.linspace(-1, 1, W, device=x.device, dtype=x.dtype).expand(H, W)
        down = torch.linspace(-1, 1, H, device=x.device, dtype=x.dtype).unsqueeze(1).expand(H, W)
        pe = m.conv_p(torch.stack((across, down)).unsqueeze(0))
        queries, keys, values = (z.view(B * m.head, d, H, W) for z in (q, k, v))
        attention = unfolded_attention(queries, keys, values, m.kernel_att, pe)
        stacked = torch.cat([z.view(B, m.head, d, H * W) for z in (q, k, v)], 1)
        maps = m.fc(stacked).permute(0, 2, 1, 3).reshape(B, -1, H, W)
        return m.rate1 * attention.view(B, m.head * d, H, W) + m.rate2 * m.dep_conv(maps)


class BaselineDeformConv(nn.Module):
    """DeformConv on torchvision's operator."""

    def __init__(self, m: DeformConv) -> None:
        super().__init__()
        self.m = m

    def forward(self, x: Tensor) -> Tensor:
        m = self.m
        return torchvision_deform(x, m.offset_net(x), m.deform_conv.weight, m.stride, m.padding, m.dilation)


def baseline(m: nn.Module) -> nn.Module:
    """`m` with every added module in it replaced by its baseline, in place; weights are shared."""
    classes = {"AKConv": BaselineAKConv, "ACmix": BaselineACmix, "DeformConv": BaselineDeformConv}
    if type(m).__name__ in classes:
        replacement = classes[type(m).__name__](m)
        for name in ("i", "f", "type", "np"):  # attributes that the parser sets on each layer
            if hasattr(m, name):
                setattr(replacement, name, getattr(m, name))
        return replacement
    for name, child in m.named_children():
        setattr(m, name, baseline(child))
    return m
