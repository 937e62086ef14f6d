"""Bilinear reads from a map stored as rows of channels, and their gradient: what sampling.py and deform.py share.

A map is a table (R, C): one row a pixel, channels side by side, which is what channels-last memory holds. A sample
reads the four rows round its point: the cell's top left row `cell` and the rows `step_x`, `step_y` and both further on,
weighted with (1-fy)(1-fx), (1-fy)fx, fy(1-fx), fy fx. Rows are contiguous, so a sample is four short runs of memory,
where channels-first memory costs 4 C scattered words. `embedding_bag` is just this weighted sum of rows, vectorised.

Dimension letters: R rows of a table, S samples, C channels.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK_VALUES = 1 << 21  # numbers in the largest temporary array of a chunk: 8 MB of float32, what a core has of caches


def chunk_length(values_per_item: int, total: int) -> int:
    """How many of `total` items to handle at once when each holds this many values; all of them in a graph."""
    if makes_graph():
        return total
    return max(1, min(total, CHUNK_VALUES // max(values_per_item, 1)))


def chunks(total: int, length: int) -> list[slice]:
    """Slices of `length` items, one at least; one of all items in a graph, which a loop would bind to one size."""
    if makes_graph():
        return [slice(None)]
    return [slice(first, first + length) for first in range(0, max(total, 1), length)]


def makes_graph() -> bool:
    """Whether what runs now is recorded, by jit.trace, torch.compile or an export, to run again on other sizes."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()


def corner_rows(cell: Tensor, step_y: int, step_x: int) -> Tensor:
    """(S,) top left rows -> (S, 4) rows of the corners: top left, top right, bottom left, bottom right."""
    return torch.stack((cell, cell + step_x, cell + step_y, cell + (step_y + step_x)), 1)


def corner_weights(fy: Tensor, fx: Tensor) -> Tensor:
    """(S,) fractions in [0, 1] -> (S, 4) weights of the corners; they sum to 1."""
    bottom_right = fy * fx
    top_right, bottom_left = fx - bottom_right, fy - bottom_right
    return torch.stack((1 - fy - top_right, top_right, bottom_left, bottom_right), 1)


def read(table: Tensor, corners: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of four rows for every sample: table (R, C), corners and weights (S, 4) -> (S, C)."""
    return F.embedding_bag(corners, table, per_sample_weights=weights, mode="sum")


def bags(num_samples: int, device: torch.device) -> Tensor:
    """(4 S,) number of the sample that each corner belongs to, which `products` wants; the same for all chunks."""
    return torch.arange(num_samples, dtype=torch.int32, device=device).repeat_interleave(4)


def products(table: Tensor, corners: Tensor, grad: Tensor, bags: Tensor) -> Tensor:
    """Dot product of each sample's gradient (S, C) with its four rows of the table: the weights' gradient, (S, 4)."""
    # the operator behind embedding_bag's own backward, which does not copy the rows first; mode 0 is "sum"
    backward = torch.ops.aten._embedding_bag_per_sample_weights_backward
    bags = bags[: corners.numel()]
    return backward(grad, table, corners.view(-1), bags[::4], bags, 0).view(-1, 4)


def slopes(products: Tensor, fy: Tensor, fx: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients (S,) of the sample's row and column coordinate from `products`."""
    top_left, top_right, bottom_left, bottom_right = products.unbind(1)
    left, right = bottom_left - top_left, bottom_right - top_right
    top, bottom = top_right - top_left, bottom_right - bottom_left
    return torch.lerp(left, right, fx), torch.lerp(top, bottom, fy)


def spread_(cells: Tensor, cell: Tensor, weights: Tensor, grad: Tensor, scratch: Tensor) -> None:
    """Add to `cells` (R, 4 C), in place, each sample's gradient (S, C) times its four weights at the row of its cell.

    One write of 4 C values a sample instead of four of C; `gather_cells` sums the four parts where they belong, once.
    `scratch` (any number, 4, C) holds the products of as many samples at a time: memory that is asked for anew costs
    more than the products themselves.
    """
    for at in chunks(len(grad), len(scratch)):
        part = grad[at].unsqueeze(1)
        parts = torch.mul(weights[at].unsqueeze(2), part, out=scratch[: len(part)])
        cells.index_add_(0, cell[at].long(), parts.view(-1, cells.shape[1]))  # long: other index types are slower


def gather_cells(cells: Tensor, height: int, width: int) -> Tensor:
    """(height * width, 4 C) sums of `spread_` -> (height, width, C) gradient of the map."""
    parts = cells.view(height, width, 4, -1).unbind(2)
    grad = parts[0].clone()
    for corner in (1, 2, 3):
        _add_corner_(grad, parts[corner], corner)
    return grad


def spread(cell: Tensor, weights: Tensor, grad: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """As `spread_` and `gather_cells` for whole maps of `shape` B, H, W, (B, H, W, C); for all samples at once.

    Sorted by cell they are summed where they are read, which saves writing four products a sample: up to twice as fast.
    """
    B, H, W = shape
    order = torch.sort(cell)[1]
    first = cell.new_zeros(B * H * W + 1)  # of each cell's samples in that order
    first = first.index_add_(0, cell + 1, torch.ones_like(cell)).cumsum(0)
    weights = weights.index_select(0, order).t().contiguous()

    def summed(corner: int) -> Tensor:
        bags = F.embedding_bag(
            order, grad, first, mode="sum", per_sample_weights=weights[corner], include_last_offset=True
        )
        return bags.view(B, H, W, grad.shape[1])

    out = summed(0)
    for corner in (1, 2, 3):
        _add_corner_(out, summed(corner), corner)
    return out


def _add_corner_(grad: Tensor, part: Tensor, corner: int) -> None:
    """Add to `grad` (..., H, W, C), in place, what the cells' samples give to this corner, where it lies."""
    down, right = divmod(corner, 2)
    H, W = grad.shape[-3:-1]
    grad[..., down:, right:, :] += part[..., : H - down, : W - right, :]


def settled(grad: Tensor) -> Tensor:
    """A gradient that comes in, with a memory layout that can be relied on."""
    if torch.compiler.is_compiling():  # strides of a gradient are not always those the graph was made for
        return grad.clone(memory_format=torch.contiguous_format)
    return grad


def supported(x: Tensor) -> bool:
    """Whether the fast paths run here: embedding_bag with weights and an exact index_add_ exist on CPU and CUDA."""
    return x.device.type in ("cpu", "cuda") and not torch.onnx.is_in_onnx_export()


def without_autocast(x: Tensor) -> AbstractContextManager[None]:
    """Autocast switched off where `x` lies; some devices know none, such as "meta", where shapes have no memory."""
    device = x.device.type
    known = device in ("cpu", "cuda") or torch.amp.is_autocast_available(device)
    return torch.autocast(device_type=device, enabled=False) if known else nullcontext()


def wants_function(*tensors: Tensor) -> bool:
    """Whether a custom backward is needed; a traced graph holds plain operators, since it is saved without Python."""
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors) and not torch.jit.is_tracing()
