"""AKConv: a convolution with any number of taps at arbitrary, learned positions.

Zhang, Song, Song, Yang, Ye, Zhou, Zhang 2023, arXiv 2311.11587, later renamed LDConv. For output pixel (i, j):
    points = (i*s, j*s) + shape[n] + offset[n]              n = 0 … N-1, offset = p_conv(x)
    out    = SiLU(BN(sum over c, n of weight[c, n] * x[c] sampled at points[n]))
Differences from the published code, and why:
- Points are clamped before their four neighbors are computed, so that the weights sum to 1 everywhere. The published
  code clamps neighbors and points separately, and a map of ones gives values up to 4 at the border.
- Rows are rows: tutorials build the grid with indexing="xy", which transposes the map.
- The published backward hook that should reduce the gradient of the offsets has no effect; `offset_lr` does it, and is
  1 by default.
- Coordinates are float32 under any dtype, and no offset, including NaN and infinity, reads outside the map.
`compat` computes the results of the faulty versions, to reproduce old experiments.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor, nn

from ultralytics.nn.modules.block import Bottleneck, C2f
from ultralytics.nn.modules.conv import Size
from ultralytics.nn.ops import backends, sample_conv
from ultralytics.nn.ops.autograd import Context
from ultralytics.nn.ops.backends import log_once
from ultralytics.nn.ops.sampling import mix
from ultralytics.nn.ops.tracing import is_tracing, needs_custom_backward
from ultralytics.nn.registry import register

Shape = str | Sequence[tuple[float, float]]
Compat = Literal["published", "tutorial"]
_PAPER = "AKConv / LDConv, arXiv 2311.11587"


@register(
    "c1, c2, *args",
    names=("LDConv",),
    paper=_PAPER,
    usage="[-1, 1, AKConv, [256, 5, 2]]  # channels, sampling points (any number), stride; instead of a Conv; "
    "named options come last: [256, 5, 2, {shape: cross, offset_lr: 0.1}]",
)
class AKConv(nn.Module):
    """Convolution with `num_param` taps at learned positions, batch normalization and SiLU.

    (B, inc, H, W) -> (B, outc, h, w) with h = (H-1)//stride + 1 and w = (W-1)//stride + 1.

    Args:
        inc, outc: channels in and out.
        num_param: number of taps N, 1 or more.
        stride: distance of the output pixels.
        bias: add a bias to the convolution, before the normalization.
        shape: initial positions of the taps: a name in SHAPES or N points (row, column) in pixels; None: the paper's.
        offset_lr: factor for the gradient of the offsets, such as 0.1 for a lower learning rate.
        compat: "published" or "tutorial" reproduces the results of that faulty code; see the top of this file.
    """

    def __init__(
        self,
        inc: int,
        outc: int,
        num_param: int,
        stride: int = 1,
        bias: bool | None = None,
        *,
        shape: Shape | None = None,
        offset_lr: float = 1.0,
        compat: Compat | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("number of sampling points", num_param), ("stride", stride)):
            if type(value) is not int or value < 1:
                raise ValueError(f"AKConv's {name} must be an integer of at least 1, not {value!r}")
        if not isinstance(offset_lr, (int, float)) or not 0 <= offset_lr < math.inf:
            raise ValueError(f"AKConv's offset_lr must be a factor of at least 0, such as 0.1, not {offset_lr!r}")
        if compat not in (None, "published", "tutorial"):
            raise ValueError(f"AKConv's compat is None, 'published' or 'tutorial', not {compat!r}")
        self.num_param, self.stride, self.offset_lr, self.compat = num_param, stride, offset_lr, compat
        mix = nn.Conv2d(inc, outc, (num_param, 1), (num_param, 1), bias=bool(bias))
        self.conv = nn.Sequential(mix, nn.BatchNorm2d(outc), nn.SiLU())
        self.p_conv = nn.Conv2d(inc, 2 * num_param, 3, stride, 1)
        nn.init.zeros_(self.p_conv.weight)
        self.shape = initial_shape(num_param, shape)
        if compat:
            log_once(
                logging.WARNING,
                f"AKConv with compat='{compat}' reproduces the errors of that code; use it only for old experiments",
            )
        if offset_lr != 1:
            log_once(
                logging.WARNING,
                f"AKConv with offset_lr={offset_lr} scales the gradient of its offsets (the paper: 1)",
            )

    def forward(self, x: Tensor) -> Tensor:
        offset = self.p_conv(x)
        if self.offset_lr != 1 and needs_custom_backward(offset):
            offset = _ScaleGradient.apply(offset, self.offset_lr)
        points = offset.float() if offset.dtype in (torch.float16, torch.bfloat16) else offset
        points = points + self._grid(offset.shape[2], offset.shape[3], points)
        conv, norm, activation = self.conv
        assert isinstance(conv, nn.Conv2d), "conv[0] projects the samples"
        if self.compat is not None:
            return activation(norm(mix(_published_samples(x, points), conv.weight, conv.bias)))
        if not self._can_fold(x, points):
            return activation(norm(sample_conv(x, points, conv.weight, conv.bias)))
        weight, bias = _folded(conv, norm)
        if type(activation) is nn.SiLU:
            return sample_conv(x, points, weight, bias, "silu")
        return activation(sample_conv(x, points, weight, bias))

    def _can_fold(self, x: Tensor, points: Tensor) -> bool:
        """Whether a kernel computes this without gradients: it then includes the normalization and SiLU."""
        norm = self.conv[1]
        fixed = isinstance(norm, nn.BatchNorm2d) and not norm.training and norm.running_mean is not None
        if not fixed and not isinstance(norm, nn.Identity):
            return False
        return not needs_custom_backward(x, points, *self.conv.parameters()) and backends.uses_triton(x, "sample_conv")

    def _grid(self, h: int, w: int, like: Tensor) -> Tensor:
        """Positions of the taps before their offsets: (2N, h, w), rows then columns, in `like`'s dtype."""
        row = torch.arange(h, dtype=like.dtype, device=like.device).mul_(self.stride).view(-1, 1).expand(h, w)
        column = torch.arange(w, dtype=like.dtype, device=like.device).mul_(self.stride).expand(h, w)
        if self.compat == "tutorial":  # the arrays of an "xy" meshgrid are (w, h), read as if they were (h, w)
            row, column = (m.t().reshape(h, w) for m in (row, column))
        start = shape_tensor(tuple(self.shape), like).t().reshape(2, -1, 1, 1)  # (2, N, 1, 1)
        return (torch.stack((row, column)).unsqueeze(1) + start).flatten(0, 1)

    def multiply_adds(self, shape: tuple[int, ...], out: tuple[int, ...]) -> int:
        """Of offsets, bilinear samples (four each), projection and normalization; see info.get_flops."""
        B, outc, h, w = out
        inc, N = shape[1], self.num_param
        norm = 4 * outc if isinstance(self.conv[1], nn.BatchNorm2d) else 0
        return B * h * w * (self.p_conv.weight.numel() + 4 * inc * N + inc * N * outc + norm)

    def extra_repr(self) -> str:
        return f"num_param={self.num_param}, stride={self.stride}, offset_lr={self.offset_lr}, compat={self.compat}"


@register(
    "c1, c2, *args", paper=_PAPER, usage="[-1, 1, Bottleneck_AKConv, [256, True, {num_param: 5}]]  # channels, shortcut"
)
class Bottleneck_AKConv(Bottleneck):
    """Bottleneck whose second convolution is an AKConv with `num_param` points: AKConv in a residual branch."""

    def __init__(
        self,
        c1: int,
        c2: int,
        shortcut: bool = True,
        g: int = 1,
        k: Sequence[Size] = (3, 3),
        e: float = 0.5,
        *,
        num_param: int = 3,
    ) -> None:
        super().__init__(c1, c2, shortcut, g, k, e)
        self.cv2 = AKConv(int(c2 * e), c2, num_param)  # type: ignore[assignment]


@register("c1, c2, n, *args", paper=_PAPER, usage="[-1, 3, C2f_AKConv, [256, True]]  # channels, shortcut")
class C2f_AKConv(C2f):
    """C2f whose `n` bottlenecks are Bottleneck_AKConv."""

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = False, g: int = 1, e: float = 0.5) -> None:
        super().__init__(c1, c2, n, shortcut, g, e)
        self.m = nn.ModuleList(Bottleneck_AKConv(self.c, self.c, shortcut, g, e=1.0) for _ in range(n))


def initial_shape(num_param: int, shape: Shape | None = None) -> list[tuple[float, float]]:
    """The N initial points (row, column) of the taps, in the order of the weights.

    Raises:
        ValueError: an unknown name, not a list of points, or a number of points other than `num_param`.
    """
    if shape is None or isinstance(shape, str):
        name = "default" if shape is None else shape
        if name not in SHAPES:
            raise ValueError(f"AKConv has no shape '{name}'; choose one of {', '.join(SHAPES)}, or list the points")
        return SHAPES[name](num_param)
    try:
        points = [(float(row), float(column)) for row, column in shape]
    except (TypeError, ValueError) as e:
        raise ValueError(
            f"AKConv's shape must be a name or points (row, column), [[0, 0], [0, 1], …], not {shape!r}"
        ) from e
    if not all(math.isfinite(number) for point in points for number in point):
        raise ValueError(f"AKConv's shape must consist of finite numbers, not {points}")
    if len(points) != num_param:
        raise ValueError(f"AKConv with {num_param} sampling points has a shape of {len(points)}")
    return points


def shape_tensor(shape: tuple[tuple[float, float], ...], like: Tensor) -> Tensor:
    """The (N, 2) points of a shape in `like`'s dtype and on its device.

    Not a buffer: half() would round it, and the checkpoint's keys are fixed. But cached, since copying it from the CPU
    synchronizes with the GPU, and is not possible in a CUDA graph.
    """
    if like.device.type == "cpu" or type(like) is not Tensor or is_tracing():
        return torch.tensor(shape, dtype=like.dtype, device=like.device)
    return cached_shape_tensor(shape, like.dtype, like.device)


@lru_cache(maxsize=256)  # one per shape, dtype and device in use
def cached_shape_tensor(shape: tuple[tuple[float, float], ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # it may be used in training later
        return torch.tensor(shape, dtype=dtype, device=device)


def _rows_of_points(num_param: int) -> list[tuple[float, float]]:
    base = round(math.sqrt(num_param))
    return [(float(n // base), float(n % base)) for n in range(num_param)]


def _square(num_param: int) -> list[tuple[float, float]]:
    points = _rows_of_points(num_param)
    middle = [max(p[i] for p in points) // 2 for i in (0, 1)]
    return [(row - middle[0], column - middle[1]) for row, column in points]


def _cross(num_param: int) -> list[tuple[float, float]]:
    arms = ((0, -1), (-1, 0), (0, 1), (1, 0))
    return [(0.0, 0.0)] + [
        (float(arms[n % 4][0] * (n // 4 + 1)), float(arms[n % 4][1] * (n // 4 + 1))) for n in range(num_param - 1)
    ]


def _diamond(num_param: int) -> list[tuple[float, float]]:
    reach = range(-num_param, num_param + 1)
    points = sorted((abs(r) + abs(c), r, c) for r in reach for c in reach)
    return [(float(r), float(c)) for _, r, c in points[:num_param]]


def _line(num_param: int) -> list[tuple[float, float]]:
    return [(0.0, float(n - (num_param - 1) // 2)) for n in range(num_param)]


# name -> points; "default" is the paper's, to the right of and below the pixel; the others are around the pixel
SHAPES = {"default": _rows_of_points, "square": _square, "cross": _cross, "diamond": _diamond, "line": _line}


def _folded(conv: nn.Conv2d, norm: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Float32 weight and bias equivalent to `conv` followed by `norm` in evaluation mode."""
    if not isinstance(norm, nn.BatchNorm2d):
        return conv.weight, conv.bias
    assert norm.running_mean is not None, "a normalization without running statistics is not folded"
    assert norm.running_var is not None, "BatchNorm has both statistics or none"
    scale = torch.rsqrt(norm.running_var.float() + norm.eps)
    scale = scale * norm.weight.float() if norm.affine else scale
    mean = norm.running_mean.float() - (0 if conv.bias is None else conv.bias.float())
    shift = -mean * scale + (norm.bias.float() if norm.affine else 0)
    return conv.weight.float() * scale.view(-1, 1, 1, 1), shift


class _Context(Context):
    factor: float


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.factor, None


def _published_samples(x: Tensor, points: Tensor) -> Tensor:
    """Samples (B, C, N, h, w) as in the published code: neighbors and points are clamped separately."""
    B, C, H, W = x.shape
    n = points.shape[1] // 2
    row, column = points[:, :n], points[:, n:]
    corners = {}
    for axis, p, size in (("y", row, H), ("x", column, W)):
        low = p.detach().floor()
        corners[axis] = low.clamp(0, size - 1), (low + 1).clamp(0, size - 1), p.clamp(0, size - 1)
    (top, bottom, row), (left, right, column) = corners["y"], corners["x"]
    flat = x.flatten(2)

    def pixel(r: Tensor, c: Tensor) -> Tensor:
        index = r.long().clamp(0, H - 1) * W + c.long().clamp(0, W - 1)  # the second clamp is for NaN
        return flat.gather(2, index.flatten(1).unsqueeze(1).expand(-1, C, -1)).view(B, C, *row.shape[1:])

    # the terms and factors are in the order of the published code, so that the sums are rounded equally
    near_top, near_left, near_bottom, near_right = (
        1 + (top - row),
        1 + (left - column),
        1 - (bottom - row),
        1 - (right - column),
    )
    terms = (
        (near_top * near_left, top, left),
        (near_bottom * near_right, bottom, right),
        (near_top * near_right, top, right),
        (near_bottom * near_left, bottom, left),
    )
    total = None
    for weight, r, c in terms:
        term = weight.unsqueeze(1).to(x.dtype) * pixel(r, c)
        total = term if total is None else total + term
    assert total is not None, "terms has four entries"
    return total
