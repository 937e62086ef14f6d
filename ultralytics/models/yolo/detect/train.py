"""Training of a detection network: its data, network, validator and plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from ultralytics.data.dataset import YOLODataset
from ultralytics.data.loader import EpochLoader, build_dataloader, loading_processes
from ultralytics.engine.protocols import Batch, ImagePath
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.models.yolo.detect.data import build_yolo_dataset, load_dataset_config, parts_to_plot
from ultralytics.models.yolo.detect.val import DetectionValidator
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import dist

# plotting imports matplotlib, which takes longer than all the rest; it is imported where a figure is drawn


class DetectionTrainer(BaseTrainer):
    """Trains a detection network: `DetectionTrainer(overrides={"model": ..., "data": ...}).train()`."""

    task = "detect"
    loss_names: tuple[str, ...] = ("box_loss", "cls_loss", "dfl_loss")
    validator_class: type[DetectionValidator] = DetectionValidator

    def get_dataset(self) -> dict[str, Any]:
        return load_dataset_config(self.args.data, (("train",), ("val", "test")), "training", self.args.task)

    def get_model(
        self, cfg: str | Path | dict[str, Any] | None = None, weights: nn.Module | None = None, verbose: bool = True
    ) -> DetectionModel:
        verbose = verbose and dist.is_main_process()
        model = self.build_network(self.args.model if cfg is None else cfg, verbose)
        if weights is not None:
            model.names, model.named = self.data["names"], True  # weights of the classes are transferred by name
            model.load(weights, verbose=verbose)
        return model

    def build_network(self, cfg: str | Path | dict[str, Any], verbose: bool) -> DetectionModel:
        """New network of the task with the classes of the data."""
        return DetectionModel(cfg, nc=self.data["nc"], verbose=verbose)

    def build_dataset(self, img_path: ImagePath, mode: str = "train", batch: int | None = None) -> YOLODataset:
        size = batch or self.batch_size
        return build_yolo_dataset(self.args, img_path, size, self.data, train=mode == "train", stride=self.stride)

    def get_dataloader(
        self, dataset_path: ImagePath, batch_size: int = 16, rank: int = -1, mode: str = "train"
    ) -> EpochLoader:
        dataset = self.build_dataset(dataset_path, mode, batch_size)
        shuffle = mode == "train" and not self.args.rect
        workers = loading_processes(self.args.workers, self.device)
        return build_dataloader(dataset, batch_size, workers, shuffle=shuffle, rank=rank, seed=self.args.seed)

    def get_validator(self) -> DetectionValidator:
        return self.validator_class(self.test_loader, self.save_dir, args=self.args, _callbacks=self.callbacks)

    def plot_training_samples(self, batch: Batch, ni: int) -> None:
        from ultralytics.utils.plotting import plot_images

        path = self.save_dir / f"train_batch{ni}.jpg"
        instances = batch["batch_idx"], batch["cls"], batch["bboxes"]
        parts = parts_to_plot(batch, overlap_mask=bool(self.args.overlap_mask))
        plot_images(batch["img"], *instances, path=path, paths=batch["im_file"], names=self.data["names"], **parts)
        self.on_plot(path)

    def plot_training_labels(self) -> None:
        from ultralytics.utils.charts import plot_labels

        dataset, path = self.train_loader.dataset, self.save_dir / "labels.jpg"
        if isinstance(dataset, YOLODataset):  # a script's own dataset has no table of labels
            plot_labels(dataset.table.boxes, dataset.table.cls, self.data["names"], path)
            self.on_plot(path)

    def plot_metrics(self) -> None:
        from ultralytics.utils.charts import plot_results

        path = self.save_dir / "results.png"
        plot_results(self.csv, path)
        self.on_plot(path)
