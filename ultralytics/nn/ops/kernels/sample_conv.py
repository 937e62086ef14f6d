"""AKConv's sampling and projection as one Triton operator: the samples, N times the size of the map, are never written.

    out[p, k] = act(bias[k] + sum over n, c of weight[k, c, n] * sample[p, n, c])

A program samples BLOCK pixels x CHANNELS channels of one point into registers and multiplies them by the weights on the
tensor cores, point after point, accumulating BLOCK x OUT outputs in float32. If there are more outputs than OUT, other
programs sample the same pixels again. Computing all outputs in one program would avoid that, but needs BLOCK * K
registers, or BLOCK * N * C values of shared memory for the samples. Sampling again is cheap: four reads, mostly from
the cache, for 2 * OUT operations.

Memory traffic, P pixels:
- Forward: the points once per block of outputs; four pixels of the map per sample, mostly from the caches; the weights
  once per program; the output written once, including bias and SiLU at inference.
- Backward for map and points: a program computes the same pixels for one point. The samples' gradient is the product of
  the output's gradient (read N times, by programs that run side by side) and the weights. It stays in registers and is
  used as in `sampling`: stored once for the points, four pixels of atomic additions per sample for the map.
- Backward for the weights: the samples are computed again and multiplied by the output's gradient. The pixels are split
  among programs; each writes a partial sum, about NUM_PROGRAMS * 32 KiB in all, and one reduction adds them in order.

Dimension letters as in `sampling`, and K output channels.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ultralytics.nn.ops.autograd import Context
from ultralytics.nn.ops.kernels.launch import AtomicSum, add_product, autotuned, on_device_of
from ultralytics.nn.ops.kernels.sampling import (
    VARYING,
    Geometry,
    backward_samples,
    block_indices,
    find_cell,
    interpolate,
    largest_term,
    map_gradient,
    map_like,
    read_corners,
    read_point,
    store_point_gradients,
)
from ultralytics.nn.ops.tracing import product_precision

MIN_BLOCK = 16  # smallest size of a block in tl.dot
NUM_PROGRAMS = 264  # for the weights' gradient: two per multiprocessor of an H100
MIN_PIXELS = 256  # of one of these programs, at least
WEIGHT_BLOCK = (64, 128)  # channels and outputs of their blocks

# ---- operators -----------------------------------------------------------------------------------------------------


@torch.library.custom_op(
    "addmodules::sample_conv",
    mutates_args=(),
    schema="(Tensor x, Tensor points, Tensor weight, Tensor? bias, bool silu) -> Tensor",
)
def sample_conv(x: Tensor, points: Tensor, weight: Tensor, bias: Tensor | None, silu: bool) -> Tensor:
    """As ops.sample_conv: `points` in float32, `weight` (K, C, N) and `bias` in any float dtype.

    Returns (B, K, h, w), in memory (B, h, w, K). With `silu` it cannot be differentiated.
    """
    g, K = Geometry(x, points), weight.shape[0]
    out = x.new_empty(x.shape[0], *points.shape[2:], K)
    if out.numel():
        weight = weight.permute(2, 1, 0).to(x.dtype).contiguous()  # (N, C, K)
        padded, terms = _padded(K), weight if bias is None else bias.float().contiguous()
        with on_device_of(x, points, weight, terms):

            def grid(meta: dict[str, int]) -> tuple[int]:
                return (triton.cdiv(g.pixels, meta["BLOCK"]) * triton.cdiv(K, min(padded, meta["MAX_OUT"])),)

            sample_conv_kernel[grid](
                g.x,
                g.points,
                weight,
                terms,
                out,
                g.pixels,
                K,
                _size_class(g.pixels),
                **g.args,
                BIAS=bias is not None,
                SILU=silu,
                PRECISION=product_precision(),
                WIDE=g.wide(out),
                PADDED=_padded(x.shape[1]),
                PADDED_OUT=padded,
            )
    return out.permute(0, 3, 1, 2)


@sample_conv.register_fake
def _(x: Tensor, points: Tensor, weight: Tensor, bias: Tensor | None, silu: bool) -> Tensor:
    return x.new_empty(x.shape[0], *points.shape[2:], weight.shape[0]).permute(0, 3, 1, 2)


@torch.library.custom_op(
    "addmodules::sample_conv_backward",
    mutates_args=(),
    schema="(Tensor grad, Tensor x, Tensor points, Tensor weight, bool needs_x, bool needs_points, bool needs_weight)"
    " -> (Tensor, Tensor, Tensor)",
)
def sample_conv_backward(
    grad: Tensor, x: Tensor, points: Tensor, weight: Tensor, needs_x: bool, needs_points: bool, needs_weight: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the map (in memory (B, H, W, C)), the points and the weights; empty where not needed."""
    g = Geometry(x, points)
    grad = grad.permute(0, 2, 3, 1).contiguous()  # (B, h, w, K)
    total = AtomicSum(g.map_shape if needs_x else (0,), largest_term(grad, weight))
    grad_points = points.new_empty(points.shape if needs_points else (0,))
    grad_weight = weight.new_empty(weight.shape if needs_weight else (0,))
    with on_device_of(x):
        if grad.numel() and (needs_x or needs_points):
            _inputs_backward(g, grad, weight, total, grad_points)
        if needs_weight:
            grad_weight.copy_(_weight_backward(g, grad).permute(2, 1, 0))
    return map_gradient(total, x, needs_x), grad_points, grad_weight


@sample_conv_backward.register_fake
def _(
    grad: Tensor, x: Tensor, points: Tensor, weight: Tensor, needs_x: bool, needs_points: bool, needs_weight: bool
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        map_like(x, needs_x),
        points.new_empty(points.shape if needs_points else (0,)),
        weight.new_empty(weight.shape if needs_weight else (0,)),
    )


def _inputs_backward(g: Geometry, grad: Tensor, weight: Tensor, total: AtomicSum, grad_points: Tensor) -> None:
    """Write the gradient of the map to `total` and that of the points to `grad_points`, unless these are empty."""
    C, K = g.map_shape[3], grad.shape[3]
    weight = weight.permute(2, 0, 1).to(grad.dtype).contiguous()  # (N, K, C)
    sample_conv_backward_kernel[lambda meta: (triton.cdiv(g.pixels, meta["BLOCK"]) * g.N,)](
        g.x,
        g.points,
        weight,
        grad,
        total.terms,
        total.unit,
        grad_points,
        g.pixels,
        K,
        _size_class(g.pixels),
        **g.args,
        NEEDS_X=total.terms.numel() > 0,
        NEEDS_POINTS=grad_points.numel() > 0,
        FIXED=total.fixed,
        PRECISION=product_precision(),
        WIDE=g.wide(grad),
        PADDED=_padded(C),
        PADDED_OUT=_padded(K),
    )


def _weight_backward(g: Geometry, grad: Tensor) -> Tensor:
    """(N, C, K) float32 gradient of the weights."""
    C, K = g.map_shape[3], grad.shape[3]
    channels, out = min(_padded(C), WEIGHT_BLOCK[0]), min(_padded(K), WEIGHT_BLOCK[1])
    tiles = g.N * triton.cdiv(C, channels) * triton.cdiv(K, out)
    splits = max(1, min(triton.cdiv(NUM_PROGRAMS, tiles), triton.cdiv(g.pixels, MIN_PIXELS)))
    parts = grad.new_empty(splits, g.N, C, K, dtype=torch.float32)
    if parts.numel():
        weight_kernel[(tiles * splits,)](
            g.x,
            g.points,
            grad,
            parts,
            g.pixels,
            triton.cdiv(g.pixels, splits),
            K,
            **g.args,
            PRECISION=product_precision(),
            WIDE=g.wide(grad, parts),
            CHANNELS=channels,
            OUT=out,
        )
    return parts.sum(0) if splits > 1 else parts[0]


def _padded(number: int) -> int:
    """Number of channels rounded up to a power of two that tl.dot accepts."""
    return max(MIN_BLOCK, triton.next_power_of_2(number))


def _size_class(pixels: int) -> int:
    """Autotuning key of a number of pixels; similar sizes share a configuration."""
    return min(pixels.bit_length(), 20) // 3


class _Context(Context):
    bias_dtype: torch.dtype | None
    silu: bool


def _save_for_backward(
    ctx: _Context, inputs: tuple[Tensor, Tensor, Tensor, Tensor | None, bool], output: Tensor
) -> None:
    x, points, weight, bias, silu = inputs
    ctx.save_for_backward(x, points, weight)
    ctx.bias_dtype = None if bias is None else bias.dtype
    ctx.silu = silu


def _backward(ctx: _Context, grad: Tensor) -> tuple[Tensor | None, ...]:
    if ctx.silu:
        raise RuntimeError("addmodules::sample_conv with SiLU has no gradient; apply SiLU to its output instead")
    needs = ctx.needs_input_grad
    grads = torch.ops.addmodules.sample_conv_backward(grad, *ctx.saved_tensors, *needs[:3])
    grads = [part if needed else None for part, needed in zip(grads, needs[:3], strict=True)]
    grad_bias = None
    if needs[3]:
        grad_bias = grad.sum((0, 2, 3), dtype=torch.float32).to(ctx.bias_dtype)
    return *grads, grad_bias, None


sample_conv.register_autograd(_backward, setup_context=_save_for_backward)


# ---- kernels -------------------------------------------------------------------------------------------------------


@autotuned(
    [
        triton.Config({"BLOCK": 64, "MAX_CHANNELS": 64, "MAX_OUT": 128}, num_warps=4, num_stages=2),
        triton.Config({"BLOCK": 64, "MAX_CHANNELS": 32, "MAX_OUT": 256}, num_warps=8, num_stages=2),
        triton.Config({"BLOCK": 128, "MAX_CHANNELS": 32, "MAX_OUT": 128}, num_warps=8, num_stages=3),
        # for float32 without TF32
        triton.Config({"BLOCK": 64, "MAX_CHANNELS": 16, "MAX_OUT": 64}, num_warps=4, num_stages=2),
        # for small maps
        triton.Config({"BLOCK": 32, "MAX_CHANNELS": 64, "MAX_OUT": 64}, num_warps=4, num_stages=2),
    ],
    key=["C", "K", "size_class", "PRECISION"],
)
@triton.jit(do_not_specialize=["pixels", "size_class", *VARYING])
def sample_conv_kernel(
    x: tl.tensor, points: tl.tensor, weight: tl.tensor, bias: tl.tensor, out: tl.tensor, pixels: tl.tensor,
    K: tl.tensor, size_class: tl.tensor, C: tl.tensor, H: tl.tensor, W: tl.tensor, area: tl.tensor,
    x_image: tl.tensor, x_row: tl.tensor, x_column: tl.tensor, p_image: tl.tensor, p_number: tl.tensor,
    p_position: tl.tensor, N: tl.constexpr, BIAS: tl.constexpr, SILU: tl.constexpr, PRECISION: tl.constexpr,
    WIDE: tl.constexpr, PADDED: tl.constexpr, PADDED_OUT: tl.constexpr, BLOCK: tl.constexpr, MAX_CHANNELS: tl.constexpr,
    MAX_OUT: tl.constexpr,
) -> None:  # fmt: skip
    """Each program computes OUT outputs of BLOCK pixels, over all points and channels."""
    CHANNELS: tl.constexpr = PADDED if PADDED < MAX_CHANNELS else MAX_CHANNELS
    OUT: tl.constexpr = PADDED_OUT if PADDED_OUT < MAX_OUT else MAX_OUT
    blocks = tl.cdiv(K, OUT)  # of outputs; programs of the same pixels are adjacent
    pixel = block_indices(tl.program_id(0) // blocks, BLOCK, WIDE)
    o = (tl.program_id(0) % blocks) * OUT + tl.arange(0, OUT)
    inside = pixel < pixels
    image, position = pixel // area, pixel % area
    down, right = tl.minimum(H - 1, 1) * x_row, tl.minimum(W - 1, 1) * x_column  # a map of one row has no row below
    total = tl.zeros((BLOCK, OUT), tl.float32)
    for n in range(N):
        row, column = read_point(points, image, position, n, p_image, p_number, p_position, N, inside)
        top, left, fy, fx = find_cell(row, column, H, W, WIDE)
        first = image * x_image + top * x_row + left * x_column
        for start in range(0, C, CHANNELS):
            c = start + tl.arange(0, CHANNELS)
            mask = inside[:, None] & (c < C)[None, :]
            nw, ne, sw, se = read_corners(x + first[:, None] + c[None, :], down, right, mask)
            value = interpolate(nw, ne, sw, se, fy, fx)
            at = weight + (n * C + c)[:, None] * K + o[None, :]
            taps = tl.load(at, mask=(c < C)[:, None] & (o < K)[None, :], other=0.0)
            total = add_product(total, value.to(taps.dtype), taps, PRECISION)
    if BIAS:
        total += tl.load(bias + o, mask=o < K, other=0.0)[None, :]
    if SILU:
        total = total / (1 + tl.exp(-total))
    mask = inside[:, None] & (o < K)[None, :]
    tl.store(out + pixel[:, None] * K + o[None, :], total.to(out.dtype.element_ty), mask=mask)


@autotuned(
    [
        triton.Config({"BLOCK": 64, "MAX_CHANNELS": 64, "MAX_OUT": 64}, num_warps=8, num_stages=2),
        triton.Config({"BLOCK": 128, "MAX_CHANNELS": 32, "MAX_OUT": 64}, num_warps=8, num_stages=3),
        # fixed-point terms need an address in registers each: fewer per thread
        triton.Config({"BLOCK": 64, "MAX_CHANNELS": 32, "MAX_OUT": 64}, num_warps=8, num_stages=2),
        triton.Config({"BLOCK": 32, "MAX_CHANNELS": 32, "MAX_OUT": 64}, num_warps=4, num_stages=2),
    ],
    key=["C", "K", "size_class", "PRECISION", "NEEDS_X", "NEEDS_POINTS"],
    sums=["terms"],
)
@triton.jit(do_not_specialize=["pixels", "size_class", *VARYING])
def sample_conv_backward_kernel(
    x: tl.tensor, points: tl.tensor, weight: tl.tensor, grad: tl.tensor, terms: tl.tensor, unit: tl.tensor,
    grad_points: tl.tensor, pixels: tl.tensor, K: tl.tensor, size_class: tl.tensor, C: tl.tensor, H: tl.tensor,
    W: tl.tensor, area: tl.tensor, x_image: tl.tensor, x_row: tl.tensor, x_column: tl.tensor, p_image: tl.tensor,
    p_number: tl.tensor, p_position: tl.tensor, N: tl.constexpr, NEEDS_X: tl.constexpr, NEEDS_POINTS: tl.constexpr,
    FIXED: tl.constexpr, PRECISION: tl.constexpr, WIDE: tl.constexpr, PADDED: tl.constexpr, PADDED_OUT: tl.constexpr,
    BLOCK: tl.constexpr, MAX_CHANNELS: tl.constexpr, MAX_OUT: tl.constexpr,
) -> None:  # fmt: skip
    """Each program computes the gradients of the map and the points for BLOCK pixels, one point and all channels."""
    CHANNELS: tl.constexpr = PADDED if PADDED < MAX_CHANNELS else MAX_CHANNELS
    OUT: tl.constexpr = PADDED_OUT if PADDED_OUT < MAX_OUT else MAX_OUT
    pixel = block_indices(tl.program_id(0) // N, BLOCK, WIDE)
    n = tl.program_id(0) % N
    inside = pixel < pixels
    image, position = pixel // area, pixel % area
    row, column = read_point(points, image, position, n, p_image, p_number, p_position, N, inside)
    top, left, fy, fx = find_cell(row, column, H, W, WIDE)
    first = image * x_image + top * x_row + left * x_column
    target = ((image * H + top) * W + left) * C
    scale = tl.load(unit)
    by_row, by_column = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    for start in range(0, C, CHANNELS):
        c = start + tl.arange(0, CHANNELS)
        part = tl.zeros((BLOCK, CHANNELS), tl.float32)  # gradient of the samples
        for start_out in range(0, K, OUT):
            o = start_out + tl.arange(0, OUT)
            grad_mask = inside[:, None] & (o < K)[None, :]
            grad_out = tl.load(grad + pixel[:, None] * K + o[None, :], mask=grad_mask, other=0.0)
            at = weight + (n * K + o)[:, None] * C + c[None, :]
            taps = tl.load(at, mask=(o < K)[:, None] & (c < C)[None, :], other=0.0)
            part = add_product(part, grad_out, taps, PRECISION)
        mask = inside[:, None] & (c < C)[None, :]
        at, to = x + first[:, None] + c[None, :], terms + target[:, None] + c[None, :]
        row_part, column_part = backward_samples(
            part, at, to, scale, H, W, C, x_row, x_column, fy, fx, mask, NEEDS_X, NEEDS_POINTS, FIXED
        )
        by_row += row_part
        by_column += column_part
    if NEEDS_POINTS:
        store_point_gradients(grad_points, image, position, n, row, column, by_row, by_column, H, W, area, N, inside)


@autotuned(
    [
        triton.Config({"BLOCK": 32}, num_warps=4, num_stages=2),
        triton.Config({"BLOCK": 64}, num_warps=8, num_stages=2),
        triton.Config({"BLOCK": 32}, num_warps=8, num_stages=3),
        triton.Config({"BLOCK": 16}, num_warps=8, num_stages=2),
    ],
    key=["C", "K", "N", "PRECISION"],
)
@triton.jit(do_not_specialize=["pixels", "split_length", *VARYING])
def weight_kernel(
    x: tl.tensor, points: tl.tensor, grad: tl.tensor, parts: tl.tensor, pixels: tl.tensor, split_length: tl.tensor,
    K: tl.tensor, C: tl.tensor, H: tl.tensor, W: tl.tensor, area: tl.tensor, x_image: tl.tensor, x_row: tl.tensor,
    x_column: tl.tensor, p_image: tl.tensor, p_number: tl.tensor, p_position: tl.tensor, N: tl.constexpr,
    PRECISION: tl.constexpr, WIDE: tl.constexpr, CHANNELS: tl.constexpr, OUT: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    """Each program sums the gradients of CHANNELS x OUT weights of one point over `split_length` pixels."""
    blocks, blocks_out = tl.cdiv(C, CHANNELS), tl.cdiv(K, OUT)
    tile, number = tl.program_id(0) % (N * blocks * blocks_out), tl.program_id(0) // (N * blocks * blocks_out)
    n, tile = tile // (blocks * blocks_out), tile % (blocks * blocks_out)
    c, o = tile // blocks_out * CHANNELS + tl.arange(0, CHANNELS), tile % blocks_out * OUT + tl.arange(0, OUT)
    down, right = tl.minimum(H - 1, 1) * x_row, tl.minimum(W - 1, 1) * x_column  # a map of one row has no row below
    if WIDE:
        number = number.to(tl.int64)
    begin = number * split_length
    end = tl.minimum(begin + split_length, pixels)
    total = tl.zeros((CHANNELS, OUT), tl.float32)
    for start in range(begin, end, BLOCK):
        pixel = start + tl.arange(0, BLOCK)
        inside = pixel < end
        image, position = pixel // area, pixel % area
        row, column = read_point(points, image, position, n, p_image, p_number, p_position, N, inside)
        top, left, fy, fx = find_cell(row, column, H, W, WIDE)
        first = image * x_image + top * x_row + left * x_column
        nw, ne, sw, se = read_corners(x + first[:, None] + c[None, :], down, right, inside[:, None] & (c < C)[None, :])
        value = interpolate(nw, ne, sw, se, fy, fx)
        grad_mask = inside[:, None] & (o < K)[None, :]
        grad_out = tl.load(grad + pixel[:, None] * K + o[None, :], mask=grad_mask, other=0.0)
        total = add_product(total, tl.trans(value.to(grad_out.dtype)), grad_out, PRECISION)
    at = parts + ((number * N + n) * C + c)[:, None] * K + o[None, :]
    tl.store(at, total, mask=(c < C)[:, None] & (o < K)[None, :])
