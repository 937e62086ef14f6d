"""Validation: every image of a split through the network, metrics out; what a task adds is in models/yolo/<task>.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ultralytics.cfg import check_imgsz, get_cfg, get_save_dir
from ultralytics.engine.callbacks import Callback, Callbacks
from ultralytics.nn.inference.inference_model import get_inference_model
from ultralytics.nn.tasks import BaseModel
from ultralytics.utils import LOGGER, RANK, VERBOSE, IterableSimpleNamespace
from ultralytics.utils.files import atomic_write
from ultralytics.utils.ops import Profile
from ultralytics.utils.torch_utils import select_device

DEFAULT_CONF = 0.001  # nearly every candidate counts: average precision needs the whole curve
STAGES = ("preprocess", "inference", "loss", "postprocess")
NUM_PICTURES = 3  # val_batch*.jpg


class BaseValidator:
    """Runs a network over a split. Called with a trainer inside training, with a network otherwise.

    Args:
        dataloader: batches of the split, or None to make them from `args.data` and `args.split`.
        save_dir: folder for pictures and files, or None for a new one; made when the first file is written.
        args: settings; copied.
        _callbacks: functions by event, each called with this object.

    Public attributes (the names users' callbacks read): args, dataloader, data, device, metrics, names, nc, seen,
    speed, stats, confusion_matrix, save_dir, batch_i, training.
    """

    metric_keys: tuple[str, ...] = ()  # columns of results.csv that come from the metrics

    def __init__(
        self,
        dataloader: Any = None,
        save_dir: Path | None = None,
        args: IterableSimpleNamespace | dict[str, Any] | None = None,
        _callbacks: dict[str, list[Callback]] | None = None,
    ) -> None:
        self.args = get_cfg(dict(args or {}))
        if self.args.conf is None:
            self.args.conf = DEFAULT_CONF
        self.callbacks = _callbacks if isinstance(_callbacks, Callbacks) else Callbacks(_callbacks)
        self.device = select_device(self.args.device)
        self.dataloader = dataloader
        self.save_dir = Path(save_dir) if save_dir else Path(get_save_dir(self.args))
        self.training = False
        self.data: dict[str, Any] = {}
        self.metrics: Any = None
        self.speed = dict.fromkeys(STAGES, 0.0)
        self.jdict: list[dict[str, Any]] = []
        self.seen = self.batch_i = 0

    # --------------------------------------------------------------------------------- what a task gives

    def get_dataloader(self, data: dict[str, Any], batch_size: int) -> Any:
        """Loader over `data[args.split]`, never shuffled."""
        raise NotImplementedError

    def init_metrics(self, model: BaseModel) -> None:
        """Empty all counters."""
        raise NotImplementedError

    def postprocess(self, preds: Any) -> Any:
        """Outputs of the network -> detections."""
        raise NotImplementedError

    def update_metrics(self, preds: Any, batch: dict[str, Any]) -> None:
        """Take one batch into the counters."""
        raise NotImplementedError

    def get_stats(self) -> dict[str, float]:
        """Metrics of all that was counted, `fitness` among them."""
        raise NotImplementedError

    def print_results(self) -> None:
        """Log the table."""
        raise NotImplementedError

    def get_desc(self) -> str:
        """Heading of the table."""
        raise NotImplementedError

    def plot_batch(self, batch: dict[str, Any], preds: Any, ni: int) -> None:
        """Pictures of a batch: labels and predictions."""

    def plot_curves(self) -> None:
        """Pictures of the metrics."""

    def preprocess(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Move a batch to the device: images become float in 0..1, channels last."""
        images = batch["img"].to(self.device, non_blocking=True)
        dtype = torch.float16 if self.half else torch.float32
        return batch | {"img": images.to(dtype=dtype, memory_format=torch.channels_last).div_(255)}

    # --------------------------------------------------------------------------------- public

    def run_callbacks(self, event: str) -> None:
        """Fire `event`."""
        self.callbacks.run(event, self)

    def __call__(self, trainer: Any = None, model: nn.Module | None = None) -> dict[str, float]:
        """Validate the trainer's averaged network, or `model` (which is not changed).

        Returns:
            Metrics by name, `fitness` among them; inside training the validation losses as well.
        """
        self.training = trainer is not None
        network: Any = self._from_trainer(trainer) if trainer else self._standalone(model)
        with torch.inference_mode():
            losses = self._run(network)
        stats = self.get_stats()
        self._finish_speed()
        self.print_results()
        if self.args.plots:
            self.plot_curves()
        self.run_callbacks("on_val_end")
        self._write_json()
        if trainer:
            stats |= trainer.label_loss_items(losses / max(len(self.dataloader), 1), prefix="val")
        elif self.save_dir.exists():
            LOGGER.info(f"Results are in {self.save_dir}")
        return {name: round(float(value), 5) for name, value in stats.items()}

    # --------------------------------------------------------------------------------- steps

    def _from_trainer(self, trainer: Any) -> nn.Module:
        self.device, self.data, self.half = trainer.device, trainer.data, False
        self.amp = trainer.amp
        return trainer.ema.ema.eval()

    def _standalone(self, model: nn.Module | None) -> nn.Module:
        if model is None:
            raise ValueError("validation needs a network: YOLO('best.pt').val(...)")
        self.half = bool(self.args.half) and self.device.type != "cpu"
        self.amp = False
        if self.args.half and not self.half:
            LOGGER.warning("half=True needs a GPU; validating in full precision")
        network = get_inference_model(model, self.device, self.half)
        stride = max(int(network.stride.max()), 32)
        self.args.imgsz = check_imgsz(self.args.imgsz, stride=stride, max_dim=1)
        self.stride = stride
        if self.dataloader is None:
            self.data = self.get_dataset()
            self.dataloader = self.get_dataloader(self.data, self.args.batch)
        return network

    def get_dataset(self) -> dict[str, Any]:
        """Description of the data of `args.data`."""
        raise NotImplementedError

    def _run(self, network: BaseModel) -> Tensor:
        self.init_metrics(network)
        self.run_callbacks("on_val_start")
        stages = {stage: Profile(device=self.device) for stage in STAGES}
        losses: Tensor | None = None
        progress = tqdm(
            self.dataloader,
            desc=self.get_desc(),
            disable=not VERBOSE or RANK > 0,
            bar_format="{l_bar}{bar:10}{r_bar}",
            leave=not self.training,
        )
        for self.batch_i, batch in enumerate(progress):
            self.run_callbacks("on_val_batch_start")
            with stages["preprocess"]:
                batch = self.preprocess(batch)
            with stages["inference"], torch.autocast("cuda", enabled=self.amp):
                preds = network(batch["img"], augment=bool(self.args.augment) and not self.training)
            with stages["loss"]:
                if self.training:
                    items = network.loss(batch, preds)[1]
                    losses = items if losses is None else losses + items
            with stages["postprocess"]:
                preds = self.postprocess(preds)
            self.update_metrics(preds, batch)
            if self.args.plots and self.batch_i < NUM_PICTURES:
                self.plot_batch(batch, preds, self.batch_i)
            self.run_callbacks("on_val_batch_end")
        self._times = {stage: profile.t for stage, profile in stages.items()}
        return losses if losses is not None else torch.zeros(1)

    def _finish_speed(self) -> None:
        images = max(len(self.dataloader.dataset), 1)
        self.speed = {stage: seconds / images * 1e3 for stage, seconds in self._times.items()}
        self.metrics.speed = self.speed
        if not self.training:
            stages = ", ".join(f"{ms:.1f} ms {stage}" for stage, ms in self.speed.items() if stage != "loss")
            self._speed_line = f"Speed per image at {self.args.imgsz} pixels: {stages}"

    def _write_json(self) -> None:
        if self.args.save_json and self.jdict and not self.training:
            self.save_dir.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.save_dir / "predictions.json") as file:
                file.write(json.dumps(self.jdict).encode())
