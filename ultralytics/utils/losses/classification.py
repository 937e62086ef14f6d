"""The classification loss, and two losses of logits that code written for 8.3.0 imports."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ultralytics.utils.losses.detection import Batch

_LEAST_PROBABILITY = 1e-12


class v8ClassificationLoss:
    """Cross-entropy of classes."""

    def __call__(self, preds: Tensor, batch: Batch, probabilities: bool = False) -> tuple[Tensor, Tensor]:
        """Mean over the images, not multiplied by their number; and the same, detached.

        Args:
            preds: (B, nc) logits, or with `probabilities` what the head gives in evaluation mode. 8.3.0 treats those as
                logits too, so that its val/loss cannot be compared with train/loss.
            batch: `cls` (B,) class of each image.
            probabilities: `preds` sum to 1.
        """
        target = batch["cls"].to(preds.device).long()
        if probabilities:
            loss = F.nll_loss(preds.float().clamp_min(_LEAST_PROBABILITY).log(), target)
        else:
            loss = F.cross_entropy(preds.float(), target)
        return loss, loss.detach()


class FocalLoss(nn.Module):
    """Focal loss of independent labels. T.-Y. Lin et al., 2017, arXiv:1708.02002, equation 5."""

    @staticmethod
    def forward(pred: Tensor, label: Tensor, gamma: float = 1.5, alpha: float = 0.25) -> Tensor:
        """Mean over the second dimension, summed over the rest; scalar.

        Args:
            pred: (B, nc, ...) logits.
            label: as `pred`, 0..1.
            gamma: exponent that plays down easy examples.
            alpha: weight of positives; negatives weigh 1 - alpha, 0 weighs all alike.
        """
        loss = F.binary_cross_entropy_with_logits(pred, label, reduction="none")
        probability = pred.sigmoid()
        of_truth = label * probability + (1 - label) * (1 - probability)
        loss = loss * (1.0 - of_truth) ** gamma
        if alpha > 0:
            loss = loss * (label * alpha + (1 - label) * (1 - alpha))
        return loss.mean(1).sum()


class VarifocalLoss(nn.Module):
    """Varifocal loss. H. Zhang et al., VarifocalNet, 2020, arXiv:2008.13367, equation 2."""

    @staticmethod
    def forward(pred_score: Tensor, gt_score: Tensor, label: Tensor, alpha: float = 0.75, gamma: float = 2.0) -> Tensor:
        """Mean over the second dimension, summed over the rest; scalar.

        Args:
            pred_score: (B, A, nc) logits.
            gt_score: as `pred_score`, target scores 0..1.
            label: as `pred_score`, 1 for positives.
            alpha: weight of negatives.
            gamma: exponent of the predicted score of negatives.
        """
        weight = alpha * pred_score.sigmoid().pow(gamma) * (1 - label) + gt_score * label
        with torch.autocast(pred_score.device.type, enabled=False):
            loss = F.binary_cross_entropy_with_logits(pred_score.float(), gt_score.float(), reduction="none") * weight
            return loss.mean(1).sum()
