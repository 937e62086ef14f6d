"""Overlap of boxes: IoU of all pairs, IoU and its variants GIoU, DIoU and CIoU of paired boxes, covered area.

Papers: H. Rezatofighi et al., Generalized Intersection over Union, 2019, arXiv:1902.09630 (GIoU); Z. Zheng et al.,
Distance-IoU Loss, 2020, arXiv:1911.08287 (DIoU, CIoU).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def box_iou(box1: Tensor, box2: Tensor, eps: float = 1e-7) -> Tensor:
    """IoU of every box in `box1` with every box in `box2`.

    Args:
        box1: (n, 4) corners; half precision is converted to float32.
        box2: (m, 4), as `box1`.
        eps: avoids division by zero.

    Returns:
        (n, m) in 0..1.
    """
    a, b = _at_least_float32(box1)[:, None], _at_least_float32(box2)[None]
    inter = _area(torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:]))
    size_a, size_b = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
    union = size_a[..., 0] * size_a[..., 1] + size_b[..., 0] * size_b[..., 1] - inter
    return inter / (union + eps)


def bbox_iou(
    box1: Tensor,
    box2: Tensor,
    xywh: bool = True,
    GIoU: bool = False,
    DIoU: bool = False,
    CIoU: bool = False,
    eps: float = 1e-7,
) -> Tensor:
    """IoU, or one of its variants, of boxes paired by broadcasting; differentiable.

    The trade-off factor of CIoU gets no gradient.

    Args:
        box1: (..., 4); half precision is converted to float32.
        box2: (..., 4), broadcastable to `box1`.
        xywh: boxes are center and size; False: corners.
        GIoU: subtract the fraction of the enclosing box that neither box covers.
        DIoU: subtract the squared distance of the centers relative to the squared diagonal of the enclosing box.
        CIoU: DIoU with a penalty for different aspect ratios.
        eps: avoids division by zero; for corners it is also added to the heights.

    Returns:
        (..., 1); IoU in 0..1, the variants may be negative.
    """
    low1, high1, w1, h1 = _corners_and_size(_at_least_float32(box1), xywh, eps)
    low2, high2, w2, h2 = _corners_and_size(_at_least_float32(box2), xywh, eps)
    inter = _area(torch.maximum(low1, low2), torch.minimum(high1, high2))[..., None]
    union = w1 * h1 + w2 * h2 - inter + eps
    iou = inter / union
    if not (GIoU or DIoU or CIoU):
        return iou
    hull_w, hull_h = (torch.maximum(high1, high2) - torch.minimum(low1, low2)).split(1, -1)
    if GIoU:
        hull = hull_w * hull_h + eps
        return iou - (hull - union) / hull
    distance = (low2 + high2 - low1 - high1).square().sum(-1, keepdim=True) / 4  # squared
    penalty = distance / (hull_w.square() + hull_h.square() + eps)
    if CIoU:
        aspect = (4 / math.pi**2) * ((w2 / h2).atan() - (w1 / h1).atan()).square()
        with torch.no_grad():
            factor = aspect / (aspect - iou + (1 + eps))
        penalty = penalty + aspect * factor
    return iou - penalty


def bbox_ioa(box1: np.ndarray, box2: np.ndarray, iou: bool = False, eps: float = 1e-7) -> np.ndarray:
    """Fraction of the area of each box in `box2` that each box in `box1` covers.

    Args:
        box1: (n, 4) corners.
        box2: (m, 4) corners.
        iou: divide by the area of the union instead.
        eps: avoids division by zero.

    Returns:
        (n, m) in 0..1.
    """
    a, b = box1[:, None], box2[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    inter = sides.clip(0).prod(-1)
    area = (b[..., 2:] - b[..., :2]).prod(-1)
    if iou:
        area = area + (a[..., 2:] - a[..., :2]).prod(-1) - inter
    return inter / (area + eps)


def _at_least_float32(boxes: Tensor) -> Tensor:
    return boxes.float() if boxes.dtype in (torch.float16, torch.bfloat16) else boxes


def _area(low: Tensor, high: Tensor) -> Tensor:
    """(...) areas of boxes with corners (..., 2) and (..., 2); 0 where a side is negative."""
    width, height = (high - low).clamp(min=0).unbind(-1)
    return width * height


def _corners_and_size(boxes: Tensor, xywh: bool, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Top left corner (..., 2), bottom right corner (..., 2), width (..., 1), height (..., 1)."""
    first, second = boxes.split(2, -1)
    if xywh:
        width, height = second.split(1, -1)
        return first - second / 2, first + second / 2, width, height
    width, height = (second - first).split(1, -1)
    return first, second, width, height + eps
