"""Validation of a pose network: boxes as in detection, keypoints by object keypoint similarity (OKS)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ultralytics.engine.protocols import Batch, Outputs, Predictions
from ultralytics.engine.results import Boxes, Keypoints, label_lines, write_label_file
from ultralytics.models.yolo.detect.val import DetectionValidator, ImageLabels
from ultralytics.tasks import get_task
from ultralytics.utils import coco
from ultralytics.utils.keypoint_metrics import BOX_TO_INSTANCE_AREA, default_sigmas, kpt_iou
from ultralytics.utils.metrics import Metric
from ultralytics.utils.ops import scale_coords
from ultralytics.utils.task_metrics import PoseMetrics


class PoseValidator(DetectionValidator):
    """Average precision of boxes and of keypoints, and what else detection has.

    Attributes:
        kpt_shape: (number of keypoints, values per keypoint) of the network.
        sigma: standard deviations of the keypoints: those of the dataset file (`kpt_sigmas`), else COCO's for 17
            keypoints, else 1/K for each of K keypoints.
    """

    task = "pose"
    metric_keys = get_task("pose").metric_keys
    metrics_class = PoseMetrics
    table_columns = (*DetectionValidator.table_columns, "Pose(P", "R", "mAP50", "mAP50-95)")
    stat_names = ("tp", "tp_second", "conf", "pred_cls", "target_cls")

    # ----------------------------------------------------------------------------------- counting

    def init_metrics(self, model: Any) -> None:
        super().init_metrics(model)
        self.kpt_shape: tuple[int, int] = tuple(model.kpt_shape)
        labeled = tuple(self.data.get("kpt_shape") or self.kpt_shape)
        if labeled != self.kpt_shape:
            raise ValueError(
                f"{self.data.get('yaml_file', 'the data')} has kpt_shape {list(labeled)}, the network "
                f"{list(self.kpt_shape)}; use the data it was trained on, or train it on this data first"
            )
        self.sigma = torch.tensor(self.data.get("kpt_sigmas") or default_sigmas(self.kpt_shape))

    def postprocess(self, preds: Outputs) -> Predictions:
        """Outputs of the network -> per image (n, 6 + K * D) corners, confidence, class, keypoints."""
        return self.suppress(preds, self.nc)

    def _prepare_batch(self, si: int, batch: Batch) -> ImageLabels:
        labels = super()._prepare_batch(si, batch)
        height, width = labels["imgsz"]
        keypoints = batch["keypoints"][batch["batch_idx"].reshape(-1) == si].cpu()
        keypoints = keypoints * torch.tensor([width, height, 1.0])
        scaled = scale_coords(labels["imgsz"], keypoints, labels["ori_shape"], ratio_pad=labels["ratio_pad"])
        return {**labels, "keypoints": scaled}

    def _prepare_pred(self, pred: Tensor, pbatch: ImageLabels) -> Tensor:
        predn = super()._prepare_pred(pred, pbatch)
        shape, ratio_pad = pbatch["ori_shape"], pbatch["ratio_pad"]
        predn[:, 6:] = scale_coords(pbatch["imgsz"], self._keypoints(predn), shape, ratio_pad=ratio_pad).flatten(1)
        return predn

    def _keypoints(self, predn: Tensor) -> Tensor:
        """(n, K, D) keypoints of predictions (n, 6 + K * D)."""
        return predn[:, 6:].unflatten(1, self.kpt_shape)

    def _count(self, predn: Tensor, labels: ImageLabels, second: Tensor | None = None) -> None:
        super()._count(predn, labels, self._match_keypoints(predn, labels))

    def _match_keypoints(self, predn: Tensor, labels: ImageLabels) -> Tensor:
        """(n, 10) which predictions are true positives by the similarity of their keypoints at which threshold."""
        sides = labels["bbox"][:, 2:] - labels["bbox"][:, :2]
        area = sides.prod(1) * BOX_TO_INSTANCE_AREA
        similarity = kpt_iou(labels["keypoints"], self._keypoints(predn), area, self.sigma)
        return self.match_predictions(predn[:, 5], labels["cls"], similarity)

    # ----------------------------------------------------------------------------------- files

    def save_one_txt(self, predn: Tensor, save_conf: bool, shape: tuple[int, int], file: Path) -> None:
        components = Boxes(predn[:, :6], shape), Keypoints(self._keypoints(predn), shape)
        write_label_file(file, label_lines(components, save_conf=save_conf))

    def pred_to_json(self, predn: Tensor, filename: str) -> None:
        """As in detection, with x, y and confidence of each keypoint (1 if the network gives none)."""
        first = len(self.jdict)
        super().pred_to_json(predn, filename)
        keypoints = self._keypoints(predn)
        if keypoints.shape[2] == 2:
            keypoints = torch.cat((keypoints, torch.ones_like(keypoints[..., :1])), 2)
        for row, values in zip(self.jdict[first:], keypoints.flatten(1).tolist(), strict=True):
            row["keypoints"] = [round(value, 3) for value in values]

    def evaluate_coco(self) -> dict[str, dict[str, float]]:
        keypoints = coco.evaluate(self._truth.as_dict(), self.jdict, "keypoints", sigmas=self.sigma.tolist())
        return super().evaluate_coco() | {"(P)": keypoints}

    # ----------------------------------------------------------------------------------- plots

    def plot_predictions(self, batch: Batch, preds: Predictions, ni: int) -> None:
        self.plot_rows(batch, preds, ni, {"keypoints": self._keypoints(torch.cat(preds))})

    def curve_parts(self) -> dict[str, Metric]:
        return {"Box": self.metrics.box, "Pose": self.metrics.pose}
