"""Triton kernels of ACmix's windowed attention: the backward pass, torch.ops.addmodules.window_attention_backward.

With weights p = exp(score - lse), the output's gradient g and delta = g · out, all per query and key that it sees:

    ds = p (g · v - delta),   dq = Σ over keys ds k / sqrt(d),   dk = Σ over queries ds q / sqrt(d),   dv = Σ p g

Scores are computed again, in two kernels. One owns queries and goes through keys as the forward pass does: for dq, and
delta for the other. That one owns keys and goes through the queries that see them. The reflected map is a row of copies
of the map, every second one flipped, that overlap in the border lines; in copy c a key of line y lies at c (H-1) + y,
or (c+1) (H-1) - y where it is flipped. The kernel goes through the copies that windows reach: 3 x 3, unless the map is
smaller than their reach, and for a tile inside the map all but one are empty. So every sum has one owner and one order:
there are no atomics, and the same inputs give the same bits each time.

How bytes move: both kernels read q, k, v, g, their own tile's once and the others through the caches as often as in the
forward pass; the output is read once, and dq, dk, dv written once. For the rest, and the dimension letters, see
`attention`.
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
    fold,
    in_window,
    inner_products,
    load_pixels,
    next_chunk,
    num_spoilt,
    pixel_offsets,
    program_place,
    programs,
    sizes,
    store_pixels,
    strides,
    tuned,
    without_spoilt,
)
from ultralytics.nn.ops.kernels.launch import add_product

_FAR = tl.constexpr(2**29)  # a line that no window reaches
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
    """Gradients of q, k and v, channels-last in memory; `out` and `lse` are what window_attention_forward returned."""
    grads = _fake_backward(grad, q, k, v, out, lse, window, dilation, stride)
    if not out.numel():
        return grads
    q, k, v = channels_last(q), channels_last(k), channels_last(v)
    grad, out = _rows(grad), _rows(out)
    delta = torch.empty_like(lse)
    common = {
        **constants(q, k, v, window, dilation, stride),
        "WIDE": launch.wide(*(t[:1] for t in (q, k, v, grad, out, *grads))),
    }
    with launch.on_device_of(q):
        if stride > 1:
            grads[0].zero_()  # most pixels are no queries
        _query_kernel[programs(out)](
            *(q, k, v, grad, out, lse, delta, grads[0]),
            *sizes(q, out),
            *strides(q, k, v),
            **common,
        )
        _key_kernel[programs(k)](
            *(q, k, v, grad, lse, delta, *grads[1:]),
            *sizes(q, out),
            *strides(q, k, v),
            *(_copies(size, common["REACH"]) for size in q.shape[3:]),
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


def _rows(x: Tensor) -> Tensor:
    """(B, n, d, h, w) in the memory order (B, h, w, n, d)."""
    return x.permute(0, 3, 4, 1, 2).contiguous().permute(0, 3, 4, 1, 2)


def _copies(size: int, reach: int) -> int:
    """How many copies of the map a window reaches beyond a border."""
    return reach // max(size - 1, 1) + 1  # one that begins where a window ends: it may own that line


# ---- device code -----------------------------------------------------------------------------------------------------


@tuned
@triton.jit(do_not_specialize=SIZES)
def _query_kernel(
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
    grad += image * h * w * n * d + head * d
    out += image * h * w * n * d + head * d
    dq += image * H * W * n * d + head * d
    lse += (image * n + head) * h * w
    delta += (image * n + head) * h * w
    own, other = tl.arange(0, TH * TW), tl.arange(0, KH * KW)
    i, j = first_i + own // TW, first_j + own % TW
    exists = (i < h) & (j < w)
    q_offsets = pixel_offsets(i * STRIDE, j * STRIDE, q_row, q_pixel, WIDE)
    out_offsets = pixel_offsets(i, j, w * n * d, n * d, WIDE)
    queries = load_pixels(q, q_offsets, exists, 0, d, D)
    grads = load_pixels(grad, out_offsets, exists, 0, d, D)
    query_row, query_column = (i * STRIDE)[:, None], (j * STRIDE)[:, None]
    shared = tl.zeros((TH * TW,), tl.float32)  # delta: what the gradients of all scores of a query have in common
    for first in tl.static_range(0, d, D):
        results = load_pixels(out, out_offsets, exists, first, d, D).to(tl.float32)
        shared += tl.sum(load_pixels(grad, out_offsets, exists, first, d, D).to(tl.float32) * results, axis=1)
    statistics = pixel_offsets(i, j, w, 1, WIDE)
    if block == 0:
        tl.store(delta + statistics, shared, mask=exists)
    sums_log = tl.load(lse + statistics, mask=exists, other=0.0)
    top, bottom = first_i * STRIDE - REACH, (tl.minimum(first_i + TH, h) - 1) * STRIDE + REACH
    left, right = first_j * STRIDE - REACH, (tl.minimum(first_j + TW, w) - 1) * STRIDE + REACH
    across = tl.cdiv(right - left + 1, KW)
    turns = tl.cdiv(bottom - top + 1, KH) * across
    total = tl.zeros((TH * TW, D), tl.float32)
    for careful in tl.static_range(2):
        if turns > 0:
            total = tl.zeros((TH * TW, D), tl.float32)
            chunk_row, chunk_column = top, left
            for _ in range(turns):
                row, column = chunk_row + other // KW, chunk_column + other % KW
                keep = (row <= bottom) & (column <= right)
                y, x = fold(row, H, REACH, ONCE), fold(column, W, REACH, ONCE)
                k_offsets = pixel_offsets(y, x, k_row, k_pixel, WIDE)
                v_offsets = pixel_offsets(y, x, v_row, v_pixel, WIDE)
                keys, values = load_pixels(k, k_offsets, keep, 0, d, D), load_pixels(v, v_offsets, keep, 0, d, D)
                scores = inner_products(queries, q, q_offsets, exists, keys, k, k_offsets, keep, d, D, PRECISION)
                slopes = inner_products(grads, grad, out_offsets, exists, values, v, v_offsets, keep, d, D, PRECISION)
                inside = in_window(row[None, :], column[None, :], query_row, query_column, REACH, DILATION)
                scores = tl.where(inside, scores, float("-inf"))
                slopes = (slopes - shared[:, None]) * tl.exp2(scores * (scale * LOG2_E) - sums_log[:, None])
                if d > D:
                    keys = load_pixels(k, k_offsets, keep, block * D, d, D)
                if careful:
                    keys, spoilt = without_spoilt(keys)
                    slopes = tl.where(spoilt[None, :], float("nan"), slopes)
                    slopes = tl.where(inside, slopes, 0.0)
                total = add_product(total, slopes.to(keys.dtype), keys, PRECISION)
                chunk_row, chunk_column = next_chunk(chunk_row, chunk_column, left, right, KH, KW)
        if not careful:
            turns = tl.where(num_spoilt(total, exists) > 0, turns, 0)
    offsets = pixel_offsets(i * STRIDE, j * STRIDE, W * n * d, n * d, WIDE)
    store_pixels(dq, offsets, exists, block * D, total * scale, d, D)


@triton.jit
def _place_of_copy(copy: tl.tensor, size: tl.tensor) -> tuple:
    """Sign and offset: in a copy of the map, line y lies at offset + sign * y."""
    span = tl.maximum(size - 1, 1)
    flipped = (copy % 2 != 0) & (size > 1)
    return tl.where(flipped, -1, 1), (copy + tl.where(flipped, 1, 0)) * span


@triton.jit
def _lines_in_copy(line: tl.tensor, sign: tl.tensor, offset: tl.tensor, size: tl.tensor) -> tl.tensor:
    """Where lines of the map lie in a copy; far from all queries if the copy's neighbours have them already."""
    shared = (sign < 0) & ((line == 0) | (line == size - 1))
    return tl.where(shared, _FAR, offset + sign * line)


@triton.jit
def _queries_near(
    first: tl.tensor,
    sign: tl.tensor,
    offset: tl.tensor,
    size: tl.tensor,
    count: tl.tensor,
    REACH: tl.constexpr,
    STRIDE: tl.constexpr,
    T: tl.constexpr,
) -> tuple:
    """First and last of `count` lines of queries that see one of T lines of a copy, the first of them `first`."""
    last = tl.minimum(first + T, size) - 1
    first = tl.where(sign < 0, tl.maximum(first, 1), first)
    last = tl.where(sign < 0, tl.minimum(last, size - 2), last)
    count = tl.where(first <= last, count, 0)
    one_end, other_end = offset + sign * first, offset + sign * last
    low = tl.maximum(tl.minimum(one_end, other_end) - REACH, 0)
    high = tl.maximum(tl.maximum(one_end, other_end) + REACH, -STRIDE)  # quotients of negative numbers round up
    return (low + STRIDE - 1) // STRIDE, tl.minimum((high + STRIDE) // STRIDE - 1, count - 1)


@tuned
@triton.jit(do_not_specialize=[*SIZES, "copies_down", "copies_across"])
def _key_kernel(
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
    ONCE: tl.constexpr,
    WIDE: tl.constexpr,
    ALIGN: tl.constexpr,
    TH: tl.constexpr,
    TW: tl.constexpr,
    KH: tl.constexpr,
    KW: tl.constexpr,
) -> None:
    image, head, block, first_y, first_x = program_place(n, H, W, TH, TW, tl.cdiv(d, D))
    q += tl.multiple_of(image * q_image + head * q_head, ALIGN)
    k += tl.multiple_of(image * k_image + head * k_head, ALIGN)
    v += tl.multiple_of(image * v_image + head * v_head, ALIGN)
    grad += image * h * w * n * d + head * d
    dk += image * H * W * n * d + head * d
    dv += image * H * W * n * d + head * d
    lse += (image * n + head) * h * w
    delta += (image * n + head) * h * w
    own, other = tl.arange(0, TH * TW), tl.arange(0, KH * KW)
    y, x = first_y + own // TW, first_x + own % TW
    exists = (y < H) & (x < W)
    k_offsets = pixel_offsets(y, x, k_row, k_pixel, WIDE)
    v_offsets = pixel_offsets(y, x, v_row, v_pixel, WIDE)
    keys, values = load_pixels(k, k_offsets, exists, 0, d, D), load_pixels(v, v_offsets, exists, 0, d, D)
    total_k = tl.zeros((TH * TW, D), tl.float32)
    total_v = tl.zeros((TH * TW, D), tl.float32)
    # other copies of the map matter to tiles near its borders only
    above, below = tl.where(first_y <= REACH, copies_down, 0), tl.where(first_y + TH + REACH >= H, copies_down, 0)
    before, after = tl.where(first_x <= REACH, copies_across, 0), tl.where(first_x + TW + REACH >= W, copies_across, 0)
    width = before + 1 + after
    copies = (above + 1 + below) * width
    for careful in tl.static_range(2):
        if copies > 0:
            total_k = tl.zeros((TH * TW, D), tl.float32)
            total_v = tl.zeros((TH * TW, D), tl.float32)
            for copy in range(copies):
                sign_y, offset_y = _place_of_copy(copy // width - above, H)
                sign_x, offset_x = _place_of_copy(copy % width - before, W)
                top, bottom = _queries_near(first_y, sign_y, offset_y, H, h, REACH, STRIDE, TH)
                left, right = _queries_near(first_x, sign_x, offset_x, W, w, REACH, STRIDE, TW)
                row = _lines_in_copy(y, sign_y, offset_y, H)[:, None]
                column = _lines_in_copy(x, sign_x, offset_x, W)[:, None]
                across = tl.maximum(tl.cdiv(right - left + 1, KW), 0)
                turns = tl.maximum(tl.cdiv(bottom - top + 1, KH), 0) * across
                chunk_row, chunk_column = top, left
                for _ in range(turns):
                    i, j = chunk_row + other // KW, chunk_column + other % KW
                    keep = (i <= bottom) & (j <= right)
                    q_offsets = pixel_offsets(i * STRIDE, j * STRIDE, q_row, q_pixel, WIDE)
                    g_offsets = pixel_offsets(i, j, w * n * d, n * d, WIDE)
                    queries = load_pixels(q, q_offsets, keep, 0, d, D)
                    grads = load_pixels(grad, g_offsets, keep, 0, d, D)
                    statistics = pixel_offsets(i, j, w, 1, WIDE)
                    sums_log = tl.load(lse + statistics, mask=keep, other=float("inf"))  # weights of 0
                    shared = tl.load(delta + statistics, mask=keep, other=0.0)
                    scores = inner_products(keys, k, k_offsets, exists, queries, q, q_offsets, keep, d, D, PRECISION)
                    slopes = inner_products(values, v, v_offsets, exists, grads, grad, g_offsets, keep, d, D, PRECISION)
                    inside = in_window(row, column, (i * STRIDE)[None, :], (j * STRIDE)[None, :], REACH, DILATION)
                    scores = tl.where(inside, scores, float("-inf"))
                    weights = tl.exp2(scores * (scale * LOG2_E) - sums_log[None, :])
                    slopes = (slopes - shared[None, :]) * weights
                    if d > D:
                        queries = load_pixels(q, q_offsets, keep, block * D, d, D)
                        grads = load_pixels(grad, g_offsets, keep, block * D, d, D)
                    if careful:
                        queries, spoilt = without_spoilt(queries)
                        grads, spoilt_too = without_spoilt(grads)
                        spoilt, inside = (spoilt | spoilt_too)[None, :], inside & keep[None, :]
                        weights = tl.where(inside, tl.where(spoilt, float("nan"), weights), 0.0)
                        slopes = tl.where(inside, tl.where(spoilt, float("nan"), slopes), 0.0)
                    total_v = add_product(total_v, weights.to(grads.dtype), grads, PRECISION)
                    total_k = add_product(total_k, slopes.to(queries.dtype), queries, PRECISION)
                    chunk_row, chunk_column = next_chunk(chunk_row, chunk_column, left, right, KH, KW)
        if not careful:
            copies = tl.where(num_spoilt(total_k, exists) + num_spoilt(total_v, exists) > 0, copies, 0)
    offsets = pixel_offsets(y, x, W * n * d, n * d, WIDE)
    store_pixels(dk, offsets, exists, block * D, total_k * scale, d, D)
    store_pixels(dv, offsets, exists, block * D, total_v, d, D)
