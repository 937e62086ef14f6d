"""COCO's own metrics for any dataset: the labels as COCO JSON, and pycocotools' evaluation of predictions.json.

They differ from the metrics that validation prints, which are those of ultralytics 8.3.0, by up to 0.03. COCO takes the
precision at 101 recalls as a step curve that is 0 beyond the highest recall reached; 8.3.0 draws straight lines, there
down to (1, 0), and a perfect class has 0.995. COCO matches every detection, the most confident first, with the best
object that is still free, and counts 100 detections an image. Sizes are areas of the boxes in pixels of the original
image: small below 32 squared, large above 96 squared.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from ultralytics.utils.files import atomic_write

# names of COCOeval's twelve figures, in its order
FIGURES: tuple[str, ...] = ("AP", "AP50", "AP75", "APsmall", "APmedium", "APlarge", "AR1", "AR10", "AR100")
FIGURES += ("ARsmall", "ARmedium", "ARlarge")


class CocoError(ValueError):
    """COCO's evaluation cannot be made of this dataset; says why."""


def image_id(file: str | Path) -> int | str:
    """The name of an image without its ending, as a number where it is one."""
    stem = Path(file).stem
    return int(stem) if stem.isdecimal() else stem


class GroundTruth:
    """Labels on their way to COCO's JSON.

    Args:
        names: class names by number; the numbers are the categories.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        self._names = dict(names)
        self._images: list[dict[str, Any]] = []
        self._objects: list[dict[str, Any]] = []

    def add(self, file: str | Path, shape: Sequence[int], boxes: np.ndarray, classes: np.ndarray) -> None:
        """Add an image of `shape` (height, width) with boxes (M, 4), corners in pixels, and classes (M,)."""
        number, (height, width) = image_id(file), map(int, shape[:2])
        self._images.append({"id": number, "file_name": Path(file).name, "height": height, "width": width})
        for (x1, y1, x2, y2), c in zip(boxes.tolist(), classes.tolist(), strict=True):
            box = [round(v, 3) for v in (x1, y1, x2 - x1, y2 - y1)]
            self._objects.append(
                {
                    "id": len(self._objects) + 1,  # 0 means "no object" to pycocotools
                    "image_id": number,
                    "category_id": int(c),
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )

    def as_dict(self) -> dict[str, list[dict[str, Any]]]:
        """COCO's three lists."""
        categories = [{"id": number, "name": name} for number, name in self._names.items()]
        return {"images": self._images, "annotations": self._objects, "categories": categories}

    def write(self, path: Path) -> None:
        """Write the JSON file."""
        with atomic_write(path) as file:
            file.write(json.dumps(self.as_dict(), ensure_ascii=False).encode())


def evaluate(truth: Mapping[str, Any], detections: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """COCO's twelve figures.

    Args:
        truth: as `GroundTruth.as_dict` gives it.
        detections: as in predictions.json: image_id, category_id, bbox (left, top, width, height), score.

    Returns:
        Values in 0..1 by the names of `FIGURES`; nan where the dataset has no objects of that size.

    Raises:
        ImportError: pycocotools is missing.
        CocoError: two images have the same name, or a detection is of an image that `truth` has not.
    """
    coco, evaluator = _library()
    numbers: dict[Any, int] = {}
    for image in truth["images"]:
        if image["id"] in numbers:
            raise CocoError(f"two images are called {image['id']}; COCO's metrics need a name of its own for each")
        numbers[image["id"]] = len(numbers) + 1  # pycocotools sorts them, so texts and numbers cannot be mixed
    strangers = {d["image_id"] for d in detections} - numbers.keys()
    if strangers:
        raise CocoError(f"there are detections of images without labels, such as {next(iter(strangers))}")
    reference, found = coco(), coco()
    reference.dataset = {
        "images": [image | {"id": numbers[image["id"]]} for image in truth["images"]],
        "annotations": [dict(x) | {"image_id": numbers[x["image_id"]]} for x in truth["annotations"]],
        "categories": truth["categories"],
    }
    with redirect_stdout(io.StringIO()):  # it prints its progress
        reference.createIndex()
        if detections:  # without any, pycocotools cannot read the list
            found = reference.loadRes([dict(d) | {"image_id": numbers[d["image_id"]]} for d in detections])
        run = evaluator(reference, found, "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return {name: float(v) if v >= 0 else float("nan") for name, v in zip(FIGURES, run.stats, strict=True)}


def table(figures: Mapping[str, float]) -> str:
    """Two lines for people: names, values."""
    heading = "".join(f"{name:>11}" for name in figures)
    values = "".join(f"{'-' if np.isnan(v) else format(v, '.3g'):>11}" for v in figures.values())
    return f"{'COCO':>22}{heading}\n{'all':>22}{values}"


def _library() -> tuple[Any, Any]:
    try:
        from pycocotools.coco import COCO  # an extra: only who asks for COCO's metrics needs it
        from pycocotools.cocoeval import COCOeval
    except ImportError as e:
        raise ImportError("COCO's own metrics need the package pycocotools: pip install pycocotools") from e
    return COCO, COCOeval
