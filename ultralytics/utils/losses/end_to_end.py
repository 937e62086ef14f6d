"""The loss of heads without NMS: a branch assigned to many anchors and one assigned to a single anchor, together.

Paper: A. Wang et al., YOLOv10: Real-Time End-to-End Object Detection, 2024, arXiv:2405.14458 (dual label assignments).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ultralytics.utils.losses.detection import Batch, v8DetectionLoss


class E2EDetectLoss:
    """Sum of the detection losses of the one-to-many and the one-to-one branch; terms box, cls, dfl of both added."""

    def __init__(self, model: nn.Module) -> None:
        self.one2many = v8DetectionLoss(model, tal_topk=10)
        self.one2one = v8DetectionLoss(model, tal_topk=1)

    def __call__(self, preds: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss of a batch.

        Args:
            preds: dict with the lists of maps `one2many` and `one2one`, or the evaluation tuple (output, that dict).
            batch: as of `v8DetectionLoss`.
        """
        branches = preds[1] if isinstance(preds, tuple) else preds
        many = self.one2many(branches["one2many"], batch)
        one = self.one2one(branches["one2one"], batch)
        return many[0] + one[0], many[1] + one[1]
