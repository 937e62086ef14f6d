"""The detection loss: class, box and distance terms over the anchors that the assigner chose.

Papers: X. Li et al., Generalized Focal Loss, 2020, arXiv:2006.04388 (distances as distributions, equation 6);
Z. Zheng et al., Enhancing Geometric Factors in Model Learning, 2020, arXiv:2005.03572 (CIoU).

Dimensions: B pictures, A anchors of all levels, M slots for objects per picture, P positive anchors, nc classes.
Terms that concern positives are computed for positives only; the class term is split into a sum over all logits and a
correction at the positives, so that no dense target tensor exists. Everything is computed in float32 or better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ultralytics.utils.iou import bbox_iou
from ultralytics.utils.ops import xywh2xyxy
from ultralytics.utils.tal import Assigned, TaskAlignedAssigner, bbox2dist, dist2bbox, make_anchors

_ALPHA, _BETA = 0.5, 6.0  # exponents of score and overlap in the assigner's metric, 8.3.0's choice for all tasks


class DFLoss(nn.Module):
    """Cross-entropy of a distance's distribution with the two bins beside the target, weighted by nearness."""

    def __init__(self, reg_max: int = 16) -> None:
        super().__init__()
        self.reg_max = reg_max

    def forward(self, pred_dist: Tensor, target: Tensor) -> Tensor:
        """Mean over the four sides.

        Args:
            pred_dist: (P * 4, reg_max) logits.
            target: (P, 4) distances in cells, cut here to 0 .. reg_max - 1.01.

        Returns:
            (P, 1) float32 or better.
        """
        target = target.clamp(0, self.reg_max - 1 - 0.01).flatten()
        left = target.long()
        share = target - left  # how far to the right of the left bin
        log_prob = _wide(pred_dist).log_softmax(-1)
        near = log_prob.gather(1, torch.stack((left, left + 1), 1))  # (P * 4, 2)
        loss = -(near[:, 0] * (1 - share) + near[:, 1] * share)
        return loss.view(-1, 4).mean(1, keepdim=True)


class BboxLoss(nn.Module):
    """CIoU and distance terms of positive anchors, each summed with the anchors' weights."""

    def __init__(self, reg_max: int = 16) -> None:
        super().__init__()
        self.dfl_loss = DFLoss(reg_max) if reg_max > 1 else None

    def forward(
        self, pred_dist: Tensor, pred_bboxes: Tensor, anchor_points: Tensor, target_bboxes: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Two scalars, not yet divided by the sum of target scores.

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


class Objects(NamedTuple):
    """The objects of a batch in padded tensors."""

    labels: Tensor  # (B, M, 1)
    boxes: Tensor  # (B, M, 4) corners in pixels
    mask: Tensor  # (B, M, 1) bool


class Detected(NamedTuple):
    """What a task that adds terms of its own needs to know after the detection terms."""

    loss: Tensor  # (3,) box, cls, dfl, gains applied
    positives: Assigned
    targets: Tensor  # (P, 4) the positives' objects, corners in pixels
    anchors: Tensor  # (A, 2) in cells
    strides: Tensor  # (A, 1)
    imgsz: Tensor  # (2,) rows, columns of the network's input


class v8DetectionLoss:
    """Criterion of anchor-free detection heads; call it with a network's output and a batch."""

    def __init__(self, model: nn.Module, tal_topk: int = 10) -> None:
        """`model` has `args` (gains box, cls, dfl) and a detection head last in `model.model`."""
        head: Any = model.model[-1]  # type: ignore[index]
        self.hyp: Any = model.args
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

    def __call__(self, preds: Any, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Loss of a batch.

        Args:
            preds: list of (B, 4 * reg_max + nc, H, W) per level, or the evaluation tuple (boxes, that list).
            batch: batch_idx (n,), cls (n, 1), bboxes (n, 4) xywh in 0..1, on any device.

        Returns:
            Sum of the three terms times B, for the backward pass; and the terms box, cls, dfl, detached.
        """
        feats = preds[1] if isinstance(preds, tuple) else preds
        loss = self.detection(feats, batch).loss
        return loss.sum() * feats[0].shape[0], loss.detach()

    def detection(self, feats: Sequence[Tensor], batch: Mapping[str, Any]) -> Detected:
        """The three detection terms and the assignment they rest on."""
        B = feats[0].shape[0]
        dist, logits = _Rows.apply(self.reg_max * 4, *feats)
        anchors, strides = make_anchors(feats, self.stride, 0.5, dtype=dist.dtype)
        imgsz = strides[0] * strides.new_tensor(feats[0].shape[2:])
        objects = self.objects(batch, B, imgsz)
        found = self.assign(dist.detach(), logits.detach(), anchors, strides, objects)

        target = objects.boxes[found.image, found.slot]
        label = objects.labels[found.image, found.slot, 0].long()
        total = found.score.sum().clamp_min(1)
        # sum of BCE(x, t) = sum of softplus(x) - sum of x * t, and t differs from 0 at the positives only
        cls = F.softplus(logits).sum() - (logits[found.image, found.anchor, label] * found.score).sum()
        picked = dist[found.image, found.anchor]
        points = anchors[found.anchor]
        box, dfl = self.bbox_loss(
            picked, self.bbox_decode(points, picked), points, target / strides[found.anchor], found.score
        )
        gains = box.new_tensor((self.hyp.box, self.hyp.cls, self.hyp.dfl))
        return Detected(torch.stack((box, cls, dfl)) / total * gains, found, target, anchors, strides, imgsz)

    def objects(self, batch: Mapping[str, Any], batch_size: int, imgsz: Tensor) -> Objects:
        """The batch's objects, padded, in pixels of a network input of `imgsz` (rows, columns), on its device."""
        parts = (batch["batch_idx"].view(-1, 1), batch["cls"].view(-1, 1), batch["bboxes"].view(-1, 4))
        rows = torch.cat([part.to(imgsz) for part in parts], 1)
        padded = self.preprocess(rows, batch_size, imgsz[[1, 0, 1, 0]])
        labels, boxes = padded.split((1, 4), 2)
        return Objects(labels, boxes, boxes.sum(2, keepdim=True) > 0)

    def preprocess(self, targets: Tensor, batch_size: int, scale_tensor: Tensor) -> Tensor:
        """(n, 6) picture, class, xywh in 0..1 -> (B, M, 5) class, corners in pixels; rows keep their order."""
        image = targets[:, 0].long()
        counts = image.bincount(minlength=batch_size)
        order = image.argsort(stable=True)
        place = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[image[order]]
        padded = targets.new_zeros((batch_size, int(counts.max()), 5))
        rows = targets[order]
        padded[image[order], place] = torch.cat((rows[:, 1:2], xywh2xyxy(rows[:, 2:6] * scale_tensor)), 1)
        return padded

    @torch.no_grad()
    def assign(self, dist: Tensor, logits: Tensor, anchors: Tensor, strides: Tensor, objects: Objects) -> Assigned:
        """Positive anchors; boxes are decoded only for anchors that lie in some object."""
        pairs = self.assigner.pairs(anchors * strides, objects.boxes, objects.mask)
        A = dist.shape[1]
        image = pairs.image[pairs.row]
        label = objects.labels[pairs.image, pairs.slot, 0].long()[pairs.row]
        scores = logits[image, pairs.anchor, label].sigmoid()
        cells, back = _compact(image * A + pairs.anchor, dist.shape[0] * A)
        anchor = cells % A
        boxes = self.bbox_decode(anchors[anchor], dist[cells // A, anchor]) * strides[anchor]
        return self.assigner.choose(pairs, objects.boxes, scores, boxes[back].to(objects.boxes.dtype))

    def bbox_decode(self, anchor_points: Tensor, pred_dist: Tensor) -> Tensor:
        """Distance logits (..., 4 * reg_max), or plain distances without DFL, to corners in cells."""
        if self.use_dfl:
            bins = _wide(pred_dist).unflatten(-1, (4, self.reg_max)).softmax(-1)
            # not a matrix product, which autocast would compute in half precision: centres would move by pixels
            pred_dist = (bins * self.proj.to(bins.dtype)).sum(-1)
        return dist2bbox(pred_dist, anchor_points, xywh=False)


class _Rows(torch.autograd.Function):
    """Maps (B, no, H, W) of all levels -> distance logits (B, A, channels) and class logits (B, A, nc), contiguous.

    One copy forward and one back, straight into channels-last memory; slices and joins would take three of each, and
    the class term is half as fast on a slice as on contiguous memory.
    """

    @staticmethod
    def forward(ctx: Any, channels: int, *feats: Tensor) -> tuple[Tensor, Tensor]:
        ctx.feats = [(feat.shape, feat.dtype) for feat in feats]
        rows = [feat.permute(0, 2, 3, 1).flatten(1, 2) for feat in feats]  # (B, H * W, no), a view if channels-last
        dist, logits = (
            torch.cat([row[..., part] for row in rows], 1) for part in (slice(channels), slice(channels, None))
        )
        return _wide(dist), _wide(logits)

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


def _wide(x: Tensor) -> Tensor:
    """`x` in float32 at least."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _compact(keys: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """The distinct values of `keys` (all below `limit`), ascending, and each key's place among them."""
    seen = torch.zeros(limit, dtype=torch.bool, device=keys.device)
    seen[keys] = True
    place = seen.cumsum(0) - 1
    return seen.nonzero().flatten(), place[keys]
