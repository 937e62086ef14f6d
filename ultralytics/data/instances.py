"""The instances of one image: class, box and, per label schema, polygons, keypoints or oriented boxes, moved together.

Coordinates are pixels, x before y, in the frame of the image that the instances belong to. Every method returns a new
object; arrays are never changed in place, so that results may share them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ultralytics.data.array_file import join_offsets, take_ragged

Scale = tuple[float, float]  # x, y


@dataclass(frozen=True)
class Segments:
    """Outlines of n instances, each made of any number of closed polygons (parts), as ragged arrays.

    An instance without an outline has no part. Where parts of an instance overlap they cancel (even-odd rule), so that
    a part inside another is a hole.

    Attributes:
        points: (k, 2) float32 x, y; the last point of a part is joined to its first.
        point_offsets: (p + 1,) int64, where the points of each part start.
        part_offsets: (n + 1,) int64, where the parts of each instance start.
    """

    points: np.ndarray
    point_offsets: np.ndarray
    part_offsets: np.ndarray

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] != 2:
            raise ValueError(f"points has the shape {self.points.shape}, but must be (k, 2)")

    def __len__(self) -> int:
        return len(self.part_offsets) - 1

    @property
    def has_outline(self) -> np.ndarray:
        """(n,) bool: which instances have a polygon."""
        return self.part_offsets[1:] > self.part_offsets[:-1]

    @property
    def point_owner(self) -> np.ndarray:
        """(k,) index of the instance that each point belongs to."""
        return np.arange(len(self)).repeat(np.diff(self.point_offsets[self.part_offsets]))

    def parts(self, index: int) -> list[np.ndarray]:
        """The polygons (m, 2) of one instance."""
        first, last = self.part_offsets[index : index + 2].tolist()
        offsets = self.point_offsets[first : last + 1].tolist()
        return [self.points[a:b] for a, b in pairwise(offsets)]

    def keep(self, index: np.ndarray) -> Segments:
        """The outlines of the instances `index` (m,), in that order."""
        if not len(self.points):
            return Segments.empty(len(index))
        part_offsets, parts = take_ragged(self.part_offsets, index)
        point_offsets, points = take_ragged(self.point_offsets, parts)
        return Segments(self.points[points], point_offsets, part_offsets)

    def with_points(self, points: np.ndarray) -> Segments:
        """The same outlines with other coordinates (k, 2)."""
        return Segments(points, self.point_offsets, self.part_offsets)

    @staticmethod
    def empty(n: int) -> Segments:
        """n instances without an outline."""
        return Segments(np.zeros((0, 2), np.float32), np.zeros(1, np.int64), np.zeros(n + 1, np.int64))

    @staticmethod
    def from_polygons(polygons: Sequence[Sequence[np.ndarray]]) -> Segments:
        """Outlines from lists: for each instance its polygons (m, 2)."""
        parts = [part for instance in polygons for part in instance]
        points = np.concatenate([np.zeros((0, 2), np.float32), *parts]).astype(np.float32)
        return Segments(points, offsets_of([len(p) for p in parts]), offsets_of([len(p) for p in polygons]))

    @staticmethod
    def join(segments: Sequence[Segments]) -> Segments:
        """The outlines of several groups of instances, one after another."""
        return Segments(
            np.concatenate([s.points for s in segments]),
            join_offsets([s.point_offsets for s in segments]),
            join_offsets([s.part_offsets for s in segments]),
        )


@dataclass(frozen=True)
class Instances:
    """n instances of an image. The optional parts are there for all of them or None.

    Attributes:
        cls: (n,) float32 class indices.
        boxes: (n, 4) float32 x1, y1, x2, y2.
        segments: outlines of n instances.
        keypoints: (n, nk, 3) float32 x, y, visibility (0 not labeled or outside, 1 hidden, 2 visible).
        corners: (n, 4, 2) float32 corners x, y of oriented boxes, in order around the box.

    Raises:
        ValueError: a shape does not fit.
    """

    cls: np.ndarray
    boxes: np.ndarray
    segments: Segments | None = None
    keypoints: np.ndarray | None = None
    corners: np.ndarray | None = None

    def __post_init__(self) -> None:
        n = len(self.cls)
        if self.boxes.shape != (n, 4):
            raise ValueError(f"boxes has the shape {self.boxes.shape}, but must be ({n}, 4) for {n} classes")
        if self.segments is not None and len(self.segments) != n:
            raise ValueError(f"there are segments for {len(self.segments)} instances, but {n} classes")
        if self.keypoints is not None and (
            self.keypoints.ndim != 3 or len(self.keypoints) != n or self.keypoints.shape[2] != 3
        ):
            raise ValueError(f"keypoints has the shape {self.keypoints.shape}, but must be ({n}, num_keypoints, 3)")
        if self.corners is not None and self.corners.shape != (n, 4, 2):
            raise ValueError(f"corners has the shape {self.corners.shape}, but must be ({n}, 4, 2)")

    def __len__(self) -> int:
        return len(self.cls)

    def keep(self, mask: np.ndarray) -> Instances:
        """The instances where `mask` (n,) is true."""
        if mask.all():
            return self
        return Instances(
            self.cls[mask],
            self.boxes[mask],
            None if self.segments is None else self.segments.keep(np.flatnonzero(mask)),
            None if self.keypoints is None else self.keypoints[mask],
            None if self.corners is None else self.corners[mask],
        )

    def take(self, index: np.ndarray) -> Instances:
        """The instances `index` (m,), in that order."""
        return Instances(
            self.cls[index],
            self.boxes[index],
            None if self.segments is None else self.segments.keep(index),
            None if self.keypoints is None else self.keypoints[index],
            None if self.corners is None else self.corners[index],
        )

    def moved(self, scale: Scale, shift: Scale) -> Instances:
        """Scaled, then shifted by pixels; x before y."""
        factor, offset = np.array(scale, np.float32), np.array(shift, np.float32)
        boxes = self.boxes * np.concatenate([factor, factor]) + np.concatenate([offset, offset])
        segments, keypoints, corners = self.segments, self.keypoints, self.corners
        if segments is not None and len(segments.points):
            segments = segments.with_points(segments.points * factor + offset)
        if keypoints is not None:
            keypoints = keypoints.copy()
            keypoints[..., :2] = keypoints[..., :2] * factor + offset
        if corners is not None:
            corners = corners * factor + offset
        return Instances(self.cls, boxes, segments, keypoints, corners)

    def flipped(self, width: int, height: int, flip_idx: Sequence[int] | None = None) -> Instances:
        """Mirrored.

        Args:
            width: of the image, to mirror left to right; 0 leaves x as it is.
            height: of the image, to mirror upside down; 0 leaves y as it is.
            flip_idx: (nk,) index of the keypoint that takes the place of each keypoint when left and right swap; not
                used for an upside-down flip, which does not turn a left hand into a right one.
        """
        if not (width or height):
            return self
        boxes = self.boxes.copy()
        points = None if self.segments is None else self.segments.points.copy()
        keypoints = None if self.keypoints is None else self.keypoints.copy()
        corners = None if self.corners is None else self.corners.copy()
        for axis, side in ((0, width), (1, height)):
            if side:
                boxes[:, [axis, axis + 2]] = side - boxes[:, [axis + 2, axis]]
                for array in (points, keypoints, corners):
                    if array is not None:
                        array[..., axis] = side - array[..., axis]
        if keypoints is not None and width and flip_idx is not None:
            keypoints = keypoints[:, list(flip_idx)]
        segments = self.segments if self.segments is None or points is None else self.segments.with_points(points)
        return Instances(self.cls, boxes, segments, keypoints, corners)

    def with_boxes(self, boxes: np.ndarray) -> Instances:
        """The same instances with other boxes (n, 4)."""
        return replace(self, boxes=boxes)

    @staticmethod
    def join(groups: Sequence[Instances]) -> Instances:
        """All instances of several images, which must have the same optional parts."""
        segments = [g.segments for g in groups if g.segments is not None]
        if len(segments) not in (0, len(groups)):  # boxes beside boxes with outlines
            segments = [Segments.empty(len(g)) if g.segments is None else g.segments for g in groups]
        return Instances(
            np.concatenate([g.cls for g in groups]),
            np.concatenate([g.boxes for g in groups]),
            Segments.join(segments) if segments else None,
            _join_optional([g.keypoints for g in groups], "keypoints"),
            _join_optional([g.corners for g in groups], "corners"),
        )


def offsets_of(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """(n + 1,) int64 offsets of a ragged array whose rows have these lengths."""
    return np.concatenate([[0], np.cumsum(np.asarray(lengths, np.int64))]).astype(np.int64)


def _join_optional(arrays: Sequence[np.ndarray | None], name: str) -> np.ndarray | None:
    present = [array for array in arrays if array is not None]
    if not present:
        return None
    if len(present) != len(arrays):
        raise ValueError(f"some of the joined instances have {name} and some do not")
    return np.concatenate(present)
