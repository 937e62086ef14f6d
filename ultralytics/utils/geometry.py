"""Conversions of oriented boxes, outlines of masks and letterboxed points, for results and drawing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor

ArrayOrTensor = TypeVar("ArrayOrTensor", np.ndarray, Tensor)


def xywhr2xyxyxyxy(boxes: ArrayOrTensor) -> ArrayOrTensor:
    """Corners of oriented boxes.

    Args:
        boxes: (..., 5) center x, center y, width, height and angle in radians, clockwise in image coordinates.

    Returns:
        (..., 4, 2) the corners c + v1 + v2, c + v1 - v2, c - v1 - v2, c - v1 + v2, where v1 is half of the width along
        the angle and v2 half of the height across it; the type and dtype of `boxes`.
    """
    center, width, height, angle = boxes[..., :2], boxes[..., 2:3], boxes[..., 3:4], boxes[..., 4:5]
    if isinstance(boxes, Tensor):
        cos, sin = torch.cos(angle), torch.sin(angle)
        v1 = torch.cat((width / 2 * cos, width / 2 * sin), -1)
        v2 = torch.cat((-height / 2 * sin, height / 2 * cos), -1)
        return torch.stack((center + v1 + v2, center + v1 - v2, center - v1 - v2, center - v1 + v2), -2)
    cos, sin = np.cos(angle), np.sin(angle)
    v1 = np.concatenate((width / 2 * cos, width / 2 * sin), -1)
    v2 = np.concatenate((-height / 2 * sin, height / 2 * cos), -1)
    return np.stack((center + v1 + v2, center + v1 - v2, center - v1 - v2, center - v1 + v2), -2)


def letterbox_window(inner: Sequence[int], outer: Sequence[int]) -> tuple[float, float, float]:
    """Where the original image lies in its letterboxed form.

    Args:
        inner: (height, width) of the original image.
        outer: (height, width) of the letterboxed image.

    Returns:
        (gain, left, top): pixels of the letterboxed image per original pixel, and the border widths, not rounded.
    """
    gain = min(outer[0] / inner[0], outer[1] / inner[1])
    return gain, (outer[1] - inner[1] * gain) / 2, (outer[0] - inner[0] * gain) / 2


def scale_points(points: np.ndarray, from_shape: Sequence[int], to_shape: Sequence[int]) -> np.ndarray:
    """Points of a letterboxed image in pixels of the original image, clipped to it.

    Args:
        points: (..., 2) x, y in pixels of the letterboxed image.
        from_shape: (height, width) of the letterboxed image.
        to_shape: (height, width) of the original image.

    Returns:
        (..., 2) float32.
    """
    gain, left, top = letterbox_window(to_shape, from_shape)
    scaled = (np.asarray(points, np.float32) - np.array([left, top], np.float32)) / np.float32(gain)
    return scaled.clip(0, np.array([to_shape[1], to_shape[0]], np.float32))


def mask_outline(mask: np.ndarray) -> np.ndarray:
    """Outer contour of a mask; of several parts the one with the most points, as 8.3.0 chooses it.

    Args:
        mask: (H, W) uint8 or bool, nonzero inside.

    Returns:
        (m, 2) float32 pixels x, y of the mask; (0, 2) if the mask is empty.
    """
    contours, _ = cv2.findContours(mask.astype(np.uint8, copy=False), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return np.zeros((0, 2), np.float32)
    return max(contours, key=len).reshape(-1, 2).astype(np.float32)
