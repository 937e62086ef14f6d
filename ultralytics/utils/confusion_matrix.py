"""The confusion matrix of a detector or a classifier."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ultralytics.utils.iou import box_iou
from ultralytics.utils.rotated_boxes import batch_probiou

_DEFAULT_CONF = 0.25
_VALIDATION_CONF = 0.001  # validation's threshold for average precision, replaced by _DEFAULT_CONF here


class ConfusionMatrix:
    """Counts of predicted (row) against true (column) classes; the last row and column are the background.

    Attributes:
        matrix: (nc + 1, nc + 1) counts; (nc, nc) for the task classify, which has no background.
        nc: number of classes.
        task: "classify", or a task with instances.
        conf: confidence threshold; detections must be above it.
        iou_thres: IoU threshold; matches must be above it.
    """

    def __init__(
        self, nc: int, conf: float | None = _DEFAULT_CONF, iou_thres: float = 0.45, task: str = "detect"
    ) -> None:
        self.nc, self.task = nc, task
        self.conf = _DEFAULT_CONF if conf is None or conf == _VALIDATION_CONF else conf
        self.iou_thres = iou_thres
        size = nc if task == "classify" else nc + 1
        self.matrix = np.zeros((size, size))

    def process_cls_preds(self, preds: Sequence[Tensor], targets: Sequence[Tensor]) -> None:
        """Add classified images.

        Args:
            preds: per batch (B, k) classes by descending probability.
            targets: per batch (B,) true classes.
        """
        for predicted, true in zip(preds, targets, strict=True):
            np.add.at(self.matrix, (predicted[:, 0].cpu().numpy().astype(int), true.cpu().numpy().astype(int)), 1)

    def process_batch(self, detections: Tensor | None, gt_bboxes: Tensor, gt_cls: Tensor) -> None:
        """Add the detections of one image.

        Call it for images without instances or detections, too: everything that is not matched is counted against the
        background, whereas 8.3.0 omits the false positives of images without a match.

        Args:
            detections: (n, 6) corners, confidence, class, or of oriented boxes (n, 7) xywh, confidence, class, angle;
                None for none.
            gt_bboxes: (m, 4) corners, or (m, 5) xywhr, which are compared by ProbIoU.
            gt_cls: (m,) classes.
        """
        true = gt_cls.cpu().numpy().astype(int)
        if detections is None:
            detections = gt_bboxes.new_zeros((0, gt_bboxes.shape[1] + 2))
        detections = detections[detections[:, 4] > self.conf]
        predicted = detections[:, 5].cpu().numpy().astype(int)
        if gt_bboxes.shape[1] == 5:
            iou = batch_probiou(gt_bboxes, torch.cat((detections[:, :4], detections[:, 6:7]), 1))
        else:
            iou = box_iou(gt_bboxes, detections[:, :4])
        gt, det = self._matches(iou.cpu().numpy())
        missed, unmatched = np.delete(true, gt), np.delete(predicted, det)
        background = self.nc
        rows = np.concatenate((predicted[det], np.full(len(missed), background), unmatched))
        columns = np.concatenate((true[gt], missed, np.full(len(unmatched), background)))
        np.add.at(self.matrix, (rows, columns), 1)

    def tp_fp(self) -> tuple[np.ndarray, np.ndarray]:
        """True positives (nc,) and false positives (nc,) of each class, without the background."""
        correct = self.matrix.diagonal()[: self.nc]
        return correct.copy(), self.matrix.sum(1)[: self.nc] - correct

    def _matches(self, iou: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Indices of matched instances and detections; `iou` is (m, n), classes are not compared.

        Each detection selects the instance with the highest IoU, each instance the best detection that selected it.
        """
        m, n = iou.shape
        if not (m and n):
            return np.zeros(0, int), np.zeros(0, int)
        choice = iou.argmax(0)
        best = iou[choice, np.arange(n)]
        candidates = np.flatnonzero(best > self.iou_thres)
        candidates = candidates[np.argsort(-best[candidates], kind="stable")]
        gt, first = np.unique(choice[candidates], return_index=True)
        return gt, candidates[first]
