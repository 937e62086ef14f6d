"""The YOLO family: one folder per task, with train.py, val.py and predict.py."""

from ultralytics.models.yolo import classify, detect, obb, pose, segment
from ultralytics.models.yolo.model import YOLO

__all__ = ["YOLO", "classify", "detect", "obb", "pose", "segment"]
