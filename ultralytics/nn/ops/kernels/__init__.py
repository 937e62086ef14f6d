"""Triton kernels for the added modules' operators; importing this registers them as torch.ops.addmodules.*.

Only `ultralytics.nn.ops.backends` imports it, when a kernel is needed. One file per operator; `launch` holds what they
share. Every operator has a fake implementation for torch.compile and its own backward pass.
"""

from ultralytics.nn.ops.kernels import (
    attention_backward,  # noqa: F401  registers the forward pass too
    deform_backward,  # noqa: F401  registers the forward pass too
    sample_conv,  # noqa: F401  registers sample_points too
)
