"""Triton kernel of the depthwise deformable convolution: torch.ops.addmodules.deform_conv2d_depthwise.

A program takes P output pixels and a block of channels and goes through the taps. Where a tap reads is worked out once
for all channels of the block, sums stay in float32 registers, and no column buffer exists. The map is channels-last, so
that a corner of a sample is one contiguous read across channels.

How bytes move: the output is written once; each block of channels, 128 at most, reads the offsets once; what
neighbouring samples share of the map comes out of the caches. The backward pass is in deform_backward.py.

Dimension letters: B batch, C channels, H W rows and columns of the map, h w of the output, T taps (KH * KW),
P output pixels of a program.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import FunctionCtx

from ultralytics.nn.ops.kernels import launch
from ultralytics.nn.ops.kernels.launch import autotuned

_CHANNEL_BLOCKS = (128, 64, 32, 16)
# numbers that change from map to map: a kernel compiled for 1s or multiples of 16 among them would gain nothing
VARYING = ["num_pixels", "H", "W", "h", "w", "ob", "oi", "bits_of_pixels"]
_SPARE = 8  # a wider block of channels may leave an eighth more lanes idle than the narrowest
SCHEMA = "Tensor x, Tensor offset, Tensor weight, int[] stride, int[] padding, int[] dilation"


@torch.library.custom_op("addmodules::deform_conv2d_depthwise", mutates_args=(), schema=f"({SCHEMA}) -> Tensor")
def deform_conv2d_depthwise(
    x: Tensor, offset: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    """The operator of ultralytics.nn.ops.deform, which checks shapes; float32, float16 or bfloat16 each.

    Args:
        x: (B, C, H, W), any strides.
        offset: (B, 2T, h, w), any strides: it is never copied.
        weight: (C, 1, kh, kw).
        stride, padding, dilation: rows and columns.

    Returns:
        (B, C, h, w) in x's dtype, channels-last in memory.
    """
    out = _fake_forward(x, offset, weight, stride, padding, dilation)
    if not out.numel():
        return out
    x, taps = channels_last(x), taps_first(weight)
    C = x.shape[3]
    block, num_pixels = channel_block(C), out.numel() // C
    with launch.on_device_of(x, offset, taps):
        forward_kernel[lambda meta: (triton.cdiv(num_pixels, meta["TILE"] // block) * triton.cdiv(C, block),)](
            x,
            offset,
            taps,
            out,
            *sizes(x, offset, stride, padding, dilation),
            num_pixels.bit_length(),
            *weight.shape[2:],
            BLOCK_C=block,
            WIDE=launch.wide(x, offset, out),
        )
    return out


def channel_block(C: int) -> int:
    """Channels of one program: the widest block that leaves few lanes idle."""
    padded = {block: triton.cdiv(C, block) * block for block in _CHANNEL_BLOCKS}
    allowed = min(padded.values()) * (1 + 1 / _SPARE)
    return next(block for block in _CHANNEL_BLOCKS if padded[block] <= allowed)


# ---- what PyTorch is to know about the operator ----------------------------------------------------------------------


@deform_conv2d_depthwise.register_fake
def _fake_forward(
    x: Tensor, offset: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    return x.new_empty(x.shape[0], *offset.shape[2:], x.shape[1]).permute(0, 3, 1, 2)


def _save(ctx: FunctionCtx, inputs: tuple, output: Tensor) -> None:
    x, offset, weight, *options = inputs
    ctx.save_for_backward(x, offset, weight)
    ctx.options = options  # type: ignore[attr-defined]


def _differentiate(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
    saved, options = ctx.saved_tensors, ctx.options  # type: ignore[attr-defined]
    wants = ctx.needs_input_grad[:3]  # type: ignore[attr-defined]
    of_kernels = wants[0], wants[1] or wants[2]
    found = torch.ops.addmodules.deform_conv2d_depthwise_backward(grad, *saved, *options, *of_kernels)
    return *(part if want else None for part, want in zip(found, wants, strict=True)), None, None, None


deform_conv2d_depthwise.register_autograd(_differentiate, setup_context=_save)


# ---- arguments -------------------------------------------------------------------------------------------------------


def channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).contiguous()  # (B, C, H, W) -> (B, H, W, C), a copy only where memory is not so


def taps_first(weight: Tensor) -> Tensor:
    return weight.flatten(1).t().contiguous()  # (C, 1, kh, kw) -> (T, C)


def sizes(
    x: Tensor, offset: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> tuple[int, ...]:
    """What both kernels take after their tensors; `x` is (B, H, W, C)."""
    B, H, W, C = x.shape
    h, w = offset.shape[2:]
    return (B * h * w, H, W, C, h, w, *stride, *padding, *dilation, *offset.stride())


# ---- the kernel ------------------------------------------------------------------------------------------------------
# Sizes, in this order: num_pixels = B * h * w; H, W, C, h, w; rows and columns of stride (sy, sx), padding (py, px) and
# dilation (dy, dx); steps of the offsets in memory from image to image, number, row and column (ob, ot, oi, oj).


@autotuned(
    [
        triton.Config({"TILE": tile}, num_warps=warps)
        for tile, warps in ((2048, 4), (1024, 4), (4096, 4), (4096, 8), (8192, 8))
    ],
    key=["C", "KH", "KW", "bits_of_pixels"],
)
@triton.jit(do_not_specialize=VARYING)
def forward_kernel(
    x: tl.tensor,
    offset: tl.tensor,
    taps: tl.tensor,
    out: tl.tensor,
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
    bits_of_pixels: tl.tensor,  # how many programs there are, roughly: another best configuration
    KH: tl.constexpr,
    KW: tl.constexpr,
    TILE: tl.constexpr,
    BLOCK_C: tl.constexpr,
    WIDE: tl.constexpr,
) -> None:
    P: tl.constexpr = TILE // BLOCK_C
    blocks_of_c = (C + BLOCK_C - 1) // BLOCK_C
    program = tl.program_id(0)
    block = program // blocks_of_c
    if WIDE:
        ot = tl.cast(ot, tl.int64)
    exists, image, i, j = pixels(block, num_pixels, h, w, P, WIDE)
    first_row, first_column = (i * sy - py).to(tl.float32), (j * sx - px).to(tl.float32)
    c = (program - block * blocks_of_c) * BLOCK_C + tl.arange(0, BLOCK_C)
    has_c = c < C
    at_offset, at_tap = offset + image * ob + i * oi + j * oj, taps + c
    sums = tl.zeros((P, BLOCK_C), dtype=tl.float32)
    for ky in range(KH):
        for kx in range(KW):
            start_row, start_column = first_row + ky * dy, first_column + kx * dx
            inside, top, left, fy, fx = read_point(at_offset, ot, exists, start_row, start_column, H, W)
            m00, m01, m10, m11 = corners(inside, top, left, H, W)
            at = x + (image * H * W * C + cell(top, left, W, WIDE) * C)[:, None] + c[None, :]
            gy, gx = 1 - fy, 1 - fx
            sample = (gy * gx)[:, None] * read_rows(at, m00, has_c)
            sample += (gy * fx)[:, None] * read_rows(at + C, m01, has_c)
            sample += (fy * gx)[:, None] * read_rows(at + W * C, m10, has_c)
            sample += (fy * fx)[:, None] * read_rows(at + W * C + C, m11, has_c)
            sums += sample * tl.load(at_tap, mask=has_c, other=0.0).to(tl.float32)[None, :]
            at_offset += 2 * ot
            at_tap += C
    at = out + ((image * h + i) * w + j)[:, None] * C + c[None, :]
    tl.store(at, sums.to(out.dtype.element_ty), mask=exists[:, None] & has_c[None, :])


@triton.jit
def pixels(
    block: tl.tensor, num_pixels: tl.tensor, h: tl.tensor, w: tl.tensor, P: tl.constexpr, WIDE: tl.constexpr
) -> tuple:
    """The P output pixels of a block: which exist, their image, row and column."""
    if WIDE:
        block = tl.cast(block, tl.int64)
    pixel = block * P + tl.arange(0, P)
    across = pixel // w
    image = across // h
    return pixel < num_pixels, image, across - image * h, pixel - across * w


@triton.jit
def read_point(
    at: tl.tensor,
    ot: tl.tensor,
    exists: tl.tensor,
    start_row: tl.tensor,
    start_column: tl.tensor,
    H: tl.tensor,
    W: tl.tensor,
) -> tuple:
    """Offsets -> whether the point moves anything, row and column of its cell's first pixel, and fractions fy, fx.

    Comparisons with NaN are false: such a point lies outside, like those a pixel or more away from the map, where
    nothing is read and nothing moves.
    """
    row = tl.load(at, mask=exists, other=0.0).to(tl.float32) + start_row
    column = tl.load(at + ot, mask=exists, other=0.0).to(tl.float32) + start_column
    inside = exists & (row > -1) & (row < H) & (column > -1) & (column < W)
    row, column = tl.where(inside, row, 0.0), tl.where(inside, column, 0.0)
    top, left = tl.floor(row), tl.floor(column)
    return inside, top.to(tl.int32), left.to(tl.int32), row - top, column - left


@triton.jit
def corners(inside: tl.tensor, top: tl.tensor, left: tl.tensor, H: tl.tensor, W: tl.tensor) -> tuple:
    """Which corners of a cell lie in the map: upper left, upper right, lower left, lower right."""
    upper, lower = inside & (top >= 0), inside & (top < H - 1)
    before, after = left >= 0, left < W - 1
    return upper & before, upper & after, lower & before, lower & after


@triton.jit
def cell(top: tl.tensor, left: tl.tensor, width: tl.tensor, WIDE: tl.constexpr) -> tl.tensor:
    """Number of a pixel in its image, `width` pixels a row."""
    if WIDE:
        top = top.to(tl.int64)
    return top * width + left


@triton.jit
def read_rows(at: tl.tensor, inside: tl.tensor, has_c: tl.tensor) -> tl.tensor:
    """(P, BLOCK_C) channels of P pixels in float32, zeros where one is not inside."""
    return tl.load(at, mask=inside[:, None] & has_c[None, :], other=0.0).to(tl.float32)
