"""Masks of the instances of one image."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ultralytics.engine.results.base import BaseTensor, Data, DrawStyle, LabelLine, Names, SummaryRow
from ultralytics.utils.letterbox import scale_points
from ultralytics.utils.masks import masks2segments
from ultralytics.utils.plotting import Annotator


class Masks(BaseTensor):
    """Masks of one image, one per box.

    Args:
        masks: (n, H, W), above 0.5 inside; in the size of the network's input, letterbox borders included, or of the
            original image (`retina_masks=True`). One mask may come as (H, W).
        orig_shape: (height, width) of the original image.
    """

    def __init__(self, masks: Data, orig_shape: tuple[int, int]) -> None:
        super().__init__(masks, orig_shape)
        if masks.ndim == 2:
            self.data = masks = masks[None]
        if masks.ndim != 3:
            raise ValueError(f"Masks needs shape (n, H, W) or (H, W); got {tuple(masks.shape)}")

    @cached_property
    def xy(self) -> list[np.ndarray]:
        """Outline of each mask, (m, 2) float32 in pixels of the original image; (0, 2) for an empty mask.

        Of a mask with several parts it is the contour with the most points. Computed once.
        """
        return [scale_points(points, self.shape[1:], self.orig_shape) for points in masks2segments(self.data)]

    @cached_property
    def xyn(self) -> list[np.ndarray]:
        """Outline of each mask, (m, 2) float32 in fractions of the image's width and height."""
        height, width = self.orig_shape
        return [points / np.array([width, height], np.float32) for points in self.xy]

    def draw(self, annotator: Annotator, style: DrawStyle) -> None:
        """Blend the image with the masks, the highest confidence on top."""
        mask_colors = [style.color(i) for i in range(len(self))]
        annotator.masks(self.data, mask_colors, style.im_gpu, retina_masks=self.shape[1:] == tuple(self.orig_shape))

    def add_to_summary(self, rows: list[SummaryRow], names: Names, normalize: bool, decimals: int) -> None:
        """Add `segments` {x, y} to the row of each box."""
        for row, points in zip(rows, self.xyn if normalize else self.xy, strict=False):
            x, y = points.astype(np.float64).round(decimals).T.tolist() if len(points) else ([], [])
            row["segments"] = {"x": x, "y": y}

    def add_to_lines(self, lines: list[LabelLine], names: Names) -> None:
        """Replace the box of each line by the outline; an empty mask is written as the outline of its box."""
        for line, points in zip(lines, self.xyn, strict=False):
            line.geometry = points.reshape(-1).tolist() if len(points) else _outline_of(line.geometry)


def _outline_of(xywh: list[float]) -> list[float]:
    """Corners of a box, since a line of a label file of polygons must hold a polygon."""
    x, y, w, h = xywh
    left, right, top, bottom = x - w / 2, x + w / 2, y - h / 2, y + h / 2
    return [left, top, right, top, right, bottom, left, bottom]
