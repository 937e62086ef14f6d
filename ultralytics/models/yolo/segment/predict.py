"""Prediction with a segmentation network: boxes in pixels of the original image, and a mask for each of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ultralytics.engine.protocols import Outputs
from ultralytics.engine.results import Results
from ultralytics.models.yolo.detect.predict import DetectionPredictor
from ultralytics.utils.masks import process_mask, process_mask_native
from ultralytics.utils.ops import scale_boxes


def prototypes_of(preds: Outputs) -> Tensor:
    """(B, nm, h, w), the mask prototypes in the output of a segmentation network, which come last."""
    second = preds[1]
    return second if isinstance(second, Tensor) else second[-1]


class SegmentationPredictor(DetectionPredictor):
    """Predicts boxes and masks for any source.

    `Results.masks.data` is (n, H, W) uint8, 1 inside: in the size of the network's input with its borders, or, with
    `retina_masks=True`, in the size of the original image. An image without instances has no masks (None).
    """

    task = "segment"

    def postprocess(self, preds: Outputs, img: Tensor, orig_imgs: list[np.ndarray]) -> list[Results]:
        rows = self.suppress(preds, nc=len(self.model.names))
        images = zip(rows, prototypes_of(preds), orig_imgs, self.batch[0], strict=True)
        return [self._result(*image, input_shape=(img.shape[2], img.shape[3])) for image in images]

    def _result(
        self, rows: Tensor, protos: Tensor, image: np.ndarray, path: str, input_shape: tuple[int, int]
    ) -> Results:
        """The result of one image from its detections (n, 6 + nm), in pixels of the input, and prototypes."""
        crop, shape = self.args.mask_crop, (image.shape[0], image.shape[1])
        boxes = torch.cat((scale_boxes(input_shape, rows[:, :4], shape), rows[:, 4:6]), 1)
        masks = None
        if len(rows) and self.args.retina_masks:
            masks = process_mask_native(protos, rows[:, 6:], boxes[:, :4], shape, crop, input_shape=input_shape)
        elif len(rows):
            masks = process_mask(protos, rows[:, 6:], rows[:, :4], input_shape, upsample=True, crop=crop)
        # bytes and not bool, since OpenCV has no bool
        masks = None if masks is None else masks.view(torch.uint8)
        return Results(image, path=path, names=self.model.names, boxes=boxes, masks=masks)
