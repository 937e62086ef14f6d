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

    task = "detect"
    rotated = False  # whether boxes have an angle

    def setup_model(self, model: nn.Module | str | Path | None, verbose: bool = True) -> None:
        super().setup_model(model, verbose)
        allow_detections(self.model, self.args.max_det)

    def postprocess(self, preds: Outputs, img: Tensor, orig_imgs: list[np.ndarray]) -> list[Results]:
        return [
            self.construct_result(pred, img, image, path)
            for pred, image, path in zip(self.suppress(preds), orig_imgs, self.batch[0], strict=True)
        ]

    def suppress(self, preds: Outputs, nc: int = 0) -> list[Tensor]:
        """Detections per image, highest confidence first.

        Args:
            preds: output of the network.
            nc: number of classes; 0 if the output has no other channels after the box.

        Returns:
            B tensors (n, 6 + E): corners in pixels of the network's input, confidence, class, other channels.
        """
        agnostic = bool(self.args.agnostic_nms)
        return detections(preds, self.args, agnostic=agnostic, nc=nc, rotated=self.rotated)

    def construct_result(self, pred: Tensor, img: Tensor, orig_img: np.ndarray, img_path: str) -> Results:
        """Result of one image.

        Args:
            pred: (n, 6 or more) rows of `non_max_suppression`, in pixels of `img`; may be changed.
            img: (B, 3, H, W) input of the network.
            orig_img: (h, w, 3) original image.
            img_path: its path.
        """
        pred[:, :4] = scale_boxes(img.shape[2:], pred[:, :4], orig_img.shape[:2])
        return Results(orig_img, path=img_path, names=self.model.names, boxes=pred)
