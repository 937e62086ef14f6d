"""What the added modules cost: sampling, windowed attention and depthwise deformable convolution.

Each operator is one function that takes any device, dtype and memory format and chooses the path; beside it stands a
reference that reads like the formula, and `rows` holds the bilinear reads that two of them share. `kernels` are the
Triton back end of the three, and `backends` decides whether it runs.
"""

from ultralytics.nn.ops.attention import window_attention, window_attention_reference
from ultralytics.nn.ops.backends import use_backend
from ultralytics.nn.ops.deform import deform_conv2d_depthwise, deform_conv2d_reference
from ultralytics.nn.ops.deform3d import deform_conv3d_depthwise, deform_conv3d_reference
from ultralytics.nn.ops.onnx_sampling import onnx_sampling
from ultralytics.nn.ops.sampling import sample_conv, sample_points, sample_points_reference

__all__ = [
    "deform_conv2d_depthwise",
    "deform_conv2d_reference",
    "deform_conv3d_depthwise",
    "deform_conv3d_reference",
    "onnx_sampling",
    "sample_conv",
    "sample_points",
    "sample_points_reference",
    "use_backend",
    "window_attention",
    "window_attention_reference",
]
