"""Anchor points of the feature maps, boxes as distances from them, and the task-aligned assigner.

Paper: C. Feng, Y. Zhong, Y. Gao, M. R. Scott, W. Huang, TOOD: Task-aligned One-stage Object Detection, 2021,
arXiv:2108.07755; the alignment metric is its equation (1), t = s^alpha * u^beta with score s and overlap u.

Dimensions: B pictures, A anchors of all levels, M slots for objects per picture (padded), N real objects of the batch,
K pairs of an object and an anchor inside it, P positive anchors, nc classes. Only the K pairs are ever scored: of all
B * M * A combinations they are a few per cent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ultralytics.utils.metrics import bbox_iou
from ultralytics.utils.rotated_boxes import probiou, xywhr2xyxyxyxy

_BIN_MARGIN = 0.01  # keeps a distance below the last bin, so that the bin to its right exists


def make_anchors(
    feats: Sequence[Tensor],
    strides: Sequence[float] | Tensor,
    grid_cell_offset: float = 0.5,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """Centres of all cells of the maps `feats` (B, C, H, W), level by level, row by row.

    Returns:
        (A, 2) x, y in cells of the own level and (A, 1) the level's stride, of `dtype` or else the maps' own.
    """
    points, steps = [], []
    for level, feat in enumerate(feats):
        like = feat.new_empty(0, dtype=dtype or feat.dtype)
        rows, columns = feat.shape[2:]
        y, x = (torch.arange(n, dtype=like.dtype, device=like.device) + grid_cell_offset for n in (rows, columns))
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        points.append(torch.stack((grid_x, grid_y), -1).flatten(0, 1))
        # a stride that lives on the device stays there: reading it would wait for the device
        steps.append(like.new_ones((rows * columns, 1)) * strides[level])
    return torch.cat(points), torch.cat(steps).to(points[0].dtype)


def dist2bbox(distance: Tensor, anchor_points: Tensor, xywh: bool = True, dim: int = -1) -> Tensor:
    """Distances left, top, right, bottom from anchors to boxes, xywh or corners, along `dim`."""
    to_low, to_high = distance.chunk(2, dim)
    if xywh:
        return torch.cat((anchor_points + (to_high - to_low) / 2, to_low + to_high), dim)
    return torch.cat((anchor_points - to_low, anchor_points + to_high), dim)


def bbox2dist(anchor_points: Tensor, bbox: Tensor, reg_max: int) -> Tensor:
    """Corner boxes to distances left, top, right, bottom from anchors, cut to 0 .. reg_max - 0.01."""
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
    """Every (object, anchor) with the anchor inside the object; also what is needed to come back from flat rows."""

    inside: Tensor  # (N, A) bool
    row: Tensor  # (K,) object, 0 .. N-1
    anchor: Tensor  # (K,)
    image: Tensor  # (N,) picture of an object
    slot: Tensor  # (N,) its place in the padded tensors


class Assigned(NamedTuple):
    """The positive anchors, sorted by picture and anchor."""

    image: Tensor  # (P,)
    anchor: Tensor  # (P,)
    slot: Tensor  # (P,) the object, as place in the padded tensors of its picture
    score: Tensor  # (P,) soft target of the object's class, also the weight in the box losses


class TaskAlignedAssigner(nn.Module):
    """Gives each object the `topk` anchors inside it whose predictions fit it best.

    Ties of metric 0 are settled by torch.topk over all anchors, as in 8.3.0: an object with fewer than `topk` fitting
    predictions can gain positives with target 0. They weigh nothing in detection, but may take part in a conflict.
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
        """Dense targets, for callers that want them; the losses use `pairs` and `choose`, which are sparse.

        Args:
            pd_scores: (B, A, nc) in 0..1.
            pd_bboxes: (B, A, 4) in pixels.
            anc_points: (A, 2) in pixels.
            gt_labels: (B, M, 1).
            gt_bboxes: (B, M, 4) in pixels.
            mask_gt: (B, M, 1) true where a slot holds an object.

        Returns:
            labels (B, A), boxes (B, A, 4), scores (B, A, nc), foreground (B, A) bool, object's slot (B, A). Without
            any slot: labels `bg_idx`, the rest zero (8.3.0 then returns floats throughout; here the types stay).
        """
        B, A = pd_scores.shape[:2]
        slot = torch.zeros((B, A), dtype=torch.long, device=pd_scores.device)
        foreground = torch.zeros((B, A), dtype=torch.bool, device=pd_scores.device)
        scores = torch.zeros_like(pd_scores)
        if not gt_bboxes.shape[1]:
            return torch.full_like(slot, self.bg_idx), torch.zeros_like(pd_bboxes), scores, foreground, slot
        pairs = self.pairs(anc_points, gt_bboxes, mask_gt)
        image = pairs.image[pairs.row]
        label = gt_labels[pairs.image, pairs.slot, 0].long().clamp_min(0)[pairs.row]
        chosen = self.choose(pairs, gt_bboxes, pd_scores[image, pairs.anchor, label], pd_bboxes[image, pairs.anchor])
        slot[chosen.image, chosen.anchor] = chosen.slot
        foreground[chosen.image, chosen.anchor] = True
        picture = torch.arange(B, device=slot.device)[:, None]
        labels = gt_labels[..., 0].long().clamp_min(0)[picture, slot]
        scores[chosen.image, chosen.anchor, labels[chosen.image, chosen.anchor]] = chosen.score.to(scores.dtype)
        return labels, gt_bboxes[picture, slot], scores, foreground, slot

    def pairs(self, anc_points: Tensor, gt_bboxes: Tensor, mask_gt: Tensor) -> Pairs:
        """The objects of the batch and the anchors inside each; arguments as of `forward`."""
        image, slot = mask_gt[..., 0].nonzero(as_tuple=True)
        inside = self.inside(anc_points, gt_bboxes[image, slot])
        row, anchor = inside.nonzero(as_tuple=True)
        return Pairs(inside, row, anchor, image, slot)

    @torch.no_grad()
    def choose(self, pairs: Pairs, gt_bboxes: Tensor, scores: Tensor, boxes: Tensor) -> Assigned:
        """The positives among `pairs`.

        Args:
            pairs: from `pairs`.
            gt_bboxes: (B, M, 4) in pixels, as given there.
            scores: (K,) the predicted score of the object's class, 0..1.
            boxes: (K, 4) the predicted box in pixels.
        """
        B, M = gt_bboxes.shape[:2]
        N, A = pairs.inside.shape
        if not N:
            none = pairs.row.new_zeros(0)
            return Assigned(none, none, none, boxes.new_zeros(0))
        fit = self.overlap(gt_bboxes[pairs.image, pairs.slot][pairs.row], boxes)
        where = (pairs.row, pairs.anchor)
        overlap = fit.new_zeros((N + 1, A)).index_put_(where, fit)  # row N is nobody: a slot without an object
        metric = fit.new_zeros((N + 1, A)).index_put_(where, scores.to(fit.dtype) ** self.alpha * fit**self.beta)

        best = metric[:N].topk(min(self.topk, A), dim=1).indices
        row, column = pairs.inside.gather(1, best).nonzero(as_tuple=True)
        cell = pairs.image[row] * A + best[row, column]  # a cell is an anchor of a picture
        owner = torch.full((B, M), N, device=cell.device)  # row of each slot
        owner[pairs.image, pairs.slot] = torch.arange(N, device=cell.device)
        cell, row, slot = self._settle(cell, row, pairs, owner, overlap)

        anchor = cell % A
        mine, covered = metric[row, anchor], overlap[row, anchor]
        top_metric = metric.new_zeros(N + 1).scatter_reduce_(0, row, mine, "amax")
        top_overlap = metric.new_zeros(N + 1).scatter_reduce_(0, row, covered, "amax")
        return Assigned(cell // A, anchor, slot, mine * top_overlap[row] / (top_metric[row] + self.eps))

    @staticmethod
    def _settle(
        cell: Tensor, row: Tensor, pairs: Pairs, owner: Tensor, overlap: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Each selected cell once, with the object that gets it, as row and as slot.

        A cell that several objects selected goes to the object of its picture that it overlaps most, even if that one
        did not select it; the first of equals.
        """
        A = overlap.shape[1]
        cells, times = cell.unique(return_counts=True)
        winner = torch.empty_like(cells)
        winner[torch.searchsorted(cells, cell)] = row  # right where there is one claim; the others follow
        slot = torch.cat((pairs.slot, pairs.slot.new_zeros(1)))[winner]
        disputed = (times > 1).nonzero().flatten()
        rivals = owner[cells[disputed] // A]  # (D, M) rows
        most = overlap[rivals, (cells[disputed] % A)[:, None]].argmax(1)
        winner[disputed] = rivals.gather(1, most[:, None])[:, 0]
        slot[disputed] = most
        return cells, winner, slot

    def inside(self, anc_points: Tensor, boxes: Tensor) -> Tensor:
        """(N, A) whether an anchor lies strictly inside a box of (N, 4)."""
        x, y = anc_points.unbind(-1)
        x1, y1, x2, y2 = boxes[..., None].unbind(1)  # (N, 1) each
        # x - x1 > eps, with the small tensor shifted instead of the large one subtracted; a rounded shift does no harm,
        # because two different float32 positions of at least half a pixel differ by more than eps
        return (x > x1 + self.eps) & (y > y1 + self.eps) & (x < x2 - self.eps) & (y < y2 - self.eps)

    def overlap(self, targets: Tensor, boxes: Tensor) -> Tensor:
        """(K,) CIoU of objects with the boxes predicted for them, negative values as 0."""
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
