"""Validation of a network for oriented boxes: as of upright boxes, with ProbIoU in place of IoU."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from ultralytics.data.letterbox import RatioPad
from ultralytics.engine.protocols import Outputs, Predictions
from ultralytics.engine.results import OBB, BaseTensor
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.models.yolo.detect.val import ImageLabels
from ultralytics.models.yolo.obb import dota
from ultralytics.tasks import get_task
from ultralytics.utils import LOGGER
from ultralytics.utils.boxes import scale_boxes
from ultralytics.utils.image_grid import BoxFormat
from ultralytics.utils.rotated_boxes import batch_probiou, regularize_rboxes, xywhr2xyxyxyxy
from ultralytics.utils.task_metrics import OBBMetrics

# columns of a prediction: center, size, confidence, class, angle
_XYWHR = [0, 1, 2, 3, 6]


class OBBValidator(DetectionValidator):
    """Average precision, precision, recall and confusion matrix of a split with oriented boxes.

    Labels and predictions are matched by ProbIoU, as in 8.3.0. It exceeds the overlap of the rectangles where they
    differ in the angle only, and does not see the angle of a square.
    """

    task = "obb"
    metrics_class = OBBMetrics
    metric_keys = get_task("obb").metric_keys
    rotated = True

    def postprocess(self, preds: Outputs) -> Predictions:
        """Outputs of the network -> per image (n, 7) center, size in pixels of the batch, confidence, class, angle."""
        return self.suppress(preds, self.nc)

    def _label_boxes(
        self, bboxes: Tensor, imgsz: tuple[int, int], ori_shape: tuple[int, int], ratio_pad: RatioPad
    ) -> Tensor:
        """Boxes (M, 5) of a batch, xywh as fractions and the angle -> xywhr in pixels of the original image."""
        pixels = bboxes[:, :4] * torch.tensor([*imgsz[::-1], *imgsz[::-1]], dtype=torch.float32)
        scaled = scale_boxes(imgsz, pixels, ori_shape, ratio_pad=ratio_pad, xywh=True)
        return torch.cat((scaled, bboxes[:, 4:]), 1)

    def _process_batch(self, detections: Tensor, gt_bboxes: Tensor, gt_cls: Tensor) -> Tensor:
        """(n, 10) which predictions (n, 7) are true positives for boxes (M, 5) xywhr at which threshold of ProbIoU."""
        return self.match_predictions(detections[:, 5], gt_cls, batch_probiou(gt_bboxes, detections[:, _XYWHR]))

    # ----------------------------------------------------------------------------------- files and plots

    def components(self, predn: Tensor, shape: tuple[int, int]) -> list[BaseTensor]:
        return [OBB(torch.cat((regularize_rboxes(predn[:, _XYWHR]), predn[:, 4:6]), 1), shape)]

    def pred_to_json(self, predn: Tensor, filename: str) -> None:
        """Append the predictions (n, 7) of one image to `jdict`: xywhr as `rbox` and the corners as `poly`, pixels."""
        image_id = self._truth.image_id(filename)
        boxes = regularize_rboxes(predn[:, _XYWHR])
        polygons = xywhr2xyxyxyxy(boxes).flatten(1)
        for box, polygon, row in zip(boxes.tolist(), polygons.tolist(), predn.tolist(), strict=True):
            self.jdict.append(
                {
                    "image_id": image_id,
                    "category_id": int(row[5]),
                    "score": round(row[4], 5),
                    "rbox": [round(x, 3) for x in box],
                    "poly": [round(x, 3) for x in polygon],
                }
            )

    def _add_truth(self, labels: ImageLabels) -> None:
        """Nothing is kept: COCO's format and evaluation know upright boxes only."""

    def eval_json(self, stats: dict[str, float]) -> dict[str, float]:
        """Write the predictions in the format of DOTA's evaluation server as well; returns the metrics unchanged."""
        folders = dota.write_predictions(cast(list[dota.Prediction], self.jdict), self.names, self.save_dir)
        LOGGER.info(f"Predictions in DOTA's format: {', '.join(str(folder) for folder in folders)}")
        return stats

    def _drawn_boxes(self, rows: Tensor) -> tuple[Tensor, BoxFormat]:
        return rows[:, _XYWHR], "xywhr"
