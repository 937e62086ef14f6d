"""Labels: read and checked once, kept as flat arrays in a cache that notices changes.

A bad image or a bad line (see data/label_parser.py) takes that image out of the dataset; images without a label file
or with an empty one stay, as background. The results are logged once, in a summary. Nothing in the dataset is
written. The cache is in the user's settings folder; only images whose files changed (data/file_stamps.py) are
read again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ultralytics.data.array_file import pack_text
from ultralytics.data.dataset_config import DatasetError
from ultralytics.data.file_stamps import file_stamps
from ultralytics.data.image_check import check_image
from ultralytics.data.images import label_path
from ultralytics.data.instances import Segments, offsets_of
from ultralytics.data.label_parser import LabelError, ParsedLabels, parse_labels
from ultralytics.data.label_table import (
    CORRUPT,
    EMPTY,
    FOUND,
    MISSING,
    VERSION,
    LabelTable,
    is_current,
    read_cache,
    write_cache,
)
from ultralytics.tasks import LabelSchema
from ultralytics.utils import LOGGER, shows_progress
from ultralytics.utils.settings import settings_dir

if TYPE_CHECKING:
    from tqdm import tqdm

REASONS_SHOWN = 5
_CHUNK = 8192  # images whose results are held as Python objects at a time
_PER_TASK = 16  # images that a thread checks at a time; a single one is too little work


def load_labels(
    images: Sequence[str],
    nc: int,
    prefix: str = "",
    schema: LabelSchema = LabelSchema(),  # noqa: B008 - frozen
) -> LabelTable:
    """The checked labels of images, from the cache as far as nothing changed.

    Args:
        images: image files, in the order of the rows that come back.
        nc: number of classes; class indices must be below it.
        prefix: in front of the summary that is logged, such as "train: ".
        schema: what a line of a label file holds.

    Returns:
        A row for each image, the corrupt ones included.

    Raises:
        DatasetError: no image is usable, or no label.
    """
    table, from_cache = scan_labels(images, nc, prefix, schema)
    _log_summary(table, _folder(images), f"{prefix}{'cached' if from_cache else 'read'}", schema.folder)
    return table


def scan_labels(images: Sequence[str], nc: int, prefix: str, schema: LabelSchema) -> tuple[LabelTable, bool]:
    """As `load_labels`, without a summary or an error; also whether all came from the cache.

    With the schema "class" no label files are read, and images of any size are usable.
    """
    file = settings_dir() / "cache" / f"labels-{_cache_key(images, nc, schema)}.bin"
    old = read_cache(file)
    stamps = file_stamps(images, schema.folder)
    if old is not None and is_current(old, images, stamps):
        return old, True
    table = _update(images, stamps, old, nc, schema, prefix)
    write_cache(file, table)
    return read_cache(file) or table, False  # mapped: the workers share its pages


def log_notes(table: LabelTable) -> None:
    """Log why images were left out, and what else is to be said about some."""
    noted = np.flatnonzero(np.diff(table.note_offsets))
    noted = noted[np.argsort(table.status[noted] != CORRUPT, kind="stable")]  # what was left out comes first
    for row in noted[:REASONS_SHOWN]:
        LOGGER.warning("  %s", table.note(int(row)))
    if len(noted) > REASONS_SHOWN:
        LOGGER.warning("  ... and %d more", len(noted) - REASONS_SHOWN)


# ----------------------------------------------------------------------------------------------------- scan and summary


@dataclass
class _CheckedImage:
    status: int
    shape: tuple[int, int]
    note: str = ""
    labels: ParsedLabels = field(default_factory=ParsedLabels)


def _check(path: str, nc: int, schema: LabelSchema) -> _CheckedImage:
    empty = parse_labels(b"", nc, schema)
    labels_file = label_path(path, schema.folder)
    try:
        shape = check_image(path, 1) if schema.kind == "class" else check_image(path)
    except LabelError as e:
        return _CheckedImage(CORRUPT, (0, 0), f"{path}: {e}", empty)
    if schema.kind == "class":
        return _CheckedImage(EMPTY, shape, "", empty)
    try:
        raw = Path(labels_file).read_bytes()
    except FileNotFoundError:
        return _CheckedImage(MISSING, shape, "", empty)
    except OSError as e:
        note = f"{labels_file}: the labels cannot be read ({e}); correct or remove the file"
        return _CheckedImage(CORRUPT, shape, note, empty)
    try:
        labels = parse_labels(raw, nc, schema)
    except LabelError as e:
        return _CheckedImage(CORRUPT, shape, f"{labels_file}:{e}", empty)
    note = f"{labels_file}: {labels.repeated} repeated lines are counted once" if labels.repeated else ""
    return _CheckedImage(FOUND if len(labels.cls) else EMPTY, shape, note, labels)


def _update(
    images: Sequence[str], stamps: np.ndarray, old: LabelTable | None, nc: int, schema: LabelSchema, prefix: str
) -> LabelTable:
    """A table of all images: unchanged ones from the old table, the others checked."""
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
            checked: list[_CheckedImage] = []
            parts = (chosen[i : i + _PER_TASK] for i in range(0, len(chosen), _PER_TASK))
            for results in pool.map(lambda part: [_check(image, nc, schema) for image in part], parts):
                checked += results
                bar.update(len(results))
            tables.append(_table(chosen, stamps[rows], checked))
    order = np.argsort(np.concatenate([np.flatnonzero(source >= 0), fresh]) if old is not None else fresh)
    table = LabelTable.concat(tables)
    return table if (np.diff(order) == 1).all() else table.take(order)


def _table(paths: Sequence[str], stamps: np.ndarray, checked: Sequence[_CheckedImage]) -> LabelTable:
    labels = [c.labels for c in checked]
    blob, path_offsets = pack_text(paths)
    notes, note_offsets = pack_text([c.note for c in checked])
    segments = Segments.from_polygons([polygons for label in labels for polygons in label.polygons])
    return LabelTable(
        blob, path_offsets, stamps,
        np.array([c.shape for c in checked], np.int32).reshape(-1, 2),
        np.array([c.status for c in checked], np.uint8),
        notes, note_offsets,
        offsets_of([len(label.cls) for label in labels]),
        np.concatenate([label.cls for label in labels]),
        np.concatenate([label.boxes for label in labels]),
        segments.part_offsets, segments.point_offsets, segments.points,
        np.concatenate([label.keypoints for label in labels]),
        np.concatenate([label.corners for label in labels]),
    )  # fmt: skip


def _progress(total: int, text: str) -> tqdm:
    from tqdm import tqdm  # only when something is scanned

    return tqdm(
        total=total, desc=text, delay=2, disable=not shows_progress() or LOGGER.level > 20, leave=False, unit="img"
    )


def _log_summary(table: LabelTable, folder: str, prefix: str, labels_folder: str) -> None:
    count = np.bincount(table.status, minlength=4)
    good = int(len(table) - count[CORRUPT])
    background = int(count[MISSING] + count[EMPTY])
    LOGGER.info(
        "%s %s: %d images (%d without instances), %d instances, %d corrupt and left out",
        prefix, folder, good, background, len(table.cls), count[CORRUPT],
    )  # fmt: skip
    log_notes(table)
    if not good:
        raise DatasetError(f"{folder}: none of the {len(table)} images is usable; the reasons are listed above.")
    bad_labels = int(np.count_nonzero((table.status == CORRUPT) & (table.shapes[:, 0] > 0)))
    if not len(table.cls) and bad_labels:
        raise DatasetError(f"{folder}: none of the {bad_labels} label files is usable; the reasons are listed above.")
    if not len(table.cls):
        example = label_path(table.path(0), labels_folder)
        LOGGER.warning("  no labels at all; the first was expected at %s", example)


# ------------------------------------------------------------------------------------------------------------ the cache


def _folder(images: Sequence[str]) -> str:
    return os.path.commonpath([str(Path(image).parent) for image in (images[0], images[-1])])


def _cache_key(images: Sequence[str], nc: int, schema: LabelSchema) -> str:
    text = f"{VERSION}|{schema.kind}|{schema.kpt_shape}|{schema.folder}|{nc}|{_folder(images)}|{images[0]}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:20]
