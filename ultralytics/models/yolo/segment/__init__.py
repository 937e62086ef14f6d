"""Instance segmentation: boxes with a class, a confidence and a mask."""

from ultralytics.models.yolo.segment.predict import SegmentationPredictor
from ultralytics.models.yolo.segment.train import SegmentationTrainer
from ultralytics.models.yolo.segment.val import SegmentationValidator

__all__ = ["SegmentationPredictor", "SegmentationTrainer", "SegmentationValidator"]
