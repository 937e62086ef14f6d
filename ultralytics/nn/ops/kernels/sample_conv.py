"""AKConv's sampling and projection as one Triton operator: the sampled tensor, N times the map, is never written.

    out[p, k] = act(bias[k] + sum over n, c of weight[k, c, n] * sample[p, n, c])

A program samples BLOCK pixels x CHANNELS channels of one point in registers and multiplies them with the weights on the
tensor cores, point after point, into a float32 block of pixels x OUT outputs. Where the outputs are wider than a block,
further programs sample again. Holding all outputs of a pixel inside one program would save that, but not fit: they take
BLOCK * K registers, and the samples, kept instead, BLOCK * N * C numbers of shared memory. And it costs little: a value
that is sampled anew is four reads, which the first program has left in the caches, and serves 2 OUT operations.

How bytes move, P pixels:
- Forward: points once a block of outputs; four rows of the map a sample, from the caches for the most part; the
  weights once a program; the output written once, through bias and SiLU at inference.
- Backward for map and points: a program takes the same pixels of one point. The samples' gradient is the product of the
  output's gradient (read N times, the programs of a pixel run side by side) and the weights; it stays in registers, and
  goes on as in `sampling`: to the points by one store, to the map by four rows of atomic additions a sample.
- Backward for the weights: the samples are taken once more, and multiplied with the output's gradient. Programs share
  out the pixels; each writes a partial sum, of about PROGRAMS * 32 KiB in all, and one reduction adds them in order.

Dimension letters as in `sampling`, and K outputs.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import FunctionCtx

from ultralytics.nn.ops.kernels.launch import AtomicSum, add_product, autotuned, on_device_of
from ultralytics.nn.ops.kernels.sampling import (
    VARYING,
    Geometry,
    count_from,
    find_cell,
    interpolate,
    largest_term,
    lead_back,
    map_gradient,
    map_like,
    read_corners,
    read_point,
    store_slopes,
)
from ultralytics.nn.ops.tracing import product_precision

SMALLEST = 16  # side of a block that tl.dot takes
PROGRAMS = 264  # that share out the weights' gradient: two for each of an H100's processors
PIXELS_EACH = 256  # no fewer for one of them
WEIGHT_BLOCK = (64, 128)  # channels and outputs of its block

# ---- operators -----------------------------------------------------------------------------------------------------


@torch.library.custom_op(
    "addmodules::sample_conv",
    mutates_args=(),
    schema="(Tensor x, Tensor points, Tensor weight, Tensor? bias, bool silu) -> Tensor",
)
def sample_conv(x: Tensor, points: Tensor, weight: Tensor, bias: Tensor | None, silu: bool) -> Tensor:
    """As ops.sample_conv: `points` in float32, `weight` (K, C, N) and `bias` in any float type; no gradient with SiLU.

    Returns (B, K, h, w), in memory (B, h, w, K).
    """
    g, K = Geometry(x, points), weight.shape[0]
    out = x.new_empty(x.shape[0], *points.shape[2:], K)
    if out.numel():
        weight = weight.permute(2, 1, 0).to(x.dtype).contiguous()  # (N, C, K)
        padded, terms = _padded(K), weight if bias is None else bias.float().contiguous()
        with on_device_of(x, points, weight, terms):

            def grid(meta: dict[str, Any]) -> tuple[int]:
                return (triton.cdiv(g.pixels, meta["BLOCK"]) * triton.cdiv(K, min(padded, meta["MOST_OUT"])),)

            _sample_conv[grid](
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
    schema="(Tensor grad, Tensor x, Tensor points, Tensor weight, bool wants_x, bool wants_points, bool wants_weight)"
    " -> (Tensor, Tensor, Tensor)",
)
def sample_conv_backward(
    grad: Tensor, x: Tensor, points: Tensor, weight: Tensor, wants_x: bool, wants_points: bool, wants_weight: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the map (in memory (B, H, W, C)), the points and the weights; empty where not wanted."""
    g = Geometry(x, points)
    grad = grad.permute(0, 2, 3, 1).contiguous()  # (B, h, w, K)
    total = AtomicSum(g.map_shape if wants_x else (0,), largest_term(grad, weight))
    slopes = points.new_empty(points.shape if wants_points else (0,))
    grad_weight = weight.new_empty(weight.shape if wants_weight else (0,))
    with on_device_of(x):
        if grad.numel() and (wants_x or wants_points):
            _inputs_backward(g, grad, weight, total, slopes)
        if wants_weight:
            grad_weight.copy_(_weight_backward(g, grad).permute(2, 1, 0))
    return map_gradient(total, x, wants_x), slopes, grad_weight


@sample_conv_backward.register_fake
def _(
    grad: Tensor, x: Tensor, points: Tensor, weight: Tensor, wants_x: bool, wants_points: bool, wants_weight: bool
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        map_like(x, wants_x),
        points.new_empty(points.shape if wants_points else (0,)),
        weight.new_empty(weight.shape if wants_weight else (0,)),
    )


def _inputs_backward(g: Geometry, grad: Tensor, weight: Tensor, total: AtomicSum, slopes: Tensor) -> None:
    """Fill `total` with the map's gradient and `slopes` with the points', unless empty."""
    C, K = g.map_shape[3], grad.shape[3]
    weight = weight.permute(2, 0, 1).to(grad.dtype).contiguous()  # (N, K, C)
    _sample_conv_backward[lambda meta: (triton.cdiv(g.pixels, meta["BLOCK"]) * g.N,)](
        g.x,
        g.points,
        weight,
        grad,
        total.terms,
        total.unit,
        slopes,
        g.pixels,
        K,
        _size_class(g.pixels),
        **g.args,
        WANTS_X=total.terms.numel() > 0,
        WANTS_POINTS=slopes.numel() > 0,
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
    shares = max(1, min(triton.cdiv(PROGRAMS, tiles), triton.cdiv(g.pixels, PIXELS_EACH)))
    parts = grad.new_empty(shares, g.N, C, K, dtype=torch.float32)
    if parts.numel():
        _weight_parts[(tiles * shares,)](
            g.x,
            g.points,
            grad,
            parts,
            g.pixels,
            triton.cdiv(g.pixels, shares),
            K,
            **g.args,
            PRECISION=product_precision(),
            WIDE=g.wide(grad, parts),
            CHANNELS=channels,
            OUT=out,
        )
    return parts.sum(0) if shares > 1 else parts[0]


def _padded(number: int) -> int:
    return max(SMALLEST, triton.next_power_of_2(number))


def _size_class(pixels: int) -> int:
    """What of the number of pixels the choice of blocks depends on; sizes that come near each other share a choice."""
    return min(pixels.bit_length(), 20) // 3


def _keep(ctx: FunctionCtx, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, points, weight, bias, silu = inputs
    ctx.save_for_backward(x, points, weight)
    ctx.bias_dtype = None if bias is None else bias.dtype  # type: ignore[attr-defined]
    ctx.silu = silu  # type: ignore[attr-defined]


def _differentiate(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
    if ctx.silu:  # type: ignore[attr-defined]
        raise RuntimeError("addmodules::sample_conv applies SiLU only where no gradient is wanted; apply it behind")
    wants = ctx.needs_input_grad  # type: ignore[attr-defined]
    found = torch.ops.addmodules.sample_conv_backward(grad, *ctx.saved_tensors, *wants[:3])  # type: ignore[attr-defined]
    grads = [part if want else None for part, want in zip(found, wants[:3], strict=True)]
    by_bias = None
    if wants[3]:
        by_bias = grad.sum((0, 2, 3), dtype=torch.float32).to(ctx.bias_dtype)  # type: ignore[attr-defined]
    return *grads, by_bias, None


sample_conv.register_autograd(_differentiate, setup_context=_keep)


# ---- kernels -------------------------------------------------------------------------------------------------------


@autotuned(
    [
        triton.Config({"BLOCK": 64, "MOST": 64, "MOST_OUT": 128}, num_warps=4, num_stages=2),
        triton.Config({"BLOCK": 64, "MOST": 32, "MOST_OUT": 256}, num_warps=8, num_stages=2),
        triton.Config({"BLOCK": 128, "MOST": 32, "MOST_OUT": 128}, num_warps=8, num_stages=3),
        triton.Config({"BLOCK": 64, "MOST": 16, "MOST_OUT": 64}, num_warps=4, num_stages=2),  # float32 without tf32
        triton.Config({"BLOCK": 32, "MOST": 64, "MOST_OUT": 64}, num_warps=4, num_stages=2),  # small maps
    ],
    key=["C", "K", "size_class", "PRECISION"],
)
@triton.jit(do_not_specialize=["pixels", "size_class", *VARYING])
def _sample_conv(
    x: tl.tensor, points: tl.tensor, weight: tl.tensor, bias: tl.tensor, out: tl.tensor, pixels: tl.tensor,
    K: tl.tensor, size_class: tl.tensor, C: tl.tensor, H: tl.tensor, W: tl.tensor, area: tl.tensor,
    x_image: tl.tensor, x_row: tl.tensor, x_column: tl.tensor, p_image: tl.tensor, p_number: tl.tensor,
    p_place: tl.tensor, N: tl.constexpr, BIAS: tl.constexpr, SILU: tl.constexpr, PRECISION: tl.constexpr,
    WIDE: tl.constexpr, PADDED: tl.constexpr, PADDED_OUT: tl.constexpr, BLOCK: tl.constexpr, MOST: tl.constexpr,
    MOST_OUT: tl.constexpr,
) -> None:  # fmt: skip
    """A program takes BLOCK pixels and OUT outputs, and all points and channels."""
    CHANNELS: tl.constexpr = PADDED if PADDED < MOST else MOST
    OUT: tl.constexpr = PADDED_OUT if PADDED_OUT < MOST_OUT else MOST_OUT
    blocks = tl.cdiv(K, OUT)  # of outputs; those of the same pixels run side by side
    pixel = count_from(tl.program_id(0) // blocks, BLOCK, WIDE)
    o = (tl.program_id(0) % blocks) * OUT + tl.arange(0, OUT)
    inside = pixel < pixels
    image, place = pixel // area, pixel % area
    down, right = tl.minimum(H - 1, 1) * x_row, tl.minimum(W - 1, 1) * x_column  # a map of one row repeats it
    total = tl.zeros((BLOCK, OUT), tl.float32)
    for n in range(N):
        row, column = read_point(points, image, place, n, p_image, p_number, p_place, N, inside)
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
        triton.Config({"BLOCK": 64, "MOST": 64, "MOST_OUT": 64}, num_warps=8, num_stages=2),
        triton.Config({"BLOCK": 128, "MOST": 32, "MOST_OUT": 64}, num_warps=8, num_stages=3),
        # terms in fixed point take registers, one address each: fewer of them a thread
        triton.Config({"BLOCK": 64, "MOST": 32, "MOST_OUT": 64}, num_warps=8, num_stages=2),
        triton.Config({"BLOCK": 32, "MOST": 32, "MOST_OUT": 64}, num_warps=4, num_stages=2),
    ],
    key=["C", "K", "size_class", "PRECISION", "WANTS_X", "WANTS_POINTS"],
    sums=["terms"],
)
@triton.jit(do_not_specialize=["pixels", "size_class", *VARYING])
def _sample_conv_backward(
    x: tl.tensor, points: tl.tensor, weight: tl.tensor, grad: tl.tensor, terms: tl.tensor, unit: tl.tensor,
    slopes: tl.tensor, pixels: tl.tensor, K: tl.tensor, size_class: tl.tensor, C: tl.tensor, H: tl.tensor,
    W: tl.tensor, area: tl.tensor, x_image: tl.tensor, x_row: tl.tensor, x_column: tl.tensor, p_image: tl.tensor,
    p_number: tl.tensor, p_place: tl.tensor, N: tl.constexpr, WANTS_X: tl.constexpr, WANTS_POINTS: tl.constexpr,
    FIXED: tl.constexpr, PRECISION: tl.constexpr, WIDE: tl.constexpr, PADDED: tl.constexpr, PADDED_OUT: tl.constexpr,
    BLOCK: tl.constexpr, MOST: tl.constexpr, MOST_OUT: tl.constexpr,
) -> None:  # fmt: skip
    """A program takes BLOCK pixels, one point and all channels: gradients of the map and of the points."""
    CHANNELS: tl.constexpr = PADDED if PADDED < MOST else MOST
    OUT: tl.constexpr = PADDED_OUT if PADDED_OUT < MOST_OUT else MOST_OUT
    pixel = count_from(tl.program_id(0) // N, BLOCK, WIDE)
    n = tl.program_id(0) % N
    inside = pixel < pixels
    image, place = pixel // area, pixel % area
    row, column = read_point(points, image, place, n, p_image, p_number, p_place, N, inside)
    top, left, fy, fx = find_cell(row, column, H, W, WIDE)
    first = image * x_image + top * x_row + left * x_column
    target = ((image * H + top) * W + left) * C
    step = tl.load(unit)
    by_row, by_column = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    for start in range(0, C, CHANNELS):
        c = start + tl.arange(0, CHANNELS)
        part = tl.zeros((BLOCK, CHANNELS), tl.float32)  # gradient of the samples
        for start_out in range(0, K, OUT):
            o = start_out + tl.arange(0, OUT)
            given_mask = inside[:, None] & (o < K)[None, :]
            given = tl.load(grad + pixel[:, None] * K + o[None, :], mask=given_mask, other=0.0)
            at = weight + (n * K + o)[:, None] * C + c[None, :]
            taps = tl.load(at, mask=(o < K)[:, None] & (c < C)[None, :], other=0.0)
            part = add_product(part, given, taps, PRECISION)
        mask = inside[:, None] & (c < C)[None, :]
        at, to = x + first[:, None] + c[None, :], terms + target[:, None] + c[None, :]
        more_row, more_column = lead_back(
            part, at, to, step, H, W, C, x_row, x_column, fy, fx, mask, WANTS_X, WANTS_POINTS, FIXED
        )
        by_row += more_row
        by_column += more_column
    if WANTS_POINTS:
        store_slopes(slopes, image, place, n, row, column, by_row, by_column, H, W, area, N, inside)


@autotuned(
    [
        triton.Config({"BLOCK": 32}, num_warps=4, num_stages=2),
        triton.Config({"BLOCK": 64}, num_warps=8, num_stages=2),
        triton.Config({"BLOCK": 32}, num_warps=8, num_stages=3),
        triton.Config({"BLOCK": 16}, num_warps=8, num_stages=2),
    ],
    key=["C", "K", "N", "PRECISION"],
)
@triton.jit(do_not_specialize=["pixels", "share", *VARYING])
def _weight_parts(
    x: tl.tensor, points: tl.tensor, grad: tl.tensor, parts: tl.tensor, pixels: tl.tensor, share: tl.tensor,
    K: tl.tensor, C: tl.tensor, H: tl.tensor, W: tl.tensor, area: tl.tensor, x_image: tl.tensor, x_row: tl.tensor,
    x_column: tl.tensor, p_image: tl.tensor, p_number: tl.tensor, p_place: tl.tensor, N: tl.constexpr,
    PRECISION: tl.constexpr, WIDE: tl.constexpr, CHANNELS: tl.constexpr, OUT: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    """A program takes `share` pixels and adds up CHANNELS x OUT gradients of one point's weights."""
    blocks, blocks_out = tl.cdiv(C, CHANNELS), tl.cdiv(K, OUT)
    tile, number = tl.program_id(0) % (N * blocks * blocks_out), tl.program_id(0) // (N * blocks * blocks_out)
    n, tile = tile // (blocks * blocks_out), tile % (blocks * blocks_out)
    c, o = tile // blocks_out * CHANNELS + tl.arange(0, CHANNELS), tile % blocks_out * OUT + tl.arange(0, OUT)
    down, right = tl.minimum(H - 1, 1) * x_row, tl.minimum(W - 1, 1) * x_column  # a map of one row repeats it
    if WIDE:
        number = number.to(tl.int64)
    begin = number * share
    end = tl.minimum(begin + share, pixels)
    total = tl.zeros((CHANNELS, OUT), tl.float32)
    for start in range(begin, end, BLOCK):
        pixel = start + tl.arange(0, BLOCK)
        inside = pixel < end
        image, place = pixel // area, pixel % area
        row, column = read_point(points, image, place, n, p_image, p_number, p_place, N, inside)
        top, left, fy, fx = find_cell(row, column, H, W, WIDE)
        first = image * x_image + top * x_row + left * x_column
        nw, ne, sw, se = read_corners(x + first[:, None] + c[None, :], down, right, inside[:, None] & (c < C)[None, :])
        value = interpolate(nw, ne, sw, se, fy, fx)
        given_mask = inside[:, None] & (o < K)[None, :]
        given = tl.load(grad + pixel[:, None] * K + o[None, :], mask=given_mask, other=0.0)
        total = add_product(total, tl.trans(value.to(given.dtype)), given, PRECISION)
    at = parts + ((number * N + n) * C + c)[:, None] * K + o[None, :]
    tl.store(at, total, mask=(c < C)[:, None] & (o < K)[None, :])
