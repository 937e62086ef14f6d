"""Images of whole batches: a grid of images with their instances or classes, and grids of feature maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from ultralytics.utils.plotting import CROWDED, Annotator, colors, readable_on, write_image
from ultralytics.utils.rotated_boxes import xywhr2xyxyxyxy

if TYPE_CHECKING:
    from torch import Tensor

Array = np.ndarray
BoxFormat = Literal["xywhn", "xyxy", "xywhr"]

MAX_GRID_SIDE = 1920  # pixels of the longer side of a grid
MIN_TILE_SIDE = 400  # smaller images are enlarged to this size in a grid, so that labels can be read
TITLE_SHARE = 0.45  # of the width of a tile
TITLE_BACKGROUND = (60, 60, 60)
WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Instances:
    """The instances of a batch or, after `of_image`, of one image: arrays with one row per instance.

    Attributes:
        cls: (n,) class.
        corners: (n, 4) or (n, 4, 2) corners in pixels of a tile; None for classes of whole images.
        confs: (n,) confidence of predictions.
        masks: (n, h, w) bool.
        keypoints: (n, K, 2 | 3) in pixels of a tile.
    """

    cls: Array
    corners: Array | None = None
    confs: Array | None = None
    masks: Array | None = None
    keypoints: Array | None = None

    def select(self, rows: Array) -> Instances:
        """These rows only."""
        corners, confs, masks, keypoints = (
            None if part is None else part[rows] for part in (self.corners, self.confs, self.masks, self.keypoints)
        )
        return Instances(self.cls[rows], corners, confs, masks, keypoints)

    def of_image(self, rows: Array, overlap_map: Array | None, conf_thres: float) -> Instances:
        """The instances of one image; predictions above `conf_thres` with the highest confidence first.

        Args:
            rows: (n,) bool, which instances belong to the image.
            overlap_map: (h, w) with k + 1 on the pixels of the k-th instance of the image, instead of masks.
            conf_thres: minimum confidence.
        """
        chosen = self.select(rows)
        if overlap_map is not None:
            chosen = replace(chosen, masks=overlap_map == np.arange(1, len(chosen) + 1)[:, None, None])
        if chosen.confs is not None:
            order = np.argsort(-chosen.confs, kind="stable")
            chosen = chosen.select(order[chosen.confs[order] > conf_thres])
        return chosen

    def __len__(self) -> int:
        return len(self.cls)


def plot_images(
    images: Tensor | Array,
    batch_idx: Tensor | Array,
    cls: Tensor | Array,
    bboxes: Tensor | Array | None = None,
    *,
    path: str | Path,
    confs: Tensor | Array | None = None,
    masks: Tensor | Array | None = None,
    masks_overlap: bool = False,
    keypoints: Tensor | Array | None = None,
    paths: Sequence[str] | None = None,
    names: Mapping[int, str] | None = None,
    box_format: BoxFormat = "xywhn",
    max_images: int = 16,
    conf_thres: float = 0.25,
) -> None:
    """Draw a batch with its instances as one grid into the file `path`.

    Args:
        images: (B, 3, H, W) RGB, uint8, or float in 0..1.
        batch_idx: (N,) or (N, 1) index of the image that each instance belongs to.
        cls: (N,) or (N, 1) class of each instance, or of each image without `bboxes`.
        bboxes: in the format `box_format`; None or empty draws the class names of whole images.
        path: file to write; its folder is made.
        confs: (N,) confidence of predictions; those up to `conf_thres` are not drawn.
        masks: (N, h, w), nonzero inside; h and w may be smaller than H and W by a common factor.
        masks_overlap: `masks` is (B, h, w) with k + 1 on the pixels of the k-th instance of the image.
        keypoints: (N, K, 2) or (N, K, 3) x, y and the confidence or visibility, in fractions of W and H if
            `box_format` is "xywhn", in pixels of the images otherwise.
        paths: names of the image files, written into the corners.
        names: class names; classes without one are shown by number.
        box_format: "xywhn": (N, 4) center and size in fractions of W and H, for oriented boxes (N, 5) with the angle
            in radians; "xyxy": (N, 4) corners in pixels; "xywhr": (N, 5) oriented boxes in pixels.
        max_images: number of images that are drawn.
        conf_thres: minimum confidence.

    Raises:
        ValueError: `box_format` is unknown.
    """
    tiles = _as_bgr(images[:max_images])
    grid = _Grid(*tiles.shape[:3])
    index = _flat(batch_idx).astype(int)
    instances = Instances(
        _flat(cls).astype(int),
        grid.corners(_numpy(bboxes), box_format) if bboxes is not None and len(bboxes) else None,
        None if confs is None else _flat(confs),
        None if masks is None or masks_overlap else _numpy(masks) > 0,
        grid.points(_numpy(keypoints), box_format) if keypoints is not None and len(keypoints) else None,
    )
    canvas = np.full((grid.rows * grid.tile_h, grid.columns * grid.tile_w, 3), 255, np.uint8)
    for i, image in enumerate(tiles):
        overlap_map = _numpy(masks[i]) if masks is not None and masks_overlap else None
        chosen = instances.of_image(index == i, overlap_map, conf_thres)
        interpolation = cv2.INTER_AREA if grid.scale < 1 else cv2.INTER_LINEAR
        tile = cv2.resize(image, (grid.tile_w, grid.tile_h), interpolation=interpolation)
        _draw_tile(tile, chosen, names or {}, Path(paths[i]).name if paths else "")
        top, left = i // grid.columns * grid.tile_h, i % grid.columns * grid.tile_w
        canvas[top : top + grid.tile_h, left : left + grid.tile_w] = tile
    write_image(path, canvas)


def plot_feature_maps(features: Tensor | Array, path: str | Path, max_maps: int = 32) -> None:
    """Draw the first channels of one layer's output (C, H, W) as a grid of colored maps into the file `path`."""
    maps = _numpy(features).astype(np.float32)[:max_maps]
    C, H, W = maps.shape
    columns = math.ceil(math.sqrt(2 * C)) if C > 1 else 1  # twice as wide as high, as screens are
    rows = math.ceil(C / columns)
    scale = max(1, 96 // max(H, W))
    gap = 2
    grid = np.full((rows * (H * scale + gap) - gap, columns * (W * scale + gap) - gap, 3), 255, np.uint8)
    for i, values in enumerate(maps):
        low, high = float(values.min()), float(values.max())
        gray = np.rint((values - low) / ((high - low) or 1.0) * 255).astype(np.uint8)
        tile = cv2.resize(gray, (W * scale, H * scale), interpolation=cv2.INTER_NEAREST)
        top, left = i // columns * (H * scale + gap), i % columns * (W * scale + gap)
        grid[top : top + H * scale, left : left + W * scale] = cv2.applyColorMap(tile, cv2.COLORMAP_VIRIDIS)
    write_image(path, grid)


class _Grid:
    """Sizes of a grid of B images (H, W), and coordinates of a batch in pixels of its tiles."""

    def __init__(self, B: int, H: int, W: int) -> None:
        self.image = H, W
        self.columns = math.ceil(math.sqrt(B))
        self.rows = math.ceil(B / self.columns)
        enlarge = max(1.0, MIN_TILE_SIDE / max(H, W))
        self.scale = min(MAX_GRID_SIDE / (self.columns * W), MAX_GRID_SIDE / (self.rows * H), enlarge)
        self.tile_h, self.tile_w = max(round(H * self.scale), 1), max(round(W * self.scale), 1)

    def corners(self, boxes: Array, box_format: str) -> Array:
        """(N, 4) or, for oriented boxes, (N, 4, 2) corners."""
        if box_format not in ("xywhn", "xyxy", "xywhr"):
            raise ValueError(f"box_format='{box_format}': expected 'xywhn', 'xyxy' or 'xywhr'")
        boxes = boxes.reshape(len(boxes), -1).astype(np.float64)
        H, W = self.image
        if box_format == "xyxy":
            return self._to_tile(boxes.reshape(-1, 2, 2)).reshape(-1, 4)
        if box_format == "xywhn":
            boxes = np.concatenate((boxes[:, :4] * [W, H, W, H], boxes[:, 4:]), 1)
        if boxes.shape[1] == 5:
            return self._to_tile(xywhr2xyxyxyxy(boxes))
        center, half = boxes[:, :2], boxes[:, 2:] / 2
        return self._to_tile(np.stack((center - half, center + half), 1)).reshape(-1, 4)

    def points(self, points: Array, box_format: str) -> Array:
        """(N, K, 2 | 3) keypoints."""
        scale = self.image[::-1] if box_format == "xywhn" else (1, 1)
        xy = self._to_tile(points[..., :2].astype(np.float64) * np.array(scale))
        return np.concatenate((xy, points[..., 2:]), -1)

    def _to_tile(self, xy: Array) -> Array:
        return xy * np.array([self.tile_w / self.image[1], self.tile_h / self.image[0]])


def _draw_tile(tile: Array, instances: Instances, names: Mapping[int, str], title: str) -> None:
    """Draw the instances of one image, its file name and a white frame on `tile`."""
    side = max(tile.shape[:2])
    crowded = len(instances) > CROWDED
    letters_per_side = 18 if instances.corners is None else 45 if crowded else 36
    annotator = Annotator(
        tile,
        line_width=max(round(side / (400 if crowded else 240)), 1),
        font_size=max(round(side / letters_per_side), 11),
        example=list(names.values()),
    )
    texts = [str(names.get(c, c)) for c in instances.cls.tolist()]
    if instances.confs is not None:
        texts = [f"{text} {conf:.1f}" for text, conf in zip(texts, instances.confs, strict=True)]
    bgr = [colors(c, bgr=True) for c in instances.cls.tolist()]
    if instances.masks is not None:
        annotator.masks(instances.masks, bgr, retina_masks=True)
    for keypoints in instances.keypoints if instances.keypoints is not None else ():
        annotator.kpts(keypoints, tile.shape[:2])
    if instances.corners is not None:
        annotator.boxes(instances.corners[::-1], texts[::-1], bgr[::-1])  # the highest confidence last, on top
    elif texts:  # one class for the whole image
        annotator.label((2, 2), texts[0], readable_on(bgr[0]), background=bgr[0], below=True)
    if title:
        caption = Annotator(tile, font_size=max(round(side / 36), 11))
        # at the bottom, since labels are at the top of their boxes; the end of a file name says most
        while caption.text_size(title)[0] > tile.shape[1] * TITLE_SHARE and len(title) > 4:
            title = ".." + title[4:]
        caption.label((4, tile.shape[0] - 3), title, background=TITLE_BACKGROUND)
    cv2.rectangle(tile, (0, 0), (tile.shape[1] - 1, tile.shape[0] - 1), WHITE, 2)


def _as_bgr(images: Tensor | Array) -> Array:
    """(B, 3, H, W) RGB, uint8 or float in 0..1 -> (B, H, W, 3) BGR uint8."""
    batch = _numpy(images)
    if batch.dtype != np.uint8:
        batch = np.rint(np.clip(batch.astype(np.float32), 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(batch.transpose(0, 2, 3, 1)[..., ::-1])


def _numpy(x: Tensor | Array) -> Array:
    if isinstance(x, np.ndarray):
        return x
    # bfloat16 has no counterpart in NumPy; float32 holds all its values
    return (x.detach().float() if x.dtype.is_floating_point else x).cpu().numpy()


def _flat(x: Tensor | Array | Sequence[int]) -> Array:
    return (np.asarray(x) if isinstance(x, (Sequence, range)) else _numpy(x)).reshape(-1)
