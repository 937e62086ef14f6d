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

Batch = Mapping[str, Any]
ASSIGNER_ALPHA, ASSIGNER_BETA = (
    0.5,
    6.0,
)  # exponents of score and overlap in the assigner's metric, 8.3.0's choice for all tasks


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
        return box, self.distance_term(pred_dist, anchor_points, target_bboxes, weight)

    def distance_term(self, pred_dist: Tensor, anchor_points: Tensor, corners: Tensor, weight: Tensor) -> Tensor:
        """The distance term for target corners (P, 4) in cells; 0 without distributions."""
        if self.dfl_loss is None:
            return weight.new_zeros(())
        reg_max = self.dfl_loss.reg_max
        sides = bbox2dist(anchor_points, corners, reg_max - 1)
        return (self.dfl_loss(pred_dist.reshape(-1, reg_max), sides)[:, 0] * weight).sum()


class Targets(NamedTuple):
    """The labeled instances of a batch in tensors padded to the image that has most."""

    labels: Tensor  # (B, M, 1) class
    boxes: Tensor  # (B, M, 4) x1, y1, x2, y2 in pixels; for oriented boxes (B, M, 5) xywhr
    mask: Tensor  # (B, M, 1) bool, True where a slot holds an instance
    rows: Tensor  # (B, M) row of the instance in the batch's `cls` and its like; 0 in empty slots


class Predictions(NamedTuple):
    """Raw outputs of the head for every anchor."""

    dist: Tensor  # (B, A, 4 * reg_max) logits of the distances
    logits: Tensor  # (B, A, nc) class logits
    anchors: Tensor  # (A, 2) x, y in cells
    strides: Tensor  # (A, 1)
    angle: Tensor | None = None  # (B, A) radians, oriented boxes only


class DetectionTerms(NamedTuple):
    """The detection terms, and what a task that adds terms of its own needs to know."""

    loss: Tensor  # (3,) box, cls, dfl, gains applied
    positives: Assignment
    boxes: Tensor  # (P, 4 or 5) target box of each positive, in pixels
    rows: Tensor  # (P,) row of the positive's instance in the batch
    predictions: Predictions
    imgsz: Tensor  # (2,) rows, columns of the network's input


class DetectionHead(Protocol):
    """What the criterion reads from a detection head."""

    stride: Tensor  # (number of levels,)
    nc: int
    reg_max: int


class LossGains(Protocol):
    """Weights of the loss terms; the last two are of poses."""

    box: float
    cls: float
    dfl: float
    pose: float
    kobj: float


class v8DetectionLoss:
    """Criterion of anchor-free detection heads; call it with a network's output and a batch."""

    box_numbers = 4  # of a target box

    def __init__(self, model: nn.Module, tal_topk: int = 10) -> None:
        """Read the settings of a network.

        Args:
            model: has `args` (gains box, cls, dfl) and a detection head last in `model.model`.
            tal_topk: anchors that the assigner gives to an instance.
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
        self.assigner = self.make_assigner(tal_topk)
        self.bbox_loss = self.make_bbox_loss().to(self.device)
        self.proj = torch.arange(self.reg_max, dtype=torch.float, device=self.device)

    def make_assigner(self, topk: int) -> TaskAlignedAssigner:
        """Assigner of anchors to instances."""
        return TaskAlignedAssigner(topk=topk, num_classes=self.nc, alpha=ASSIGNER_ALPHA, beta=ASSIGNER_BETA)

    def make_bbox_loss(self) -> BboxLoss:
        """Box and distance terms."""
        return BboxLoss(self.reg_max)

    def __call__(self, preds: Any, batch: Batch) -> tuple[Tensor, Tensor]:
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

    def detection(self, feats: Sequence[Tensor], batch: Batch, angle: Tensor | None = None) -> DetectionTerms:
        """The three detection terms and the assignment they rest on.

        Args:
            feats: list of (B, 4 * reg_max + nc, H, W) per level.
            batch: as in the call.
            angle: (B, A) predicted angles in radians, oriented boxes only.
        """
        dist, logits = _FlattenLevels.apply(self.reg_max * 4, *feats)
        anchors, strides = make_anchors(feats, self.stride, 0.5, dtype=dist.dtype)
        predictions = Predictions(dist, logits, anchors, strides, angle)
        imgsz = strides[0] * strides.new_tensor(feats[0].shape[2:])
        targets = self.build_targets(batch, len(dist), imgsz)
        positives = self.assign(predictions, targets)

        image, anchor, slot, score = positives
        boxes, label = targets.boxes[image, slot], targets.labels[image, slot, 0].long()
        total = score.sum().clamp_min(1)
        # sum of BCE(x, t) = sum of softplus(x) - sum of x * t, and t differs from 0 at the positives only
        cls = F.softplus(logits).sum() - (logits[image, anchor, label] * score).sum()
        in_cells = torch.cat((boxes[:, :4] / strides[anchor], boxes[:, 4:]), 1)
        predicted = self.decode(predictions, image, anchor)
        box, dfl = self.bbox_loss(dist[image, anchor], predicted, anchors[anchor], in_cells, score)
        gains = box.new_tensor((self.hyp.box, self.hyp.cls, self.hyp.dfl))
        loss = torch.stack((box, cls, dfl)) / total * gains
        return DetectionTerms(loss, positives, boxes, targets.rows[image, slot], predictions, imgsz)

    def build_targets(self, batch: Batch, batch_size: int, imgsz: Tensor) -> Targets:
        """The batch's instances, padded, in pixels of a network input of `imgsz` (rows, columns), on its device."""
        parts = (batch["batch_idx"].view(-1, 1), batch["cls"].view(-1, 1), batch["bboxes"].view(-1, self.box_numbers))
        instances = torch.cat([part.to(imgsz) for part in parts], 1)
        rows = torch.arange(len(instances), device=imgsz.device)
        if (valid := self.valid(instances, imgsz)) is not None:
            instances, rows = instances[valid], rows[valid]
        padded = self.preprocess(instances, batch_size, imgsz[[1, 0, 1, 0]])
        image, slot = _slots(instances[:, 0].long(), batch_size)
        padded_rows = rows.new_zeros(padded.shape[:2])
        padded_rows[image, slot] = rows
        labels, boxes = padded[..., :1], padded[..., 1:]
        return Targets(labels, boxes, boxes.sum(2, keepdim=True) > 0, padded_rows)

    def valid(self, instances: Tensor, imgsz: Tensor) -> Tensor | None:
        """(n,) bool, which instances count; None for all. `instances` are (n, 6 or 7) image, class, box in 0..1."""
        return None

    def preprocess(self, targets: Tensor, batch_size: int, scale_tensor: Tensor) -> Tensor:
        """(n, 6) image, class, xywh in 0..1 -> (B, M, 5) class, corners in pixels; rows keep their order."""
        return pad_targets(targets, xywh2xyxy(targets[:, 2:6] * scale_tensor), batch_size)

    @torch.no_grad()
    def assign(self, predictions: Predictions, targets: Targets) -> Assignment:
        """Positive anchors; boxes are decoded only for anchors that lie in some instance."""
        B, A = predictions.logits.shape[:2]
        pairs = self.assigner.find_pairs(predictions.anchors * predictions.strides, targets.boxes, targets.mask)
        image = pairs.image[pairs.row]
        label = targets.labels[pairs.image, pairs.slot, 0].long()[pairs.row]
        scores = predictions.logits[image, pairs.anchor, label].sigmoid()
        cells, back = _unique(image * A + pairs.anchor, B * A)
        boxes = self.decode(predictions, cells // A, cells % A)
        strides = predictions.strides[cells % A]
        boxes = torch.cat((boxes[:, :4] * strides, boxes[:, 4:]), 1)
        return self.assigner.select(pairs, targets.boxes, scores, boxes[back].to(targets.boxes.dtype))

    def decode(self, predictions: Predictions, image: Tensor, anchor: Tensor) -> Tensor:
        """Boxes (P, 4) in cells that are predicted at anchors (P,) of images (P,)."""
        return self.bbox_decode(predictions.anchors[anchor], predictions.dist[image, anchor])

    def bbox_decode(self, anchor_points: Tensor, pred_dist: Tensor) -> Tensor:
        """Distance logits (..., 4 * reg_max), or plain distances without DFL, to corners in cells."""
        return dist2bbox(self.distances(pred_dist), anchor_points, xywh=False)

    def distances(self, pred_dist: Tensor) -> Tensor:
        """Distance logits (..., 4 * reg_max) to distances (..., 4) in cells: the mean of each distribution."""
        if not self.use_dfl:
            return pred_dist
        bins = _at_least_float32(pred_dist).unflatten(-1, (4, self.reg_max)).softmax(-1)
        # not a matrix product, which autocast would compute in half precision: centers would move by pixels
        return (bins * self.proj.to(bins.dtype)).sum(-1)


def _slots(image: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
    """Image and slot (n,) each of the instances of images (n,): the order within an image is kept."""
    counts = image.bincount(minlength=batch_size)
    order = image.argsort(stable=True)
    slot = torch.empty_like(image)
    slot[order] = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[image[order]]
    return image, slot


def pad_targets(targets: Tensor, boxes: Tensor, batch_size: int) -> Tensor:
    """(n, 2 + ...) image, class, ... and boxes (n, k) in pixels -> (B, M, 1 + k) class, box; zeros in empty slots."""
    image, slot = _slots(targets[:, 0].long(), batch_size)
    most = int(slot.max()) + 1 if len(slot) else 0
    padded = targets.new_zeros((batch_size, most, 1 + boxes.shape[1]))
    padded[image, slot] = torch.cat((targets[:, 1:2], boxes), 1)
    return padded


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
