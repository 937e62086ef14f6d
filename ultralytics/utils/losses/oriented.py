"""The loss of oriented boxes: ProbIoU in place of CIoU, and an assigner that works with rotated boxes.

Paper: J. M. Llerena et al., 2021, arXiv:2106.06072 (ProbIoU). As in 8.3.0 the distance term regards the target's box
without its angle.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ultralytics.utils.boxes import xywh2xyxy
from ultralytics.utils.losses.detection import (
    ASSIGNER_ALPHA,
    ASSIGNER_BETA,
    Batch,
    BboxLoss,
    Predictions,
    pad_targets,
    v8DetectionLoss,
)
from ultralytics.utils.rotated_boxes import probiou
from ultralytics.utils.tal import RotatedTaskAlignedAssigner, TaskAlignedAssigner, dist2rbox

_LEAST_SIDE = 2.0  # pixels of the network's input; smaller boxes have no stable angle and do not count


class RotatedBboxLoss(BboxLoss):
    """ProbIoU and distance terms of positive anchors, each summed with the anchors' weights."""

    def forward(
        self, pred_dist: Tensor, pred_bboxes: Tensor, anchor_points: Tensor, target_bboxes: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Two scalars, not yet divided by the sum of target scores; boxes are (P, 5) xywhr in cells."""
        iou = probiou(pred_bboxes, target_bboxes)[:, 0]
        box = ((1.0 - iou) * weight).sum()
        return box, self.distance_term(pred_dist, anchor_points, xywh2xyxy(target_bboxes[:, :4]), weight)


class v8OBBLoss(v8DetectionLoss):
    """Criterion of heads for oriented boxes; terms box, cls, dfl."""

    box_numbers = 5

    def make_assigner(self, topk: int) -> TaskAlignedAssigner:
        return RotatedTaskAlignedAssigner(topk=topk, num_classes=self.nc, alpha=ASSIGNER_ALPHA, beta=ASSIGNER_BETA)

    def make_bbox_loss(self) -> RotatedBboxLoss:
        return RotatedBboxLoss(self.reg_max)

    def __call__(self, preds: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss of a batch.

        Args:
            preds: (list of maps per level, angles (B, 1, A) in radians), or the evaluation tuple (output, that pair).
            batch: as of the base class, but `bboxes` (n, 5): xywh in 0..1 and the angle in radians.

        Returns:
            Sum of the three terms times B; and the terms box, cls, dfl, detached.
        """
        feats, angle = preds if isinstance(preds[0], list) else preds[1]
        loss = self.detection(feats, batch, angle[:, 0]).loss
        loss = loss + angle.sum() * 0.0  # the branch takes part in the loss of every batch
        return loss.sum() * len(angle), loss.detach()

    def valid(self, instances: Tensor, imgsz: Tensor) -> Tensor:
        """Which instances (n, 7) are at least two pixels wide and high; 8.3.0 mixes up the sides of the image."""
        return (instances[:, 4] * imgsz[1] >= _LEAST_SIDE) & (instances[:, 5] * imgsz[0] >= _LEAST_SIDE)

    def preprocess(self, targets: Tensor, batch_size: int, scale_tensor: Tensor) -> Tensor:
        """(n, 7) image, class, xywhr (xywh in 0..1) -> (B, M, 6) class, xywhr in pixels; rows keep their order."""
        return pad_targets(targets, torch.cat((targets[:, 2:6] * scale_tensor, targets[:, 6:7]), 1), batch_size)

    def decode(self, predictions: Predictions, image: Tensor, anchor: Tensor) -> Tensor:
        """Boxes (P, 5) xywhr in cells that are predicted at anchors (P,) of images (P,)."""
        if predictions.angle is None:
            raise ValueError("oriented boxes are decoded from distances and angles; the predictions have no angles")
        angle = predictions.angle[image, anchor, None].to(predictions.dist.dtype)
        return self.bbox_decode(predictions.anchors[anchor], predictions.dist[image, anchor], angle)

    def bbox_decode(  # type: ignore[override]  # as in 8.3.0: the angle is a third argument
        self, anchor_points: Tensor, pred_dist: Tensor, pred_angle: Tensor
    ) -> Tensor:
        """Distance logits (..., 4 * reg_max) and angles (..., 1) to xywhr in cells."""
        return torch.cat((dist2rbox(self.distances(pred_dist), pred_angle, anchor_points), pred_angle), -1)
