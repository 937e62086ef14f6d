"""What the added modules cost: sampling, windowed attention and depthwise deformable convolution.

Each operator is one function that takes any device, dtype and memory format and chooses the path; beside it stands a
reference that reads like the formula, and `rows` holds the bilinear reads that two of them share.
"""

from ultralytics.nn.ops.attention import window_attention, window_attention_reference
from ultralytics.nn.ops.deform import deform_conv2d_depthwise, deform_conv2d_reference
from ultralytics.nn.ops.deform3d import deform_conv3d_depthwise, deform_conv3d_reference
from ultralytics.nn.ops.onnx_form import onnx_form
from ultralytics.nn.ops.sampling import sample_points, sample_points_reference

__all__ = [
    "deform_conv2d_depthwise",
    "deform_conv2d_reference",
    "deform_conv3d_depthwise",
    "deform_conv3d_reference",
    "onnx_form",
    "sample_points",
    "sample_points_reference",
    "window_attention",
    "window_attention_reference",
]
