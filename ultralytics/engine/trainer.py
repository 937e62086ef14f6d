"""Training: fetch, forward, loss, step, validate, save; what a task adds is in models/yolo/<task>.py."""

from __future__ import annotations

import math
import random
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from ultralytics.cfg import check_imgsz, get_cfg, get_save_dir
from ultralytics.engine import resume
from ultralytics.engine.callbacks import Callback, Callbacks
from ultralytics.engine.optimizer import WarmUp, auto_choice, build_optimizer, freeze_layers, lr_curve, steps_of_run
from ultralytics.engine.run_dir import RunDir
from ultralytics.engine.stability import FiniteGuard, amp_works
from ultralytics.engine.validator import BaseValidator
from ultralytics.nn.checkpoint import Checkpoint, copy_checkpoint, load_checkpoint, save_checkpoint, strip_checkpoint
from ultralytics.nn.tasks import BaseModel
from ultralytics.utils import LOGGER, RANK, VERBOSE, IterableSimpleNamespace
from ultralytics.utils.torch_utils import (
    EarlyStopping,
    ModelEMA,
    describe_device,
    init_seeds,
    keep_freed_memory,
    select_device,
)

MAX_GRAD_NORM = 10.0
REFRESH_SECONDS = 0.5  # of the progress line
SAMPLE_BATCHES = 3  # train_batch*.jpg at the start, and again when the mosaic closes


class BaseTrainer:
    """One training run. A task's subclass gives data, network, validator and pictures.

    Args:
        cfg: settings that are laid over the defaults, or None.
        overrides: settings that win over `cfg`.
        _callbacks: functions by event, each called with this object.

    Public attributes (the names users' callbacks read): args, device, data, model, ema, optimizer, scheduler, scaler,
    train_loader, test_loader, validator, metrics, fitness, best_fitness, epoch, epochs, start_epoch, loss, loss_items,
    tloss, loss_names, save_dir, wdir, last, best, csv, stopper, stop, lr, accumulate, batch_size, plots.
    """

    task = ""
    loss_names: tuple[str, ...] = ()

    def __init__(
        self,
        cfg: dict[str, Any] | IterableSimpleNamespace | None = None,
        overrides: dict[str, Any] | None = None,
        _callbacks: dict[str, list[Callback]] | None = None,
    ) -> None:
        self.callbacks = _callbacks if isinstance(_callbacks, Callbacks) else Callbacks(_callbacks)
        self.resumed: Checkpoint | None = None
        self.args = self._settings(cfg, dict(overrides or {}))
        if self.args.batch < 1:
            raise ValueError(
                f"batch={self.args.batch}: choosing the batch size by free memory is not part of this version; "
                "give a number, such as batch=16"
            )
        self.device = select_device(self.args.device)
        self.data = self.get_dataset()  # before the folder is made: a failed start leaves nothing behind
        self.plots = bool(self.args.plots)
        self.model: Any = None  # the network, once setup_model has run
        self.metrics: dict[str, float] = {}
        self.fitness: float | None = None
        self.best_fitness: float | None = None
        self.epoch = self.start_epoch = 0
        self.epochs = self.args.epochs
        self.stop = False
        self._prepare_folder()
        # one seed for everything that follows, the new network's weights included
        init_seeds(self.args.seed + 1 + RANK, deterministic=bool(self.args.deterministic))

    # --------------------------------------------------------------------------------- what a task gives

    def get_dataset(self) -> dict[str, Any]:
        """Description of the data: names, nc, paths of the splits."""
        raise NotImplementedError

    def get_model(self, cfg: Any = None, weights: nn.Module | None = None, verbose: bool = True) -> BaseModel:
        """New network for the data, with the weights of `weights` where they fit."""
        raise NotImplementedError

    def get_validator(self) -> BaseValidator:
        """Validator over the validation split."""
        raise NotImplementedError

    def get_dataloader(self, dataset_path: Any, batch_size: int = 16, rank: int = 0, mode: str = "train") -> Any:
        """Loader of batches of one split."""
        raise NotImplementedError

    def plot_training_samples(self, batch: dict[str, Any], ni: int) -> None:
        """Picture of a batch as the network sees it."""

    def plot_training_labels(self) -> None:
        """Picture of where and how large the labels are."""

    def plot_metrics(self) -> None:
        """Picture of results.csv."""

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Move a batch to the device: images become float in 0..1, channels last."""
        images = batch["img"].to(self.device, non_blocking=True)
        images = images.to(dtype=torch.float32, memory_format=torch.channels_last).div_(255)
        if self.args.multi_scale:
            images = self._rescale(images)
        return batch | {"img": images}

    # --------------------------------------------------------------------------------- public

    def add_callback(self, event: str, callback: Callback) -> None:
        """Call `callback(trainer)` whenever `event` fires."""
        self.callbacks.add(event, callback)

    def run_callbacks(self, event: str) -> None:
        """Fire `event`."""
        self.callbacks.run(event, self)

    def train(self) -> dict[str, float]:
        """Run all epochs, validate the best weights, and return their metrics."""
        self.train_time_start = time.time()
        try:
            self._setup_train()
            self._loop()
            self._finish()
        except KeyboardInterrupt:
            if self.last.exists():
                LOGGER.info(
                    f"\nStopped by hand. Everything up to epoch {self.record.epochs} is kept; go on with\n"
                    f'  yolo train resume="{self.last}"'
                )
            raise
        finally:
            self.run_callbacks("teardown")
        return self.metrics

    def label_loss_items(self, loss_items: Tensor | None = None, prefix: str = "train") -> Any:
        """Names of the losses, or with values a dict name -> value rounded to 5 decimals."""
        names = [f"{prefix}/{name}" for name in self.loss_names]
        if loss_items is None:
            return names
        return dict(zip(names, (round(float(x), 5) for x in loss_items), strict=True))

    # --------------------------------------------------------------------------------- start

    def _settings(self, cfg: Any, overrides: dict[str, Any]) -> IterableSimpleNamespace:
        if not overrides.get("resume"):
            return get_cfg(overrides, base=cfg)
        self.resumed = resume.load_to_resume(overrides["resume"])
        return resume.settings_of(self.resumed, overrides)

    def _prepare_folder(self) -> None:
        if self.resumed:
            # beside the weights, not where the run once was: folders get moved
            save_dir = self.resumed.path.resolve().parent.parent
            history = self.resumed.content["train_results"]
        else:
            save_dir, history = Path(get_save_dir(self.args)), None
        self.record = RunDir(save_dir, history)
        self.save_dir, self.wdir = save_dir, self.record.weights
        self.last, self.best, self.csv = self.record.last, self.record.best, self.record.csv
        self.args.name, self.args.save_dir = save_dir.name, str(save_dir)
        self.record.start(dict(self.args))

    def setup_model(self) -> None:
        """Make the network: given, from a checkpoint (also the one of `pretrained`), or new from a model file."""
        if isinstance(self.model, nn.Module):
            return
        if self.resumed:
            self.model = self.get_model(cfg=self.resumed.network.yaml, weights=self.resumed.network)
            return
        weights, cfg = None, self.args.model
        if str(cfg).endswith((".pt", ".pth", ".safetensors")):
            weights = load_checkpoint(cfg).network
            cfg = weights.yaml
        elif isinstance(self.args.pretrained, str | Path):
            weights = load_checkpoint(self.args.pretrained).network
        self.model = self.get_model(cfg=cfg, weights=weights)

    def _setup_train(self) -> None:
        self.run_callbacks("on_pretrain_routine_start")
        self.setup_model()
        LOGGER.info(describe_device(self.device))
        if self.device.type == "cpu":
            keep_freed_memory()
        # convolutions run 1.3 times as fast with channels last, on the CPU and on tensor cores
        self.model = self.model.to(self.device).to(memory_format=torch.channels_last)
        self.model.nc, self.model.args = self.data["nc"], self.args
        self.model.names, self.model.named = self.data["names"], True
        freeze_layers(self.model, self.args.freeze)
        self.amp = bool(self.args.amp) and amp_works(self.model, self.device)
        self.scaler = torch.amp.GradScaler("cuda", enabled=self.amp)
        self.stride = max(int(self.model.stride.max()), 32)
        self.args.imgsz = check_imgsz(self.args.imgsz, stride=self.stride, floor=self.stride, max_dim=1)
        self.batch_size = self.args.batch
        self.train_loader = self.get_dataloader(self.data["train"], self.batch_size, mode="train")
        self.test_loader = self.get_dataloader(
            self.data.get("val") or self.data["test"], self.batch_size * 2, mode="val"
        )
        self._check_last_batch()
        self.validator = self.get_validator()
        self.ema = ModelEMA(self.model)
        if self.plots and not self.resumed:
            self.plot_training_labels()
        self._setup_optimizer()
        self._sample_from = {0}  # batches from which training samples are drawn
        if self.resumed:
            resume.restore(self, self.resumed)
            if self.resumed.path.resolve() == self.last.resolve():
                self._copy_best()  # the run may have been killed between the two files
        self._mosaic_open = True
        self.run_callbacks("on_pretrain_routine_end")

    def _check_last_batch(self) -> None:
        """A batch normalisation cannot learn from one number a channel."""
        images = len(self.train_loader.dataset)
        if self.args.imgsz <= int(self.model.stride.max()) and 1 in (images, self.batch_size, images % self.batch_size):
            raise ValueError(
                f"imgsz={self.args.imgsz} leaves one number a channel of a batch of one image, and {images} images by "
                f"batch={self.batch_size} make such a batch; give imgsz={2 * self.args.imgsz} or another batch"
            )

    def _setup_optimizer(self) -> None:
        args, images = self.args, len(self.train_loader.dataset)
        self.accumulate = max(round(args.nbs / self.batch_size), 1)
        decay = args.weight_decay * self.batch_size * self.accumulate / args.nbs
        name, lr, momentum = args.optimizer, args.lr0, args.momentum
        bias_lr = args.warmup_bias_lr
        if str(name).lower() == "auto":
            steps = steps_of_run(images, self.batch_size, args.nbs, self.epochs)
            name, lr, momentum = auto_choice(self.data["nc"], steps)
            bias_lr = 0.0
        self.optimizer = build_optimizer(self.model, name, lr, momentum, decay)
        self.warm_up = WarmUp(
            steps=WarmUp.length(args.warmup_epochs, len(self.train_loader)),
            bias_lr=bias_lr,
            momentum=args.warmup_momentum,
            final_momentum=args.momentum,
            accumulate=args.nbs / self.batch_size,
        )
        self._setup_scheduler()
        self.stopper, self.stop = EarlyStopping(args.patience), False
        self.last_step = -1

    def _setup_scheduler(self) -> None:
        self.lf = lr_curve(self.epochs, self.args.lrf, bool(self.args.cos_lr))
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])

    # --------------------------------------------------------------------------------- epochs

    def _loop(self) -> None:
        # what goes where, before the long wait
        LOGGER.info(
            f"Training {self.epochs} epochs at {self.args.imgsz} pixels, batch {self.batch_size}, "
            f"{len(self.train_loader.dataset)} images; results go to {self.save_dir}"
        )
        self.run_callbacks("on_train_start")
        self.optimizer.zero_grad()
        self.train_time_start = time.time()
        while self.epoch < self.epochs and not self.stop:
            self._train_epoch()
            self._end_epoch()
            self.epoch += 1

    def _train_epoch(self) -> None:
        self.epoch_time_start = time.time()
        self.run_callbacks("on_train_epoch_start")
        self.model.train()
        if self._mosaic_open and self.args.close_mosaic and self.epoch >= self.epochs - self.args.close_mosaic:
            self._close_mosaic()
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.lf(self.epoch)
        self.train_loader.set_epoch(self.epoch)
        self.tloss: Any = None  # running mean of the losses, (number of losses,)
        guard, shown = FiniteGuard(self.device), 0.0
        LOGGER.info(self.progress_string())
        progress = tqdm(
            self.train_loader,
            disable=not VERBOSE or RANK > 0,
            bar_format="{l_bar}{bar:10}{r_bar}",
            mininterval=REFRESH_SECONDS,
        )
        for i, batch in enumerate(progress):
            self._train_batch(i, batch, guard)
            if time.time() - shown > REFRESH_SECONDS or i + 1 == len(self.train_loader):
                shown = time.time()  # reading the losses waits for the device: not at every batch
                progress.set_description(self._progress_line(batch), refresh=False)
            if self.stop:
                break
        guard.check(wait=True)
        progress.close()
        self.lr = {f"lr/pg{i}": group["lr"] for i, group in enumerate(self.optimizer.param_groups)}
        self.run_callbacks("on_train_epoch_end")

    def _train_batch(self, i: int, batch: dict[str, Any], guard: FiniteGuard) -> None:
        self.run_callbacks("on_train_batch_start")
        ni = i + len(self.train_loader) * self.epoch
        if ni <= self.warm_up.steps:
            self.accumulate = self.warm_up.apply(self.optimizer, ni, self.lf(self.epoch))
        with self._autocast():
            batch = self.preprocess_batch(batch)
            self.loss, self.loss_items = self.model(batch)
        guard.add(self.loss, f"batch {i + 1} of epoch {self.epoch + 1}", batch["im_file"])
        self.tloss = self.loss_items if self.tloss is None else (self.tloss * i + self.loss_items) / (i + 1)
        self.scaler.scale(self.loss).backward()
        guard.check()
        if ni - self.last_step >= self.accumulate:
            self.optimizer_step()
            self.last_step = ni
            if self.args.time and time.time() - self.train_time_start > self.args.time * 3600:
                self.stop = True
        self.run_callbacks("on_batch_end")
        if self.plots and any(0 <= ni - start < SAMPLE_BATCHES for start in self._sample_from):
            self.plot_training_samples(batch, ni)
        self.run_callbacks("on_train_batch_end")

    def optimizer_step(self) -> None:
        """Clip the gradients, move the weights, clear the gradients, move the average."""
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), max_norm=MAX_GRAD_NORM)
        self.run_callbacks("optimizer_step")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.run_callbacks("on_before_zero_grad")
        self.optimizer.zero_grad()
        self.ema.update(self.model)
        self.run_callbacks("on_params_update")

    def _autocast(self) -> AbstractContextManager:
        return torch.autocast("cuda") if self.amp else nullcontext()

    def _rescale(self, images: Tensor) -> Tensor:
        """Images at a random size between half and one and a half times imgsz, a multiple of the stride."""
        size, stride = self.args.imgsz, self.stride
        size = random.randrange(int(size * 0.5), int(size * 1.5 + stride)) // stride * stride
        factor = size / max(images.shape[2:])
        if factor == 1:
            return images
        shape = [math.ceil(x * factor / stride) * stride for x in images.shape[2:]]
        return F.interpolate(images, size=shape, mode="bilinear", align_corners=False)

    def _close_mosaic(self) -> None:
        self._mosaic_open = False
        LOGGER.info(f"Mosaic is off for the last {self.epochs - self.epoch} epochs")
        self.train_loader.dataset.close_mosaic(self.args)
        self.train_loader.reset()
        self._sample_from.add(self.epoch * len(self.train_loader))

    def progress_string(self) -> str:
        """Heading of the progress lines."""
        return "".join(f"{x:>11}" for x in ("Epoch", "Memory", *self.loss_names, "Instances", "Size"))

    def _progress_line(self, batch: dict[str, Any]) -> str:
        memory = torch.cuda.memory_reserved() / 2**30 if self.device.type == "cuda" else 0
        losses = "".join(f"{float(x):>11.4g}" for x in self.tloss)
        return (
            f"{f'{self.epoch + 1}/{self.epochs}':>11}{f'{memory:.2f}G':>11}{losses}"
            f"{len(batch['cls']):>11}{max(batch['img'].shape[2:]):>11}"
        )

    # --------------------------------------------------------------------------------- end of an epoch

    def _end_epoch(self) -> None:
        final = self.epoch + 1 >= self.epochs
        self.ema.update_attr(self.model, include=("yaml", "nc", "args", "names", "stride"))
        if self.args.val or final or self.stopper.possible_stop or self.stop:
            self.metrics, self.fitness = self.validate()
        # without validation the last known figures stand in the row, as 8.3.0 has it
        val_row = {k: v for k, v in (self.metrics or self._zero_metrics()).items() if k != "fitness"}
        self.record.add({"epoch": self.epoch + 1, **self.label_loss_items(self.tloss), **val_row, **self.lr})
        self.stop |= self.stopper(self.epoch + 1, self.fitness) or final
        elapsed = time.time() - self.train_time_start
        if self.args.time:
            self._fit_epochs_into_time(elapsed)
        if self.args.save or self.stop or final:
            self.save_model()
            self.run_callbacks("on_model_save")
        self.run_callbacks("on_fit_epoch_end")

    def _zero_metrics(self) -> dict[str, float]:
        names = [*self.validator.metric_keys, *self.label_loss_items(prefix="val")]
        return dict.fromkeys(names, 0.0)

    def _fit_epochs_into_time(self, elapsed: float) -> None:
        mean = elapsed / (self.epoch - self.start_epoch + 1)
        self.epochs = self.args.epochs = max(math.ceil(self.args.time * 3600 / mean), self.epoch + 1)
        self._setup_scheduler()
        self.stop |= elapsed > self.args.time * 3600

    def validate(self) -> tuple[dict[str, float], float]:
        """Metrics of the averaged network on the validation images, and their fitness."""
        self.validator.args.plots = False  # pictures are drawn once, from the best weights
        metrics = self.validator(trainer=self)
        fitness = metrics.get("fitness", -float(self.tloss.sum()))
        if self.best_fitness is None or fitness >= self.best_fitness:
            self.best_fitness = fitness
        return metrics, fitness

    def save_model(self) -> None:
        """Write last.pt, and best.pt or epochN.pt where this epoch is one."""
        save_checkpoint(self.last, self.ema.ema, finished=False, **resume.state_of(self))
        self._copy_best()
        if self.args.save_period > 0 and self.epoch % self.args.save_period == 0:
            copy_checkpoint(self.last, self.wdir / f"epoch{self.epoch}.pt")

    def _copy_best(self) -> None:
        if self.fitness is None or self.fitness == self.best_fitness:
            copy_checkpoint(self.last, self.best)

    # --------------------------------------------------------------------------------- end

    def _finish(self) -> None:
        seconds = time.time() - self.train_time_start
        for file in (self.last, self.best):
            if file.exists():
                strip_checkpoint(file, train_results=self.record.history)
        if self.best.exists():
            self.final_eval()
        if self.plots:
            self.plot_metrics()
        self._summary(seconds)
        self.run_callbacks("on_train_end")

    def final_eval(self) -> None:
        """Validate best.pt as it lies on disk, with pictures; its metrics are those of the run."""
        LOGGER.info(f"\nValidating {self.best}")
        network = load_checkpoint(self.best).network.to(self.device)
        self.validator.args.plots = self.plots
        metrics = self.validator(model=network)
        self.metrics = {k: v for k, v in metrics.items() if k != "fitness"}
        self.run_callbacks("on_fit_epoch_end")

    def _summary(self, seconds: float) -> None:
        epochs = self.epoch - self.start_epoch
        spent = f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.1f} minutes"
        lines = [f"\n{epochs} epochs in {spent}. Results of the best weights:"]
        lines += [f"  {name.removeprefix('metrics/'):<16}{value:.4f}" for name, value in self.metrics.items()]
        kinds = [("best weights", self.best), ("last weights", self.last), ("history", self.csv)]
        if self.plots:
            kinds += [("curves", self.save_dir / "results.png")]
        lines += [f"  {what:<16}{path}" for what, path in kinds if path.exists()]
        lines.append(f'Next: yolo predict model="{self.best}" source=YOUR_IMAGES')
        LOGGER.info("\n".join(lines))
