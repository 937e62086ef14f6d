"""Predictions in the format of DOTA's evaluation server, and predictions on tiles merged into whole images.

One file per class, `Task1_<class>.txt`, holds a line `image score x1 y1 x2 y2 x3 y3 x4 y4` for each oriented box.
Images cut into tiles are named `<image>__<size>__<x>___<y>`, x and y being the upper left corner of the tile.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypedDict

import torch

from ultralytics.utils.files import atomic_write
from ultralytics.utils.rotated_boxes import nms_rotated, xywhr2xyxyxyxy

MERGE_THRESHOLD = 0.3  # of ProbIoU, for boxes that several overlapping tiles show; as in 8.3.0
_TILE = re.compile(r"(?P<image>.+?)__\d+__(?P<x>\d+)___(?P<y>\d+)$")


class Prediction(TypedDict):
    """A row of predictions.json.

    Attributes:
        image_id: name of the image without its suffix.
        category_id: class index.
        score: confidence.
        rbox: center x, center y, width, height in pixels, angle in radians.
        poly: x, y of the four corners in pixels.
    """

    image_id: int | str
    category_id: int
    score: float
    rbox: list[float]
    poly: list[float]


class _Line(NamedTuple):
    image: str
    category: int
    score: float
    poly: list[float]


def write_predictions(predictions: Iterable[Prediction], names: Mapping[int, str], save_dir: Path) -> list[Path]:
    """Write `predictions_txt`, and `predictions_merged_txt` if there are tiles; returns the folders written.

    Args:
        predictions: of all images.
        names: class names by index; every class gets a file.
        save_dir: folder of the run.
    """
    predictions = list(predictions)
    lines = [_Line(str(p["image_id"]), p["category_id"], p["score"], p["poly"]) for p in predictions]
    folders = [_write(lines, names, save_dir / "predictions_txt")]
    if any(_TILE.match(line.image) for line in lines):
        folders.append(_write(merge_tiles(predictions), names, save_dir / "predictions_merged_txt"))
    return folders


def merge_tiles(predictions: Iterable[Prediction]) -> list[_Line]:
    """Predictions in pixels of the whole images; of boxes that overlap, the one with the highest confidence is kept.

    Predictions of images that are not tiles are kept as they are in their image.
    """
    groups: dict[tuple[str, int], list[list[float]]] = defaultdict(list)  # rows of xywhr and score
    for p in predictions:
        name = str(p["image_id"])
        tile = _TILE.match(name)
        x, y = (int(tile["x"]), int(tile["y"])) if tile else (0, 0)
        cx, cy, *rest = p["rbox"]
        groups[tile["image"] if tile else name, p["category_id"]].append([cx + x, cy + y, *rest, p["score"]])
    lines = []
    for (image, category), group in groups.items():
        rows = torch.tensor(group, dtype=torch.float64)
        rows = rows[nms_rotated(rows[:, :5], rows[:, 5], MERGE_THRESHOLD)]
        polygons = xywhr2xyxyxyxy(rows[:, :5]).flatten(1).tolist()
        scores = rows[:, 5].tolist()
        lines += [_Line(image, category, score, poly) for score, poly in zip(scores, polygons, strict=True)]
    return lines


def _write(lines: Iterable[_Line], names: Mapping[int, str], folder: Path) -> Path:
    by_class: dict[int, list[str]] = {category: [] for category in names}
    for line in lines:
        corners = " ".join(f"{value:.2f}" for value in line.poly)
        by_class[line.category].append(f"{line.image} {line.score:.5f} {corners}\n")
    for category, texts in by_class.items():
        name = re.sub(r"[\s/\\]", "-", names[category])
        with atomic_write(folder / f"Task1_{name}.txt", "w") as file:
            file.write("".join(texts))
    return folder
