"""Training of a classification network: its data, network, validator and plots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.optim import Optimizer

from ultralytics.data.classify import ClassificationDataset
from ultralytics.data.loader import EpochLoader
from ultralytics.engine import optimizer as optimizers
from ultralytics.engine.callbacks import Callback
from ultralytics.engine.protocols import Batch, Settings
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.models.yolo.classify.data import (
    ClassImages,
    build_cls_dataset,
    images_for_network,
    load_dataset_folder,
    make_loader,
    task_settings,
)
from ultralytics.models.yolo.classify.val import ClassificationValidator
from ultralytics.nn.tasks import ClassificationModel
from ultralytics.utils import dist
from ultralytics.utils.torch_utils import unwrap

# plotting imports matplotlib, which takes longer than all the rest; it is imported where a figure is drawn

AUTO_CLASSES = 10  # what `optimizer=auto` assumes, so that its learning rate is 0.000714 for any number of classes


class ClassificationTrainer(BaseTrainer):
    """Trains a classification network: `ClassificationTrainer(overrides={"model": ..., "data": ...}).train()`.

    The image size is 224 pixels unless it is set.
    """

    loss_names = ("loss",)
    loss_is_mean = True

    def __init__(
        self,
        cfg: Mapping[str, Any] | Settings | None = None,
        overrides: Mapping[str, Any] | None = None,
        _callbacks: Mapping[str, list[Callback]] | None = None,
    ) -> None:
        super().__init__(cfg, overrides, _callbacks)
        self.mosaic_open = False

    def with_task_defaults(self, cfg: Mapping[str, Any] | Settings | None) -> dict[str, Any]:
        return task_settings(cfg)

    def get_dataset(self) -> dict[str, Any]:
        data = load_dataset_folder(self.args, ("train",), "training")
        if not (data["val"] or data["test"]):
            raise ValueError(
                f"{data['path']}: there are no images for validation; add the folder val/<class>, or leave out 'train' "
                "and give the folder of the classes, which is then divided"
            )
        return data

    def get_model(
        self, cfg: str | Path | dict[str, Any] | None = None, weights: nn.Module | None = None, verbose: bool = True
    ) -> ClassificationModel:
        verbose = verbose and dist.is_main_process()
        model = ClassificationModel(self.args.model if cfg is None else cfg, nc=self.data["nc"], verbose=verbose)
        if weights is not None:
            model.names, model.named = self.data["names"], True  # weights of the classes are transferred by name
            model.load(weights, verbose=verbose)
        return model

    def set_model_attributes(self) -> None:
        super().set_model_attributes()
        for module in unwrap(self.model).modules():
            if isinstance(module, nn.Dropout) and self.args.dropout:
                module.p = self.args.dropout

    def coarsest_stride(self) -> int:
        return max(int(stride) for _, stride in cast(ClassificationModel, unwrap(self.model)).layer_sizes())

    def build_optimizer(
        self,
        model: nn.Module,
        name: str = "auto",
        lr: float = 0.001,
        momentum: float = 0.9,
        decay: float = 1e-5,
        iterations: float = 1e5,
    ) -> Optimizer:
        """As of `BaseTrainer`; "auto" does not depend on the number of classes, as in 8.3.0 for this task."""
        if name.lower() == "auto":
            name, lr, momentum = optimizers.auto_choice(AUTO_CLASSES, iterations)
        return super().build_optimizer(model, name, lr, momentum, decay, iterations)

    def build_dataset(
        self, img_path: ClassImages, mode: str = "train", batch: int | None = None
    ) -> ClassificationDataset:
        """Dataset of a split: its images, or its folder; `batch` has no effect."""
        prefix = "train: " if mode == "train" else "val: "
        return build_cls_dataset(self.args, img_path, train=mode == "train", prefix=prefix)

    def get_dataloader(
        self, dataset_path: ClassImages, batch_size: int = 16, rank: int = -1, mode: str = "train"
    ) -> EpochLoader:
        dataset = self.build_dataset(dataset_path, mode)
        if mode != "train" and self.model is not None and not self.args.letterbox:
            # it is in the checkpoints of a running training, and 8.3.0 cannot read the letterbox
            cast(ClassificationModel, unwrap(self.model)).transforms = dataset.transform
        return make_loader(dataset, self.args, self.device, batch_size, shuffle=mode == "train", rank=rank)

    def get_validator(self) -> ClassificationValidator:
        return ClassificationValidator(self.test_loader, self.save_dir, args=self.args, _callbacks=self.callbacks)

    def preprocess_batch(self, batch: Batch) -> Batch:
        """Move a batch to the device; the transform has already put its images into 0..1."""
        return {
            **batch,
            "img": images_for_network(batch["img"], self.device),
            "cls": batch["cls"].to(self.device, torch.int64),
        }

    def plot_training_samples(self, batch: Batch, ni: int) -> None:
        from ultralytics.utils.plotting import plot_images

        path, index = self.save_dir / f"train_batch{ni}.jpg", torch.arange(len(batch["img"]))
        plot_images(batch["img"], index, batch["cls"], path=path, paths=batch["im_file"], names=self.data["names"])
        self.on_plot(path)

    def plot_training_labels(self) -> None:
        from ultralytics.utils.charts import plot_class_counts

        dataset, path = self.train_loader.dataset, self.save_dir / "labels.jpg"
        if isinstance(dataset, ClassificationDataset):  # a script's own dataset has no table of labels
            plot_class_counts(dataset.table.cls, self.data["names"], path)
            self.on_plot(path)

    def plot_metrics(self) -> None:
        from ultralytics.utils.charts import plot_results

        path = self.save_dir / "results.png"
        plot_results(self.csv, path)
        self.on_plot(path)
