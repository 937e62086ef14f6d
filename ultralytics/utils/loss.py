"""The detection loss: classification, box and distribution focal terms over the anchors that the assigner selects.

Papers: X. Li et al., Generalized Focal Loss, 2020, arXiv:2006.04388 (distribution focal loss, equation 6);
Z. Zheng et al., Enhancing Geometric Factors in Model Learning, 2020, arXiv:2005.03572 (CIoU).

Dimensions: B images, A anchors of all levels, M slots for instances per image (padded), P positive anchors, nc classes.
Terms of the positives are computed for positives only; the classification term is split into a sum over all logits and
a correction at the positives, so that no dense target tensor is needed. All terms are computed in float32 or better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ultralytics.utils.boxes import xywh2xyxy
from ultralytics.utils.iou import bbox_iou
from ultralytics.utils.tal import Assignment, TaskAlignedAssigner, bbox2dist, dist2bbox, make_anchors

_ALPHA, _BETA = 0.5, 6.0  # exponents of score and IoU in the assigner's metric, those of 8.3.0 for all tasks


class DFLoss(nn.Module):
    """Cross-entropy of a distance distribution with the two bins next to the target, weighted by proximity."""

    def __init__(self, reg_max: int = 16) -> None:
        super().__init__()
        self.reg_max = reg_max

    def forward(self, pred_dist: Tensor, target: Tensor) -> Tensor:
        """Mean over the four sides.

        Args:
            pred_dist: (P * 4, reg_max) logits.
            target: (P, 4) distances in cells, clipped to 0..reg_max - 1.01 here.

        Returns:
            (P, 1) float32 or better.
        """
        target = target.clamp(0, self.reg_max - 1 - 0.01).flatten()
        left = target.long()
        right_weight = target - left
        log_prob = _at_least_float32(pred_dist).log_softmax(-1)
        bins = log_prob.gather(1, torch.stack((left, left + 1), 1))  # (P * 4, 2)
        loss = -(bins[:, 0] * (1 - right_weight) + bins[:, 1] * right_weight)
        return loss.view(-1, 4).mean(1, keepdim=True)


class BboxLoss(nn.Module):
    """CIoU and distribution focal terms of positive anchors, each a weighted sum over the anchors."""

    def __init__(self, reg_max: int = 16) -> None:
        super().__init__()
        self.dfl_loss = DFLoss(reg_max) if reg_max > 1 else None

    def forward(
        self, pred_dist: Tensor, pred_bboxes: Tensor, anchor_points: Tensor, target_bboxes: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Two scalars (box, dfl), not yet divided by the sum of target scores.

        Args:
            pred_dist: (P, 4 * reg_max) logits of the distances.
            pred_bboxes: (P, 4) corners in cells.
            anchor_points: (P, 2) in cells.
            target_bboxes: (P, 4) corners in cells.
            weight: (P,) target scores.
        """
        iou = bbox_iou(pred_bboxes, target_bboxes, xywh=False, CIoU=True)[:, 0]
        box = ((1.0 - iou) * weight).sum()
        if self.dfl_loss is None:
            return box, box.new_zeros(())
        reg_max = self.dfl_loss.reg_max
        sides = bbox2dist(anchor_points, target_bboxes, reg_max - 1)
        return box, (self.dfl_loss(pred_dist.reshape(-1, reg_max), sides)[:, 0] * weight).sum()


class Targets(NamedTuple):
    """The ground-truth instances of a batch in padded tensors."""

    labels: Tensor  # (B, M, 1)
    boxes: Tensor  # (B, M, 4) corners in pixels
    mask: Tensor  # (B, M, 1) bool, False for padding


class DetectionTerms(NamedTuple):
    """The detection terms and the assignment behind them, for tasks that add their own terms."""

    loss: Tensor  # (3,) box, cls, dfl, gains applied
    positives: Assignment
    targets: Tensor  # (P, 4) boxes of the positives' instances, corners in pixels
    anchors: Tensor  # (A, 2) in cells
    strides: Tensor  # (A, 1)
    imgsz: Tensor  # (2,) height, width of the model input


class DetectionHead(Protocol):
    """What the criterion reads from a detection head."""

    stride: Tensor  # (number of levels,)
    nc: int
    reg_max: int


class LossGains(Protocol):
    """Weights of the loss terms."""

    box: float
    cls: float
    dfl: float


class v8DetectionLoss:
    """Criterion of anchor-free detection heads; call it with the output of a model and a batch."""

    def __init__(self, model: nn.Module, tal_topk: int = 10) -> None:
        """Read the gains and the head from a model.

        Args:
            model: has `args` (gains box, cls, dfl) and a detection head as last element of `model.model`.
            tal_topk: number of anchors that the assigner selects per instance.
        """
        layers: Any = model.model
        head: DetectionHead = layers[-1]
        self.hyp: LossGains = cast(Any, model.args)
        self.stride = head.stride
        self.nc = head.nc
        self.no = head.nc + head.reg_max * 4
        self.reg_max = head.reg_max
        self.device = next(model.parameters()).device
        self.use_dfl = self.reg_max > 1
        self.bce = nn.BCEWithLogitsLoss(reduction="none")
        self.assigner = TaskAlignedAssigner(topk=tal_topk, num_classes=self.nc, alpha=_ALPHA, beta=_BETA)
        self.bbox_loss = BboxLoss(self.reg_max).to(self.device)
        self.proj = torch.arange(self.reg_max, dtype=torch.float, device=self.device)

    def __call__(
        self, preds: Sequence[Tensor] | tuple[Tensor, Sequence[Tensor]], batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Loss of a batch.

        Args:
            preds: list of (B, 4 * reg_max + nc, H, W) per level, or (boxes, that list) from a model in eval mode.
            batch: batch_idx (n,), cls (n, 1), bboxes (n, 4) xywh in 0..1, on any device.

        Returns:
            Sum of the three terms times B, to be differentiated, and the terms (3,) box, cls, dfl, detached.
        """
        feats = cast(Sequence[Tensor], preds[1] if isinstance(preds, tuple) else preds)
        loss = self.detection(feats, batch).loss
        return loss.sum() * feats[0].shape[0], loss.detach()

    def detection(self, feats: Sequence[Tensor], batch: Mapping[str, Tensor]) -> DetectionTerms:
        """The three detection terms and the assignment; `feats` is the list of maps per level, `batch` as in a call."""
        B = feats[0].shape[0]
        dist, logits = _FlattenLevels.apply(self.reg_max * 4, *feats)
        anchors, strides = make_anchors(feats, self.stride, 0.5, dtype=dist.dtype)
        imgsz = strides[0] * strides.new_tensor(feats[0].shape[2:])
        targets = self.build_targets(batch, B, imgsz)
        positives = self.assign(dist.detach(), logits.detach(), anchors, strides, targets)

        boxes = targets.boxes[positives.image, positives.slot]
        labels = targets.labels[positives.image, positives.slot, 0].long()
        total = positives.score.sum().clamp_min(1)
        # sum of BCE(x, t) = sum of softplus(x) - sum of x * t, and t is nonzero at the positives only
        positive_logits = logits[positives.image, positives.anchor, labels]
        cls = F.softplus(logits).sum() - (positive_logits * positives.score).sum()
        positive_dist = dist[positives.image, positives.anchor]
        points = anchors[positives.anchor]
        pred_boxes = self.bbox_decode(points, positive_dist)
        box, dfl = self.bbox_loss(positive_dist, pred_boxes, points, boxes / strides[positives.anchor], positives.score)
        gains = box.new_tensor((self.hyp.box, self.hyp.cls, self.hyp.dfl))
        loss = torch.stack((box, cls, dfl)) / total * gains
        return DetectionTerms(loss, positives, boxes, anchors, strides, imgsz)

    def build_targets(self, batch: Mapping[str, Tensor], batch_size: int, imgsz: Tensor) -> Targets:
        """The instances of the batch, padded, in pixels of a model input of `imgsz` (height, width), on its device."""
        columns = (batch["batch_idx"].view(-1, 1), batch["cls"].view(-1, 1), batch["bboxes"].view(-1, 4))
        rows = torch.cat([column.to(imgsz) for column in columns], 1)
        padded = self.preprocess(rows, batch_size, imgsz[[1, 0, 1, 0]])
        labels, boxes = padded.split((1, 4), 2)
        return Targets(labels, boxes, boxes.sum(2, keepdim=True) > 0)

    def preprocess(self, targets: Tensor, batch_size: int, scale_tensor: Tensor) -> Tensor:
        """(n, 6) image, class, xywh in 0..1 -> (B, M, 5) class, corners in pixels; the order of rows is kept."""
        image = targets[:, 0].long()
        counts = image.bincount(minlength=batch_size)
        order = image.argsort(stable=True)
        slot = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[image[order]]
        padded = targets.new_zeros((batch_size, int(counts.max()), 5))
        rows = targets[order]
        padded[image[order], slot] = torch.cat((rows[:, 1:2], xywh2xyxy(rows[:, 2:6] * scale_tensor)), 1)
        return padded

    @torch.no_grad()
    def assign(self, dist: Tensor, logits: Tensor, anchors: Tensor, strides: Tensor, targets: Targets) -> Assignment:
        """Positive anchors; boxes are decoded only for anchors inside some instance."""
        pairs = self.assigner.find_pairs(anchors * strides, targets.boxes, targets.mask)
        A = dist.shape[1]
        image = pairs.image[pairs.row]
        label = targets.labels[pairs.image, pairs.slot, 0].long()[pairs.row]
        scores = logits[image, pairs.anchor, label].sigmoid()
        cells, inverse = _unique(image * A + pairs.anchor, dist.shape[0] * A)
        anchor = cells % A
        boxes = self.bbox_decode(anchors[anchor], dist[cells // A, anchor]) * strides[anchor]
        return self.assigner.select(pairs, targets.boxes, scores, boxes[inverse].to(targets.boxes.dtype))

    def bbox_decode(self, anchor_points: Tensor, pred_dist: Tensor) -> Tensor:
        """Distance logits (..., 4 * reg_max), or plain distances without DFL, to corners in cells."""
        if self.use_dfl:
            bins = _at_least_float32(pred_dist).unflatten(-1, (4, self.reg_max)).softmax(-1)
            # not a matrix product, which autocast would compute in half precision: centers would shift by pixels
            pred_dist = (bins * self.proj.to(bins.dtype)).sum(-1)
        return dist2bbox(pred_dist, anchor_points, xywh=False)


class _FlattenLevels(torch.autograd.Function):
    """Maps (B, no, H, W) of all levels -> distance logits (B, A, channels) and class logits (B, A, nc), contiguous.

    One copy in the forward and one in the backward pass, directly into channels-last memory. Slicing and concatenation
    would need three copies each, and the classification term takes twice as long on a slice.
    """

    @staticmethod
    def forward(ctx: Any, channels: int, *feats: Tensor) -> tuple[Tensor, Tensor]:
        ctx.feats = [(feat.shape, feat.dtype) for feat in feats]
        rows = [feat.permute(0, 2, 3, 1).flatten(1, 2) for feat in feats]  # (B, H * W, no), a view if channels-last
        dist, logits = (
            torch.cat([row[..., part] for row in rows], 1) for part in (slice(channels), slice(channels, None))
        )
        return _at_least_float32(dist), _at_least_float32(logits)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dist: Tensor, logits: Tensor) -> tuple[Tensor | None, ...]:
        grads: list[Tensor | None] = [None]  # for `channels`
        start = 0
        for (B, C, H, W), dtype in ctx.feats:
            part = slice(start, start + H * W)
            grad = dist.new_empty((B, H * W, C), dtype=dtype)
            grad[..., : dist.shape[2]] = dist[:, part]
            grad[..., dist.shape[2] :] = logits[:, part]
            grads.append(grad.unflatten(1, (H, W)).permute(0, 3, 1, 2))
            start = part.stop
        return tuple(grads)


def _at_least_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _unique(keys: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """The distinct values of `keys` (all below `limit`), ascending, and for each key its index among them.

    Unlike torch.unique it does not sort.
    """
    occurs = torch.zeros(limit, dtype=torch.bool, device=keys.device)
    occurs[keys] = True
    index = occurs.cumsum(0) - 1
    return occurs.nonzero().flatten(), index[keys]
