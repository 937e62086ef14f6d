"""How an operator is being called: eagerly, traced, compiled or exported, with or without gradients and autocast.

A traced or compiled graph runs again on other sizes, so an operator must not bind loops or chunk lengths to the sizes
of the call that was recorded.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

CHUNK_VALUES = 1 << 21  # values in the largest temporary tensor of a chunk: 8 MB of float32, about one core's cache


def is_tracing() -> bool:
    """Whether this call is recorded into a graph by jit.trace, torch.compile or an export."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()


def chunk_length(values_per_item: int, total: int) -> int:
    """How many of `total` items to process at once so that CHUNK_VALUES is not exceeded; all of them while tracing."""
    if is_tracing():
        return total
    return max(1, min(total, CHUNK_VALUES // max(values_per_item, 1)))


def chunks(total: int, length: int) -> list[slice]:
    """Slices of `length` items, at least one; while tracing a single slice of all items."""
    if is_tracing():
        return [slice(None)]
    return [slice(first, first + length) for first in range(0, max(total, 1), length)]


def contiguous_if_compiling(x: Tensor) -> Tensor:
    """`x`, copied to contiguous memory while compiling, where its strides may differ from those of the graph."""
    if torch.compiler.is_compiling():
        return x.clone(memory_format=torch.contiguous_format)
    return x


def has_fast_path(x: Tensor) -> bool:
    """Whether embedding_bag with weights and an exact index_add_ exist for `x`: on CPU and CUDA, not in ONNX."""
    return x.device.type in ("cpu", "cuda") and not torch.onnx.is_in_onnx_export()


def without_autocast(x: Tensor) -> AbstractContextManager[None]:
    """Context with autocast disabled for the device of `x`; does nothing for devices without autocast, as "meta"."""
    device = x.device.type
    known = device in ("cpu", "cuda") or torch.amp.is_autocast_available(device)
    return torch.autocast(device_type=device, enabled=False) if known else nullcontext()


def needs_custom_backward(*tensors: Tensor) -> bool:
    """Whether an autograd.Function is needed: a gradient is required, and no jit.trace, whose graph has no Python."""
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors) and not torch.jit.is_tracing()


def product_precision() -> str:
    """Precision of float32 matrix products on a GPU as torch is set: "tf32" or "ieee"; Triton uses the same names."""
    settings = torch.backends.cuda.matmul
    # from torch 2.9 on reading allow_tf32 raises an error once fp32_precision has been set
    precision = getattr(settings, "fp32_precision", None)
    allowed = settings.allow_tf32 if precision is None else precision == "tf32"
    return "tf32" if allowed else "ieee"
