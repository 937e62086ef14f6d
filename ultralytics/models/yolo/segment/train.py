"""Training of a segmentation network: detection with masks; labels are polygons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ultralytics.models.yolo.detect.train import DetectionTrainer
from ultralytics.models.yolo.segment.val import SegmentationValidator
from ultralytics.nn.tasks import SegmentationModel


class SegmentationTrainer(DetectionTrainer):
    """Trains a segmentation network: `SegmentationTrainer(overrides={"model": ..., "data": ...}).train()`."""

    task = "segment"
    loss_names = ("box_loss", "seg_loss", "cls_loss", "dfl_loss")
    validator_class = SegmentationValidator

    def build_network(self, cfg: str | Path | dict[str, Any], verbose: bool) -> SegmentationModel:
        return SegmentationModel(cfg, nc=self.data["nc"], verbose=verbose)
