"""Classification: one class per image, with the probabilities of all classes."""

from ultralytics.models.yolo.classify.predict import ClassificationPredictor
from ultralytics.models.yolo.classify.train import ClassificationTrainer
from ultralytics.models.yolo.classify.val import ClassificationValidator

__all__ = ["ClassificationPredictor", "ClassificationTrainer", "ClassificationValidator"]
