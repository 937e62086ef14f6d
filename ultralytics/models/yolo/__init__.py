"""The YOLO family: one folder per task, with train.py, val.py and predict.py."""

from ultralytics.models.yolo import detect, obb

__all__ = ["detect", "obb"]
