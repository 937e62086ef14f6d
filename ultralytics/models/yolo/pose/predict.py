"""Prediction with a pose network: boxes and keypoints in pixels of the original image."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ultralytics.engine.protocols import Outputs
from ultralytics.engine.results import Results
from ultralytics.models.yolo.detect.predict import DetectionPredictor
from ultralytics.utils.ops import scale_boxes, scale_coords


class PosePredictor(DetectionPredictor):
    """Predicts boxes and keypoints for any source."""

    task = "pose"

    def postprocess(self, preds: Outputs, img: Tensor, orig_imgs: list[np.ndarray]) -> list[Results]:
        results = []
        predictions = self.suppress(preds, nc=len(self.model.names))
        for rows, image, path in zip(predictions, orig_imgs, self.batch[0], strict=True):
            shapes = img.shape[2:], image.shape[:2]
            boxes = torch.cat((scale_boxes(shapes[0], rows[:, :4], shapes[1]), rows[:, 4:6]), 1)
            keypoints = scale_coords(shapes[0], rows[:, 6:].unflatten(1, self.model.kpt_shape), shapes[1])
            results.append(Results(image, path=path, names=self.model.names, boxes=boxes, keypoints=keypoints))
        return results
