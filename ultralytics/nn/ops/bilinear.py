"""Bilinear sampling of a channels-last map and its gradient: what sampling.py, deform.py and deform3d.py share.

A map is viewed as a table (R, C) with one row of C channels per pixel, which is the layout of channels-last memory. A
sample at a point reads the four pixels around it: row `cell` of the table (top left), and the rows `step_x`, `step_y`
and `step_x + step_y` after it, weighted with (1-fy)(1-fx), fx(1-fy), fy(1-fx) and fy*fx. Each read is a contiguous run
of C values; in channels-first memory it would be C scattered ones. `embedding_bag` computes this weighted sum of rows
in one vectorized operator.

Dimension letters: R rows of a table, S samples, C channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ultralytics.nn.ops.tracing import chunks


def corner_indices(cell: Tensor, step_y: int, step_x: int) -> Tensor:
    """(S,) top left rows -> (S, 4) table rows of the corners: top left, top right, bottom left, bottom right."""
    return torch.stack((cell, cell + step_x, cell + step_y, cell + (step_y + step_x)), 1)


def corner_weights(fy: Tensor, fx: Tensor) -> Tensor:
    """(S,) fractions in [0, 1] -> (S, 4) weights of the corners; they sum to 1."""
    bottom_right = fy * fx
    top_right, bottom_left = fx - bottom_right, fy - bottom_right
    return torch.stack((1 - fy - top_right, top_right, bottom_left, bottom_right), 1)


def weighted_rows(table: Tensor, corners: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of each sample's table rows: table (R, C), corners and weights (S, k) -> (S, C)."""
    return F.embedding_bag(corners, table, per_sample_weights=weights, mode="sum")


def sample_indices(num_samples: int, device: torch.device, num_corners: int = 4) -> Tensor:
    """(num_corners * S,) int32: index of the sample that each corner belongs to, as `corner_products` needs it."""
    return torch.arange(num_samples, dtype=torch.int32, device=device).repeat_interleave(num_corners)


def corner_products(table: Tensor, corners: Tensor, grad: Tensor, indices: Tensor) -> Tensor:
    """Gradient of the corner weights: dot product of each sample's gradient with its table rows.

    Args:
        table: (R, C).
        corners: (S, k) int32 rows of the table.
        grad: (S, C) gradient of the samples.
        indices: at least (k * S,), from `sample_indices` with the same k; one tensor serves chunks of all lengths.

    Returns:
        (S, k) in the dtype of `grad`.
    """
    # the operator behind embedding_bag's own backward pass, which does not copy the rows first; mode 0 is "sum"
    backward = torch.ops.aten._embedding_bag_per_sample_weights_backward
    num_corners = corners.shape[1]
    indices = indices[: corners.numel()]
    return backward(grad, table, corners.view(-1), indices[::num_corners], indices, 0).view(-1, num_corners)


def coordinate_gradients(products: Tensor, fy: Tensor, fx: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients (S,) of each sample's row and column coordinate from its four `corner_products` (S, 4)."""
    top_left, top_right, bottom_left, bottom_right = products.unbind(1)
    left, right = bottom_left - top_left, bottom_right - top_right
    top, bottom = top_right - top_left, bottom_right - bottom_left
    return torch.lerp(left, right, fx), torch.lerp(top, bottom, fy)


def scatter_cells_(cells: Tensor, cell: Tensor, weights: Tensor, grad: Tensor, buffer: Tensor) -> None:
    """Add each sample's gradient times its four weights to `cells`, in place.

    One write of 4 C values per sample instead of four writes of C; `sum_cells` adds the four parts to their pixels
    afterwards, once per map.

    Args:
        cells: (R, 4 C), row r holds the four weighted gradients of the samples whose top left pixel is r.
        cell: (S,) top left rows.
        weights: (S, 4).
        grad: (S, C).
        buffer: (any length, 4, C), overwritten: holds the products of that many samples at a time. It is passed in
            because allocating it for each chunk costs more than computing the products.
    """
    for part in chunks(len(grad), len(buffer)):
        grad_part = grad[part].unsqueeze(1)
        products = torch.mul(weights[part].unsqueeze(2), grad_part, out=buffer[: len(grad_part)])
        # int64, because index_add_ is slower with other index dtypes
        cells.index_add_(0, cell[part].long(), products.view(-1, cells.shape[1]))


def sum_cells(cells: Tensor, height: int, width: int) -> Tensor:
    """Sums (height * width, 4 C) of `scatter_cells_` -> gradient (height, width, C) of the map."""
    parts = cells.view(height, width, 4, -1).unbind(2)
    grad = parts[0].clone()
    for corner in (1, 2, 3):
        _add_corner_(grad, parts[corner], corner)
    return grad


def scatter(cell: Tensor, weights: Tensor, grad: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """`scatter_cells_` and `sum_cells` for a whole batch at once, up to twice as fast.

    Samples are sorted by cell and summed while they are read, so their four products are never written to memory.

    Args:
        cell: (S,) rows of the table of the whole batch.
        weights: (S, 4).
        grad: (S, C).
        shape: B, H, W of the map.

    Returns:
        (B, H, W, C) gradient of the map.
    """
    B, H, W = shape
    order = torch.sort(cell)[1]
    first = cell.new_zeros(B * H * W + 1)  # index in `order` of each cell's first sample
    first = first.index_add_(0, cell + 1, torch.ones_like(cell)).cumsum(0)
    weights = weights.index_select(0, order).t().contiguous()

    def corner_sum(corner: int) -> Tensor:
        sums = F.embedding_bag(
            order, grad, first, mode="sum", per_sample_weights=weights[corner], include_last_offset=True
        )
        return sums.view(B, H, W, grad.shape[1])

    out = corner_sum(0)
    for corner in (1, 2, 3):
        _add_corner_(out, corner_sum(corner), corner)
    return out


def _add_corner_(grad: Tensor, part: Tensor, corner: int) -> None:
    """Add `part`, the share of this corner of each cell, to `grad` (..., H, W, C), shifted to the corner's pixels."""
    down, right = divmod(corner, 2)
    H, W = grad.shape[-3:-1]
    grad[..., down:, right:, :] += part[..., : H - down, : W - right, :]
