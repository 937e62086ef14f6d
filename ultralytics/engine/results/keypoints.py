"""Keypoints of the instances of one image."""

from __future__ import annotations

import numpy as np

from ultralytics.engine.results.base import BaseTensor, Data, DrawStyle, LabelLine, Names, SummaryRow
from ultralytics.utils.plotting import Annotator


class Keypoints(BaseTensor):
    """Keypoints of one image, one set per box.

    Unlike 8.3.0, points with a confidence below 0.5 keep their coordinates; `conf` tells which to trust.

    Args:
        keypoints: (n, K, 2) x, y, or (n, K, 3) with the confidence of each point; pixels of the original image. One set
            may come as (K, 2) or (K, 3).
        orig_shape: (height, width) of that image.
    """

    def __init__(self, keypoints: Data, orig_shape: tuple[int, int]) -> None:
        super().__init__(keypoints, orig_shape)
        if keypoints.ndim == 2:
            self.data = keypoints = keypoints[None]
        if keypoints.ndim != 3 or keypoints.shape[-1] not in (2, 3):
            raise ValueError(f"Keypoints needs shape (n, K, 2) or (n, K, 3); got {tuple(keypoints.shape)}")
        self.has_visible = keypoints.shape[-1] == 3

    @property
    def xy(self) -> Data:
        """(n, K, 2) pixels."""
        return self.data[..., :2]

    @property
    def xyn(self) -> Data:
        """(n, K, 2) fractions of the image's width and height."""
        return self._fractions(self.xy)

    @property
    def conf(self) -> Data | None:
        """(n, K) confidence; None if the points have none."""
        return self.data[..., 2] if self.has_visible else None

    def draw(self, annotator: Annotator, style: DrawStyle) -> None:
        """Draw points and, of persons, limbs, the highest confidence last."""
        for points in np.asarray(self.numpy().data)[::-1]:
            annotator.kpts(points, self.orig_shape, radius=style.kpt_radius, kpt_line=style.kpt_line)

    def add_to_summary(self, rows: list[SummaryRow], names: Names, normalize: bool, decimals: int) -> None:
        """Add `keypoints` {x, y, visible} to the row of each box; without confidences there is no `visible`."""
        columns = ("x", "y", "visible") if self.has_visible else ("x", "y")
        values = self._rows(normalize).astype(np.float64).round(decimals)
        for row, points in zip(rows, values, strict=False):
            row["keypoints"] = dict(zip(columns, points.T.tolist(), strict=True))

    def add_to_lines(self, lines: list[LabelLine], names: Names) -> None:
        """Add x, y and the confidence of each point to the line of its box."""
        for line, points in zip(lines, self._rows(normalize=True), strict=False):
            line.keypoints = points.reshape(-1).tolist()

    def _rows(self, normalize: bool) -> np.ndarray:
        """(n, K, 2 | 3) all values of all points."""
        plain = self.numpy()
        if not normalize:
            return np.asarray(plain.data)
        parts = [np.asarray(plain.xyn)]
        if plain.conf is not None:
            parts.append(np.asarray(plain.conf)[..., None])
        return np.concatenate(parts, -1)
