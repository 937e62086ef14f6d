"""The official path of YOLO, which engine/model.py defines."""

from ultralytics.engine.model import YOLO

__all__ = ["YOLO"]
