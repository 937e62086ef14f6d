"""The table of tasks: everything the package knows about a task by name, and where its classes are.

A row holds strings and plain facts only, so that reading the table imports neither torch nor a task's code; classes
are imported when they are asked for. Adding a task is a folder in models/yolo and a row of `TASKS`.
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
    """What one line of a label file holds, and with it what an instance of the dataset has.

    Attributes:
        kind: "box" (`class cx cy w h`, or a polygon, of which the bounding box is used), "polygon" (`class x1 y1 x2 y2
            ...`), "keypoints" (`class cx cy w h` and then `num_keypoints` times x, y and, with three values per
            keypoint, the visibility), "oriented_box" (`class x1 y1 x2 y2 x3 y3 x4 y4`), or "class" (no label file: the
            folder of an image is its class).
        kpt_shape: (number of keypoints, values per keypoint: 2 or 3) for "keypoints"; comes from the dataset file.
    """

    kind: LabelKind = "box"
    kpt_shape: tuple[int, int] | None = None


@dataclass(frozen=True)
class Task:
    """One row of the table.

    Attributes:
        name: what users write as `task=`.
        suffix: ending of the names of its model files, such as "-seg"; empty for detect.
        heads: names of the head classes that end its model files; an added module that subclasses one registers its
            own name with the task (see nn/registry.py).
        aliases: other names that old model files use for the head.
        package: module that exports the classes below.
        prefix: the classes are called `<prefix>Model` (in ultralytics.nn.tasks), `<prefix>Trainer`, `<prefix>Validator`
            and `<prefix>Predictor` (in `package`).
        labels: what a label file of the task holds.
        metric_keys: names of the task's metrics, in the order of the columns of results.csv.
    """

    name: str
    suffix: str
    heads: tuple[str, ...]
    package: str
    prefix: str
    labels: LabelSchema
    metric_keys: tuple[str, ...]
    aliases: tuple[str, ...] = ()

    @property
    def model_class(self) -> str:
        """Name of the network's class, as checkpoints record it."""
        return f"{self.prefix}Model"

    def load(self, role: Role) -> Any:
        """The task's class for `role`, imported now."""
        module = "ultralytics.nn.tasks" if role == "model" else self.package
        return getattr(importlib.import_module(module), f"{self.prefix}{role.capitalize()}")


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            name="detect",
            suffix="",
            heads=("Detect",),
            package="ultralytics.models.yolo.detect",
            prefix="Detection",
            labels=LabelSchema("box"),
            metric_keys=("metrics/precision(B)", "metrics/recall(B)", "metrics/mAP50(B)", "metrics/mAP50-95(B)"),
        ),
    )
}
# tasks of 8.3.0 that have no row yet: their names are options, so that the error can say that they are missing
OFFICIAL_TASKS = ("detect", "segment", "classify", "pose", "obb")


def get_task(name: str, source: str = "") -> Task:
    """The row of a task.

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
    """The task whose head is called by one of `names`, any case; None if no task has such a head."""
    wanted = {name.lower() for name in names}
    for task in TASKS.values():
        if wanted & {name.lower() for name in (*task.heads, *task.aliases)}:
            return task
    return None


def task_of_model_class(name: str) -> Task | None:
    """The task whose network class is called `name`, as a checkpoint records it."""
    return next((task for task in TASKS.values() if task.model_class == name), None)
