"""Prediction with a detection network: boxes in pixels of the original image."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ultralytics.engine.predictor import BasePredictor
from ultralytics.engine.protocols import Outputs
from ultralytics.engine.results import Results
from ultralytics.utils.nms import non_max_suppression
from ultralytics.utils.ops import scale_boxes


class DetectionPredictor(BasePredictor):
    """Predicts boxes for any source."""

    def postprocess(self, preds: Outputs, img: Tensor, orig_imgs: list[np.ndarray]) -> list[Results]:
        predictions = non_max_suppression(
            preds[0] if isinstance(preds, list | tuple) else preds,
            self.args.conf,
            self.args.iou,
            classes=self.args.classes,
            agnostic=bool(self.args.agnostic_nms),
            max_det=self.args.max_det,
        )
        results = []
        for boxes, image, path in zip(predictions, orig_imgs, self.batch[0], strict=True):
            boxes[:, :4] = scale_boxes(img.shape[2:], boxes[:, :4], image.shape[:2])
            results.append(Results(image, path=path, names=self.model.names, boxes=boxes))
        return results
