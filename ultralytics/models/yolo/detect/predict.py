"""Prediction with a detection network: boxes in pixels of the original image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor, nn

from ultralytics.engine.predictor import BasePredictor
from ultralytics.engine.protocols import Outputs
from ultralytics.engine.results import Results
from ultralytics.models.yolo.detect.postprocess import allow_detections, detections
from ultralytics.utils.ops import scale_boxes


class DetectionPredictor(BasePredictor):
    """Predicts boxes for any source."""

    def setup_model(self, model: nn.Module | str | Path | None, verbose: bool = True) -> None:
        super().setup_model(model, verbose)
        allow_detections(self.model, self.args.max_det)

    def postprocess(self, preds: Outputs, img: Tensor, orig_imgs: list[np.ndarray]) -> list[Results]:
        predictions = detections(preds, self.args, agnostic=bool(self.args.agnostic_nms))
        results = []
        for boxes, image, path in zip(predictions, orig_imgs, self.batch[0], strict=True):
            boxes[:, :4] = scale_boxes(img.shape[2:], boxes[:, :4], image.shape[:2])
            results.append(Results(image, path=path, names=self.model.names, boxes=boxes))
        return results
