"""AKConv's sampling in Triton: a map sampled at N points per output pixel; and what sample_conv shares.

Maps are read in the layout (B, H, W, C): a sample is four contiguous runs of C values. Only the channels must be
contiguous, so a slice of a channels-last map is read in place; other maps are copied first (one read and one write).
Memory traffic, S samples of C channels:
- Forward: the points once; four pixels per sample, which neighboring samples share in the caches; the samples written
  once.
- Backward: the points and the samples' gradient once, the four pixels again. The points' gradient is stored once; the
  map's gradient takes four pixels of atomic additions per sample (float32, or int64 fixed point if deterministic).

Dimension letters: B batch, C channels, H W rows and columns of the map, h w of the output, N points per pixel.
A "pixel" is an output pixel; `position` is its index within its image, and `area` = h * w.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ultralytics.nn.ops.autograd import Context
from ultralytics.nn.ops.kernels.launch import AtomicSum, add_term, autotuned, on_device_of, wide

# arguments that differ from map to map; specializing kernels for the values 1 and multiples of 16 gains nothing
VARYING = ["H", "W", "area", "p_image", "p_number"]


class Geometry:
    """A map and points in the layout that the kernels read, with their sizes and strides.

    Args:
        x: (B, C, H, W), any memory format.
        points: (B, 2N, h, w) float32, rows before columns.

    Raises:
        ValueError: the output has pixels, but the map or the points are empty.
    """

    def __init__(self, x: Tensor, points: Tensor) -> None:
        B, C, H, W = x.shape
        self.N, self.area = points.shape[1] // 2, points.shape[2] * points.shape[3]
        self.pixels, self.map_shape = B * self.area, (B, H, W, C)
        if self.pixels and not (H * W and self.N):
            raise ValueError(f"a map {tuple(x.shape)} cannot be sampled at points {tuple(points.shape)}")
        channels_last = x.permute(0, 2, 3, 1)
        self.x = channels_last if C == 1 or channels_last.stride(3) == 1 else channels_last.contiguous()
        self.points = points.flatten(2)  # a copy only if there are gaps between rows of pixels
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
            "p_position": self.points.stride(2),
            "N": self.N,
        }

    def wide(self, *others: Tensor) -> bool:
        """Whether the map, its gradient, the points or one of `others` needs int64 offsets."""
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
            sample_kernel[lambda meta: (triton.cdiv(samples, meta["BLOCK"]),)](
                g.x, g.points, out, samples, **g.args, WIDE=g.wide(out), PADDED=triton.next_power_of_2(x.shape[1])
            )
    return out.permute(0, 4, 3, 1, 2)


@sample_points.register_fake
def _(x: Tensor, points: Tensor) -> Tensor:
    return x.new_empty(_samples_shape(x, points)).permute(0, 4, 3, 1, 2)


@torch.library.custom_op(
    "addmodules::sample_points_backward",
    mutates_args=(),
    schema="(Tensor grad, Tensor x, Tensor points, bool needs_x, bool needs_points) -> (Tensor, Tensor)",
)
def sample_points_backward(
    grad: Tensor, x: Tensor, points: Tensor, needs_x: bool, needs_points: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of the map (in memory (B, H, W, C)) and of the points; empty where not needed."""
    g = Geometry(x, points)
    grad = grad.permute(0, 3, 4, 2, 1).contiguous()  # (B, h, w, N, C)
    total = AtomicSum(g.map_shape if needs_x else (0,), largest_term(grad))
    grad_points = points.new_empty(points.shape if needs_points else (0,))
    samples = g.pixels * g.N
    if grad.numel() and (needs_x or needs_points):
        with on_device_of(x):
            sample_backward_kernel[lambda meta: (triton.cdiv(samples, meta["BLOCK"]),)](
                g.x,
                g.points,
                grad,
                total.terms,
                total.unit,
                grad_points,
                samples,
                **g.args,
                NEEDS_X=needs_x,
                NEEDS_POINTS=needs_points,
                FIXED=total.fixed,
                WIDE=g.wide(grad),
                PADDED=triton.next_power_of_2(x.shape[1]),
            )
    return map_gradient(total, x, needs_x), grad_points


@sample_points_backward.register_fake
def _(grad: Tensor, x: Tensor, points: Tensor, needs_x: bool, needs_points: bool) -> tuple[Tensor, Tensor]:
    return map_like(x, needs_x), points.new_empty(points.shape if needs_points else (0,))


def _save_for_backward(ctx: Context, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, points = ctx.saved_tensors
    needs = ctx.needs_input_grad
    grads = torch.ops.addmodules.sample_points_backward(grad, x, points, *needs)
    return tuple(part if needed else None for part, needed in zip(grads, needs, strict=True))


sample_points.register_autograd(_backward, setup_context=_save_for_backward)


def _samples_shape(x: Tensor, points: Tensor) -> tuple[int, ...]:
    return x.shape[0], points.shape[2], points.shape[3], points.shape[1] // 2, x.shape[1]


def map_like(x: Tensor, needed: bool) -> Tensor:
    """Uninitialized gradient of `x`, channels-last; empty unless `needed`."""
    B, C, H, W = x.shape
    return x.new_empty(B, H, W, C).permute(0, 3, 1, 2) if needed else x.new_empty(0)


def map_gradient(total: AtomicSum, x: Tensor, needed: bool) -> Tensor:
    """The gradient of `x` from its sum, channels-last; empty unless `needed`."""
    return total.total(x.dtype).permute(0, 3, 1, 2) if needed else x.new_empty(0)


def largest_term(grad: Tensor, weight: Tensor | None = None) -> Tensor:
    """Upper bound of the terms that a sample adds to the map's gradient, for AtomicSum; 1 if it is not deterministic.

    Args:
        grad: gradient of the samples, or with `weight` the gradient of their projection.
        weight: (K, C, N), output channels first.
    """
    if not torch.are_deterministic_algorithms_enabled() or not grad.numel():
        return torch.ones((), device=grad.device)
    low, high = grad.aminmax()  # one read and no temporary tensor, unlike abs()
    largest = torch.maximum(-low, high).float()
    return largest if weight is None else largest * weight.abs().float().sum(0).amax()


# ---- device functions -----------------------------------------------------------------------------------------------


@triton.jit
def block_indices(number: tl.tensor, COUNT: tl.constexpr, WIDE: tl.constexpr) -> tl.tensor:
    """Indices of the COUNT items of block `number`; int64 if WIDE."""
    if WIDE:
        number = number.to(tl.int64)
    return number * COUNT + tl.arange(0, COUNT)


@triton.jit
def read_point(
    points: tl.tensor, image: tl.tensor, position: tl.tensor, n: tl.tensor, p_image: tl.tensor, p_number: tl.tensor,
    p_position: tl.tensor, N: tl.constexpr, mask: tl.tensor,
) -> tuple:  # fmt: skip
    """Row and column coordinates of point `n` of each pixel."""
    p_number = tl.cast(p_number, position.dtype)  # int64 if WIDE
    at = points + image * p_image + n * p_number + position * p_position
    return tl.load(at, mask=mask, other=0.0), tl.load(at + N * p_number, mask=mask, other=0.0)


@triton.jit
def find_cell(row: tl.tensor, column: tl.tensor, H: tl.tensor, W: tl.tensor, WIDE: tl.constexpr) -> tuple:
    """Row and column of the top left pixel around each point, and the fractions fy, fx from there to the point."""
    row, column = tl.minimum(tl.maximum(row, 0.0), H - 1.0), tl.minimum(tl.maximum(column, 0.0), W - 1.0)
    # NaN converts to an undefined integer: the second clamp keeps the read inside the map
    top = tl.minimum(tl.maximum(row.to(tl.int32), 0), tl.maximum(H - 2, 0))
    left = tl.minimum(tl.maximum(column.to(tl.int32), 0), tl.maximum(W - 2, 0))
    fy, fx = row - top.to(tl.float32), column - left.to(tl.float32)
    if WIDE:
        top, left = top.to(tl.int64), left.to(tl.int64)
    return top, left, fy, fx


@triton.jit
def read_corners(at: tl.tensor, down: tl.tensor, right: tl.tensor, mask: tl.tensor) -> tuple:
    """The pixels around each sample in float32: top left (at `at`), top right, bottom left, bottom right."""
    return (
        tl.load(at, mask=mask, other=0.0).to(tl.float32),
        tl.load(at + right, mask=mask, other=0.0).to(tl.float32),
        tl.load(at + down, mask=mask, other=0.0).to(tl.float32),
        tl.load(at + (down + right), mask=mask, other=0.0).to(tl.float32),
    )


@triton.jit
def interpolate(nw: tl.tensor, ne: tl.tensor, sw: tl.tensor, se: tl.tensor, fy: tl.tensor, fx: tl.tensor) -> tl.tensor:
    """Samples (BLOCK, channels) from their corners (BLOCK, channels) and fractions (BLOCK,)."""
    both = fy * fx
    first, across, along = (1 - fy - fx + both)[:, None], (fx - both)[:, None], (fy - both)[:, None]
    return first * nw + across * ne + along * sw + both[:, None] * se


@triton.jit
def coordinate_gradients(
    grad: tl.tensor, nw: tl.tensor, ne: tl.tensor, sw: tl.tensor, se: tl.tensor, fy: tl.tensor, fx: tl.tensor
) -> tuple:
    """Sums over a block of channels of the gradients of the row and column coordinates."""
    left, right = sw - nw, se - ne
    top, bottom = ne - nw, se - sw
    by_row = tl.sum(grad * (left + fx[:, None] * (right - left)), 1)
    by_column = tl.sum(grad * (top + fy[:, None] * (bottom - top)), 1)
    return by_row, by_column


@triton.jit
def scatter(
    at: tl.tensor, grad: tl.tensor, unit: tl.tensor, down: tl.tensor, right: tl.tensor,
    fy: tl.tensor, fx: tl.tensor, mask: tl.tensor, FIXED: tl.constexpr,
) -> None:  # fmt: skip
    """Add the samples' gradient to the four pixels around each; `at` points to the top left one in the AtomicSum."""
    both = fy * fx
    add_term(at, (1 - fy - fx + both)[:, None] * grad, unit, mask, FIXED)
    add_term(at + right, (fx - both)[:, None] * grad, unit, mask, FIXED)
    add_term(at + down, (fy - both)[:, None] * grad, unit, mask, FIXED)
    add_term(at + (down + right), both[:, None] * grad, unit, mask, FIXED)


@triton.jit
def backward_samples(
    grad: tl.tensor, at: tl.tensor, to: tl.tensor, unit: tl.tensor, H: tl.tensor, W: tl.tensor, C: tl.tensor,
    x_row: tl.tensor, x_column: tl.tensor, fy: tl.tensor, fx: tl.tensor, mask: tl.tensor,
    NEEDS_X: tl.constexpr, NEEDS_POINTS: tl.constexpr, FIXED: tl.constexpr,
) -> tuple:  # fmt: skip
    """Backward pass of samples: adds to the map's gradient, and returns the gradients of the coordinates.

    `at` and `to` point to the top left pixel around each sample in the map and in the (B, H, W, C) sum of gradients.
    """
    more_rows, more_columns = tl.minimum(H - 1, 1), tl.minimum(W - 1, 1)  # a map of one row has no row below
    by_row, by_column = tl.zeros((grad.shape[0],), tl.float32), tl.zeros((grad.shape[0],), tl.float32)
    if NEEDS_POINTS:
        nw, ne, sw, se = read_corners(at, more_rows * x_row, more_columns * x_column, mask)
        by_row, by_column = coordinate_gradients(grad, nw, ne, sw, se, fy, fx)
    if NEEDS_X:
        scatter(to, grad, unit, more_rows * W * C, more_columns * C, fy, fx, mask, FIXED)
    return by_row, by_column


@triton.jit
def store_point_gradients(
    grad_points: tl.tensor, image: tl.tensor, position: tl.tensor, n: tl.tensor, row: tl.tensor, column: tl.tensor,
    by_row: tl.tensor, by_column: tl.tensor, H: tl.tensor, W: tl.tensor, area: tl.tensor, N: tl.constexpr,
    mask: tl.tensor,
) -> None:  # fmt: skip
    """Write the gradients of the coordinates to (B, 2N, h, w); 0 for a coordinate that was clamped."""
    area = tl.cast(area, position.dtype)
    at = grad_points + (image * (2 * N) + n) * area + position
    tl.store(at, tl.where((row >= 0) & (row <= H - 1), by_row, 0.0), mask=mask)
    tl.store(at + N * area, tl.where((column >= 0) & (column <= W - 1), by_column, 0.0), mask=mask)


# ---- kernels -------------------------------------------------------------------------------------------------------

_CONFIGS = [
    triton.Config({"BLOCK": 32, "MAX_CHANNELS": 64}, num_warps=4),
    triton.Config({"BLOCK": 32, "MAX_CHANNELS": 32}, num_warps=4),
    triton.Config({"BLOCK": 16, "MAX_CHANNELS": 128}, num_warps=4),
    triton.Config({"BLOCK": 64, "MAX_CHANNELS": 64}, num_warps=8),
]


@autotuned(_CONFIGS, key=["C"])
@triton.jit(do_not_specialize=["samples", *VARYING])
def sample_kernel(
    x: tl.tensor, points: tl.tensor, out: tl.tensor, samples: tl.tensor,
    C: tl.tensor, H: tl.tensor, W: tl.tensor, area: tl.tensor, x_image: tl.tensor, x_row: tl.tensor,
    x_column: tl.tensor, p_image: tl.tensor, p_number: tl.tensor, p_position: tl.tensor, N: tl.constexpr,
    WIDE: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr, MAX_CHANNELS: tl.constexpr,
) -> None:  # fmt: skip
    """Each program computes all channels of BLOCK samples, one sample being one point of one pixel."""
    CHANNELS: tl.constexpr = PADDED if PADDED < MAX_CHANNELS else MAX_CHANNELS
    number = block_indices(tl.program_id(0), BLOCK, WIDE)
    inside = number < samples
    pixel, n = number // N, number % N
    image, position = pixel // area, pixel % area
    row, column = read_point(points, image, position, n, p_image, p_number, p_position, N, inside)
    top, left, fy, fx = find_cell(row, column, H, W, WIDE)
    down, right = tl.minimum(H - 1, 1) * x_row, tl.minimum(W - 1, 1) * x_column  # a map of one row has no row below
    first = image * x_image + top * x_row + left * x_column
    for start in range(0, C, CHANNELS):
        channel = start + tl.arange(0, CHANNELS)
        mask = inside[:, None] & (channel < C)[None, :]
        nw, ne, sw, se = read_corners(x + first[:, None] + channel[None, :], down, right, mask)
        value = interpolate(nw, ne, sw, se, fy, fx)
        tl.store(out + number[:, None] * C + channel[None, :], value.to(out.dtype.element_ty), mask=mask)


@autotuned(_CONFIGS, key=["C", "NEEDS_X", "NEEDS_POINTS"], sums=["terms"])
@triton.jit(do_not_specialize=["samples", *VARYING])
def sample_backward_kernel(
    x: tl.tensor, points: tl.tensor, grad: tl.tensor, terms: tl.tensor, unit: tl.tensor, grad_points: tl.tensor,
    samples: tl.tensor,
    C: tl.tensor, H: tl.tensor, W: tl.tensor, area: tl.tensor, x_image: tl.tensor, x_row: tl.tensor,
    x_column: tl.tensor, p_image: tl.tensor, p_number: tl.tensor, p_position: tl.tensor, N: tl.constexpr,
    NEEDS_X: tl.constexpr, NEEDS_POINTS: tl.constexpr, FIXED: tl.constexpr,
    WIDE: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr, MAX_CHANNELS: tl.constexpr,
) -> None:  # fmt: skip
    """As `sample_kernel`; the map's gradient is summed by atomic additions, the points' gradient is stored."""
    CHANNELS: tl.constexpr = PADDED if PADDED < MAX_CHANNELS else MAX_CHANNELS
    number = block_indices(tl.program_id(0), BLOCK, WIDE)
    inside = number < samples
    pixel, n = number // N, number % N
    image, position = pixel // area, pixel % area
    row, column = read_point(points, image, position, n, p_image, p_number, p_position, N, inside)
    top, left, fy, fx = find_cell(row, column, H, W, WIDE)
    first = image * x_image + top * x_row + left * x_column
    target = ((image * H + top) * W + left) * C
    scale = tl.load(unit)
    by_row, by_column = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    for start in range(0, C, CHANNELS):
        channel = start + tl.arange(0, CHANNELS)
        mask = inside[:, None] & (channel < C)[None, :]
        part = tl.load(grad + number[:, None] * C + channel[None, :], mask=mask, other=0.0).to(tl.float32)
        at, to = x + first[:, None] + channel[None, :], terms + target[:, None] + channel[None, :]
        row_part, column_part = backward_samples(
            part, at, to, scale, H, W, C, x_row, x_column, fy, fx, mask, NEEDS_X, NEEDS_POINTS, FIXED
        )
        by_row += row_part
        by_column += column_part
    if NEEDS_POINTS:
        store_point_gradients(grad_points, image, position, n, row, column, by_row, by_column, H, W, area, N, inside)
