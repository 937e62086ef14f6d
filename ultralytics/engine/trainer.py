"""Training: fetch, forward, loss, step, validate, save; each task adds models/yolo/<task>/train.py."""

from __future__ import annotations

import time
from collections.abc import Mapping

from ultralytics.engine import optimizer as optimizers
from ultralytics.engine import progress, resume
from ultralytics.engine.fingerprint import split_facts
from ultralytics.engine.metrics_json import data_facts, metrics_content, write_metrics
from ultralytics.engine.protocols import Batch
from ultralytics.engine.stability import FiniteGuard
from ultralytics.engine.trainer_interface import UNSET
from ultralytics.engine.trainer_setup import PLOTTED_BATCHES, TrainerSetup
from ultralytics.nn.checkpoint import load_network
from ultralytics.utils import LOGGER, dist
from ultralytics.utils.torch_utils import unwrap


class BaseTrainer(TrainerSetup):
    """One training run. A task's subclass provides data, network, validator and plots (see `TrainerInterface`).

    Called as `BaseTrainer(cfg, overrides, _callbacks)`, see `TrainerSetup`.

    With several processes (torchrun and an initialized process group) every process trains on its share of the images;
    rank 0 chooses the run's folder and is the only one that validates, logs, plots and writes.
    """

    def train(self) -> dict[str, float]:
        """Run all epochs, validate the best weights, and return their metrics."""
        self.train_time_start = time.time()
        try:
            self._set_up_or_discard()
            self._loop()
            if dist.is_main_process():
                self._finish()
            dist.barrier()  # no process continues before the files are complete
        except KeyboardInterrupt:
            if self.last.exists():
                LOGGER.info(
                    f"\nInterrupted. Everything up to epoch {self.record.epochs} is kept; to continue:\n"
                    f'  yolo train resume="{self.last}"'
                )
            raise
        finally:
            self.run_callbacks("teardown")
        return self.metrics

    def _set_up_or_discard(self) -> None:
        """Set up the training; after a mistake in the options or the data, no folder of the run is left."""
        try:
            self._setup_train()
        except BaseException:
            self.discard_run_dir()
            raise

    # ----------------------------------------------------------------------------------- epochs

    def _loop(self) -> None:
        LOGGER.info(
            f"Training {self.epochs} epochs at {self.args.imgsz} pixels, batch {self.batch_size}, "
            f"{len(self.train_loader.dataset)} images; results go to {self.save_dir}"
        )
        self.run_callbacks("on_train_start")
        self.optimizer.zero_grad()
        self.train_time_start = self.budget.start()
        while self.epoch < self.epochs and not self.stop:
            self._train_epoch()
            self._end_epoch()
            self.epoch += 1

    def _train_epoch(self) -> None:
        self.run_callbacks("on_train_epoch_start")
        self.model.train()
        for norm in self.frozen_norms:
            norm.eval()
        if self.mosaic_open and self.args.close_mosaic and self.epoch >= self.epochs - self.args.close_mosaic:
            self._close_mosaic()
        self.optimization.start_epoch(self.epoch)
        self.train_loader.set_epoch(self.epoch)
        self.tloss = UNSET
        LOGGER.info(self.progress_string())
        guard, batches = FiniteGuard(self.device), progress.EpochProgress(self.train_loader)
        for i, batch in batches:
            self._train_batch(i, batch, guard)
            if batches.due(i):
                batches.show(progress.line(self.epoch, self.epochs, self.tloss, batch))
            if self.stop:
                break
        guard.check(wait=True)
        batches.close()
        self.lr = self.optimization.learning_rates()
        self.run_callbacks("on_train_epoch_end")

    def _train_batch(self, i: int, batch: Batch, guard: FiniteGuard) -> None:
        self.run_callbacks("on_train_batch_start")
        ni = i + len(self.train_loader) * self.epoch
        self.optimization.start_batch(ni, self.epoch)
        with self.optimization.autocast():
            batch = self.preprocess_batch(batch)
            self.loss, self.loss_items = self.model(batch)
        guard.add(self.loss, f"batch {i + 1} of epoch {self.epoch + 1}", batch["im_file"])
        self.tloss = self.loss_items if self.tloss is None else (self.tloss * i + self.loss_items) / (i + 1)
        # gradients are averaged over the processes, which is too little where losses are sums over their images
        is_sum = dist.is_distributed() and not self.loss_is_mean
        self.optimization.backward(self.loss * dist.world_size() if is_sum else self.loss)
        guard.check()
        if self.optimization.step_due(ni):
            self.optimizer_step()
            self.optimization.last_step = ni
            if self.args.time and dist.broadcast(self.budget.used_up):
                self.stop = True
        self.run_callbacks("on_batch_end")
        if self.args.plots and dist.is_main_process() and ni in self.plot_idx:
            self.plot_training_samples(batch, ni)
        self.run_callbacks("on_train_batch_end")

    def optimizer_step(self) -> None:
        """Clip the gradients, update the weights, clear the gradients, update the averaged weights."""
        self.optimization.step(self.run_callbacks)

    def _close_mosaic(self) -> None:
        self.mosaic_open = False
        LOGGER.info(f"Mosaic is off for the last {self.epochs - self.epoch} epochs")
        self.train_loader.dataset.close_mosaic(self.args)
        self.train_loader.reset()
        first = self.epoch * len(self.train_loader)
        self.plot_idx.extend(range(first, first + PLOTTED_BATCHES))

    # ----------------------------------------------------------------------------------- end of an epoch

    def _end_epoch(self) -> None:
        final = self.epoch + 1 >= self.epochs
        self.ema.update_attr(unwrap(self.model), include=("yaml", "nc", "args", "names", "stride"))
        if dist.is_main_process():
            if self.args.val or final or self.stopper.possible_stop or self.stop:
                self.metrics, self.fitness = self.validate()
            self.save_metrics(self.metrics)
            self.stop |= self.stopper(self.epoch + 1, self.fitness) or final
            if self.args.time:
                self._fit_epochs_into_time()
        self.stop, self.epochs = dist.broadcast((self.stop, self.epochs))
        if self.args.time:
            self.args.epochs = self.epochs
            self.optimization.lf = optimizers.lr_curve(self.epochs, self.args.lrf, bool(self.args.cos_lr))
        if dist.is_main_process() and (self.args.save or self.stop or final):
            self.save_model()
            self.run_callbacks("on_model_save")
        self.run_callbacks("on_fit_epoch_end")

    def _fit_epochs_into_time(self) -> None:
        self.epochs = self.budget.epochs_that_fit(self.epoch, self.start_epoch)
        self.stop |= self.budget.used_up

    def validate(self) -> tuple[dict[str, float], float]:
        """Metrics of the averaged network on the validation images, and their fitness."""
        metrics = self.validator(trainer=self)
        fitness = metrics.get("fitness", -float(self.tloss.sum()))
        if self.best_fitness is None or fitness >= self.best_fitness:
            self.best_fitness = fitness
        return metrics, fitness

    def save_metrics(self, metrics: Mapping[str, float]) -> None:
        """Append the epoch to results.csv. Without validation the last known metrics are repeated, as in 8.3.0."""
        if not metrics:
            metrics = dict.fromkeys([*self.validator.metric_keys, *self.label_loss_items(prefix="val")], 0.0)
        losses = {} if self.tloss is None else self.label_loss_items(self.tloss)
        row = {k: v for k, v in metrics.items() if k != "fitness"}
        self.record.add({"epoch": self.epoch + 1, **losses, **row, **self.lr})

    def save_model(self) -> None:
        """Write last.pt, and best.pt or epochN.pt where this epoch is one."""
        state = resume.state_of(self)
        self.checkpoints.save(self.ema.ema, state, epoch=self.epoch, is_best=self.is_best())

    # ----------------------------------------------------------------------------------- end

    def _finish(self) -> None:
        seconds = time.time() - self.train_time_start
        self.checkpoints.finish()
        if self.best.exists():
            self.final_eval()
        if self.args.plots:
            self.plot_metrics()
        self._write_metrics(seconds)
        files = {"best weights": self.best, "last weights": self.last, "history": self.csv}
        if self.args.plots:
            files["curves"] = self.save_dir / "results.png"
        LOGGER.info(progress.summary(self.epoch - self.start_epoch, seconds, self.metrics, files))
        self.run_callbacks("on_train_end")

    def final_eval(self) -> None:
        """Validate best.pt as it is on the disk, with plots; its metrics are those of the run."""
        LOGGER.info(f"\nValidating {self.best}")
        network = load_network(self.best).to(self.device)
        metrics = self.validator(model=network)
        self.metrics = {k: v for k, v in metrics.items() if k != "fitness"}
        self.run_callbacks("on_fit_epoch_end")

    def _write_metrics(self, seconds: float) -> None:
        if self.validator.result is None:
            return
        splits = {"train": self.train_loader, "val": self.test_loader}
        names = self.data["names"]
        facts = {split: split_facts(loader.dataset, names) for split, loader in splits.items()}
        content = metrics_content(
            self.validator.result,
            mode="train",
            args=self.args,
            network=self.model,
            device=self.device,
            data=data_facts(self.args.data, names, facts),
            seconds=seconds,
            training={
                "epochs": self.epoch,
                "start_epoch": self.start_epoch,
                "best_epoch": self.stopper.best_epoch,
                "stopped_early": self.epoch < self.args.epochs,
            },
        )
        write_metrics(self.save_dir, content)
