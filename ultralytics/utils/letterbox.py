"""Where an image lies in its letterboxed form, and points of that form in pixels of the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def letterbox_window(inner: Sequence[int], outer: Sequence[int]) -> tuple[float, float, float]:
    """Where the original image lies in its letterboxed form.

    Args:
        inner: (height, width) of the original image.
        outer: (height, width) of the letterboxed image.

    Returns:
        (gain, left, top): pixels of the letterboxed image per original pixel, and the border widths, not rounded.
    """
    gain = min(outer[0] / inner[0], outer[1] / inner[1])
    return gain, (outer[1] - inner[1] * gain) / 2, (outer[0] - inner[0] * gain) / 2


def scale_points(points: np.ndarray, from_shape: Sequence[int], to_shape: Sequence[int]) -> np.ndarray:
    """Points of a letterboxed image in pixels of the original image, clipped to it.

    Args:
        points: (..., 2) x, y in pixels of the letterboxed image.
        from_shape: (height, width) of the letterboxed image.
        to_shape: (height, width) of the original image.

    Returns:
        (..., 2) float32.
    """
    gain, left, top = letterbox_window(to_shape, from_shape)
    scaled = (np.asarray(points, np.float32) - np.array([left, top], np.float32)) / np.float32(gain)
    return scaled.clip(0, np.array([to_shape[1], to_shape[0]], np.float32))
