"""Triton kernel of the depthwise deformable convolution: torch.ops.addmodules.deform_conv2d_depthwise.

A program computes P output pixels for a block of channels and iterates over the taps. A tap's sampling position is
computed once for all channels of the block, the sums stay in float32 registers, and there is no im2col buffer. The map
is channels-last, so that each corner of a sample is one contiguous read over channels.

Memory traffic: the output is written once; each block of channels, at most 128, reads the offsets once; pixels of the
map that adjacent samples share come from the caches. The backward pass is in deform_backward.py.

Dimension letters: B batch, C channels, H W rows and columns of the map, h w of the output, T taps (KH * KW),
P output pixels of a program.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from ultralytics.nn.ops.autograd import Context
from ultralytics.nn.ops.kernels import launch
from ultralytics.nn.ops.kernels.launch import autotuned

_CHANNEL_BLOCKS = (128, 64, 32, 16)
# arguments that differ from map to map; specializing kernels for the values 1 and multiples of 16 gains nothing
VARYING = ["num_pixels", "H", "W", "h", "w", "ob", "oi", "bits_of_pixels"]
_IDLE_FRACTION = 8  # a wider block of channels may have 1/8 more idle lanes than the narrowest
SCHEMA = "Tensor x, Tensor offset, Tensor weight, int[] stride, int[] padding, int[] dilation"


@torch.library.custom_op("addmodules::deform_conv2d_depthwise", mutates_args=(), schema=f"({SCHEMA}) -> Tensor")
def deform_conv2d_depthwise(
    x: Tensor, offset: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    """Forward pass of ultralytics.nn.ops.deform, which checks shapes; each tensor float32, float16 or bfloat16.

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
    """Channels of one program: the widest block with few idle lanes."""
    padded = {block: triton.cdiv(C, block) * block for block in _CHANNEL_BLOCKS}
    allowed = min(padded.values()) * (1 + 1 / _IDLE_FRACTION)
    return next(block for block in _CHANNEL_BLOCKS if padded[block] <= allowed)


# ---- registration with PyTorch --------------------------------------------------------------------------------------


@deform_conv2d_depthwise.register_fake
def _fake_forward(
    x: Tensor, offset: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    return x.new_empty(x.shape[0], *offset.shape[2:], x.shape[1]).permute(0, 3, 1, 2)


Options = tuple[Sequence[int], Sequence[int], Sequence[int]]  # stride, padding, dilation


class _Context(Context):
    options: Options


def _save_for_backward(
    ctx: _Context, inputs: tuple[Tensor, Tensor, Tensor, Sequence[int], Sequence[int], Sequence[int]], output: Tensor
) -> None:
    ctx.save_for_backward(*inputs[:3])
    ctx.options = inputs[3:]


def _backward(ctx: _Context, grad: Tensor) -> tuple[Tensor | None, ...]:
    saved, options = ctx.saved_tensors, ctx.options
    needs = ctx.needs_input_grad[:3]
    computed = needs[0], needs[1] or needs[2]
    grads = torch.ops.addmodules.deform_conv2d_depthwise_backward(grad, *saved, *options, *computed)
    return *(part if needed else None for part, needed in zip(grads, needs, strict=True)), None, None, None


deform_conv2d_depthwise.register_autograd(_backward, setup_context=_save_for_backward)


# ---- arguments -------------------------------------------------------------------------------------------------------


def channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).contiguous()  # (B, C, H, W) -> (B, H, W, C), a copy unless x is channels-last


def taps_first(weight: Tensor) -> Tensor:
    return weight.flatten(1).t().contiguous()  # (C, 1, kh, kw) -> (T, C)


def sizes(
    x: Tensor, offset: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> tuple[int, ...]:
    """Arguments of the kernels after their tensors, see below; `x` is (B, H, W, C)."""
    B, H, W, C = x.shape
    h, w = offset.shape[2:]
    return (B * h * w, H, W, C, h, w, *stride, *padding, *dilation, *offset.stride())


# ---- the kernel ------------------------------------------------------------------------------------------------------
# Sizes, in this order: num_pixels = B * h * w; H, W, C, h, w; rows and columns of stride (sy, sx), padding (py, px) and
# dilation (dy, dx); strides of the offsets: image, offset index, row, column (ob, ot, oi, oj).


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
    bits_of_pixels: tl.tensor,  # of num_pixels: a key of autotuning
    KH: tl.constexpr,
    KW: tl.constexpr,
    TILE: tl.constexpr,
    BLOCK_C: tl.constexpr,
    WIDE: tl.constexpr,
) -> None:
    """Each program sums all taps of P output pixels and BLOCK_C channels, then stores the sums."""
    P: tl.constexpr = TILE // BLOCK_C
    blocks_of_c = (C + BLOCK_C - 1) // BLOCK_C
    program = tl.program_id(0)
    block = program // blocks_of_c
    if WIDE:
        ot = tl.cast(ot, tl.int64)
    valid, image, i, j = pixels(block, num_pixels, h, w, P, WIDE)
    first_row, first_column = (i * sy - py).to(tl.float32), (j * sx - px).to(tl.float32)
    c = (program - block * blocks_of_c) * BLOCK_C + tl.arange(0, BLOCK_C)
    channel_mask = c < C
    offset_pointers, tap_pointers = offset + image * ob + i * oi + j * oj, taps + c
    sums = tl.zeros((P, BLOCK_C), dtype=tl.float32)
    for ky in range(KH):
        for kx in range(KW):
            start_row, start_column = first_row + ky * dy, first_column + kx * dx
            inside, top, left, fy, fx = read_point(offset_pointers, ot, valid, start_row, start_column, H, W)
            m00, m01, m10, m11 = corners(inside, top, left, H, W)
            pointers = x + (image * H * W * C + cell(top, left, W, WIDE) * C)[:, None] + c[None, :]
            gy, gx = 1 - fy, 1 - fx
            sample = (gy * gx)[:, None] * load_channels(pointers, m00, channel_mask)
            sample += (gy * fx)[:, None] * load_channels(pointers + C, m01, channel_mask)
            sample += (fy * gx)[:, None] * load_channels(pointers + W * C, m10, channel_mask)
            sample += (fy * fx)[:, None] * load_channels(pointers + W * C + C, m11, channel_mask)
            sums += sample * tl.load(tap_pointers, mask=channel_mask, other=0.0).to(tl.float32)[None, :]
            offset_pointers += 2 * ot
            tap_pointers += C
    pointers = out + ((image * h + i) * w + j)[:, None] * C + c[None, :]
    tl.store(pointers, sums.to(out.dtype.element_ty), mask=valid[:, None] & channel_mask[None, :])


@triton.jit
def pixels(
    block: tl.tensor, num_pixels: tl.tensor, h: tl.tensor, w: tl.tensor, P: tl.constexpr, WIDE: tl.constexpr
) -> tuple:
    """The P output pixels of a block: whether each is valid, and its image, row and column."""
    if WIDE:
        block = tl.cast(block, tl.int64)
    pixel = block * P + tl.arange(0, P)
    across = pixel // w
    image = across // h
    return pixel < num_pixels, image, across - image * h, pixel - across * w


@triton.jit
def read_point(
    pointers: tl.tensor,
    ot: tl.tensor,
    valid: tl.tensor,
    start_row: tl.tensor,
    start_column: tl.tensor,
    H: tl.tensor,
    W: tl.tensor,
) -> tuple:
    """Whether each point is inside the zero-padded map, its top left pixel's row and column, and fractions fy, fx.

    A point at a distance of one pixel or more from the map is outside: it reads zeros and has no gradient. So is a NaN,
    since comparisons with NaN are false.
    """
    row = tl.load(pointers, mask=valid, other=0.0).to(tl.float32) + start_row
    column = tl.load(pointers + ot, mask=valid, other=0.0).to(tl.float32) + start_column
    inside = valid & (row > -1) & (row < H) & (column > -1) & (column < W)
    row, column = tl.where(inside, row, 0.0), tl.where(inside, column, 0.0)
    top, left = tl.floor(row), tl.floor(column)
    return inside, top.to(tl.int32), left.to(tl.int32), row - top, column - left


@triton.jit
def corners(inside: tl.tensor, top: tl.tensor, left: tl.tensor, H: tl.tensor, W: tl.tensor) -> tuple:
    """Which corners of a cell are in the map: top left, top right, bottom left, bottom right."""
    upper, lower = inside & (top >= 0), inside & (top < H - 1)
    before, after = left >= 0, left < W - 1
    return upper & before, upper & after, lower & before, lower & after


@triton.jit
def cell(top: tl.tensor, left: tl.tensor, width: tl.tensor, WIDE: tl.constexpr) -> tl.tensor:
    """Index of a pixel in its image of `width` columns; int64 if WIDE."""
    if WIDE:
        top = top.to(tl.int64)
    return top * width + left


@triton.jit
def load_channels(pointers: tl.tensor, inside: tl.tensor, channel_mask: tl.tensor) -> tl.tensor:
    """(P, BLOCK_C) channels of P pixels in float32, zeros for pixels outside the map."""
    return tl.load(pointers, mask=inside[:, None] & channel_mask[None, :], other=0.0).to(tl.float32)
