"""Convolution layers that a model file can name, channel and spatial attention, and Concat.

Class and attribute names are those of ultralytics 8.3.0, because checkpoints contain them.
Feature maps are (B, C, H, W): B batch, C channels, H rows, W columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ultralytics.nn.registry import register

Size = int | Sequence[int]
RELU = nn.ReLU()  # default of LightConv; one instance, because it has no state
SPATIAL_KERNELS = (3, 7)  # sizes that the CBAM paper compares


def autopad(k: Size, p: Size | None = None, d: int = 1) -> Size:
    """Padding that keeps the map size at stride 1 for kernel `k` and dilation `d`; `p` if it is not None."""
    if p is not None:
        return p
    if isinstance(k, int):
        return (d * (k - 1) + 1) // 2
    return [(d * (side - 1) + 1) // 2 for side in k]


def activation(act: bool | nn.Module, default: nn.Module) -> nn.Module:
    """The module that the argument `act` of a layer stands for: `default` for True, nothing for False."""
    if isinstance(act, nn.Module):
        return act
    return default if act is True else nn.Identity()


@register("c1, c2, *args")
class Conv(nn.Module):
    """Convolution without bias, batch normalization, activation.

    Args:
        c1: input channels.
        c2: output channels.
        k: kernel size.
        s: stride.
        p: padding; None keeps the map size at stride 1.
        g: groups.
        d: dilation.
        act: True for the default activation, a module for that module, False for none.
    """

    # One instance for all layers, as in 8.3.0: it has no state, a pickle contains it once and modules() counts it once.
    # A model file's `activation` replaces it in that network only (see parser.py).
    # Not in place: autograd would copy the input of an in-place SiLU first, which costs a pass over memory.
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
        self.conv = nn.Conv2d(c1, c2, _pair(k), _pair(s), _pair(autopad(k, p, d)), groups=g, dilation=d, bias=False)
        self.bn = nn.BatchNorm2d(c2)
        self.act = activation(act, self.default_act)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))

    def forward_fuse(self, x: Tensor) -> Tensor:
        """Forward pass after the normalization was merged into the convolution (see fuse.fuse_layers)."""
        return self.act(self.conv(x))


@register("c1, c2, *args")
class Conv2(Conv):
    """Conv with a 1×1 convolution beside the k×k one; both share one normalization and can be merged."""

    def __init__(
        self,
        c1: int,
        c2: int,
        k: int = 3,
        s: int = 1,
        p: int | None = None,
        g: int = 1,
        d: int = 1,
        act: bool | nn.Module = True,
    ) -> None:
        super().__init__(c1, c2, k, s, p, g, d, act)
        self.cv2: nn.Conv2d | None = nn.Conv2d(c1, c2, 1, s, groups=g, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.act(self.bn(y if self.cv2 is None else y + self.cv2(x)))

    @torch.no_grad()
    def fuse_convs(self) -> None:
        """Add the 1×1 kernel to the center of the k×k kernel, in place; the layer is then an ordinary Conv."""
        if self.cv2 is not None:
            self.conv.weight += pad_kernel(self.cv2.weight, self.conv.weight.shape[-1])
            self.cv2 = None


@register("c1, c2, *args")
class DWConv(Conv):
    """Conv with as many groups as both channel counts allow: depthwise when they are equal."""

    def __init__(self, c1: int, c2: int, k: Size = 1, s: Size = 1, d: int = 1, act: bool | nn.Module = True) -> None:
        super().__init__(c1, c2, k, s, g=math.gcd(c1, c2), d=d, act=act)


@register("c1, c2, *args")
class LightConv(nn.Module):
    """1×1 convolution without activation, then a depthwise k×k convolution."""

    def __init__(self, c1: int, c2: int, k: int = 1, act: bool | nn.Module = RELU) -> None:
        super().__init__()
        self.conv1 = Conv(c1, c2, 1, act=False)
        self.conv2 = DWConv(c2, c2, k, act=act)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x))


@register("c1, c2, *args")
class GhostConv(nn.Module):
    """Half of the output channels by a convolution, the other half from them by a cheap depthwise 5×5 convolution."""

    def __init__(self, c1: int, c2: int, k: Size = 1, s: Size = 1, g: int = 1, act: bool | nn.Module = True) -> None:
        super().__init__()
        half = c2 // 2
        self.cv1 = Conv(c1, half, k, s, None, g, act=act)
        self.cv2 = Conv(half, half, 5, 1, None, half, act=act)

    def forward(self, x: Tensor) -> Tensor:
        primary = self.cv1(x)
        return torch.cat((primary, self.cv2(primary)), 1)


@register("c1, c2, *args")
class Focus(nn.Module):
    """Every 2×2 block of pixels becomes 4 * c1 channels at half the size, followed by a convolution."""

    def __init__(
        self,
        c1: int,
        c2: int,
        k: int = 1,
        s: int = 1,
        p: int | None = None,
        g: int = 1,
        act: bool | nn.Module = True,
    ) -> None:
        super().__init__()
        self.conv = Conv(4 * c1, c2, k, s, p, g, act=act)

    def forward(self, x: Tensor) -> Tensor:
        # (row, column) offsets in the channel order of YOLOv5: down the first column, then down the second
        blocks = [x[..., row::2, column::2] for column in range(2) for row in range(2)]
        return self.conv(torch.cat(blocks, 1))


@register("c1, c2, *args")
class DWConvTranspose2d(nn.ConvTranspose2d):
    """Transposed convolution with as many groups as both channel counts allow; p1 pads the input, p2 the output."""

    def __init__(self, c1: int, c2: int, k: int = 1, s: int = 1, p1: int = 0, p2: int = 0) -> None:
        super().__init__(c1, c2, k, s, p1, p2, groups=math.gcd(c1, c2))


@register("c1, c2, *args")
class ConvTranspose(nn.Module):
    """Transposed convolution, batch normalization (or, without `bn`, a bias), activation."""

    default_act: nn.Module = nn.SiLU()  # not Conv's: a model file's `activation` is for Conv only, as in 8.3.0

    def __init__(
        self, c1: int, c2: int, k: int = 2, s: int = 2, p: int = 0, bn: bool = True, act: bool | nn.Module = True
    ) -> None:
        super().__init__()
        self.conv_transpose = nn.ConvTranspose2d(c1, c2, k, s, p, bias=not bn)
        self.bn = nn.BatchNorm2d(c2) if bn else nn.Identity()
        self.act = activation(act, self.default_act)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv_transpose(x)))

    def forward_fuse(self, x: Tensor) -> Tensor:
        """Forward pass after the normalization was merged into the convolution (see fuse.fuse_layers)."""
        return self.act(self.conv_transpose(x))


@register("c1, c2, *args")
class RepConv(nn.Module):
    """Sum of a 3×3 and a 1×1 convolution, optionally with the normalized input; one convolution after fuse_convs().

    Paper: X. Ding et al., RepVGG: Making VGG-style ConvNets Great Again, 2021, arXiv:2101.03697.

    Args:
        c1: input channels.
        c2: output channels.
        k: kernel size, 3.
        s: stride.
        p: padding, 1.
        g: groups.
        d: dilation, 1.
        act: as in Conv.
        bn: add the normalized input, if c1 == c2 and s == 1.
        deploy: build the merged form, one convolution with bias.

    Raises:
        ValueError: `k`, `p` or `d` has a value that the 1×1 branch cannot follow.
    """

    default_act: nn.Module = nn.SiLU()  # not Conv's: a model file's `activation` is for Conv only, as in 8.3.0

    def __init__(
        self,
        c1: int,
        c2: int,
        k: int = 3,
        s: int = 1,
        p: int = 1,
        g: int = 1,
        d: int = 1,
        act: bool | nn.Module = True,
        bn: bool = False,
        deploy: bool = False,
    ) -> None:
        super().__init__()
        if (k, p, d) != (3, 1, 1):
            raise ValueError(f"RepConv needs k=3, p=1, d=1, got k={k}, p={p}, d={d}")
        self.c1, self.c2, self.g = c1, c2, g
        self.act = activation(act, self.default_act)
        self.bn = nn.BatchNorm2d(c1) if bn and c1 == c2 and s == 1 else None
        if deploy:
            self.conv = nn.Conv2d(c1, c2, k, s, p, groups=g)
            self.forward = self.forward_fuse  # type: ignore[method-assign]
        else:
            self.conv1 = Conv(c1, c2, k, s, p, g, act=False)
            self.conv2 = Conv(c1, c2, 1, s, p - k // 2, g, act=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(x) + self.conv2(x)
        return self.act(y if self.bn is None else y + self.bn(x))

    def forward_fuse(self, x: Tensor) -> Tensor:
        """Forward pass after fuse_convs()."""
        return self.act(self.conv(x))

    def get_equivalent_kernel_bias(self) -> tuple[Tensor, Tensor]:
        """Kernel (c2, c1 / g, 3, 3) and bias (c2,) of the one convolution that equals the branches in eval mode."""
        kernel, bias = merged_kernel(self.conv1.conv, self.conv1.bn)
        point_kernel, point_bias = merged_kernel(self.conv2.conv, self.conv2.bn)
        kernel, bias = kernel + pad_kernel(point_kernel, 3), bias + point_bias
        if self.bn is not None:
            scale, shift = _affine(self.bn)
            identity = kernel.new_zeros(kernel.shape)
            channels = torch.arange(self.c2, device=kernel.device)
            identity[channels, channels % (self.c1 // self.g), 1, 1] = scale
            kernel, bias = kernel + identity, bias + shift
        return kernel, bias

    def fuse_convs(self) -> None:
        """Replace the branches by one convolution with bias, in place; the layer is then for inference only."""
        kernel, bias = self.get_equivalent_kernel_bias()
        self.conv = convolution_like(self.conv1.conv, kernel, bias)
        del self.conv1, self.conv2
        self.bn = None
        self.forward = self.forward_fuse  # type: ignore[method-assign]


@register("c1, *args")
class ChannelAttention(nn.Module):
    """Scales every channel by a number in 0..1 that is computed from the mean values of all channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Conv2d(channels, channels, 1)
        self.act = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.act(self.fc(self.pool(x)))


@register("*args")
class SpatialAttention(nn.Module):
    """Scales every location by a number in 0..1 that is computed from the mean and maximum over the channels.

    Raises:
        ValueError: `kernel_size` is neither 3 nor 7.
    """

    def __init__(self, kernel_size: int = 7) -> None:
        super().__init__()
        if kernel_size not in SPATIAL_KERNELS:
            raise ValueError(f"the kernel size of spatial attention is 3 or 7, got {kernel_size}")
        self.cv1 = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.act = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.act(self.cv1(torch.cat((x.mean(1, keepdim=True), x.amax(1, keepdim=True)), 1)))


@register("c1, *args")
class CBAM(nn.Module):
    """Channel attention, then spatial attention; a row gives the kernel size alone, [-1, 1, CBAM, [7]].

    Paper: S. Woo et al., CBAM: Convolutional Block Attention Module, 2018, arXiv:1807.06521; the channel attention
    here has one linear layer and no maximum pooling, as in 8.3.0.
    """

    def __init__(self, c1: int, kernel_size: int = 7) -> None:
        super().__init__()
        self.channel_attention = ChannelAttention(c1)
        self.spatial_attention = SpatialAttention(kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.spatial_attention(self.channel_attention(x))


@register("*args")
class Concat(nn.Module):
    """Concatenates several maps along dimension `d`."""

    def __init__(self, dimension: int = 1) -> None:
        super().__init__()
        self.d = dimension

    def forward(self, x: Sequence[Tensor]) -> Tensor:
        return torch.cat(tuple(x), self.d)

    @staticmethod
    def out_channels(c1: int | list[int], args: list[object]) -> int:
        """Output channels, for the parser: the sum of the input channels."""
        return c1 if isinstance(c1, int) else sum(c1)


# ---- merging branches ------------------------------------------------------------------------------------------------


@torch.no_grad()
def merged_kernel(conv: nn.Conv2d, bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Kernel and bias, float32, of the convolution that equals `conv` without bias and then `bn` in eval mode."""
    scale, shift = _affine(bn)
    return conv.weight.float() * scale[:, None, None, None], shift


@torch.no_grad()
def _affine(bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    # the normalization in eval mode is x * scale + shift
    assert bn.running_mean is not None and bn.running_var is not None, "BatchNorm2d keeps running statistics"
    scale = bn.weight.float() / (bn.running_var.float() + bn.eps).sqrt()
    return scale, bn.bias.float() - bn.running_mean.float() * scale


def pad_kernel(kernel: Tensor, size: int) -> Tensor:
    """A kernel (c2, c1, k, k) with zeros around it, (c2, c1, size, size); both sizes odd."""
    margin = (size - kernel.shape[-1]) // 2
    return F.pad(kernel, [margin] * 4)


def convolution_like(conv: nn.Conv2d, kernel: Tensor, bias: Tensor) -> nn.Conv2d:
    """Convolution without gradients that has the stride, padding, groups and dtype of `conv` and these weights."""
    merged = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        _pair(conv.kernel_size),
        _pair(conv.stride),
        padding=(conv.kernel_size[0] // 2, conv.kernel_size[1] // 2),
        groups=conv.groups,
        device="meta",  # no memory and no random numbers for values that are replaced below
    )
    merged.weight = nn.Parameter(kernel.to(conv.weight.dtype), requires_grad=False)
    merged.bias = nn.Parameter(bias.to(conv.weight.dtype), requires_grad=False)
    return merged.train(conv.training)


def _pair(size: Size) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    rows, columns = size
    return rows, columns
