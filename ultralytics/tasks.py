"""The table of tasks: everything the package knows about a task by name, and where its classes are.

A row holds strings and plain facts only, so that reading the table imports neither torch nor a task's code; classes
are imported when they are needed. Adding a task is a folder in models/yolo and a row of `_ROWS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ultralytics.utils.suggest import did_you_mean

Role = Literal["model", "trainer", "validator", "predictor"]
LabelKind = Literal["box", "polygon", "keypoints", "oriented_box", "class"]


@dataclass(frozen=True)
class LabelSchema:
    """What one line of a label file holds, and with it what an instance of the dataset has; and where the files are.

    Attributes:
        kind: "box" (`class cx cy w h`, or a polygon, of which the bounding box is used), "polygon" (`class x1 y1 x2 y2
            ...`), "keypoints" (`class cx cy w h` and then `num_keypoints` times x, y and, with three values per
            keypoint, the visibility), "oriented_box" (`class x1 y1 x2 y2 x3 y3 x4 y4`), or "class" (no label file: the
            folder of an image is its class).
        kpt_shape: (number of keypoints, values per keypoint: 2 or 3) for "keypoints"; comes from the dataset file.
        folder: name of the folder of the label files, which replaces `images` in the path of an image; the dataset file
            may set it with `labels_dir`.
    """

    kind: LabelKind = "box"
    kpt_shape: tuple[int, int] | None = None
    folder: str = "labels"


@dataclass(frozen=True)
class Task:
    """One row of the table.

    Attributes:
        name: what users write as `task=`.
        suffix: ending of the names of its model files, such as "-seg"; empty for detect.
        heads: names of the head classes that end its model files; their subclasses belong to the task too.
        aliases: other names that old model files use for the head.
        package: module that exports the classes below.
        prefix: the classes are called `<prefix>Model` (in ultralytics.nn.tasks), `<prefix>Trainer`, `<prefix>Validator`
            and `<prefix>Predictor` (in `package`).
        labels: what a label file of the task holds.
        metric_keys: names of the task's metrics, in the order of the columns of results.csv.
        description: what its networks are called in messages.
        imgsz: default image size in pixels.
        kept_options: options of a checkpoint's training, besides those that every task keeps, with which later calls
            start: they decide which images belong to a split and how an image is prepared.
        unused_options: options that have no effect on the task although they have one in the mode.
        available: False for a task of 8.3.0 whose files are recognized, so that messages can name it, but whose
            classes are not part of this version.
    """

    name: str
    suffix: str
    heads: tuple[str, ...]
    package: str
    prefix: str
    labels: LabelSchema
    metric_keys: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    description: str = ""
    imgsz: int = 640
    kept_options: tuple[str, ...] = ()
    unused_options: tuple[str, ...] = ()
    available: bool = True

    @property
    def model_class(self) -> str:
        """Name of the network's class, as checkpoints record it."""
        return f"{self.prefix}Model"

    def load(self, role: Role) -> Any:
        """The task's class for `role`, imported now."""
        module = "ultralytics.nn.tasks" if role == "model" else self.package
        return getattr(importlib.import_module(module), f"{self.prefix}{role.capitalize()}")


def _metric_keys(*letters: str) -> tuple[str, ...]:
    """Names of precision, recall and average precision for boxes (B), masks (M) and poses (P)."""
    figures = ("precision", "recall", "mAP50", "mAP50-95")
    return tuple(f"metrics/{figure}({letter})" for letter in letters for figure in figures)


# there are no boxes to match, to suppress, to filter by class, to crop or to move
_UNUSED_BY_CLASSIFICATION = (
    *("single_cls", "rect", "close_mosaic", "multi_scale", "conf", "iou", "max_det", "agnostic_nms", "classes"),
    *("augment", "cache", "save_crop", "save_conf", "show_boxes", "box", "cls", "dfl"),
    *("degrees", "translate", "shear", "perspective", "bgr", "mosaic", "mixup"),
)
_ROWS = (
    Task(
        name="detect",
        suffix="",
        heads=("Detect", "v10Detect"),
        package="ultralytics.models.yolo.detect",
        prefix="Detection",
        labels=LabelSchema("box"),
        metric_keys=_metric_keys("B"),
        description="a detection network",
    ),
    Task(
        name="segment",
        suffix="-seg",
        heads=("Segment",),
        package="ultralytics.models.yolo.segment",
        prefix="Segmentation",
        labels=LabelSchema("polygon"),
        metric_keys=_metric_keys("B", "M"),
        description="a segmentation network",
    ),
    Task(
        name="classify",
        suffix="-cls",
        heads=("Classify",),
        aliases=("classifier", "cls", "fc"),
        package="ultralytics.models.yolo.classify",
        prefix="Classification",
        labels=LabelSchema("class"),
        metric_keys=("metrics/accuracy_top1", "metrics/accuracy_top5"),
        description="a classification network",
        imgsz=224,
        kept_options=("crop_fraction", "letterbox", "seed"),
        unused_options=_UNUSED_BY_CLASSIFICATION,
    ),
    Task(
        name="pose",
        suffix="-pose",
        heads=("Pose",),
        package="ultralytics.models.yolo.pose",
        prefix="Pose",
        labels=LabelSchema("keypoints", (17, 3)),
        metric_keys=_metric_keys("B", "P"),
        description="a pose estimation network",
    ),
    Task(
        name="obb",
        suffix="-obb",
        heads=("OBB",),
        package="ultralytics.models.yolo.obb",
        prefix="OBB",
        labels=LabelSchema("oriented_box"),
        metric_keys=_metric_keys("B"),
        description="a network for oriented boxes",
    ),
)
OFFICIAL_TASKS: tuple[str, ...] = tuple(task.name for task in _ROWS)
TASKS: dict[str, Task] = {task.name: task for task in _ROWS if task.available}


def get_task(name: str, source: str = "") -> Task:
    """The row of a task that this version has.

    Args:
        name: the task.
        source: file or option that named it, put in front of the error.

    Raises:
        ValueError: there is no such task in this version.
    """
    if name not in TASKS:
        where = f"{source}: " if source else ""
        hint = "" if name in OFFICIAL_TASKS else did_you_mean(name, TASKS)
        raise ValueError(f"{where}the task '{name}' is not part of this version; available: {', '.join(TASKS)}{hint}")
    return TASKS[name]


def task_of_head(names: Iterable[str]) -> Task | None:
    """The task of a head, available or not; None if no task has such a head.

    Args:
        names: names of the head in order of preference, such as those of its class and then of its base classes; any
            case.
    """
    tasks = {head.lower(): task for task in _ROWS for head in (*task.heads, *task.aliases)}
    return next((tasks[name.lower()] for name in names if name.lower() in tasks), None)


def task_of_model_class(name: str) -> Task | None:
    """The task, available or not, whose network class is called `name`, as a checkpoint records it."""
    return next((task for task in _ROWS if task.model_class == name), None)


def task_of_file_name(stem: str) -> Task | None:
    """The task, available or not, whose suffix a file's name without its extension contains; None without suffix."""
    return next((task for task in _ROWS if task.suffix and task.suffix in stem), None)
