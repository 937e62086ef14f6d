"""Which standard operators an ONNX file gets for the bilinear reads of AKConv and D-LKA.

"gather" is the default: index arithmetic and GatherElements, which every runtime computes alike. "grid_sample" is one
GridSample a module, shorter and often faster, but young (opset 16): some runtimes lack it, and some differ at the
border. Check the file in the runtime that it is for.

    with onnx_form("grid_sample"):
        torch.onnx.export(model, …)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Tensor

FORMS = ("gather", "grid_sample")
_form: ContextVar[str] = ContextVar("onnx_form", default=FORMS[0])


@contextmanager
def onnx_form(form: str) -> Iterator[None]:
    """Let exports within this block use `form`, one of FORMS; nothing else is changed by it.

    Raises:
        ValueError: there is no such form.
    """
    if form not in FORMS:
        raise ValueError(f"bilinear reads are exported as one of {', '.join(FORMS)}, not '{form}'")
    token = _form.set(form)
    try:
        yield
    finally:
        _form.reset(token)


def wants_grid_sample() -> bool:
    """Whether what runs now is an export that shall use GridSample."""
    return torch.onnx.is_in_onnx_export() and _form.get() == "grid_sample"


def grid_samples(x: Tensor, row: Tensor, column: Tensor, padding: str) -> Tensor:
    """x (B, C, H, W) at pixel coordinates (B, N, h, w) -> (B, C, N, h, w); `padding` as in F.grid_sample."""
    H, W = x.shape[2:]
    N, h, w = row.shape[1:]
    # pixel centres at (2i + 1) / size - 1: unlike the other convention, this one has no division by 0 at size 1
    grid = torch.stack(((2 * column + 1) / W - 1, (2 * row + 1) / H - 1), -1)  # (B, N, h, w, 2)
    samples = F.grid_sample(x, grid.flatten(2, 3), "bilinear", padding, align_corners=False)  # (B, C, N, h*w)
    return samples.view(x.shape[0], x.shape[1], N, h, w)
