"""Anchor points of the feature maps, boxes as distances from them, and the task-aligned assigner.

Paper: C. Feng, Y. Zhong, Y. Gao, M. R. Scott, W. Huang, TOOD: Task-aligned One-stage Object Detection, 2021,
arXiv:2108.07755; the alignment metric is its equation (1), t = s^alpha * u^beta with score s and IoU u.

Dimensions: B images, A anchors of all levels, M slots for instances per image (padded), N instances of the batch,
K pairs of an instance and an anchor inside it, P positive anchors, nc classes. Only the K pairs are scored, which are a
few percent of all B * M * A combinations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ultralytics.utils.iou import bbox_iou
from ultralytics.utils.rotated_boxes import probiou, xywhr2xyxyxyxy

_BIN_MARGIN = 0.01  # keeps a distance below the last bin, so that the bin to its right exists


def make_anchors(
    feats: Sequence[Tensor],
    strides: Sequence[float] | Tensor,
    grid_cell_offset: float = 0.5,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """Centers of all cells of the maps `feats` (B, C, H, W), level by level, row by row.

    Returns:
        (A, 2) x, y in cells of their level and (A, 1) stride of the level, of `dtype` (default: that of the maps).
    """
    points, steps = [], []
    for level, feat in enumerate(feats):
        like = feat.new_empty(0, dtype=dtype or feat.dtype)
        rows, columns = feat.shape[2:]
        y, x = (torch.arange(n, dtype=like.dtype, device=like.device) + grid_cell_offset for n in (rows, columns))
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        points.append(torch.stack((grid_x, grid_y), -1).flatten(0, 1))
        # no conversion of the stride to a Python number, which would synchronize with the device
        steps.append(like.new_ones((rows * columns, 1)) * strides[level])
    return torch.cat(points), torch.cat(steps).to(points[0].dtype)


def dist2bbox(distance: Tensor, anchor_points: Tensor, xywh: bool = True, dim: int = -1) -> Tensor:
    """Distances left, top, right, bottom from anchors to boxes, xywh or corners, along `dim`."""
    to_low, to_high = distance.chunk(2, dim)
    if xywh:
        return torch.cat((anchor_points + (to_high - to_low) / 2, to_low + to_high), dim)
    return torch.cat((anchor_points - to_low, anchor_points + to_high), dim)


def bbox2dist(anchor_points: Tensor, bbox: Tensor, reg_max: int) -> Tensor:
    """Corner boxes to distances left, top, right, bottom from anchors, clipped to 0..reg_max - 0.01."""
    low, high = bbox.chunk(2, -1)
    return torch.cat((anchor_points - low, high - anchor_points), -1).clamp(0, reg_max - _BIN_MARGIN)


def dist2rbox(pred_dist: Tensor, pred_angle: Tensor, anchor_points: Tensor, dim: int = -1) -> Tensor:
    """Distances from anchors, measured along the sides of a turned box, to its center and size.

    Args:
        pred_dist: (..., 4) left, top, right, bottom in cells, along `dim`.
        pred_angle: (..., 1) radians.
        anchor_points: (..., 2) x, y in cells.
        dim: dimension of the coordinates.

    Returns:
        (..., 4) xywh in cells.
    """
    low, high = pred_dist.chunk(2, dim)
    cos, sin = pred_angle.cos(), pred_angle.sin()
    x, y = ((high - low) / 2).chunk(2, dim)
    return torch.cat((torch.cat((x * cos - y * sin, x * sin + y * cos), dim) + anchor_points, low + high), dim)


class Pairs(NamedTuple):
    """Every pair of an instance and an anchor inside it, and where the instances are in the padded tensors."""

    inside: Tensor  # (N, A) bool
    row: Tensor  # (K,) instance, 0..N-1
    anchor: Tensor  # (K,) anchor
    image: Tensor  # (N,) image of the instance
    slot: Tensor  # (N,) index of the instance in the padded tensors


class Assignment(NamedTuple):
    """The positive anchors, sorted by image and anchor."""

    image: Tensor  # (P,)
    anchor: Tensor  # (P,)
    slot: Tensor  # (P,) the instance, as index in the padded tensors of its image
    score: Tensor  # (P,) soft target of the instance's class, also the weight in the box losses


class TaskAlignedAssigner(nn.Module):
    """Assigns to each instance the `topk` anchors inside it with the highest alignment metric.

    Ties of metric 0 are broken by torch.topk over all anchors, as in 8.3.0: an instance with fewer than `topk` anchors
    of nonzero metric can get positives with target 0. They do not contribute to the detection loss, but may take part
    in a conflict between instances.

    Attributes:
        topk: anchors per instance.
        num_classes: number of classes.
        bg_idx: class index of the background in dense targets.
        alpha: exponent of the score.
        beta: exponent of the IoU.
        eps: margin in pixels by which an anchor must be inside a box, and minimum of a divisor.
    """

    def __init__(
        self, topk: int = 13, num_classes: int = 80, alpha: float = 1.0, beta: float = 6.0, eps: float = 1e-9
    ) -> None:
        super().__init__()
        self.topk = topk
        self.num_classes = num_classes
        self.bg_idx = num_classes
        self.alpha = alpha
        self.beta = beta
        self.eps = eps

    @torch.no_grad()
    def forward(
        self,
        pd_scores: Tensor,
        pd_bboxes: Tensor,
        anc_points: Tensor,
        gt_labels: Tensor,
        gt_bboxes: Tensor,
        mask_gt: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Dense targets, the interface of 8.3.0; the losses use `find_pairs` and `select`, which are sparse.

        Args:
            pd_scores: (B, A, nc) in 0..1.
            pd_bboxes: (B, A, 4) in pixels.
            anc_points: (A, 2) in pixels.
            gt_labels: (B, M, 1).
            gt_bboxes: (B, M, 4) in pixels.
            mask_gt: (B, M, 1) true where a slot contains an instance.

        Returns:
            labels (B, A), boxes (B, A, 4), scores (B, A, nc), foreground (B, A) bool, slot of the instance (B, A). If
            M is 0: labels `bg_idx`, the rest zero (8.3.0 then returns floats throughout; here dtypes do not change).
        """
        B, A = pd_scores.shape[:2]
        slot = torch.zeros((B, A), dtype=torch.long, device=pd_scores.device)
        foreground = torch.zeros((B, A), dtype=torch.bool, device=pd_scores.device)
        scores = torch.zeros_like(pd_scores)
        if not gt_bboxes.shape[1]:
            return torch.full_like(slot, self.bg_idx), torch.zeros_like(pd_bboxes), scores, foreground, slot
        pairs = self.find_pairs(anc_points, gt_bboxes, mask_gt)
        image = pairs.image[pairs.row]
        label = gt_labels[pairs.image, pairs.slot, 0].long().clamp_min(0)[pairs.row]
        selected = self.select(pairs, gt_bboxes, pd_scores[image, pairs.anchor, label], pd_bboxes[image, pairs.anchor])
        slot[selected.image, selected.anchor] = selected.slot
        foreground[selected.image, selected.anchor] = True
        images = torch.arange(B, device=slot.device)[:, None]
        labels = gt_labels[..., 0].long().clamp_min(0)[images, slot]
        scores[selected.image, selected.anchor, labels[selected.image, selected.anchor]] = selected.score.to(
            scores.dtype
        )
        return labels, gt_bboxes[images, slot], scores, foreground, slot

    def find_pairs(self, anc_points: Tensor, gt_bboxes: Tensor, mask_gt: Tensor) -> Pairs:
        """The instances of the batch and the anchors inside each; arguments as of `forward`."""
        image, slot = mask_gt[..., 0].nonzero(as_tuple=True)
        inside = self.inside(anc_points, gt_bboxes[image, slot])
        row, anchor = inside.nonzero(as_tuple=True)
        return Pairs(inside, row, anchor, image, slot)

    @torch.no_grad()
    def select(self, pairs: Pairs, gt_bboxes: Tensor, scores: Tensor, boxes: Tensor) -> Assignment:
        """The positives among `pairs`.

        Args:
            pairs: from `find_pairs`.
            gt_bboxes: (B, M, 4) in pixels, as passed to `find_pairs`.
            scores: (K,) predicted score of the instance's class, 0..1.
            boxes: (K, 4) predicted box in pixels.
        """
        B, M = gt_bboxes.shape[:2]
        N, A = pairs.inside.shape
        if not N:
            none = pairs.row.new_zeros(0)
            return Assignment(none, none, none, boxes.new_zeros(0))
        iou = self.overlap(gt_bboxes[pairs.image, pairs.slot][pairs.row], boxes)
        index = (pairs.row, pairs.anchor)
        overlap = iou.new_zeros((N + 1, A)).index_put_(index, iou)  # row N stands for slots without an instance
        metric = iou.new_zeros((N + 1, A)).index_put_(index, scores.to(iou.dtype) ** self.alpha * iou**self.beta)

        best = metric[:N].topk(min(self.topk, A), dim=1).indices
        row, column = pairs.inside.gather(1, best).nonzero(as_tuple=True)
        cell = pairs.image[row] * A + best[row, column]  # an anchor of an image
        rows = torch.full((B, M), N, device=cell.device)  # row of each slot
        rows[pairs.image, pairs.slot] = torch.arange(N, device=cell.device)
        cell, row, slot = self._resolve_conflicts(cell, row, pairs, rows, overlap)

        anchor = cell % A
        row_metric, row_overlap = metric[row, anchor], overlap[row, anchor]
        max_metric = metric.new_zeros(N + 1).scatter_reduce_(0, row, row_metric, "amax")
        max_overlap = metric.new_zeros(N + 1).scatter_reduce_(0, row, row_overlap, "amax")
        return Assignment(cell // A, anchor, slot, row_metric * max_overlap[row] / (max_metric[row] + self.eps))

    @staticmethod
    def _resolve_conflicts(
        cell: Tensor, row: Tensor, pairs: Pairs, rows: Tensor, overlap: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Each selected cell once, with its instance as row and as slot.

        A cell that several instances selected is assigned to the instance of its image with the highest IoU, even if
        that one did not select it; of ties to the first.
        """
        A = overlap.shape[1]
        cells, counts = cell.unique(return_counts=True)
        winner = torch.empty_like(cells)
        winner[torch.searchsorted(cells, cell)] = row  # final for cells selected once; the others are set below
        slot = torch.cat((pairs.slot, pairs.slot.new_zeros(1)))[winner]
        conflicts = (counts > 1).nonzero().flatten()
        candidates = rows[cells[conflicts] // A]  # (D, M) rows
        best = overlap[candidates, (cells[conflicts] % A)[:, None]].argmax(1)
        winner[conflicts] = candidates.gather(1, best[:, None])[:, 0]
        slot[conflicts] = best
        return cells, winner, slot

    def inside(self, anc_points: Tensor, boxes: Tensor) -> Tensor:
        """(N, A) whether an anchor lies strictly inside a box of (N, 4)."""
        x, y = anc_points.unbind(-1)
        x1, y1, x2, y2 = boxes[..., None].unbind(1)  # (N, 1) each
        # x > x1 + eps instead of x - x1 > eps avoids a large temporary; rounding of the sum does not matter, because
        # different float32 positions of at least half a pixel differ by more than eps
        return (x > x1 + self.eps) & (y > y1 + self.eps) & (x < x2 - self.eps) & (y < y2 - self.eps)

    def overlap(self, targets: Tensor, boxes: Tensor) -> Tensor:
        """(K,) CIoU of target boxes with predicted boxes (K, 4), negative values as 0."""
        return bbox_iou(targets, boxes, xywh=False, CIoU=True)[:, 0].clamp_min(0)


class RotatedTaskAlignedAssigner(TaskAlignedAssigner):
    """The same for oriented boxes xywhr: ProbIoU is the overlap, and anchors inside the turned box are candidates."""

    def inside(self, anc_points: Tensor, boxes: Tensor) -> Tensor:
        """(N, A) whether an anchor lies inside a box of (N, 5), its border included."""
        corners = xywhr2xyxyxyxy(boxes)  # (N, 4, 2)
        a, b, d = corners[:, None, 0], corners[:, None, 1], corners[:, None, 3]
        ab, ad, ap = b - a, d - a, anc_points[None] - a
        along, across = (ap * ab).sum(-1), (ap * ad).sum(-1)
        return (along >= 0) & (along <= ab.square().sum(-1)) & (across >= 0) & (across <= ad.square().sum(-1))

    def overlap(self, targets: Tensor, boxes: Tensor) -> Tensor:
        """(K,) ProbIoU of oriented boxes with those predicted for them."""
        return probiou(targets, boxes)[:, 0].clamp_min(0)
