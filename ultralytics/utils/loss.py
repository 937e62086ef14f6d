"""The losses at the path that 8.3.0 has them; they are written in ultralytics/utils/losses."""

from __future__ import annotations

from ultralytics.utils.keypoint_metrics import OKS_SIGMA
from ultralytics.utils.losses.classification import FocalLoss, VarifocalLoss, v8ClassificationLoss
from ultralytics.utils.losses.detection import BboxLoss, DFLoss, v8DetectionLoss
from ultralytics.utils.losses.end_to_end import E2EDetectLoss
from ultralytics.utils.losses.oriented import RotatedBboxLoss, v8OBBLoss
from ultralytics.utils.losses.pose import KeypointLoss, v8PoseLoss
from ultralytics.utils.losses.segmentation import v8SegmentationLoss

__all__ = [
    "OKS_SIGMA",
    "BboxLoss",
    "DFLoss",
    "E2EDetectLoss",
    "FocalLoss",
    "KeypointLoss",
    "RotatedBboxLoss",
    "VarifocalLoss",
    "v8ClassificationLoss",
    "v8DetectionLoss",
    "v8OBBLoss",
    "v8PoseLoss",
    "v8SegmentationLoss",
]
