"""The networks, one class per task, and what model files, networks and file names say about their task.

Class and function names are those of ultralytics 8.3.0, because checkpoints and scripts use them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ultralytics.nn import registry
from ultralytics.nn.augmented_prediction import predict_augmented
from ultralytics.nn.base import BaseModel, Config, Criterion
from ultralytics.nn.model_file import ModelFileError, guess_model_scale, yaml_model_load
from ultralytics.nn.modules import Detect, Pose
from ultralytics.nn.parser import parse_model
from ultralytics.tasks import OFFICIAL_TASKS, task_of_file_name, task_of_head
from ultralytics.utils import LOGGER
from ultralytics.utils.loss import (
    E2EDetectLoss,
    v8ClassificationLoss,
    v8DetectionLoss,
    v8OBBLoss,
    v8PoseLoss,
    v8SegmentationLoss,
)
from ultralytics.utils.torch_utils import max_stride

__all__ = [
    "BaseModel",
    "ClassificationModel",
    "DetectionModel",
    "ModelFileError",
    "OBBModel",
    "PoseModel",
    "SegmentationModel",
    "guess_model_scale",
    "guess_model_task",
    "parse_model",
    "yaml_model_load",
]


class DetectionModel(BaseModel):
    """YOLO for detection.

    Args:
        cfg: model file (its name may contain a scale letter, as in yolo11s.yaml) or its content; not changed.
        ch: channels of the images, unless the file has `ch`.
        nc: number of classes in place of the file's.
        verbose: log layers and summary.

    Raises:
        ModelFileError: the file cannot become a network; names the row.
    """

    def __init__(self, cfg: Config = "yolov8n.yaml", ch: int = 3, nc: int | None = None, verbose: bool = True) -> None:
        super().__init__()
        self.build(cfg, ch, verbose, nc=nc)

    def init_criterion(self) -> Criterion:
        return E2EDetectLoss(self) if getattr(self.model[-1], "end2end", False) else v8DetectionLoss(self)

    def _predict_augment(self, x: Tensor) -> Any:
        head = self.model[-1]
        # heads with another output have a forward of their own
        if self.training or not isinstance(head, Detect) or type(head).forward is not Detect.forward:
            return super()._predict_augment(x)
        return predict_augmented(
            lambda image: self._predict_once(image)[0], x, max_stride(self, least=1), head.nl
        ), None


class SegmentationModel(DetectionModel):
    """YOLO for instance segmentation; arguments as of DetectionModel."""

    def init_criterion(self) -> Criterion:
        return v8SegmentationLoss(self)


class PoseModel(DetectionModel):
    """YOLO for pose estimation.

    Args:
        cfg, ch, nc, verbose: as of DetectionModel.
        data_kpt_shape: (number of keypoints, values per keypoint) of the dataset, in place of the file's `kpt_shape`.

    Attributes:
        kpt_shape: (number of keypoints, values per keypoint: 2 for x, y, or 3 with the visibility).

    Raises:
        ModelFileError: as of DetectionModel, or the head does not take `data_kpt_shape`.
    """

    def __init__(
        self,
        cfg: Config = "yolov8n-pose.yaml",
        ch: int = 3,
        nc: int | None = None,
        data_kpt_shape: Sequence[int | None] = (None, None),
        verbose: bool = True,
    ) -> None:
        BaseModel.__init__(self)
        shape = list(data_kpt_shape) if all(data_kpt_shape) else None
        self.build(cfg, ch, verbose, nc=nc, kpt_shape=shape)
        head, file = self.model[-1], self.yaml.get("yaml_file") or "model file"
        if not isinstance(head, Pose):
            raise ModelFileError(f"{file}: the last row is {type(head).__name__}; a pose network needs Pose")
        # an attribute and not a property: 8.3.0 reads it from the pickled network
        self.kpt_shape = int(head.kpt_shape[0]), int(head.kpt_shape[1])
        if shape and self.kpt_shape != tuple(shape):
            raise ModelFileError(
                f"{file}: the last row has kpt_shape {list(self.kpt_shape)}, the data {shape}; write [nc, kpt_shape] "
                "as its arguments"
            )

    @property
    def kpt_sigmas(self) -> list[float] | None:
        """Standard deviations of the keypoints that the loss uses, from the dataset file; None for the defaults.

        They are kept in `yaml`, and with it in checkpoints.
        """
        return self.yaml.get("kpt_sigmas")

    @kpt_sigmas.setter
    def kpt_sigmas(self, sigmas: Sequence[float] | None) -> None:
        self.yaml.pop("kpt_sigmas", None)
        if sigmas:
            self.yaml["kpt_sigmas"] = [float(sigma) for sigma in sigmas]

    def init_criterion(self) -> Criterion:
        return v8PoseLoss(self)


class OBBModel(DetectionModel):
    """YOLO for oriented boxes; arguments as of DetectionModel."""

    def init_criterion(self) -> Criterion:
        return v8OBBLoss(self)


class ClassificationModel(BaseModel):
    """YOLO for classification of whole images; arguments as of DetectionModel.

    Attributes:
        transforms: set in training, as in 8.3.0: from an RGB PIL image to the input (3, H, W) of validation.

    Raises:
        ModelFileError: neither the file nor `nc` says how many classes there are.
    """

    batch_norm = (1e-5, 0.1)  # PyTorch's defaults, which 8.3.0 changes in the other tasks only
    transforms: Any

    def __init__(
        self, cfg: Config = "yolov8n-cls.yaml", ch: int = 3, nc: int | None = None, verbose: bool = True
    ) -> None:
        super().__init__()
        self.build(cfg, ch, verbose, nc=nc)

    def set_up_head(self) -> None:
        """Images of any size fit: the head averages over the map. Statistics of normalizations stay as they are."""
        self.eval()
        self.measure()
        self.train()
        self.stride = torch.tensor([1.0], device="cpu")

    def init_criterion(self) -> Criterion:
        criterion = v8ClassificationLoss()
        # in evaluation mode the head gives probabilities, in training mode logits
        return lambda preds, batch: criterion(preds, batch, probabilities=not self.training)


def guess_model_task(model: Config | nn.Module) -> str:
    """Task of a model file's content, a network, or a file name; 'detect' with a warning if it cannot be determined."""
    if isinstance(model, Mapping):
        task = _task_of_content(model)
    elif isinstance(model, nn.Module):
        task = _task_of_network(model)
    else:
        task = _task_of_path(Path(model))
    if task is None:
        LOGGER.warning(
            f"the task of '{model!s:.60}' cannot be determined; using 'detect'. Set it with task=detect, segment, …"
        )
    return task or "detect"


def _task_of_path(path: Path) -> str | None:
    task = task_of_file_name(path.stem)
    folder = next((part for part in path.parts if part in OFFICIAL_TASKS), None)
    return task.name if task else folder or ("detect" if "yolo" in path.stem.lower() else None)


def _task_of_content(content: Mapping[str, Any]) -> str | None:
    rows = content.get("head") or content.get("backbone")
    if not rows:
        return None
    name = str(rows[-1][2])
    entry = registry.lookup(name)
    task = task_of_head([name, *(_class_names(entry.cls) if entry else [])])
    return task.name if task else None


def _task_of_network(model: nn.Module) -> str | None:
    args = getattr(model, "args", None)
    task = args.get("task") if isinstance(args, Mapping) else getattr(args, "task", None)
    if task in OFFICIAL_TASKS:
        return task
    content = getattr(model, "yaml", None)
    if isinstance(content, Mapping):
        return _task_of_content(content)
    tasks = (task_of_head(_class_names(type(m))) for m in model.modules())
    return next((task.name for task in tasks if task), None)


def _class_names(cls: type) -> list[str]:
    return [base.__name__ for base in cls.__mro__]


registry.search_namespace(__name__)  # scripts written for 8.3.0 put their blocks here
