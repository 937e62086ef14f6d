"""Polygons of instances: their bounding boxes, resampling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ultralytics.utils.boxes import xyxy2xywh


def segments2boxes(segments: Sequence[np.ndarray]) -> np.ndarray:
    """(k, 4) xywh boxes around `segments`, each (n, 2) points x, y."""
    corners = [np.concatenate([points.min(0), points.max(0)]) for points in segments]
    return xyxy2xywh(np.stack(corners)) if corners else np.zeros((0, 4), np.float32)


def segment2box(segment: np.ndarray, width: int = 640, height: int = 640) -> np.ndarray:
    """(4,) corners around the points of `segment` (n, 2) that are inside the image; zeros if none is."""
    x, y = segment.T
    points = segment[(x >= 0) & (y >= 0) & (x <= width) & (y <= height)]
    if not len(points):
        return np.zeros(4, dtype=segment.dtype)
    return np.concatenate([points.min(0), points.max(0)])


def resample_segments(segments: Sequence[np.ndarray], n: int = 1000) -> list[np.ndarray]:
    """Each closed polygon (k, 2) as (n, 2) float32 points, spaced evenly by vertex index."""
    resampled = []
    for points in segments:
        closed = np.concatenate([points, points[:1]])
        positions, vertices = np.linspace(0, len(closed) - 1, n), np.arange(len(closed))
        columns = [np.interp(positions, vertices, coordinates) for coordinates in closed.T]
        resampled.append(np.stack(columns, 1).astype(np.float32))
    return resampled
