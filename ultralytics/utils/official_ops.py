"""Functions of 8.3.0's `utils.ops` and `utils.metrics` for scripts, which this package does not use itself."""

from __future__ import annotations

import re
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from ultralytics.utils.boxes import Boxes

_SPECIAL = re.compile("[|@#!¡·$€%&()=?¿^*;:,¨´><+]")


def scale_image(
    masks: np.ndarray, im0_shape: Sequence[int], ratio_pad: tuple[Sequence[float], Sequence[float]] | None = None
) -> np.ndarray:
    """Masks over a letterboxed image at the size of the original image.

    Args:
        masks: (h, w) or (h, w, n).
        im0_shape: (H, W) of the original image.
        ratio_pad: ((gain, ...), (left, top)) of the letterbox; None computes them from the two shapes.

    Returns:
        (H, W, n), bilinear, n is 1 for (h, w); masks that have the size already are returned as they are.
    """
    h, w = masks.shape[:2]
    height, width = (int(side) for side in im0_shape[:2])
    if (h, w) == (height, width):
        return masks
    if ratio_pad is None:
        gain = min(h / height, w / width)
        left, top = (w - width * gain) / 2, (h - height * gain) / 2
    else:
        left, top = ratio_pad[1]
    cut = masks[int(top) : int(h - top), int(left) : int(w - left)]
    scaled = cv2.resize(cut, (width, height))
    return scaled[:, :, None] if scaled.ndim == 2 else scaled


def clip_coords(coords: Boxes, shape: Sequence[int]) -> Boxes:
    """Points (..., 2 or more) x, y clipped, in place, to an image of `shape` (height, width, ...)."""
    coords[..., 0] = coords[..., 0].clip(0, shape[1])
    coords[..., 1] = coords[..., 1].clip(0, shape[0])
    return coords


def convert_torch2numpy_batch(batch: Tensor) -> np.ndarray:
    """(B, H, W, C) uint8 array of a (B, C, H, W) tensor in 0..1."""
    return (batch.permute(0, 2, 3, 1).contiguous() * 255).clamp(0, 255).to(torch.uint8).cpu().numpy()


def clean_str(s: str) -> str:
    """The text with special characters replaced by underscores."""
    return _SPECIAL.sub("_", s)


def smooth_BCE(eps: float = 0.1) -> tuple[float, float]:
    """Targets of the positive and the negative class with label smoothing `eps`."""
    return 1.0 - 0.5 * eps, 0.5 * eps
