"""Rotated boxes: one convention, conversions, overlap by Gaussians (ProbIoU) and by polygons, and suppression.

Convention, from label to output: a rotated box is xywhr, center x, center y, width, height in pixels and the angle r in
radians from the x axis to the width side. The y axis points down, so a positive angle turns clockwise on the screen.
Corners are listed c + v1 + v2, c + v1 - v2, c - v1 - v2, c - v1 + v2 with v1 = w/2 (cos r, sin r) and
v2 = h/2 (-sin r, cos r). (w, h, r), (h, w, r + pi/2) and (w, h, r + pi) are the same rectangle; `regularize_rboxes`
picks the form with w >= h and 0 <= r < pi that predictions have. Networks predict angles in [-pi/4, 3 pi/4).

Paper: J. M. Llerena et al., Gaussian Bounding Boxes and Probabilistic Intersection-over-Union for Object Detection,
2021, arXiv:2106.06072 (ProbIoU). A square has a round Gaussian: ProbIoU does not depend on its angle.

Dimensions: n and m boxes.
"""

from __future__ import annotations

import math
from typing import TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor

Array = TypeVar("Array", np.ndarray, Tensor)
_MAX_DISTANCE = 100.0  # of Bhattacharyya; beyond it exp(-d) is 0 in float32
_ROWS, _COLUMNS = 256, 8192  # boxes whose overlaps are computed at a time, so that memory does not grow with the square


def xywhr2xyxyxyxy(x: Array) -> Array:
    """Corners of rotated boxes.

    Args:
        x: (..., 5) xywhr.

    Returns:
        (..., 4, 2) corners x, y in the order of the convention above, in the type and dtype of `x`.
    """
    if isinstance(x, Tensor):
        cos, sin = x[..., 4:5].cos(), x[..., 4:5].sin()
        v1, v2 = (
            torch.cat((x[..., 2:3] / 2 * cos, x[..., 2:3] / 2 * sin), -1),
            torch.cat((-x[..., 3:4] / 2 * sin, x[..., 3:4] / 2 * cos), -1),
        )
        center = x[..., :2]
        return torch.stack((center + v1 + v2, center + v1 - v2, center - v1 - v2, center - v1 + v2), -2)
    cos, sin = np.cos(x[..., 4:5]), np.sin(x[..., 4:5])
    v1 = np.concatenate((x[..., 2:3] / 2 * cos, x[..., 2:3] / 2 * sin), -1)
    v2 = np.concatenate((-x[..., 3:4] / 2 * sin, x[..., 3:4] / 2 * cos), -1)
    center = x[..., :2]
    return np.stack((center + v1 + v2, center + v1 - v2, center - v1 - v2, center - v1 + v2), -2)


def xyxyxyxy2xywhr(x: Array) -> Array:
    """Rotated boxes of the smallest area around four corners each, as OpenCV's minAreaRect finds them.

    Args:
        x: (n, 8) or (n, 4, 2) corners in pixels, in any order.

    Returns:
        (n, 5) xywhr; r in (0, pi/2] with OpenCV from 4.5.1 on. Float32, in the type of `x`.
    """
    points = x.detach().cpu().numpy() if isinstance(x, Tensor) else x
    boxes = np.zeros((len(points), 5), np.float32)
    for i, corners in enumerate(np.asarray(points, np.float32).reshape(len(points), 4, 2)):
        (cx, cy), (w, h), degrees = cv2.minAreaRect(corners)
        boxes[i] = cx, cy, w, h, degrees / 180 * math.pi
    return torch.from_numpy(boxes).to(x.device) if isinstance(x, Tensor) else boxes


def regularize_rboxes(rboxes: Tensor) -> Tensor:
    """The same rectangles (n, 5) with w >= h and the angle in [0, pi)."""
    x, y, w, h, r = rboxes.unbind(-1)
    turned = r + torch.where(w > h, 0.0, math.pi / 2)  # a square counts as higher than wide, as in 8.3.0
    return torch.stack((x, y, torch.maximum(w, h), torch.minimum(w, h), turned % math.pi), -1)


def probiou(obb1: Tensor, obb2: Tensor, CIoU: bool = False, eps: float = 1e-7) -> Tensor:
    """ProbIoU of boxes paired by row; differentiable.

    Args:
        obb1: (..., 5) xywhr, in pixels or cells; half precision is read as float32.
        obb2: as `obb1`, broadcastable to it.
        CIoU: subtract CIoU's term for the difference of the aspect ratios (arXiv:1911.08287).
        eps: keeps divisions, roots and logarithms finite; identical boxes give 1 - sqrt(eps) at most.

    Returns:
        (..., 1) in 0..1 (less with `CIoU`).
    """
    obb1, obb2 = _wide(obb1), _wide(obb2)
    iou = _probiou(_gaussian(obb1), _gaussian(obb2), eps)[..., None]
    if not CIoU:
        return iou
    w1, h1 = obb1[..., 2:4].split(1, -1)
    w2, h2 = obb2[..., 2:4].split(1, -1)
    v = (4 / math.pi**2) * ((w2 / h2).atan() - (w1 / h1).atan()).square()
    with torch.no_grad():
        alpha = v / (v - iou + (1 + eps))
    return iou - v * alpha


def batch_probiou(obb1: Tensor | np.ndarray, obb2: Tensor | np.ndarray, eps: float = 1e-7) -> Tensor:
    """(n, m) ProbIoU of every box (n, 5) with every box (m, 5); see `probiou`."""
    a, b = (_wide(torch.as_tensor(x)) for x in (obb1, obb2))
    return _probiou(_gaussian(a[:, None]), _gaussian(b[None]), eps)


def rotated_iou(obb1: Tensor | np.ndarray, obb2: Tensor | np.ndarray) -> Tensor:
    """Exact intersection over union of the rectangles, by clipping polygons; not differentiable, on the CPU.

    Args:
        obb1: (n, 5) xywhr in pixels.
        obb2: (m, 5), as `obb1`.

    Returns:
        (n, m) float32 in 0..1; 0 where a rectangle has no area.
    """
    a, b = (np.asarray(torch.as_tensor(x).detach().cpu(), np.float64) for x in (obb1, obb2))
    corners_a, corners_b = xywhr2xyxyxyxy(a), xywhr2xyxyxyxy(b)
    iou = np.zeros((len(a), len(b)), np.float32)
    low_a, high_a = corners_a.min(1, initial=np.inf), corners_a.max(1, initial=-np.inf)
    low_b, high_b = corners_b.min(1, initial=np.inf), corners_b.max(1, initial=-np.inf)
    near = ((low_a[:, None] < high_b) & (low_b < high_a[:, None])).all(-1)
    for i, j in np.argwhere(near):
        shared = _convex_intersection(corners_a[i], corners_b[j])
        union = abs(a[i, 2] * a[i, 3]) + abs(b[j, 2] * b[j, 3]) - shared
        iou[i, j] = shared / union if union > 0 else 0.0
    return torch.from_numpy(iou)


def nms_rotated(boxes: Tensor, scores: Tensor, threshold: float = 0.45) -> Tensor:
    """Indices of the boxes that no box of a higher score covers, highest score first.

    As in 8.3.0 a box is dropped when its ProbIoU with any box of a higher score reaches the threshold, also when that
    one is dropped itself. There is no time limit, and memory grows linearly with the number of boxes. Boxes are
    compared by ProbIoU and not by `rotated_iou`, so that the results equal those of 8.3.0.

    Args:
        boxes: (n, 5) xywhr in pixels.
        scores: (n,).
        threshold: 0..1.
    """
    order = scores.argsort(descending=True, stable=True)
    ordered = boxes[order]
    kept = torch.ones(len(order), dtype=torch.bool, device=boxes.device)
    position = torch.arange(len(order), device=boxes.device)
    for start in range(0, len(order), _ROWS):
        stop = start + _ROWS
        # a box that is dropped already need not be compared again, but still drops others
        for rest in position[start:][kept[start:]].split(_COLUMNS):
            overlap = batch_probiou(ordered[start:stop], ordered[rest])
            earlier = position[start:stop, None] < rest
            kept[rest] = ~((overlap >= threshold) & earlier).any(0)
    return order[kept]


def _gaussian(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Center x, y and covariance a, b (diagonal), c of the uniform distribution on each rectangle (..., 5)."""
    x, y, w, h, r = boxes.unbind(-1)
    along, across = w.square() / 12, h.square() / 12
    cos, sin = r.cos(), r.sin()
    a = along * cos.square() + across * sin.square()
    b = along * sin.square() + across * cos.square()
    return x, y, a, b, (along - across) * cos * sin


def _probiou(first: tuple[Tensor, ...], second: tuple[Tensor, ...], eps: float) -> Tensor:
    x1, y1, a1, b1, c1 = first
    x2, y2, a2, b2, c2 = second
    a, b, c = a1 + a2, b1 + b2, c1 + c2
    determinant = a * b - c.square()
    t1 = (a * (y1 - y2).square() + b * (x1 - x2).square()) / (determinant + eps) / 4
    t2 = c * (x2 - x1) * (y1 - y2) / (determinant + eps) / 2
    product = (a1 * b1 - c1.square()).clamp(min=0) * (a2 * b2 - c2.square()).clamp(min=0)
    t3 = (determinant / (4 * product.sqrt() + eps) + eps).log() / 2
    distance = (t1 + t2 + t3).clamp(eps, _MAX_DISTANCE)
    return 1 - (1 - (-distance).exp() + eps).sqrt()


def _convex_intersection(a: np.ndarray, b: np.ndarray) -> float:
    """Area shared by two convex polygons (k, 2) in float64: `a` is cut by the edges of `b` (Sutherland and Hodgman)."""
    if _signed_area(b) < 0:
        b = b[::-1]
    for start, end in zip(b, np.roll(b, -1, 0), strict=True):
        if not len(a):
            return 0.0
        edge = end - start
        side = edge[0] * (a[:, 1] - start[1]) - edge[1] * (a[:, 0] - start[0])  # >= 0: on the inner side
        after, side_after = np.roll(a, -1, 0), np.roll(side, -1)
        kept = []
        for p, q, s, t in zip(a, after, side, side_after, strict=True):
            if s >= 0:
                kept.append(p)
            if (s >= 0) != (t >= 0):
                kept.append(p + (q - p) * (s / (s - t)))
        a = np.array(kept).reshape(-1, 2)
    return abs(_signed_area(a)) if len(a) > 2 else 0.0


def _signed_area(polygon: np.ndarray) -> float:
    x, y = (polygon - polygon[:1]).T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def _wide(boxes: Tensor) -> Tensor:
    return boxes.float() if boxes.dtype in (torch.float16, torch.bfloat16) else boxes
