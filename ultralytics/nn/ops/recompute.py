"""Operators that save only their inputs for the backward pass and compute the intermediate tensors again.

The neighbors, weights and samples of a bilinear read are many times larger than the map, and computing them again
costs less than keeping them in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ultralytics.nn.ops.autograd import Context
from ultralytics.nn.ops.tracing import needs_custom_backward, without_autocast


def recomputed(
    compute: Callable[..., Tensor],
    gradients: Callable[..., Sequence[Tensor]],
    *tensors: Tensor,
    settings: tuple[object, ...] = (),
) -> Tensor:
    """`compute(*tensors, *settings)`, differentiated by `gradients`; only `tensors` are saved for the backward pass.

    Args:
        compute: the operator. It is called directly where no gradient is required or a graph is traced.
        gradients: (*tensors, gradient of the result, *settings) -> the gradient of each tensor, in their order. It runs
            outside autocast and cannot be differentiated itself.
        tensors: inputs that may require a gradient.
        settings: further arguments of both functions.
    """
    if not needs_custom_backward(*tensors):
        return compute(*tensors, *settings)
    return _Recomputed.apply(compute, gradients, settings, *tensors)


class _Context(Context):
    gradients: Callable[..., Sequence[Tensor]]
    settings: tuple[object, ...]


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: _Context,
        compute: Callable[..., Tensor],
        gradients: Callable[..., Sequence[Tensor]],
        settings: tuple[object, ...],
        *tensors: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(*tensors)
        ctx.gradients, ctx.settings = gradients, settings
        return compute(*tensors, *settings)

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        with without_autocast(grad):
            grads = ctx.gradients(*tensors, grad, *ctx.settings)
        return None, None, None, *grads
