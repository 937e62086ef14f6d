"""The type of the context that PyTorch passes to an operator's backward pass."""

from __future__ import annotations

from torch import Tensor
from torch.autograd.function import FunctionCtx


class Context(FunctionCtx):
    """FunctionCtx with the attributes that torch adds at run time; a subclass declares those of one operator."""

    saved_tensors: tuple[Tensor, ...]
    needs_input_grad: tuple[bool, ...]
