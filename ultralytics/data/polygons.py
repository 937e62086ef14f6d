"""Polygon geometry: clipping to an image, splitting joined parts, filling masks, and the rectangle around corners.

Points are (m, 2) x, y; H, W are rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi

import cv2
import numpy as np

from ultralytics.data.instances import Segments, offsets_of

RESAMPLED_POINTS = 1000  # of each polygon when a mask is filled, as in 8.3.0
_AXIS_ALIGNED = 1e-6  # radians; a smaller angle is rounding noise and counts as 0


def clip_segments(segments: Segments, shape: tuple[int, int]) -> Segments:
    """Cut outlines at the border of an image (h, w), exactly (Sutherland and Hodgman, all polygons at once).

    Parts that lie outside are dropped; the others keep their order. Returns `segments` itself if nothing is outside.
    """
    points = segments.points.astype(np.float64)
    lengths = np.diff(segments.point_offsets)
    changed = False
    for axis, limit, sign in ((0, 0, 1), (0, shape[1], -1), (1, 0, 1), (1, shape[0], -1)):
        distance = sign * (points[:, axis] - limit)  # negative outside
        if (distance < 0).any():
            points, lengths = _clip_half_plane(points, lengths, distance)
            changed = True
    if not changed:
        return segments
    full = lengths > 0
    part_owner = np.arange(len(segments)).repeat(np.diff(segments.part_offsets))[full]
    part_counts = np.bincount(part_owner, minlength=len(segments))
    return Segments(points.astype(np.float32), offsets_of(lengths[full]), offsets_of(part_counts))


def split_bridges(polygon: np.ndarray) -> list[np.ndarray]:
    """Split a polygon whose parts were joined by lines that are passed twice, as converters of COCO's labels write it.

    Returns:
        The parts; just `polygon` if there is no such line. A line passed twice that leads to nothing (fewer than three
        different points) stays part of its polygon.
    """
    keys = [tuple(p) for p in polygon.tolist()]
    if len(set(keys)) >= len(keys) - 1:  # at most the first point repeated at the end: the usual case
        return [polygon]
    starts: dict[tuple[tuple[float, ...], tuple[float, ...]], int] = {}
    for j, (key, following) in enumerate(zip(keys, [*keys[1:], keys[0]], strict=True)):
        if key == following:
            continue
        i = starts.get((following, key))
        if i is not None:
            inner, outer = polygon[i + 1 : j + 1], np.concatenate([polygon[: i + 1], polygon[j + 2 :]])
            if len(set(keys[i + 1 : j + 1])) >= 3 and len(set(keys[: i + 1] + keys[j + 2 :])) >= 3:
                return [*split_bridges(outer), *split_bridges(inner)]
        starts.setdefault((key, following), j)
    return [polygon]


def resample_polygon(polygon: np.ndarray, n: int = RESAMPLED_POINTS) -> np.ndarray:
    """n points (n, 2) at equal steps of the vertex number along the closed polygon (m, 2)."""
    closed = np.concatenate([polygon, polygon[:1]])
    steps = np.linspace(0, len(closed) - 1, n)
    numbers = np.arange(len(closed))
    return np.stack([np.interp(steps, numbers, closed[:, 0]), np.interp(steps, numbers, closed[:, 1])], 1)


def fill_polygons(parts: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """uint8 (H, W) with 1 inside the polygons and on their border; a polygon inside another is a hole."""
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [resample_polygon(part).astype(np.int32) for part in parts], 1)
    return mask


def instance_masks(segments: Segments, shape: tuple[int, int], ratio: int) -> np.ndarray:
    """One mask for each instance.

    Args:
        segments: outlines in pixels of the image.
        shape: (H, W) of the image.
        ratio: masks are this much smaller.

    Returns:
        (n, H // ratio, W // ratio) uint8 of 0 and 1.
    """
    h, w = shape[0] // ratio, shape[1] // ratio
    masks = np.zeros((len(segments), h, w), np.uint8)
    for i, mask in enumerate(masks):
        parts = segments.parts(i)
        if not parts:
            continue
        if shape[0] % ratio or shape[1] % ratio:  # a mask pixel is no whole number of image pixels
            mask[:] = cv2.resize(fill_polygons(parts, shape), (w, h), interpolation=cv2.INTER_LINEAR)
        else:
            _fill_region(mask, parts, ratio)
    return masks


def overlap_mask(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All masks of an image in one map, small instances above large ones.

    Args:
        masks: (n, h, w) of 0 and 1.

    Returns:
        (1, h, w) map, uint8 (int32 for more than 255 instances), with 1 + the position of an instance in the order
        that comes with it: (n,) indices, largest first.
    """
    order = np.argsort(-masks.sum((1, 2), dtype=np.int64), kind="stable")
    joined = np.zeros((1, *masks.shape[1:]), np.int32 if len(masks) > 255 else np.uint8)
    for number, index in enumerate(order.tolist(), 1):
        joined[0][masks[index] > 0] = number
    return joined, order


def corners_to_xywhr(corners: np.ndarray) -> np.ndarray:
    """The smallest rectangle around each set of corners, in any order.

    Args:
        corners: (n, m, 2) x, y in pixels; m is 4 but for boxes cut at the border of an image.

    Returns:
        (n, 5) float64: center x, y, side w along the angle, side h across it, and the angle from the x axis towards the
        y axis, in radians, above 0 and at most pi / 2 (as `cv2.minAreaRect` of OpenCV 4.5 to 4.x).
    """
    points = corners.astype(np.float64)
    first, second = np.triu_indices(corners.shape[1], 1)  # a side of the smallest rectangle lies on two of the points
    along = points[:, second] - points[:, first]  # (n, pairs, 2)
    length = np.linalg.norm(along, axis=2, keepdims=True)
    along = np.where(length > 0, along / np.maximum(length, 1e-12), [1.0, 0.0])
    across = np.stack([-along[..., 1], along[..., 0]], 2)
    u, v = along @ points.transpose(0, 2, 1), across @ points.transpose(0, 2, 1)  # (n, pairs, m)
    size = np.stack([np.ptp(u, 2), np.ptp(v, 2)], 2)
    rows, best = np.arange(len(points)), size.prod(2).argmin(1)
    along, across, size = along[rows, best], across[rows, best], size[rows, best]
    middle = np.stack([u[rows, best].max(1) + u[rows, best].min(1), v[rows, best].max(1) + v[rows, best].min(1)], 1) / 2
    center = middle[:, :1] * along + middle[:, 1:] * across
    angle = np.arctan2(along[:, 1], along[:, 0]) % pi
    angle = np.where(pi - angle < _AXIS_ALIGNED, 0.0, angle)
    quarter = (angle > pi / 2 + _AXIS_ALIGNED) | (angle < _AXIS_ALIGNED)
    size = np.where(quarter[:, None], size[:, ::-1], size)
    angle = np.where(angle < _AXIS_ALIGNED, pi / 2, np.where(quarter, angle - pi / 2, np.minimum(angle, pi / 2)))
    return np.concatenate([center, size, angle[:, None]], 1)


def xywhr_to_corners(boxes: np.ndarray) -> np.ndarray:
    """(n, 4, 2) corners of the oriented boxes (n, 5) center x, y, w, h, angle, in order around each box."""
    center, angle = boxes[:, :2], boxes[:, 4:5]
    along = np.concatenate([np.cos(angle), np.sin(angle)], 1) * boxes[:, 2:3] / 2
    across = np.concatenate([-np.sin(angle), np.cos(angle)], 1) * boxes[:, 3:4] / 2
    signs = ((1, 1), (1, -1), (-1, -1), (-1, 1))
    return np.stack([center + a * along + b * across for a, b in signs], 1)


def _clip_half_plane(points: np.ndarray, lengths: np.ndarray, distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The polygons' parts where `distance` (k,) is not negative: their points, and the number of points of each."""
    ends = np.cumsum(lengths)
    following = np.arange(1, len(points) + 1)
    full = lengths > 0
    following[ends[full] - 1] = (ends - lengths)[full]  # the last point is joined to the first
    inside = distance >= 0
    crossing = inside != inside[following]
    emitted = inside.astype(np.int64) + crossing  # of each edge: its start if inside, then where it crosses
    owner = np.arange(len(lengths)).repeat(lengths)
    position = np.cumsum(emitted) - emitted
    clipped = np.empty((int(emitted.sum()), 2))
    clipped[position[inside]] = points[inside]
    a, b = np.flatnonzero(crossing), following[crossing]
    share = (distance[a] / (distance[a] - distance[b]))[:, None]
    clipped[position[a] + inside[a]] = points[a] + share * (points[b] - points[a])
    return clipped, np.bincount(owner, weights=emitted, minlength=len(lengths)).astype(np.int64)


def _fill_region(mask: np.ndarray, parts: Sequence[np.ndarray], ratio: int) -> None:
    """As filling at full size and resizing, but only where the polygons are; ratio divides the image's sides."""
    outlines = [resample_polygon(part).astype(np.int32) for part in parts]
    low = np.min([outline.min(0) for outline in outlines], axis=0) // ratio
    high = np.max([outline.max(0) for outline in outlines], axis=0) // ratio + 1
    (x1, y1), (x2, y2) = np.maximum(low, 0).tolist(), np.minimum(high, mask.shape[::-1]).tolist()
    if x1 >= x2 or y1 >= y2:
        return
    region = np.zeros(((y2 - y1) * ratio, (x2 - x1) * ratio), np.uint8)
    cv2.fillPoly(region, outlines, 1, offset=(-x1 * ratio, -y1 * ratio))
    if ratio > 1:
        region = cv2.resize(region, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR)
    mask[y1:y2, x1:x2] = region
