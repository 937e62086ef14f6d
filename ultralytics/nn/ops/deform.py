"""D-LKA's depthwise deformable convolution: each tap of each output pixel samples the map at its own position.

`deform_conv2d_depthwise` is the operator and selects an implementation; `deform_conv2d_reference` is the formula of
torchvision.ops.deform_conv2d for any number of groups, in plain gathers, for tests and for devices and exports that
lack the operators of the fast path. The fast path holds the samples of only a few rows of the output at a time and
computes them again in the backward pass, which costs less than writing and reading them.

Dimension letters: B batch, C channels, H W rows and columns of the map, h w of the output, T taps (kh * kw),
P output pixels processed at once.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ultralytics.nn.ops import backends, bilinear, tracing
from ultralytics.nn.ops.onnx_sampling import exports_grid_sample, grid_sample
from ultralytics.nn.ops.recompute import recomputed
from ultralytics.nn.ops.self_test import Case, Operator, register_operator, wave

Pair = tuple[int, int]
POSITIONS = (
    1 << 16
)  # samples whose positions are computed at once, for several small chunks, since each operator call has a cost
SCATTER_PARTS = 2  # the largest tensor of a chunk, the products to scatter, is computed in so many parts


def deform_conv2d_depthwise(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    *,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
) -> Tensor:
    """Deformable convolution, one filter per channel, the same offsets for all channels; zeros outside the map.

    Args:
        x: (B, C, H, W), any float dtype and memory format; float16 and bfloat16 are computed in float32.
        offset: (B, 2T, h, w) in pixels, (row, column) interleaved per tap, taps in row-major order of the kernel.
            Any value is safe: infinite offsets read zeros, a NaN gives NaN or a finite value at its own pixel.
        weight: (C, 1, kh, kw).
        stride, padding, dilation: rows and columns, or one value for both.

    Returns:
        (B, C, h, w) in x's dtype; channels-last in memory on the fast path.

    Raises:
        ValueError: the shapes do not match.
    """
    if x.dim() != 4 or weight.dim() != 4 or weight.shape[:2] != (x.shape[1], 1):
        raise ValueError(
            f"deform_conv2d_depthwise needs maps (B, C, H, W) and one filter per channel, (C, 1, kh, kw), "
            f"not {tuple(x.shape)} and {tuple(weight.shape)}"
        )
    pairs = _pair(stride), _pair(padding), _pair(dilation)
    geometry = _Geometry(x, offset, weight, *pairs)
    if backends.uses_triton(x, "deform_conv2d_depthwise"):
        return _kernel(x, offset, weight, *pairs)
    return _pytorch(x, offset, weight, geometry)


def _kernel(x: Tensor, offset: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair) -> Tensor:
    offset = offset if offset.dtype in backends.DTYPES else offset.float()
    return torch.ops.addmodules.deform_conv2d_depthwise(x, offset, weight.to(x.dtype), stride, padding, dilation)


def _pytorch(x: Tensor, offset: Tensor, weight: Tensor, geometry: _Geometry) -> Tensor:
    dtype = torch.promote_types(x.dtype, torch.float32)
    offset = offset.to(torch.promote_types(dtype, offset.dtype))
    with tracing.without_autocast(x):
        args = (x.to(dtype), offset, weight.to(dtype))
        if exports_grid_sample():
            return _by_grid_sample(*args, geometry).to(x.dtype)
        if not tracing.has_fast_path(x):
            return _reference(*args, geometry).to(x.dtype)
        return recomputed(_forward, _backward, *args, settings=(geometry,)).to(x.dtype)


def deform_conv2d_reference(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    *,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
) -> Tensor:
    """As torchvision.ops.deform_conv2d without mask and bias, weight (O, C/groups, kh, kw); keeps the dtypes."""
    return _reference(x, offset, weight, _Geometry(x, offset, weight, _pair(stride), _pair(padding), _pair(dilation)))


def _reference(x: Tensor, offset: Tensor, weight: Tensor, g: _Geometry) -> Tensor:
    B, C = x.shape[:2]
    row, column = _clamped_points(offset, g)
    top, left = row.detach().floor(), column.detach().floor()
    fy, fx = row - top, column - left
    flat = x.flatten(2)

    def pixel(r: Tensor, c: Tensor) -> Tensor:
        inside = (r >= 0) & (r < g.H) & (c >= 0) & (c < g.W)
        # NaN converts to an undefined integer: the second clamp keeps the read inside the map
        index = r.long().clamp(0, g.H - 1) * g.W + c.long().clamp(0, g.W - 1)
        values = flat.gather(2, index.flatten(1).unsqueeze(1).expand(-1, C, -1)).view(B, C, *row.shape[1:])
        return values * inside.unsqueeze(1)

    samples = (
        ((1 - fy) * (1 - fx)).unsqueeze(1).to(x.dtype) * pixel(top, left)
        + ((1 - fy) * fx).unsqueeze(1).to(x.dtype) * pixel(top, left + 1)
        + (fy * (1 - fx)).unsqueeze(1).to(x.dtype) * pixel(top + 1, left)
        + (fy * fx).unsqueeze(1).to(x.dtype) * pixel(top + 1, left + 1)
    )  # (B, C, T, h, w)
    groups = C // weight.shape[1]
    samples = samples.reshape(B, groups, weight.shape[1] * g.T, g.h * g.w)
    filters = weight.reshape(1, groups, weight.shape[0] // groups, -1)
    return (filters @ samples).reshape(B, weight.shape[0], g.h, g.w)


def _clamped_points(offset: Tensor, g: _Geometry) -> tuple[Tensor, Tensor]:
    """Rows and columns (B, T, h, w) of all samples, clamped to one pixel outside the map, where samples are 0."""
    pixel_row, pixel_column, tap_row, tap_column = g.starts(offset)
    row = offset[:, 0::2] + (tap_row.view(-1, 1) + pixel_row.t()).view(g.T, g.h, g.w)
    column = offset[:, 1::2] + (tap_column.view(-1, 1) + pixel_column.t()).view(g.T, g.h, g.w)
    return row.clamp(-1, g.H), column.clamp(-1, g.W)


def _by_grid_sample(x: Tensor, offset: Tensor, weight: Tensor, g: _Geometry) -> Tensor:
    samples = grid_sample(x, *_clamped_points(offset.to(x.dtype), g), "zeros")  # (B, C, T, h, w)
    return (samples * weight.view(-1, g.T, 1, 1)).sum(2)


class _Geometry:
    """Checked sizes of one call, and the position of every tap before its offset."""

    def __init__(self, x: Tensor, offset: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair) -> None:
        self.B, self.C, self.H, self.W = x.shape
        self.kh, self.kw = weight.shape[2:]
        self.T = self.kh * self.kw
        self.padded_area = (self.H + 2) * (self.W + 2)  # pixels of the zero-padded map, see _padded
        self.stride, self.padding, self.dilation = stride, padding, dilation
        sizes = (self.H, self.W)
        self.h, self.w = (
            (sizes[i] + 2 * padding[i] - dilation[i] * (weight.shape[2 + i] - 1) - 1) // stride[i] + 1 for i in (0, 1)
        )
        expected = (self.B, 2 * self.T, self.h, self.w)
        if tuple(offset.shape) != expected or self.C % weight.shape[1]:
            raise ValueError(
                f"deformable convolution of {tuple(x.shape)} with filters {tuple(weight.shape)} needs offsets "
                f"{expected} and channels divisible by {weight.shape[1]}; the offsets are {tuple(offset.shape)}"
            )

    def starts(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Rows and columns of the output pixels in the map, (h*w, 1) each, and displacements of the taps, (T,) each."""
        (sy, sx), (py, px), (dy, dx) = self.stride, self.padding, self.dilation
        tap = torch.arange(self.T, device=like.device)
        row = (torch.arange(self.h, device=like.device) * sy - py).view(-1, 1).expand(self.h, self.w).reshape(-1)
        column = (torch.arange(self.w, device=like.device) * sx - px).expand(self.h, self.w).reshape(-1)
        tap_row, tap_column = tap.div(self.kw, rounding_mode="floor") * dy, tap % self.kw * dx
        row, column, tap_row, tap_column = (t.to(like.dtype) for t in (row, column, tap_row, tap_column))
        return row.view(-1, 1), column.view(-1, 1), tap_row, tap_column


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else value


def _points(offset: Tensor, starts: tuple[Tensor, ...], at: slice) -> tuple[Tensor, Tensor]:
    """Rows and columns (P, T) of the samples of some output pixels: `offset` (P, 2T) plus the starts of pixels `at`."""
    pixel_row, pixel_column, tap_row, tap_column = starts
    return offset[:, 0::2] + (pixel_row[at] + tap_row), offset[:, 1::2] + (pixel_column[at] + tap_column)


def _cells(row: Tensor, column: Tensor, g: _Geometry) -> tuple[Tensor, Tensor, Tensor]:
    """Coordinates (P, T) -> index of the top left pixel in the padded map (int32), fy, fx, each (P * T,).

    The map is padded with one pixel of zeros on each side, and points further outside are clamped to it, so that no
    read needs a mask.
    """
    row, column = row.contiguous().clamp(-1, g.H), column.contiguous().clamp(-1, g.W)
    top, left = row.floor().clamp_(max=g.H - 1), column.floor().clamp_(max=g.W - 1)
    # NaN converts to an undefined integer: the second clamp keeps the read inside the map
    cell = (top.to(torch.int32) + 1).clamp_(0, g.H) * (g.W + 2) + (left.to(torch.int32) + 1).clamp_(0, g.W)
    return cell.view(-1), row.sub_(top).view(-1), column.sub_(left).view(-1)


def _padded(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, (H+2) * (W+2), C) padded with zeros."""
    return F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).flatten(1, 2)


def _offset_rows(offset: Tensor) -> Tensor:
    return offset.permute(0, 2, 3, 1).reshape(-1, offset.shape[1])  # (B, 2T, h, w) -> (B*h*w, 2T)


def _taps(weight: Tensor) -> Tensor:
    return weight.flatten(1).t().contiguous()  # (C, 1, kh, kw) -> (T, C)


def _forward(x: Tensor, offset: Tensor, weight: Tensor, g: _Geometry) -> Tensor:
    table, taps, offset = _padded(x).flatten(0, 1), _taps(weight), _offset_rows(offset)
    num_pixels = g.B * g.h * g.w
    images = torch.arange(g.B, dtype=torch.int32, device=x.device) * g.padded_area  # first row of each image
    images = images.view(-1, 1).expand(-1, g.h * g.w).reshape(-1, 1)
    pixel_row, pixel_column, *taps_at = g.starts(offset)
    starts = (pixel_row.repeat(g.B, 1), pixel_column.repeat(g.B, 1), *taps_at)
    step = tracing.chunk_length(2 * g.T * g.C, num_pixels)  # samples and their products with the taps
    out = []
    for at in tracing.chunks(num_pixels, step):
        cell, fy, fx = _cells(*_points(offset[at], starts, at), g)
        first = images[at].expand(-1, g.T).reshape(-1)
        corners = bilinear.corner_indices(cell + first, g.W + 2, 1)
        weights = bilinear.corner_weights(fy, fx).to(x.dtype)
        samples = bilinear.weighted_rows(table, corners, weights).view(-1, g.T, g.C)
        out.append(samples.mul_(taps).sum(1))
    return torch.cat(out).view(g.B, g.h, g.w, g.C).permute(0, 3, 1, 2)


def _backward(x: Tensor, offset: Tensor, weight: Tensor, grad: Tensor, g: _Geometry) -> tuple[Tensor, Tensor, Tensor]:
    tables, taps, starts = _padded(x), _taps(weight), g.starts(offset)
    offsets = _offset_rows(offset).view(g.B, g.h * g.w, 2 * g.T)
    grad = tracing.contiguous_if_compiling(grad).permute(0, 2, 3, 1).flatten(1, 2).contiguous()
    grad_x, grad_taps = x.new_empty(g.B, g.H, g.W, g.C), torch.zeros_like(taps)
    grad_offset = torch.empty_like(offsets)
    step = tracing.chunk_length(8 * g.T * g.C, g.h * g.w)
    cells, indices = x.new_empty(g.padded_area, 4 * g.C), bilinear.sample_indices(step * g.T, x.device)
    buffer = x.new_empty(step * g.T if tracing.is_tracing() else max(1, step * g.T // SCATTER_PARTS), 4, g.C)
    for b in range(g.B):
        cells.zero_()
        for group in tracing.chunks(g.h * g.w, max(step, POSITIONS // g.T)):
            row, column = _points(offsets[b, group], starts, group)
            cell, fy, fx = _cells(row, column, g)
            fy, fx = fy.to(x.dtype), fx.to(x.dtype)
            grad_weights = x.new_empty(len(row), g.T, 4)
            group_grad = grad[b, group]
            tensors = bilinear.corner_indices(cell, g.W + 2, 1), bilinear.corner_weights(fy, fx), cell.view(-1, 1)
            tensors_of_pixels = [z.view(-1, g.T, z.shape[1]) for z in tensors]
            for at in tracing.chunks(len(row), step):
                corners, weights, top_left = (z[at].flatten(0, 1) for z in tensors_of_pixels)
                part = group_grad[at].unsqueeze(1)  # (P, 1, C)
                grad_taps += bilinear.weighted_rows(tables[b], corners, weights).view(-1, g.T, g.C).mul_(part).sum(0)
                part = (part * taps).view(-1, g.C)  # gradient of the samples, (P*T, C)
                grad_weights[at] = bilinear.corner_products(tables[b], corners, part, indices).view(-1, g.T, 4)
                bilinear.scatter_cells_(cells, top_left.view(-1), weights, part, buffer)
            by_row, by_column = bilinear.coordinate_gradients(grad_weights.view(-1, 4), fy, fx)
            # a clamped coordinate has no gradient
            grad_offset[b, group, 0::2] = by_row.view(-1, g.T) * ((row > -1) & (row < g.H))
            grad_offset[b, group, 1::2] = by_column.view(-1, g.T) * ((column > -1) & (column < g.W))
        grad_x[b] = bilinear.sum_cells(cells, g.H + 2, g.W + 2)[1:-1, 1:-1]
    grad_offset = grad_offset.view(g.B, g.h, g.w, 2 * g.T).permute(0, 3, 1, 2)
    return grad_x.permute(0, 3, 1, 2), grad_offset, grad_taps.t().reshape(weight.shape)


# ---- the kernel's self-test ------------------------------------------------------------------------------------------


def _self_test_cases() -> list[Case]:
    """Odd sizes, both memory formats, one row; offsets on pixels, between them, outside the map and infinite."""
    offset = wave(2, 18, 5, 7, step=1.3, scale=3.0)
    offset[0, :, 0] = offset[0, :, 0].round()
    offset[1, 2, 1, 1], offset[1, 5, 2, 2], offset[1, 8, 3, 3] = float("inf"), float("-inf"), 1e4
    x, weight = wave(2, 6, 5, 7), wave(6, 1, 3, 3, step=1.1)
    narrow = wave(1, 18, 1, 3, step=0.9, scale=2.0)
    return [
        Case((x, offset, weight), ((1, 1), (1, 1), (1, 1))),
        Case((x.to(memory_format=torch.channels_last), offset[:, :, :3, :4], weight), ((2, 2), (2, 2), (2, 2))),
        Case((wave(1, 6, 1, 6), narrow, weight), ((1, 2), (1, 1), (1, 1))),
    ]


register_operator(
    Operator(
        name="deform_conv2d_depthwise",
        inputs=("x", "offset", "weight"),
        kernel=_kernel,
        pytorch=lambda x, offset, weight, *pairs: _pytorch(x, offset, weight, _Geometry(x, offset, weight, *pairs)),
        cases=_self_test_cases,
    )
)
