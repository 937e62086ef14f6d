"""The rules: what a readable picture is and what a line of a label file must look like.

A label file has one object a line, blank-separated, coordinates as fractions of the picture: `class cx cy w h`, or a
polygon `class x1 y1 x2 y2 x3 y3 ...`. Each line is judged by itself. Nothing is ever written or mended on the disk.
"""

from __future__ import annotations

import os

import numpy as np

from ultralytics.data.images import IMG_FORMATS

MIN_SIDE = 10  # pixels; smaller pictures are taken for broken


class LabelError(ValueError):
    """What is wrong with a picture or its labels, and where."""


def parse_labels(raw: bytes, nc: int) -> tuple[np.ndarray, np.ndarray, list[np.ndarray], int]:
    """Objects of a label file.

    Args:
        raw: content of the file; UTF-8, with or without byte order mark, any line ends.
        nc: number of classes.

    Returns:
        (n,) int32 class ids; (n, 4) float32 boxes cx, cy, w, h; n arrays (m, 2) float32 of polygon points, m = 0 for a
        box; and how many repeated lines were left out.

    Raises:
        LabelError: "line: what is wrong; remedy".
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise LabelError(f"1: this is not UTF-8 text ({e.reason}); save it as UTF-8") from e
    lines = [(number, tokens) for number, line in enumerate(text.splitlines(), 1) if (tokens := line.split())]
    if all(len(tokens) == 5 for _, tokens in lines):
        rows, points = _box_rows(lines), [np.zeros((0, 2), np.float32)] * len(lines)
    else:
        rows, points = _mixed_rows(lines)
    _check_rows(lines, rows, points, nc)
    boxes = rows.astype(np.float32)
    _, first = np.unique(boxes, axis=0, return_index=True) if len(boxes) > 1 else (None, np.arange(len(boxes)))
    keep = np.sort(first)
    return boxes[keep, 0].astype(np.int32), boxes[keep, 1:], [points[i] for i in keep], len(rows) - len(keep)


def check_image(path: str) -> tuple[int, int]:
    """Rows and columns of a picture as displayed, after a look at whether it can be read.

    Raises:
        LabelError: what is wrong with it.
    """
    from PIL import Image  # 60 ms of import that prediction does not spend

    try:
        with Image.open(path) as image:
            image.verify()
            kind, (w, h) = (image.format or "").lower(), image.size
            turned = kind in ("jpeg", "mpo") and image.getexif().get(0x0112) in (5, 6, 7, 8)
        if kind == "jpeg" and not _ends_as_jpeg(path):
            with Image.open(path) as image:
                image.load()  # fails if it is cut off; bytes after the end do no harm
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as e:
        raise LabelError(f"the image cannot be read ({e}); replace or remove it") from e
    if kind not in IMG_FORMATS:
        raise LabelError(
            f"the image has the format {kind or 'unknown'}; save it as one of {', '.join(sorted(IMG_FORMATS))}"
        )
    if min(w, h) < MIN_SIDE:
        raise LabelError(f"the image is only {w}x{h} pixels; at least {MIN_SIDE} on each side are needed")
    return (w, h) if turned else (h, w)


def _box_rows(lines: list[tuple[int, list[str]]]) -> np.ndarray:
    if not lines:
        return np.zeros((0, 5))
    try:
        return np.array([tokens for _, tokens in lines], np.float64)
    except ValueError:
        return np.array([_numbers(number, tokens) for number, tokens in lines])  # raises with the line's number


def _mixed_rows(lines: list[tuple[int, list[str]]]) -> tuple[np.ndarray, list[np.ndarray]]:
    rows, points = [], []
    for number, tokens in lines:
        values = _numbers(number, tokens)
        if len(values) == 5:
            rows.append(values)
            points.append(np.zeros((0, 2), np.float32))
        elif len(values) >= 7 and len(values) % 2:
            polygon = values[1:].reshape(-1, 2)
            low, high = polygon.min(0), polygon.max(0)
            rows.append(np.concatenate([values[:1], (low + high) / 2, high - low]))
            points.append(polygon.astype(np.float32))
        else:
            remedy = "write 'class cx cy w h', or 'class x1 y1 x2 y2 x3 y3 ...'"
            raise LabelError(f"{number}: {len(values)} numbers in the line; {remedy}")
    return np.array(rows), points


def _numbers(number: int, tokens: list[str]) -> np.ndarray:
    try:
        return np.array(tokens, np.float64)
    except ValueError as e:
        raise LabelError(f"{number}: {e}; write numbers separated by blanks") from e


def _check_rows(lines: list[tuple[int, list[str]]], rows: np.ndarray, points: list[np.ndarray], nc: int) -> None:
    cls = rows[:, 0]
    with np.errstate(invalid="ignore"):
        good = (cls == np.floor(cls)) & (cls >= 0) & (cls < nc) & ((rows[:, 1:] >= 0) & (rows[:, 1:] <= 1)).all(1)
    for i, polygon in enumerate(points):
        if len(polygon):
            good[i] &= bool(((polygon >= 0) & (polygon <= 1)).all())
    if good.all():
        return
    bad = int(np.flatnonzero(~good)[0])
    number, tokens = lines[bad]
    if not np.isfinite(rows[bad]).all():
        raise LabelError(f"{number}: a value is not a finite number; correct the line")
    if cls[bad] != np.floor(cls[bad]) or not 0 <= cls[bad] < nc:
        raise LabelError(
            f"{number}: class {tokens[0]} is not a whole number from 0 to {nc - 1}; "
            "add it to `names`, or correct the line"
        )
    wrong = next(token for token in tokens[1:] if not 0 <= float(token) <= 1)
    raise LabelError(f"{number}: coordinate {wrong} is outside 0 to 1; divide pixels by the picture's width and height")


def _ends_as_jpeg(path: str) -> bool:
    with open(path, "rb") as f:  # noqa: PTH123 - once a picture, of which there may be a million
        f.seek(-2, os.SEEK_END)
        return f.read() == b"\xff\xd9"
