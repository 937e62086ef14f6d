"""Training of a network for oriented boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.models.yolo.obb.val import OBBValidator
from ultralytics.nn.tasks import OBBModel


class OBBTrainer(DetectionTrainer):
    """Trains a network for oriented boxes: `OBBTrainer(overrides={"model": ..., "data": ...}).train()`."""

    task = "obb"
    val_batch_factor = 1  # as in 8.3.0; it decides which images share a rectangular batch
    validator_class = OBBValidator

    def build_network(self, cfg: str | Path | dict[str, Any], verbose: bool) -> OBBModel:
        return OBBModel(cfg, nc=self.data["nc"], verbose=verbose)
