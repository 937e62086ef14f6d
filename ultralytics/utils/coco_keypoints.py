"""Labels of keypoints in COCO format, for COCO's own evaluation of poses (see coco.py)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ultralytics.utils.coco import GroundTruth
from ultralytics.utils.keypoint_metrics import BOX_TO_INSTANCE_AREA


class KeypointTruth(GroundTruth):
    """Collects boxes and keypoints of a dataset: after each `add`, `add_keypoints` for the same image."""

    def add_keypoints(self, keypoints: np.ndarray) -> None:
        """Set the keypoints (m, K, 3) of the m boxes that were added last: x, y in pixels and visibility 0, 1 or 2."""
        last = self._annotations[len(self._annotations) - len(keypoints) :]
        for annotation, points in zip(last, keypoints, strict=True):
            points = np.where(points[:, 2:] > 0, points, 0.0)
            annotation["keypoints"] = [round(value, 3) for value in points.reshape(-1).tolist()]
            annotation["num_keypoints"] = int((points[:, 2] > 0).sum())

    def as_keypoint_dict(self) -> dict[str, list[dict[str, Any]]]:
        """As `as_dict`, with areas of instances instead of boxes, which the similarity of poses is measured by."""
        content = self.as_dict()
        annotations = [x | {"area": x["area"] * BOX_TO_INSTANCE_AREA} for x in content["annotations"]]
        return content | {"annotations": annotations}
