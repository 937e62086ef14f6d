"""Transforms that combine several images: mosaic, mixup and copy-paste."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ultralytics.data.instances import Instances
from ultralytics.data.polygons import fill_polygons
from ultralytics.data.warp import GRAY, Scene, Tile

ImageAndInstances = tuple[np.ndarray, Instances]  # uint8 (H, W, 3), and what is in it, in pixels
_MIXUP_BETA = 32.0
_MAX_COVERED = 0.3  # share of an instance's box that a pasted instance may cover


class Mosaic:
    """Four images around a random center on a canvas of twice the size."""

    def __init__(self, imgsz: int) -> None:
        self.imgsz = imgsz

    def __call__(self, samples: Sequence[ImageAndInstances], rng: np.random.Generator) -> Scene:
        """Lay out four images: upper left, upper right, lower left and lower right of the center."""
        side = 2 * self.imgsz
        yc, xc = (int(v) for v in rng.uniform(self.imgsz / 2, 1.5 * self.imgsz, 2))
        tiles, groups = [], []
        for k, (image, instances) in enumerate(samples):
            h, w = image.shape[:2]
            x, y = xc - (w if k in (0, 2) else 0), yc - (h if k in (0, 1) else 0)
            x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + w, side), min(y + h, side)
            tiles.append(Tile(image[y1 - y : y2 - y, x1 - x : x2 - x], x1, y1))
            groups.append(instances.moved((1, 1), (x, y)))
        instances = Instances.join(groups)
        owner = np.arange(4).repeat([len(group) for group in groups])
        boxes = instances.boxes.clip(0, side)
        visible = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
        return Scene(tiles, instances.with_boxes(boxes).keep(visible), owner[visible], (side, side))


class MixUp:
    """Two images blended, the instances of both kept."""

    def __call__(
        self, first: ImageAndInstances, second: ImageAndInstances, rng: np.random.Generator
    ) -> ImageAndInstances:
        r = float(rng.beta(_MIXUP_BETA, _MIXUP_BETA))
        image = (first[0].astype(np.float32) * r + second[0].astype(np.float32) * (1 - r)).astype(np.uint8)
        return image, Instances.join([first[1], second[1]])


class CopyPaste:
    """Pastes instances that have an outline where they hide little, as Ghiasi et al. 2021 (arXiv 2012.07177).

    As in 8.3.0, `share` is the part of the instances that may be pasted, not the chance that any is: candidates that
    cover less than 30 % of every instance of the image are sorted by how much they cover, and the first ones taken.
    """

    def __init__(self, share: float) -> None:
        self.share = share

    def mirrored(self, image: np.ndarray, instances: Instances, flip_idx: Sequence[int] | None) -> ImageAndInstances:
        """Mode "flip": instances of the image's own mirror image (left to right) are pasted into it."""
        return self(image, instances, cv2.flip(image, 1), instances.flipped(image.shape[1], 0, flip_idx))

    def __call__(
        self, image: np.ndarray, instances: Instances, source: np.ndarray, candidates: Instances
    ) -> ImageAndInstances:
        """Paste `candidates` of the image `source`, which has the shape of `image`; neither image is changed."""
        if candidates.segments is None or instances.segments is None:
            return image, instances
        candidates = candidates.keep(candidates.segments.has_outline)
        covered = _covered_shares(candidates.boxes, instances.boxes).max(1, initial=0)
        order = np.argsort(covered, kind="stable")
        order = order[covered[order] < _MAX_COVERED]
        chosen = candidates.take(order[: round(self.share * len(order))])
        if not len(chosen) or chosen.segments is None:
            return image, instances
        mask = np.zeros(image.shape[:2], np.uint8)
        for i in range(len(chosen)):
            mask |= fill_polygons(chosen.segments.parts(i), image.shape[:2])
        return np.where(mask[..., None] > 0, source, image), Instances.join([instances, chosen])


def flattened(scene: Scene) -> np.ndarray:
    """The scene's tiles drawn on its canvas, uint8 (h, w, 3)."""
    canvas = np.full((*scene.shape, 3), GRAY, np.uint8)
    for tile in scene.tiles:
        h, w = tile.image.shape[:2]
        canvas[tile.y : tile.y + h, tile.x : tile.x + w] = tile.image
    return canvas


def _covered_shares(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """(k, n) share of the area of each box of `lower` (n, 4) that a box of `upper` (k, 4) covers."""
    size = np.minimum(upper[:, None, 2:], lower[None, :, 2:]) - np.maximum(upper[:, None, :2], lower[None, :, :2])
    area = (lower[:, 2] - lower[:, 0]) * (lower[:, 3] - lower[:, 1])
    return size.clip(0).prod(2) / (area + 1e-7)
