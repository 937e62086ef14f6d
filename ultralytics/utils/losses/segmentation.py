"""The segmentation loss: the detection terms and a mask term over the positives.

Paper: D. Bolya et al., YOLACT: Real-time Instance Segmentation, 2019, arXiv:1904.02689 (masks as linear combinations of
prototypes, cropped to the box).

Dimensions: B images, A anchors, P positives of one image, nm coefficients, (h, w) rows and columns of the prototypes.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ultralytics.utils.losses.detection import Batch, DetectionTerms, v8DetectionLoss


class v8SegmentationLoss(v8DetectionLoss):
    """Criterion of segmentation heads; terms box, seg, cls, dfl."""

    def __init__(self, model: nn.Module) -> None:
        """As the base class; `model.args.overlap_mask` says what the batch's masks are."""
        super().__init__(model)
        settings: Any = model.args
        self.overlap = bool(settings.overlap_mask)

    def __call__(self, preds: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss of a batch.

        Args:
            preds: (list of maps per level, coefficients (B, nm, A), prototypes (B, nm, h, w)), or the evaluation tuple
                (output, that triple).
            batch: as of the base class, and `masks`: with overlap_mask (B, hm, wm) numbers 1, 2, ... of the image's
                instances in their order, 0 for background; else (n, hm, wm), one binary mask per instance.

        Returns:
            Sum of the four terms times B; and the terms box, seg, cls, dfl, detached.

        Raises:
            TypeError: the batch has no masks: the dataset has boxes and no polygons.
        """
        feats, coefficients, proto = preds if len(preds) == 3 else preds[1]
        if "masks" not in batch:
            raise TypeError(
                "the batch has no masks: a segmentation network needs a dataset whose label lines are polygons, "
                "'class x1 y1 x2 y2 x3 y3 ...'; with boxes only, train a detection network (task=detect)"
            )
        terms = self.detection(feats, batch)
        box, cls, dfl = terms.loss.unbind()
        seg = self.mask_term(terms, batch, coefficients.transpose(1, 2), proto) * self.hyp.box
        loss = torch.stack((box, seg, cls, dfl))
        return loss.sum() * len(proto), loss.detach()

    def mask_term(self, terms: DetectionTerms, batch: Batch, coefficients: Tensor, proto: Tensor) -> Tensor:
        """Mean over all positives of the batch of the mask loss; scalar.

        Args:
            terms: the detection terms.
            batch: has `masks` and `batch_idx`.
            coefficients: (B, A, nm).
            proto: (B, nm, h, w).
        """
        B, _, h, w = proto.shape
        image, anchor, slot, _ = terms.positives
        # every parameter takes part in the loss of every batch, also where an image has no positives
        total = (proto.sum() + coefficients.sum()) * 0.0
        if not len(image):
            return total
        masks = batch["masks"].to(proto.device)
        if masks.shape[-2:] != (h, w):
            masks = F.interpolate(masks[None].float(), (h, w), mode="nearest")[0]
        columns_rows = terms.imgsz[[1, 0, 1, 0]]
        boxes = terms.boxes / columns_rows  # 0..1
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        corners = boxes * boxes.new_tensor((w, h, w, h))
        for i in range(B):
            of_image = (image == i).nonzero().flatten()
            if not len(of_image):
                continue
            truth = self.image_masks(masks, batch, i, slot[of_image], terms.rows[of_image])
            total = total + self.single_mask_loss(
                truth, coefficients[i, anchor[of_image]], proto[i], corners[of_image], area[of_image]
            )
        return total / len(image)

    def image_masks(self, masks: Tensor, batch: Batch, image: int, slot: Tensor, rows: Tensor) -> Tensor:
        """(P, h, w) float, target masks of one image's positives, which belong to instances `slot` of the image."""
        if self.overlap:
            return (masks[image][None] == (slot + 1)[:, None, None]).float()
        return masks[rows].float()

    @staticmethod
    def single_mask_loss(gt_mask: Tensor, pred: Tensor, proto: Tensor, xyxy: Tensor, area: Tensor) -> Tensor:
        """Sum over one image's positives of binary cross-entropy within the box, relative to the box's area.

        Args:
            gt_mask: (P, h, w) 0 or 1.
            pred: (P, nm) coefficients.
            proto: (nm, h, w).
            xyxy: (P, 4) target boxes in pixels of the prototypes; a pixel c is inside if x1 <= c < x2.
            area: (P,) of the target boxes, in 0..1 of the image.
        """
        h, w = proto.shape[1:]
        logits = torch.einsum("pn,nhw->phw", pred, proto).float()
        x1, y1, x2, y2 = xyxy[:, :, None].unbind(1)
        columns, rows = (torch.arange(n, device=xyxy.device, dtype=xyxy.dtype) for n in (w, h))
        inside_x = ((columns >= x1) & (columns < x2)).to(logits.dtype)  # (P, w)
        inside_y = ((rows >= y1) & (rows < y2)).to(logits.dtype)  # (P, h)
        # BCE(x, t) = softplus(x) - x * t; summed over the rows and columns of the box
        entropy = F.softplus(logits) - logits * gt_mask
        within = torch.einsum("phw,ph,pw->p", entropy, inside_y, inside_x)
        return (within / (h * w) / area).sum()
