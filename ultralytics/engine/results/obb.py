"""Oriented boxes of one image."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ultralytics.engine.results.base import Data
from ultralytics.engine.results.boxes import Detections
from ultralytics.utils.rotated_boxes import xywhr2xyxyxyxy


class OBB(Detections):
    """Oriented boxes of one image; corners may lie outside of it.

    Args:
        boxes: (n, 7) center x, center y, width, height, angle in radians, confidence, class, or with tracking (n, 8)
            with the id before the confidence; pixels of the original image. One row may come as a vector.
        orig_shape: (height, width) of that image.

    Raises:
        ValueError: there are not 7 or 8 columns.
    """

    GEOMETRY = "x, y, width, height, angle"
    num_geometry = 5

    @property
    def xywhr(self) -> Data:
        """(n, 5) center, width, height in pixels and angle in radians."""
        return self.data[:, :5]

    @property
    def xyxyxyxy(self) -> Data:
        """(n, 4, 2) corners in pixels."""
        return xywhr2xyxyxyxy(self.xywhr)  # type: ignore[type-var]  # takes both types of the union

    @property
    def xyxyxyxyn(self) -> Data:
        """(n, 4, 2) corners in fractions of the image's width and height."""
        return self._fractions(self.xyxyxyxy)

    @property
    def xyxy(self) -> Data:
        """(n, 4) the upright box around the corners, in pixels."""
        corners = self.xyxyxyxy
        if isinstance(corners, Tensor):
            return torch.cat((corners.amin(1), corners.amax(1)), -1)
        return np.concatenate((corners.min(1), corners.max(1)), -1)

    def corners(self) -> np.ndarray:
        """(n, 4, 2) corners in pixels."""
        return np.asarray(self.numpy().xyxyxyxy)

    def label_geometry(self) -> np.ndarray:
        """(n, 8) corners in fractions."""
        return np.asarray(self.numpy().xyxyxyxyn).reshape(len(self), 8)
