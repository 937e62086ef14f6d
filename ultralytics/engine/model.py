"""YOLO: the one object users touch. A model file or a checkpoint goes in; train, val and predict come out."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ultralytics.cfg import OptionError, get_cfg, load_cfg_file, warn_unused
from ultralytics.engine.callbacks import Callback, Callbacks
from ultralytics.nn.checkpoint import load_checkpoint, save_checkpoint
from ultralytics.nn.tasks import MODEL_CLASSES, BaseModel, guess_model_task, yaml_model_load
from ultralytics.nn.transfer.pending_weights import PendingWeights
from ultralytics.nn.transfer.transfer import TransferReport
from ultralytics.utils import LOGGER
from ultralytics.utils.settings import settings
from ultralytics.utils.torch_utils import select_device

# what a task is made of: module and the prefix of its classes; imported when it is needed
TASKS = {"detect": ("ultralytics.models.yolo.detect", "Detection")}
KEPT_ARGS = ("imgsz", "data", "task", "single_cls")  # settings of a checkpoint's training that later calls start from
PREDICT_CONF = 0.25


class YOLO:
    """A network with everything that can be done with it.

    Args:
        model: a model file (`yolo11n.yaml`), a checkpoint (`best.pt`, `best.safetensors`), or the name of a model
            file that ships.
        task: only detect in this version; a checkpoint knows its own.
        verbose: log the table of layers.

    Raises:
        FileNotFoundError: no such file; says where it was looked for. Nothing is downloaded.
        ValueError: the file is not a model, or its task is not part of this version.

    Attributes:
        model: the network, a `torch.nn.Module`.
        overrides: settings that every call starts from.
        ckpt: contents of the checkpoint besides the network, None for a new network.
        trainer, predictor, metrics: of the last call, None before.
        carried: report of the last `load` (nn/transfer/transfer.py), None before.
    """

    def __init__(self, model: str | Path = "yolo11n.yaml", task: str | None = None, verbose: bool = False) -> None:
        self.callbacks = Callbacks()
        self.model: BaseModel
        self.predictor: Any = None
        self.trainer: Any = None
        self.metrics: Any = None
        self.carried: TransferReport | None = None
        self.ckpt: dict[str, Any] | None = None
        self.ckpt_path: str | None = None
        self.overrides: dict[str, Any] = {}
        self._given = PendingWeights()
        self._has_weights = False  # False while the weights are the random ones of a model file
        name = str(model).strip()
        if Path(name).suffix in (".yaml", ".yml"):
            self._new(name, task, verbose)
        else:
            self._load(name)

    def __call__(self, source: Any = None, stream: bool = False, **kwargs: Any) -> Any:
        """Same as `predict`."""
        return self.predict(source, stream, **kwargs)

    # --------------------------------------------------------------------------------- what one does with it

    def train(self, trainer: type | None = None, **kwargs: Any) -> Any:
        """Train on `data=...`; afterwards this object holds the best weights.

        Args:
            trainer: a trainer class of one's own.
            kwargs: any key of default.yaml; `resume=True` goes on with an interrupted run.

        Returns:
            Metrics of the best weights on the validation images (`DetMetrics`).
        """
        warn_unused(kwargs, "train", self.task)
        base = self._base(kwargs.pop("cfg", None))
        args = base | {"model": self.overrides["model"], "task": self.task} | kwargs | {"mode": "train"}
        if args.get("resume") is True and self.ckpt_path:
            args["resume"] = self.ckpt_path
        pretrained = get_cfg({"pretrained": args.get("pretrained", True)}).pretrained
        start = None
        if isinstance(pretrained, str | Path) and not args.get("resume"):
            args["pretrained"] = str(find_checkpoint(pretrained))
            start = load_checkpoint(args["pretrained"]).network  # before the run's folder is made: it may be unreadable
        self.trainer = (trainer or self._part("Trainer"))(overrides=args, _callbacks=self.callbacks)
        if not args.get("resume"):
            if start is None and self._has_weights and pretrained is not False:
                start = self._given.start(self.model, self.trainer.data["names"])
            self.trainer.model = self.trainer.get_model(cfg=deepcopy(self.model.yaml), weights=start)
        self.trainer.train()
        finished = self.trainer.best if self.trainer.best.exists() else self.trainer.last
        if finished.exists():
            self._load(str(finished))
        self.metrics = self.trainer.validator.metrics
        return self.metrics

    def val(self, validator: type | None = None, **kwargs: Any) -> Any:
        """Validate on the split `split=val` of `data=...`, by default the data of training.

        Returns:
            Metrics (`DetMetrics`): `.box.map50`, `.box.map`, `.results_dict`, `.speed`, `.confusion_matrix`; with
            save_json=True also COCO's own figures, such as `.coco["APsmall"]`.
        """
        warn_unused(kwargs, "val", self.task)
        args = self.overrides | {"rect": True} | kwargs | {"mode": "val"}
        run = (validator or self._part("Validator"))(args=args, _callbacks=self.callbacks)
        run(model=self.model)
        self.metrics = run.metrics
        return self.metrics

    def predict(self, source: Any = None, stream: bool = False, predictor: type | None = None, **kwargs: Any) -> Any:
        """Look for objects in images, videos, folders, arrays or tensors.

        Args:
            source: what to look at (see docs/reference); required.
            stream: give results one by one from a generator, for videos and large folders.
            predictor: a predictor class of one's own.
            kwargs: any key of default.yaml. They hold for this call only.

        Returns:
            A list of `Results`, or a generator of them.
        """
        warn_unused(kwargs, "predict", self.task)
        defaults = {"conf": PREDICT_CONF, "batch": 1, "save": False}
        args = get_cfg(self.overrides | defaults | kwargs | {"mode": "predict"})
        source = source if source is not None else args.source
        if source is None:
            raise ValueError(
                "predict needs a source: an image, a folder, a video, an array; for example source=photo.jpg"
            )
        self.predictor = (predictor or self._part("Predictor"))(overrides=dict(args), _callbacks=self.callbacks)
        return self.predictor(source, model=self.model, stream=stream)

    def embed(self, source: Any = None, stream: bool = False, **kwargs: Any) -> list[Tensor] | Iterator[Tensor]:
        """One vector an image: averaged outputs of the layers `embed=[...]`, by default of the last but one."""
        return self.predict(source, stream, **{"embed": [len(self.model.model) - 2], **kwargs})

    def info(self, detailed: bool = False, verbose: bool = True) -> tuple[int, int, int, float]:
        """(layers, parameters, parameters with gradient, GFLOPs at 640 pixels); logged when `verbose`."""
        return self.model.info(detailed=detailed, verbose=verbose)

    def fuse(self) -> YOLO:
        """Merge normalisation layers into the convolutions, in place; for running, not for further training."""
        self.model.fuse()
        return self

    def load(self, weights: str | Path | nn.Module | YOLO) -> YOLO:
        """Take over the weights of every layer that has a counterpart there; `carried` then tells which.

        Training carries the rest that fits the classes of its data: what has no place yet is kept until then.
        """
        source: Any = weights.model if isinstance(weights, YOLO) else weights
        mine = not isinstance(source, nn.Module)
        if mine:
            source = load_checkpoint(find_checkpoint(source)).network
        self.carried = self._given.load(self.model, source, mine=mine)
        self._has_weights = True
        return self

    def save(self, filename: str | Path = "saved_model.pt") -> Path:
        """Write the network to a checkpoint, .pt or .safetensors by the suffix (.pt without one), and return its path.

        Weights that `load` has kept for the classes of the data are not in the file; the log then says so.
        """
        path = _with_suffix(filename)
        kept = {k: v for k, v in (self.ckpt or {}).items() if k in ("train_metrics", "train_results")}
        save_checkpoint(path, self.model, finished=True, train_args=dict(get_cfg(self._settings())), **kept)
        if waiting := self._given.waiting(self.model):
            names = ", ".join(waiting[:5]) + (f" and {len(waiting) - 5} more classes" if len(waiting) > 5 else "")
            LOGGER.warning(
                f"{path} holds no weights for {names}: what load() gave for them waits until training knows the data's "
                "classes. Train with this object, or give their file once more, as pretrained="
            )
        return path

    def reset_weights(self) -> YOLO:
        """Start again from random weights."""
        names, named, task = self.model.names, self.model.named, self.task
        self.model = type(self.model)(deepcopy(self.model.yaml), verbose=False)
        self.model.names, self.model.named = names, named
        self._has_weights = False
        self._settle(task)
        return self

    # --------------------------------------------------------------------------------- what it is

    @property
    def task(self) -> str:
        """What the network does: detect."""
        return self.model.task

    @property
    def names(self) -> dict[int, str]:
        """Class names by number."""
        return self.model.names

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def to(self, device: Any) -> YOLO:
        """Move the network; later calls run there unless they name another device."""
        place = select_device(device)
        self.model.to(place)
        self.overrides["device"] = str(place)
        return self

    def __repr__(self) -> str:
        return f"YOLO({self.overrides['model']!r}, task={self.task!r}, classes={len(self.names)})"

    # --------------------------------------------------------------------------------- callbacks

    def add_callback(self, event: str, func: Callback) -> None:
        """Call `func` with the trainer, validator or predictor whenever `event` fires."""
        self.callbacks.add(event, func)

    def clear_callback(self, event: str) -> None:
        """Forget the functions that wait for `event`."""
        self.callbacks[event] = []

    def reset_callbacks(self) -> None:
        """Forget all functions."""
        self.callbacks = Callbacks()

    # --------------------------------------------------------------------------------- inside

    def _new(self, name: str, task: str | None, verbose: bool) -> None:
        kind = _checked_task(task or guess_model_task(yaml_model_load(name)))
        self.overrides = {"model": name, "task": kind}
        self.model = MODEL_CLASSES[f"{TASKS[kind][1]}Model"](name, verbose=verbose)
        self._settle(kind)

    def _load(self, name: str) -> None:
        path = find_checkpoint(name)
        checkpoint = load_checkpoint(path)
        self.model = checkpoint.network
        self.ckpt, self.ckpt_path = checkpoint.content, str(path)
        kept = _possible(checkpoint.train_args, path)
        task = kept.get("task") or guess_model_task(self.model)
        self.overrides = kept | {"model": str(path), "task": _checked_task(task, f"{path}: ")}
        self._has_weights = True
        self._settle(task)

    def _settle(self, task: Any) -> None:
        self._given = PendingWeights()  # of a network that is no longer here
        self.model.task = task
        self.model.args = get_cfg(self._settings())  # the loss reads its gains here

    def _settings(self) -> dict[str, Any]:
        return {k: v for k, v in self.overrides.items() if k != "device"}

    def _base(self, cfg: str | Path | None) -> dict[str, Any]:
        if cfg is None:
            return {k: v for k, v in self.overrides.items() if k != "model"}
        return load_cfg_file(cfg)

    def _part(self, role: str) -> type:
        module, prefix = TASKS[self.task]
        return getattr(importlib.import_module(module), f"{prefix}{role}")


def find_checkpoint(name: str | Path) -> Path:
    """The checkpoint as given, with .pt added where the suffix is missing, or in the settings' weights folder.

    Raises:
        FileNotFoundError: it is in neither place; says how to get it.
        ValueError: the file is of another kind.
    """
    given = _with_suffix(name)
    places = [given, Path(settings["weights_dir"]) / given.name]
    for place in places:
        if place.is_file():
            return place
    if Path(name).is_dir():
        raise FileNotFoundError(f"'{name}' is a folder; give a checkpoint, such as {Path(name, 'weights', 'best.pt')}")
    looked = " and ".join(str(p.absolute()) for p in places)
    example = f"{given.stem}.yaml" if given.stem.startswith("yolo") else "yolo11n.yaml"
    raise FileNotFoundError(
        f"there is no checkpoint '{name}' (looked for {looked}). Nothing is downloaded: train one, for example with "
        f"YOLO('{example}'), or fetch the file yourself and give its path."
    )


def _with_suffix(name: str | Path) -> Path:
    """A checkpoint's name as given, with .pt where it has no suffix."""
    path = Path(name)
    if not path.suffix and path.name:
        return path.with_suffix(".pt")
    if path.suffix in (".yaml", ".yml"):
        raise ValueError(f"'{name}' describes a network and holds no weights; give a checkpoint (.pt, .safetensors)")
    if path.suffix not in (".pt", ".pth", ".safetensors"):
        raise ValueError(f"'{name}' is not a model: give a model file (.yaml) or a checkpoint (.pt, .safetensors)")
    return path


def _possible(train_args: dict[str, Any], path: Path) -> dict[str, Any]:
    """Those of a checkpoint's settings that later calls start from, without what no call could use."""
    kept = {}
    for key in KEPT_ARGS:
        if key in train_args:
            try:
                get_cfg({key: train_args[key]})
            except OptionError as e:
                if key == "task" and isinstance(train_args[key], str):
                    raise
                LOGGER.warning(f"{path}: a setting of its training is left out. {e}")
            else:
                kept[key] = train_args[key]
    return kept


def _checked_task(task: str, place: str = "") -> str:
    if task not in TASKS:
        raise ValueError(f"{place}the task '{task}' is not part of this version; there is: {', '.join(TASKS)}")
    return task
