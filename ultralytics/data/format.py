"""From an image and its instances to the tensors of a sample, as the label schema says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ultralytics.data.batch import SampleTensors
from ultralytics.data.instances import Instances, Segments
from ultralytics.data.polygons import corners_to_xywhr, instance_masks, overlap_mask
from ultralytics.tasks import LabelSchema


@dataclass(frozen=True)
class Format:
    """Makes the tensors of a sample.

    Attributes:
        schema: what the labels hold; decides which keys there are.
        mask_ratio: masks are this much smaller than the image.
        overlap: polygons become one map for the image, in which small instances hide large ones, with instances sorted
            from the largest; else one mask for each instance.
    """

    schema: LabelSchema = LabelSchema()  # noqa: RUF009 - frozen
    mask_ratio: int = 4
    overlap: bool = True

    def __call__(self, image: np.ndarray, instances: Instances) -> SampleTensors:
        """The tensors of an image (H, W, 3) uint8 in its final channel order.

        Returns:
            `img` (3, H, W) uint8 (a view: its memory stays row by row), `cls` (n, 1), `bboxes` (n, 4) x, y of the
            center, w, h as fractions, `batch_idx` (n,), all float32, and by schema
            - "polygon": `masks` (1, H // r, W // r) with the number of the instance, from 1, or (n, H // r, W // r),
            - "keypoints": `keypoints` (n, nk, 3) x, y as fractions, and visibility,
            - "oriented_box": `bboxes` is (n, 5), with the angle in radians (see `polygons.corners_to_xywhr`).
        """
        h, w = image.shape[:2]
        masks = None
        if self.schema.kind == "polygon":
            segments = instances.segments or Segments.empty(len(instances))
            masks = instance_masks(segments, (h, w), self.mask_ratio)
            if self.overlap:
                masks, order = overlap_mask(masks)
                instances = instances.take(order)
        size = np.array([w, h, w, h], np.float32)
        if self.schema.kind == "oriented_box" and instances.corners is not None:
            boxes = corners_to_xywhr(instances.corners)
            boxes[:, :4] /= size
        else:
            x1, y1, x2, y2 = instances.boxes.T
            boxes = np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], 1) / size
        sample: SampleTensors = {
            "img": torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1),
            "cls": torch.from_numpy(np.ascontiguousarray(instances.cls[:, None], np.float32)),
            "bboxes": torch.from_numpy(boxes.astype(np.float32)),
            "batch_idx": torch.zeros(len(instances)),
        }
        if masks is not None:
            sample["masks"] = torch.from_numpy(masks)
        if self.schema.kind == "keypoints" and instances.keypoints is not None:
            sample["keypoints"] = torch.from_numpy(instances.keypoints / np.array([w, h, 1], np.float32))
        return sample
