"""The rules for label files: what a line must look like is decided by the label schema of the dataset's task.

A file has one instance per line, numbers separated by blanks, coordinates as fractions of the image:

- box: `class cx cy w h`, or a polygon `class x1 y1 x2 y2 x3 y3 ...`, whose bounding box counts.
- polygon: `class x1 y1 x2 y2 x3 y3 ...`.
- keypoints: `class cx cy w h`, then x y, or x y visibility (0 not labeled, 1 hidden, 2 visible), for each keypoint.
- oriented_box: `class x1 y1 x2 y2 x3 y3 x4 y4`, the corners in order around the box; they may lie outside the image.

Each line is judged on its own. Nothing is ever written or repaired on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ultralytics.data.polygons import split_bridges
from ultralytics.tasks import LabelSchema
from ultralytics.utils.text_files import decode_unicode

MAX_OUTSIDE = 3.0  # image sizes that a box or corner may lie outside; beyond that, coordinates must be pixels
_Lines = list[tuple[int, list[str]]]  # line number from 1, blank-separated tokens


class LabelError(ValueError):
    """What is wrong with an image or its labels, and where."""


@dataclass
class ParsedLabels:
    """The n instances of a label file.

    Attributes:
        cls: (n,) int32.
        boxes: (n, 4) float32 center x, y, w, h as fractions of the image.
        polygons: for each instance its polygons (m, 2) float32 x, y as fractions; none for a plain box.
        keypoints: (n, nk, 3) float32 x, y as fractions and visibility; nk is 0 without keypoints.
        corners: (n, 4, 2) float32 x, y as fractions; (n, 0, 2) without oriented boxes.
        repeated: lines that were left out because they repeat another.
    """

    cls: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    polygons: list[list[np.ndarray]] = field(default_factory=list)
    keypoints: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 3), np.float32))
    corners: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 2), np.float32))
    repeated: int = 0


def parse_labels(raw: bytes, nc: int, schema: LabelSchema = LabelSchema()) -> ParsedLabels:  # noqa: B008 - frozen
    """Instances of a label file.

    Args:
        raw: content of the file; UTF-8 or UTF-16, any line ends.
        nc: number of classes.
        schema: what a line holds; for keypoints with `kpt_shape`.

    Raises:
        LabelError: "line: what is wrong; remedy".
    """
    try:
        text = decode_unicode(raw)
    except UnicodeDecodeError as e:
        raise LabelError(f"1: this is not UTF-8 text ({e.reason}); save it as UTF-8") from e
    lines = [(number, tokens) for number, line in enumerate(text.splitlines(), 1) if (tokens := line.split())]
    if not lines:
        return _none(schema)
    return _PARSERS[schema.kind](lines, nc, schema)


# ------------------------------------------------------------------------------------------------- one for each schema


def _parse_boxes(lines: _Lines, nc: int, schema: LabelSchema) -> ParsedLabels:
    if all(len(tokens) == 5 for _, tokens in lines):
        rows, polygons = _number_rows(lines), [np.zeros((0, 2), np.float32)] * len(lines)
    else:
        rows, polygons = _mixed_rows(lines)
    _check_rows(lines, rows, polygons, nc)
    keep = _first_of_each(rows.astype(np.float32))
    return _labels(rows[keep], len(rows), polygons=[[polygons[i]] if len(polygons[i]) else [] for i in keep])


def _parse_polygons(lines: _Lines, nc: int, schema: LabelSchema) -> ParsedLabels:
    remedy = "a polygon needs at least 3 points: 'class x1 y1 x2 y2 x3 y3 ...'"
    for number, tokens in lines:
        if len(tokens) == 5:
            raise LabelError(f"{number}: 5 numbers are a box or 2 points, but the task needs polygons; {remedy}")
        if len(tokens) < 7 or not len(tokens) % 2:
            raise LabelError(f"{number}: {len(tokens)} numbers in the line; {remedy}")
    rows, polygons = _mixed_rows(lines)
    _check_rows(lines, rows, polygons, nc)
    first: dict[tuple[float, bytes], int] = {}
    for i, polygon in enumerate(polygons):
        first.setdefault((float(rows[i, 0]), polygon.tobytes()), i)
    keep = np.array(list(first.values()))
    return _labels(rows[keep], len(rows), polygons=[split_bridges(polygons[i]) for i in keep])


def _parse_keypoints(lines: _Lines, nc: int, schema: LabelSchema) -> ParsedLabels:
    if schema.kpt_shape is None:
        raise ValueError("the label schema for keypoints needs kpt_shape; it is a line of the dataset file")
    nk, ndim = schema.kpt_shape
    form = "'class cx cy w h' and x y" + (" visibility" if ndim == 3 else "")
    _check_count(lines, 5 + nk * ndim, f"kpt_shape [{nk}, {ndim}] needs {form} for each of {nk} keypoints")
    rows = _number_rows(lines)
    _check_class_and_finite(lines, rows, nc)
    _check_reach(lines, rows[:, 1:5])
    negative = (rows[:, 3:5] < 0).any(1)
    if negative.any():
        raise LabelError(f"{lines[int(negative.argmax())][0]}: the width or height of a box is negative; correct it")
    keypoints = rows[:, 5:].reshape(-1, nk, ndim)
    if ndim == 2:
        keypoints = np.concatenate([keypoints, np.ones((*keypoints.shape[:2], 1))], 2)
    elif not (known := np.isin(keypoints[..., 2], (0, 1, 2))).all():
        row, k = (int(i[0]) for i in np.nonzero(~known))
        raise LabelError(
            f"{lines[row][0]}: keypoint {k + 1} has the visibility {keypoints[row, k, 2]:g}, but must have 0 (not "
            "labeled), 1 (hidden) or 2 (visible)"
        )
    xy = keypoints[..., :2]
    outside = ((xy < 0) | (xy > 1)).any(2)
    keypoints = np.concatenate([xy.clip(0, 1), np.where(outside, 0, keypoints[..., 2])[..., None]], 2)
    keep = _first_of_each(rows)
    return _labels(rows[keep], len(rows), keypoints=keypoints[keep].astype(np.float32))


def _parse_oriented_boxes(lines: _Lines, nc: int, schema: LabelSchema) -> ParsedLabels:
    _check_count(lines, 9, "an oriented box has 4 corners: 'class x1 y1 x2 y2 x3 y3 x4 y4'")
    rows = _number_rows(lines)
    _check_class_and_finite(lines, rows, nc)
    _check_reach(lines, rows[:, 1:])
    corners = rows[:, 1:].reshape(-1, 4, 2)
    low, high = corners.min(1), corners.max(1)
    keep = _first_of_each(rows)
    around = np.concatenate([rows[:, :1], (low + high) / 2, high - low], 1)
    return _labels(around[keep], len(rows), corners=corners[keep].astype(np.float32))


_PARSERS: dict[str, Callable[[_Lines, int, LabelSchema], ParsedLabels]] = {
    "box": _parse_boxes,
    "polygon": _parse_polygons,
    "keypoints": _parse_keypoints,
    "oriented_box": _parse_oriented_boxes,
}


def _none(schema: LabelSchema) -> ParsedLabels:
    return _labels(np.zeros((0, 5)), 0, keypoints=None, corners=None, schema=schema)


def _labels(
    rows: np.ndarray,
    read: int,
    polygons: list[list[np.ndarray]] | None = None,
    keypoints: np.ndarray | None = None,
    corners: np.ndarray | None = None,
    schema: LabelSchema | None = None,
) -> ParsedLabels:
    """Labels from rows (n, 5 or more) of class and box, of `read` lines."""
    n = len(rows)
    if schema is not None:  # an empty file must have the columns of the others
        keypoints = np.zeros((0, schema.kpt_shape[0] if schema.kpt_shape else 0, 3), np.float32)
        corners = np.zeros((0, 4 if schema.kind == "oriented_box" else 0, 2), np.float32)
    return ParsedLabels(
        rows[:, 0].astype(np.int32),
        rows[:, 1:5].astype(np.float32),
        [[] for _ in range(n)] if polygons is None else polygons,
        np.zeros((n, 0, 3), np.float32) if keypoints is None else keypoints,
        np.zeros((n, 0, 2), np.float32) if corners is None else corners,
        read - n,
    )


# --------------------------------------------------------------------------------------------------- reading of numbers


def _number_rows(lines: _Lines) -> np.ndarray:
    """(n, columns) float64 of lines of equal length."""
    try:
        return np.array([tokens for _, tokens in lines], np.float64)
    except ValueError:
        return np.array([_numbers(number, tokens) for number, tokens in lines])  # raises with the line's number


def _numbers(number: int, tokens: list[str]) -> np.ndarray:
    try:
        return np.array(tokens, np.float64)
    except ValueError as e:
        raise LabelError(f"{number}: {e}; write numbers separated by blanks") from e


def _mixed_rows(lines: _Lines) -> tuple[np.ndarray, list[np.ndarray]]:
    """(n, 5) rows of class and box from lines with boxes or polygons, and the polygons; (0, 2) for a box."""
    rows, polygons = [], []
    for number, tokens in lines:
        values = _numbers(number, tokens)
        if len(values) == 5:
            rows.append(values)
            polygons.append(np.zeros((0, 2), np.float32))
        elif len(values) >= 7 and len(values) % 2:
            polygon = values[1:].reshape(-1, 2)
            low, high = polygon.min(0), polygon.max(0)
            rows.append(np.concatenate([values[:1], (low + high) / 2, high - low]))
            polygons.append(polygon.astype(np.float32))
        else:
            remedy = "write 'class cx cy w h', or 'class x1 y1 x2 y2 x3 y3 ...'"
            raise LabelError(f"{number}: {len(values)} numbers in the line; {remedy}")
    return np.array(rows), polygons


def _first_of_each(rows: np.ndarray) -> np.ndarray:
    """Indices of the rows that repeat none before them, in order."""
    if len(rows) < 2:
        return np.arange(len(rows))
    return np.sort(np.unique(rows, axis=0, return_index=True)[1])


# --------------------------------------------------------------------------------------------------------------- checks


def _check_count(lines: _Lines, count: int, rule: str) -> None:
    for number, tokens in lines:
        if len(tokens) != count:
            raise LabelError(f"{number}: {len(tokens)} numbers in the line instead of {count}; {rule}")


def _check_rows(lines: _Lines, rows: np.ndarray, polygons: Sequence[np.ndarray], nc: int) -> None:
    cls = rows[:, 0]
    with np.errstate(invalid="ignore"):
        good = (cls == np.floor(cls)) & (cls >= 0) & (cls < nc) & ((rows[:, 1:] >= 0) & (rows[:, 1:] <= 1)).all(1)
    for i, polygon in enumerate(polygons):
        if len(polygon):
            good[i] &= bool(((polygon >= 0) & (polygon <= 1)).all())
    if good.all():
        return
    bad = int(np.flatnonzero(~good)[0])
    _check_class_and_finite(lines[bad : bad + 1], rows[bad : bad + 1], nc)
    number, tokens = lines[bad]
    wrong = next(token for token in tokens[1:] if not 0 <= float(token) <= 1)
    raise LabelError(f"{number}: coordinate {wrong} is outside 0 to 1; divide pixels by the image's width and height")


def _check_class_and_finite(lines: _Lines, rows: np.ndarray, nc: int) -> None:
    cls = rows[:, 0]
    finite = np.isfinite(rows).all(1)
    with np.errstate(invalid="ignore"):
        good = finite & (cls == np.floor(cls)) & (cls >= 0) & (cls < nc)
    if good.all():
        return
    bad = int(np.flatnonzero(~good)[0])
    number, tokens = lines[bad]
    if not finite[bad]:
        raise LabelError(f"{number}: a value is NaN or Inf; correct the line")
    raise LabelError(
        f"{number}: class {tokens[0]} is not an integer from 0 to {nc - 1}; add it to `names`, or correct the line"
    )


def _check_reach(lines: _Lines, coordinates: np.ndarray) -> None:
    """Coordinates may lie outside the image, but not so far that they must be pixels."""
    bad = ((coordinates < -MAX_OUTSIDE) | (coordinates > 1 + MAX_OUTSIDE)).any(1)
    if bad.any():
        row = int(bad.argmax())
        value = coordinates[row][np.abs(coordinates[row] - 0.5).argmax()]
        raise LabelError(
            f"{lines[row][0]}: coordinate {value:g} is far outside 0 to 1; divide pixels by the image's width and "
            "height"
        )
