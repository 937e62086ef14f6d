"""AKConv's sampling in Triton: a map read at N points for every output pixel; and what `sample_conv` shares with it.

Maps are read as rows of channels: a sample is four runs of memory, and what lies between them does not matter, so a
slice of a channels-last map is read in place. Other maps are copied into that form first (one read and one write).
How bytes move, S samples of C channels:
- Forward: points once; four rows a sample, which neighbouring samples share in the caches; samples written once.
- Backward: points and the samples' gradient read once, the four rows again; the points' gradient is stored once, the
  map's is four rows of atomic additions a sample (float32, or 64-bit fixed point if torch is to be deterministic).

Dimension letters: B batch, C channels, H W rows and columns of the map, h w of the output, N points a pixel.
A pixel is one of the output's, `place` its number within its image, and `area` = h * w.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import FunctionCtx

from ultralytics.nn.ops.kernels.launch import AtomicSum, add_term, autotuned, on_device_of, wide

# numbers that change from map to map: a kernel compiled for 1s or multiples of 16 among them would gain nothing
VARYING = ["H", "W", "area", "p_image", "p_number"]


class Geometry:
    """A map and points in the form that kernels read, with the sizes and strides that go with it.

    Args:
        x: (B, C, H, W), any memory format.
        points: (B, 2N, h, w) float32, rows before columns.

    Raises:
        ValueError: there are pixels to compute, but nothing to compute them from.
    """

    def __init__(self, x: Tensor, points: Tensor) -> None:
        B, C, H, W = x.shape
        self.N, self.area = points.shape[1] // 2, points.shape[2] * points.shape[3]
        self.pixels, self.map_shape = B * self.area, (B, H, W, C)
        if self.pixels and not (H * W and self.N):
            raise ValueError(f"a map {tuple(x.shape)} cannot be read at points {tuple(points.shape)}")
        rows = x.permute(0, 2, 3, 1)
        self.x = rows if C == 1 or rows.stride(3) == 1 else rows.contiguous()
        self.points = points.flatten(2)  # no copy unless rows of pixels have gaps between them
        self.args = {
            "C": C,
            "H": H,
            "W": W,
            "area": self.area,
            "x_image": self.x.stride(0),
            "x_row": self.x.stride(1),
            "x_column": self.x.stride(2),
            "p_image": self.points.stride(0),
            "p_number": self.points.stride(1),
            "p_place": self.points.stride(2),
            "N": self.N,
        }

    def wide(self, *others: Tensor) -> bool:
        """Whether the map, its gradient, the points or one of `others` takes offsets of 64 bits."""
        return wide(self.x, self.x.new_empty(self.map_shape, device="meta"), self.points, *others)


# ---- operators -----------------------------------------------------------------------------------------------------


@torch.library.custom_op("addmodules::sample_points", mutates_args=(), schema="(Tensor x, Tensor points) -> Tensor")
def sample_points(x: Tensor, points: Tensor) -> Tensor:
    """As ops.sample_points, `points` in float32; (B, C, N, h, w), in memory (B, h, w, N, C)."""
    g = Geometry(x, points)
    out = x.new_empty(_samples_shape(x, points))
    samples = g.pixels * g.N
    if out.numel():
        with on_device_of(x, points):
            _sample[lambda meta: (triton.cdiv(samples, meta["BLOCK"]),)](
                g.x, g.points, out, samples, **g.args, WIDE=g.wide(out), PADDED=triton.next_power_of_2(x.shape[1])
            )
    return out.permute(0, 4, 3, 1, 2)


@sample_points.register_fake
def _(x: Tensor, points: Tensor) -> Tensor:
    return x.new_empty(_samples_shape(x, points)).permute(0, 4, 3, 1, 2)


@torch.library.custom_op(
    "addmodules::sample_points_backward",
    mutates_args=(),
    schema="(Tensor grad, Tensor x, Tensor points, bool wants_x, bool wants_points) -> (Tensor, Tensor)",
)
def sample_points_backward(
    grad: Tensor, x: Tensor, points: Tensor, wants_x: bool, wants_points: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of the map (in memory (B, H, W, C)) and of the points; empty where not wanted."""
    g = Geometry(x, points)
    grad = grad.permute(0, 3, 4, 2, 1).contiguous()  # (B, h, w, N, C)
    total = AtomicSum(g.map_shape if wants_x else (0,), largest_term(grad))
    slopes = points.new_empty(points.shape if wants_points else (0,))
    samples = g.pixels * g.N
    if grad.numel() and (wants_x or wants_points):
        with on_device_of(x):
            _sample_backward[lambda meta: (triton.cdiv(samples, meta["BLOCK"]),)](
                g.x,
                g.points,
                grad,
                total.terms,
                total.unit,
                slopes,
                samples,
                **g.args,
                WANTS_X=wants_x,
                WANTS_POINTS=wants_points,
                FIXED=total.fixed,
                WIDE=g.wide(grad),
                PADDED=triton.next_power_of_2(x.shape[1]),
            )
    return map_gradient(total, x, wants_x), slopes


@sample_points_backward.register_fake
def _(grad: Tensor, x: Tensor, points: Tensor, wants_x: bool, wants_points: bool) -> tuple[Tensor, Tensor]:
    return map_like(x, wants_x), points.new_empty(points.shape if wants_points else (0,))


def _keep(ctx: FunctionCtx, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, points = ctx.saved_tensors  # type: ignore[attr-defined]
    wants = ctx.needs_input_grad  # type: ignore[attr-defined]
    found = torch.ops.addmodules.sample_points_backward(grad, x, points, *wants)
    return tuple(part if want else None for part, want in zip(found, wants, strict=True))


sample_points.register_autograd(_differentiate, setup_context=_keep)


def _samples_shape(x: Tensor, points: Tensor) -> tuple[int, ...]:
    return x.shape[0], points.shape[2], points.shape[3], points.shape[1] // 2, x.shape[1]


def map_like(x: Tensor, wanted: bool) -> Tensor:
    """Memory for the gradient of `x`, channels innermost; empty unless it is wanted."""
    B, C, H, W = x.shape
    return x.new_empty(B, H, W, C).permute(0, 3, 1, 2) if wanted else x.new_empty(0)


def map_gradient(total: AtomicSum, x: Tensor, wanted: bool) -> Tensor:
    """What `map_like` has room for, out of the sum."""
    return total.total(x.dtype).permute(0, 3, 1, 2) if wanted else x.new_empty(0)


def largest_term(grad: Tensor, weight: Tensor | None = None) -> Tensor:
    """Bound of what one sample adds to the map, for AtomicSum: 1 where no deterministic sum will ask for it.

    Args:
        grad: gradient of the samples, or that of their projection by `weight`, outputs first.
    """
    if not torch.are_deterministic_algorithms_enabled() or not grad.numel():
        return torch.ones((), device=grad.device)
    low, high = grad.aminmax()  # reads once and writes nothing, unlike abs()
    largest = torch.maximum(-low, high).float()
    return largest if weight is None else largest * weight.abs().float().sum(0).amax()


# ---- device code: where a sample lies ------------------------------------------------------------------------------


@triton.jit
def count_from(number: tl.tensor, COUNT: tl.constexpr, WIDE: tl.constexpr) -> tl.tensor:
    """The numbers of the things that a program handles, COUNT of them, in the type that offsets need."""
    if WIDE:
        number = number.to(tl.int64)
    return number * COUNT + tl.arange(0, COUNT)


@triton.jit
def read_point(
    points: tl.tensor, image: tl.tensor, place: tl.tensor, n: tl.tensor, p_image: tl.tensor, p_number: tl.tensor,
    p_place: tl.tensor, N: tl.constexpr, mask: tl.tensor,
) -> tuple:  # fmt: skip
    """Row and column of point `n` of the pixels."""
    p_number = tl.cast(p_number, place.dtype)  # 64 bits where offsets need them
    at = points + image * p_image + n * p_number + place * p_place
    return tl.load(at, mask=mask, other=0.0), tl.load(at + N * p_number, mask=mask, other=0.0)


@triton.jit
def find_cell(row: tl.tensor, column: tl.tensor, H: tl.tensor, W: tl.tensor, WIDE: tl.constexpr) -> tuple:
    """Top left pixel of the points' cells, and the fractions of a pixel that the points lie further down and right."""
    row, column = tl.minimum(tl.maximum(row, 0.0), H - 1.0), tl.minimum(tl.maximum(column, 0.0), W - 1.0)
    # a NaN becomes some integer: clamped again, it reads inside the map whatever the machine makes of it
    top = tl.minimum(tl.maximum(row.to(tl.int32), 0), tl.maximum(H - 2, 0))
    left = tl.minimum(tl.maximum(column.to(tl.int32), 0), tl.maximum(W - 2, 0))
    fy, fx = row - top.to(tl.float32), column - left.to(tl.float32)
    if WIDE:
        top, left = top.to(tl.int64), left.to(tl.int64)
    return top, left, fy, fx


@triton.jit
def read_corners(at: tl.tensor, down: tl.tensor, right: tl.tensor, mask: tl.tensor) -> tuple:
    """Pixels round each sample: north-west (`at` points to it), north-east, south-west, south-east; in float32."""
    return (
        tl.load(at, mask=mask, other=0.0).to(tl.float32),
        tl.load(at + right, mask=mask, other=0.0).to(tl.float32),
        tl.load(at + down, mask=mask, other=0.0).to(tl.float32),
        tl.load(at + (down + right), mask=mask, other=0.0).to(tl.float32),
    )


@triton.jit
def interpolate(nw: tl.tensor, ne: tl.tensor, sw: tl.tensor, se: tl.tensor, fy: tl.tensor, fx: tl.tensor) -> tl.tensor:
    """The samples, of corners (samples, channels) and fractions (samples,)."""
    both = fy * fx
    first, across, along = (1 - fy - fx + both)[:, None], (fx - both)[:, None], (fy - both)[:, None]
    return first * nw + across * ne + along * sw + both[:, None] * se


@triton.jit
def slopes_of(
    grad: tl.tensor, nw: tl.tensor, ne: tl.tensor, sw: tl.tensor, se: tl.tensor, fy: tl.tensor, fx: tl.tensor
) -> tuple:
    """What a block of channels adds to the gradients of the samples' rows and columns."""
    left, right = sw - nw, se - ne
    top, bottom = ne - nw, se - sw
    by_row = tl.sum(grad * (left + fx[:, None] * (right - left)), 1)
    by_column = tl.sum(grad * (top + fy[:, None] * (bottom - top)), 1)
    return by_row, by_column


@triton.jit
def spread(
    at: tl.tensor, grad: tl.tensor, unit: tl.tensor, down: tl.tensor, right: tl.tensor,
    fy: tl.tensor, fx: tl.tensor, mask: tl.tensor, FIXED: tl.constexpr,
) -> None:  # fmt: skip
    """Add the samples' gradient to the four pixels round each; `at` are pointers into the sum to the first ones."""
    both = fy * fx
    add_term(at, (1 - fy - fx + both)[:, None] * grad, unit, mask, FIXED)
    add_term(at + right, (fx - both)[:, None] * grad, unit, mask, FIXED)
    add_term(at + down, (fy - both)[:, None] * grad, unit, mask, FIXED)
    add_term(at + (down + right), both[:, None] * grad, unit, mask, FIXED)


@triton.jit
def lead_back(
    grad: tl.tensor, at: tl.tensor, to: tl.tensor, unit: tl.tensor, H: tl.tensor, W: tl.tensor, C: tl.tensor,
    x_row: tl.tensor, x_column: tl.tensor, fy: tl.tensor, fx: tl.tensor, mask: tl.tensor,
    WANTS_X: tl.constexpr, WANTS_POINTS: tl.constexpr, FIXED: tl.constexpr,
) -> tuple:  # fmt: skip
    """Lead the gradient of samples back: added to the map's sum, and for the points returned as `slopes_of` does.

    `at` and `to` point to the first pixel round each sample, in the map and in the (B, H, W, C) sum of its gradient.
    """
    more_rows, more_columns = tl.minimum(H - 1, 1), tl.minimum(W - 1, 1)  # a map of one row repeats it
    by_row, by_column = tl.zeros((grad.shape[0],), tl.float32), tl.zeros((grad.shape[0],), tl.float32)
    if WANTS_POINTS:
        nw, ne, sw, se = read_corners(at, more_rows * x_row, more_columns * x_column, mask)
        by_row, by_column = slopes_of(grad, nw, ne, sw, se, fy, fx)
    if WANTS_X:
        spread(to, grad, unit, more_rows * W * C, more_columns * C, fy, fx, mask, FIXED)
    return by_row, by_column


@triton.jit
def store_slopes(
    slopes: tl.tensor, image: tl.tensor, place: tl.tensor, n: tl.tensor, row: tl.tensor, column: tl.tensor,
    by_row: tl.tensor, by_column: tl.tensor, H: tl.tensor, W: tl.tensor, area: tl.tensor, N: tl.constexpr,
    mask: tl.tensor,
) -> None:  # fmt: skip
    """Write the gradients of rows and columns to (B, 2N, h, w); what was clamped moves nothing."""
    area = tl.cast(area, place.dtype)
    at = slopes + (image * (2 * N) + n) * area + place
    tl.store(at, tl.where((row >= 0) & (row <= H - 1), by_row, 0.0), mask=mask)
    tl.store(at + N * area, tl.where((column >= 0) & (column <= W - 1), by_column, 0.0), mask=mask)


# ---- kernels -------------------------------------------------------------------------------------------------------

_CONFIGS = [
    triton.Config({"BLOCK": 32, "MOST": 64}, num_warps=4),
    triton.Config({"BLOCK": 32, "MOST": 32}, num_warps=4),
    triton.Config({"BLOCK": 16, "MOST": 128}, num_warps=4),
    triton.Config({"BLOCK": 64, "MOST": 64}, num_warps=8),
]


@autotuned(_CONFIGS, key=["C"])
@triton.jit(do_not_specialize=["samples", *VARYING])
def _sample(
    x: tl.tensor, points: tl.tensor, out: tl.tensor, samples: tl.tensor,
    C: tl.tensor, H: tl.tensor, W: tl.tensor, area: tl.tensor, x_image: tl.tensor, x_row: tl.tensor,
    x_column: tl.tensor, p_image: tl.tensor, p_number: tl.tensor, p_place: tl.tensor, N: tl.constexpr,
    WIDE: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr, MOST: tl.constexpr,
) -> None:  # fmt: skip
    """A program takes BLOCK samples, one point of one pixel each, and all their channels."""
    CHANNELS: tl.constexpr = PADDED if PADDED < MOST else MOST
    number = count_from(tl.program_id(0), BLOCK, WIDE)
    inside = number < samples
    pixel, n = number // N, number % N
    image, place = pixel // area, pixel % area
    row, column = read_point(points, image, place, n, p_image, p_number, p_place, N, inside)
    top, left, fy, fx = find_cell(row, column, H, W, WIDE)
    down, right = tl.minimum(H - 1, 1) * x_row, tl.minimum(W - 1, 1) * x_column  # a map of one row repeats it
    first = image * x_image + top * x_row + left * x_column
    for start in range(0, C, CHANNELS):
        channel = start + tl.arange(0, CHANNELS)
        mask = inside[:, None] & (channel < C)[None, :]
        nw, ne, sw, se = read_corners(x + first[:, None] + channel[None, :], down, right, mask)
        value = interpolate(nw, ne, sw, se, fy, fx)
        tl.store(out + number[:, None] * C + channel[None, :], value.to(out.dtype.element_ty), mask=mask)


@autotuned(_CONFIGS, key=["C", "WANTS_X", "WANTS_POINTS"], sums=["terms"])
@triton.jit(do_not_specialize=["samples", *VARYING])
def _sample_backward(
    x: tl.tensor, points: tl.tensor, grad: tl.tensor, terms: tl.tensor, unit: tl.tensor, slopes: tl.tensor,
    samples: tl.tensor,
    C: tl.tensor, H: tl.tensor, W: tl.tensor, area: tl.tensor, x_image: tl.tensor, x_row: tl.tensor,
    x_column: tl.tensor, p_image: tl.tensor, p_number: tl.tensor, p_place: tl.tensor, N: tl.constexpr,
    WANTS_X: tl.constexpr, WANTS_POINTS: tl.constexpr, FIXED: tl.constexpr,
    WIDE: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr, MOST: tl.constexpr,
) -> None:  # fmt: skip
    """As `_sample`: the samples' gradient goes to the map by atomic additions, and to the points by stores."""
    CHANNELS: tl.constexpr = PADDED if PADDED < MOST else MOST
    number = count_from(tl.program_id(0), BLOCK, WIDE)
    inside = number < samples
    pixel, n = number // N, number % N
    image, place = pixel // area, pixel % area
    row, column = read_point(points, image, place, n, p_image, p_number, p_place, N, inside)
    top, left, fy, fx = find_cell(row, column, H, W, WIDE)
    first = image * x_image + top * x_row + left * x_column
    target = ((image * H + top) * W + left) * C
    step = tl.load(unit)
    by_row, by_column = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    for start in range(0, C, CHANNELS):
        channel = start + tl.arange(0, CHANNELS)
        mask = inside[:, None] & (channel < C)[None, :]
        part = tl.load(grad + number[:, None] * C + channel[None, :], mask=mask, other=0.0).to(tl.float32)
        at, to = x + first[:, None] + channel[None, :], terms + target[:, None] + channel[None, :]
        more_row, more_column = lead_back(
            part, at, to, step, H, W, C, x_row, x_column, fy, fx, mask, WANTS_X, WANTS_POINTS, FIXED
        )
        by_row += more_row
        by_column += more_column
    if WANTS_POINTS:
        store_slopes(slopes, image, place, n, row, column, by_row, by_column, H, W, area, N, inside)
