"""Triton kernels for the added modules' operators; importing this registers them as torch.ops.addmodules.*.

Only `ultralytics.nn.ops.backends` imports it, when a kernel is to run. One file an operator; `launch` holds what they
share. Every operator has a fake form for torch.compile and an exact backward pass of its own.
"""

from ultralytics.nn.ops.kernels import (
    attention_backward,  # noqa: F401  registers the forward pass too
    deform_backward,  # noqa: F401  likewise
    sample_conv,  # noqa: F401  and with it sample_points
)
