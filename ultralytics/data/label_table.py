"""The checked labels of a split as flat arrays, and their file in the cache."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from ultralytics.data.array_file import (
    ArrayFileError,
    join_offsets,
    load_arrays,
    pack_text,
    save_arrays,
    take_ragged,
    unpack_text,
)
from ultralytics.data.instances import Instances, Segments
from ultralytics.utils import LOGGER

VERSION = "3"  # of the cache: raise it when the rules of checking or the columns change
FOUND, MISSING, EMPTY, CORRUPT = range(4)  # what an image's row says in `status`


@dataclass
class LabelTable:
    """Everything known about n images with N instances in all; read only when mapped from the cache.

    Coordinates are fractions of the image. Columns that the label schema does not have are there with a dimension of 0.
    """

    paths: np.ndarray  # packed text
    path_offsets: np.ndarray  # (n + 1,) int64
    stamps: np.ndarray  # (n, 6) int64 of the image and its label file; see data/file_stamps.py
    shapes: np.ndarray  # (n, 2) int32 h, w as displayed
    status: np.ndarray  # (n,) uint8
    notes: np.ndarray  # packed text: why an image is corrupt, or what was left out
    note_offsets: np.ndarray  # (n + 1,) int64
    instance_offsets: np.ndarray  # (n + 1,) int64: where the instances of each image start
    cls: np.ndarray  # (N,) int32
    boxes: np.ndarray  # (N, 4) float32 cx, cy, w, h
    part_offsets: np.ndarray  # (N + 1,) int64: where the polygons of each instance start; a plain box has none
    point_offsets: np.ndarray  # (P + 1,) int64: where the points of each polygon start
    points: np.ndarray  # (K, 2) float32 x, y of polygons
    keypoints: np.ndarray  # (N, nk, 3) float32 x, y, visibility
    corners: np.ndarray  # (N, 4 or 0, 2) float32 x, y of oriented boxes

    def __len__(self) -> int:
        return len(self.status)

    def path(self, row: int) -> str:
        """File of image `row`."""
        return unpack_text(self.paths, self.path_offsets, row)

    def note(self, row: int) -> str:
        """What is to be said about image `row`; mostly nothing."""
        return unpack_text(self.notes, self.note_offsets, row)

    def instances(self, row: int, shape: tuple[int, int]) -> Instances:
        """The instances of image `row`, in pixels of an image of `shape` (h, w)."""
        h, w = shape
        size, size2 = np.array([w, h], np.float32), np.array([w, h, w, h], np.float32)
        first, last = self.instance_offsets[row : row + 2].tolist()
        boxes = self.boxes[first:last]
        xy, half = boxes[:, :2], boxes[:, 2:] / 2
        return Instances(
            self.cls[first:last].astype(np.float32),
            np.concatenate([xy - half, xy + half], 1) * size2,
            self._segments(first, last, size) if len(self.points) else None,
            self.keypoints[first:last] * np.array([w, h, 1], np.float32) if self.keypoints.shape[1] else None,
            self.corners[first:last] * size if self.corners.shape[1] else None,
        )

    def _segments(self, first: int, last: int, size: np.ndarray) -> Segments:
        parts = self.part_offsets[first : last + 1]
        offsets = self.point_offsets[parts[0] : parts[-1] + 1]
        return Segments(self.points[offsets[0] : offsets[-1]] * size, offsets - offsets[0], parts - parts[0])

    def take(self, rows: np.ndarray) -> LabelTable:
        """A table of the chosen images, in that order."""
        path_offsets, path_bytes = take_ragged(self.path_offsets, rows)
        note_offsets, note_bytes = take_ragged(self.note_offsets, rows)
        instance_offsets, instances = take_ragged(self.instance_offsets, rows)
        part_offsets, parts = take_ragged(self.part_offsets, instances)
        point_offsets, points = take_ragged(self.point_offsets, parts)
        return LabelTable(
            self.paths[path_bytes], path_offsets, self.stamps[rows], self.shapes[rows], self.status[rows],
            self.notes[note_bytes], note_offsets, instance_offsets, self.cls[instances], self.boxes[instances],
            part_offsets, point_offsets, self.points[points], self.keypoints[instances], self.corners[instances],
        )  # fmt: skip

    @classmethod
    def concat(cls, tables: Sequence[LabelTable]) -> LabelTable:
        """One table after another."""
        columns = {}
        for field in fields(cls):
            parts = [getattr(table, field.name) for table in tables]
            columns[field.name] = join_offsets(parts) if field.name.endswith("_offsets") else np.concatenate(parts)
        return cls(**columns)

    def is_consistent(self) -> bool:
        """Whether the columns fit together."""
        ragged = (
            (self.path_offsets, self.paths),
            (self.note_offsets, self.notes),
            (self.instance_offsets, self.cls),
            (self.part_offsets, self.point_offsets[1:]),
            (self.point_offsets, self.points),
        )
        per_instance = {len(self.cls), len(self.boxes), len(self.keypoints), len(self.corners)}
        per_image = {len(self.shapes), len(self.stamps), len(self), len(self.instance_offsets) - 1}
        return (
            all(offsets[-1] == len(values) and (np.diff(offsets) >= 0).all() for offsets, values in ragged)
            and per_instance == {len(self.part_offsets) - 1}
            and per_image == {len(self.path_offsets) - 1}
        )


def is_current(table: LabelTable, images: Sequence[str], stamps: np.ndarray) -> bool:
    """Whether a table is about exactly these images, with these stamps."""
    blob, offsets = pack_text(images)
    return (
        np.array_equal(table.stamps, stamps)
        and np.array_equal(table.path_offsets, offsets)
        and np.array_equal(table.paths, blob)
    )


def read_cache(file: Path) -> LabelTable | None:
    """The table in a file, mapped into memory; None if there is no file, or a damaged or older one."""
    try:
        table = LabelTable(**load_arrays(file, VERSION))
        if not table.is_consistent():
            raise ArrayFileError(f"{file}: the columns do not fit together")
    except FileNotFoundError:
        return None
    except (OSError, ArrayFileError, TypeError, IndexError) as e:
        LOGGER.debug("label cache is rebuilt: %s", e)
        return None
    return table


def write_cache(file: Path, table: LabelTable) -> None:
    """Write a table; a folder that cannot be written is no error, the table then stays in memory."""
    started = time.perf_counter()
    try:
        save_arrays(file, {field.name: getattr(table, field.name) for field in fields(table)}, VERSION)
    except OSError as e:
        LOGGER.debug("label cache stays in memory: %s", e)
        return
    LOGGER.debug("label cache %s written in %.2f s", file, time.perf_counter() - started)
