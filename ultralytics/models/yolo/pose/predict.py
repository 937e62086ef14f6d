"""Prediction with a pose network: boxes and keypoints in pixels of the original image."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ultralytics.engine.protocols import Outputs
from ultralytics.engine.results import Results
from ultralytics.models.yolo.detect.predict import DetectionPredictor
from ultralytics.utils.ops import scale_coords


class PosePredictor(DetectionPredictor):
    """Predicts boxes and keypoints for any source."""

    task = "pose"

    def suppress(self, preds: Outputs, nc: int = 0) -> list[Tensor]:
        return super().suppress(preds, nc or len(self.model.names))

    def build_result(self, rows: Tensor, img: Tensor, orig_img: np.ndarray, path: str) -> Results:
        keypoints = rows[:, 6:].unflatten(1, tuple(self.model.kpt_shape))
        keypoints = scale_coords(img.shape[2:], keypoints, orig_img.shape[:2])
        return Results(orig_img, path=path, names=self.model.names, boxes=rows[:, :6], keypoints=keypoints)
