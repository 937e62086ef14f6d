"""Triton kernels of ACmix's windowed attention, torch.ops.addmodules.window_attention: the forward pass.

A program takes a tile of queries of one head and goes through the tile's halo of keys in chunks: scores are one matrix
product, a mask hides what lies outside each query's own window, and the softmax is kept up to date from chunk to chunk.
Scores live in registers only. Reflection is a fold of the key's line and column; there are no padded copies.

Why matrix products, most of whose scores the mask hides, and not one pass over the taps with products in registers?
Counted for an H100, 7 x 7 taps, 16 images, 4 heads and float16: such a pass reads 49 keys and 49 values a query through
the caches, and spends about three instructions an element. A tile of 4 x 8 queries reads 4.4 keys and values a query
and spends 15 instructions, as compiled, on each of 160 scores a query (10 lines of 16), however many channels it has.
In microseconds, with the rates of the data sheet taken for reached and nothing measured:

    map, channels a head   memory, once   taps: cache, instructions   tile: exponentials, instructions
    80 x 80, 16            16             43, 65                      18, 33
    40 x 40, 32             8             22, 33                       4,  8
    20 x 20, 64             4             11, 16                       1,  2

How bytes move: q and the output once; k and v once from memory, and through the caches 4.4 times (4 x 8) or 3.1 times
(8 x 8, at 224 scores a query: the tuner chooses); for the backward pass the log-sum-exp of each query, float32, once.
The heads of a pixel are neighbours in the channels-last rows of the projections, and neighbouring programs take them.

What is not finite: 0 · NaN of a masked value would spoil the sums of its neighbours. A tile whose result is not finite
is computed a second time, with such values as 0, and NaN for each query that sees one.

Dimension letters: B batch, n heads, d channels a head, D channels of one program, H W rows and columns of the map,
h w of the output; TH TW the tile that a program owns, KH KW the chunk that one turn of its loop reads.
"""

from __future__ import annotations

from collections.abc import Callable
from math import e, gcd, log2
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import FunctionCtx

from ultralytics.nn.ops.kernels import launch
from ultralytics.nn.ops.kernels.launch import add_product, autotuned
from ultralytics.nn.ops.tracing import product_precision

LOG2_E = tl.constexpr(log2(e))  # the kernels' powers and logarithms are to base 2, as the hardware has them
_WIDEST = 128  # channels of one program; a head with more computes its scores once for each block of so many
_AMPERE = (8, 0)  # compute capability from which products in float32 can run on tensor cores
_OPTIONS = "Tensor q, Tensor k, Tensor v, int window, int dilation, int stride"
SIZES = ["H", "W", "h", "w", "n", "bits"]  # one compiled kernel serves them all

# chunks of 2 x 16 keys fill the halos of these tiles under a 7 x 7 window with no line to spare; tl.dot wants 16 pixels
CONFIGS = [
    triton.Config({"TH": TH, "TW": 8, "KH": 2, "KW": 16}, num_warps=warps, num_stages=2)
    for TH, warps in ((8, 4), (4, 2), (2, 1))
]
tuned = autotuned(CONFIGS, key=["d", "REACH", "DILATION", "STRIDE", "bits", "PRECISION"])


@torch.library.custom_op(
    "addmodules::window_attention_forward", mutates_args=(), schema=f"({_OPTIONS}) -> (Tensor, Tensor)"
)
def window_attention_forward(
    q: Tensor, k: Tensor, v: Tensor, window: int, dilation: int, stride: int
) -> tuple[Tensor, Tensor]:
    """The operator of ultralytics.nn.ops.attention, which checks shapes, and what its backward pass needs.

    Args:
        q, k, v: (B, n, d, H, W) in float32, float16 or bfloat16, the same for all; read in place if a pixel's channels
            are neighbours in memory, whatever the other strides.
        window, dilation, stride: as there.

    Returns:
        (B, n, d, h, w) in that dtype, channels-last in memory; (B, n, h, w) float32, the logarithm to base 2 of the
        sum of exp(score) over each query's window.
    """
    out, lse = _fake_forward(q, k, v, window, dilation, stride)
    if not out.numel():
        return out, lse
    q, k, v = channels_last(q), channels_last(k), channels_last(v)
    with launch.on_device_of(q, k, v):
        _forward_kernel[programs(out)](
            *(q, k, v, out, lse),
            *sizes(q, out),
            *strides(q, k, v),
            **constants(q, k, v, window, dilation, stride),
            WIDE=launch.wide(q[:1], k[:1], v[:1], out[:1]),
        )
    return out, lse


def channels_last(x: Tensor) -> Tensor:
    """(B, n, d, H, W) with the channels of a head side by side in memory: `x` itself if it is so already."""
    if x.stride(2) == 1 or x.shape[2] == 1:
        return x
    return x.permute(0, 3, 4, 1, 2).contiguous().permute(0, 3, 4, 1, 2)


def programs(owned: Tensor) -> Callable[[dict[str, Any]], tuple[int]]:
    """The grid: for each image, tile, head and block of channels of (B, n, d, H, W) one program, the last fastest."""
    B, n, d, H, W = owned.shape
    others = B * n * triton.cdiv(d, _block(d))
    return lambda meta: (others * triton.cdiv(H, meta["TH"]) * triton.cdiv(W, meta["TW"]),)


def sizes(q: Tensor, out: Tensor) -> tuple[int | float, ...]:
    """H, W, h, w, n, how many queries there are, roughly (more of them ask for another configuration), and d^-½."""
    B, n, d, h, w = out.shape
    return *q.shape[3:], h, w, n, (B * n * h * w).bit_length(), d**-0.5


def strides(*maps: Tensor) -> list[int]:
    """Of images, heads, rows and pixels for each of the maps."""
    return [m.stride(dim) for m in maps for dim in (0, 1, 3, 4)]


def constants(q: Tensor, k: Tensor, v: Tensor, window: int, dilation: int, stride: int) -> dict[str, Any]:
    """What the kernels are compiled for."""
    d, reach = q.shape[2], dilation * (window // 2)
    return {
        "d": d,
        "D": _block(d),
        "REACH": reach,
        "DILATION": dilation,
        "STRIDE": stride,
        "PRECISION": _precision(q),
        "ONCE": reach < min(q.shape[3:]),
        # heads begin at multiples of so many elements: with 4 or 8 channels Triton would not see it from the strides
        "ALIGN": gcd(16, *(x.stride(dim) for x in (q, k, v) for dim in (0, 1))),
    }


def _precision(q: Tensor) -> str:
    """As torch's own products; but where "ieee" would do without tensor cores, three of their products are as exact."""
    precision = product_precision()
    if precision != "ieee" or not q.is_cuda or torch.version.hip:
        return precision
    return "tf32x3" if torch.cuda.get_device_capability(q.device) >= _AMPERE else precision


def _block(d: int) -> int:
    return min(max(triton.next_power_of_2(d), 16), _WIDEST)  # 16: the least that tl.dot takes


# ---- what PyTorch is to know about the operator ----------------------------------------------------------------------

torch.library.define("addmodules::window_attention", f"({_OPTIONS}) -> Tensor")


@torch.library.impl("addmodules::window_attention", "CompositeImplicitAutograd")
def _without_lse(q: Tensor, k: Tensor, v: Tensor, window: int, dilation: int, stride: int) -> Tensor:
    return torch.ops.addmodules.window_attention_forward(q, k, v, window, dilation, stride)[0]


@window_attention_forward.register_fake
def _fake_forward(q: Tensor, k: Tensor, v: Tensor, window: int, dilation: int, stride: int) -> tuple[Tensor, Tensor]:
    B, n, d, H, W = q.shape
    h, w = (H - 1) // stride + 1, (W - 1) // stride + 1
    lse = q.new_empty(B, n, h, w, dtype=torch.float32)
    return q.new_empty(B, h, w, n, d).permute(0, 3, 4, 1, 2), lse


def _save(ctx: FunctionCtx, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    q, k, v, *options = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(q, k, v, *output)
    ctx.options = options  # type: ignore[attr-defined]


def _differentiate(ctx: FunctionCtx, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    saved, options = ctx.saved_tensors, ctx.options  # type: ignore[attr-defined]
    grads = torch.ops.addmodules.window_attention_backward(grad, *saved, *options)
    return *grads, None, None, None


window_attention_forward.register_autograd(_differentiate, setup_context=_save)


# ---- device code, some of it for the backward pass -------------------------------------------------------------------


@triton.jit
def program_place(
    n: tl.tensor, H: tl.tensor, W: tl.tensor, TH: tl.constexpr, TW: tl.constexpr, BLOCKS: tl.constexpr
) -> tuple:
    """The program's image and head (64 bits: they may lie far apart), block of channels, and its tile's first pixel."""
    i = tl.program_id(0)
    block, i = i % BLOCKS, i // BLOCKS
    head, i = i % n, i // n
    across, down = tl.cdiv(W, TW), tl.cdiv(H, TH)
    column, i = i % across, i // across
    return (i // down).to(tl.int64), head.to(tl.int64), block, (i % down) * TH, column * TW


@triton.jit
def pixel_offsets(
    row: tl.tensor, column: tl.tensor, row_stride: tl.tensor, pixel_stride: tl.tensor, WIDE: tl.constexpr
) -> tl.tensor:
    """Offsets of pixels within an image."""
    if WIDE:
        row, column = row.to(tl.int64), column.to(tl.int64)
    return row * row_stride + column * pixel_stride


@triton.jit
def load_pixels(
    at: tl.tensor, offsets: tl.tensor, keep: tl.tensor, first: tl.tensor, d: tl.constexpr, D: tl.constexpr
) -> tl.tensor:
    """(pixels, D): a head's channels from `first` on; 0 where it has no more, and for pixels not to keep."""
    c = first + tl.arange(0, D)
    return tl.load(at + offsets[:, None] + c[None, :], mask=keep[:, None] & (c < d)[None, :], other=0.0)


@triton.jit
def store_pixels(
    at: tl.tensor,
    offsets: tl.tensor,
    keep: tl.tensor,
    first: tl.tensor,
    values: tl.tensor,
    d: tl.constexpr,
    D: tl.constexpr,
) -> None:
    """The reverse of load_pixels, for float32 values."""
    c = first + tl.arange(0, D)
    at += offsets[:, None] + c[None, :]
    tl.store(at, values.to(at.dtype.element_ty), mask=keep[:, None] & (c < d)[None, :])


@triton.jit
def inner_products(
    a: tl.tensor,
    a_at: tl.tensor,
    a_offsets: tl.tensor,
    a_keep: tl.tensor,
    b: tl.tensor,
    b_at: tl.tensor,
    b_offsets: tl.tensor,
    b_keep: tl.tensor,
    d: tl.constexpr,
    D: tl.constexpr,
    PRECISION: tl.constexpr,
) -> tl.tensor:
    """(pixels of a, pixels of b): sums over all channels of a head; `a` and `b` are the first D of them, loaded."""
    sums = add_product(tl.zeros((a.shape[0], b.shape[0]), tl.float32), a, tl.trans(b), PRECISION)
    for first in tl.static_range(D, d, D):
        more_a = load_pixels(a_at, a_offsets, a_keep, first, d, D)
        more_b = load_pixels(b_at, b_offsets, b_keep, first, d, D)
        sums = add_product(sums, more_a, tl.trans(more_b), PRECISION)
    return sums


@triton.jit
def fold(line: tl.tensor, size: tl.tensor, REACH: tl.constexpr, ONCE: tl.constexpr) -> tl.tensor:
    """Rows or columns of the reflected map, from -REACH on, in [0, size); ONCE: no line is reflected twice."""
    if ONCE:
        line = tl.abs(line)
        return tl.minimum(line, 2 * (size - 1) - line)
    period = tl.maximum(2 * (size - 1), 1)
    line = (line + (REACH // period + 1) * period) % period  # the remainder of a negative number would be negative
    return tl.minimum(line, period - line)


@triton.jit
def next_chunk(
    row: tl.tensor, column: tl.tensor, left: tl.tensor, right: tl.tensor, KH: tl.constexpr, KW: tl.constexpr
) -> tuple:
    """First pixel of the chunk after the one at (row, column): on its right, or below at the left end; no division."""
    column += KW
    below = column > right
    return tl.where(below, row + KH, row), tl.where(below, left, column)


@triton.jit
def in_window(
    key_row: tl.tensor,
    key_column: tl.tensor,
    query_row: tl.tensor,
    query_column: tl.tensor,
    REACH: tl.constexpr,
    DILATION: tl.constexpr,
) -> tl.tensor:
    """Whether keys are taps of queries' windows; one pair a row, the other a column, for all pairs."""
    down = (key_row + REACH) - query_row
    across = (key_column + REACH) - query_column
    inside = (down.to(tl.uint32) <= 2 * REACH) & (across.to(tl.uint32) <= 2 * REACH)  # negative ones become huge
    if DILATION > 1:
        inside = inside & (down % DILATION == 0) & (across % DILATION == 0)
    return inside


@triton.jit
def without_spoilt(x: tl.tensor) -> tuple:
    """(pixels, D) with 0 for what is not finite, and (pixels,) whether something was not."""
    finite = tl.abs(x.to(tl.float32)) < float("inf")
    return tl.where(finite, x, tl.zeros_like(x)), tl.max((~finite).to(tl.int32), axis=1) > 0


@triton.jit
def num_spoilt(x: tl.tensor, keep: tl.tensor) -> tl.tensor:
    """How many values of the pixels to keep are not finite."""
    return tl.sum((keep[:, None] & ~(tl.abs(x) < float("inf"))).to(tl.int32))


@tuned
@triton.jit(do_not_specialize=SIZES)
def _forward_kernel(
    q: tl.tensor,
    k: tl.tensor,
    v: tl.tensor,
    out: tl.tensor,
    lse: tl.tensor,
    H: tl.tensor,
    W: tl.tensor,
    h: tl.tensor,
    w: tl.tensor,
    n: tl.tensor,
    bits: tl.tensor,
    scale: tl.tensor,
    q_image: tl.tensor,
    q_head: tl.tensor,
    q_row: tl.tensor,
    q_pixel: tl.tensor,
    k_image: tl.tensor,
    k_head: tl.tensor,
    k_row: tl.tensor,
    k_pixel: tl.tensor,
    v_image: tl.tensor,
    v_head: tl.tensor,
    v_row: tl.tensor,
    v_pixel: tl.tensor,
    d: tl.constexpr,
    D: tl.constexpr,
    REACH: tl.constexpr,
    DILATION: tl.constexpr,
    STRIDE: tl.constexpr,
    PRECISION: tl.constexpr,
    ONCE: tl.constexpr,
    WIDE: tl.constexpr,
    ALIGN: tl.constexpr,
    TH: tl.constexpr,
    TW: tl.constexpr,
    KH: tl.constexpr,
    KW: tl.constexpr,
) -> None:
    image, head, block, first_i, first_j = program_place(n, h, w, TH, TW, tl.cdiv(d, D))
    q += tl.multiple_of(image * q_image + head * q_head, ALIGN)
    k += tl.multiple_of(image * k_image + head * k_head, ALIGN)
    v += tl.multiple_of(image * v_image + head * v_head, ALIGN)
    own, other = tl.arange(0, TH * TW), tl.arange(0, KH * KW)
    i, j = first_i + own // TW, first_j + own % TW
    exists = (i < h) & (j < w)
    q_offsets = pixel_offsets(i * STRIDE, j * STRIDE, q_row, q_pixel, WIDE)
    queries = load_pixels(q, q_offsets, exists, 0, d, D)
    query_row, query_column = (i * STRIDE)[:, None], (j * STRIDE)[:, None]
    # the halo, in rows and columns of the reflected map, which goes on beyond the borders
    top, bottom = first_i * STRIDE - REACH, (tl.minimum(first_i + TH, h) - 1) * STRIDE + REACH
    left, right = first_j * STRIDE - REACH, (tl.minimum(first_j + TW, w) - 1) * STRIDE + REACH
    across = tl.cdiv(right - left + 1, KW)
    turns = tl.cdiv(bottom - top + 1, KH) * across
    scale *= LOG2_E
    sums = tl.zeros((TH * TW, D), tl.float32)
    weight = tl.zeros((TH * TW,), tl.float32)
    peak = weight
    for careful in tl.static_range(2):
        if turns > 0:
            sums = tl.zeros((TH * TW, D), tl.float32)
            weight = tl.zeros((TH * TW,), tl.float32)
            peak = weight - float("inf")
            chunk_row, chunk_column = top, left
            for _ in range(turns):
                row, column = chunk_row + other // KW, chunk_column + other % KW
                keep = (row <= bottom) & (column <= right)
                y, x = fold(row, H, REACH, ONCE), fold(column, W, REACH, ONCE)
                k_offsets = pixel_offsets(y, x, k_row, k_pixel, WIDE)
                keys = load_pixels(k, k_offsets, keep, 0, d, D)
                values = load_pixels(v, pixel_offsets(y, x, v_row, v_pixel, WIDE), keep, block * D, d, D)
                scores = inner_products(queries, q, q_offsets, exists, keys, k, k_offsets, keep, d, D, PRECISION)
                inside = in_window(row[None, :], column[None, :], query_row, query_column, REACH, DILATION)
                scores = tl.where(inside, scores, float("-inf"))
                if careful:
                    values, spoilt = without_spoilt(values)
                    scores = tl.where(inside & spoilt[None, :], float("nan"), scores)
                higher = tl.maximum(peak, tl.max(scores, axis=1))
                base = tl.where(higher == float("-inf"), 0.0, higher)  # nothing seen yet: not -inf minus -inf
                shrink = tl.exp2((peak - base) * scale)
                weights = tl.exp2((scores - base[:, None]) * scale)  # scaled after: exactly 1 for the highest
                weight = weight * shrink + tl.sum(weights, axis=1)
                sums = add_product(sums * shrink[:, None], weights.to(values.dtype), values, PRECISION)
                peak = higher
                chunk_row, chunk_column = next_chunk(chunk_row, chunk_column, left, right, KH, KW)
        if not careful:
            turns = tl.where(num_spoilt(sums, exists) > 0, turns, 0)
    out += image * h * w * n * d + head * d
    store_pixels(out, pixel_offsets(i, j, w * n * d, n * d, WIDE), exists, block * D, sums / weight[:, None], d, D)
    if block == 0:
        lse += ((image * n + head) * h + first_i) * w
        tl.store(lse + (i - first_i) * w + j, peak * scale + tl.log2(weight), mask=exists)
