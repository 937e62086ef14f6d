"""Validation of a classification network: shares of correct first and first five classes, table, files, plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ultralytics.data.classify import ClassificationDataset
from ultralytics.engine.callbacks import Callback
from ultralytics.engine.evaluator import ClassResult, speed_line
from ultralytics.engine.protocols import Batch, EvalLoader, Outputs, Settings
from ultralytics.engine.results import Probs, label_lines, write_label_file
from ultralytics.engine.validator import BaseValidator
from ultralytics.models.yolo.classify.data import (
    ClassImages,
    build_cls_dataset,
    images_for_network,
    load_dataset_folder,
    make_loader,
)
from ultralytics.tasks import get_task
from ultralytics.utils import LOGGER
from ultralytics.utils.metrics import ConfusionMatrix
from ultralytics.utils.printable import printable
from ultralytics.utils.task_metrics import ClassifyMetrics

# plotting imports matplotlib, which takes longer than all the rest; it is imported where a figure is drawn

TOP = 5


class ClassificationValidator(BaseValidator):
    """Accuracy and confusion matrix of a split. The classes of the data and of the network are matched by name.

    Arguments as of `BaseValidator`.

    Attributes:
        targets: per batch (B,) int64 true classes.
        pred: per batch (B, 5) or fewer columns, int64 classes by descending probability.
    """

    metric_keys = get_task("classify").metric_keys

    def __init__(
        self,
        dataloader: EvalLoader | None = None,
        save_dir: Path | None = None,
        pbar: tqdm | None = None,
        args: Settings | Mapping[str, Any] | None = None,
        _callbacks: Mapping[str, list[Callback]] | None = None,
    ) -> None:
        row = get_task("classify")
        settings = {"imgsz": row.imgsz, **dict(args or {}), "task": row.name}
        super().__init__(dataloader, save_dir, pbar, settings, _callbacks)
        self.targets: list[Tensor] = []
        self.pred: list[Tensor] = []

    def get_dataset(self) -> dict[str, Any]:
        return load_dataset_folder(self.args, (self.args.split,), "validation")

    def build_dataset(
        self, img_path: ClassImages, mode: str = "val", batch: int | None = None
    ) -> ClassificationDataset:
        """Dataset of a split: its images, or its folder; `batch` has no effect."""
        return build_cls_dataset(self.args, img_path, train=mode == "train", prefix=f"{self.args.split}: ")

    def get_dataloader(self, dataset_path: ClassImages, batch_size: int) -> EvalLoader:
        loader = make_loader(self.build_dataset(dataset_path), self.args, self.device, batch_size)
        return cast(EvalLoader, loader)

    # ----------------------------------------------------------------------------------- counting

    def init_metrics(self, model: Any) -> None:
        self.names, self.nc = model.names, len(model.names)
        self.metrics = ClassifyMetrics()
        self.confusion_matrix = ConfusionMatrix(nc=self.nc, conf=self.args.conf, task="classify")
        self.targets, self.pred = [], []
        self.seen, self.jdict = 0, []

    def preprocess(self, batch: Batch) -> Batch:
        """Move a batch to the device."""
        dtype = torch.float16 if self.half else torch.float32
        images = images_for_network(batch["img"], self.device, dtype)
        return {**batch, "img": images, "cls": batch["cls"].long().to(self.device)}

    def map_classes(self, data: Mapping[int, str], network: Mapping[int, str], source: str) -> list[int]:
        """As in the base class, but a folder whose name the network does not know is an error."""
        return class_map(data, network, source)

    def postprocess(self, preds: Outputs) -> Tensor:
        """(B, nc) probabilities on the CPU."""
        probabilities: Tensor = preds[0] if isinstance(preds, list | tuple) else preds
        return probabilities.float().cpu()

    def update_metrics(self, preds: Tensor, batch: Batch) -> None:
        """Count the true and predicted classes of a batch; `preds` (B, nc) are probabilities."""
        self.seen += len(preds)
        self.targets.append(batch["cls"].long().cpu())
        self.pred.append(torch.argsort(preds, dim=1, descending=True, stable=True)[:, :TOP])
        if not self.training:
            self._write(preds, batch["im_file"])

    def get_stats(self) -> dict[str, float]:
        self.metrics.process(self.targets, self.pred)
        self.confusion_matrix.process_cls_preds(self.pred, self.targets)
        return dict(self.metrics.results_dict)

    def class_results(self) -> list[ClassResult]:
        if not self.targets:
            return [ClassResult(c, self.names[c], 0, 0) for c in range(self.nc)]
        true, predicted = torch.cat(self.targets).numpy(), torch.cat(self.pred).numpy()
        return [self._class_result(c, predicted[true == c]) for c in range(self.nc)]

    def _class_result(self, c: int, predicted: np.ndarray) -> ClassResult:
        """Figures of class `c`, whose images were predicted as (n, 5) `predicted`."""
        count = len(predicted)
        hits = predicted == c
        values = (float(hits[:, 0].mean()), float(hits.any(1).mean())) if count else ()
        return ClassResult(c, self.names[c], count, count, dict(zip(self.metrics.keys, values, strict=False)))

    def finalize_metrics(self) -> None:
        self.metrics.speed = self.speed
        self.metrics.confusion_matrix = self.confusion_matrix

    # ----------------------------------------------------------------------------------- table and files

    def get_desc(self) -> str:
        return f"{'classes':>22}" + "".join(f"{x:>11}" for x in ("Images", "top1_acc", "top5_acc"))

    def print_results(self) -> None:
        """Log a row for all classes, and outside training one per class and the speed."""
        if self.result is None:
            return
        if not self.training:
            LOGGER.info(self.get_desc())
        LOGGER.info(_row("all", self.result.images, self.metrics.mean_results()))
        if self.training:
            return
        if self.args.verbose and self.nc > 1:
            for c in self.result.per_class:
                if c.metrics:
                    LOGGER.info(_row(c.name, c.images, list(c.metrics.values())))
        LOGGER.info(speed_line(self.speed, self.args.imgsz))

    def _write(self, preds: Tensor, files: Sequence[str]) -> None:
        """Label files and rows of predictions.json; images of different classes may have the same name."""
        for probabilities, file in zip(preds, map(Path, files), strict=True):
            if self.args.save_json:
                self.pred_to_json(probabilities, str(file))
            if self.args.save_txt:
                path = self.save_dir / "labels" / file.parent.name / f"{self.stem(str(file), file.parent.name)}.txt"
                write_label_file(path, label_lines([Probs(probabilities)], self.names))

    def pred_to_json(self, predn: Tensor, filename: str) -> None:
        """Append the most probable class of an image, from probabilities (nc,), to `jdict`."""
        file, c = Path(filename), int(predn.argmax())
        image = printable(f"{file.parent.name}/{file.name}")
        self.jdict.append({"image": image, "class": c, "name": self.names[c], "score": round(float(predn[c]), 5)})

    # ----------------------------------------------------------------------------------- plots

    def plot_val_samples(self, batch: Batch, ni: int) -> None:
        self._plot(batch, batch["cls"], None, f"val_batch{ni}_labels.jpg")

    def plot_predictions(self, batch: Batch, preds: Tensor, ni: int) -> None:
        confidences, classes = preds.max(1)
        self._plot(batch, classes, confidences, f"val_batch{ni}_pred.jpg")

    def _plot(self, batch: Batch, classes: Tensor, confs: Tensor | None, name: str) -> None:
        from ultralytics.utils.plotting import plot_images

        path, index = self.save_dir / name, torch.arange(len(batch["img"]))
        files, names = batch["im_file"], self.names
        plot_images(batch["img"], index, classes, path=path, confs=confs, paths=files, names=names, conf_thres=0.0)
        self.on_plot(path)

    def plot_curves(self) -> None:
        from ultralytics.utils.charts import plot_confusion_matrix

        for name, normalize in (("confusion_matrix.png", False), ("confusion_matrix_normalized.png", True)):
            plot_confusion_matrix(self.confusion_matrix.matrix, self.names, self.save_dir / name, normalize=normalize)
            self.on_plot(self.save_dir / name)


def class_map(data: Mapping[int, str], network: Mapping[int, str], where: str) -> list[int]:
    """For each class of the data the number of the class of the network with its name.

    If no name is the same, as with a network whose classes are numbers, classes of equal number are matched by
    position.

    Args:
        data: class names of the data.
        network: class names of the network.
        where: the dataset, for messages.

    Raises:
        ValueError: a class of the data is not one of the network.
    """
    index = {name: i for i, name in network.items()}
    known = [name for name in data.values() if name in index]
    if not known and len(data) == len(network):
        LOGGER.warning(
            f"{where}: no class has a name that the network knows; classes are matched by position: "
            f"{data[0]} is {network[0]}, …"
        )
        return list(range(len(data)))
    unknown = [name for name in data.values() if name not in index]
    if unknown:
        raise ValueError(
            f"{where}: '{unknown[0]}' is not a class of the network ({', '.join(list(index)[:10])}); rename or remove "
            "its folder, or use the data that the network was trained on"
        )
    return [index[name] for name in data.values()]


def _row(name: str, images: int, values: Sequence[float]) -> str:
    return f"{name:>22}{images:>11}" + "".join(f"{v:>11.3g}" for v in values)
