"""Training of a pose network: its head has the keypoints of the dataset, and its loss the dataset's sigmas."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from ultralytics.models.yolo.detect.train import DetectionTrainer
from ultralytics.models.yolo.pose.val import PoseValidator
from ultralytics.nn.tasks import PoseModel
from ultralytics.utils.torch_utils import unwrap


class PoseTrainer(DetectionTrainer):
    """Trains a pose network: `PoseTrainer(overrides={"model": ..., "data": ...}).train()`."""

    task = "pose"
    loss_names = ("box_loss", "pose_loss", "kobj_loss", "cls_loss", "dfl_loss")
    validator_class = PoseValidator

    def build_network(self, cfg: str | Path | dict[str, Any], verbose: bool) -> PoseModel:
        return PoseModel(cfg, nc=self.data["nc"], data_kpt_shape=self.data["kpt_shape"], verbose=verbose)

    def set_model_attributes(self) -> None:
        super().set_model_attributes()
        model = cast(PoseModel, unwrap(self.model))
        model.kpt_sigmas = self.data.get("kpt_sigmas")
