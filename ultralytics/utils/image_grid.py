"""Pictures of whole batches: mosaics of images with their boxes, and grids of feature maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

from ultralytics.utils.plotting import Annotator, colors, write_image

if TYPE_CHECKING:
    from torch import Tensor

Array = np.ndarray

MAX_MOSAIC_SIDE = 1920  # pixels of the longer side of a mosaic
SMALL_TILE_SIDE = 400  # smaller images are enlarged to this in a mosaic, so that labels can be read


def plot_images(
    images: Tensor | Array,
    batch_idx: Tensor | Array,
    cls: Tensor | Array,
    bboxes: Tensor | Array,
    *,
    path: str | Path,
    confs: Tensor | Array | None = None,
    paths: Sequence[str] | None = None,
    names: Mapping[int, str] | None = None,
    box_format: Literal["xywhn", "xyxy"] = "xywhn",
    max_images: int = 16,
    conf_thres: float = 0.25,
) -> None:
    """Draw a batch with its boxes as one mosaic into the file `path`.

    Args:
        images: (B, 3, H, W) RGB, uint8, or float in 0..1.
        batch_idx: (N,) or (N, 1) which image each box belongs to.
        cls: (N,) or (N, 1) class of each box.
        bboxes: (N, 4), in pixels of the batch's images for `xyxy`, in 0..1 for `xywhn`.
        path: file to write, its folder is made.
        confs: (N,) confidence of each box if they are predictions; those up to `conf_thres` are left out.
        paths: names of the image files, written into the corners.
        names: class names; numbers stand in for missing ones.
    """
    tiles = _as_bgr(images[:max_images])
    B, H, W = tiles.shape[:3]
    columns = math.ceil(math.sqrt(B))
    rows = math.ceil(B / columns)
    scale = min(MAX_MOSAIC_SIDE / (columns * W), MAX_MOSAIC_SIDE / (rows * H), max(1.0, SMALL_TILE_SIDE / max(H, W)))
    tile_h, tile_w = max(round(H * scale), 1), max(round(W * scale), 1)
    index, labels = _flat(batch_idx).astype(int), _flat(cls).astype(int)
    corners = _corners(_numpy(bboxes).reshape(-1, 4), box_format, (tile_h, tile_w), (H, W))
    scores = None if confs is None else _flat(confs)
    mosaic = np.full((rows * tile_h, columns * tile_w, 3), 255, np.uint8)
    for i in range(B):
        chosen = np.flatnonzero((index == i) if scores is None else (index == i) & (scores > conf_thres))
        if scores is not None:
            chosen = chosen[np.argsort(scores[chosen], kind="stable")]  # the surest is drawn last, on top
        tile = cv2.resize(tiles[i], (tile_w, tile_h), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        drawn = _draw_tile(
            tile,
            corners[chosen],
            labels[chosen],
            None if scores is None else scores[chosen],
            names or {},
            Path(paths[i]).name if paths else "",
        )
        top, left = i // columns * tile_h, i % columns * tile_w
        mosaic[top : top + tile_h, left : left + tile_w] = drawn
    write_image(path, mosaic)


def plot_feature_maps(features: Tensor | Array, path: str | Path, max_maps: int = 32) -> None:
    """Draw the first channels of one layer's output (C, H, W) as a grid of coloured maps into the file `path`."""
    maps = _numpy(features).astype(np.float32)[:max_maps]
    C, H, W = maps.shape
    columns = math.ceil(math.sqrt(2 * C)) if C > 1 else 1  # twice as wide as high, as screens are
    rows = math.ceil(C / columns)
    scale = max(1, 96 // max(H, W))
    gap = 2
    grid = np.full((rows * (H * scale + gap) - gap, columns * (W * scale + gap) - gap, 3), 255, np.uint8)
    for i, one in enumerate(maps):
        low, high = float(one.min()), float(one.max())
        grey = np.rint((one - low) / ((high - low) or 1.0) * 255).astype(np.uint8)
        tile = cv2.resize(grey, (W * scale, H * scale), interpolation=cv2.INTER_NEAREST)
        top, left = i // columns * (H * scale + gap), i % columns * (W * scale + gap)
        grid[top : top + H * scale, left : left + W * scale] = cv2.applyColorMap(tile, cv2.COLORMAP_VIRIDIS)
    write_image(path, grid)


def _draw_tile(
    tile: Array, boxes: Array, labels: Array, scores: Array | None, names: Mapping[int, str], title: str
) -> Array:
    """One picture of a mosaic: image, boxes with labels, file name, white frame."""
    side = max(tile.shape[:2])
    crowded = len(boxes) > 25
    annotator = Annotator(
        tile,
        line_width=max(round(side / (400 if crowded else 240)), 1),
        font_size=max(round(side / (45 if crowded else 36)), 11),
    )
    texts = [str(names.get(int(c), int(c))) for c in labels]
    if scores is not None:
        texts = [f"{text} {score:.1f}" for text, score in zip(texts, scores, strict=True)]
    annotator.boxes(boxes, texts, [colors(c, bgr=True) for c in labels])
    if title:
        longest = tile.shape[1] * 0.8
        while annotator.text_size(title)[0] > longest and len(title) > 4:
            title = ".." + title[4:]  # the end of a file name tells more than its beginning
        annotator.text(
            (4, tile.shape[0] - 3), title, plate=(60, 60, 60)
        )  # at the bottom: labels are on top of their boxes
    drawn = annotator.result()
    cv2.rectangle(drawn, (0, 0), (drawn.shape[1] - 1, drawn.shape[0] - 1), (255, 255, 255), 2)
    return drawn


def _corners(boxes: Array, box_format: str, tile: tuple[int, int], image: tuple[int, int]) -> Array:
    """(N, 4) corners in pixels of a tile."""
    boxes = boxes.astype(np.float64)
    if box_format == "xywhn":
        centre, half = boxes[:, :2], boxes[:, 2:] / 2
        return np.concatenate([centre - half, centre + half], 1) * np.array([tile[1], tile[0]] * 2)
    if box_format == "xyxy":
        return boxes * np.array([tile[1] / image[1], tile[0] / image[0]] * 2)
    raise ValueError(f"box_format '{box_format}' is unknown; it is 'xywhn' or 'xyxy'.")


def _as_bgr(images: Tensor | Array) -> Array:
    """(B, 3, H, W) RGB, uint8 or float in 0..1 -> (B, H, W, 3) BGR uint8."""
    batch = _numpy(images)
    if batch.dtype != np.uint8:
        batch = np.rint(np.clip(batch.astype(np.float32), 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(batch.transpose(0, 2, 3, 1)[..., ::-1])


def _numpy(x: Any) -> Array:
    # bfloat16 has no numpy counterpart; float32 holds all its values
    return (
        x.detach().float().cpu().numpy()
        if hasattr(x, "detach") and x.dtype.is_floating_point
        else np.asarray(getattr(x, "cpu", lambda: x)())
    )


def _flat(x: Any) -> Array:
    return _numpy(x).reshape(-1)
