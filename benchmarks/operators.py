"""The three operators alone at YOLO's shapes: this package's functions and the alternatives to them.

Dimension letters: B batch, C channels, n heads, d channels a head, H W rows and columns of the map, N points.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import roofline
import torch
import torch.nn.functional as F
from baselines import four_gathers, torchvision_deform, unfolded_attention
from implementations import Case, Implementation, NotAvailable
from torch import Tensor, nn

from ultralytics.nn.Addmodules.akconv import AKConv
from ultralytics.nn.ops import deform_conv2d_depthwise, window_attention
from ultralytics.nn.ops.attention import reflect

OFFSET_PIXELS = 2.0  # standard deviation of the offsets: neighboring pixels sample different points, as after training

# ---- D-LKA -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Deform(Case):
    """Depthwise deformable convolution, the same offsets for all channels."""

    kernel: int
    dilation: int

    key, title, target, baseline_name = "dlka", "D-LKA's convolution", (15.0, 10.0), "torchvision"

    @property
    def padding(self) -> int:
        return self.kernel // 2 * self.dilation

    def inputs(self) -> list[Tensor]:
        B, C, H, W = self.shape
        taps = self.kernel**2
        offset, weight = torch.randn(B, 2 * taps, H, W), torch.randn(C, 1, self.kernel, self.kernel)
        return [torch.randn(self.shape), offset * OFFSET_PIXELS, weight / taps**0.5]

    def package(self, inputs: list[Tensor]) -> Callable[[], Tensor]:
        x, offset, weight = inputs
        return lambda: deform_conv2d_depthwise(x, offset, weight, padding=self.padding, dilation=self.dilation)

    def baseline(self, inputs: list[Tensor]) -> Callable[[], Tensor]:
        x, offset, weight = inputs
        return lambda: torchvision_deform(x, offset, weight, 1, self.padding, self.dilation)

    def operator(self) -> roofline.Operator:
        return roofline.deformable(self.shape, self.shape[2:], self.kernel**2)

    def __str__(self) -> str:
        return f"{super().__str__()}, {self.kernel}×{self.kernel} dilated {self.dilation}"


# ---- ACmix -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attention(Case):
    """Attention of every pixel to the window around it, the map reflected at its borders."""

    key, title, target, baseline_name = "acmix", "ACmix's attention, 7×7, 4 heads", (8.0, 10.0), "unfold"
    window = 7
    heads = 4

    def inputs(self) -> list[Tensor]:
        return [torch.randn(self.shape) for _ in range(3)]

    def _heads(self, z: Tensor) -> Tensor:
        return z.unflatten(1, (self.heads, -1))  # (B, C, H, W) -> (B, n, d, H, W), a view

    def package(self, inputs: list[Tensor]) -> Callable[[], Tensor]:
        q, k, v = inputs
        return lambda: window_attention(self._heads(q), self._heads(k), self._heads(v), self.window).flatten(1, 2)

    def baseline(self, inputs: list[Tensor]) -> Callable[[], Tensor]:
        def call() -> Tensor:
            q, k, v = (self._heads(z).flatten(0, 1) for z in inputs)
            return unfolded_attention(q, k, v, self.window).view(self.shape)

        return call

    def operator(self) -> roofline.Operator:
        return roofline.attention(self.shape, self.window)

    def others(self) -> dict[str, Callable[[list[Tensor]], Implementation]]:
        return {"sdpa": self._sdpa, "natten": self._natten}

    def _sdpa(self, inputs: list[Tensor]) -> Implementation:
        """Attention over the whole map; a key that the reflected window contains m times gets log m added to its score.

        The mask depends only on the size of the map, so making its (H * W)² values is not part of the measured time.
        """
        times = window_counts(*self.shape[2:], self.window).to(inputs[0].device)
        bias = times.log().to(inputs[0].dtype)

        def call() -> Tensor:
            q, k, v = (self._heads(z).flatten(3).transpose(2, 3) for z in inputs)  # (B, n, H * W, d), views
            # (B, n, d, H * W): merging n and d would copy
            return F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(2, 3)

        return Implementation(call, tuple(inputs))

    def _natten(self, inputs: list[Tensor]) -> Implementation:
        """Its windows are shifted into the map at the border instead of reflected: timed, not compared."""
        try:
            na2d = importlib.import_module("natten.functional").na2d
        except (ImportError, AttributeError) as e:
            raise NotAvailable(f"NATTEN is not installed, or has no na2d ({e})") from e

        def call() -> Tensor:
            q, k, v = (self._heads(z).permute(0, 3, 4, 1, 2).contiguous() for z in inputs)  # (B, H, W, n, d), views
            return na2d(q, k, v, kernel_size=self.window).flatten(3).permute(0, 3, 1, 2)

        return Implementation(call, tuple(inputs), same_result=False)


def window_counts(H: int, W: int, window: int) -> Tensor:
    """(H * W, H * W) float32: how often the reflected window of one pixel contains another."""

    def along(size: int) -> Tensor:
        taps = torch.arange(window) - window // 2
        neighbors = reflect(torch.arange(size).view(-1, 1) + taps, size)  # (size, window)
        return F.one_hot(neighbors, size).sum(1).float()

    rows, columns = along(H), along(W)
    return (rows[:, None, :, None] * columns[None, :, None, :]).view(H * W, H * W)


# ---- AKConv ----------------------------------------------------------------------------------------------------------


class _FixedOffset(nn.Module):
    """Replaces the convolution that computes the offsets."""

    def __init__(self, offset: Tensor) -> None:
        super().__init__()
        self.offset = offset

    def forward(self, x: Tensor) -> Tensor:
        return self.offset


@dataclass(frozen=True)
class Sampling(Case):
    """AKConv's sampling and projection with fixed offsets, without normalization and activation."""

    out_channels: int
    points: int = 3
    stride: int = 2

    key, title, target, baseline_name = "akconv", "AKConv's sampling and projection", (4.0, 4.0), "four gathers"

    @property
    def out(self) -> tuple[int, int]:
        H, W = self.shape[2:]
        return (H - 1) // self.stride + 1, (W - 1) // self.stride + 1

    def inputs(self) -> list[Tensor]:
        B, C = self.shape[:2]
        offset, weight = torch.randn(B, 2 * self.points, *self.out), torch.randn(self.out_channels, C, self.points, 1)
        return [torch.randn(self.shape), offset * OFFSET_PIXELS, weight / (C * self.points) ** 0.5]

    def _module(self, offset: Tensor, weight: Tensor) -> AKConv:
        m = AKConv(self.shape[1], self.out_channels, self.points, self.stride)
        m.p_conv = _FixedOffset(offset)  # type: ignore[assignment]
        m.conv[0].weight = weight
        m.conv[1], m.conv[2] = nn.Identity(), nn.Identity()
        return m

    def package(self, inputs: list[Tensor]) -> Callable[[], Tensor]:
        x, offset, weight = inputs
        m = self._module(offset, weight)
        return lambda: m(x)

    def baseline(self, inputs: list[Tensor]) -> Callable[[], Tensor]:
        x, offset, weight = inputs
        m = self._module(offset, weight)
        return lambda: m.conv(four_gathers(x, offset, m.shape, m.stride))

    def operator(self) -> roofline.Operator:
        return roofline.sampled_projection(self.shape, self.out, self.points, self.out_channels)

    def __str__(self) -> str:
        return f"{super().__str__()} → {self.out_channels}, N={self.points}, stride {self.stride}"


# ---- shapes ----------------------------------------------------------------------------------------------------------

BATCH = 16
LEVELS = {"P3": 80, "P4": 40, "P5": 20}  # side of the map at 640 pixels
WIDTHS = {"n": (64, 128, 256), "s": (128, 256, 512)}  # channels of the three levels
LARGE = (5, 1), (7, 3)  # kernel and dilation of D-LKA's two convolutions


def cases(shapes: str) -> list[Case]:
    """All cases of YOLO's width "n" or "s", or three small ones for "tiny"."""
    if shapes == "tiny":
        small = (1, 3, 5, 4)
        return [Deform(small, shapes, 5, 1), Attention((1, 8, 6, 5), shapes), Sampling(small, shapes, 4)]
    selected: list[Case] = []
    for (level, size), C in zip(LEVELS.items(), WIDTHS[shapes], strict=True):
        shape, name = (BATCH, C, size, size), f"{shapes} {level}"
        selected += [Deform(shape, name, kernel, dilation) for kernel, dilation in LARGE]
        selected.append(Attention(shape, name))
        # as in yolov8-AKConv: the layer that halves the map and doubles the channels
        selected.append(Sampling((BATCH, C // 2, 2 * size, 2 * size), name, C))
    return selected
