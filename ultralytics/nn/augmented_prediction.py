"""Test-time augmentation: predictions for scaled and mirrored copies of the images, joined for non-maximum suppression.

B batch, C channels, H rows, W columns, A anchors, nc classes, nl levels of the pyramid.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

SCALES = (1.0, 0.83, 0.67)
FLIPS = (False, True, False)  # left and right swapped
PAD_VALUE = 0.447  # gray, the mean of ImageNet


def predict_augmented(predict: Callable[[Tensor], Tensor], x: Tensor, stride: int, nl: int) -> Tensor:
    """Boxes and scores for several scales of the images.

    Args:
        predict: images (B, C, H, W) -> (B, 4 + nc, A): center x, y, width, height in pixels, then class scores.
        x: images (B, C, H, W), sides a multiple of `stride`.
        stride: the largest stride of the network.
        nl: number of levels of the pyramid.

    Returns:
        (B, 4 + nc, A'), boxes in pixels of `x`.
    """
    W, outputs = x.shape[-1], []
    for scale, flip in zip(SCALES, FLIPS, strict=True):
        y = predict(_scaled(x.flip(3) if flip else x, scale, stride))
        boxes, scores = y[:, :4] / scale, y[:, 4:]
        if flip:
            boxes = torch.cat((W - boxes[:, :1], boxes[:, 1:]), 1)
        outputs.append(torch.cat((boxes, scores), 1))
    return torch.cat(_without_extremes(outputs, nl), 2)


def _scaled(x: Tensor, scale: float, multiple: int) -> Tensor:
    # shrinks, then pads right and below with gray to a multiple of the stride
    if scale == 1.0:
        return x
    H, W = x.shape[-2:]
    h, w = int(H * scale), int(W * scale)
    bottom, right = (math.ceil(side * scale / multiple) * multiple for side in (H, W))
    x = F.interpolate(x, (h, w), mode="bilinear", align_corners=False)
    return F.pad(x, (0, right - w, 0, bottom - h), value=PAD_VALUE)


def _without_extremes(outputs: list[Tensor], nl: int) -> list[Tensor]:
    # the largest image is unreliable for the largest instances, the smallest for the smallest: drop those anchors
    cells = sum(4**i for i in range(nl))  # of all levels, per cell of the coarsest
    coarsest = outputs[0].shape[-1] // cells
    finest = outputs[-1].shape[-1] // cells * 4 ** (nl - 1)
    return [outputs[0][..., : outputs[0].shape[-1] - coarsest], *outputs[1:-1], outputs[-1][..., finest:]]
