"""Prediction with a network for oriented boxes: xywhr in pixels of the original image."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ultralytics.engine.protocols import Outputs
from ultralytics.engine.results import Results
from ultralytics.models.yolo.detect import DetectionPredictor
from ultralytics.utils.boxes import scale_boxes
from ultralytics.utils.rotated_boxes import regularize_rboxes


class OBBPredictor(DetectionPredictor):
    """Predicts oriented boxes for any source."""

    task = "obb"
    rotated = True

    def suppress(self, preds: Outputs, nc: int = 0) -> list[Tensor]:
        """As of the base; rows are center and size, confidence, class, angle."""
        return super().suppress(preds, nc or len(self.model.names))

    def construct_result(self, pred: Tensor, img: Tensor, orig_img: np.ndarray, img_path: str) -> Results:
        """Result of one image, from rows (n, 7) center, size, confidence, class, angle; arguments as of the base."""
        boxes = regularize_rboxes(torch.cat((pred[:, :4], pred[:, 6:7]), 1))
        boxes[:, :4] = scale_boxes(img.shape[2:], boxes[:, :4], orig_img.shape[:2], xywh=True)
        return Results(orig_img, path=img_path, names=self.model.names, obb=torch.cat((boxes, pred[:, 4:6]), 1))
