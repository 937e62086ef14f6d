"""What scripts and tasks see of a trainer: its attributes, and the methods that a subclass may override."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, overload

from torch import Tensor, nn
from torch.optim import Optimizer

from ultralytics.engine import optimizer as optimizers
from ultralytics.engine import progress
from ultralytics.engine.callbacks import Callback, Callbacks
from ultralytics.engine.optimization import Optimization
from ultralytics.engine.protocols import Batch, EvalLoader, ImagePath, Settings, TrainLoader
from ultralytics.engine.validator import BaseValidator
from ultralytics.utils.torch_utils import EarlyStopping, images_to_device, random_rescale, select_device, unwrap

UNSET: Any = None  # value of an attribute until training is set up


def _delegate(name: str) -> Any:
    """Attribute of `self.optimization` under its own name; None until training is set up."""

    def read(self: TrainerInterface) -> Any:
        return getattr(self.optimization, name, None)

    def write(self: TrainerInterface, value: object) -> None:
        setattr(self.optimization, name, value)

    return property(read, write, doc=f"`optimization.{name}`")


class TrainerInterface:
    """Attributes and override points of a training run; the run itself is `BaseTrainer`.

    Args:
        args: settings of the run.
        callbacks: functions by event, each called with this object.

    Attributes:
        args: settings; `name` and `save_dir` are those of the run's folder.
        callbacks: functions by event.
        device: where the network is trained.
        data: description of the dataset: `names`, `nc`, paths of the splits.
        trainset, testset: paths of the training and validation images.
        model: the network; None until `setup_model`. With several processes a DistributedDataParallel around it.
        train_loader, test_loader: batches; None until training is set up, `test_loader` on rank 0 only.
        validator: of the validation split; None until training is set up, rank 0 only.
        optimization: optimizer, gradient scaler, averaged weights and warm-up; None until training is set up.
        optimizer, scaler, ema, lf, accumulate, last_step: parts of `optimization`.
        amp: whether mixed precision is used.
        stride: largest stride of the network, at least 32.
        batch_size: images per step, of all processes together.
        epochs, start_epoch, epoch: number of epochs, the first one since the start, the present one (from 0).
        loss, loss_items: of the last batch: scalar, and (number of losses,) or a scalar for one loss.
        tloss: as `loss_items`, mean of the present epoch.
        loss_names: names of the losses.
        loss_is_mean: whether `loss` is the mean over the images of a batch, not their sum.
        lr: learning rates at the end of the last epoch.
        metrics, fitness, best_fitness: of the last validation, and the best fitness so far.
        stopper, stop: early stopping, and whether this epoch is the last one.
        save_dir, wdir, last, best, csv: the run's folder, and in it weights/, last.pt, best.pt, results.csv.
        save_period: epochs between the checkpoints that are kept, -1 for none.
        plots: files that were drawn -> data passed to `on_plot`.
        plot_idx: indices of the training batches that are plotted.
        frozen_norms: normalization layers of the frozen layers, whose statistics do not change.
        mosaic_open: whether samples may still be mosaics.
        train_time_start: time stamp of the start, seconds.
    """

    task: str | None = None  # of a task's trainer; it overrides the setting
    loss_names: tuple[str, ...] = ()
    val_batch_factor = 2  # images per validation batch, in training batches
    loss_is_mean = False

    optimizer, scaler, ema = _delegate("optimizer"), _delegate("scaler"), _delegate("ema")
    lf, accumulate, last_step = _delegate("lf"), _delegate("accumulate"), _delegate("last_step")

    def __init__(self, args: Settings, callbacks: Mapping[str, list[Callback]] | None = None) -> None:
        self.args = args
        self.callbacks = callbacks if isinstance(callbacks, Callbacks) else Callbacks(callbacks)
        self.device = select_device(args.device)
        self.data = self.get_dataset()  # before the run's folder is made: a failed start leaves nothing behind
        self.trainset: ImagePath = self.data["train"]
        self.testset: ImagePath = self.data.get("val") or self.data.get("test", "")
        self.model: nn.Module = UNSET
        self.train_loader: TrainLoader = UNSET
        self.test_loader: EvalLoader = UNSET
        self.validator: BaseValidator = UNSET
        self.optimization: Optimization = UNSET
        self.amp = False
        self.stride = 32
        self.batch_size: int = args.batch
        self.epochs: int = args.epochs
        self.epoch = self.start_epoch = 0
        self.loss: Tensor = UNSET
        self.loss_items: Tensor = UNSET
        self.tloss: Tensor = UNSET
        self.lr: dict[str, float] = {}
        self.metrics: dict[str, float] = {}
        self.fitness: float | None = None
        self.best_fitness: float | None = None
        self.stopper, self.stop = EarlyStopping(args.patience), False
        self.save_dir = self.wdir = self.last = self.best = self.csv = Path()  # set with the run's folder
        self.save_period: int = args.save_period
        self.plots: dict[Path, object] = {}
        self.plot_idx: list[int] = []
        self.frozen_norms: list[nn.Module] = []
        self.mosaic_open = True
        self.train_time_start = 0.0

    # ----------------------------------------------------------------------------------- what a task provides

    def get_dataset(self) -> dict[str, Any]:
        """Description of the dataset: names, nc, paths of the splits."""
        raise NotImplementedError

    def get_model(
        self, cfg: str | Path | dict[str, Any] | None = None, weights: nn.Module | None = None, verbose: bool = True
    ) -> nn.Module:
        """New network for the data, with the weights of `weights` where they fit."""
        raise NotImplementedError

    def set_model_attributes(self) -> None:
        """Give the network what its loss and its checkpoint need: classes and settings."""
        model: Any = unwrap(self.model)
        model.nc, model.args = self.data["nc"], self.args
        model.names, model.named = self.data["names"], True

    def build_dataset(self, img_path: ImagePath, mode: str = "train", batch: int | None = None) -> Any:
        """Dataset of the images at `img_path`, in groups of `batch`."""
        raise NotImplementedError

    def get_dataloader(self, dataset_path: ImagePath, batch_size: int = 16, rank: int = 0, mode: str = "train") -> Any:
        """Loader of one split: a `TrainLoader` for mode "train", else an `EvalLoader`.

        Args:
            dataset_path: images of the split.
            batch_size: images per batch of this process.
            rank: index of this process, which gets its share of the images; -1 for all of them.
            mode: "train" or "val".
        """
        raise NotImplementedError

    def get_validator(self) -> BaseValidator:
        """Validator of the validation split."""
        raise NotImplementedError

    def preprocess_batch(self, batch: Batch) -> Batch:
        """Move a batch to the device: images become float in 0..1, channels last."""
        images = images_to_device(batch["img"], self.device)
        if self.args.multi_scale:
            images = random_rescale(images, self.args.imgsz, self.stride)
        return {**batch, "img": images}

    def build_optimizer(
        self,
        model: nn.Module,
        name: str = "auto",
        lr: float = 0.001,
        momentum: float = 0.9,
        decay: float = 1e-5,
        iterations: float = 1e5,
    ) -> Optimizer:
        """Optimizer over three parameter groups: biases, weights with decay, weights of normalization layers.

        Args:
            model: the network.
            name: SGD, Adam, Adamax, AdamW, NAdam, RAdam, RMSProp, or auto, which replaces name, lr and momentum.
            lr: initial learning rate.
            momentum: momentum, or the first beta of the Adam family.
            decay: L2 weight decay.
            iterations: optimizer steps of the run, by which auto decides.
        """
        if name.lower() == "auto":
            name, lr, momentum = optimizers.auto_choice(self.data["nc"], iterations)
        return optimizers.build_optimizer(model, name, lr, momentum, decay)

    def plot_training_samples(self, batch: Batch, ni: int) -> None:
        """Plot training batch `ni` as the network sees it."""

    def plot_training_labels(self) -> None:
        """Plot how the labels are distributed."""

    def plot_metrics(self) -> None:
        """Plot results.csv."""

    # ----------------------------------------------------------------------------------- names and events

    def progress_string(self) -> str:
        """Heading of the progress lines."""
        return progress.heading(self.loss_names)

    @overload
    def label_loss_items(self, loss_items: None = None, prefix: str = "train") -> list[str]: ...

    @overload
    def label_loss_items(self, loss_items: Tensor, prefix: str = "train") -> dict[str, float]: ...

    def label_loss_items(self, loss_items: Tensor | None = None, prefix: str = "train") -> list[str] | dict[str, float]:
        """Names of the losses, or with values a dict name -> value rounded to 5 decimals.

        Args:
            loss_items: (number of losses,), or a scalar for one loss.
            prefix: "train" or "val".
        """
        names = [f"{prefix}/{name}" for name in self.loss_names]
        if loss_items is None:
            return names
        return dict(zip(names, (round(float(x), 5) for x in loss_items.reshape(-1)), strict=True))

    def on_plot(self, name: Path, data: object = None) -> None:
        """Note a plot that was written."""
        self.plots[Path(name)] = data

    def add_callback(self, event: str, callback: Callback) -> None:
        """Call `callback(trainer)` whenever `event` fires."""
        self.callbacks.add(event, callback)

    def set_callback(self, event: str, callback: Callback) -> None:
        """Replace the functions of `event` by `callback`."""
        self.callbacks.replace(event, callback)

    def run_callbacks(self, event: str) -> None:
        """Fire `event`."""
        self.callbacks.run(event, self)
