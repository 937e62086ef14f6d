"""Lower bounds for the time of the added modules, from the bytes and operations of a pass and the machine's rates.

A pass takes at least the longest of three times: its bytes at the speed of a large copy; its matrix products at the
speed of a large matrix product of the same dtype; its interpolation, which tensor cores do not compute, at the speed of
a large float32 product. Bytes: inputs, weights and outputs once each. The backward pass reads inputs, weights and the
output's gradient, writes the gradients of inputs and weights, and has two multiply-adds for each one of the forward
pass. Elementwise work (softmax, normalization, activation) is not counted, so these are lower bounds.

Dimension letters: B batch, C channels, H W rows and columns of the map, h w of the output, T taps, N points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from measure import Timer
from torch import nn

from ultralytics.nn.Addmodules.acmix import ACmix
from ultralytics.nn.Addmodules.akconv import AKConv
from ultralytics.nn.Addmodules.dlka import DeformConv, deformable_LKA, deformable_LKA_Attention

Shape = tuple[int, int, int, int]
BILINEAR = 4  # multiply-adds of one sample of one channel

# ---- work ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """Bytes read and written, and multiply-adds of matrix products and of interpolation."""

    bytes: int
    matrix: int
    scalar: int

    def __add__(self, other: Work) -> Work:
        return Work(self.bytes + other.bytes, self.matrix + other.matrix, self.scalar + other.scalar)

    @property
    def multiply_adds(self) -> int:
        return self.matrix + self.scalar


@dataclass(frozen=True)
class Operator:
    """Sizes of one operator: numbers of values in its inputs, weights and output, and its multiply-adds."""

    inputs: int
    weights: int
    outputs: int
    matrix: int = 0
    scalar: int = 0

    def forward(self, itemsize: int) -> Work:
        """Work of the forward pass; `itemsize` is bytes per value."""
        return Work((self.inputs + self.weights + self.outputs) * itemsize, self.matrix, self.scalar)

    def backward(self, itemsize: int) -> Work:
        """Work of the backward pass."""
        read, written = self.inputs + self.weights + self.outputs, self.inputs + self.weights
        return Work((read + written) * itemsize, 2 * self.matrix, 2 * self.scalar)


def total(operators: Sequence[Operator], itemsize: int, backward: bool) -> Work:
    """Work of several operators, forward or forward and backward."""
    work = Work(0, 0, 0)
    for op in operators:
        work += op.forward(itemsize) + (op.backward(itemsize) if backward else Work(0, 0, 0))
    return work


def deformable(shape: Shape, out: tuple[int, int], taps: int) -> Operator:
    """Depthwise deformable convolution of a map (B, C, H, W) with offsets (B, 2T, h, w)."""
    B, C, H, W = shape
    pixels = B * math.prod(out)
    # one sample per tap and channel, and its product with the filter
    return Operator(B * C * H * W + 2 * taps * pixels, C * taps, C * pixels, scalar=(BILINEAR + 1) * C * taps * pixels)


def sampled_projection(shape: Shape, out: tuple[int, int], points: int, out_channels: int) -> Operator:
    """AKConv's sampling at offsets (B, 2N, h, w) with the projection of the N * C samples per pixel."""
    B, C, H, W = shape
    pixels, samples = B * math.prod(out), C * points
    return Operator(
        B * C * H * W + 2 * points * pixels,
        samples * out_channels,
        out_channels * pixels,
        matrix=samples * out_channels * pixels,
        scalar=BILINEAR * samples * pixels,
    )


def attention(shape: Shape, window: int) -> Operator:
    """Windowed attention of q, k, v (B, C, H, W), all heads: scores and the weighted sum of the values."""
    values = math.prod(shape)
    return Operator(3 * values, 0, values, matrix=2 * window**2 * values)


def convolution(shape: Shape, out: tuple[int, int], out_channels: int, taps: int, groups: int = 1) -> Operator:
    """Convolution of a map (B, C, H, W) with `taps` values per filter and channel, without bias."""
    B, C, H, W = shape
    weights, pixels = out_channels * C // groups * taps, B * math.prod(out)
    return Operator(B * C * H * W, weights, out_channels * pixels, matrix=weights * pixels)


def block(m: nn.Module, shape: Shape) -> list[Operator]:
    """The operators of one of the three blocks, with stride 1, as in its paper.

    Raises:
        TypeError: another module.
    """
    out = shape[2:]
    if isinstance(m, AKConv):
        mix = m.conv[0]
        assert isinstance(mix, nn.Conv2d), "the first part of conv mixes the samples"
        offsets = convolution(shape, out, 2 * m.num_param, 9)
        return [offsets, sampled_projection(shape, out, m.num_param, mix.out_channels)]
    if isinstance(m, ACmix):
        C, k2 = m.head * m.head_dim, m.kernel_conv**2
        B, _, H, W = shape
        projections = convolution(shape, out, 3 * C, 1)  # q, k, v from one read of x
        fc = convolution((B * m.head_dim, 3 * m.head, H, W), out, k2, 1)
        shifts = convolution((B, k2 * m.head_dim, H, W), out, C, k2, groups=m.head_dim)
        return [projections, attention((B, C, H, W), m.kernel_att), fc, shifts]
    if isinstance(m, deformable_LKA_Attention):
        one, gate = convolution(shape, out, shape[1], 1), m.spatial_gating_unit
        assert isinstance(gate, deformable_LKA), "the gate is D-LKA"
        return [one, *_with_offsets(gate.conv0, shape), *_with_offsets(gate.conv_spatial, shape), one, one]
    raise TypeError(f"the work of {type(m).__name__} is not counted here")


def _with_offsets(m: DeformConv, shape: Shape) -> list[Operator]:
    taps = m.deform_conv.weight[0, 0].numel()
    return [convolution(shape, shape[2:], 2 * taps, taps), deformable(shape, shape[2:], taps)]


# ---- rates of the machine --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rates:
    """Bytes per second of a large copy, and multiply-adds per second of a large matrix product by dtype."""

    bytes: float
    products: dict[torch.dtype, float]

    def least(self, work: Work, dtype: torch.dtype) -> tuple[float, str]:
        """Lower bound of the time of the work in seconds, and which of the three times it is."""
        times = {
            "bytes": work.bytes / self.bytes,
            "products": work.matrix / self.products[dtype],
            "interpolation": work.scalar / self.products[torch.float32],
        }
        limit = max(times, key=lambda name: times[name])
        return times[limit], limit

    def __str__(self) -> str:
        rates = [f"{name(dtype)} {rate / 1e9:,.1f}" for dtype, rate in self.products.items()]
        return f"copy {self.bytes / 1e9:,.1f} GB/s, read and written; products {', '.join(rates)} G multiply-adds/s"


# values copied, size of the square matrices
SIZES = {"cpu": (1 << 26, 2048), "cuda": (1 << 28, 8192), "tiny": (1 << 10, 16)}


def measure_rates(timer: Timer, dtypes: Sequence[torch.dtype], repeat: int, tiny: bool = False) -> Rates:
    """The machine's rates, each the best of several repetitions, since a bound must hold on an idle machine."""
    values, size = SIZES["tiny" if tiny else timer.device]

    def best(work: Callable[[], object]) -> float:
        return min(timer.in_turns({"": work}, repeat)[""])

    source = torch.rand(values, device=timer.device)
    copied = 2 * source.nbytes / best(partial(torch.empty_like(source).copy_, source))
    products = {}
    for dtype in dict.fromkeys((torch.float32, *dtypes)):
        a, b = (torch.rand(size, size, device=timer.device).sub_(0.5).to(dtype) for _ in range(2))
        products[dtype] = size**3 / best(partial(torch.mm, a, b, out=torch.empty_like(a)))
    return Rates(copied, products)


def describe(work: Work) -> str:
    """Bytes and multiply-adds as text."""
    return f"{_short(work.bytes / 1e6)} MB, {_short(work.multiply_adds / 1e6)} M multiply-adds"


def _short(number: float) -> str:
    return f"{number:,.1f}" if number >= 1 else f"{number:.2g}"


def name(dtype: torch.dtype) -> str:
    """Name of a dtype as on the command line."""
    return str(dtype).removeprefix("torch.")
