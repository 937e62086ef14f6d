"""Triton kernels of ACmix's windowed attention: the backward pass, torch.ops.addmodules.window_attention_backward.

With weights p = exp(score - lse), the output's gradient g and delta = g · out, per query and key in its window:

    ds = p (g · v - delta),   dq = Σ over keys ds k / sqrt(d),   dk = Σ over queries ds q / sqrt(d),   dv = Σ p g

Scores are computed again, in two kernels. `query_kernel` computes a tile of queries and iterates over keys as the
forward pass does; it writes dq and delta. `key_kernel` computes a tile of keys and iterates over the queries whose
windows contain them. For that the reflected map is treated as a sequence of copies of the map, every second one
flipped, that overlap in their border rows: in copy c, row y of the map is at c (H-1) + y, or at (c+1) (H-1) - y if the
copy is flipped. The kernel iterates over the copies that windows reach: 3 x 3 unless the map is smaller than their
reach; for a tile inside the map all but one have no queries. Each sum is computed by one program in a fixed order:
there are no atomic additions, and equal inputs give bit-identical gradients.

Memory traffic: both kernels read q, k, v and g, those of their own tile once and the others through the caches as often
as in the forward pass; the output is read once, and dq, dk, dv are written once. See `attention` for NaN and Inf and
the dimension letters.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ultralytics.nn.ops.kernels import launch
from ultralytics.nn.ops.kernels.attention import (
    LOG2_E,
    SIZES,
    channels_last,
    constants,
    count_nonfinite,
    in_window,
    inner_products,
    load_pixels,
    next_chunk,
    pixel_offsets,
    program_tile,
    programs,
    reflect,
    sizes,
    store_pixels,
    strides,
    tuned,
    zero_nonfinite,
)
from ultralytics.nn.ops.kernels.launch import add_product

_UNREACHABLE = tl.constexpr(2**29)  # a position that no window reaches
_OPTIONS = "Tensor grad, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, int window, int dilation, int stride"


@torch.library.custom_op(
    "addmodules::window_attention_backward", mutates_args=(), schema=f"({_OPTIONS}) -> (Tensor, Tensor, Tensor)"
)
def window_attention_backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    window: int,
    dilation: int,
    stride: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, k and v, channels-last in memory; `out` and `lse` are the results of window_attention_forward."""
    grads = _fake_backward(grad, q, k, v, out, lse, window, dilation, stride)
    if not out.numel():
        return grads
    q, k, v = channels_last(q), channels_last(k), channels_last(v)
    grad, out = _channels_last_copy(grad), _channels_last_copy(out)
    delta = torch.empty_like(lse)
    common = {
        **constants(q, k, v, window, dilation, stride),
        "WIDE": launch.wide(*(t[:1] for t in (q, k, v, grad, out, *grads))),
    }
    with launch.on_device_of(q):
        if stride > 1:
            grads[0].zero_()  # most pixels have no query
        query_kernel[programs(out)](
            *(q, k, v, grad, out, lse, delta, grads[0]),
            *sizes(q, out),
            *strides(q, k, v),
            **common,
        )
        key_kernel[programs(k)](
            *(q, k, v, grad, lse, delta, *grads[1:]),
            *sizes(q, out),
            *strides(q, k, v),
            *(_copies(size, dilation * (window // 2)) for size in q.shape[3:]),
            **common,
        )
    return grads


@window_attention_backward.register_fake
def _fake_backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    window: int,
    dilation: int,
    stride: int,
) -> tuple[Tensor, Tensor, Tensor]:
    B, n, d, H, W = q.shape
    dq, dk, dv = (q.new_empty(B, H, W, n, d).permute(0, 3, 4, 1, 2) for _ in range(3))
    return dq, dk, dv


def _channels_last_copy(x: Tensor) -> Tensor:
    """`x` (B, n, d, h, w) in the memory order (B, h, w, n, d)."""
    return x.permute(0, 3, 4, 1, 2).contiguous().permute(0, 3, 4, 1, 2)


def _copies(size: int, reach: int) -> int:
    """Number of copies of the map that a window reaches beyond a border."""
    return reach // max(size - 1, 1) + 1  # + 1: the copy that starts where a window ends may hold that row


# ---- kernels ---------------------------------------------------------------------------------------------------------


@tuned
@triton.jit(do_not_specialize=SIZES)
def query_kernel(
    q: tl.tensor,
    k: tl.tensor,
    v: tl.tensor,
    grad: tl.tensor,
    out: tl.tensor,
    lse: tl.tensor,
    delta: tl.tensor,
    dq: tl.tensor,
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
    """Each program computes dq for a tile of queries of one head and D channels, and delta."""
    # ---- queries of the tile, gradients of their outputs
    image, head, block, first_i, first_j = program_tile(n, h, w, TH, TW, tl.cdiv(d, D))
    q += tl.multiple_of(image * q_image + head * q_head, ALIGN)
    k += tl.multiple_of(image * k_image + head * k_head, ALIGN)
    v += tl.multiple_of(image * v_image + head * v_head, ALIGN)
    grad += image * h * w * n * d + head * d
    out += image * h * w * n * d + head * d
    dq += image * H * W * n * d + head * d
    lse += (image * n + head) * h * w
    delta += (image * n + head) * h * w
    own_index, loop_index = tl.arange(0, TH * TW), tl.arange(0, KH * KW)
    i, j = first_i + own_index // TW, first_j + own_index % TW
    valid = (i < h) & (j < w)
    q_offsets = pixel_offsets(i * STRIDE, j * STRIDE, q_row, q_pixel, WIDE)
    out_offsets = pixel_offsets(i, j, w * n * d, n * d, WIDE)
    queries = load_pixels(q, q_offsets, valid, 0, d, D)
    grads = load_pixels(grad, out_offsets, valid, 0, d, D)
    query_row, query_column = (i * STRIDE)[:, None], (j * STRIDE)[:, None]
    delta_q = tl.zeros((TH * TW,), tl.float32)  # delta of the queries
    # ---- delta = g · out, over all channels
    for first in tl.static_range(0, d, D):
        results = load_pixels(out, out_offsets, valid, first, d, D).to(tl.float32)
        delta_q += tl.sum(load_pixels(grad, out_offsets, valid, first, d, D).to(tl.float32) * results, axis=1)
    statistics = pixel_offsets(i, j, w, 1, WIDE)
    if block == 0:
        tl.store(delta + statistics, delta_q, mask=valid)
    log_sum = tl.load(lse + statistics, mask=valid, other=0.0)
    # ---- dq: sum over the chunks of keys; a second time only if the result has NaN or Inf
    top, bottom = first_i * STRIDE - REACH, (tl.minimum(first_i + TH, h) - 1) * STRIDE + REACH
    left, right = first_j * STRIDE - REACH, (tl.minimum(first_j + TW, w) - 1) * STRIDE + REACH
    across = tl.cdiv(right - left + 1, KW)
    num_chunks = tl.cdiv(bottom - top + 1, KH) * across
    total = tl.zeros((TH * TW, D), tl.float32)
    for handle_nonfinite in tl.static_range(2):
        if num_chunks > 0:
            total = tl.zeros((TH * TW, D), tl.float32)
            chunk_row, chunk_column = top, left
            for _ in range(num_chunks):
                row, column = chunk_row + loop_index // KW, chunk_column + loop_index % KW
                mask = (row <= bottom) & (column <= right)
                y, x = reflect(row, H, REACH, REFLECTED_ONCE), reflect(column, W, REACH, REFLECTED_ONCE)
                k_offsets = pixel_offsets(y, x, k_row, k_pixel, WIDE)
                v_offsets = pixel_offsets(y, x, v_row, v_pixel, WIDE)
                keys, values = load_pixels(k, k_offsets, mask, 0, d, D), load_pixels(v, v_offsets, mask, 0, d, D)
                scores = inner_products(queries, q, q_offsets, valid, keys, k, k_offsets, mask, d, D, PRECISION)
                grad_scores = inner_products(
                    grads, grad, out_offsets, valid, values, v, v_offsets, mask, d, D, PRECISION
                )
                inside = in_window(row[None, :], column[None, :], query_row, query_column, REACH, DILATION)
                scores = tl.where(inside, scores, float("-inf"))
                grad_scores = (grad_scores - delta_q[:, None]) * tl.exp2(scores * (scale * LOG2_E) - log_sum[:, None])
                if d > D:
                    keys = load_pixels(k, k_offsets, mask, block * D, d, D)
                if handle_nonfinite:
                    keys, nonfinite = zero_nonfinite(keys)
                    grad_scores = tl.where(nonfinite[None, :], float("nan"), grad_scores)
                    grad_scores = tl.where(inside, grad_scores, 0.0)
                total = add_product(total, grad_scores.to(keys.dtype), keys, PRECISION)
                chunk_row, chunk_column = next_chunk(chunk_row, chunk_column, left, right, KH, KW)
        if not handle_nonfinite:
            num_chunks = tl.where(count_nonfinite(total, valid) > 0, num_chunks, 0)
    offsets = pixel_offsets(i * STRIDE, j * STRIDE, W * n * d, n * d, WIDE)
    store_pixels(dq, offsets, valid, block * D, total * scale, d, D)


@triton.jit
def _copy_transform(copy: tl.tensor, size: tl.tensor) -> tuple:
    """Sign and offset: in a copy of the map, row or column y is at offset + sign * y."""
    span = tl.maximum(size - 1, 1)
    flipped = (copy % 2 != 0) & (size > 1)
    return tl.where(flipped, -1, 1), (copy + tl.where(flipped, 1, 0)) * span


@triton.jit
def _positions_in_copy(index: tl.tensor, sign: tl.tensor, offset: tl.tensor, size: tl.tensor) -> tl.tensor:
    """Positions of rows or columns in a copy; out of reach if the adjacent copies hold them already."""
    delta_q = (sign < 0) & ((index == 0) | (index == size - 1))
    return tl.where(delta_q, _UNREACHABLE, offset + sign * index)


@triton.jit
def _query_range(
    first: tl.tensor,
    sign: tl.tensor,
    offset: tl.tensor,
    size: tl.tensor,
    count: tl.tensor,
    REACH: tl.constexpr,
    STRIDE: tl.constexpr,
    T: tl.constexpr,
) -> tuple:
    """First and last row (or column) of queries whose windows reach a tile of a copy.

    Args:
        first: first row of the tile, which has T rows.
        sign, offset: of the copy.
        size, count: number of rows of the map and of the output.
    """
    last = tl.minimum(first + T, size) - 1
    first = tl.where(sign < 0, tl.maximum(first, 1), first)
    last = tl.where(sign < 0, tl.minimum(last, size - 2), last)
    count = tl.where(first <= last, count, 0)
    one_end, other_end = offset + sign * first, offset + sign * last
    low = tl.maximum(tl.minimum(one_end, other_end) - REACH, 0)
    high = tl.maximum(tl.maximum(one_end, other_end) + REACH, -STRIDE)  # a quotient of negative numbers is rounded up
    return (low + STRIDE - 1) // STRIDE, tl.minimum((high + STRIDE) // STRIDE - 1, count - 1)


@tuned
@triton.jit(do_not_specialize=[*SIZES, "copies_down", "copies_across"])
def key_kernel(
    q: tl.tensor,
    k: tl.tensor,
    v: tl.tensor,
    grad: tl.tensor,
    lse: tl.tensor,
    delta: tl.tensor,
    dk: tl.tensor,
    dv: tl.tensor,
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
    copies_down: tl.tensor,
    copies_across: tl.tensor,
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
    """Each program computes dk and dv for a tile of keys of one head and D channels."""
    # ---- keys and values of the tile
    image, head, block, first_y, first_x = program_tile(n, H, W, TH, TW, tl.cdiv(d, D))
    q += tl.multiple_of(image * q_image + head * q_head, ALIGN)
    k += tl.multiple_of(image * k_image + head * k_head, ALIGN)
    v += tl.multiple_of(image * v_image + head * v_head, ALIGN)
    grad += image * h * w * n * d + head * d
    dk += image * H * W * n * d + head * d
    dv += image * H * W * n * d + head * d
    lse += (image * n + head) * h * w
    delta += (image * n + head) * h * w
    own_index, loop_index = tl.arange(0, TH * TW), tl.arange(0, KH * KW)
    y, x = first_y + own_index // TW, first_x + own_index % TW
    valid = (y < H) & (x < W)
    k_offsets = pixel_offsets(y, x, k_row, k_pixel, WIDE)
    v_offsets = pixel_offsets(y, x, v_row, v_pixel, WIDE)
    keys, values = load_pixels(k, k_offsets, valid, 0, d, D), load_pixels(v, v_offsets, valid, 0, d, D)
    total_k = tl.zeros((TH * TW, D), tl.float32)
    total_v = tl.zeros((TH * TW, D), tl.float32)
    # ---- copies of the map: the reflected ones have queries only for tiles near the borders
    above, below = tl.where(first_y <= REACH, copies_down, 0), tl.where(first_y + TH + REACH >= H, copies_down, 0)
    before, after = tl.where(first_x <= REACH, copies_across, 0), tl.where(first_x + TW + REACH >= W, copies_across, 0)
    width = before + 1 + after
    copies = (above + 1 + below) * width
    # ---- dk and dv: sums over the chunks of queries; a second time only if a result has NaN or Inf
    for handle_nonfinite in tl.static_range(2):
        if copies > 0:
            total_k = tl.zeros((TH * TW, D), tl.float32)
            total_v = tl.zeros((TH * TW, D), tl.float32)
            for copy in range(copies):
                sign_y, offset_y = _copy_transform(copy // width - above, H)
                sign_x, offset_x = _copy_transform(copy % width - before, W)
                top, bottom = _query_range(first_y, sign_y, offset_y, H, h, REACH, STRIDE, TH)
                left, right = _query_range(first_x, sign_x, offset_x, W, w, REACH, STRIDE, TW)
                row = _positions_in_copy(y, sign_y, offset_y, H)[:, None]
                column = _positions_in_copy(x, sign_x, offset_x, W)[:, None]
                across = tl.maximum(tl.cdiv(right - left + 1, KW), 0)
                num_chunks = tl.maximum(tl.cdiv(bottom - top + 1, KH), 0) * across
                chunk_row, chunk_column = top, left
                for _ in range(num_chunks):
                    i, j = chunk_row + loop_index // KW, chunk_column + loop_index % KW
                    mask = (i <= bottom) & (j <= right)
                    q_offsets = pixel_offsets(i * STRIDE, j * STRIDE, q_row, q_pixel, WIDE)
                    g_offsets = pixel_offsets(i, j, w * n * d, n * d, WIDE)
                    queries = load_pixels(q, q_offsets, mask, 0, d, D)
                    grads = load_pixels(grad, g_offsets, mask, 0, d, D)
                    statistics = pixel_offsets(i, j, w, 1, WIDE)
                    log_sum = tl.load(lse + statistics, mask=mask, other=float("inf"))  # a weight of 0
                    delta_q = tl.load(delta + statistics, mask=mask, other=0.0)
                    scores = inner_products(keys, k, k_offsets, valid, queries, q, q_offsets, mask, d, D, PRECISION)
                    grad_scores = inner_products(
                        values, v, v_offsets, valid, grads, grad, g_offsets, mask, d, D, PRECISION
                    )
                    inside = in_window(row, column, (i * STRIDE)[None, :], (j * STRIDE)[None, :], REACH, DILATION)
                    scores = tl.where(inside, scores, float("-inf"))
                    weights = tl.exp2(scores * (scale * LOG2_E) - log_sum[None, :])
                    grad_scores = (grad_scores - delta_q[None, :]) * weights
                    if d > D:
                        queries = load_pixels(q, q_offsets, mask, block * D, d, D)
                        grads = load_pixels(grad, g_offsets, mask, block * D, d, D)
                    if handle_nonfinite:
                        queries, nonfinite = zero_nonfinite(queries)
                        grads, grads_nonfinite = zero_nonfinite(grads)
                        nonfinite, inside = (nonfinite | grads_nonfinite)[None, :], inside & mask[None, :]
                        weights = tl.where(inside, tl.where(nonfinite, float("nan"), weights), 0.0)
                        grad_scores = tl.where(inside, tl.where(nonfinite, float("nan"), grad_scores), 0.0)
                    total_v = add_product(total_v, weights.to(grads.dtype), grads, PRECISION)
                    total_k = add_product(total_k, grad_scores.to(queries.dtype), queries, PRECISION)
                    chunk_row, chunk_column = next_chunk(chunk_row, chunk_column, left, right, KH, KW)
        if not handle_nonfinite:
            copies = tl.where(count_nonfinite(total_k, valid) + count_nonfinite(total_v, valid) > 0, copies, 0)
    offsets = pixel_offsets(y, x, W * n * d, n * d, WIDE)
    store_pixels(dk, offsets, valid, block * D, total_k * scale, d, D)
    store_pixels(dv, offsets, valid, block * D, total_v, d, D)
