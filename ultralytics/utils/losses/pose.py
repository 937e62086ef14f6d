"""The pose loss: the detection terms, a keypoint position term and a keypoint visibility term.

Paper: D. Maji et al., YOLO-Pose: Enhancing YOLO for Multi Person Pose Estimation Using Object Keypoint Similarity Loss,
2022, arXiv:2204.06806.

Dimensions: B images, A anchors, P positives, K keypoints of D values (x, y and, for D = 3, visibility).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ultralytics.utils.keypoint_metrics import default_sigmas
from ultralytics.utils.losses.detection import Batch, DetectionTerms, v8DetectionLoss

_EPS = 1e-9


class KeypointLoss(nn.Module):
    """1 - OKS of each keypoint, averaged over the visible ones."""

    def __init__(self, sigmas: Tensor) -> None:
        """Set the standard deviations (K,) of the keypoints, relative to the root of the instance's area."""
        super().__init__()
        self.sigmas = sigmas

    def forward(self, pred_kpts: Tensor, gt_kpts: Tensor, kpt_mask: Tensor, area: Tensor) -> Tensor:
        """Mean over positives and keypoints; scalar.

        Args:
            pred_kpts: (P, K, 2 or 3) x, y in cells.
            gt_kpts: (P, K, 2 or 3), as `pred_kpts`.
            kpt_mask: (P, K) 1 or True where a keypoint is labeled.
            area: (P, 1) of the target boxes in square cells.
        """
        distance = (pred_kpts[..., :2] - gt_kpts[..., :2]).square().sum(-1)
        # an instance counts the same however many of its keypoints are labeled
        factor = kpt_mask.shape[1] / ((kpt_mask != 0).sum(1) + _EPS)
        exponent = distance / ((2 * self.sigmas).square() * (area + _EPS) * 2)
        return (factor[:, None] * ((1 - (-exponent).exp()) * kpt_mask)).mean()


class v8PoseLoss(v8DetectionLoss):
    """Criterion of pose heads; terms box, pose, kobj, cls, dfl."""

    def __init__(self, model: nn.Module) -> None:
        """As the base class; the head has `kpt_shape`, and `model.kpt_sigmas` may hold the dataset's sigmas."""
        super().__init__(model)
        layers: Any = model.model
        self.kpt_shape: Sequence[int] = layers[-1].kpt_shape
        self.bce_pose = nn.BCEWithLogitsLoss()
        sigmas = getattr(model, "kpt_sigmas", None) or default_sigmas(self.kpt_shape)
        self.keypoint_loss = KeypointLoss(torch.tensor(sigmas, device=self.device))

    def __call__(self, preds: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss of a batch.

        Args:
            preds: (list of maps per level, raw keypoints (B, K * D, A)), or the evaluation tuple (output, that pair).
            batch: as of the base class, and `keypoints` (n, K, D): x, y in 0..1 and visibility 0, 1 or 2.

        Returns:
            Sum of the five terms times B; and the terms box, pose, kobj, cls, dfl, detached.
        """
        feats, raw = preds if isinstance(preds[0], list) else preds[1]
        terms = self.detection(feats, batch)
        box, cls, dfl = terms.loss.unbind()
        pose, kobj = self.keypoint_terms(terms, batch, raw.transpose(1, 2).unflatten(2, tuple(self.kpt_shape)))
        loss = torch.stack((box, pose * self.hyp.pose, kobj * self.hyp.kobj, cls, dfl))
        return loss.sum() * len(raw), loss.detach()

    def keypoint_terms(self, terms: DetectionTerms, batch: Batch, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Position and visibility term; scalars.

        Args:
            terms: the detection terms.
            batch: has `keypoints`.
            raw: (B, A, K, D) outputs of the head.
        """
        image, anchor, _, _ = terms.positives
        nothing = raw.sum() * 0.0  # the branch takes part in the loss of every batch
        if not len(image):
            return nothing, nothing
        strides = terms.predictions.strides[anchor]
        columns_rows = terms.imgsz[[1, 0]]
        truth = batch["keypoints"].to(raw.device)[terms.rows].to(terms.boxes.dtype)  # (P, K, D)
        position = truth[..., :2] * columns_rows / strides[:, None]
        predicted = self.kpts_decode(terms.predictions.anchors[anchor], raw[image, anchor].float())
        sides = (terms.boxes[:, 2:] - terms.boxes[:, :2]) / strides
        visible = truth[..., 2] != 0 if truth.shape[-1] == 3 else torch.ones_like(truth[..., 0], dtype=torch.bool)
        pose = self.keypoint_loss(predicted, position, visible, sides.prod(1, keepdim=True))
        if predicted.shape[-1] != 3:
            return pose.float(), nothing
        return pose.float(), self.bce_pose(predicted[..., 2], visible.to(predicted.dtype))

    @staticmethod
    def kpts_decode(anchor_points: Tensor, pred_kpts: Tensor) -> Tensor:
        """Raw keypoints (..., A, K, D) at anchors (A, 2) in cells -> x, y in cells; a third value stays as it is."""
        xy = pred_kpts[..., :2] * 2.0 + (anchor_points - 0.5)[..., :, None, :]
        return torch.cat((xy, pred_kpts[..., 2:]), -1)
