"""Validation of a pose network: boxes as in detection, keypoints by object keypoint similarity (OKS)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from ultralytics.engine.protocols import Batch, Outputs, Predictions
from ultralytics.engine.results import BaseTensor, Keypoints
from ultralytics.models.yolo.detect.data import PlottedParts
from ultralytics.models.yolo.detect.val import DetectionValidator, ImageLabels
from ultralytics.tasks import get_task
from ultralytics.utils import LOGGER, coco
from ultralytics.utils.coco_keypoints import KeypointTruth
from ultralytics.utils.keypoint_metrics import BOX_TO_INSTANCE_AREA, default_sigmas, kpt_iou
from ultralytics.utils.metrics import Metric
from ultralytics.utils.ops import scale_coords
from ultralytics.utils.task_metrics import PoseMetrics


class PoseLabels(ImageLabels):
    """Labels of one image.

    Attributes:
        keypoints: (M, K, 3) float32 x, y in pixels of the original image, and the visibility.
    """

    keypoints: Tensor


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
        self._truth: KeypointTruth = KeypointTruth(self.names)

    def postprocess(self, preds: Outputs) -> Predictions:
        """Outputs of the network -> per image (n, 6 + K * D) corners, confidence, class, keypoints."""
        return self.suppress(preds, self.nc)

    def _prepare_batch(self, si: int, batch: Batch) -> PoseLabels:
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
        super()._count(predn, labels, self._match_keypoints(predn, cast(PoseLabels, labels)))

    def _match_keypoints(self, predn: Tensor, labels: PoseLabels) -> Tensor:
        """(n, 10) which predictions are true positives by the similarity of their keypoints at which threshold."""
        sides = labels["bbox"][:, 2:] - labels["bbox"][:, :2]
        area = sides.prod(1) * BOX_TO_INSTANCE_AREA
        similarity = kpt_iou(labels["keypoints"], self._keypoints(predn), area, self.sigma)
        return self.match_predictions(predn[:, 5], labels["cls"], similarity)

    # ----------------------------------------------------------------------------------- files

    def components(self, predn: Tensor, shape: tuple[int, int]) -> list[BaseTensor]:
        return [*super().components(predn, shape), Keypoints(self._keypoints(predn), shape)]

    def _add_truth(self, labels: ImageLabels) -> None:
        super()._add_truth(labels)
        self._truth.add_keypoints(cast(PoseLabels, labels)["keypoints"].numpy())

    def pred_to_json(self, predn: Tensor, filename: str) -> None:
        """As in detection, with x, y and confidence of each keypoint (1 if the network gives none)."""
        first = len(self.jdict)
        super().pred_to_json(predn, filename)
        keypoints = self._keypoints(predn)
        if keypoints.shape[2] == 2:
            keypoints = torch.cat((keypoints, torch.ones_like(keypoints[..., :1])), 2)
        for row, values in zip(self.jdict[first:], keypoints.flatten(1).tolist(), strict=True):
            row["keypoints"] = [round(value, 3) for value in values]

    def eval_json(self, stats: dict[str, float]) -> dict[str, float]:
        """As in detection, and COCO's evaluation of the keypoints; its names end in (P)."""
        super().eval_json(stats)
        if self.metrics.coco:
            keypoints = coco.evaluate(self._truth.as_keypoint_dict(), self.jdict, self.sigma.tolist())
            LOGGER.info(coco.table(keypoints))
            self.metrics.coco |= {f"{name}(P)": value for name, value in keypoints.items()}
        return stats

    # ----------------------------------------------------------------------------------- plots

    def predicted_parts(self, rows: Tensor) -> PlottedParts:
        return {"keypoints": self._keypoints(rows)}

    def curve_parts(self) -> dict[str, Metric]:
        return {"Box": self.metrics.box, "Pose": self.metrics.pose}
