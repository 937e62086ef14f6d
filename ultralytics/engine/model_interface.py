"""What scripts see of a YOLO object as a `torch.nn.Module`: devices, modes, weights, and the attributes of 8.3.0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import _IncompatibleKeys

from ultralytics.engine.task_classes import TaskClasses, task_classes
from ultralytics.nn.base import BaseModel
from ultralytics.tasks import Role, get_task
from ultralytics.utils.torch_utils import select_device


class ModelInterface(nn.Module):
    """The part of `YOLO` that is a `torch.nn.Module` with one child, the network `model`.

    `parameters()`, `state_dict()`, `modules()` and the like are those of PyTorch; names begin with `model.`.

    Attributes:
        model: the network.
        overrides: settings that every call starts from.
        ckpt: contents of the checkpoint, the network as "model"; None for a new network.
        cfg: the model file, None for a checkpoint.
        model_name: the file as it was given.
        session: always None; of 8.3.0's online service, which this package does not use.
    """

    model: BaseModel
    session: None = None

    def __init__(self) -> None:
        super().__init__()
        self.overrides: dict[str, Any] = {}
        self.ckpt: dict[str, Any] | None = None
        self.cfg: str | None = None
        self.model_name = ""
        self._has_weights = False  # False while the weights are the random ones of a model file

    # ---- attributes

    @property
    def task(self) -> str:
        """The task of the network, a name of ultralytics.tasks; later calls use the classes of a task set here.

        Raises:
            ValueError: on setting, there is no such task in this version.
        """
        return self.model.task

    @task.setter
    def task(self, name: str) -> None:
        self.model.task = self.overrides["task"] = get_task(name).name

    @property
    def task_map(self) -> Mapping[str, TaskClasses]:
        """By task the classes for "model", "trainer", "validator" and "predictor"; a subclass may override it."""
        return task_classes()

    @property
    def names(self) -> dict[int, str]:
        """Class names by number."""
        return self.model.names

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.model.parameters()).device

    @property
    def transforms(self) -> Any:
        """From an RGB PIL image to the input of a trained classification network; None for other networks."""
        own = getattr(self.model, "transforms", None)
        if own is not None or self.task != "classify" or not self._has_weights:
            return own
        from ultralytics.data.classify_transforms import classify_transforms  # imports torchvision, which is slow

        options = {key: self.overrides[key] for key in ("crop_fraction", "letterbox") if key in self.overrides}
        return classify_transforms(self.overrides.get("imgsz", get_task(self.task).imgsz), **options)

    # ---- devices and weights

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """As of `torch.nn.Module`, and devices may be given as in the option `device`, such as 0 or "0".

        Later calls run on the device unless they name another one.
        """
        if args and isinstance(args[0], str | int) and not isinstance(args[0], bool):
            args = (select_device(args[0]), *args[1:])
        super().to(*args, **kwargs)
        return self._pinned()

    def cpu(self) -> Any:
        """Move the network to the CPU, where later calls run unless they name another device."""
        super().cpu()
        return self._pinned()

    def cuda(self, device: int | torch.device | None = None) -> Any:
        """Move the network to a GPU, where later calls run unless they name another device."""
        super().cuda(device)
        return self._pinned()

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> _IncompatibleKeys:
        """As of `torch.nn.Module`; training then starts from these weights."""
        loaded: _IncompatibleKeys = super().load_state_dict(state_dict, *args, **kwargs)
        self._has_weights = True
        return loaded

    # ---- not part of this version

    def track(self, *args: Any, **kwargs: Any) -> Any:
        """Not part of this version.

        Raises:
            NotImplementedError: always.
        """
        raise _missing("track", "use predict(source, stream=True) and give the boxes to a tracker")

    def export(self, *args: Any, **kwargs: Any) -> Any:
        """Not part of this version.

        Raises:
            NotImplementedError: always.
        """
        raise _missing("export", "the network is an ordinary torch.nn.Module, so torch.onnx.export(model.model, ...)")

    def benchmark(self, *args: Any, **kwargs: Any) -> Any:
        """Not part of this version.

        Raises:
            NotImplementedError: always.
        """
        raise _missing("benchmark", "val() gives the metrics and the milliseconds per image")

    def tune(self, *args: Any, **kwargs: Any) -> Any:
        """Not part of this version.

        Raises:
            NotImplementedError: always.
        """
        raise _missing("tune", "call train() with different options and compare the metrics")

    # ---- internal

    def _task_class(self, role: Role) -> Any:
        """The class of the present task for `role`."""
        return self.task_map[self.task][role]

    def _pinned(self) -> Any:
        self.overrides["device"] = str(self.device)
        return self


def _missing(method: str, instead: str) -> NotImplementedError:
    return NotImplementedError(f"YOLO.{method}() is not part of this version; {instead}")
