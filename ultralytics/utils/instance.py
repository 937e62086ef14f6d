"""`Instances` and `Bboxes` of 8.3.0 for scripts: boxes, outlines and keypoints that are changed in place.

The package itself uses data/instances.py, whose objects do not change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from ultralytics.utils import ops

FORMATS = ("xyxy", "xywh", "ltwh")
_Convert = Callable[[np.ndarray], np.ndarray]
_CONVERT: dict[tuple[str, str], _Convert] = {
    ("xyxy", "xywh"): ops.xyxy2xywh,
    ("xyxy", "ltwh"): ops.xyxy2ltwh,
    ("xywh", "xyxy"): ops.xywh2xyxy,
    ("xywh", "ltwh"): ops.xywh2ltwh,
    ("ltwh", "xyxy"): ops.ltwh2xyxy,
    ("ltwh", "xywh"): ops.ltwh2xywh,
}
T = TypeVar("T")
Index = int | slice | np.ndarray | list[int]


class BoxFormatError(ValueError, AssertionError):
    """An unknown format of boxes, or an array of another shape; 8.3.0 raises AssertionError."""


def to_2tuple(x: T | Sequence[T]) -> tuple[T, ...]:
    """Two times the same number; a sequence becomes a tuple."""
    return _repeated(x, 2)


def to_4tuple(x: T | Sequence[T]) -> tuple[T, ...]:
    """Four times the same number; a sequence becomes a tuple."""
    return _repeated(x, 4)


class Bboxes:
    """Boxes in one of three formats.

    Args:
        bboxes: (n, 4) or (4,).
        format: "xyxy" (corners), "xywh" (center and size) or "ltwh" (left top corner and size).

    Raises:
        BoxFormatError: unknown format or another shape.
    """

    def __init__(self, bboxes: np.ndarray, format: str = "xyxy") -> None:  # noqa: A002 - the name in 8.3.0
        _check_format(format)
        bboxes = bboxes[None] if bboxes.ndim == 1 else bboxes
        if bboxes.ndim != 2 or bboxes.shape[1] != 4:
            raise BoxFormatError(f"boxes must have the shape (n, 4), not {bboxes.shape}")
        self.bboxes, self.format = bboxes, format

    def convert(self, format: str) -> None:  # noqa: A002 - as above
        """Change the format."""
        _check_format(format)
        if format != self.format:
            self.bboxes = _CONVERT[self.format, format](self.bboxes)
            self.format = format

    def areas(self) -> np.ndarray:
        """(n,) areas."""
        b = self.bboxes
        return (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) if self.format == "xyxy" else b[:, 2] * b[:, 3]

    def mul(self, scale: float | Sequence[float]) -> None:
        """Multiply the four columns by one number or by four."""
        self.bboxes = self._columns(np.multiply, scale)

    def add(self, offset: float | Sequence[float]) -> None:
        """Add one number, or four, to the four columns."""
        self.bboxes = self._columns(np.add, offset)

    @classmethod
    def concatenate(cls, boxes_list: Sequence[Bboxes], axis: int = 0) -> Bboxes:
        """All boxes, in the format of the first."""
        if not boxes_list:
            return cls(np.zeros((0, 4)))
        return cls(np.concatenate([boxes.bboxes for boxes in boxes_list], axis), boxes_list[0].format)

    def __len__(self) -> int:
        return len(self.bboxes)

    def __getitem__(self, index: Index) -> Bboxes:
        return Bboxes(self.bboxes[index], self.format)

    def _columns(self, function: np.ufunc, values: float | Sequence[float]) -> np.ndarray:
        four = to_4tuple(values)
        if len(four) != 4:
            raise BoxFormatError(f"expected one number or four, not {len(four)}")
        return np.stack([function(self.bboxes[:, i], four[i]) for i in range(4)], 1)


class Instances:
    """Boxes of an image with outlines and keypoints.

    Args:
        bboxes: (n, 4).
        segments: (n, points, 2), or a list of n arrays (points, 2); None for none.
        keypoints: (n, keypoints, 3) x, y, visibility; None for none.
        bbox_format: see `Bboxes`.
        normalized: coordinates are fractions of the image instead of pixels.
    """

    def __init__(
        self,
        bboxes: np.ndarray,
        segments: np.ndarray | list[np.ndarray] | None = None,
        keypoints: np.ndarray | None = None,
        bbox_format: str = "xywh",
        normalized: bool = True,
    ) -> None:
        self._bboxes = Bboxes(bboxes, bbox_format)
        self.segments = segments
        self.keypoints = keypoints
        self.normalized = normalized

    @property
    def bboxes(self) -> np.ndarray:
        """(n, 4) boxes in their present format."""
        return self._bboxes.bboxes

    @property
    def bbox_areas(self) -> np.ndarray:
        """(n,) areas of the boxes."""
        return self._bboxes.areas()

    def convert_bbox(self, format: str) -> None:  # noqa: A002 - as above
        """Change the format of the boxes."""
        self._bboxes.convert(format)

    def scale(self, scale_w: float, scale_h: float, bbox_only: bool = False) -> None:
        """Multiply x by `scale_w` and y by `scale_h`; with `bbox_only` those of the boxes."""
        self._bboxes.mul((scale_w, scale_h, scale_w, scale_h))
        if not bbox_only:
            self._map_points(lambda x: x * scale_w, lambda y: y * scale_h)

    def denormalize(self, w: int, h: int) -> None:
        """Fractions of an image to its pixels; pixels stay as they are."""
        if self.normalized:
            self.scale(w, h)
            self.normalized = False

    def normalize(self, w: int, h: int) -> None:
        """Pixels of an image to its fractions; fractions stay as they are."""
        if not self.normalized:
            self.scale(1 / w, 1 / h)
            self.normalized = True

    def add_padding(self, padw: int, padh: int) -> None:
        """Move by pixels.

        Raises:
            BoxFormatError: the coordinates are fractions.
        """
        if self.normalized:
            raise BoxFormatError("add_padding needs pixels; call denormalize first")
        is_corners = self._bboxes.format == "xyxy"
        self._bboxes.add((padw, padh, padw, padh) if is_corners else (padw, padh, 0, 0))
        self._map_points(lambda x: x + padw, lambda y: y + padh)

    def flipud(self, h: int) -> None:
        """Mirror top and bottom of an image of height `h` (1 for fractions)."""
        self._flip(1, h)
        self._map_points(lambda x: x, lambda y: h - y)

    def fliplr(self, w: int) -> None:
        """Mirror left and right of an image of width `w` (1 for fractions)."""
        self._flip(0, w)
        self._map_points(lambda x: w - x, lambda y: y)

    def clip(self, w: int, h: int) -> None:
        """Clip to an image; the boxes keep their format."""
        own = self._bboxes.format
        self.convert_bbox("xyxy")
        self._bboxes.bboxes = self.bboxes.clip(0, (w, h, w, h))
        self.convert_bbox(own)
        self._map_points(lambda x: x.clip(0, w), lambda y: y.clip(0, h))

    def remove_zero_area_boxes(self) -> np.ndarray:
        """Remove instances whose box has no area; returns (n,) bool, which were kept."""
        good = self.bbox_areas > 0
        if not good.all():
            kept = self[good]
            self._bboxes, self.segments, self.keypoints = kept._bboxes, kept.segments, kept.keypoints
        return good

    def update(
        self,
        bboxes: np.ndarray,
        segments: np.ndarray | list[np.ndarray] | None = None,
        keypoints: np.ndarray | None = None,
    ) -> None:
        """Replace the boxes, in their present format, and the other parts that are given."""
        self._bboxes = Bboxes(bboxes, self._bboxes.format)
        self.segments = self.segments if segments is None else segments
        self.keypoints = self.keypoints if keypoints is None else keypoints

    @classmethod
    def concatenate(cls, instances_list: Sequence[Instances], axis: int = 0) -> Instances:
        """All instances; parts that the first does not have are left out.

        Raises:
            BoxFormatError: the formats differ, or only some are fractions.
        """
        if not instances_list:
            return cls(np.zeros((0, 4)))
        first = instances_list[0]
        if len({(one._bboxes.format, one.normalized) for one in instances_list}) > 1:
            raise BoxFormatError(
                "the joined instances must have one format of boxes, and be all pixels or all fractions"
            )
        bboxes = Bboxes.concatenate([one._bboxes for one in instances_list], axis).bboxes
        segments = [one.segments for one in instances_list if one.segments is not None]
        keypoints = [one.keypoints for one in instances_list if one.keypoints is not None]
        return cls(
            bboxes,
            None if first.segments is None else np.concatenate(segments, axis),
            None if first.keypoints is None else np.concatenate(keypoints, axis),
            first._bboxes.format,
            first.normalized,
        )

    def __len__(self) -> int:
        return len(self.bboxes)

    def __getitem__(self, index: Index) -> Instances:
        segments = self.segments
        if isinstance(segments, list):
            chosen = np.arange(len(segments))[index]
            segments = [segments[i] for i in np.atleast_1d(chosen)]
        elif segments is not None and len(segments):
            segments = segments[index]
        keypoints = None if self.keypoints is None else self.keypoints[index]
        return Instances(self.bboxes[index], segments, keypoints, self._bboxes.format, self.normalized)

    def _flip(self, axis: int, side: float) -> None:
        b = self.bboxes.copy()
        if self._bboxes.format == "xyxy":
            b[:, axis], b[:, axis + 2] = side - self.bboxes[:, axis + 2], side - self.bboxes[:, axis]
        elif self._bboxes.format == "xywh":
            b[:, axis] = side - b[:, axis]
        else:
            b[:, axis] = side - b[:, axis] - b[:, axis + 2]
        self._bboxes.bboxes = b

    def _map_points(self, map_x: _Convert, map_y: _Convert) -> None:
        """Apply functions to x and to y of outlines and keypoints; further values stay as they are."""

        def mapped(points: np.ndarray) -> np.ndarray:
            x, y = map_x(points[..., 0]), map_y(points[..., 1])
            return np.concatenate([np.stack([x, y], -1), points[..., 2:]], -1).astype(points.dtype, copy=False)

        if isinstance(self.segments, list):
            self.segments = [mapped(points) for points in self.segments]
        elif self.segments is not None:
            self.segments = mapped(self.segments)
        if self.keypoints is not None:
            self.keypoints = mapped(self.keypoints)


def _repeated(x: T | Sequence[T], count: int) -> tuple[T, ...]:
    return tuple(x) if isinstance(x, (list, tuple, np.ndarray)) else (x,) * count  # type: ignore[return-value]


def _check_format(name: str) -> None:
    if name not in FORMATS:
        raise BoxFormatError(f"unknown format of boxes '{name}'; use one of {', '.join(FORMATS)}")
