"""Backward pass of the depthwise deformable convolution: torch.ops.addmodules.deform_conv2d_depthwise_backward.

Three kernels, none of which stores samples:
- `offset_weight_kernel` iterates over output pixels as the forward pass does and reads the corners again, one row of
  taps per program. It processes all channels of a pixel, so the offsets' gradient is a plain store. The gradient of the
  weights is summed over its pixels in a buffer of its own, KW * C values, and PyTorch sums the programs' buffers.
- `bin_kernel` sorts samples into bins, one per cell of the map: 4 bytes and one integer atomic per sample, whatever the
  number of channels. The capacity of a bin is 1.5 times the average; samples that find their bin full are added to the
  map's gradient directly, by atomic additions.
- `reduce_kernel` iterates over the cells, sums a bin's contributions to each of the four corners in registers, and adds
  the sums to the map's gradient: four atomic additions per cell and channel instead of four per sample and channel.

The order within a bin varies. In deterministic mode each contribution is rounded to fixed point before it is added, in
registers as in memory, so that the sums do not depend on the order.

Dimension letters as in deform.py. A cell is the square between four adjacent pixels, including those that extend one
pixel beyond the map; its index is that of its top left pixel, from (-1, -1) on: (H+1) * (W+1) cells per image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from ultralytics.nn.ops.kernels import launch
from ultralytics.nn.ops.kernels.deform import (
    SCHEMA,
    VARYING,
    cell,
    channel_block,
    channels_last,
    corners,
    load_channels,
    pixels,
    read_point,
    sizes,
    taps_first,
)
from ultralytics.nn.ops.kernels.launch import AtomicSum, add_term, autotuned

_VARYING = [*VARYING[:-1], "num_cells", "capacity", "row_bits"]
MAX_CHANNELS = 64  # of a block; wider blocks would leave too few pixels per program
PROGRAMS_PER_SM = 16  # of offset_weight_kernel, at most; limits the memory of their buffers
PROGRAMS_ON_CPU = 2
BIN_PIXELS = 64  # of a program of bin_kernel; and channels per iteration where a bin is full
BIN_CHANNELS = 8
REDUCE_BLOCK = 1024  # cells * channels of a program of reduce_kernel; each has four sums in registers


@torch.library.custom_op(
    "addmodules::deform_conv2d_depthwise_backward",
    mutates_args=(),
    schema=f"(Tensor grad, {SCHEMA}, bool needs_x, bool needs_others) -> (Tensor, Tensor, Tensor)",
)
def deform_conv2d_depthwise_backward(
    grad: Tensor,
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    needs_x: bool,
    needs_others: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x (channels-last in memory), offset and weight, in the dtypes of the three.

    Those of offset and weight are computed together; gradients that are not needed are empty.
    """
    if not grad.numel():
        empty = _fake(grad, x, offset, weight, stride, padding, dilation, needs_x, needs_others)
        return empty[0].zero_(), empty[1].zero_(), empty[2].zero_()
    grad_x, grad_offset, grad_weight = x.new_empty(0), offset.new_empty(0), weight.new_empty(0)
    x, grad, taps = channels_last(x), channels_last(grad), taps_first(weight)
    arguments = x, offset, taps, grad, weight.shape[2:], sizes(x, offset, stride, padding, dilation)
    with launch.on_device_of(x):
        if needs_others:
            grad_offset, grad_taps = offset_weight_gradients(*arguments)
            grad_weight = weight.new_empty(weight.shape)
            grad_weight.flatten(1).copy_(grad_taps.t())
        if needs_x:
            grad_x = map_gradient(*arguments).permute(0, 3, 1, 2)
    return grad_x, grad_offset, grad_weight


@deform_conv2d_depthwise_backward.register_fake
def _fake(
    grad: Tensor,
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    needs_x: bool,
    needs_others: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    B, C, H, W = x.shape
    return (
        x.new_empty(B, H, W, C).permute(0, 3, 1, 2) if needs_x else x.new_empty(0),
        torch.empty_like(offset) if needs_others else offset.new_empty(0),
        weight.new_empty(weight.shape if needs_others else 0),
    )


def offset_weight_gradients(
    x: Tensor, offset: Tensor, taps: Tensor, grad: Tensor, kernel: Sequence[int], numbers: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Gradients of the offsets, and of the taps (T, C) in float32."""
    grad_offset = torch.empty_like(offset)
    programs = num_programs(numbers[0], kernel[0], x.device)
    partial = torch.zeros(programs, *taps.shape, dtype=torch.float32, device=x.device)
    offset_weight_kernel[(programs, kernel[0])](
        x,
        offset,
        taps,
        grad,
        grad_offset,
        partial,
        *numbers,
        *grad_offset.stride(),
        numbers[0].bit_length(),
        *kernel,
        BLOCK_C=min(channel_block(x.shape[3]), MAX_CHANNELS),
        WIDE=launch.wide(x, offset, grad, grad_offset, partial),
    )
    return grad_offset, partial.sum(0)


def map_gradient(
    x: Tensor, offset: Tensor, taps: Tensor, grad: Tensor, kernel: Sequence[int], numbers: tuple[int, ...]
) -> Tensor:
    """Gradient of the map, (B, H, W, C) in its dtype."""
    largest = grad.new_zeros((), dtype=torch.float32)
    if torch.are_deterministic_algorithms_enabled():
        # a term is gradient * weight * a factor of at most 1
        largest = _largest(grad) * _largest(taps)
    total = AtomicSum(tuple(x.shape), largest)
    B, H, W, C = x.shape
    num_cells = B * (H + 1) * (W + 1)
    capacity = bin_capacity(numbers[0] * taps.shape[0], num_cells)
    row_bits = (offset.shape[3] - 1).bit_length()
    largest_entry = (offset.shape[2] << row_bits) * taps.shape[0]
    wide = launch.wide(x, offset, grad) or max(capacity * num_cells, largest_entry) >= 2**31
    counts = torch.zeros(num_cells, dtype=torch.int32, device=x.device)
    entries = torch.empty(capacity, num_cells, dtype=torch.int64 if wide else torch.int32, device=x.device)
    bins = (counts, entries, num_cells, capacity, row_bits)
    arguments = (offset, taps, grad, total.terms, total.unit, *bins, *numbers, *kernel)
    options = {"WIDE": wide, "FIXED": total.fixed}
    bin_kernel[(triton.cdiv(numbers[0], BIN_PIXELS) * kernel[0],)](
        *arguments, P=BIN_PIXELS, BLOCK_C=BIN_CHANNELS, **options, num_warps=2
    )
    block = min(channel_block(C), MAX_CHANNELS)
    gathered = REDUCE_BLOCK // block
    reduce_kernel[(triton.cdiv(num_cells, gathered) * triton.cdiv(C, block),)](
        *arguments, P=gathered, BLOCK_C=block, **options
    )
    return total.total(x.dtype)


def num_programs(num_pixels: int, kh: int, device: torch.device) -> int:
    """Programs of offset_weight_kernel per row of taps; they iterate over the blocks of pixels with this stride."""
    if device.type != "cuda":
        return PROGRAMS_ON_CPU
    limit = torch.cuda.get_device_properties(device).multi_processor_count * PROGRAMS_PER_SM
    return min(triton.cdiv(num_pixels, 16), triton.cdiv(limit, kh))


def bin_capacity(num_samples: int, num_cells: int) -> int:
    """Samples per bin: 1.5 times the average, and a few more for small maps."""
    return triton.cdiv(3 * num_samples, 2 * num_cells) + 4


def _largest(t: Tensor) -> Tensor:
    return torch.linalg.vector_norm(t, float("inf"), dtype=torch.float32)


# ---- the kernels -----------------------------------------------------------------------------------------------------
# Sizes as in deform.py; gb, gt, gi, gj are strides of the offsets' gradient. An entry of a bin is the index of a sample
# in its image, pixel * T + tap with pixel = (row << row_bits) + column: decoded by shifts instead of divisions.


@autotuned(
    [triton.Config({"TILE": tile}, num_warps=warps) for tile, warps in ((2048, 4), (1024, 4), (2048, 8), (4096, 8))],
    key=["C", "KH", "KW", "bits_of_pixels"],
    sums=["partial"],
)
@triton.jit(do_not_specialize=[*VARYING, "gb", "gi"])
def offset_weight_kernel(
    x: tl.tensor,
    offset: tl.tensor,
    taps: tl.tensor,
    grad: tl.tensor,
    grad_offset: tl.tensor,
    partial: tl.tensor,
    num_pixels: tl.tensor,
    H: tl.tensor,
    W: tl.tensor,
    C: tl.tensor,
    h: tl.tensor,
    w: tl.tensor,
    sy: tl.tensor,
    sx: tl.tensor,
    py: tl.tensor,
    px: tl.tensor,
    dy: tl.tensor,
    dx: tl.tensor,
    ob: tl.tensor,
    ot: tl.tensor,
    oi: tl.tensor,
    oj: tl.tensor,
    gb: tl.tensor,
    gt: tl.tensor,
    gi: tl.tensor,
    gj: tl.tensor,
    bits_of_pixels: tl.tensor,
    KH: tl.constexpr,
    KW: tl.constexpr,
    TILE: tl.constexpr,
    BLOCK_C: tl.constexpr,
    WIDE: tl.constexpr,
) -> None:
    """Each program computes one row of taps for every num_programs-th block of P output pixels.

    Per tap: read the four corners, add to the sums of the weights' gradient in `partial`, and store the two gradients
    of the offsets.
    """
    P: tl.constexpr = TILE // BLOCK_C
    dtype = grad_offset.dtype.element_ty
    program, first_tap, ky = tl.program_id(0), tl.program_id(1) * KW, tl.program_id(1)
    if WIDE:
        program, first_tap = program.to(tl.int64), first_tap.to(tl.int64)
        ot, gt = tl.cast(ot, tl.int64), tl.cast(gt, tl.int64)
    taps += first_tap * C
    partial += (program * KH * KW + first_tap) * C
    for block in range(tl.program_id(0), (num_pixels + P - 1) // P, tl.num_programs(0)):
        valid, image, i, j = pixels(block, num_pixels, h, w, P, WIDE)
        start_row, first_column = (i * sy - py).to(tl.float32) + ky * dy, (j * sx - px).to(tl.float32)
        offset_pointers = offset + image * ob + i * oi + j * oj + 2 * first_tap * ot
        grad_offset_pointers = grad_offset + image * gb + i * gi + j * gj + 2 * first_tap * gt
        grad_pointers = grad + (((image * h + i) * w + j) * C)[:, None]
        for kx in range(KW):
            inside, top, left, fy, fx = read_point(offset_pointers, ot, valid, start_row, first_column + kx * dx, H, W)
            m00, m01, m10, m11 = corners(inside, top, left, H, W)
            cell_pointers = x + (image * H * W * C + cell(top, left, W, WIDE) * C)[:, None]
            by_row, by_column = tl.zeros((P,), dtype=tl.float32), tl.zeros((P,), dtype=tl.float32)
            for c0 in range(0, C, BLOCK_C):
                c = c0 + tl.arange(0, BLOCK_C)
                channel_mask = c < C
                pointers = cell_pointers + c[None, :]
                g = load_channels(grad_pointers + c[None, :], valid, channel_mask)
                v00, v01 = load_channels(pointers, m00, channel_mask), load_channels(pointers + C, m01, channel_mask)
                v10, v11 = (
                    load_channels(pointers + W * C, m10, channel_mask),
                    load_channels(pointers + W * C + C, m11, channel_mask),
                )
                upper, lower = v01 - v00, v11 - v10  # differences along the two rows
                start = v00 + fx[:, None] * upper
                slope = v10 + fx[:, None] * lower - start
                sums = tl.sum(g * (start + fy[:, None] * slope), axis=0)
                sum_pointers = partial + kx * C + c
                tl.store(sum_pointers, tl.load(sum_pointers, mask=channel_mask, other=0.0) + sums, mask=channel_mask)
                # from here on g is the gradient of the sample
                g *= tl.load(taps + kx * C + c, mask=channel_mask, other=0.0).to(tl.float32)[None, :]
                by_row += tl.sum(g * slope, axis=1)
                by_column += tl.sum(g * (upper + fy[:, None] * (lower - upper)), axis=1)
            tl.store(grad_offset_pointers, by_row.to(dtype), mask=valid)
            tl.store(grad_offset_pointers + gt, by_column.to(dtype), mask=valid)
            offset_pointers += 2 * ot
            grad_offset_pointers += 2 * gt
        tl.debug_barrier()  # the next block of pixels reads sums that other threads may have stored


@triton.jit(do_not_specialize=_VARYING)
def bin_kernel(
    offset: tl.tensor,
    taps: tl.tensor,
    grad: tl.tensor,
    grad_x: tl.tensor,
    unit: tl.tensor,
    counts: tl.tensor,
    entries: tl.tensor,
    num_cells: tl.tensor,
    capacity: tl.tensor,
    row_bits: tl.tensor,
    num_pixels: tl.tensor,
    H: tl.tensor,
    W: tl.tensor,
    C: tl.tensor,
    h: tl.tensor,
    w: tl.tensor,
    sy: tl.tensor,
    sx: tl.tensor,
    py: tl.tensor,
    px: tl.tensor,
    dy: tl.tensor,
    dx: tl.tensor,
    ob: tl.tensor,
    ot: tl.tensor,
    oi: tl.tensor,
    oj: tl.tensor,
    KH: tl.constexpr,
    KW: tl.constexpr,
    P: tl.constexpr,
    BLOCK_C: tl.constexpr,
    WIDE: tl.constexpr,
    FIXED: tl.constexpr,
) -> None:
    """Each program adds the samples of P output pixels and one row of taps to the bins of their cells.

    Samples whose bin is full are added to the sum of the map's gradient directly.
    """
    ky = tl.program_id(0) % KH
    first_tap = ky * KW
    if WIDE:
        first_tap = first_tap.to(tl.int64)
    valid, image, i, j = pixels(tl.program_id(0) // KH, num_pixels, h, w, P, WIDE)
    start_row, first_column = (i * sy - py).to(tl.float32) + ky * dy, (j * sx - px).to(tl.float32)
    offset_pointers = offset + image * ob + i * oi + j * oj
    for kx in range(KW):
        tap = first_tap + kx
        pointers = offset_pointers + 2 * tap * ot
        inside, top, left, fy, fx = read_point(pointers, ot, valid, start_row, first_column + kx * dx, H, W)
        cell_index = image * (H + 1) * (W + 1) + cell(top + 1, left + 1, W + 1, WIDE)
        slot = tl.atomic_add(counts + cell_index, 1, mask=inside, sem="relaxed")
        fits = inside & (slot < capacity)
        if WIDE:
            slot = slot.to(tl.int64)
        tl.store(entries + slot * num_cells + cell_index, ((i << row_bits) + j) * (KH * KW) + tap, mask=fits)
        overflow = inside & (slot >= capacity)
        if tl.max(overflow.to(tl.int32), axis=0) > 0:
            scale = tl.load(unit)
            m00, m01, m10, m11 = corners(overflow, top, left, H, W)
            first = image * H * W * C + cell(top, left, W, WIDE) * C
            grad_pointers = ((image * h + i) * w + j) * C
            for c0 in range(0, C, BLOCK_C):
                c = c0 + tl.arange(0, BLOCK_C)
                g = load_channels(grad + grad_pointers[:, None] + c[None, :], overflow, c < C)
                g *= tl.load(taps + tap * C + c, mask=c < C, other=0.0).to(tl.float32)[None, :]
                x_pointers, channel_mask = grad_x + first[:, None] + c[None, :], (c < C)[None, :]
                gy, gx = 1 - fy, 1 - fx
                add_term(x_pointers, (gy * gx)[:, None] * g, scale, m00[:, None] & channel_mask, FIXED)
                add_term(x_pointers + C, (gy * fx)[:, None] * g, scale, m01[:, None] & channel_mask, FIXED)
                add_term(x_pointers + W * C, (fy * gx)[:, None] * g, scale, m10[:, None] & channel_mask, FIXED)
                add_term(x_pointers + W * C + C, (fy * fx)[:, None] * g, scale, m11[:, None] & channel_mask, FIXED)


@triton.jit(do_not_specialize=_VARYING)
def reduce_kernel(
    offset: tl.tensor,
    taps: tl.tensor,
    grad: tl.tensor,
    grad_x: tl.tensor,
    unit: tl.tensor,
    counts: tl.tensor,
    entries: tl.tensor,
    num_cells: tl.tensor,
    capacity: tl.tensor,
    row_bits: tl.tensor,
    num_pixels: tl.tensor,
    H: tl.tensor,
    W: tl.tensor,
    C: tl.tensor,
    h: tl.tensor,
    w: tl.tensor,
    sy: tl.tensor,
    sx: tl.tensor,
    py: tl.tensor,
    px: tl.tensor,
    dy: tl.tensor,
    dx: tl.tensor,
    ob: tl.tensor,
    ot: tl.tensor,
    oi: tl.tensor,
    oj: tl.tensor,
    KH: tl.constexpr,
    KW: tl.constexpr,
    P: tl.constexpr,
    BLOCK_C: tl.constexpr,
    WIDE: tl.constexpr,
    FIXED: tl.constexpr,
) -> None:
    """Each program sums the bins of P cells for BLOCK_C channels, and adds the sums to the map's gradient."""
    blocks_of_c = (C + BLOCK_C - 1) // BLOCK_C
    block = tl.program_id(0) // blocks_of_c
    valid, image, row, column = pixels(block, num_cells, H + 1, W + 1, P, WIDE)
    top, left = row - 1, column - 1
    cell_index = (image * (H + 1) + row) * (W + 1) + column
    c = (tl.program_id(0) - block * blocks_of_c) * BLOCK_C + tl.arange(0, BLOCK_C)
    channel_mask = c < C
    scale = tl.load(unit)
    length = tl.minimum(tl.load(counts + cell_index, mask=valid, other=0), capacity)
    dtype: tl.constexpr = tl.int64 if FIXED else tl.float32
    sum00, sum01 = tl.zeros((P, BLOCK_C), dtype=dtype), tl.zeros((P, BLOCK_C), dtype=dtype)
    sum10, sum11 = tl.zeros((P, BLOCK_C), dtype=dtype), tl.zeros((P, BLOCK_C), dtype=dtype)
    entry_pointers = entries + cell_index
    # ---- decode each entry, compute the weights of its sample, add its gradient to the four sums
    for n in range(tl.max(length, axis=0)):
        in_bin = n < length
        entry = tl.load(entry_pointers, mask=in_bin, other=0)
        entry_pointers += num_cells
        pixel = entry // (KH * KW)
        tap = entry - pixel * (KH * KW)
        i, ky = pixel >> row_bits, tap // KW
        j, kx = pixel - (i << row_bits), tap - ky * KW
        pointers = offset + image * ob + i * oi + j * oj + 2 * tap * ot
        start_row = (i * sy - py).to(tl.float32) + ky * dy
        start_column = (j * sx - px).to(tl.float32) + kx * dx
        _, _, _, fy, fx = read_point(pointers, ot, in_bin, start_row, start_column, H, W)
        gy, gx = 1 - fy, 1 - fx
        g = load_channels(grad + (((image * h + i) * w + j) * C)[:, None] + c[None, :], in_bin, channel_mask)
        g *= load_channels(taps + (tap * C)[:, None] + c[None, :], in_bin, channel_mask)
        sum00 += to_unit((gy * gx)[:, None] * g, scale, FIXED)
        sum01 += to_unit((gy * fx)[:, None] * g, scale, FIXED)
        sum10 += to_unit((fy * gx)[:, None] * g, scale, FIXED)
        sum11 += to_unit((fy * fx)[:, None] * g, scale, FIXED)
    # ---- four atomic additions per cell and channel
    m00, m01, m10, m11 = corners(valid, top, left, H, W)
    x_pointers = grad_x + ((image * H + top) * W + left)[:, None] * C + c[None, :]
    channel_mask = channel_mask[None, :]
    tl.atomic_add(x_pointers, sum00, mask=m00[:, None] & channel_mask, sem="relaxed")
    tl.atomic_add(x_pointers + C, sum01, mask=m01[:, None] & channel_mask, sem="relaxed")
    tl.atomic_add(x_pointers + W * C, sum10, mask=m10[:, None] & channel_mask, sem="relaxed")
    tl.atomic_add(x_pointers + W * C + C, sum11, mask=m11[:, None] & channel_mask, sem="relaxed")


@triton.jit
def to_unit(share: tl.tensor, unit: tl.tensor, FIXED: tl.constexpr) -> tl.tensor:
    """A term in the representation in which launch.add_term adds it."""
    if FIXED:
        return (share * unit).to(tl.int64)
    else:
        return share
