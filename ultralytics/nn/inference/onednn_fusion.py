"""Convolutions of a network that only predicts, on a CPU: weights laid out once, activation within the convolution.

PyTorch's convolution rearranges its weights at every call into the blocks that oneDNN computes with, and SiLU reads and
writes the whole map once more. For one picture at a time both cost as much as a fifth of the run. oneDNN can keep the
rearranged weights and apply SiLU itself; PyTorch's compiler calls it that way, through the operators used here. They
are not part of PyTorch's documented interface: they are tried out first, and where they fail nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ultralytics.nn.modules.conv import Conv

_WITHIN = {nn.SiLU: "swish", nn.Identity: "none"}  # activations, and oneDNN's names for them


def fuse_onednn(network: nn.Module) -> int:
    """Speed up the fused `Conv` blocks of a float32 network on the CPU, in place; returns how many.

    The network is for prediction only afterwards: its weights must not be changed, moved, cast or copied any more.
    """
    if not _works():
        return 0
    blocks = [m for m in network.modules() if isinstance(m, Conv) and _fits(m)]
    for block in blocks:
        block.forward = _packed(block.conv, _WITHIN[type(block.act)])  # type: ignore[method-assign, assignment]
    return len(blocks)


def _fits(block: Conv) -> bool:
    conv = block.conv
    return (
        not hasattr(block, "bn")
        and type(block).forward_fuse is Conv.forward_fuse
        and type(conv) is nn.Conv2d
        and type(block.act) in _WITHIN
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        and conv.weight.dtype == torch.float32
        and conv.weight.device.type == "cpu"
    )


def _packed(conv: nn.Conv2d, activation: str) -> Callable[[Tensor], Tensor]:
    """A function that computes `conv` followed by `activation`."""
    ops = torch.ops.mkldnn
    shape = list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups
    weight, bias = ops._reorder_convolution_weight(conv.weight.detach(), *shape, []), conv.bias

    def forward(x: Tensor) -> Tensor:
        return ops._convolution_pointwise(x, weight, bias, *shape, activation, [], "")

    return forward


@lru_cache(maxsize=1)
def _works() -> bool:
    """True if this PyTorch has the operators and they compute what they should."""
    if not torch.backends.mkldnn.is_available():
        return False
    values = torch.Generator().manual_seed(0)
    try:
        with torch.inference_mode():
            for groups in (1, 16):
                conv = nn.Conv2d(16, 16, 3, 2, 1, groups=groups)
                conv.weight.copy_(torch.randn(conv.weight.shape, generator=values))
                x = torch.randn(1, 16, 9, 11, generator=values).to(memory_format=torch.channels_last)
                if not torch.allclose(_packed(conv, "swish")(x), F.silu(conv(x)), rtol=1e-3, atol=1e-4):
                    return False
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):  # missing, or with other arguments
        return False
    return True
