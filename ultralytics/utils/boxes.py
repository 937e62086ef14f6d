"""Box formats, scaling boxes and points between image sizes, clipping.

Every function accepts a NumPy array or a torch tensor, returns the same type and dtype, and does not change its input.
Formats: xyxy = corners x1, y1, x2, y2; xywh = center x, center y, width, height; ltwh = left, top, width, height; a
final n means divided by the width and height of the image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch

Boxes = TypeVar("Boxes", np.ndarray, torch.Tensor)
RatioPad = tuple[Sequence[float], Sequence[float]]  # (gain of height, of width), (left, top) of a letterbox
_PAD_ROUNDING = 0.1  # letterbox rounds its left and top border as round(x - 0.1); the inverse must do the same


def xyxy2xywh(x: Boxes) -> Boxes:
    """Corners to center and size."""
    return _by_pairs(x, lambda low, high: ((low + high) / 2, high - low))


def xywh2xyxy(x: Boxes) -> Boxes:
    """Center and size to corners."""
    return _by_pairs(x, lambda center, size: (center - size / 2, center + size / 2))


def xywh2ltwh(x: Boxes) -> Boxes:
    """Center and size to left top corner and size."""
    return _by_pairs(x, lambda center, size: (center - size / 2, size))


def xyxy2ltwh(x: Boxes) -> Boxes:
    """Corners to left top corner and size."""
    return _by_pairs(x, lambda low, high: (low, high - low))


def ltwh2xywh(x: Boxes) -> Boxes:
    """Left top corner and size to center and size."""
    return _by_pairs(x, lambda low, size: (low + size / 2, size))


def ltwh2xyxy(x: Boxes) -> Boxes:
    """Left top corner and size to corners."""
    return _by_pairs(x, lambda low, size: (low, low + size))


def xywhn2xyxy(x: Boxes, w: float = 640, h: float = 640, padw: float = 0, padh: float = 0) -> Boxes:
    """Center and size in 0..1 of a w x h image to corners in pixels, shifted by (padw, padh)."""
    scale, shift = _pair(x, w, h), _pair(x, padw, padh)
    return _by_pairs(x, lambda c, size: (scale * (c - size / 2) + shift, scale * (c + size / 2) + shift))


def xyxy2xywhn(x: Boxes, w: float = 640, h: float = 640, clip: bool = False, eps: float = 0.0) -> Boxes:
    """Corners in pixels to center and size in 0..1; with `clip` the boxes are clipped to w - eps, h - eps before."""
    if clip:
        x = clip_boxes(x, (h - eps, w - eps))
    scale = _pair(x, w, h)
    return _by_pairs(x, lambda low, high: ((low + high) / 2 / scale, (high - low) / scale))


def clip_boxes(boxes: Boxes, shape: Sequence[float]) -> Boxes:
    """Corner boxes clipped to an image of `shape` (height, width, ...); unlike 8.3.0 the input is not changed."""
    height, width = shape[:2]
    if isinstance(boxes, torch.Tensor):
        limits = boxes.new_tensor((width, height, width, height))
        return torch.cat((boxes[..., :4].clamp(min=0).minimum(limits), boxes[..., 4:]), -1)
    clipped = boxes.copy()
    clipped[..., 0:4:2] = boxes[..., 0:4:2].clip(0, width)
    clipped[..., 1:4:2] = boxes[..., 1:4:2].clip(0, height)
    return clipped


def scale_boxes(
    img1_shape: Sequence[int],
    boxes: Boxes,
    img0_shape: Sequence[int],
    ratio_pad: RatioPad | None = None,
    padding: bool = True,
    xywh: bool = False,
) -> Boxes:
    """Boxes of a letterboxed image scaled to the original image; corners are clipped to it.

    Args:
        img1_shape: (height, width) of the letterboxed image, to which `boxes` refer.
        boxes: (..., 4) pixels, corners, or center and size with `xywh`; not changed.
        img0_shape: (height, width) of the original image, to which the result refers.
        ratio_pad: ((gain, ...), (left, top)) of the letterbox; None computes them from the two shapes.
        padding: whether the letterbox added a border; False only divides by the gain.
        xywh: center and size, such as those of oriented boxes, which are not clipped: 8.3.0 clips a width to that of
            the image, but the side of an oriented box may be longer.
    """
    gain, left, top = _letterbox_geometry(img1_shape, img0_shape, ratio_pad)
    shift = _pair(boxes, left, top) if padding else 0
    moved = _by_pairs(boxes, lambda a, b: ((a - shift) / gain, (b if xywh else b - shift) / gain))
    return moved if xywh else clip_boxes(moved, img0_shape)


def scale_coords(
    img1_shape: Sequence[int],
    coords: Boxes,
    img0_shape: Sequence[int],
    ratio_pad: RatioPad | None = None,
    normalize: bool = False,
    padding: bool = True,
) -> Boxes:
    """Points of a letterboxed image scaled to the original image and clipped to it.

    8.3.0 does not round the border here, which shifts points by half a pixel where the border is odd.

    Args:
        img1_shape: (height, width) of the letterboxed image, to which `coords` refer.
        coords: (..., 2 or more) x, y in pixels; further values stay as they are; not changed.
        img0_shape: (height, width) of the original image, to which the result refers.
        ratio_pad: ((gain, ...), (left, top)) of the letterbox; None computes them from the two shapes.
        normalize: return x, y as fractions of the original image.
        padding: whether the letterbox added a border; False only divides by the gain.
    """
    gain, left, top = _letterbox_geometry(img1_shape, img0_shape, ratio_pad)
    sides = _pair(coords, img0_shape[1], img0_shape[0])
    xy = (coords[..., :2] - (_pair(coords, left, top) if padding else 0)) / gain
    if isinstance(coords, torch.Tensor):
        xy = xy.clamp(min=0).minimum(sides)
        return torch.cat((xy / sides if normalize else xy, coords[..., 2:]), -1).to(coords.dtype)
    xy = xy.clip(0, sides)
    return np.concatenate((xy / sides if normalize else xy, coords[..., 2:]), -1).astype(coords.dtype, copy=False)


def _letterbox_geometry(
    outer: Sequence[int], inner: Sequence[int], ratio_pad: RatioPad | None
) -> tuple[float, float, float]:
    """Gain, left and top border of an image `inner` (height, width) in its letterboxed form `outer`."""
    if ratio_pad is not None:
        return ratio_pad[0][0], ratio_pad[1][0], ratio_pad[1][1]
    gain = min(outer[0] / inner[0], outer[1] / inner[1])
    left, top = ((outer[i] - inner[i] * gain) / 2 for i in (1, 0))
    return gain, round(left - _PAD_ROUNDING), round(top - _PAD_ROUNDING)


def _by_pairs(x: Boxes, rule: Callable[[Any, Any], tuple[Any, Any]]) -> Boxes:
    """`rule` applied to the first and the last two columns of `x`, concatenated in the dtype of `x`."""
    if x.shape[-1] != 4:
        raise ValueError(f"expected boxes with 4 values in the last dimension, got shape {tuple(x.shape)}")
    if isinstance(x, torch.Tensor):
        return torch.cat(rule(x[..., :2], x[..., 2:]), -1).to(x.dtype)
    return np.concatenate(rule(x[..., :2], x[..., 2:]), -1).astype(x.dtype, copy=False)


def _pair(like: Boxes, first: float, second: float) -> Any:
    """Two numbers to scale or shift an x, y pair of `like`, in its dtype, or in float32 for integers."""
    if isinstance(like, torch.Tensor):
        dtype = like.dtype if like.is_floating_point() else torch.float32
        return torch.tensor([first, second], dtype=dtype, device=like.device)
    return np.array([first, second], like.dtype if np.issubdtype(like.dtype, np.floating) else np.float32)
