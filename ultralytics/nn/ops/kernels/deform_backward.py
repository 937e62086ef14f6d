"""Backward pass of the depthwise deformable convolution: torch.ops.addmodules.deform_conv2d_depthwise_backward.

Three kernels, none of which keeps a sample:
- `slopes_kernel` goes over output pixels as the forward pass does and reads the corners again, a row of taps a program.
  It takes all channels of a pixel, so that the offsets' gradient is a plain store. The weights' gradient it adds up for
  all of its pixels in memory of its own, KW * C numbers, which PyTorch sums over the programs.
- `file_kernel` enters every sample in a list kept by the cell of the map that it reads: 4 bytes and one integer atomic
  a sample, whatever the number of channels. A list is half as long again as it is on average; what finds it full adds
  its share to the map's gradient by atomics.
- `gather_kernel` goes over the cells, sums what a list gives to each of the four corners in registers, and adds that to
  the map's gradient: four atomics a cell and channel instead of four a sample and channel.

The order in a list varies. In deterministic mode each share is rounded to fixed point before it is added, in registers
as in memory, so that the sums do not depend on it.

Dimension letters as in deform.py; a cell is the square between four pixels of the map, those at its border included,
named by its upper left pixel, from (-1, -1) on: (H+1) * (W+1) an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    pixels,
    read_point,
    read_rows,
    sizes,
    taps_first,
)
from ultralytics.nn.ops.kernels.launch import AtomicSum, add_term, autotuned

_VARYING = [*VARYING[:-1], "num_cells", "capacity", "row_bits"]
_CHANNELS = 64  # of a block at most: wider ones would leave a program too few pixels
_PROGRAMS = 16  # programs of slopes_kernel an SM at most, so that what they sum up in memory stays small
_PROGRAMS_ON_CPU = 2
_FILED_PIXELS = 64  # of a program of file_kernel, and the channels it takes at once where a list is full
_FILED_CHANNELS = 8
_GATHERED = 1024  # cells times channels of a program of gather_kernel: four sums each in the registers of 128 threads


@torch.library.custom_op(
    "addmodules::deform_conv2d_depthwise_backward",
    mutates_args=(),
    schema=f"(Tensor grad, {SCHEMA}, bool wants_x, bool wants_others) -> (Tensor, Tensor, Tensor)",
)
def deform_conv2d_depthwise_backward(
    grad: Tensor,
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    wants_x: bool,
    wants_others: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x (channels-last in memory), offset and weight, in the dtypes of the three.

    Those of offset and weight are found together; what is not wanted is empty.
    """
    if not grad.numel():
        none = _fake(grad, x, offset, weight, stride, padding, dilation, wants_x, wants_others)
        return none[0].zero_(), none[1].zero_(), none[2].zero_()
    grad_x, grad_offset, grad_weight = x.new_empty(0), offset.new_empty(0), weight.new_empty(0)
    x, grad, taps = channels_last(x), channels_last(grad), taps_first(weight)
    arguments = x, offset, taps, grad, weight.shape[2:], sizes(x, offset, stride, padding, dilation)
    with launch.on_device_of(x):
        if wants_others:
            grad_offset, grad_taps = _slopes(*arguments)
            grad_weight = weight.new_empty(weight.shape)
            grad_weight.flatten(1).copy_(grad_taps.t())
        if wants_x:
            grad_x = _spread(*arguments).permute(0, 3, 1, 2)
    return grad_x, grad_offset, grad_weight


@deform_conv2d_depthwise_backward.register_fake
def _fake(grad: Tensor, x: Tensor, offset: Tensor, weight: Tensor, *options: Any) -> tuple[Tensor, Tensor, Tensor]:
    B, C, H, W = x.shape
    wants_x, wants_others = options[-2:]
    return (
        x.new_empty(B, H, W, C).permute(0, 3, 1, 2) if wants_x else x.new_empty(0),
        torch.empty_like(offset) if wants_others else offset.new_empty(0),
        weight.new_empty(weight.shape if wants_others else 0),
    )


def _slopes(
    x: Tensor, offset: Tensor, taps: Tensor, grad: Tensor, kernel: Sequence[int], numbers: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Gradients of the offsets, and of the taps (T, C) in float32."""
    grad_offset = torch.empty_like(offset)
    programs = num_programs(numbers[0], kernel[0], x.device)
    partial = torch.zeros(programs, *taps.shape, dtype=torch.float32, device=x.device)
    slopes_kernel[(programs, kernel[0])](
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
        BLOCK_C=min(channel_block(x.shape[3]), _CHANNELS),
        WIDE=launch.wide(x, offset, grad, grad_offset, partial),
    )
    return grad_offset, partial.sum(0)


def _spread(
    x: Tensor, offset: Tensor, taps: Tensor, grad: Tensor, kernel: Sequence[int], numbers: tuple[int, ...]
) -> Tensor:
    """Gradient of the map, (B, H, W, C) in its dtype."""
    largest = grad.new_zeros((), dtype=torch.float32)
    if torch.are_deterministic_algorithms_enabled():
        # a share is the gradient times a weight times 1 at most
        largest = _largest(grad) * _largest(taps)
    total = AtomicSum(tuple(x.shape), largest)
    B, H, W, C = x.shape
    num_cells = B * (H + 1) * (W + 1)
    capacity = list_length(numbers[0] * taps.shape[0], num_cells)
    row_bits = (offset.shape[3] - 1).bit_length()
    largest_entry = (offset.shape[2] << row_bits) * taps.shape[0]
    wide = launch.wide(x, offset, grad) or max(capacity * num_cells, largest_entry) >= 2**31
    filled = torch.zeros(num_cells, dtype=torch.int32, device=x.device)
    lists = torch.empty(capacity, num_cells, dtype=torch.int64 if wide else torch.int32, device=x.device)
    lists_of = (filled, lists, num_cells, capacity, row_bits)
    arguments = (offset, taps, grad, total.terms, total.unit, *lists_of, *numbers, *kernel)
    options = {"WIDE": wide, "FIXED": total.fixed}
    file_kernel[(triton.cdiv(numbers[0], _FILED_PIXELS) * kernel[0],)](
        *arguments, P=_FILED_PIXELS, BLOCK_C=_FILED_CHANNELS, **options, num_warps=2
    )
    block = min(channel_block(C), _CHANNELS)
    gathered = _GATHERED // block
    gather_kernel[(triton.cdiv(num_cells, gathered) * triton.cdiv(C, block),)](
        *arguments, P=gathered, BLOCK_C=block, **options
    )
    return total.total(x.dtype)


def num_programs(num_pixels: int, kh: int, device: torch.device) -> int:
    """Programs of slopes_kernel for each row of taps; each takes every so many-th block of pixels."""
    if device.type != "cuda":
        return _PROGRAMS_ON_CPU
    limit = torch.cuda.get_device_properties(device).multi_processor_count * _PROGRAMS
    return min(triton.cdiv(num_pixels, 16), triton.cdiv(limit, kh))


def list_length(num_samples: int, num_cells: int) -> int:
    """Samples that a cell's list has room for."""
    return triton.cdiv(3 * num_samples, 2 * num_cells) + 4


def _largest(t: Tensor) -> Tensor:
    return torch.linalg.vector_norm(t, float("inf"), dtype=torch.float32)


# ---- the kernels -----------------------------------------------------------------------------------------------------
# Sizes as in deform.py; gb, gt, gi, gj are steps of the offsets' gradient in memory. An entry of a list is a sample's
# number in its image, (pixel * T + tap), where rows of pixels begin at multiples of 2^row_bits: shifts for divisions.


@autotuned(
    [triton.Config({"TILE": tile}, num_warps=warps) for tile, warps in ((2048, 4), (1024, 4), (2048, 8), (4096, 8))],
    key=["C", "KH", "KW", "bits_of_pixels"],
    sums=["partial"],
)
@triton.jit(do_not_specialize=[*VARYING, "gb", "gi"])
def slopes_kernel(
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
    P: tl.constexpr = TILE // BLOCK_C
    kind = grad_offset.dtype.element_ty
    program, first_tap, ky = tl.program_id(0), tl.program_id(1) * KW, tl.program_id(1)
    if WIDE:
        program, first_tap = program.to(tl.int64), first_tap.to(tl.int64)
        ot, gt = tl.cast(ot, tl.int64), tl.cast(gt, tl.int64)
    taps += first_tap * C
    partial += (program * KH * KW + first_tap) * C
    for block in range(tl.program_id(0), (num_pixels + P - 1) // P, tl.num_programs(0)):
        exists, image, i, j = pixels(block, num_pixels, h, w, P, WIDE)
        start_row, first_column = (i * sy - py).to(tl.float32) + ky * dy, (j * sx - px).to(tl.float32)
        at_offset = offset + image * ob + i * oi + j * oj + 2 * first_tap * ot
        at_grad_offset = grad_offset + image * gb + i * gi + j * gj + 2 * first_tap * gt
        at_grad = grad + (((image * h + i) * w + j) * C)[:, None]
        for kx in range(KW):
            inside, top, left, fy, fx = read_point(at_offset, ot, exists, start_row, first_column + kx * dx, H, W)
            m00, m01, m10, m11 = corners(inside, top, left, H, W)
            at_cell = x + (image * H * W * C + cell(top, left, W, WIDE) * C)[:, None]
            by_row, by_column = tl.zeros((P,), dtype=tl.float32), tl.zeros((P,), dtype=tl.float32)
            for c0 in range(0, C, BLOCK_C):
                c = c0 + tl.arange(0, BLOCK_C)
                has_c = c < C
                at = at_cell + c[None, :]
                g = read_rows(at_grad + c[None, :], exists, has_c)
                v00, v01 = read_rows(at, m00, has_c), read_rows(at + C, m01, has_c)
                v10, v11 = read_rows(at + W * C, m10, has_c), read_rows(at + W * C + C, m11, has_c)
                upper, lower = v01 - v00, v11 - v10  # slopes along the two rows
                start = v00 + fx[:, None] * upper
                slope = v10 + fx[:, None] * lower - start
                sums = tl.sum(g * (start + fy[:, None] * slope), axis=0)
                at_sum = partial + kx * C + c
                tl.store(at_sum, tl.load(at_sum, mask=has_c, other=0.0) + sums, mask=has_c)
                # from here on the gradient of the sample
                g *= tl.load(taps + kx * C + c, mask=has_c, other=0.0).to(tl.float32)[None, :]
                by_row += tl.sum(g * slope, axis=1)
                by_column += tl.sum(g * (upper + fy[:, None] * (lower - upper)), axis=1)
            tl.store(at_grad_offset, by_row.to(kind), mask=exists)
            tl.store(at_grad_offset + gt, by_column.to(kind), mask=exists)
            at_offset += 2 * ot
            at_grad_offset += 2 * gt
        tl.debug_barrier()  # the next pixels' sums are added to what other threads may have stored


@triton.jit(do_not_specialize=_VARYING)
def file_kernel(
    offset: tl.tensor,
    taps: tl.tensor,
    grad: tl.tensor,
    grad_x: tl.tensor,
    unit: tl.tensor,
    filled: tl.tensor,
    lists: tl.tensor,
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
    ky = tl.program_id(0) % KH
    first_tap = ky * KW
    if WIDE:
        first_tap = first_tap.to(tl.int64)
    exists, image, i, j = pixels(tl.program_id(0) // KH, num_pixels, h, w, P, WIDE)
    start_row, first_column = (i * sy - py).to(tl.float32) + ky * dy, (j * sx - px).to(tl.float32)
    at_offset = offset + image * ob + i * oi + j * oj
    for kx in range(KW):
        tap = first_tap + kx
        at = at_offset + 2 * tap * ot
        inside, top, left, fy, fx = read_point(at, ot, exists, start_row, first_column + kx * dx, H, W)
        listed = image * (H + 1) * (W + 1) + cell(top + 1, left + 1, W + 1, WIDE)
        place = tl.atomic_add(filled + listed, 1, mask=inside, sem="relaxed")
        fits = inside & (place < capacity)
        if WIDE:
            place = place.to(tl.int64)
        tl.store(lists + place * num_cells + listed, ((i << row_bits) + j) * (KH * KW) + tap, mask=fits)
        full = inside & (place >= capacity)
        if tl.max(full.to(tl.int32), axis=0) > 0:
            scale = tl.load(unit)
            m00, m01, m10, m11 = corners(full, top, left, H, W)
            first = image * H * W * C + cell(top, left, W, WIDE) * C
            at_grad = ((image * h + i) * w + j) * C
            for c0 in range(0, C, BLOCK_C):
                c = c0 + tl.arange(0, BLOCK_C)
                g = read_rows(grad + at_grad[:, None] + c[None, :], full, c < C)
                g *= tl.load(taps + tap * C + c, mask=c < C, other=0.0).to(tl.float32)[None, :]
                at_x, has_c = grad_x + first[:, None] + c[None, :], (c < C)[None, :]
                gy, gx = 1 - fy, 1 - fx
                add_term(at_x, (gy * gx)[:, None] * g, scale, m00[:, None] & has_c, FIXED)
                add_term(at_x + C, (gy * fx)[:, None] * g, scale, m01[:, None] & has_c, FIXED)
                add_term(at_x + W * C, (fy * gx)[:, None] * g, scale, m10[:, None] & has_c, FIXED)
                add_term(at_x + W * C + C, (fy * fx)[:, None] * g, scale, m11[:, None] & has_c, FIXED)


@triton.jit(do_not_specialize=_VARYING)
def gather_kernel(
    offset: tl.tensor,
    taps: tl.tensor,
    grad: tl.tensor,
    grad_x: tl.tensor,
    unit: tl.tensor,
    filled: tl.tensor,
    lists: tl.tensor,
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
    blocks_of_c = (C + BLOCK_C - 1) // BLOCK_C
    block = tl.program_id(0) // blocks_of_c
    exists, image, row, column = pixels(block, num_cells, H + 1, W + 1, P, WIDE)
    top, left = row - 1, column - 1
    listed = (image * (H + 1) + row) * (W + 1) + column
    c = (tl.program_id(0) - block * blocks_of_c) * BLOCK_C + tl.arange(0, BLOCK_C)
    has_c = c < C
    scale = tl.load(unit)
    length = tl.minimum(tl.load(filled + listed, mask=exists, other=0), capacity)
    kind: tl.constexpr = tl.int64 if FIXED else tl.float32
    sum00, sum01 = tl.zeros((P, BLOCK_C), dtype=kind), tl.zeros((P, BLOCK_C), dtype=kind)
    sum10, sum11 = tl.zeros((P, BLOCK_C), dtype=kind), tl.zeros((P, BLOCK_C), dtype=kind)
    at_list = lists + listed
    for n in range(tl.max(length, axis=0)):
        live = n < length
        entry = tl.load(at_list, mask=live, other=0)
        at_list += num_cells
        pixel = entry // (KH * KW)
        tap = entry - pixel * (KH * KW)
        i, ky = pixel >> row_bits, tap // KW
        j, kx = pixel - (i << row_bits), tap - ky * KW
        at = offset + image * ob + i * oi + j * oj + 2 * tap * ot
        start_row = (i * sy - py).to(tl.float32) + ky * dy
        start_column = (j * sx - px).to(tl.float32) + kx * dx
        _, _, _, fy, fx = read_point(at, ot, live, start_row, start_column, H, W)
        gy, gx = 1 - fy, 1 - fx
        g = read_rows(grad + (((image * h + i) * w + j) * C)[:, None] + c[None, :], live, has_c)
        g *= read_rows(taps + (tap * C)[:, None] + c[None, :], live, has_c)
        sum00 += in_units((gy * gx)[:, None] * g, scale, FIXED)
        sum01 += in_units((gy * fx)[:, None] * g, scale, FIXED)
        sum10 += in_units((fy * gx)[:, None] * g, scale, FIXED)
        sum11 += in_units((fy * fx)[:, None] * g, scale, FIXED)
    m00, m01, m10, m11 = corners(exists, top, left, H, W)
    at_x = grad_x + ((image * H + top) * W + left)[:, None] * C + c[None, :]
    has_c = has_c[None, :]
    tl.atomic_add(at_x, sum00, mask=m00[:, None] & has_c, sem="relaxed")
    tl.atomic_add(at_x + C, sum01, mask=m01[:, None] & has_c, sem="relaxed")
    tl.atomic_add(at_x + W * C, sum10, mask=m10[:, None] & has_c, sem="relaxed")
    tl.atomic_add(at_x + W * C + C, sum11, mask=m11[:, None] & has_c, sem="relaxed")


@triton.jit
def in_units(share: tl.tensor, unit: tl.tensor, FIXED: tl.constexpr) -> tl.tensor:
    """As launch.add_term adds it."""
    if FIXED:
        return (share * unit).to(tl.int64)
    else:
        return share
