"""Blending an image with the masks of its instances."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ultralytics.utils.letterbox import letterbox_window
from ultralytics.utils.palette import RGB

Array = np.ndarray


def blend_masks(im: Array, masks: Array, mask_colors: Sequence[RGB], alpha: float, letterboxed: bool) -> None:
    """Blend `im` with masks in place, the first mask on top.

    Args:
        im: (H, W, 3) uint8.
        masks: (n, h, w) bool.
        mask_colors: one per mask, in the channel order of `im`.
        alpha: opacity of a mask.
        letterboxed: the masks have the borders that a letterboxed form of `im` of their size has.
    """
    layer, rest = _composite(masks, mask_colors, alpha)
    height, width = im.shape[:2]
    if letterboxed and layer.shape[:2] != (height, width):
        gain, left, top = letterbox_window((height, width), layer.shape[:2])
        # the letterbox rounds its borders to round(x - 0.1) on the left and top
        rows = slice(round(top - 0.1), round(top + height * gain + 0.1))
        columns = slice(round(left - 0.1), round(left + width * gain + 0.1))
        layer, rest = layer[rows, columns], rest[rows, columns]
    if layer.shape[:2] != (height, width):
        layer, rest = (cv2.resize(x, (width, height), interpolation=cv2.INTER_LINEAR) for x in (layer, rest))
    im[:] = np.rint(im * rest[..., None] + layer)


def _composite(masks: Array, mask_colors: Sequence[RGB], alpha: float) -> tuple[Array, Array]:
    """Masks (n, h, w) bool on top of each other: (h, w, 3) color, and (h, w) opacity left for what is behind them."""
    height, width = masks.shape[1:]
    layer, rest = np.zeros((height, width, 3), np.float32), np.ones((height, width), np.float32)
    for mask, color in list(zip(masks, mask_colors, strict=True))[::-1]:
        x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
        window = slice(y, y + h), slice(x, x + w)
        opacity = mask[window].astype(np.float32) * np.float32(alpha)
        layer[window] += (np.asarray(color, np.float32) - layer[window]) * opacity[..., None]
        rest[window] *= 1 - opacity
    return layer, rest
