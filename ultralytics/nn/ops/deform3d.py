"""Depthwise deformable convolution of volumes, for the 3-D blocks of D-LKA: deform.py with a third coordinate.

`deform_conv3d_depthwise` is the operator and selects an implementation; `deform_conv3d_reference` follows the formula
in eight gathers, for tests and for devices and exports that lack the operators of the fast path. The fast path reads
the eight voxels around each sample from channels-last rows, a few output voxels at a time, and computes the samples
again in the backward pass: its memory is bounded whatever the number of taps.

Dimension letters: B batch, C channels, D H W depth, rows and columns of the volume, d h w of the output, T taps
(kd * kh * kw), P output voxels processed at once, S samples.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from ultralytics.nn.ops import bilinear, tracing
from ultralytics.nn.ops.recompute import recomputed

Triple = tuple[int, int, int]
CORNERS = tuple(itertools.product((0, 1), repeat=3))  # steps in depth, row, column from the first of the eight voxels


def deform_conv3d_depthwise(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    *,
    stride: int | Triple = 1,
    padding: int | Triple = 0,
    dilation: int | Triple = 1,
) -> Tensor:
    """Deformable convolution of volumes, one filter per channel, the same offsets for all channels; zeros outside.

    Args:
        x: (B, C, D, H, W), any float dtype; float16 and bfloat16 are computed in float32.
        offset: (B, 3T, d, h, w) in voxels, (depth, row, column) interleaved per tap, taps in row-major order of the
            kernel. Any value is safe: infinite offsets read zeros, a NaN gives NaN or a finite value at its own voxel.
        weight: (C, 1, kd, kh, kw).
        stride, padding, dilation: depth, rows and columns, or one value for all.

    Returns:
        (B, C, d, h, w) in x's dtype.

    Raises:
        ValueError: the shapes do not match.
    """
    geometry = _Geometry(x, offset, weight, _triple(stride), _triple(padding), _triple(dilation))
    dtype = torch.promote_types(x.dtype, torch.float32)
    offset = offset.to(torch.promote_types(dtype, offset.dtype))
    with tracing.without_autocast(x):
        args = (x.to(dtype), offset, weight.to(dtype))
        if not tracing.has_fast_path(x):
            return _reference(*args, geometry).to(x.dtype)
        return recomputed(_forward, _backward, *args, settings=(geometry,)).to(x.dtype)


def deform_conv3d_reference(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    *,
    stride: int | Triple = 1,
    padding: int | Triple = 0,
    dilation: int | Triple = 1,
) -> Tensor:
    """As `deform_conv3d_depthwise`, in eight gathers that follow the formula, in the dtypes of the inputs."""
    return _reference(x, offset, weight, _Geometry(x, offset, weight, *map(_triple, (stride, padding, dilation))))


class _Geometry:
    """Checked sizes of one call, and the position of every tap before its offset."""

    def __init__(
        self, x: Tensor, offset: Tensor, weight: Tensor, stride: Triple, padding: Triple, dilation: Triple
    ) -> None:
        if x.dim() != 5 or weight.dim() != 5 or weight.shape[:2] != (x.shape[1], 1):
            raise ValueError(
                f"deform_conv3d_depthwise needs volumes (B, C, D, H, W) and filters (C, 1, kd, kh, kw), "
                f"not {tuple(x.shape)} and {tuple(weight.shape)}"
            )
        self.B, self.C = x.shape[:2]
        self.volume, self.kernel = tuple(x.shape[2:]), tuple(weight.shape[2:])
        self.T = self.kernel[0] * self.kernel[1] * self.kernel[2]
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.out = tuple(
            (n + 2 * p - r * (k - 1) - 1) // s + 1
            for n, k, s, p, r in zip(self.volume, self.kernel, stride, padding, dilation, strict=True)
        )
        expected = (self.B, 3 * self.T, *self.out)
        if tuple(offset.shape) != expected:
            raise ValueError(
                f"deform_conv3d_depthwise of {tuple(x.shape)} with filters {tuple(weight.shape)} needs offsets "
                f"{expected}, not {tuple(offset.shape)}"
            )

    @property
    def num_voxels(self) -> int:
        return self.out[0] * self.out[1] * self.out[2]

    @property
    def values_per_voxel(self) -> int:
        """Values per output voxel in the backward pass: samples, their gradient, corner indices and weights."""
        return self.T * (2 * self.C + 2 * len(CORNERS))

    @property
    def padded_volume(self) -> Triple:
        """Size of the volume padded with one voxel of zeros on each side."""
        D, H, W = self.volume
        return D + 2, H + 2, W + 2

    @property
    def num_padded(self) -> int:
        """Number of voxels of the padded volume."""
        D, H, W = self.padded_volume
        return D * H * W

    def starts(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates of the output voxels in the volume (d*h*w, 3), and displacements of the taps (T, 3)."""
        return (
            _grid(self.out, self.stride, [-p for p in self.padding], like),
            _grid(self.kernel, self.dilation, (0, 0, 0), like),
        )


def _grid(sizes: tuple[int, ...], steps: Triple, first: tuple[int, ...] | list[int], like: Tensor) -> Tensor:
    """(number of points, 3) coordinates first + step * index of a grid, last coordinate fastest."""
    axes = []
    for axis in range(3):
        line = torch.arange(sizes[axis], dtype=like.dtype, device=like.device) * steps[axis] + first[axis]
        axes.append(line.view([-1 if i == axis else 1 for i in range(3)]).expand(*sizes).reshape(-1))
    return torch.stack(axes, 1)


def _triple(value: int | Triple) -> Triple:
    return (value, value, value) if isinstance(value, int) else value


# ---- reference -------------------------------------------------------------------------------------------------------


def _clamped(at: Tensor, low: int, high: int) -> Tensor:
    """Points clamped to [low, high], where samples are 0, so that differences stay finite; no gradient where clamped.

    Not Tensor.clamp, whose gradient at the bounds differs between versions of torch.
    """
    return torch.where((at > low) & (at < high), at, at.detach().clamp(low, high))


def _reference(x: Tensor, offset: Tensor, weight: Tensor, g: _Geometry) -> Tensor:
    voxel, tap = g.starts(offset)
    start = (voxel.t().unsqueeze(1) + tap.t().unsqueeze(2)).view(3, g.T, *g.out)
    point = [_clamped(offset[:, i::3] + start[i], -1, g.volume[i]) for i in range(3)]  # each (B, T, d, h, w)
    low = [p.detach().floor() for p in point]
    flat, total = x.flatten(2), None
    for corner in CORNERS:
        at = [low[i] + corner[i] for i in range(3)]
        fraction, inside, index = None, None, None
        for i in range(3):
            near = point[i] - low[i] if corner[i] else 1 - (point[i] - low[i])
            fraction = near if fraction is None else fraction * near
            within = (at[i] >= 0) & (at[i] < g.volume[i])
            inside = within if inside is None else inside & within
            # NaN converts to an undefined integer: the second clamp keeps the read inside the volume
            line = at[i].long().clamp(0, g.volume[i] - 1)
            index = line if index is None else index * g.volume[i] + line
        assert fraction is not None and inside is not None and index is not None, "there are three coordinates"
        values = flat.gather(2, index.flatten(1).unsqueeze(1).expand(-1, g.C, -1)).view(g.B, g.C, g.T, g.num_voxels)
        term = (fraction.to(x.dtype) * inside).view(g.B, 1, g.T, g.num_voxels) * values
        total = term if total is None else total + term
    assert total is not None, "there are eight corners"
    return (total * weight.view(1, g.C, g.T, 1)).sum(2).view(g.B, g.C, *g.out)


# ---- fast path -------------------------------------------------------------------------------------------------------


def _padded(x: Tensor) -> Tensor:
    """(B, C, D, H, W) -> (B, (D+2) * (H+2) * (W+2), C) padded with zeros, so that no read needs a mask."""
    return F.pad(x.permute(0, 2, 3, 4, 1), (0, 0, 1, 1, 1, 1, 1, 1)).flatten(1, 3)


def _cells(points: Tensor, g: _Geometry) -> tuple[Tensor, Tensor]:
    """Points (S, 3) -> rows of the padded volume (S, 8), int32, in the order of CORNERS, and fractions (S, 3)."""
    _, rows_a_slice, columns_a_row = g.padded_volume
    steps = (rows_a_slice * columns_a_row, columns_a_row, 1)
    cell, fractions = None, []
    for i in range(3):
        point = points[:, i].clamp(-1, g.volume[i])
        low = point.floor().clamp(max=g.volume[i] - 1)
        # NaN converts to an undefined integer: the second clamp keeps the read inside the volume
        line = (low.to(torch.int32) + 1).clamp(0, g.volume[i]) * steps[i]
        cell = line if cell is None else cell + line
        fractions.append(point - low)
    assert cell is not None, "there are three coordinates"
    corners = [cell + sum(c * s for c, s in zip(corner, steps, strict=True)) for corner in CORNERS]
    return torch.stack(corners, 1), torch.stack(fractions, 1)


def _axis_weights(fraction: Tensor) -> list[Tensor]:
    """(S, 3) fractions -> for each coordinate the weights of the lower and upper voxel, shaped for broadcasting."""
    weights = torch.stack((1 - fraction, fraction), 2)  # (S, 3, 2)
    return [weights[:, 0, :, None, None], weights[:, 1, None, :, None], weights[:, 2, None, None, :]]


def _forward(x: Tensor, offset: Tensor, weight: Tensor, g: _Geometry) -> Tensor:
    x, offset = (
        tracing.contiguous_if_compiling(x),
        tracing.contiguous_if_compiling(offset),
    )  # while compiling, conv3d's output may have other strides
    table, taps = _padded(x).flatten(0, 1), weight.flatten(1).t().contiguous()  # (T, C)
    voxel, tap = g.starts(offset)
    voxel, total = voxel.repeat(g.B, 1), g.B * g.num_voxels
    offsets = offset.flatten(2).transpose(1, 2).reshape(total, 3 * g.T).contiguous()
    images = torch.arange(g.B, dtype=torch.int32, device=x.device) * g.num_padded  # first row of each image
    images = images.view(-1, 1).expand(-1, g.num_voxels).reshape(-1, 1)
    step = tracing.chunk_length(g.values_per_voxel, total)
    out = []
    for at in tracing.chunks(total, step):
        points = offsets[at].view(-1, g.T, 3) + (voxel[at].unsqueeze(1) + tap)
        corners, fraction = _cells(points.reshape(-1, 3), g)
        corners = corners + images[at].expand(-1, g.T).reshape(-1, 1)
        z_weight, y_weight, x_weight = _axis_weights(fraction.to(x.dtype))
        samples = bilinear.weighted_rows(table, corners, (z_weight * y_weight * x_weight).reshape(-1, 8))
        out.append((samples.view(-1, g.T, g.C) * taps).sum(1))
    return torch.cat(out).view(g.B, g.num_voxels, g.C).transpose(1, 2).reshape(g.B, g.C, *g.out)


def _backward(x: Tensor, offset: Tensor, weight: Tensor, grad: Tensor, g: _Geometry) -> tuple[Tensor, Tensor, Tensor]:
    x, offset, grad = (
        tracing.contiguous_if_compiling(x),
        tracing.contiguous_if_compiling(offset),
        tracing.contiguous_if_compiling(grad),
    )
    tables, taps = _padded(x), weight.flatten(1).t().contiguous()
    voxel, tap = g.starts(offset)
    offsets, grads = offset.flatten(2).transpose(1, 2), grad.flatten(2).transpose(1, 2)
    grad_tables, grad_taps = torch.zeros_like(tables), torch.zeros_like(taps)
    grad_offset = torch.empty(g.B, g.num_voxels, 3 * g.T, dtype=offset.dtype, device=offset.device)
    step = tracing.chunk_length(g.values_per_voxel, g.num_voxels)
    indices = bilinear.sample_indices(step * g.T, x.device, len(CORNERS))
    for b in range(g.B):
        for at in tracing.chunks(g.num_voxels, step):
            points = (offsets[b, at].reshape(-1, g.T, 3) + (voxel[at].unsqueeze(1) + tap)).reshape(-1, 3)
            corners, fraction = _cells(points, g)
            z_weight, y_weight, x_weight = _axis_weights(fraction.to(x.dtype))
            weights = (z_weight * y_weight * x_weight).reshape(-1, 8)
            part = grads[b, at].unsqueeze(1)  # (P, 1, C)
            grad_taps += bilinear.weighted_rows(tables[b], corners, weights).view(-1, g.T, g.C).mul_(part).sum(0)
            part = (part * taps).reshape(-1, g.C).contiguous()  # gradient of the samples
            products = bilinear.corner_products(tables[b], corners, part, indices).view(-1, 2, 2, 2)
            grads_of_points = (
                (products.diff(dim=1) * y_weight * x_weight).sum((1, 2, 3)),
                (products.diff(dim=2) * z_weight * x_weight).sum((1, 2, 3)),
                (products.diff(dim=3) * z_weight * y_weight).sum((1, 2, 3)),
            )
            inside = [(points[:, i] > -1) & (points[:, i] < g.volume[i]) for i in range(3)]  # no gradient if clamped
            grad_offset[b, at] = (
                (torch.stack(grads_of_points, 1) * torch.stack(inside, 1)).view(-1, 3 * g.T).to(offset.dtype)
            )
            for i in range(8):
                grad_tables[b].index_add_(0, corners[:, i].long(), part * weights[:, i : i + 1])
    inner = grad_tables.view(g.B, *g.padded_volume, g.C)[:, 1:-1, 1:-1, 1:-1]
    grad_offset = grad_offset.transpose(1, 2).reshape(offset.shape)
    return inner.permute(0, 4, 1, 2, 3), grad_offset, grad_taps.t().reshape(weight.shape)
