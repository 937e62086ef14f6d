"""The official COCO metrics for any dataset: labels as COCO JSON, predictions.json evaluated by COCO's rules.

Boxes, masks and keypoints; the engine is faster-coco-eval if it is installed, else pycocotools.

They differ from the metrics that validation prints, which are those of ultralytics 8.3.0, by up to 0.03. COCO samples
the precision at 101 recall levels without interpolation and counts 0 beyond the highest recall; 8.3.0 interpolates
linearly, down to (1, 0), so that a perfect class has 0.995. COCO matches every detection, highest confidence first,
with the unmatched instance of highest IoU, and uses at most 100 detections per image (20 for keypoints). Sizes are
areas in pixels of the original image, of the mask if there is one, else of the box: small below 32 squared, large above
96 squared.
"""

from __future__ import annotations

import importlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from itertools import chain, count
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ultralytics.utils import rle
from ultralytics.utils.files import atomic_write
from ultralytics.utils.printable import printable

Overlap = Literal["bbox", "segm", "keypoints"]

# names of the twelve metrics of COCOeval, in its order
METRICS: tuple[str, ...] = ("AP", "AP50", "AP75", "APsmall", "APmedium", "APlarge", "AR1", "AR10", "AR100")
METRICS += ("ARsmall", "ARmedium", "ARlarge")
# for keypoints there are ten; AP of small instances is not defined, since their keypoints are not labeled in COCO
KEYPOINT_METRICS: tuple[str, ...] = ("AP", "AP50", "AP75", "APmedium", "APlarge")
KEYPOINT_METRICS += ("AR", "AR50", "AR75", "ARmedium", "ARlarge")
# modules of COCO and COCOeval, the first one installed is used
ENGINES: dict[str, tuple[str, str, str, str]] = {
    "faster-coco-eval": ("faster_coco_eval", "COCO", "faster_coco_eval", "COCOeval_faster"),
    "pycocotools": ("pycocotools.coco", "COCO", "pycocotools.cocoeval", "COCOeval"),
}
_KEYPOINT_AREA = 0.53  # share of the box that COCO's people cover on average; the area of an instance without a mask


class CocoError(ValueError):
    """The COCO metrics cannot be computed for this dataset."""


def image_id(file: str | Path) -> int | str:
    """The COCO id of an image: its file name without suffix, as an integer if it is one."""
    stem = printable(Path(file).stem)
    return int(stem) if stem.isdecimal() else stem


class GroundTruth:
    """Collects the labels of a dataset in COCO format.

    Args:
        names: class names by index; the indices are the category ids.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        self._names = dict(names)
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._ids: dict[str, int | str] = {}
        self._taken: set[int | str] = set()

    def image_id(self, file: str | Path) -> int | str:
        """The id of an image of the dataset: that of its name, or with a number if another image has it (`a_2`)."""
        if str(file) not in self._ids:
            names: Iterable[int | str] = chain(
                [image_id(file)], (f"{printable(Path(file).stem)}_{n}" for n in count(2))
            )
            id_ = next(name for name in names if name not in self._taken)
            self._ids[str(file)] = id_
            self._taken.add(id_)
        return self._ids[str(file)]

    def add(
        self,
        file: str | Path,
        shape: Sequence[int],
        boxes: np.ndarray,
        classes: np.ndarray,
        *,
        masks: Iterable[np.ndarray] | None = None,
        keypoints: np.ndarray | None = None,
    ) -> None:
        """Add an image with m instances.

        Args:
            file: path of the image.
            shape: (height, width).
            boxes: (m, 4) corners in pixels.
            classes: (m,).
            masks: m masks (height, width), nonzero inside.
            keypoints: (m, K, 3) x and y in pixels, and the visibility 0, 1 or 2.
        """
        id_, (height, width) = self.image_id(file), map(int, shape[:2])
        self._images.append({"id": id_, "file_name": printable(Path(file).name), "height": height, "width": width})
        first = len(self._annotations)
        for (x1, y1, x2, y2), c in zip(boxes.tolist(), classes.tolist(), strict=True):
            box = [round(v, 3) for v in (x1, y1, x2 - x1, y2 - y1)]
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,  # 0 means "unmatched" in pycocotools
                    "image_id": id_,
                    "category_id": int(c),
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
        added = self._annotations[first:]
        for annotation, mask in zip(added, masks if masks is not None else (), strict=masks is not None):
            annotation |= {"segmentation": rle.encode(mask), "area": int(np.count_nonzero(mask))}
        for annotation, points in zip(added, keypoints if keypoints is not None else (), strict=keypoints is not None):
            annotation["keypoints"] = points.round(3).reshape(-1).tolist()
            annotation["num_keypoints"] = int((points[:, 2] > 0).sum())
            if masks is None:
                annotation["area"] *= _KEYPOINT_AREA

    def as_dict(self) -> dict[str, list[dict[str, Any]]]:
        """The three lists images, annotations and categories."""
        categories = [{"id": index, "name": name} for index, name in self._names.items()]
        return {"images": self._images, "annotations": self._annotations, "categories": categories}

    def write(self, path: Path) -> None:
        """Write the JSON file."""
        with atomic_write(path) as file:
            file.write(json.dumps(self.as_dict(), ensure_ascii=False).encode())


def evaluate(
    truth: Mapping[str, Sequence[Mapping[str, object]]],
    detections: Sequence[Mapping[str, object]],
    overlap: Overlap = "bbox",
    *,
    sigmas: Sequence[float] | None = None,
    engine: str | None = None,
) -> dict[str, float]:
    """The COCO metrics.

    Args:
        truth: from `GroundTruth.as_dict`.
        detections: as in predictions.json: image_id, category_id, score, bbox (left, top, width, height), and what
            `overlap` compares: segmentation (see `rle.encode`), or keypoints (a flat list of x, y, confidence).
        overlap: what is compared: boxes, masks or keypoints.
        sigmas: (K,) standard deviations of the keypoints; those of COCO's 17 if None.
        engine: a key of `ENGINES`; None takes the first one that is installed.

    Returns:
        Values in 0..1 by the names of `METRICS` (`KEYPOINT_METRICS` for keypoints); NaN if the dataset has no instances
        of that size.

    Raises:
        ImportError: no engine is installed.
        CocoError: two images have the same name, or a detection belongs to an image that is not in `truth`.
    """
    coco, evaluator = _library(engine)
    numbers: dict[object, int] = {}  # image id -> consecutive number
    for image in truth["images"]:
        if image["id"] in numbers:
            raise CocoError(f"two images have the name {image['id']}; the COCO metrics require unique names")
        numbers[image["id"]] = len(numbers) + 1  # pycocotools sorts ids, so strings and integers cannot be mixed
    unknown = {d["image_id"] for d in detections} - numbers.keys()
    if unknown:
        raise CocoError(
            f"there are detections for images that are not in the ground truth, such as {next(iter(unknown))}"
        )
    reference, results = coco(), coco()
    reference.dataset = {
        "images": [dict(image) | {"id": numbers[image["id"]]} for image in truth["images"]],
        "annotations": [dict(x) | {"image_id": numbers[x["image_id"]]} for x in truth["annotations"]],
        "categories": truth["categories"],
    }
    with redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        reference.createIndex()
        if detections:  # pycocotools cannot load an empty list
            results = reference.loadRes([dict(d) | {"image_id": numbers[d["image_id"]]} for d in detections])
        run = evaluator(reference, results, overlap)
        if overlap == "keypoints" and sigmas is not None:
            run.params.kpt_oks_sigmas = np.asarray(sigmas, np.float64)
        run.evaluate()
        run.accumulate()
        run.summarize()
    # faster-coco-eval has more values after these
    values = zip(KEYPOINT_METRICS if overlap == "keypoints" else METRICS, run.stats, strict=False)
    return {name: float(v) if v >= 0 else float("nan") for name, v in values}


def table(metrics: Mapping[str, float], title: str = "COCO") -> str:
    """The metrics as two lines of text: names, values."""
    heading = "".join(f"{name:>11}" for name in metrics)
    values = "".join(f"{'-' if np.isnan(v) else format(v, '.3g'):>11}" for v in metrics.values())
    return f"{title:>22}{heading}\n{'all':>22}{values}"


def _library(engine: str | None) -> tuple[Any, Any]:
    """The classes COCO and COCOeval of an engine."""
    for coco_module, coco, eval_module, evaluator in [ENGINES[engine]] if engine else ENGINES.values():
        try:  # optional packages, only needed for the COCO metrics
            return (
                getattr(importlib.import_module(coco_module), coco),
                getattr(importlib.import_module(eval_module), evaluator),
            )
        except ImportError:
            continue
    raise ImportError(
        f"the COCO metrics require {engine or 'faster-coco-eval or pycocotools'}: pip install pycocotools"
    )
