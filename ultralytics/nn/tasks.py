"""The networks: a model file becomes a module with forward, loss, fuse, info and loading of weights by name.

Class, attribute and method names are those of ultralytics 8.3.0, because checkpoints and scripts hold them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ultralytics.nn import fuse, registry
from ultralytics.nn.info import model_info
from ultralytics.nn.model_file import ModelFileError, guess_model_scale, read_activation, row_error, yaml_model_load
from ultralytics.nn.modules import Detect
from ultralytics.nn.parser import parse_model
from ultralytics.nn.transfer.transfer import TransferReport, carry
from ultralytics.utils import LOGGER
from ultralytics.utils.loss import v8DetectionLoss

__all__ = [
    "MODEL_CLASSES",
    "BaseModel",
    "DetectionModel",
    "ModelFileError",
    "guess_model_scale",
    "guess_model_task",
    "parse_model",
    "yaml_model_load",
]

Task = Literal["detect", "segment", "classify", "pose", "obb"]
BUILD_SIZE = 256  # side of the image that goes through a new network to find its strides
PROFILE_RUNS = 10
TTA_SCALES = (1.0, 0.83, 0.67)
TTA_FLIPS = (False, True, False)  # left and right swapped
PAD_VALUE = 0.447  # grey, the mean of ImageNet

# Head rows that say which task a network has; `cls` and its like stand for classify in old files.
_TASK_WORDS: dict[str, Task] = {
    "classify": "classify",
    "classifier": "classify",
    "cls": "classify",
    "fc": "classify",
    "detect": "detect",
    "segment": "segment",
    "pose": "pose",
    "obb": "obb",
}
_NAME_ENDINGS: dict[str, Task] = {"-seg": "segment", "-cls": "classify", "-pose": "pose", "-obb": "obb"}


class BaseModel(nn.Module):
    """What the networks of all tasks share; subclasses fill `model`, `save`, `yaml`, `names`, `stride`."""

    yaml: dict[str, Any]
    model: nn.Sequential
    save: list[int]
    named: bool = False  # whether `names` are known to be a data set's, where they might be a new network's numbers
    stride: Tensor
    layer_maps: list[tuple[int, float]]  # channels and pixels per cell of what every layer gives; (0, 0) for a head
    nc: int  # the next three are set by those who train or load
    args: Any
    task: Task
    criterion: Any = None

    @property
    def names(self) -> dict[int, str]:
        """Class names by number; scripts may set a list."""
        names = vars(self).get("names", {})  # kept where 8.3.0 keeps it, for pickles in both directions
        return names if isinstance(names, dict) else dict(enumerate(names))

    @names.setter
    def names(self, names: Mapping[int, str] | Sequence[str]) -> None:
        given = names if isinstance(names, Mapping) else dict(enumerate(names))
        vars(self)["names"] = {int(i): str(name) for i, name in given.items()}

    def forward(self, x: Tensor | dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The loss of a batch dict, or the output for images (see `predict`)."""
        if isinstance(x, dict):
            return self.loss(x, *args, **kwargs)
        return self.predict(x, *args, **kwargs)

    def predict(
        self,
        x: Tensor,
        profile: bool = False,
        visualize: bool | str | Path = False,
        augment: bool = False,
        embed: Sequence[int] | None = None,
    ) -> Any:
        """Output for images.

        Args:
            x: (B, C, H, W) in 0..1, sides a multiple of the largest stride.
            profile: log the time of every layer.
            visualize: folder for pictures of every layer's output.
            augment: average over scaled and mirrored copies (test-time augmentation).
            embed: numbers of layers; the output is then one vector an image, their mean values over the map.
        """
        if augment:
            return self._predict_augment(x)
        return self._predict_once(x, profile, visualize, embed)

    def _predict_once(
        self,
        x: Tensor,
        profile: bool = False,
        visualize: bool | str | Path = False,
        embed: Sequence[int] | None = None,
    ) -> Any:
        outputs: list[Any] = []
        embedded: list[Tensor] = []
        for m in self.model:
            x = _input_of(m, x, outputs)
            if profile:
                _log_time(m, x)
            x = m(x)
            outputs.append(x if m.i in self.save else None)
            if visualize:
                _draw(m, x, visualize)
            if embed and m.i in embed:
                embedded.append(F.adaptive_avg_pool2d(x, 1).flatten(1))
                if m.i == max(embed):
                    return torch.unbind(torch.cat(embedded, 1))
        return x

    def _predict_augment(self, x: Tensor) -> Any:
        LOGGER.warning(f"{type(self).__name__} has no test-time augmentation; predicting without it")
        return self._predict_once(x)

    def loss(self, batch: dict[str, Any], preds: Any = None) -> Any:
        """Loss of a batch, times its size, and its parts without gradient; needs `self.args` (box, cls, dfl gains)."""
        if self.criterion is None:
            self.criterion = self.init_criterion()
        return self.criterion(self.forward(batch["img"]) if preds is None else preds, batch)

    def init_criterion(self) -> Callable[[Any, dict[str, Any]], Any]:
        """The task's loss."""
        raise NotImplementedError(f"{type(self).__name__} has no loss; a subclass gives init_criterion")

    def fuse(self, verbose: bool = True) -> BaseModel:
        """Merge normalisations into convolutions, in place, for inference; returns the network itself."""
        if not self.is_fused():
            fuse.fuse_layers(self.model)
            self.info(verbose=verbose)
        return self

    def is_fused(self) -> bool:
        """Whether `fuse` has nothing left to do."""
        return fuse.is_fused(self.model)

    def info(
        self, detailed: bool = False, verbose: bool = True, imgsz: int | list[int] | tuple[int, int] = 640
    ) -> tuple[int, int, int, float]:
        """Layers, parameters, trained parameters, GFLOPs at `imgsz`; logged when `verbose`."""
        return model_info(self, detailed, verbose, imgsz)

    def load(self, weights: nn.Module | Mapping[str, Any], verbose: bool = True) -> TransferReport:
        """Take over the weights of every layer that has a counterpart in the given network; see carry.py.

        Args:
            weights: a network, or a checkpoint dict with one under "model"; not changed.
            verbose: log the report.

        Returns:
            What was carried, what is new and what was left.
        """
        source: Any = weights["model"] if isinstance(weights, Mapping) else weights
        report = carry(source, self)
        if verbose:
            LOGGER.info(str(report))
        return report

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> BaseModel:
        # .to(), .half() and their like reach parameters and buffers by themselves, the head's plain tensors only so
        super()._apply(fn, recurse)
        head = self.model[-1]
        if isinstance(head, Detect):
            head.stride, head.anchors, head.strides = fn(head.stride), fn(head.anchors), fn(head.strides)
        return self


class DetectionModel(BaseModel):
    """YOLO for detection.

    Args:
        cfg: model file (its name may carry a scale letter, as in yolo11s.yaml) or its content; not changed.
        ch: channels of the images, unless the file has `ch`.
        nc: number of classes in place of the file's.
        verbose: log layers and summary.

    Raises:
        ModelFileError: the file cannot become a network; names the row.
    """

    def __init__(
        self,
        cfg: str | Path | Mapping[str, Any] = "yolov8n.yaml",
        ch: int = 3,
        nc: int | None = None,
        verbose: bool = True,
    ) -> None:
        super().__init__()
        self.yaml = deepcopy(dict(cfg)) if isinstance(cfg, Mapping) else yaml_model_load(cfg)
        ch = self.yaml["ch"] = self.yaml.get("ch", ch)
        if nc and nc != self.yaml.get("nc"):
            if verbose and self.yaml.get("nc"):
                LOGGER.info(f"nc={nc} in place of the model file's nc={self.yaml['nc']}")
            self.yaml["nc"] = nc
        self.model, self.save = parse_model(self.yaml, ch, verbose)
        if self.yaml.get("scales") and not self.yaml.get("scale"):
            self.yaml["scale"] = next(iter(self.yaml["scales"]))  # chosen once: rebuilding from here does not ask again
        activation = read_activation(self.yaml)
        if activation is not None:
            fuse.set_activation(self.model, activation)
        self.names = {i: str(i) for i in range(self.yaml.get("nc") or 0)}
        self.inplace = self.yaml.get("inplace", True)
        head = self.model[-1]
        maps = self._build_forward(ch)
        if isinstance(head, Detect):
            head.inplace = self.inplace
            head.stride = torch.tensor([BUILD_SIZE / level.shape[-2] for level in maps], device="cpu")
            self.stride = head.stride
            head.bias_init()
        else:
            self.stride = torch.tensor([32.0], device="cpu")
        fuse.initialize_weights(self)
        if verbose:
            self.info()

    def init_criterion(self) -> v8DetectionLoss:
        return v8DetectionLoss(self)

    @torch.no_grad()
    def _build_forward(self, ch: int) -> Any:
        # In training mode, on zeros: every BatchNorm then has seen one batch (running_var 0.9), as in 8.3.0. An error
        # that a user's rows cause appears here, where the row can be named.
        first = next(self.parameters(), torch.zeros(1))
        x: Any = torch.zeros(1, ch, BUILD_SIZE, BUILD_SIZE, dtype=first.dtype, device=first.device)
        outputs: list[Any] = []
        for m in self.model:
            x = _input_of(m, x, outputs)
            try:
                y = m(x)
            except Exception as e:  # whatever a module raises, the user needs to know the row
                raise self._row_error(m, x, str(e) or type(e).__name__) from e
            x = y
            outputs.append(x)
        self.layer_maps = [_map_of(y) for y in outputs]
        return x

    def _row_error(self, m: Any, x: Any, problem: str) -> ModelFileError:
        sources, maps = (m.f, x) if isinstance(m.f, list) else ([m.f], [x])
        given = ", ".join(f"{_source(m.i, f)} {_shape(y)}" for f, y in zip(sources, maps, strict=True))
        return row_error(
            self.yaml,
            m.i,
            f"the layer does not fit what it is given, (B, C, H, W) of a {BUILD_SIZE}-pixel image: {given}. {problem}. "
            "Check `from`, and the strides and channels of the layers named",
        )

    def _predict_augment(self, x: Tensor) -> Any:
        if type(self.model[-1]) is not Detect or self.training:
            return super()._predict_augment(x)
        W, outputs = x.shape[-1], []
        for scale, flip in zip(TTA_SCALES, TTA_FLIPS, strict=True):
            image = _scaled(x.flip(3) if flip else x, scale, int(self.stride.max()))
            y = super()._predict_once(image)[0]
            boxes, scores = y[:, :4] / scale, y[:, 4:]
            if flip:
                boxes = torch.cat((W - boxes[:, :1], boxes[:, 1:]), 1)
            outputs.append(torch.cat((boxes, scores), 1))
        return torch.cat(_clip_tails(outputs, self.model[-1].nl), 2), None


# what a checkpoint may hold, by class name
MODEL_CLASSES: dict[str, type[BaseModel]] = {"DetectionModel": DetectionModel}


def guess_model_task(model: str | Path | Mapping[str, Any] | nn.Module) -> Task:
    """Task of a model file's content, a network, or a file name; 'detect' with a warning when nothing tells."""
    if isinstance(model, Mapping):
        task = _task_of_dict(model)
    elif isinstance(model, nn.Module):
        task = _task_of_module(model)
    else:
        task = _task_of_name(Path(model))
    if task is None:
        LOGGER.warning(
            f"nothing tells the task of '{model!s:.60}'; 'detect' is taken. Say it by task=detect, segment, …"
        )
    return task or "detect"


# ---- running one layer -----------------------------------------------------------------------------------------------


def _input_of(m: Any, x: Any, outputs: list[Any]) -> Any:
    if m.f == -1:
        return x
    return outputs[m.f] if isinstance(m.f, int) else [x if j == -1 else outputs[j] for j in m.f]


def _source(i: int, f: int) -> str:
    number = i + f if f < 0 else f
    return f"layer {number}" if number >= 0 else "the image"


def _shape(y: Any) -> str:
    return str(tuple(y.shape)) if isinstance(y, Tensor) else f"a {type(y).__name__}"


def _map_of(y: Any) -> tuple[int, float]:
    return (y.shape[1], BUILD_SIZE / y.shape[-2]) if isinstance(y, Tensor) and y.ndim == 4 else (0, 0.0)


def _log_time(m: Any, x: Any) -> None:
    with torch.no_grad():
        start = time.perf_counter()
        for _ in range(PROFILE_RUNS):
            m(x)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        ms = (time.perf_counter() - start) * 1e3 / PROFILE_RUNS
    LOGGER.info(f"layer {m.i:>3} {ms:10.3f} ms {m.np:>11,} parameters  {m.type}")


def _draw(m: Any, x: Any, folder: bool | str | Path) -> None:
    from ultralytics.utils.plotting import plot_feature_maps  # drawing is needed on request only

    if isinstance(x, Tensor) and x.ndim == 4 and x.shape[2] > 1 and x.shape[3] > 1:
        where = Path("features" if isinstance(folder, bool) else folder)
        where.mkdir(parents=True, exist_ok=True)
        plot_feature_maps(x[0], where / f"layer{m.i}_{m.type.rsplit('.', 1)[-1]}.png")


# ---- test-time augmentation ------------------------------------------------------------------------------------------


def _scaled(x: Tensor, scale: float, multiple: int) -> Tensor:
    # shrinks, then pads right and below with grey to a multiple of the stride
    if scale == 1.0:
        return x
    H, W = x.shape[-2:]
    h, w = int(H * scale), int(W * scale)
    bottom, right = (math.ceil(side * scale / multiple) * multiple for side in (H, W))
    x = F.interpolate(x, (h, w), mode="bilinear", align_corners=False)
    return F.pad(x, (0, right - w, 0, bottom - h), value=PAD_VALUE)


def _clip_tails(outputs: list[Tensor], nl: int) -> list[Tensor]:
    # the largest image says little about the largest objects, the smallest about the smallest: drop those anchors
    cells = sum(4**i for i in range(nl))  # of all levels, for one cell of the coarsest
    coarsest = outputs[0].shape[-1] // cells
    finest = outputs[-1].shape[-1] // cells * 4 ** (nl - 1)
    return [outputs[0][..., : outputs[0].shape[-1] - coarsest], *outputs[1:-1], outputs[-1][..., finest:]]


# ---- what the file says ----------------------------------------------------------------------------------------------


def _task_of_name(path: Path) -> Task | None:
    endings = [task for ending, task in _NAME_ENDINGS.items() if ending in path.stem]
    folders = [task for task in _TASK_WORDS.values() if task in path.parts]
    return next(iter(endings + folders), "detect" if "yolo" in path.stem.lower() else None)


def _task_of_dict(d: Mapping[str, Any]) -> Task | None:
    rows = d.get("head") or d.get("backbone") or [["", "", ""]]
    word = str(rows[-1][2]).lower()
    return _TASK_WORDS.get(word) or ("detect" if "detect" in word else None)


def _task_of_module(model: nn.Module) -> Task | None:
    args = getattr(model, "args", None)
    told = args.get("task") if isinstance(args, Mapping) else getattr(args, "task", None)
    if told in _TASK_WORDS.values():
        return told  # type: ignore[return-value]
    if isinstance(getattr(model, "yaml", None), Mapping):
        return _task_of_dict(model.yaml)  # type: ignore[arg-type]
    words = (_TASK_WORDS.get(type(m).__name__.lower()) for m in model.modules())
    return next((word for word in words if word), None)


registry.search_namespace(__name__)  # scripts written for 8.3.0 put their blocks here
