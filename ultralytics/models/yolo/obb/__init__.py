"""Oriented boxes: boxes with an angle, a class and a confidence; the convention is that of utils/rotated_boxes.py."""

from ultralytics.models.yolo.obb.predict import OBBPredictor
from ultralytics.models.yolo.obb.train import OBBTrainer
from ultralytics.models.yolo.obb.val import OBBValidator

__all__ = ["OBBPredictor", "OBBTrainer", "OBBValidator"]
