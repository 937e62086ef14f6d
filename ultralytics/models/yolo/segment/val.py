"""Validation of a segmentation network: boxes as in detection, and masks matched by their own IoU.

Masks are compared in the size of the prototypes, a quarter of the input, whatever files are written. Masks in the size
of the original image are made for save_json and save_txt only.

Dimensions: n predictions, m instances of an image, nm coefficients, (h, w) rows and columns of the prototypes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ultralytics.data.dataset import YOLODataset
from ultralytics.data.instances import Segments
from ultralytics.data.polygons import instance_masks
from ultralytics.engine.protocols import Batch, Outputs
from ultralytics.engine.results import Boxes, Masks, label_lines, write_label_file
from ultralytics.models.yolo.detect.val import DetectionValidator, ImageLabels
from ultralytics.models.yolo.segment.predict import prototypes_of
from ultralytics.tasks import get_task
from ultralytics.utils import coco, rle
from ultralytics.utils.masks import mask_iou, process_mask, process_mask_native, scale_masks
from ultralytics.utils.metrics import Metric
from ultralytics.utils.task_metrics import SegmentMetrics

_MASKS_AT_A_TIME = 32  # of those in the size of the original image
_PLOT_CONF = 0.25  # predictions below are not drawn


class MaskPredictions(NamedTuple):
    """Predictions for one image.

    Attributes:
        rows: (n, 6 + nm) corners in pixels of the batch, confidence, class, mask coefficients.
        protos: (nm, h, w) prototypes.
    """

    rows: Tensor
    protos: Tensor


class SegmentationValidator(DetectionValidator):
    """Average precision, precision and recall of boxes and masks, and the confusion matrix of the boxes."""

    task = "segment"
    metric_keys = get_task("segment").metric_keys
    metrics_class = SegmentMetrics
    table_columns = (*DetectionValidator.table_columns, "Mask(P", "R", "mAP50", "mAP50-95)")
    stat_names = ("tp", "tp_second", "conf", "pred_cls", "target_cls")

    # ----------------------------------------------------------------------------------- counting

    def postprocess(self, preds: Outputs) -> list[MaskPredictions]:
        return [MaskPredictions(*x) for x in zip(self.suppress(preds, self.nc), prototypes_of(preds), strict=True)]

    def update_metrics(self, preds: Sequence[MaskPredictions], batch: Batch) -> None:
        for si, pred in enumerate(preds):
            labels = self._prepare_batch(si, batch)
            predn = self._prepare_pred(pred.rows, labels)
            true_masks = self._true_masks(si, batch, len(labels["cls"])).to(pred.rows.device)
            self._count(predn, labels, self._match_masks(pred, true_masks, labels))
            if not self.training and (self.args.save_json or self.args.save_txt):
                self._write_masks(pred, predn, labels, true_masks)

    def _true_masks(self, si: int, batch: Batch, count: int) -> Tensor:
        """(m, hm, wm) bool, the masks of image `si` with `count` instances, as the loader made them."""
        masks = batch["masks"]
        if self.args.overlap_mask:
            return masks[si] == torch.arange(1, count + 1, device=masks.device)[:, None, None]
        return masks[batch["batch_idx"].reshape(-1) == si] > 0

    def _masks(self, pred: MaskPredictions, input_shape: Sequence[int]) -> Tensor:
        """(n, h, w) bool."""
        rows = pred.rows
        return process_mask(pred.protos, rows[:, 6:], rows[:, :4], input_shape, crop=self.args.mask_crop)

    def _match_masks(self, pred: MaskPredictions, true_masks: Tensor, labels: ImageLabels) -> Tensor:
        """(n, 10) bool, which predictions are true positives by their masks at which IoU threshold."""
        if not len(pred.rows) or not len(true_masks):
            return torch.zeros(len(pred.rows), len(self.iouv), dtype=torch.bool)
        masks = self._masks(pred, labels["imgsz"])
        if true_masks.shape[1:] != masks.shape[1:]:
            size = tuple(masks.shape[1:])
            true_masks = F.interpolate(true_masks[None].float(), size, mode="bilinear", align_corners=False)[0] > 0.5
        classes = torch.zeros_like(pred.rows[:, 5]) if self.args.single_cls else pred.rows[:, 5]
        return self.match_predictions(classes.cpu(), labels["cls"], mask_iou(true_masks.flatten(1), masks.flatten(1)))

    # ----------------------------------------------------------------------------------- files

    def _write_masks(self, pred: MaskPredictions, predn: Tensor, labels: ImageLabels, true_masks: Tensor) -> None:
        """Write the predictions of one image with masks in the size of the original image."""
        file, lines = labels["im_file"], []
        for first in range(0, len(predn), _MASKS_AT_A_TIME):
            part = slice(first, first + _MASKS_AT_A_TIME)
            masks = self._original_masks(MaskPredictions(pred.rows[part], pred.protos), predn[part], labels)
            if self.args.save_json:
                self.pred_to_json(predn[part], file, masks)
            if self.args.save_txt:
                components = [Boxes(predn[part, :6], labels["ori_shape"]), Masks(masks, labels["ori_shape"])]
                lines += label_lines(components, save_conf=bool(self.args.save_conf))
        if self.args.save_txt:
            write_label_file(self.save_dir / "labels" / f"{self.stem(file)}.txt", lines)
        if self.args.save_json:
            self._add_mask_truth(labels, true_masks)

    def _original_masks(self, pred: MaskPredictions, predn: Tensor, labels: ImageLabels) -> np.ndarray:
        """(n, H, W) bool in the size of the original image."""
        masks = process_mask_native(
            pred.protos,
            pred.rows[:, 6:],
            predn[:, :4].to(pred.rows.device),
            labels["ori_shape"],
            self.args.mask_crop,
            input_shape=labels["imgsz"],
            ratio_pad=labels["ratio_pad"],
        )
        return masks.cpu().numpy()

    def pred_to_json(self, predn: Tensor, filename: str, masks: np.ndarray | None = None) -> None:
        """Append the predictions (n, 6 or more) of one image, in pixels of the original, with their masks to `jdict`.

        Args:
            predn: corners, confidence, class.
            filename: path of the image.
            masks: (n, H, W), nonzero inside.
        """
        first = len(self.jdict)
        super().pred_to_json(predn, filename)
        for entry, mask in zip(self.jdict[first:], masks if masks is not None else (), strict=masks is not None):
            entry["segmentation"] = rle.encode(mask)

    def _add_mask_truth(self, labels: ImageLabels, true_masks: Tensor) -> None:
        """Note the labels of one image for instances.json: its polygons, or the loader's masks without a dataset."""
        file, (h, w) = labels["im_file"], labels["ori_shape"]
        boxes, classes = labels["bbox"].numpy(), labels["cls"].numpy()
        dataset = self.dataloader.dataset if self.dataloader else None
        instances = dataset.instances_of(file) if isinstance(dataset, YOLODataset) else None
        if instances is not None:
            masks = instance_masks(instances.segments or Segments.empty(len(instances)), (h, w), 1)
            boxes, classes = instances.boxes, instances.cls
        else:
            soft = true_masks[None].float()
            scaled = scale_masks(soft, (h, w), input_shape=labels["imgsz"], ratio_pad=labels["ratio_pad"])
            masks = (scaled[0] > 0.5).cpu().numpy()
        self._truth.add(file, (h, w), boxes, classes, masks=masks)

    def evaluate_coco(self) -> dict[str, dict[str, float]]:
        return super().evaluate_coco() | {"(M)": coco.evaluate(self._truth.as_dict(), self.jdict, "segm")}

    # ----------------------------------------------------------------------------------- plots

    def plot_predictions(self, batch: Batch, preds: Sequence[MaskPredictions], ni: int) -> None:
        confident = [MaskPredictions(pred.rows[pred.rows[:, 4] > _PLOT_CONF], pred.protos) for pred in preds]
        masks = torch.cat([self._masks(pred, batch["img"].shape[2:]) for pred in confident])
        self.plot_rows(batch, [pred.rows for pred in confident], ni, {"masks": masks})

    def curve_parts(self) -> dict[str, Metric]:
        return {"Box": self.metrics.box, "Mask": self.metrics.seg}
