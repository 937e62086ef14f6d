"""Which ONNX operators an export uses for the bilinear sampling of AKConv and D-LKA.

"gather" is the default: index arithmetic and GatherElements, which every runtime computes alike. "grid_sample" is one
GridSample per module, shorter and often faster, but it requires opset 16; some runtimes lack it, and some compute the
border differently. Check the exported file in the runtime that will run it.

    with onnx_sampling("grid_sample"):
        torch.onnx.export(model, …)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Method = Literal["gather", "grid_sample"]
METHODS: tuple[Method, ...] = ("gather", "grid_sample")
_method: ContextVar[Method] = ContextVar("onnx_sampling", default=METHODS[0])


@contextmanager
def onnx_sampling(method: Method) -> Iterator[None]:
    """Use `method`, one of METHODS, for exports within this block.

    Raises:
        ValueError: unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"bilinear sampling is exported as one of {', '.join(METHODS)}, not '{method}'")
    token = _method.set(method)
    try:
        yield
    finally:
        _method.reset(token)


def exports_grid_sample() -> bool:
    """Whether an ONNX export with "grid_sample" is running."""
    return torch.onnx.is_in_onnx_export() and _method.get() == "grid_sample"


def grid_sample(x: Tensor, row: Tensor, column: Tensor, padding: str) -> Tensor:
    """F.grid_sample at pixel coordinates.

    Args:
        x: (B, C, H, W).
        row, column: (B, N, h, w) in pixels.
        padding: `padding_mode` of F.grid_sample.

    Returns:
        (B, C, N, h, w).
    """
    H, W = x.shape[2:]
    N, h, w = row.shape[1:]
    # pixel centers at (2i + 1) / size - 1: with align_corners=True there would be a division by 0 at size 1
    grid = torch.stack(((2 * column + 1) / W - 1, (2 * row + 1) / H - 1), -1)  # (B, N, h, w, 2)
    samples = F.grid_sample(x, grid.flatten(2, 3), "bilinear", padding, align_corners=False)  # (B, C, N, h*w)
    return samples.view(x.shape[0], x.shape[1], N, h, w)
