"""D-LKA: large-kernel attention whose depthwise convolutions are deformable.

Azad, Niggemeier, Hüttemann, Kazerouni, Aghdam, Velichko, Bagci, Merhof 2023, arXiv 2309.00121.
    deformable_LKA(x)           = x * conv1(conv_spatial(conv0(x)))       5×5, then 7×7 of dilation 3, both depthwise
    deformable_LKA_Attention(x) = x + proj_2(deformable_LKA(GELU(proj_1(x))))
    C2f_DLKA                    = C2f with the attention in its bottlenecks
The deformable convolution is that of torchvision.ops.deform_conv2d. A depthwise one is computed by ultralytics.nn.ops,
which needs a fraction of torchvision's time and memory in a training step.
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

_FAR = 1e6  # pixels; outside every map, but within the range of integers
_PAPER = "Deformable Large Kernel Attention, arXiv 2309.00121"


class DeformConv(nn.Module):
    """Deformable convolution that computes its own offsets; (B, in_channels, H, W), same channels, no bias.

    Args:
        in_channels: channels in and out.
        groups: groups of the filters; depthwise if equal to `in_channels`.
        kernel_size, padding, stride, dilation: of both the offset convolution and the filters.
        bias: whether the offset convolution has a bias.
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
        # only holds the filters under the published key; the module is not called
        self.deform_conv = nn.Conv2d(in_channels, in_channels, (kh, kw), groups=groups, bias=False)
        self.depthwise = groups == in_channels
        if not self.depthwise:
            importlib.import_module("torchvision.ops")  # here, since a traced forward would record the import
        self.stride, self.padding, self.dilation = stride, padding, dilation

    def forward(self, x: Tensor) -> Tensor:
        offset, weight = self.offset_net(x), self.deform_conv.weight
        if self.depthwise:
            return deform_conv2d_depthwise(
                x, offset, weight, stride=self.stride, padding=self.padding, dilation=self.dilation
            )
        from torchvision.ops import deform_conv2d  # slow to import, and D-LKA itself is depthwise

        # float32, because float16 and bfloat16 round coordinates and are not supported on a CPU. A NaN offset would
        # read outside the map's memory and crash the process: it is moved outside the map, where samples are 0.
        dtype = torch.promote_types(x.dtype, torch.float32)
        tensors = x.to(dtype), offset.to(dtype).nan_to_num(_FAR).clamp(-_FAR, _FAR), weight.to(dtype)
        return deform_conv2d(*tensors, None, self.stride, self.padding, self.dilation).to(x.dtype)

    def multiply_adds(self, shape: tuple[int, ...], out: tuple[int, ...]) -> int:
        """Of offsets, bilinear samples (four each) and filters; see info.get_flops."""
        B, C, h, w = out
        kernel = self.deform_conv.weight
        return B * h * w * (self.offset_net.weight.numel() + 4 * C * kernel[0, 0].numel() + kernel.numel())


@register("c1", paper=_PAPER, usage="[-1, 1, deformable_LKA, []]  # the gate alone, keeps the channels")
class deformable_LKA(nn.Module):
    """The input times its deformable large-kernel attention map; (B, dim, H, W), same shape."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv0 = DeformConv(dim, dim, (5, 5), padding=2)
        self.conv_spatial = DeformConv(dim, dim, (7, 7), padding=9, dilation=3)
        self.conv1 = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv1(self.conv_spatial(self.conv0(x)))


@register("c1", paper=_PAPER, usage="[-1, 1, deformable_LKA_Attention, []]  # after any layer, keeps the channels")
class deformable_LKA_Attention(nn.Module):
    """Residual attention block around deformable_LKA; (B, d_model, H, W), same shape."""

    # replaced in the 3-D subclass
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
        """Initialize as the identity, for a block that is new in a trained network; see nn/transfer/transfer.py."""
        for parameter in self.proj_2.parameters():
            nn.init.zeros_(parameter)


@register("c1, c2, *args", paper=_PAPER, usage="[-1, 1, Bottleneck_DLKA, [256]]  # channels, shortcut")
class Bottleneck_DLKA(nn.Module):
    """A convolution, then the attention; adds its input when `shortcut` is set and c1 == c2.

    `g` and `e` have no effect: C2f passes them to its bottlenecks, and this one has no groups and no hidden channels.
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
        """Initialize as the identity; False if there is no shortcut. See nn/transfer/transfer.py."""
        if self.add:
            self.cv2.start_as_identity()
            for parameter in self.cv1.bn.parameters():
                nn.init.zeros_(parameter)
        return self.add


@register("c1, c2, n, *args", paper=_PAPER, usage="[-1, 3, C2f_DLKA, [512]]  # channels, shortcut; instead of a C2f")
class C2f_DLKA(C2f):
    """C2f whose `n` bottlenecks are Bottleneck_DLKA."""

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = False, g: int = 1, e: float = 0.5) -> None:
        super().__init__(c1, c2, n, shortcut, g, e)
        self.m = nn.ModuleList(
            Bottleneck_DLKA(self.c, self.c, shortcut, g, k=((3, 3), (3, 3)), e=1.0) for _ in range(n)
        )


@register("c1, c2, *args", paper=_PAPER, usage="[-1, 1, Conv_DLKA, [256, 3, 2]]  # channels, kernel, stride; as a Conv")
class Conv_DLKA(nn.Module):
    """Replacement for Conv: depthwise deformable convolution, 1×1 Conv, then the attention."""

    def __init__(self, c1: int, c2: int, k: int = 3, s: int = 1) -> None:
        super().__init__()
        self.deform = DeformConv(c1, c1, (k, k), padding=k // 2, stride=s)
        self.conv = Conv(c1, c2, 1)
        self.attention = deformable_LKA_Attention(c2)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(self.conv(self.deform(x)))
