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

    task = "detect"

    def postprocess(self, preds: Outputs, img: Tensor, orig_imgs: list[np.ndarray]) -> list[Results]:
        results = []
        for boxes, image, path in zip(self.suppress(preds), orig_imgs, self.batch[0], strict=True):
            boxes[:, :4] = scale_boxes(img.shape[2:], boxes[:, :4], image.shape[:2])
            results.append(Results(image, path=path, names=self.model.names, boxes=boxes))
        return results

    def suppress(self, preds: Outputs, nc: int = 0) -> list[Tensor]:
        """Detections per image, highest confidence first.

        Args:
            preds: output of the network.
            nc: number of classes; 0 if the output has no other channels after the box.

        Returns:
            B tensors (n, 6 + E): corners in pixels of the network's input, confidence, class, other channels.
        """
        return non_max_suppression(
            preds[0] if isinstance(preds, list | tuple) else preds,
            self.args.conf,
            self.args.iou,
            classes=self.args.classes,
            agnostic=bool(self.args.agnostic_nms),
            max_det=self.args.max_det,
            nc=nc,
        )
