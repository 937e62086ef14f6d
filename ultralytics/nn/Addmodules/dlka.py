"""D-LKA: large-kernel attention whose depthwise convolutions are deformable.

Azad, Niggemeier, Hüttemann, Kazerouni, Aghdam, Velichko, Bagci, Merhof 2023, arXiv 2309.00121.
    deformable_LKA(x)           = x * conv1(conv_spatial(conv0(x)))       5×5, then 7×7 of dilation 3, both depthwise
    deformable_LKA_Attention(x) = x + proj_2(deformable_LKA(GELU(proj_1(x))))
    C2f_DLKA                    = C2f with the attention in its bottlenecks
The deformable convolution is that of torchvision.ops.deform_conv2d; a depthwise one runs through
ultralytics.nn.ops, where a training step takes a fraction of the time and memory.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ultralytics.nn.modules.block import C2f
from ultralytics.nn.modules.conv import Conv, Size
from ultralytics.nn.ops import deform_conv2d_depthwise
from ultralytics.nn.registry import register

_FAR = 1e6  # pixels; beyond every map, and an integer can hold it
_PAPER = "Deformable Large Kernel Attention, arXiv 2309.00121"


class DeformConv(nn.Module):
    """Deformable convolution that finds its offsets itself; (B, in_channels, H, W), channels kept, no bias.

    Args:
        in_channels: channels in and out.
        groups: groups of the filters; `in_channels` makes them depthwise.
        kernel_size, padding, stride, dilation: of both the offsets' convolution and the filters.
        bias: whether the offsets' convolution has a bias.
    """

    def __init__(
        self,
        in_channels: int,
        groups: int,
        kernel_size: Sequence[int] = (3, 3),
        padding: int = 1,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        kh, kw = kernel_size
        self.offset_net = nn.Conv2d(in_channels, 2 * kh * kw, (kh, kw), stride, padding, dilation, bias=bias)
        # holds the filters, for the key; forward reads them, the module itself is never called
        self.deform_conv = nn.Conv2d(in_channels, in_channels, (kh, kw), groups=groups, bias=False)
        self.depthwise = groups == in_channels
        if not self.depthwise:
            importlib.import_module("torchvision.ops")  # here: a traced forward would record what its import does
        self.stride, self.padding, self.dilation = stride, padding, dilation

    def forward(self, x: Tensor) -> Tensor:
        offset, weight = self.offset_net(x), self.deform_conv.weight
        if self.depthwise:
            return deform_conv2d_depthwise(
                x, offset, weight, stride=self.stride, padding=self.padding, dilation=self.dilation
            )
        from torchvision.ops import deform_conv2d  # slow to import, and D-LKA itself is depthwise

        # in float32, because half types round coordinates and have no such operator on a CPU; a NaN among the offsets
        # would read outside the map's memory and end the process: it reads zeros, as what lies far outside does
        dtype = torch.promote_types(x.dtype, torch.float32)
        given = x.to(dtype), offset.to(dtype).nan_to_num(_FAR).clamp(-_FAR, _FAR), weight.to(dtype)
        return deform_conv2d(*given, None, self.stride, self.padding, self.dilation).to(x.dtype)

    def multiply_adds(self, given: tuple[int, ...], out: tuple[int, ...]) -> int:
        """Offsets, four a bilinear sample, and the filters; see info.get_flops."""
        B, C, h, w = out
        kernel = self.deform_conv.weight
        return B * h * w * (self.offset_net.weight.numel() + 4 * C * kernel[0, 0].numel() + kernel.numel())


@register("c1", paper=_PAPER, usage="[-1, 1, deformable_LKA, []]  # the gate alone, keeps the channels")
class deformable_LKA(nn.Module):
    """The input times its deformable large-kernel attention map; (B, dim, H, W), shape kept."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv0 = DeformConv(dim, dim, (5, 5), padding=2)
        self.conv_spatial = DeformConv(dim, dim, (7, 7), padding=9, dilation=3)
        self.conv1 = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv1(self.conv_spatial(self.conv0(x)))


@register("c1", paper=_PAPER, usage="[-1, 1, deformable_LKA_Attention, []]  # after any layer, keeps the channels")
class deformable_LKA_Attention(nn.Module):
    """Residual attention block round deformable_LKA; (B, d_model, H, W), shape kept."""

    # what the twin for volumes replaces
    projection: type[nn.Module] = nn.Conv2d
    gate: type[nn.Module] = deformable_LKA

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.proj_1 = self.projection(d_model, d_model, 1)
        self.activation = nn.GELU()
        self.spatial_gating_unit = self.gate(d_model)
        self.proj_2 = self.projection(d_model, d_model, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.proj_2(self.spatial_gating_unit(self.activation(self.proj_1(x))))

    def start_as_identity(self) -> None:
        """Let the block change nothing for now, because it is new in a trained network; see nn/transfer/transfer.py."""
        for parameter in self.proj_2.parameters():
            nn.init.zeros_(parameter)


@register("c1, c2, *args", paper=_PAPER, usage="[-1, 1, Bottleneck_DLKA, [256]]  # channels, shortcut")
class Bottleneck_DLKA(nn.Module):
    """A convolution, then the attention; adds its input when `shortcut` is set and c1 == c2.

    `g` and `e` are there because C2f's bottlenecks are called with them; nothing here has groups or a hidden width.
    """

    def __init__(
        self, c1: int, c2: int, shortcut: bool = True, g: int = 1, k: Sequence[Size] = (3, 3), e: float = 0.5
    ) -> None:
        super().__init__()
        self.cv1 = Conv(c1, c2, k[0], 1)
        self.cv2 = deformable_LKA_Attention(c2)
        self.add = shortcut and c1 == c2

    def forward(self, x: Tensor) -> Tensor:
        y = self.cv2(self.cv1(x))
        return x + y if self.add else y

    def start_as_identity(self) -> bool:
        """Let the block change nothing for now; False if it adds nothing to its input. See nn/transfer/transfer.py."""
        if self.add:
            self.cv2.start_as_identity()
            for parameter in self.cv1.bn.parameters():
                nn.init.zeros_(parameter)
        return self.add


@register("c1, c2, n, *args", paper=_PAPER, usage="[-1, 3, C2f_DLKA, [512]]  # channels, shortcut; in place of a C2f")
class C2f_DLKA(C2f):
    """C2f whose `n` bottlenecks are Bottleneck_DLKA."""

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = False, g: int = 1, e: float = 0.5) -> None:
        super().__init__(c1, c2, n, shortcut, g, e)
        self.m = nn.ModuleList(
            Bottleneck_DLKA(self.c, self.c, shortcut, g, k=((3, 3), (3, 3)), e=1.0) for _ in range(n)
        )


@register("c1, c2, *args", paper=_PAPER, usage="[-1, 1, Conv_DLKA, [256, 3, 2]]  # channels, kernel, stride; as a Conv")
class Conv_DLKA(nn.Module):
    """Stands where a Conv stood: depthwise deformable convolution, 1×1 Conv, then the attention on what comes out."""

    def __init__(self, c1: int, c2: int, k: int = 3, s: int = 1) -> None:
        super().__init__()
        self.deform = DeformConv(c1, c1, (k, k), padding=k // 2, stride=s)
        self.conv = Conv(c1, c2, 1)
        self.attention = deformable_LKA_Attention(c2)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(self.conv(self.deform(x)))
