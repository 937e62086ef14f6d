"""Operators of the added modules: sampling, windowed attention and depthwise deformable convolution.

Each operator is one function for any device, dtype and memory format; it selects the implementation. Beside it is a
reference that follows the formula. `bilinear` holds the bilinear sampling that they share, `kernels` the Triton
backend, `backends` the choice between that and PyTorch, and `self_test` the test that a kernel must pass first.
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
