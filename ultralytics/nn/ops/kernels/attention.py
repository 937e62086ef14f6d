"""Triton kernel of ACmix's windowed attention, torch.ops.addmodules.window_attention: the forward pass.

A program computes a tile of TH x TW queries of one head. It iterates over the pixels that their windows cover (the
tile's halo) in chunks of KH x KW keys: one matrix product gives all scores, a mask removes the keys outside each
query's own window, and the softmax is updated from chunk to chunk (online softmax). Scores stay in registers. Border
reflection is index arithmetic on the keys' rows and columns; there are no padded copies.

Why compute matrix products of which most scores are masked, instead of one pass over the taps with products in
registers? Estimated for an H100, 7 x 7 taps, 16 images, 4 heads and float16: a pass over the taps reads 49 keys and 49
values per query through the caches and executes about three instructions per element. A tile of 4 x 8 queries reads
4.4 keys and values per query and executes 15 instructions, as compiled, for each of 160 scores per query, whatever the
number of channels. Microseconds at the rates of the data sheet, not measured:

    map, channels per head   memory, once   taps: cache, instructions   tile: exponentials, instructions
    80 x 80, 16              16             43, 65                      18, 33
    40 x 40, 32               8             22, 33                       4,  8
    20 x 20, 64               4             11, 16                       1,  2

Memory traffic: q and the output once; k and v once from memory, and 4.4 times (4 x 8) or 3.1 times (8 x 8, at 224
scores per query; autotuning chooses) through the caches; the log-sum-exp of each query, float32, once, for the backward
pass. The heads of a pixel are adjacent in memory, and adjacent programs compute them.

NaN and Inf: the product 0 * NaN of a masked value would make the sums of other queries NaN. A tile whose result is not
finite is computed a second time with such values set to 0, and with NaN for each query whose window contains one.

Dimension letters: B batch, n heads, d channels per head, D channels of one program, H W rows and columns of the map,
h w of the output; TH TW the tile of a program, KH KW the chunk of one iteration.
"""

from __future__ import annotations

from collections.abc import Callable
from math import e, gcd, log2

import torch
import triton
import triton.language as tl
from torch import Tensor

from ultralytics.nn.ops.autograd import Context
from ultralytics.nn.ops.kernels import launch
from ultralytics.nn.ops.kernels.launch import add_product, autotuned
from ultralytics.nn.ops.tracing import product_precision

LOG2_E = tl.constexpr(log2(e))  # the kernels use exp2 and log2, which GPUs compute in hardware
MAX_CHANNELS = 128  # of one program; a head with more channels computes its scores once per block of channels
_AMPERE = (8, 0)  # compute capability from which products in float32 can run on tensor cores
_OPTIONS = "Tensor q, Tensor k, Tensor v, int window, int dilation, int stride"
SIZES = ["H", "W", "h", "w", "n", "bits"]  # not specialized: one compiled kernel for all of them

# chunks of 2 x 16 keys fill the halos of these tiles under a 7 x 7 window without unused rows; tl.dot needs 16 pixels
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
    """Forward pass of ultralytics.nn.ops.attention, which checks shapes, with the log-sum-exp for the backward pass.

    Args:
        q, k, v: (B, n, d, H, W) in float32, float16 or bfloat16, the same for all; read in place if the channels of a
            pixel are contiguous, whatever the other strides.
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
        forward_kernel[programs(out)](
            *(q, k, v, out, lse),
            *sizes(q, out),
            *strides(q, k, v),
            **constants(q, k, v, window, dilation, stride),
            WIDE=launch.wide(q[:1], k[:1], v[:1], out[:1]),
        )
    return out, lse


def channels_last(x: Tensor) -> Tensor:
    """`x` (B, n, d, H, W) with contiguous channels; `x` itself if its channels are contiguous already."""
    if x.stride(2) == 1 or x.shape[2] == 1:
        return x
    return x.permute(0, 3, 4, 1, 2).contiguous().permute(0, 3, 4, 1, 2)


def programs(owned: Tensor) -> Callable[[dict[str, int]], tuple[int]]:
    """The grid: one program per image, tile, head and block of channels of (B, n, d, H, W), the last fastest."""
    B, n, d, H, W = owned.shape
    others = B * n * triton.cdiv(d, channel_block(d))
    return lambda meta: (others * triton.cdiv(H, meta["TH"]) * triton.cdiv(W, meta["TW"]),)


def sizes(q: Tensor, out: Tensor) -> tuple[int | float, ...]:
    """H, W, h, w, n, bits of the number of queries (a key of autotuning), and the scale d^-½."""
    B, n, d, h, w = out.shape
    return *q.shape[3:], h, w, n, (B * n * h * w).bit_length(), d**-0.5


def strides(*maps: Tensor) -> list[int]:
    """Strides of image, head, row and pixel for each of the maps."""
    return [m.stride(dim) for m in maps for dim in (0, 1, 3, 4)]


def constants(q: Tensor, k: Tensor, v: Tensor, window: int, dilation: int, stride: int) -> dict[str, int | str]:
    """Compile-time constants of the kernels."""
    d, reach = q.shape[2], dilation * (window // 2)
    return {
        "d": d,
        "D": channel_block(d),
        "REACH": reach,
        "DILATION": dilation,
        "STRIDE": stride,
        "PRECISION": _precision(q),
        "REFLECTED_ONCE": reach < min(q.shape[3:]),
        # heads start at multiples of this; with 4 or 8 channels Triton cannot infer it from the strides
        "ALIGN": gcd(16, *(x.stride(dim) for x in (q, k, v) for dim in (0, 1))),
    }


def _precision(q: Tensor) -> str:
    """As torch's products; but "tf32x3" instead of "ieee" where the GPU has it, as exact and on tensor cores."""
    precision = product_precision()
    if precision != "ieee" or not q.is_cuda or torch.version.hip:
        return precision
    return "tf32x3" if torch.cuda.get_device_capability(q.device) >= _AMPERE else precision


def channel_block(d: int) -> int:
    return min(max(triton.next_power_of_2(d), 16), MAX_CHANNELS)  # 16: the smallest size for tl.dot


# ---- registration with PyTorch --------------------------------------------------------------------------------------

torch.library.define("addmodules::window_attention", f"({_OPTIONS}) -> Tensor")


@torch.library.impl("addmodules::window_attention", "CompositeImplicitAutograd")
def _output_only(q: Tensor, k: Tensor, v: Tensor, window: int, dilation: int, stride: int) -> Tensor:
    return torch.ops.addmodules.window_attention_forward(q, k, v, window, dilation, stride)[0]


@window_attention_forward.register_fake
def _fake_forward(q: Tensor, k: Tensor, v: Tensor, window: int, dilation: int, stride: int) -> tuple[Tensor, Tensor]:
    B, n, d, H, W = q.shape
    h, w = (H - 1) // stride + 1, (W - 1) // stride + 1
    lse = q.new_empty(B, n, h, w, dtype=torch.float32)
    return q.new_empty(B, h, w, n, d).permute(0, 3, 4, 1, 2), lse


class _Context(Context):
    options: tuple[int, int, int]  # window, dilation, stride


def _save_for_backward(
    ctx: _Context, inputs: tuple[Tensor, Tensor, Tensor, int, int, int], output: tuple[Tensor, Tensor]
) -> None:
    q, k, v = inputs[:3]
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(q, k, v, *output)
    ctx.options = inputs[3:]


def _backward(ctx: _Context, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    saved, options = ctx.saved_tensors, ctx.options
    grads = torch.ops.addmodules.window_attention_backward(grad, *saved, *options)
    return *grads, None, None, None


window_attention_forward.register_autograd(_backward, setup_context=_save_for_backward)


# ---- device functions, also for the backward pass --------------------------------------------------------------------


@triton.jit
def program_tile(
    n: tl.tensor, H: tl.tensor, W: tl.tensor, TH: tl.constexpr, TW: tl.constexpr, BLOCKS: tl.constexpr
) -> tuple:
    """Image and head (int64, for their offsets), block of channels, and first row and column of a program's tile."""
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
    at: tl.tensor, offsets: tl.tensor, mask: tl.tensor, first: tl.tensor, d: tl.constexpr, D: tl.constexpr
) -> tl.tensor:
    """(pixels, D): channels of a head from `first` on; 0 beyond its last channel and for pixels outside `mask`."""
    c = first + tl.arange(0, D)
    return tl.load(at + offsets[:, None] + c[None, :], mask=mask[:, None] & (c < d)[None, :], other=0.0)


@triton.jit
def store_pixels(
    at: tl.tensor,
    offsets: tl.tensor,
    mask: tl.tensor,
    first: tl.tensor,
    values: tl.tensor,
    d: tl.constexpr,
    D: tl.constexpr,
) -> None:
    """Inverse of load_pixels, for float32 values."""
    c = first + tl.arange(0, D)
    at += offsets[:, None] + c[None, :]
    tl.store(at, values.to(at.dtype.element_ty), mask=mask[:, None] & (c < d)[None, :])


@triton.jit
def inner_products(
    a: tl.tensor,
    a_at: tl.tensor,
    a_offsets: tl.tensor,
    a_mask: tl.tensor,
    b: tl.tensor,
    b_at: tl.tensor,
    b_offsets: tl.tensor,
    b_mask: tl.tensor,
    d: tl.constexpr,
    D: tl.constexpr,
    PRECISION: tl.constexpr,
) -> tl.tensor:
    """Dot products (pixels of a, pixels of b) over all channels; `a` and `b` hold the first D of them."""
    sums = add_product(tl.zeros((a.shape[0], b.shape[0]), tl.float32), a, tl.trans(b), PRECISION)
    for first in tl.static_range(D, d, D):
        more_a = load_pixels(a_at, a_offsets, a_mask, first, d, D)
        more_b = load_pixels(b_at, b_offsets, b_mask, first, d, D)
        sums = add_product(sums, more_a, tl.trans(more_b), PRECISION)
    return sums


@triton.jit
def reflect(index: tl.tensor, size: tl.tensor, REACH: tl.constexpr, REFLECTED_ONCE: tl.constexpr) -> tl.tensor:
    """Rows or columns of the reflected map, -REACH or more, as indices in [0, size).

    REFLECTED_ONCE: none of them is reflected more than once.
    """
    if REFLECTED_ONCE:
        index = tl.abs(index)
        return tl.minimum(index, 2 * (size - 1) - index)
    period = tl.maximum(2 * (size - 1), 1)
    index = (index + (REACH // period + 1) * period) % period  # made positive: % keeps the sign
    return tl.minimum(index, period - index)


@triton.jit
def next_chunk(
    row: tl.tensor, column: tl.tensor, left: tl.tensor, right: tl.tensor, KH: tl.constexpr, KW: tl.constexpr
) -> tuple:
    """First pixel of the next chunk: to the right, or at the left end of the rows below; without a division."""
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
    """Whether each key is a tap of each query's window; positions broadcast to (queries, keys) or (keys, queries)."""
    down = (key_row + REACH) - query_row
    across = (key_column + REACH) - query_column
    inside = (down.to(tl.uint32) <= 2 * REACH) & (
        across.to(tl.uint32) <= 2 * REACH
    )  # negative differences become large
    if DILATION > 1:
        inside = inside & (down % DILATION == 0) & (across % DILATION == 0)
    return inside


@triton.jit
def zero_nonfinite(x: tl.tensor) -> tuple:
    """(pixels, D) with NaN and Inf replaced by 0, and (pixels,) whether a pixel had any."""
    finite = tl.abs(x.to(tl.float32)) < float("inf")
    return tl.where(finite, x, tl.zeros_like(x)), tl.max((~finite).to(tl.int32), axis=1) > 0


@triton.jit
def count_nonfinite(x: tl.tensor, mask: tl.tensor) -> tl.tensor:
    """Number of NaN and Inf values in the pixels of `mask`."""
    return tl.sum((mask[:, None] & ~(tl.abs(x) < float("inf"))).to(tl.int32))


@tuned
@triton.jit(do_not_specialize=SIZES)
def forward_kernel(
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
    REFLECTED_ONCE: tl.constexpr,
    WIDE: tl.constexpr,
    ALIGN: tl.constexpr,
    TH: tl.constexpr,
    TW: tl.constexpr,
    KH: tl.constexpr,
    KW: tl.constexpr,
) -> None:
    """Each program computes a tile of TH x TW queries of one head for D channels."""
    # ---- queries of the tile
    image, head, block, first_i, first_j = program_tile(n, h, w, TH, TW, tl.cdiv(d, D))
    q += tl.multiple_of(image * q_image + head * q_head, ALIGN)
    k += tl.multiple_of(image * k_image + head * k_head, ALIGN)
    v += tl.multiple_of(image * v_image + head * v_head, ALIGN)
    own_index, loop_index = tl.arange(0, TH * TW), tl.arange(0, KH * KW)
    i, j = first_i + own_index // TW, first_j + own_index % TW
    valid = (i < h) & (j < w)
    q_offsets = pixel_offsets(i * STRIDE, j * STRIDE, q_row, q_pixel, WIDE)
    queries = load_pixels(q, q_offsets, valid, 0, d, D)
    query_row, query_column = (i * STRIDE)[:, None], (j * STRIDE)[:, None]
    # ---- the halo: rows and columns of the keys, before reflection
    top, bottom = first_i * STRIDE - REACH, (tl.minimum(first_i + TH, h) - 1) * STRIDE + REACH
    left, right = first_j * STRIDE - REACH, (tl.minimum(first_j + TW, w) - 1) * STRIDE + REACH
    across = tl.cdiv(right - left + 1, KW)
    num_chunks = tl.cdiv(bottom - top + 1, KH) * across
    scale *= LOG2_E
    sums = tl.zeros((TH * TW, D), tl.float32)
    weight_sum = tl.zeros((TH * TW,), tl.float32)
    max_score = weight_sum
    # ---- online softmax over the chunks; a second time only if the result has NaN or Inf
    for handle_nonfinite in tl.static_range(2):
        if num_chunks > 0:
            sums = tl.zeros((TH * TW, D), tl.float32)
            weight_sum = tl.zeros((TH * TW,), tl.float32)
            max_score = weight_sum - float("inf")
            chunk_row, chunk_column = top, left
            for _ in range(num_chunks):
                row, column = chunk_row + loop_index // KW, chunk_column + loop_index % KW
                mask = (row <= bottom) & (column <= right)
                y, x = reflect(row, H, REACH, REFLECTED_ONCE), reflect(column, W, REACH, REFLECTED_ONCE)
                k_offsets = pixel_offsets(y, x, k_row, k_pixel, WIDE)
                keys = load_pixels(k, k_offsets, mask, 0, d, D)
                values = load_pixels(v, pixel_offsets(y, x, v_row, v_pixel, WIDE), mask, block * D, d, D)
                scores = inner_products(queries, q, q_offsets, valid, keys, k, k_offsets, mask, d, D, PRECISION)
                inside = in_window(row[None, :], column[None, :], query_row, query_column, REACH, DILATION)
                scores = tl.where(inside, scores, float("-inf"))
                if handle_nonfinite:
                    values, nonfinite = zero_nonfinite(values)
                    scores = tl.where(inside & nonfinite[None, :], float("nan"), scores)
                new_max = tl.maximum(max_score, tl.max(scores, axis=1))
                base = tl.where(new_max == float("-inf"), 0.0, new_max)  # no key yet: avoids -inf - (-inf)
                rescale = tl.exp2((max_score - base) * scale)
                weights = tl.exp2(
                    (scores - base[:, None]) * scale
                )  # scaled after the subtraction: exactly 1 for the maximum
                weight_sum = weight_sum * rescale + tl.sum(weights, axis=1)
                sums = add_product(sums * rescale[:, None], weights.to(values.dtype), values, PRECISION)
                max_score = new_max
                chunk_row, chunk_column = next_chunk(chunk_row, chunk_column, left, right, KH, KW)
        if not handle_nonfinite:
            num_chunks = tl.where(count_nonfinite(sums, valid) > 0, num_chunks, 0)
    # ---- output and log-sum-exp
    out += image * h * w * n * d + head * d
    store_pixels(out, pixel_offsets(i, j, w * n * d, n * d, WIDE), valid, block * D, sums / weight_sum[:, None], d, D)
    if block == 0:
        lse += ((image * n + head) * h + first_i) * w
        tl.store(lse + (i - first_i) * w + j, max_score * scale + tl.log2(weight_sum), mask=valid)
