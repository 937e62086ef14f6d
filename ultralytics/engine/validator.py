"""Validation: a network on a split, its metrics as a table and files; each task adds models/yolo/<task>/val.py."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ultralytics.cfg import check_imgsz, get_cfg, get_save_dir, make_save_dir
from ultralytics.engine.callbacks import Callback, Callbacks
from ultralytics.engine.class_numbers import check_class_filter, class_mapping
from ultralytics.engine.evaluator import STAGES, ClassResult, EvalHooks, EvalResult, evaluate
from ultralytics.engine.file_stems import FileStems
from ultralytics.engine.fingerprint import split_facts
from ultralytics.engine.metrics_json import data_facts, metrics_content, write_metrics
from ultralytics.engine.networks import as_network
from ultralytics.engine.progress import BAR_FORMAT
from ultralytics.engine.protocols import Batch, EvalLoader, ImagePath, Outputs, Predictions
from ultralytics.nn.inference.inference_model import get_inference_model
from ultralytics.nn.transfer.channel_mapping import has_class_names
from ultralytics.utils import LOGGER, dist, shows_progress
from ultralytics.utils.files import atomic_write
from ultralytics.utils.metrics import match_predictions
from ultralytics.utils.torch_utils import ModelEMA, images_to_device, max_stride, select_device

DEFAULT_CONF = 0.001  # average precision needs the whole curve, down to the least confident predictions
NUM_PLOTTED_BATCHES = 3  # val_batch*.jpg


class TrainingRun(Protocol):
    """What validation reads from a trainer."""

    device: torch.device
    data: dict[str, Any]
    amp: bool
    ema: ModelEMA

    def label_loss_items(self, loss_items: Tensor, prefix: str) -> dict[str, float]:
        """Loss values by name."""


class BaseValidator:
    """Evaluates a network on a split. Called with a trainer inside training, with a network otherwise.

    Args:
        dataloader: batches of the split, or None to make them from `args.data` and `args.split`.
        save_dir: folder for plots and files, made when the first one is written. None for a new one: the run is then
            this validator's own, and it writes metrics.json. It is made when the network and the data are read.
        pbar: progress bar that is updated once per batch, or None for one of its own.
        args: settings; copied.
        _callbacks: functions by event, each called with this object.

    Attributes (the names that users' callbacks read):
        args: settings (a copy).
        dataloader, data: batches of the split and description of the dataset.
        device: where the network runs.
        training: whether the present call is part of a training epoch; nothing is plotted then.
        stride: largest stride of the network, at least 32.
        names, nc: classes of the network.
        iouv: (10,) IoU thresholds.
        metrics: accumulated metrics of the task.
        stats: what was counted per prediction and instance.
        confusion_matrix: filled when plots are drawn.
        seen: images counted so far.
        batch_i: index of the present batch.
        speed: milliseconds per image by stage.
        result: `EvalResult` of the last call, None before.
        jdict: rows of predictions.json.
        save_dir: folder for plots and files.
        plots: files that were drawn -> data passed to `on_plot`.
    """

    task: str | None = None  # of a task's validator; it overrides the setting
    metric_keys: tuple[str, ...] = ()  # columns of results.csv that come from the metrics

    def __init__(
        self,
        dataloader: EvalLoader | None = None,
        save_dir: Path | None = None,
        pbar: tqdm | None = None,
        args: SimpleNamespace | Mapping[str, Any] | None = None,
        _callbacks: Mapping[str, list[Callback]] | None = None,
    ) -> None:
        given = vars(args) if isinstance(args, SimpleNamespace) else dict(args or {})
        own = {} if self.task is None else {"task": self.task}
        self.args = get_cfg({"mode": "val", **given, **own})
        if self.args.conf is None:
            self.args.conf = DEFAULT_CONF
        self.callbacks = _callbacks if isinstance(_callbacks, Callbacks) else Callbacks(_callbacks)
        self.device = select_device(self.args.device)
        self.dataloader = dataloader
        self.pbar = pbar
        self._own_run, self._made_dir = save_dir is None, False
        self._class_mapping: list[int] | None = None  # number in the network of every class of the data
        self.save_dir = Path(save_dir) if save_dir else dist.on_main_process(lambda: get_save_dir(self.args))
        self.training = self.half = False
        self.stride = 32
        self.data: dict[str, Any] = {}
        self.names: dict[int, str] = {}
        self.nc = 0
        self.iouv = torch.linspace(0.5, 0.95, 10)
        self.metrics: Any = None
        self.stats: dict[str, list[Any]] = {}
        self.confusion_matrix: Any = None
        self.speed = dict.fromkeys(STAGES, 0.0)
        self.result: EvalResult | None = None
        self.jdict: list[dict[str, Any]] = []
        self.plots: dict[Path, object] = {}
        self.seen = self.batch_i = 0
        self._stems, self._stem_of_file = dict[str, FileStems](), dict[str, str]()

    # ----------------------------------------------------------------------------------- what a task provides

    def get_dataset(self) -> dict[str, Any]:
        """Description of the dataset of `args.data`."""
        raise NotImplementedError

    def build_dataset(self, img_path: ImagePath, mode: str = "val", batch: int | None = None) -> Any:
        """Dataset of the images at `img_path`, in groups of `batch`."""
        raise NotImplementedError

    def get_dataloader(self, dataset_path: ImagePath, batch_size: int) -> EvalLoader:
        """Loader over the images at `dataset_path`, never shuffled."""
        raise NotImplementedError

    def init_metrics(self, model: Any) -> None:
        """Reset all counters for a network."""
        raise NotImplementedError

    def preprocess(self, batch: Batch) -> Batch:
        """Move a batch to the device: images become float in 0..1, channels last."""
        dtype = torch.float16 if self.half else torch.float32
        return {**batch, "img": images_to_device(batch["img"], self.device, dtype)}

    def postprocess(self, preds: Outputs) -> Predictions:
        """Outputs of the network -> predictions."""
        return preds

    def update_metrics(self, preds: Predictions, batch: Batch) -> None:
        """Count one batch."""
        raise NotImplementedError

    def get_stats(self) -> dict[str, float]:
        """Metrics of everything counted, `fitness` among them."""
        raise NotImplementedError

    def class_results(self) -> list[ClassResult]:
        """Metrics and counts of every class; after `get_stats`."""
        return []

    def check_stats(self, stats: dict[str, float]) -> None:
        """Look at the metrics before they are printed; raise to reject them."""

    def finalize_metrics(self) -> None:
        """Complete `metrics` after the last batch; `speed` is known."""

    def get_desc(self) -> str:
        """Heading of the table."""
        return ""

    def print_results(self) -> None:
        """Log the table."""

    def plot_val_samples(self, batch: Batch, ni: int) -> None:
        """Plot the labels of batch `ni`."""

    def plot_predictions(self, batch: Batch, preds: Predictions, ni: int) -> None:
        """Plot the predictions of batch `ni`."""

    def plot_curves(self) -> None:
        """Plot the metrics."""

    def pred_to_json(self, predn: Predictions, filename: str) -> None:
        """Append the predictions of one image to `jdict`."""
        raise NotImplementedError

    def eval_json(self, stats: dict[str, float]) -> dict[str, float]:
        """After predictions.json was written: evaluate it with other tools; returns the metrics."""
        return stats

    # ----------------------------------------------------------------------------------- public

    def add_callback(self, event: str, callback: Callback) -> None:
        """Call `callback(validator)` whenever `event` fires."""
        self.callbacks.add(event, callback)

    def run_callbacks(self, event: str) -> None:
        """Fire `event`."""
        self.callbacks.run(event, self)

    def stem(self, file: str, folder: str = "") -> str:
        """Name, without suffix, of what this run writes for an image; unique among the images written to `folder`."""
        if file not in self._stem_of_file:
            self._stem_of_file[file] = self._stems.setdefault(folder, FileStems()).stem(file, None)
        return self._stem_of_file[file]

    def on_plot(self, name: Path, data: object = None) -> None:
        """Note a plot that was written."""
        self.plots[Path(name)] = data

    def match_predictions(self, pred_classes: Tensor, true_classes: Tensor, iou: Tensor) -> Tensor:
        """(n, T) true positives at each IoU threshold of `iouv`; see `utils.metrics.match_predictions`."""
        return match_predictions(pred_classes, true_classes, iou, self.iouv)

    def __call__(self, trainer: TrainingRun | None = None, model: nn.Module | str | None = None) -> dict[str, float]:
        """Validate the trainer's averaged network, or `model` (which is not changed), or the one of `args.model`.

        Returns:
            Metrics by name, rounded to 5 decimals, `fitness` among them; inside training the validation losses too.
        """
        started = time.time()
        self.training = trainer is not None
        source = trainer.ema.ema if trainer else self._load(model)
        network = self._inside(trainer) if trainer else self._standalone(source)
        self.result = self._evaluate(network, amp=bool(trainer and trainer.amp))
        self.check_stats(self.result.metrics)
        self.speed = self.result.speed
        self.finalize_metrics()
        self.print_results()
        if self.args.plots and not self.training:
            self.plot_curves()
        self.run_callbacks("on_val_end")
        stats = self.result.metrics
        if trainer and self.result.losses is not None:
            stats = stats | trainer.label_loss_items(self.result.losses, "val")
        if not trainer:
            stats = self._write_files(self.result, source, started)
        return {name: round(float(value), 5) for name, value in stats.items()}

    # ----------------------------------------------------------------------------------- steps

    def _load(self, model: nn.Module | str | None) -> nn.Module:
        source = self.args.model if model is None else model
        if source is None:
            raise ValueError("validation needs a network: YOLO('best.pt').val(...)")
        return as_network(source)

    def _inside(self, trainer: TrainingRun) -> nn.Module:
        self.device, self.data, self.half = trainer.device, trainer.data, False
        return trainer.ema.ema.eval()

    def _standalone(self, model: nn.Module) -> nn.Module:
        self.half = bool(self.args.half) and self.device.type != "cpu"
        if self.args.half and not self.half:
            LOGGER.warning("half=True needs a GPU; validating in full precision")
        network: nn.Module = get_inference_model(model, self.device, self.half)
        self.half = next(network.parameters()).dtype == torch.float16
        self.stride = max_stride(network)
        self.args.imgsz = check_imgsz(self.args.imgsz, stride=self.stride, max_dim=1)
        if self.dataloader is None:
            self.data = self.get_dataset()
            self._match_classes(model)
            self.dataloader = self.get_dataloader(self.data[self.args.split], self.args.batch)
        if self._own_run and not self._made_dir:
            self.save_dir, self._made_dir = dist.on_main_process(lambda: make_save_dir(self.args)), True
        return network

    def map_classes(self, data: Mapping[int, str], network: Mapping[int, str], source: str) -> list[int] | None:
        """Number in the network of every class of the data; None where the numbers are already the same.

        Args:
            data: class names of the data by number.
            network: class names of the network by number.
            source: name of the dataset, for messages.
        """
        return class_mapping(data, network, source)

    def _match_classes(self, model: nn.Module) -> None:
        """Find the numbers in the network of the classes of the data; the metrics are those of the network's classes.

        Raises:
            ValueError: the option `classes` is ambiguous or names a class that does not exist.
        """
        names, source = self.data["names"], str(self.data.get("yaml_file") or self.args.data)
        check_class_filter(self.args.classes, names, source)
        network: Any = model
        if self.args.single_cls or not has_class_names(network):
            return
        self._class_mapping = self.map_classes(names, network.names, source)
        if self._class_mapping and self.args.classes is not None:
            raise ValueError(
                f"classes={self.args.classes} is ambiguous: {source} has other class numbers than the network"
            )

    def _batches(self) -> Iterable[Batch]:
        """Batches whose labels have the class numbers of the network."""
        mapping = None if self._class_mapping is None else torch.tensor(self._class_mapping)
        for batch in self._with_progress():
            if mapping is not None:
                batch["cls"] = mapping[batch["cls"].long()].to(batch["cls"])
            yield batch

    def _evaluate(self, network: nn.Module, amp: bool) -> EvalResult:
        return evaluate(
            network,
            self._batches(),
            self,
            device=self.device,
            amp=amp,
            augment=bool(self.args.augment) and not self.training,
            with_loss=self.training,
            hooks=EvalHooks(lambda: self.run_callbacks("on_val_start"), self._start_batch, self._end_batch),
        )

    def _with_progress(self) -> Iterable[Batch]:
        if self.dataloader is None:
            raise ValueError("validation inside training needs the trainer's loader: pass dataloader=")
        hidden = self.pbar is not None or not shows_progress() or not dist.is_main_process()
        leave = not self.training
        return tqdm(self.dataloader, desc=self.get_desc(), disable=hidden, bar_format=BAR_FORMAT, leave=leave)

    def _start_batch(self, index: int) -> None:
        self.batch_i = index
        self.run_callbacks("on_val_batch_start")

    def _end_batch(self, index: int, batch: Batch, preds: Predictions) -> None:
        if self.args.plots and not self.training and index < NUM_PLOTTED_BATCHES:
            self.plot_val_samples(batch, index)
            self.plot_predictions(batch, preds, index)
        self.run_callbacks("on_val_batch_end")
        if self.pbar is not None:
            self.pbar.update(1)

    def write_json(self, stats: dict[str, float]) -> dict[str, float]:
        """Write predictions.json and evaluate it with other tools (`eval_json`); returns the metrics."""
        if self.jdict:
            with atomic_write(self.save_dir / "predictions.json") as file:
                file.write(json.dumps(self.jdict).encode())
        stats = self.eval_json(stats)
        if self.result:
            self.result.coco = dict(getattr(self.metrics, "coco", None) or {})
        return stats

    def _write_files(self, result: EvalResult, model: nn.Module, started: float) -> dict[str, float]:
        """predictions.json with save_json=True, and metrics.json if the run is this validator's own."""
        if self.args.save_json:
            result.metrics = self.write_json(result.metrics)
        if self._own_run:
            self._write_metrics(result, model, time.time() - started)
        if self.save_dir.exists():
            LOGGER.info(f"Results are in {self.save_dir}")
        return result.metrics

    def _write_metrics(self, result: EvalResult, model: nn.Module, seconds: float) -> None:
        names = self.data.get("names", self.names)
        splits = {self.args.split: split_facts(self.dataloader.dataset, names)} if self.dataloader else {}
        content = metrics_content(
            result,
            mode="val",
            args=self.args,
            network=model,
            device=self.device,
            data=data_facts(self.args.data, names, splits),
            seconds=seconds,
        )
        write_metrics(self.save_dir, content)
