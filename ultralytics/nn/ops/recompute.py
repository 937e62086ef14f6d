"""Operators whose backward pass starts again from the inputs: what lies between is cheaper to find than to keep.

A bilinear read has neighbours, weights and samples many times the size of the map; an operator of this kind saves its
inputs alone and finds the rest again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from ultralytics.nn.ops import rows


def recomputed(
    compute: Callable[..., Tensor],
    gradients: Callable[..., Sequence[Tensor]],
    *tensors: Tensor,
    settings: tuple[Any, ...] = (),
) -> Tensor:
    """`compute(*tensors, *settings)`, with `gradients` for its backward pass, which keeps nothing but `tensors`.

    Args:
        compute: the operator; called as it is where no gradient is wanted or a graph is traced.
        gradients: (*tensors, gradient of the result, *settings) -> the gradient of each tensor, in their order. It runs
            outside autocast, and is not differentiated itself.
        tensors: inputs that may want a gradient.
        settings: what else both functions need.
    """
    if not rows.wants_function(*tensors):
        return compute(*tensors, *settings)
    return _Recomputed.apply(compute, gradients, settings, *tensors)


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        compute: Callable[..., Tensor],
        gradients: Callable[..., Sequence[Tensor]],
        settings: tuple[Any, ...],
        *tensors: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(*tensors)
        ctx.gradients, ctx.settings = gradients, settings  # type: ignore[attr-defined]
        return compute(*tensors, *settings)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors  # type: ignore[attr-defined]
        with rows.without_autocast(grad):
            found = ctx.gradients(*tensors, grad, *ctx.settings)  # type: ignore[attr-defined]
        return None, None, None, *found
