"""Labels: read and checked once, kept as flat arrays in a cache that notices changes.

A bad image or a bad line (see data/label_parser.py) takes that image out of the dataset; images without a label file
or with an empty one stay, as background. What was found is said once, in a summary. Nothing in the dataset is written.
The cache lies in the user's settings folder; only pictures whose files changed (size or time) are read again.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

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
from ultralytics.data.dataset_config import DatasetError
from ultralytics.data.images import label_path
from ultralytics.data.label_parser import LabelError, check_image, parse_labels
from ultralytics.utils import LOGGER, VERBOSE
from ultralytics.utils.settings import settings_dir

VERSION = "1"  # of the cache: raise it when the rules of checking or the columns change
FOUND, MISSING, EMPTY, CORRUPT = range(4)  # what a picture's row says in `status`
REASONS_SHOWN = 5
_CHUNK = 8192  # pictures whose results are held as Python objects at a time


@dataclass
class LabelTable:
    """Everything known about n pictures with N objects in all; read only when mapped from the cache."""

    paths: np.ndarray  # packed text
    path_offsets: np.ndarray  # (n + 1,) int64
    stamps: np.ndarray  # (n, 4) int64: size and time in ns of the picture, of the label file; -1 for a missing one
    shapes: np.ndarray  # (n, 2) int32 h, w as displayed
    status: np.ndarray  # (n,) uint8
    notes: np.ndarray  # packed text: why a picture is corrupt, or what was mended
    note_offsets: np.ndarray  # (n + 1,) int64
    object_offsets: np.ndarray  # (n + 1,) int64
    cls: np.ndarray  # (N,) int32
    boxes: np.ndarray  # (N, 4) float32 cx, cy, w, h, normalised
    point_offsets: np.ndarray  # (N + 1,) int64; a plain box has no points
    points: np.ndarray  # (K, 2) float32 x, y, normalised

    def __len__(self) -> int:
        return len(self.status)

    def path(self, row: int) -> str:
        """File of picture `row`."""
        return unpack_text(self.paths, self.path_offsets, row)

    def note(self, row: int) -> str:
        """What is to be said about picture `row`; mostly nothing."""
        return unpack_text(self.notes, self.note_offsets, row)

    def take(self, rows: np.ndarray) -> LabelTable:
        """A table of the chosen pictures, in that order."""
        path_offsets, path_bytes = take_ragged(self.path_offsets, rows)
        note_offsets, note_bytes = take_ragged(self.note_offsets, rows)
        object_offsets, objects = take_ragged(self.object_offsets, rows)
        point_offsets, points = take_ragged(self.point_offsets, objects)
        return LabelTable(
            self.paths[path_bytes], path_offsets, self.stamps[rows], self.shapes[rows], self.status[rows],
            self.notes[note_bytes], note_offsets, object_offsets, self.cls[objects], self.boxes[objects],
            point_offsets, self.points[points],
        )  # fmt: skip

    @classmethod
    def concat(cls, tables: Sequence[LabelTable]) -> LabelTable:
        """One table after another."""
        columns = {}
        for field in fields(cls):
            parts = [getattr(table, field.name) for table in tables]
            columns[field.name] = join_offsets(parts) if field.name.endswith("_offsets") else np.concatenate(parts)
        return cls(**columns)


def load_labels(images: Sequence[str], nc: int, prefix: str = "", task: str = "detect") -> LabelTable:
    """The checked labels of pictures, from the cache as far as nothing changed.

    Args:
        images: picture files, in the order of the rows that come back.
        nc: number of classes; class ids must be below it.
        prefix: word in front of the summary that is logged, such as "train: ".
        task: the labels' kind; only detect so far.

    Returns:
        A row for each picture, the corrupt ones included.

    Raises:
        DatasetError: no picture is usable.
    """
    folder = os.path.commonpath([str(Path(image).parent) for image in (images[0], images[-1])])
    key = hashlib.sha256(f"{VERSION}|{task}|{nc}|{folder}|{images[0]}".encode("utf-8", "surrogateescape")).hexdigest()[
        :20
    ]
    file = settings_dir() / "cache" / f"labels-{key}.bin"
    old = _read_cache(file)
    stamps = _stamps(images)
    if old is not None and _is_current(old, images, stamps):
        table, origin = old, "cached"
    else:
        table, origin = _update(images, stamps, old, nc, prefix), "read"
        _write_cache(file, table)
        table = _read_cache(file) or table  # mapped: the workers share its pages
    _summarise(table, folder, f"{prefix}{origin}")
    return table


# ----------------------------------------------------------------------------------------------------- scan and summary


@dataclass
class _Checked:
    status: int
    shape: tuple[int, int]
    note: str
    cls: np.ndarray
    boxes: np.ndarray
    points: list[np.ndarray]


def _check_picture(path: str, nc: int) -> _Checked:
    none: tuple[np.ndarray, np.ndarray, list[np.ndarray]] = np.zeros(0, np.int32), np.zeros((0, 4), np.float32), []
    labels = label_path(path)
    try:
        shape = check_image(path)
    except LabelError as e:
        return _Checked(CORRUPT, (0, 0), f"{path}: {e}", *none)
    try:
        raw = Path(labels).read_bytes()
    except FileNotFoundError:
        return _Checked(MISSING, shape, "", *none)
    except OSError as e:
        return _Checked(CORRUPT, shape, f"{labels}: the labels cannot be read ({e}); correct or remove the file", *none)
    try:
        cls, boxes, points, repeated = parse_labels(raw, nc)
    except LabelError as e:
        return _Checked(CORRUPT, shape, f"{labels}:{e}", *none)
    note = f"{labels}: {repeated} repeated lines are counted once" if repeated else ""
    return _Checked(FOUND if len(cls) else EMPTY, shape, note, cls, boxes, points)


def _update(images: Sequence[str], stamps: np.ndarray, old: LabelTable | None, nc: int, prefix: str) -> LabelTable:
    """A table of all pictures: unchanged ones from the old table, the others looked at."""
    reusable = {old.path(row): row for row in range(len(old))} if old is not None else {}
    source = np.array([reusable.get(image, -1) for image in images], np.int64)
    if old is not None and len(old):
        source[(old.stamps[source] != stamps).any(1)] = -1
    fresh = np.flatnonzero(source < 0)
    tables = [] if old is None else [old.take(source[source >= 0])]
    threads = min(8, max(1, (os.cpu_count() or 2) - 1))
    with ThreadPoolExecutor(threads) as pool, _progress(len(fresh), f"{prefix}checking labels") as bar:
        for start in range(0, len(fresh), _CHUNK):
            rows = fresh[start : start + _CHUNK]
            chosen = [images[row] for row in rows]
            checked = []
            parts = (chosen[i : i + 16] for i in range(0, len(chosen), 16))  # one picture is too small an errand
            for results in pool.map(lambda part: [_check_picture(image, nc) for image in part], parts):
                checked += results
                bar.update(len(results))
            tables.append(_table(chosen, stamps[rows], checked))
    order = np.argsort(np.concatenate([np.flatnonzero(source >= 0), fresh]) if old is not None else fresh)
    table = LabelTable.concat(tables)
    return table if (np.diff(order) == 1).all() else table.take(order)


def _table(paths: Sequence[str], stamps: np.ndarray, checked: Sequence[_Checked]) -> LabelTable:
    polygons = [polygon for c in checked for polygon in c.points]
    blob, path_offsets = pack_text(paths)
    notes, note_offsets = pack_text([c.note for c in checked])
    return LabelTable(
        blob, path_offsets, stamps,
        np.array([c.shape for c in checked], np.int32).reshape(-1, 2),
        np.array([c.status for c in checked], np.uint8),
        notes, note_offsets,
        _offsets([len(c.cls) for c in checked]),
        np.concatenate([np.zeros(0, np.int32), *(c.cls for c in checked)]),
        np.concatenate([np.zeros((0, 4), np.float32), *(c.boxes for c in checked)]),
        _offsets([len(polygon) for polygon in polygons]),
        np.concatenate([np.zeros((0, 2), np.float32), *polygons]),
    )  # fmt: skip


def _offsets(lengths: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.asarray(lengths, np.int64))]).astype(np.int64)


def _progress(total: int, text: str) -> Any:
    from tqdm import tqdm  # only when something is scanned

    return tqdm(total=total, desc=text, delay=2, disable=not VERBOSE or LOGGER.level > 20, leave=False, unit="img")


def _summarise(table: LabelTable, folder: str, prefix: str) -> None:
    count = np.bincount(table.status, minlength=4)
    good = int(len(table) - count[CORRUPT])
    background = int(count[MISSING] + count[EMPTY])
    LOGGER.info(
        "%s %s: %d images (%d without objects), %d objects, %d corrupt and left out",
        prefix, folder, good, background, len(table.cls), count[CORRUPT],
    )  # fmt: skip
    noted = np.flatnonzero(np.diff(table.note_offsets))
    noted = noted[np.argsort(table.status[noted] != CORRUPT, kind="stable")]  # what was left out comes first
    for row in noted[:REASONS_SHOWN]:
        LOGGER.warning("  %s", table.note(int(row)))
    if len(noted) > REASONS_SHOWN:
        LOGGER.warning("  ... and %d more", len(noted) - REASONS_SHOWN)
    if not good:
        raise DatasetError(f"{folder}: none of the {len(table)} images is usable; the reasons are listed above.")
    if not len(table.cls):
        example = label_path(table.path(0))
        LOGGER.warning("  no labels at all; the first was looked for at %s", example)


# ------------------------------------------------------------------------------------------------------------ the cache


def _stamps(images: Sequence[str]) -> np.ndarray:
    stamps = np.full((len(images), 4), -1, np.int64)
    for row, image in enumerate(images):
        for column, path in ((0, image), (2, label_path(image))):
            try:
                stat = os.stat(path)  # noqa: PTH116 - as above
            except OSError:
                continue
            stamps[row, column : column + 2] = stat.st_size, stat.st_mtime_ns
    return stamps


def _is_current(old: LabelTable, images: Sequence[str], stamps: np.ndarray) -> bool:
    blob, offsets = pack_text(images)
    return (
        np.array_equal(old.stamps, stamps)
        and np.array_equal(old.path_offsets, offsets)
        and np.array_equal(old.paths, blob)
    )


def _read_cache(file: Path) -> LabelTable | None:
    try:
        table = LabelTable(**load_arrays(file, VERSION))
        ends = (table.path_offsets, table.paths), (table.note_offsets, table.notes), (table.point_offsets, table.points)
        sound = (
            all(offsets[-1] == len(values) and (np.diff(offsets) >= 0).all() for offsets, values in ends)
            and table.object_offsets[-1] == len(table.cls) == len(table.boxes) == len(table.point_offsets) - 1
            and len(table.shapes) == len(table.stamps) == len(table.object_offsets) - 1 == len(table)
        )
        if not sound:
            raise ArrayFileError(f"{file}: the columns do not fit together")
    except FileNotFoundError:
        return None
    except (OSError, ArrayFileError, TypeError, IndexError) as e:
        LOGGER.debug("label cache is rebuilt: %s", e)
        return None
    return table


def _write_cache(file: Path, table: LabelTable) -> None:
    started = time.perf_counter()
    try:
        save_arrays(file, {field.name: getattr(table, field.name) for field in fields(table)}, VERSION)
    except OSError as e:
        LOGGER.debug("label cache stays in memory: %s", e)
        return
    LOGGER.debug("label cache %s written in %.2f s", file, time.perf_counter() - started)
