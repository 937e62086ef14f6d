"""YOLO, the object that users create from a model file or a checkpoint, to train, validate and predict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ultralytics.cfg import OptionError, get_cfg, load_cfg_file, warn_unused
from ultralytics.engine.callbacks import Callback, Callbacks
from ultralytics.engine.edited_network import keep_edits
from ultralytics.engine.model_interface import ModelInterface
from ultralytics.engine.predictor import BasePredictor
from ultralytics.engine.predictor_reuse import PredictorSlot
from ultralytics.nn.base import BaseModel
from ultralytics.nn.checkpoint import find_checkpoint, load_checkpoint, load_network, save_checkpoint
from ultralytics.nn.checkpoint.find import with_suffix
from ultralytics.nn.tasks import guess_model_task, yaml_model_load
from ultralytics.nn.transfer import TransferReport
from ultralytics.nn.transfer.pending_weights import PendingWeights
from ultralytics.tasks import get_task
from ultralytics.utils import LOGGER

KEPT_ARGS = ("imgsz", "data", "task", "single_cls")  # settings of a checkpoint's training that later calls start from
PREDICT_CONF = 0.25
MAX_NAMES = 5  # class names in a message


class YOLO(ModelInterface):
    """A network and everything that can be done with it. It is a `torch.nn.Module` too, see `ModelInterface`.

    Args:
        model: a model file (`yolo11n.yaml`), a checkpoint (`best.pt`, `best.safetensors`), or the name of a model
            file of the package.
        task: a task of ultralytics.tasks, by default the one of the model file's head; a checkpoint knows its own.
        verbose: log the table of layers.

    Raises:
        FileNotFoundError: no such file; says where it was searched for. Nothing is downloaded.
        ValueError: the file is not a model, or its task is not part of this version.

    Attributes:
        model: the network, a `torch.nn.Module`.
        overrides: settings that every call starts from.
        ckpt: contents of the checkpoint, the network as "model"; None for a new network.
        trainer, metrics: of the last call, None before.
        transfer_report: report of the last `load` (nn/transfer/report.py), None before.
    """

    def __init__(self, model: str | Path = "yolo11n.yaml", task: str | None = None, verbose: bool = False) -> None:
        super().__init__()
        self.callbacks = Callbacks()
        self.trainer: Any = None
        self.metrics: Any = None
        self.transfer_report: TransferReport | None = None
        self.ckpt_path: str | None = None
        self._pending = PendingWeights()
        self._predictors = PredictorSlot()
        name = str(model) if Path(model).is_file() else str(model).strip()
        self.model_name = name
        if Path(name).suffix.lower() in (".yaml", ".yml"):
            self._build_network(name, task, verbose)
        else:
            self._load_checkpoint(name)

    def __call__(self, source: object = None, stream: bool = False, **kwargs: Any) -> Any:
        """Same as `predict`."""
        return self.predict(source, stream, **kwargs)

    # ---- train, validate, predict

    # the argument of `Module.train` is called mode; it is among the options
    def train(self, trainer: type | bool | None = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """Train on `data=...`; afterwards this object holds the best weights.

        With True or False it is the method of `torch.nn.Module`: it sets training or evaluation mode, and trains
        nothing. `eval()` is `train(False)`.

        Args:
            trainer: a trainer class in place of the task's; or the mode, which may also be given as `mode=`.
            kwargs: any key of default.yaml; `resume=True` continues an interrupted run.

        Returns:
            Metrics of the best weights on the validation images (`DetMetrics`); with a mode, this object.
        """
        if isinstance(trainer, bool):
            return super().train(trainer)
        if isinstance(kwargs.get("mode"), bool):
            return super().train(kwargs["mode"])
        warn_unused(kwargs, "train", self.task)
        args = self._train_args(kwargs)
        # read before the run's folder is made: the file may be missing or damaged
        weights = self._pretrained_weights(args)
        self.trainer = (trainer or self._task_class("trainer"))(overrides=args, _callbacks=self.callbacks)
        if not args.get("resume"):
            try:
                self.trainer.model = self._network_for_training(args, weights)
            except BaseException:
                self.trainer.discard_run_dir()
                raise
        self.trainer.train()
        checkpoint = self.trainer.best if self.trainer.best.exists() else self.trainer.last
        if checkpoint.exists():
            self._load_checkpoint(str(checkpoint))
        # only the first of several processes validates
        self.metrics = self.trainer.validator.metrics if self.trainer.validator else None
        return self.metrics

    def val(self, validator: type | None = None, **kwargs: Any) -> Any:
        """Validate on the split `split=val` of `data=...`, by default the data of training.

        Args:
            validator: a validator class in place of the task's.
            kwargs: any key of default.yaml. They hold for this call only.

        Returns:
            Metrics (`DetMetrics`): `.box.map50`, `.box.map`, `.results_dict`, `.speed`, `.confusion_matrix`; with
            save_json=True also those of COCO, such as `.coco["APsmall"]`.
        """
        warn_unused(kwargs, "val", self.task)
        args = {"imgsz": get_task(self.task).imgsz, **self.overrides, "rect": True} | kwargs | {"mode": "val"}
        run = (validator or self._task_class("validator"))(args=args, _callbacks=self.callbacks)
        run(model=self.model)
        self.metrics = run.metrics
        return self.metrics

    def predict(self, source: object = None, stream: bool = False, predictor: type | None = None, **kwargs: Any) -> Any:
        """Predict on images, videos, folders, arrays or tensors.

        Args:
            source: images to predict on (see docs/reference), here or as an option; by default two images of the
                package, with a warning.
            stream: return a generator that yields one result at a time, for videos and large folders.
            predictor: a predictor class in place of the task's.
            kwargs: any key of default.yaml. They hold for this call only.

        Returns:
            A list of `Results`, or a generator of them.
        """
        warn_unused(kwargs, "predict", self.task)
        defaults = {"conf": PREDICT_CONF, "batch": 1, "save": False}
        base = {"imgsz": get_task(self.task).imgsz, **self.overrides}
        options = base | defaults | kwargs | {"mode": "predict"}
        take = self._predictors.new if predictor else self._predictors.take
        run = take(predictor or self._task_class("predictor"), options, self.callbacks)
        try:
            return run(source, model=self.model, stream=stream)
        finally:
            self._predictors.release(run)

    @property
    def predictor(self) -> Any:
        """Predictor of the last call, None before; the next calls use it with their own options.

        A predictor that is set here is used as it is, with its options where a call gives no others.
        """
        return self._predictors.predictor

    @predictor.setter
    def predictor(self, value: BasePredictor | None) -> None:
        self._predictors.assign(value)

    def embed(self, source: object = None, stream: bool = False, **kwargs: Any) -> list[Tensor] | Iterator[Tensor]:
        """One vector per image: mean outputs of the layers `embed=[...]`, by default of the last but one."""
        return self.predict(source, stream, **{"embed": [len(self.model.model) - 2], **kwargs})

    # ---- the network and its weights

    def info(self, detailed: bool = False, verbose: bool = True) -> tuple[int, int, int, float]:
        """(layers, parameters, parameters with gradient, GFLOPs at 640 pixels); logged when `verbose`."""
        return self.model.info(detailed=detailed, verbose=verbose)

    def fuse(self) -> YOLO:
        """Merge normalization layers into the convolutions, in place; for inference, not for further training."""
        self.model.fuse()
        return self

    def load(self, weights: str | Path | nn.Module | YOLO) -> YOLO:
        """Transfer the weights of every layer that has a counterpart in `weights`; `transfer_report` says which.

        Weights that fit only the classes of the data are kept, and training transfers them when it knows the classes.
        """
        if isinstance(weights, (str, Path)):
            self.transfer_report = self._pending.load(self.model, load_network(weights), copy=False)
        else:
            source: Any = weights.model if isinstance(weights, YOLO) else weights
            self.transfer_report = self._pending.load(self.model, source, copy=True)
        self._has_weights = True
        return self

    def save(self, filename: str | Path = "saved_model.pt") -> Path:
        """Write the network to a checkpoint, .pt or .safetensors by the suffix (.pt without one), and return its path.

        Weights that `load` keeps for the classes of the data are not in the file; a warning then names the classes.
        """
        path = with_suffix(filename)
        kept = {k: v for k, v in (self.ckpt or {}).items() if k in ("train_metrics", "train_results")}
        save_checkpoint(path, self.model, finished=True, train_args=dict(get_cfg(self._settings())), **kept)
        if waiting := self._pending.waiting_classes(self.model):
            LOGGER.warning(
                f"{path} holds no weights for {_enumerate(waiting)}: those given by load() are transferred when "
                "training knows the classes of the data. Train with this object, or give their file as pretrained="
            )
        return path

    def reset_weights(self) -> YOLO:
        """Replace the weights by new random ones."""
        names, named, task = self.model.names, self.model.named, self.task
        self.model = self.model.new_like()
        self.model.names, self.model.named = names, named
        self._has_weights = False
        self._set_up(task)
        return self

    @property
    def carried(self) -> TransferReport | None:
        """Alias of `transfer_report`, kept for one release."""
        return self.transfer_report

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled or copied: the network and its settings, without the processes and files of a training."""
        return {**vars(self), "trainer": None}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.overrides['model']!r}, task={self.task!r}, classes={len(self.names)})"

    # ---- callbacks

    def add_callback(self, event: str, func: Callback) -> None:
        """Call `func` with the trainer, validator or predictor whenever `event` occurs."""
        self.callbacks.add(event, func)

    def clear_callback(self, event: str) -> None:
        """Remove the functions of `event`."""
        self.callbacks[event] = []

    def reset_callbacks(self) -> None:
        """Remove all functions."""
        self.callbacks = Callbacks()

    # ---- internal

    def _build_network(self, name: str, task: str | None, verbose: bool) -> None:
        row = get_task(task or guess_model_task(yaml_model_load(name)))
        self.overrides, self.cfg = {"model": name, "task": row.name}, name
        self.model = self.task_map[row.name]["model"](name, verbose=verbose)
        self._set_up(row.name)

    def _load_checkpoint(self, name: str) -> None:
        path = find_checkpoint(name)
        checkpoint = load_checkpoint(path)
        self.model = checkpoint.network
        self.ckpt, self.ckpt_path = {**checkpoint.content, "model": self.model}, str(path)
        kept = _usable_args(checkpoint.train_args, path, KEPT_ARGS)
        task = get_task(kept.get("task") or guess_model_task(self.model), str(path)).name
        kept |= _usable_args(checkpoint.train_args, path, get_task(task).kept_options)
        self.overrides = kept | {"model": str(path), "task": task}
        self._has_weights = True
        self._set_up(task)

    def _set_up(self, task: str) -> None:
        self._pending = PendingWeights()  # the old ones are those of another network
        self.model.task = task
        self.model.args = get_cfg(self._settings())  # the loss reads its gains from here

    def _settings(self) -> dict[str, Any]:
        return {k: v for k, v in self.overrides.items() if k != "device"}

    def _train_args(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Settings of a training: those of `cfg=file` or of earlier calls, then those of this call."""
        if kwargs.get("resume"):  # the run has settings of its own: only what is given here may replace them
            resume = self.ckpt_path if kwargs["resume"] is True and self.ckpt_path else kwargs["resume"]
            moved = {key: self.overrides[key] for key in ("device",) if key in self.overrides}
            return {**moved, **kwargs, "model": self.overrides["model"], "resume": resume, "mode": "train"}
        cfg = kwargs.pop("cfg", None)
        base = self.overrides if cfg is None else load_cfg_file(cfg)
        return {**base, "model": self.overrides["model"], "task": self.task, **kwargs, "mode": "train"}

    def _network_for_training(self, args: dict[str, Any], weights: BaseModel | None) -> nn.Module:
        """A network for the classes of the data, with the weights of this one or of `pretrained`."""
        if weights is None and self._has_weights and _pretrained(args) is not False:
            weights = self._pending.complete(self.model, self.trainer.data["names"])
        network: nn.Module = self.trainer.get_model(cfg=deepcopy(self.model.yaml), weights=weights)
        if type(self.trainer).get_model is not get_task(self.task).load("trainer").get_model:
            return network  # a script's own trainer decides what it trains
        pretrained = _pretrained(args) if self._has_weights else True
        return keep_edits(self.model, network, self.trainer.data["names"], pretrained)

    def _pretrained_weights(self, args: dict[str, Any]) -> BaseModel | None:
        """The network that `pretrained=file` names; the option in `args` becomes the path of the file."""
        pretrained = _pretrained(args)
        if not isinstance(pretrained, (str, Path)) or args.get("resume"):
            return None
        args["pretrained"] = str(find_checkpoint(pretrained))
        return load_network(args["pretrained"])


def _pretrained(args: dict[str, Any]) -> bool | str | Path:
    return get_cfg({"pretrained": args.get("pretrained", True)}).pretrained


def _usable_args(train_args: dict[str, Any], path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """Those of a checkpoint's settings `keys`, from which later calls start, without invalid ones."""
    kept = {}
    for key in keys:
        if key in train_args:
            try:
                get_cfg({key: train_args[key]})
            except OptionError as e:
                if key == "task" and isinstance(train_args[key], str):
                    raise OptionError(f"{path}: {e}") from e
                LOGGER.warning(f"{path}: a setting of its training is ignored. {e}")
            else:
                kept[key] = train_args[key]
    return kept


def _enumerate(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more classes" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more


Model = YOLO  # 8.3.0's name of the base of its model families
