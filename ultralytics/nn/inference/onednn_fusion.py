"""Faster convolutions for inference on a CPU: weights in oneDNN's layout, activation fused into the convolution.

PyTorch's convolution reorders its weights at every call into the blocks that oneDNN computes with, and SiLU reads and
writes the whole map once more. For one image at a time both take up to a fifth of the run. oneDNN can keep the
reordered weights and apply SiLU itself; PyTorch's compiler calls it that way, through the operators used here. They
are not part of PyTorch's documented interface: they are tested first, and nothing is changed if they fail.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ultralytics.nn.modules.conv import Conv

_ACTIVATIONS = {nn.SiLU: "swish", nn.Identity: "none"}  # and oneDNN's names for them


def fuse_onednn(network: nn.Module) -> int:
    """Speed up the fused `Conv` blocks of a float32 network on the CPU, in place.

    The network is for inference only afterwards: its weights must not be changed, moved, cast or copied.

    Returns:
        Number of blocks that were changed; 0 where PyTorch lacks the operators.
    """
    if not is_available():
        return 0
    blocks = [m for m in network.modules() if isinstance(m, Conv) and _is_supported(m)]
    for block in blocks:
        vars(block)["forward"] = _reordered(block.conv, _ACTIVATIONS[type(block.act)])  # of this instance only
    return len(blocks)


def _is_supported(block: Conv) -> bool:
    conv = block.conv
    return (
        not hasattr(block, "bn")
        and type(block).forward_fuse is Conv.forward_fuse
        and type(conv) is nn.Conv2d
        and type(block.act) in _ACTIVATIONS
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        and conv.weight.dtype == torch.float32
        and conv.weight.device.type == "cpu"
    )


def _reordered(conv: nn.Conv2d, activation: str) -> Callable[[Tensor], Tensor]:
    """A function (B, C, H, W) -> (B, C', H', W') that computes `conv` followed by `activation`."""
    ops = torch.ops.mkldnn
    shape = list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups
    weight, bias = ops._reorder_convolution_weight(conv.weight.detach(), *shape, []), conv.bias

    def forward(x: Tensor) -> Tensor:
        return ops._convolution_pointwise(x, weight, bias, *shape, activation, [], "")

    return forward


@lru_cache(maxsize=1)
def is_available() -> bool:
    """Whether this PyTorch has the operators and they compute the right values."""
    if not torch.backends.mkldnn.is_available():
        return False
    values = torch.Generator().manual_seed(0)
    try:
        with torch.inference_mode():
            for groups in (1, 16):
                conv = nn.Conv2d(16, 16, 3, 2, 1, groups=groups)
                conv.weight.copy_(torch.randn(conv.weight.shape, generator=values))
                x = torch.randn(1, 16, 9, 11, generator=values).to(memory_format=torch.channels_last)
                if not torch.allclose(_reordered(conv, "swish")(x), F.silu(conv(x)), rtol=1e-3, atol=1e-4):
                    return False
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):  # missing, or with another signature
        return False
    return True
