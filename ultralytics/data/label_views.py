"""The label table as sequences of paths and of dicts, made on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypedDict, overload

import numpy as np

from ultralytics.data.label_table import LabelTable


class ImageLabel(TypedDict):
    """What is known about an image, in the form of 8.3.0: coordinates as fractions, boxes as center and size."""

    im_file: str
    shape: tuple[int, int]
    cls: np.ndarray  # (n, 1) float32
    bboxes: np.ndarray  # (n, 4) float32
    segments: list[np.ndarray]  # (m, 2) float32, of the instances that have an outline
    keypoints: np.ndarray | None  # (n, nk, 3) float32
    normalized: bool
    bbox_format: str


class PathView(Sequence[str]):
    """Paths of the images `rows` of a table."""

    def __init__(self, table: LabelTable, rows: np.ndarray) -> None:
        self._table, self._rows = table, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._table.path(int(row)) for row in self._rows[index]]
        return self._table.path(int(self._rows[index]))


class LabelView(Sequence[ImageLabel]):
    """Labels of the images `rows` of a table."""

    def __init__(
        self, table: LabelTable, rows: np.ndarray, select: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    ) -> None:
        """Look at a table.

        Args:
            table: of labels.
            rows: (n,) rows of the table.
            select: from the class indices of an image's instances, which of them count (bool), and those classes as
                float32.
        """
        self._table, self._rows, self._select = table, rows, select

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[ImageLabel]:
        return (self._label(int(row)) for row in self._rows)

    @overload
    def __getitem__(self, index: int) -> ImageLabel: ...

    @overload
    def __getitem__(self, index: slice) -> list[ImageLabel]: ...

    def __getitem__(self, index: int | slice) -> ImageLabel | list[ImageLabel]:
        if isinstance(index, slice):
            return [self._label(int(row)) for row in self._rows[index]]
        return self._label(int(self._rows[index]))

    def _label(self, row: int) -> ImageLabel:
        table = self._table
        first, last = table.instance_offsets[row : row + 2].tolist()
        mask, cls = self._select(table.cls[first:last])
        segments = table.instances(row, (1, 1)).keep(mask).segments
        h, w = table.shapes[row].tolist()
        return {
            "im_file": table.path(row),
            "shape": (h, w),
            "cls": cls[:, None],
            "bboxes": table.boxes[first:last][mask],
            "segments": [] if segments is None else [p for i in range(len(segments)) for p in segments.parts(i)],
            "keypoints": table.keypoints[first:last][mask] if table.keypoints.shape[1] else None,
            "normalized": True,
            "bbox_format": "xywh",
        }
