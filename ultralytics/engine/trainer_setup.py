"""The start of a training run: settings, the run's folder, network, loaders, optimization, and a resumed state."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ultralytics.cfg import check_imgsz, get_cfg, get_save_dir, make_save_dir
from ultralytics.engine import optimizer as optimizers
from ultralytics.engine import resume
from ultralytics.engine.callbacks import Callback
from ultralytics.engine.checkpointing import Checkpoints
from ultralytics.engine.class_numbers import check_class_filter
from ultralytics.engine.optimization import Optimization, StepPlan
from ultralytics.engine.protocols import Settings
from ultralytics.engine.run_dir import RunDir
from ultralytics.engine.stability import amp_works, check_batch_norm
from ultralytics.engine.stopping import TimeBudget
from ultralytics.engine.trainer_interface import TrainerInterface
from ultralytics.nn.checkpoint import Checkpoint, load_network
from ultralytics.utils import LOGGER, dist
from ultralytics.utils.files import missing_parents
from ultralytics.utils.torch_utils import (
    ModelEMA,
    copy_module,
    describe_device,
    init_seeds,
    keep_freed_memory,
    max_stride,
)

PLOTTED_BATCHES = 3  # train_batch*.jpg at the start, and again when the mosaic closes


class TrainerSetup(TrainerInterface):
    """A trainer up to the first epoch.

    Args:
        cfg: settings over the defaults, or None.
        overrides: settings over those of `cfg`.
        _callbacks: functions by event, each called with this object.

    Attributes:
        resumed: checkpoint that the run continues from, or None.
        record: the run's folder and its history.
        checkpoints: writes last.pt, best.pt and epochN.pt.
        budget: time limit of the training.
    """

    def __init__(
        self,
        cfg: Mapping[str, Any] | Settings | None = None,
        overrides: Mapping[str, Any] | None = None,
        _callbacks: Mapping[str, list[Callback]] | None = None,
    ) -> None:
        self.resumed: Checkpoint | None = None
        super().__init__(self._settings(cfg, dict(overrides or {})), _callbacks)
        check_class_filter(self.args.classes, self.data["names"], str(self.args.data))
        if self.resumed:
            resume.check_classes(self.resumed, self.data)
        self.record = self._open_run_dir()
        self.checkpoints = Checkpoints(self.record, self.save_period)
        self.budget = TimeBudget(self.args.time)
        # one seed for everything that follows, the weights of a new network included
        init_seeds(self.args.seed + 1 + dist.rank(), deterministic=bool(self.args.deterministic))

    def _settings(self, cfg: Mapping[str, Any] | Settings | None, overrides: dict[str, Any]) -> Settings:
        if overrides.get("resume"):
            self.resumed = resume.load_to_resume(overrides["resume"])
            args = resume.settings_of(self.resumed, overrides)
        else:
            options = overrides if self.task is None else overrides | {"task": self.task}
            args = get_cfg(self.with_task_defaults(cfg), options)
        if args.batch < 1:
            raise ValueError(
                f"batch={args.batch}: choosing the batch size by free memory is not part of this version; "
                "use a number, such as batch=16"
            )
        return args

    def with_task_defaults(self, cfg: Mapping[str, Any] | Settings | None) -> Mapping[str, Any] | Settings | None:
        """The settings `cfg` with the defaults of the task where they differ from those of default.yaml."""
        return cfg

    def _open_run_dir(self) -> RunDir:
        history = self.resumed.content["train_results"] if self.resumed else None
        folder = resume.run_folder(self.resumed) if self.resumed else None
        parents: list[Path] = []
        if folder is None:
            parents = missing_parents(get_save_dir(self.args))
            folder = dist.on_main_process(lambda: make_save_dir(self.args))
            if self.resumed:
                LOGGER.info(f"{self.resumed.path} is not in the folder of its run, which continues in {folder}")
        record = RunDir(folder, history, parents)
        self.save_dir, self.wdir = record.save_dir, record.weights
        self.last, self.best, self.csv = record.last, record.best, record.csv
        self.args.name, self.args.save_dir = record.save_dir.name, str(record.save_dir)
        dist.on_main_process(lambda: record.start(dict(self.args)))
        return record

    def discard_run_dir(self) -> None:
        """Remove the new folder of a run that did not begin."""
        if dist.is_main_process():
            self.record.discard()

    def setup_model(self) -> None:
        """Set `model`: the one that was set before, from a checkpoint (also that of `pretrained`), or a new one."""
        if isinstance(self.model, nn.Module):
            return
        if self.resumed and self.resumed.edits:
            self.model = copy_module(self.resumed.network).requires_grad_(True)
            return
        if self.resumed:
            self.model = self.get_model(cfg=self.resumed.network.yaml, weights=self.resumed.network)
            return
        weights, cfg = None, self.args.model
        if str(cfg).lower().endswith((".pt", ".pth", ".safetensors")):
            weights = load_network(cfg)
            cfg = weights.yaml
        elif isinstance(self.args.pretrained, str | Path):
            weights = load_network(self.args.pretrained)
        self.model = self.get_model(cfg=cfg, weights=weights)

    def is_best(self) -> bool:
        """Whether the last validated epoch is the best one so far."""
        return self.fitness is None or self.fitness == self.best_fitness

    def _setup_train(self, world_size: int) -> None:
        """Make everything that the first epoch needs.

        Args:
            world_size: number of processes on GPUs, 0 on the CPU; for overrides, which 8.3.0 calls with it.
        """
        self.run_callbacks("on_pretrain_routine_start")
        self.setup_model()
        self._prepare_model()
        self._make_loaders()
        self._make_optimization()
        if dist.is_main_process():
            self.validator = self.get_validator()
            columns = [*self.validator.metric_keys, *self.label_loss_items(prefix="val")]
            self.metrics = dict.fromkeys(columns, 0.0)  # until the first validation
            if self.args.plots and not self.resumed:
                self.plot_training_labels()
        self.plot_idx = list(range(PLOTTED_BATCHES))
        if self.resumed:
            resume.restore(self, self.resumed)
            if dist.is_main_process() and self.is_best() and self.resumed.path.resolve() == self.last.resolve():
                self.checkpoints.copy_best()  # the run may have been killed between the two files
        if dist.is_distributed():
            self.model = DistributedDataParallel(self.model, find_unused_parameters=True)
            self.optimization.model = self.model
        self.run_callbacks("on_pretrain_routine_end")

    def _prepare_model(self) -> None:
        LOGGER.info(describe_device(self.device))
        if self.device.type == "cpu":
            keep_freed_memory()
        # convolutions are 1.3 times as fast with channels last, on the CPU and on tensor cores
        self.model = self.model.to(self.device).to(memory_format=torch.channels_last)
        self.set_model_attributes()
        self.frozen_norms = optimizers.freeze_layers(self.model, self.args.freeze)
        self.amp = bool(self.args.amp) and amp_works(self.model, self.device)
        self.stride = max_stride(self.model)
        self.args.imgsz = check_imgsz(self.args.imgsz, stride=self.stride, floor=self.stride, max_dim=1)

    def _make_loaders(self) -> None:
        share, rank = self.batch_size, -1
        if dist.is_distributed():
            share, rank = max(self.batch_size // dist.world_size(), 1), dist.rank()
        with dist.main_process_first():  # which checks the labels and fills their cache
            self.train_loader = self.get_dataloader(self.trainset, share, rank=rank, mode="train")
        if dist.is_main_process():
            self.test_loader = self.get_dataloader(self.testset, share * self.val_batch_factor, rank=-1, mode="val")
        check_batch_norm(len(self.train_loader.dataset), self.batch_size, self.args.imgsz, self.coarsest_stride())

    def coarsest_stride(self) -> int:
        """Pixels per cell of the network's smallest map."""
        return max_stride(self.model, least=1)

    def _make_optimization(self) -> None:
        args, model = self.args, self.model
        plan = StepPlan(len(self.train_loader.dataset), len(self.train_loader), self.batch_size, self.epochs)
        optimizers.warn_unused_by_auto(args)
        optimizer = self.build_optimizer(
            model,
            name=self._optimizer_name(),
            lr=args.lr0,
            momentum=args.momentum,
            decay=plan.weight_decay(args),
            iterations=plan.optimizer_steps(args),
        )
        self.optimization = Optimization(
            model,
            optimizer,
            ema=ModelEMA(model),
            warm_up=plan.warm_up(args),
            lf=optimizers.lr_curve(self.epochs, args.lrf, bool(args.cos_lr)),
            accumulate=plan.accumulate(args),
            amp=self.amp,
        )

    def _optimizer_name(self) -> str:
        """The option, except that a resumed run keeps what `auto` chose when it began."""
        chosen = self.resumed.content["resume"].get("optimizer_class") if self.resumed else None
        is_auto = self.args.optimizer.lower() == "auto"
        return chosen if is_auto and chosen in optimizers.OPTIMIZERS else self.args.optimizer
