"""The YOLO family: one folder per task, with train.py, val.py and predict.py."""

from ultralytics.models.yolo import classify, detect, obb, pose, segment

__all__ = ["classify", "detect", "obb", "pose", "segment"]
