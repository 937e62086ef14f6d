"""Model families; each task of a family is one folder."""

from ultralytics.models.yolo.model import YOLO

__all__ = ["YOLO"]
