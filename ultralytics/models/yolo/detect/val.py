"""Validation of a detection network: matching predictions with labels, average precision, tables, files, plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from ultralytics.data.dataset import YOLODataset
from ultralytics.data.letterbox import RatioPad
from ultralytics.data.loader import build_dataloader, loading_processes
from ultralytics.engine.evaluator import ClassResult, speed_line
from ultralytics.engine.protocols import Batch, EvalLoader, ImagePath, Outputs, Predictions
from ultralytics.engine.results import BaseTensor, Boxes, label_lines, write_label_file
from ultralytics.engine.validator import BaseValidator
from ultralytics.models.yolo.detect.data import PlottedParts, build_yolo_dataset, load_dataset_config, parts_to_plot
from ultralytics.models.yolo.detect.postprocess import allow_detections, detections
from ultralytics.tasks import get_task
from ultralytics.utils import LOGGER, coco
from ultralytics.utils.image_grid import BoxFormat
from ultralytics.utils.metrics import ConfusionMatrix, DetMetrics, Metric, box_iou
from ultralytics.utils.ops import scale_boxes, xywh2xyxy, xyxy2ltwh

# plotting imports matplotlib, which takes longer than all the rest; it is imported where a figure is drawn


class _BoxLabels(TypedDict):
    cls: Tensor
    bbox: Tensor
    ori_shape: tuple[int, int]
    imgsz: tuple[int, int]
    ratio_pad: RatioPad
    im_file: str


class ImageLabels(_BoxLabels, total=False):
    """Labels of one image.

    Attributes:
        cls: (M,) float32 class indices.
        bbox: (M, 4) float32 corners, of oriented boxes (M, 5) xywhr, in pixels of the original image.
        ori_shape: height and width of the original image.
        imgsz: height and width in the batch.
        ratio_pad: of the letterbox, as for `scale_boxes`.
        im_file: path of the image.
        keypoints: of pose estimation (M, K, 3) x and y in pixels of the original image, and the visibility.
    """

    keypoints: Tensor


class DetectionValidator(BaseValidator):
    """Average precision, precision, recall and confusion matrix of a split."""

    task = "detect"
    metric_keys = get_task("detect").metric_keys
    metrics_class: type[DetMetrics] = DetMetrics
    rotated = False  # whether boxes have an angle; predicted ones are then center and size, not corners
    table_columns: tuple[str, ...] = ("Box(P", "R", "mAP50", "mAP50-95)")
    stat_names: tuple[str, ...] = ("tp", "conf", "pred_cls", "target_cls")  # arguments of `metrics.process`

    def get_dataset(self) -> dict[str, Any]:
        return load_dataset_config(self.args.data, ((self.args.split,),), "validation", self.args.task)

    def build_dataset(self, img_path: ImagePath, mode: str = "val", batch: int | None = None) -> YOLODataset:
        size = batch or self.args.batch
        return build_yolo_dataset(self.args, img_path, size, self.data, train=mode == "train", stride=self.stride)

    def get_dataloader(self, dataset_path: ImagePath, batch_size: int) -> EvalLoader:
        dataset = self.build_dataset(dataset_path, batch=batch_size)
        workers = loading_processes(self.args.workers, self.device)
        return build_dataloader(dataset, batch_size, workers, shuffle=False, seed=self.args.seed)

    # ----------------------------------------------------------------------------------- counting

    def init_metrics(self, model: Any) -> None:
        self.names, self.nc = model.names, len(model.names)
        if not self.training:
            allow_detections(model, self.args.max_det)
        self.metrics = self.metrics_class(save_dir=self.save_dir, names=self.names)
        self.confusion_matrix = ConfusionMatrix(nc=self.nc, conf=self.args.conf)  # filled when plots are drawn
        self.seen, self.jdict = 0, []
        self._truth = coco.GroundTruth(self.names)
        self.stats: dict[str, list[np.ndarray]] = {name: [] for name in self.stat_names}
        self.nt_per_class = self.nt_per_image = np.zeros(self.nc, int)

    def postprocess(self, preds: Outputs) -> Predictions:
        """Outputs of the network -> per image (n, 6) corners in pixels of the batch, confidence, class."""
        return self.suppress(preds)

    def suppress(self, preds: Outputs, nc: int = 0) -> list[Tensor]:
        """Detections per image, highest confidence first.

        Args:
            preds: output of the network.
            nc: number of classes; 0 if the output has no other channels after the box.

        Returns:
            B tensors (n, 6 + E): corners in pixels of the batch, confidence, class, other channels.
        """
        agnostic = bool(self.args.single_cls or self.args.agnostic_nms)
        return detections(preds, self.args, agnostic=agnostic, multi_label=True, nc=nc, rotated=self.rotated)

    def update_metrics(self, preds: Predictions, batch: Batch) -> None:
        """Match the predictions of each image with its labels, both in pixels of the original image."""
        for si, pred in enumerate(preds):
            labels = self._prepare_batch(si, batch)
            predn = self._prepare_pred(pred, labels)
            self._count(predn, labels)
            if not self.training:
                self._write(predn, labels)

    def _prepare_batch(self, si: int, batch: Batch) -> ImageLabels:
        """Labels of image `si`, with boxes in pixels of the original image."""
        index = batch["batch_idx"].reshape(-1) == si
        height, width = batch["img"].shape[2:]
        shape, ratio_pad = batch["ori_shape"][si], batch["ratio_pad"][si]
        return {
            "cls": batch["cls"][index].reshape(-1).cpu(),
            "bbox": self._label_boxes(batch["bboxes"][index].cpu(), (height, width), shape, ratio_pad),
            "ori_shape": shape,
            "imgsz": (height, width),
            "ratio_pad": ratio_pad,
            "im_file": batch["im_file"][si],
        }

    def _label_boxes(
        self, bboxes: Tensor, imgsz: tuple[int, int], ori_shape: tuple[int, int], ratio_pad: RatioPad
    ) -> Tensor:
        """Boxes of a batch, xywh as fractions -> corners in pixels of the original image."""
        pixels = bboxes * torch.tensor([*imgsz[::-1], *imgsz[::-1]], dtype=torch.float32)
        return scale_boxes(imgsz, xywh2xyxy(pixels), ori_shape, ratio_pad=ratio_pad)

    def _prepare_pred(self, pred: Tensor, pbatch: ImageLabels) -> Tensor:
        """A copy of the predictions on the CPU, with boxes in pixels of the original image."""
        predn = pred.float().cpu().clone()  # `pred` is plotted later, in pixels of the batch
        if self.args.single_cls:
            predn[:, 5] = 0
        shape, ratio_pad = pbatch["ori_shape"], pbatch["ratio_pad"]
        predn[:, :4] = scale_boxes(pbatch["imgsz"], predn[:, :4], shape, ratio_pad=ratio_pad, xywh=self.rotated)
        return predn

    def _process_batch(self, detections: Tensor, gt_bboxes: Tensor, gt_cls: Tensor) -> Tensor:
        """(n, 10) which predictions are true positives at which IoU threshold.

        Args:
            detections: (n, 6) corners, confidence, class; highest confidence first.
            gt_bboxes: (M, 4) corners.
            gt_cls: (M,) classes.
        """
        return self.match_predictions(detections[:, 5], gt_cls, box_iou(gt_bboxes, detections[:, :4]))

    def _count(self, predn: Tensor, labels: ImageLabels, second: Tensor | None = None) -> None:
        """Count the predictions of one image.

        Args:
            predn: (n, 6 or more) corners, confidence, class.
            labels: of the image.
            second: (n, 10) bool, true positives by a second output, such as masks, of tasks that have one.
        """
        self.seen += 1
        true_cls, true_boxes = labels["cls"], labels["bbox"]
        if len(true_cls) and int(true_cls.max()) >= self.nc:
            raise ValueError(
                f"labels of {self.data.get('yaml_file', 'the data')} have the class {int(true_cls.max())}, the network "
                f"has only {self.nc} ({', '.join(self.names.values())}); use the data it was trained on, or classes="
            )
        tp = np.zeros((len(predn), len(self.iouv)), bool)
        if len(predn) and len(true_cls):
            tp = self._process_batch(predn, true_boxes, true_cls).numpy()
        self.stats["tp"].append(tp)
        if second is not None:
            self.stats["tp_second"].append(second.numpy())
        self.stats["conf"].append(predn[:, 4].numpy())
        self.stats["pred_cls"].append(predn[:, 5].numpy())
        self.stats["target_cls"].append(true_cls.numpy())
        if self.args.plots and not self.training:
            self.confusion_matrix.process_batch(predn, true_boxes, true_cls)

    def get_stats(self) -> dict[str, float]:
        stats = {name: np.concatenate(parts) if parts else np.zeros(0) for name, parts in self.stats.items()}
        self.nt_per_class = np.bincount(stats["target_cls"].astype(int), minlength=self.nc)
        classes = [np.unique(part).astype(int) for part in self.stats["target_cls"]]
        self.nt_per_image = np.bincount(np.concatenate([np.zeros(0, int), *classes]), minlength=self.nc)
        if len(stats["tp"]):
            self.metrics.process(**stats)
        return dict(self.metrics.results_dict)

    def class_results(self) -> list[ClassResult]:
        rows = {int(c): self.metrics.class_result(i) for i, c in enumerate(self.metrics.ap_class_index)}
        return [
            ClassResult(
                index=c,
                name=self.names[c],
                images=int(self.nt_per_image[c]),
                instances=int(self.nt_per_class[c]),
                metrics=dict(zip(self.metrics.keys, map(float, rows.get(c, ())), strict=False)),
            )
            for c in range(self.nc)
        ]

    def finalize_metrics(self) -> None:
        self.metrics.speed = self.speed
        self.metrics.confusion_matrix = self.confusion_matrix

    # ----------------------------------------------------------------------------------- table

    def get_desc(self) -> str:
        columns = "".join(f"{x:>11}" for x in ("Images", "Instances", *self.table_columns))
        return f"{'Class':>22}{columns}"

    def print_results(self) -> None:
        """Log a row for all classes, and outside training one per class and the speed."""
        if self.result is None:
            return
        if not self.training:
            LOGGER.info(self.get_desc())
        result, means = self.result, self.metrics.mean_results()
        LOGGER.info(_row("all", result.images, result.instances, means))
        if result.instances == 0:
            LOGGER.warning(f"There are no labels in the split '{self.args.split}'; all metrics are 0")
        if self.training:
            return
        if self.args.verbose and self.nc > 1:
            for c in result.per_class:
                if c.metrics:
                    LOGGER.info(_row(c.name, c.images, c.instances, list(c.metrics.values())))
        LOGGER.info(speed_line(self.speed, self.args.imgsz))

    # ----------------------------------------------------------------------------------- files

    def _write(self, predn: Tensor, labels: ImageLabels) -> None:
        file, shape = labels["im_file"], labels["ori_shape"]
        if self.args.save_json:
            self.pred_to_json(predn, file)
            self._add_truth(labels)
        if self.args.save_txt:
            path = self.save_dir / "labels" / f"{self.stem(file)}.txt"
            self.save_one_txt(predn, bool(self.args.save_conf), shape, path)

    def _add_truth(self, labels: ImageLabels) -> None:
        """Keep the labels of one image for the evaluation of predictions.json."""
        points = labels["keypoints"].numpy() if "keypoints" in labels else None
        boxes, classes = labels["bbox"].numpy(), labels["cls"].numpy()
        self._truth.add(labels["im_file"], labels["ori_shape"], boxes, classes, keypoints=points)

    def save_one_txt(self, predn: Tensor, save_conf: bool, shape: tuple[int, int], file: Path) -> None:
        """Write the predictions of one image of `shape` (height, width) as a label file."""
        write_label_file(file, label_lines(self.components(predn, shape), save_conf=save_conf))

    def components(self, predn: Tensor, shape: tuple[int, int]) -> list[BaseTensor]:
        """The predictions of one image of `shape` (height, width) as components of a result."""
        return [Boxes(predn[:, :6], shape)]

    def pred_to_json(self, predn: Tensor, filename: str) -> None:
        """Append the predictions (n, 6) of one image, in pixels of the original, to `jdict`."""
        image_id = self._truth.image_id(filename)
        for box, row in zip(xyxy2ltwh(predn[:, :4]).tolist(), predn.tolist(), strict=True):
            self.jdict.append(
                {
                    "image_id": image_id,
                    "category_id": int(row[5]),
                    "bbox": [round(x, 3) for x in box],
                    "score": round(row[4], 5),
                }
            )

    def eval_json(self, stats: dict[str, float]) -> dict[str, float]:
        """Write the labels in COCO's format (instances.json) and log the metrics of COCO's own evaluation."""
        self._truth.write(self.save_dir / "instances.json")
        try:
            parts = self.evaluate_coco()
        except (ImportError, coco.CocoError) as e:
            LOGGER.warning(f"COCO's metrics are left out. {e}")
            return stats
        self.metrics.coco = {f"{name}{suffix}": v for suffix, part in parts.items() for name, v in part.items()}
        for suffix, part in parts.items():
            LOGGER.info(coco.table(part, f"COCO{suffix}"))
        return stats

    def evaluate_coco(self) -> dict[str, dict[str, float]]:
        """The figures of COCO's own evaluation, by the suffix of their names: "" for boxes, "(M)" for masks."""
        return {"": coco.evaluate(self._truth.as_dict(), self.jdict)}

    # ----------------------------------------------------------------------------------- plots

    def plot_val_samples(self, batch: Batch, ni: int) -> None:
        from ultralytics.utils.plotting import plot_images

        path = self.save_dir / f"val_batch{ni}_labels.jpg"
        instances = batch["batch_idx"], batch["cls"], batch["bboxes"]
        parts = parts_to_plot(batch, overlap_mask=bool(self.args.overlap_mask))
        plot_images(batch["img"], *instances, path=path, paths=batch["im_file"], names=self.names, **parts)
        self.on_plot(path)

    def plot_predictions(self, batch: Batch, preds: Predictions, ni: int) -> None:
        self.plot_rows(batch, preds, ni)

    def plot_rows(self, batch: Batch, preds: Sequence[Tensor], ni: int, parts: PlottedParts | None = None) -> None:
        """Plot predictions (n, 6 or more) per image: corners in pixels of the batch, confidence, class; and `parts`."""
        from ultralytics.utils.plotting import plot_images

        rows = torch.cat(list(preds))
        index = torch.repeat_interleave(torch.arange(len(preds)), torch.tensor([len(p) for p in preds]))
        path = self.save_dir / f"val_batch{ni}_pred.jpg"
        boxes, box_format = self._drawn_boxes(rows)
        form: dict[str, Any] = {"confs": rows[:, 4], "paths": batch["im_file"], "names": self.names}
        plot_images(batch["img"], index, rows[:, 5], boxes, path=path, box_format=box_format, **form, **(parts or {}))
        self.on_plot(path)

    def _drawn_boxes(self, rows: Tensor) -> tuple[Tensor, BoxFormat]:
        """Boxes of predictions in pixels of the batch, and their format for `plot_images`."""
        return rows[:, :4], "xyxy"

    def plot_curves(self) -> None:
        from ultralytics.utils.charts import plot_confusion_matrix, plot_mc_curve, plot_pr_curve

        folder, names, matrix = self.save_dir, self.names, self.confusion_matrix.matrix
        for name, normalize in (("confusion_matrix.png", False), ("confusion_matrix_normalized.png", True)):
            plot_confusion_matrix(matrix, names, folder / name, normalize=normalize)
            self.on_plot(folder / name)
        classes = self.metrics.ap_class_index
        if not len(classes):
            return
        for prefix, part in self.curve_parts().items():
            path = folder / f"{prefix}PR_curve.png"
            plot_pr_curve(part.px, part.prec_values, part.ap50, classes, names, path)
            self.on_plot(path)
            curves = {"F1": part.f1_curve, "Precision": part.p_curve, "Recall": part.r_curve}
            for label, curve in curves.items():
                path = folder / f"{prefix}{label if label == 'F1' else label[0]}_curve.png"
                plot_mc_curve(part.px, curve, classes, names, path, ylabel=label)
                self.on_plot(path)

    def curve_parts(self) -> dict[str, Metric]:
        """Scores whose curves are plotted, by the prefix of their files."""
        return {"": self.metrics.box}


def _row(name: str, images: int, instances: int, values: Sequence[float]) -> str:
    return f"{name:>22}{images:>11}{instances:>11}" + "".join(f"{v:>11.3g}" for v in values)
