"""Instance masks: from coefficients and prototypes to masks, to the image's size, to polygons, and their overlap.

Dimensions: n instances, nm coefficients, (h, w) rows and columns of the prototypes, (H, W) of the input or the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Crop = Literal["box", "margin", "none"]
RatioPad = tuple[tuple[float, float], tuple[float, float]]  # (scale of height, of width), (left, top) of a letterbox
_CHUNK_ELEMENTS = 1 << 26  # float32 values of upsampled masks that exist at a time (256 MiB)
_MARGIN = 0.1  # share of the box's side that crop="margin" adds on each side
_PAD_ROUNDING = 0.1  # the letterbox rounds its border to round(x - 0.1) on the left and top


def crop_mask(masks: Tensor, boxes: Tensor) -> Tensor:
    """Masks that are 0 outside their boxes.

    Args:
        masks: (n, h, w) any dtype; not changed.
        boxes: (n, 4) x1, y1, x2, y2 in pixels of the masks; a pixel with index c belongs to the box if x1 <= c < x2.
    """
    h, w = masks.shape[1:]
    x1, y1, x2, y2 = boxes[:, :, None].unbind(1)  # (n, 1) each
    columns = torch.arange(w, device=masks.device, dtype=boxes.dtype)
    rows = torch.arange(h, device=masks.device, dtype=boxes.dtype)
    inside_x = (columns >= x1) & (columns < x2)  # (n, w)
    inside_y = (rows >= y1) & (rows < y2)  # (n, h)
    return masks * (inside_y[:, :, None] & inside_x[:, None, :]).to(masks.dtype)


def process_mask(
    protos: Tensor,
    masks_in: Tensor,
    bboxes: Tensor,
    shape: Sequence[int],
    upsample: bool = False,
    crop: Crop = "box",
) -> Tensor:
    """Binary masks of one image at the prototypes' or the input's size.

    Args:
        protos: (nm, h, w) prototypes.
        masks_in: (n, nm) coefficients of the instances.
        bboxes: (n, 4) x1, y1, x2, y2 in pixels of the network's input.
        shape: (H, W) of the network's input.
        upsample: give masks of `shape` (bilinear, align_corners False); else of the prototypes' size.
        crop: "box" cuts a mask at its box as 8.3.0 does, "margin" at a box larger by a tenth on each side, "none" does
            not cut.

    Returns:
        (n, h, w) or (n, H, W) bool; where coefficients times prototypes is above 0.
    """
    nm, h, w = protos.shape
    scale = bboxes.new_tensor((w / shape[1], h / shape[0], w / shape[1], h / shape[0]))
    boxes = _crop_boxes(bboxes, crop) * scale
    parts = []
    size = (int(shape[0]), int(shape[1])) if upsample else (h, w)
    for rows in _chunks(len(masks_in), size):
        logits = (masks_in[rows].float() @ protos.float().view(nm, -1)).view(-1, h, w)
        if crop != "none":
            logits = crop_mask(logits, boxes[rows])
        if upsample:
            logits = F.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]
        parts.append(logits > 0)
    return torch.cat(parts) if parts else torch.zeros((0, *size), dtype=torch.bool, device=protos.device)


def process_mask_native(
    protos: Tensor,
    masks_in: Tensor,
    bboxes: Tensor,
    shape: Sequence[int],
    crop: Crop = "box",
    input_shape: Sequence[int] | None = None,
    ratio_pad: RatioPad | None = None,
) -> Tensor:
    """Binary masks of one image at the original image's size.

    Args:
        protos: (nm, h, w) prototypes.
        masks_in: (n, nm) coefficients.
        bboxes: (n, 4) x1, y1, x2, y2 in pixels of the original image.
        shape: (H, W) of the original image.
        crop: as in `process_mask`.
        input_shape: (H, W) of the network's input, from which the letterbox's border follows exactly; without it the
            border is derived from the prototypes' size, as 8.3.0 does.
        ratio_pad: as in `scale_masks`.

    Returns:
        (n, H, W) bool.
    """
    nm, h, w = protos.shape
    boxes = _crop_boxes(bboxes, crop)
    parts = []
    for rows in _chunks(len(masks_in), shape):
        logits = (masks_in[rows].float() @ protos.float().view(nm, -1)).view(-1, h, w)
        logits = scale_masks(logits[None], shape, input_shape=input_shape, ratio_pad=ratio_pad)[0]
        if crop != "none":
            logits = crop_mask(logits, boxes[rows])
        parts.append(logits > 0)
    return torch.cat(parts) if parts else torch.zeros((0, *shape), dtype=torch.bool, device=protos.device)


def scale_masks(
    masks: Tensor,
    shape: Sequence[int],
    padding: bool = True,
    input_shape: Sequence[int] | None = None,
    ratio_pad: RatioPad | None = None,
) -> Tensor:
    """Masks without the letterbox's border, at the size of the original image.

    Args:
        masks: (B, n, h, w) float values over the letterboxed image.
        shape: (H, W) of the original image.
        padding: whether the letterbox centered the image; False: the border is at the right and the bottom only.
        input_shape: (H, W) of the letterboxed image in pixels. A border that is an odd number of pixels ends between
            two cells of the masks; with this argument the masks are cut there exactly. Without it the border is cut to
            whole cells, as 8.3.0 does, and masks may be shifted by up to a cell.
        ratio_pad: scale and border of the letterbox, if they do not follow from the two shapes: a validation batch has
            the shape of its largest image. Needs `input_shape`.

    Returns:
        (B, n, H, W), bilinear.
    """
    h, w = masks.shape[2:]
    if input_shape is None:
        gain = min(h / shape[0], w / shape[1])
        pad_x, pad_y = w - shape[1] * gain, h - shape[0] * gain
        if padding:
            pad_x, pad_y = pad_x / 2, pad_y / 2
        top, left = (int(pad_y), int(pad_x)) if padding else (0, 0)
        cut = masks[..., top : int(h - pad_y), left : int(w - pad_x)]
        return F.interpolate(cut, (int(shape[0]), int(shape[1])), mode="bilinear", align_corners=False)
    if ratio_pad is None:
        gain = min(input_shape[0] / shape[0], input_shape[1] / shape[1])
        ratio_pad = (gain, gain), _border(shape, input_shape, gain) if padding else (0, 0)
    return _sample_exactly(masks, shape, input_shape, ratio_pad)


def masks2segments(masks: Tensor | np.ndarray, strategy: Literal["largest", "all"] = "largest") -> list[np.ndarray]:
    """Outlines of binary masks.

    Args:
        masks: (n, H, W).
        strategy: "largest" gives the outer contour with the most points, as 8.3.0 does; "all" joins all outer contours.

    Returns:
        n arrays (k, 2) float32 x, y in pixels of the mask; (0, 2) for an empty mask.
    """
    array = masks.cpu().numpy() if isinstance(masks, Tensor) else masks
    segments = []
    for mask in array.astype(np.uint8):
        contours = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
        points = [contour.reshape(-1, 2) for contour in contours]
        if not points:
            segments.append(np.zeros((0, 2), np.float32))
        elif strategy == "all":
            segments.append(np.concatenate(points).astype(np.float32))
        else:
            segments.append(max(points, key=len).astype(np.float32))
    return segments


def mask_iou(mask1: Tensor, mask2: Tensor, eps: float = 1e-7) -> Tensor:
    """(n, m) IoU of binary masks given as rows (n, pixels) and (m, pixels)."""
    a, b = mask1.float(), mask2.float()
    intersection = (a @ b.T).clamp(min=0)
    union = a.sum(1)[:, None] + b.sum(1)[None] - intersection
    return intersection / (union + eps)


def _crop_boxes(boxes: Tensor, crop: Crop) -> Tensor:
    if crop != "margin":
        return boxes
    grow = (boxes[:, 2:] - boxes[:, :2]) * _MARGIN
    return torch.cat((boxes[:, :2] - grow, boxes[:, 2:] + grow), 1)


def _chunks(n: int, size: Sequence[int]) -> list[slice]:
    step = max(_CHUNK_ELEMENTS // max(int(size[0]) * int(size[1]), 1), 1)
    return [slice(start, start + step) for start in range(0, n, step)]


def _border(shape: Sequence[int], input_shape: Sequence[int], gain: float) -> tuple[int, int]:
    """Left and top border of a centered letterbox in pixels."""
    top, left = (
        round((full - round(side * gain)) / 2 - _PAD_ROUNDING) for side, full in zip(shape, input_shape, strict=True)
    )
    return left, top


def _sample_exactly(masks: Tensor, shape: Sequence[int], input_shape: Sequence[int], ratio_pad: RatioPad) -> Tensor:
    """Read the masks at the centers of the original image's pixels, through the letterbox's geometry."""
    h, w = masks.shape[2:]
    ratios, (left, top) = ratio_pad
    grids = []
    for side, full, cells, ratio, border in zip(shape, input_shape, (h, w), ratios, (top, left), strict=True):
        resized = round(side * ratio)
        centers = (torch.arange(int(side), device=masks.device, dtype=torch.float32) + 0.5) * (resized / side) + border
        # the image's content ends where its border begins: a sample never mixes in the gray
        low, high = border * cells / full + 0.5, (border + resized) * cells / full - 0.5
        cell = (centers * (cells / full)).clamp(min(low, high), max(low, high))
        grids.append(cell * 2 / cells - 1)
    grid = torch.stack(torch.meshgrid(grids[1], grids[0], indexing="xy"), -1)  # (H, W, 2) x, y in -1..1
    grid = grid[None].expand(len(masks), -1, -1, -1).to(masks.dtype)
    return F.grid_sample(masks, grid, mode="bilinear", padding_mode="border", align_corners=False)
