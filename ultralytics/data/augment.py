"""Augmentation: a mosaic's tiles are warped straight to their place in the final picture, and their boxes with them.

The distributions are those of ultralytics 8.3.0 (mosaic of four, random perspective, mixup, HSV, flips, channel order);
random numbers come from a numpy Generator per sample, so that a sample depends on nothing but its ticket. The blur, grey and
CLAHE steps that 8.3.0 adds when albumentations is installed are left out: nothing here depends on what else is installed.

Where 8.3.0 pastes the tiles into a canvas of twice the size and warps that, each tile is warped by the composed matrix into
the rectangle it covers. Only the pixels on a seam between two tiles differ.

Pictures are uint8 (H, W, 3) BGR until `Format`; xyxy are corner pixels; matrices are 3x3 and map x, y, 1 of the source.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import cos, radians, sin, tan
from typing import Any

import cv2
import numpy as np

from ultralytics.data.columns import join_offsets, take_ragged

GREY = 114  # of everything that no picture covers
_MIN_SIDE = 2  # pixels: smaller boxes are lost by the warp
_MIN_AREA, _MIN_AREA_POLYGON = 0.1, 0.01  # share of its area that must stay in the picture
_MAX_ASPECT = 100
_MIXUP_BETA = 32.0

Picture = tuple[np.ndarray, "Objects"]
Load = Callable[
    [int], Picture
]  # picture `k` of a ticket (0 its own, then its partners) at training size, boxes in pixels


@dataclass(frozen=True)
class Objects:
    """What is in a picture: n objects, some with a polygon."""

    cls: np.ndarray  # (n,) float32
    boxes: np.ndarray  # (n, 4) float32 xyxy in pixels
    points: np.ndarray  # (k, 2) float32 x, y in pixels
    point_offsets: np.ndarray  # (n + 1,) int64; a plain box has no points

    def __len__(self) -> int:
        return len(self.cls)

    def keep(self, mask: np.ndarray) -> Objects:
        """The objects where `mask` (n,) is true."""
        if mask.all():
            return self
        offsets, items = take_ragged(self.point_offsets, np.flatnonzero(mask))
        return Objects(self.cls[mask], self.boxes[mask], self.points[items], offsets)

    def moved(self, scale: float, dx: float, dy: float) -> Objects:
        """Scaled, then shifted by pixels."""
        shift = np.array([dx, dy], np.float32)
        factor = np.float32(scale)
        return replace(self, boxes=self.boxes * factor + np.tile(shift, 2), points=self.points * factor + shift)

    @staticmethod
    def join(parts: Sequence[Objects]) -> Objects:
        """All objects of several pictures."""
        if len(parts) == 1:
            return parts[0]
        return Objects(
            np.concatenate([p.cls for p in parts]),
            np.concatenate([p.boxes for p in parts]),
            np.concatenate([p.points for p in parts]),
            join_offsets([p.point_offsets for p in parts]),
        )


@dataclass(frozen=True)
class Tile:
    """A picture's visible part, lying at (x, y) of a canvas."""

    image: np.ndarray
    x: int
    y: int


class LetterBox:
    """Fits a picture into a shape without distortion, the rest grey."""

    def __init__(
        self,
        new_shape: int | Sequence[int] = (640, 640),
        auto: bool = False,
        scale_fill: bool = False,
        scaleup: bool = True,
        center: bool = True,
        stride: int = 32,
    ) -> None:
        """Set the rule.

        Args:
            new_shape: (H, W), or one number for both.
            auto: grey only up to the next multiple of `stride`, not up to `new_shape`.
            scale_fill: stretch to `new_shape` instead.
            scaleup: small pictures are enlarged.
            center: grey on both sides, else only at the right and the bottom.
            stride: see `auto`.
        """
        self.new_shape = (
            (new_shape, new_shape) if isinstance(new_shape, int) else (int(new_shape[0]), int(new_shape[1]))
        )
        self.auto, self.scale_fill, self.scaleup, self.center, self.stride = auto, scale_fill, scaleup, center, stride

    def geometry(
        self, shape: Sequence[int], new_shape: tuple[int, int] | None = None
    ) -> tuple[tuple[int, int], tuple[int, int, int, int], tuple[float, float]]:
        """Where a picture of `shape` (h, w) goes: its new (h, w), the grey (top, bottom, left, right), the scale (x, y)."""
        h, w = shape[:2]
        out_h, out_w = new_shape or self.new_shape
        r = min(out_h / h, out_w / w)
        if not self.scaleup:
            r = min(r, 1.0)
        scale = r, r
        new_w, new_h = round(w * r), round(h * r)
        dw, dh = float(out_w - new_w), float(out_h - new_h)
        if self.auto:
            dw, dh = dw % self.stride, dh % self.stride
        elif self.scale_fill:
            dw = dh = 0.0
            new_h, new_w, scale = out_h, out_w, (out_w / w, out_h / h)
        if self.center:
            dw, dh = dw / 2, dh / 2
        top, left = (round(dh - 0.1), round(dw - 0.1)) if self.center else (0, 0)
        return (new_h, new_w), (top, round(dh + 0.1), left, round(dw + 0.1)), scale

    def __call__(self, labels: dict[str, Any] | None = None, image: np.ndarray | None = None) -> Any:
        """Fit `image`, or the picture `labels["img"]` with its objects.

        Args:
            labels: may hold "img", "rect_shape" (used once instead of the set shape), "ratio_pad" and "objects" (`Objects`).
            image: uint8 (h, w, C).

        Returns:
            The picture, if no labels were given; else a new dict with "img", "resized_shape", "ratio_pad" and "objects".
        """
        given = dict(labels or {})
        image = given["img"] if image is None else image
        target = given.pop("rect_shape", None)
        (h, w), (top, bottom, left, right), scale = self.geometry(
            image.shape, target and (int(target[0]), int(target[1]))
        )
        if (h, w) != image.shape[:2]:
            image = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
        if top or bottom or left or right:
            image = _bordered(image, top, bottom, left, right)
        if not labels:
            return image
        if "ratio_pad" in given:
            given["ratio_pad"] = (given["ratio_pad"], (left, top))
        if "objects" in given:
            factor, shift = np.array(scale, np.float32), np.array([left, top], np.float32)
            old = given["objects"]
            boxes = old.boxes * np.tile(factor, 2) + np.tile(shift, 2)
            given["objects"] = replace(old, boxes=boxes, points=old.points * factor + shift)
        return {**given, "img": image, "resized_shape": image.shape[:2]}


class Mosaic:
    """Four pictures around a random centre on a canvas of twice the size."""

    partners = 3

    def __init__(self, imgsz: int) -> None:
        self.imgsz = imgsz

    def __call__(self, pictures: Sequence[Picture], rng: np.random.Generator) -> tuple[list[Tile], Objects]:
        """Lay out four pictures: the first has its lower right corner at the centre, then upper right, lower left, rest."""
        side = 2 * self.imgsz
        yc, xc = (int(v) for v in rng.uniform(self.imgsz / 2, 1.5 * self.imgsz, 2))
        tiles, found = [], []
        for k, (image, objects) in enumerate(pictures):
            h, w = image.shape[:2]
            x, y = xc - (w if k in (0, 2) else 0), yc - (h if k in (0, 1) else 0)
            x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + w, side), min(y + h, side)
            tiles.append(Tile(image[y1 - y : y2 - y, x1 - x : x2 - x], x1, y1))
            found.append(objects.moved(1.0, x, y))
        objects = Objects.join(found)
        boxes = objects.boxes.clip(0, side)
        return tiles, replace(objects, boxes=boxes).keep((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))


class RandomPerspective:
    """Random rotation, zoom, shear, shift and tilt, in one warp from the canvas to the picture."""

    def __init__(
        self,
        degrees: float = 0.0,
        translate: float = 0.1,
        scale: float = 0.5,
        shear: float = 0.0,
        perspective: float = 0.0,
    ) -> None:
        self.degrees, self.translate, self.scale, self.shear, self.perspective = (
            degrees,
            translate,
            scale,
            shear,
            perspective,
        )

    def matrix(
        self, canvas: tuple[int, int], out: tuple[int, int], rng: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        """Draw a matrix from canvas (h, w) to picture (h, w); also gives the zoom in it."""
        spread = (self.perspective, self.perspective, self.degrees, self.scale, self.shear, self.shear)
        px, py, angle, zoom, shear_x, shear_y = (rng.uniform(-1, 1, 6) * spread).tolist()
        tx, ty = (0.5 + rng.uniform(-1, 1, 2) * self.translate).tolist()
        s, a = 1 + zoom, radians(angle)
        centre = np.array([[1, 0, -canvas[1] / 2], [0, 1, -canvas[0] / 2], [0, 0, 1]])
        tilt = np.array([[1, 0, 0], [0, 1, 0], [px, py, 1]])
        turn = np.array([[s * cos(a), s * sin(a), 0], [-s * sin(a), s * cos(a), 0], [0, 0, 1]])
        slant = np.array([[1, tan(radians(shear_x)), 0], [tan(radians(shear_y)), 1, 0], [0, 0, 1]])
        shift = np.array([[1, 0, tx * out[1]], [0, 1, ty * out[0]], [0, 0, 1]])
        return shift @ slant @ turn @ tilt @ centre, s

    def __call__(
        self,
        tiles: Sequence[Tile],
        objects: Objects,
        canvas: tuple[int, int],
        out: tuple[int, int],
        rng: np.random.Generator,
    ) -> Picture:
        """Draw a matrix and warp tiles and objects from the canvas (h, w) into a picture (h, w)."""
        matrix, scale = self.matrix(canvas, out, rng)
        return warp_tiles(tiles, matrix, out), warp_objects(objects, matrix, scale, canvas, out)


class MixUp:
    """Two pictures blended, the objects of both kept."""

    def __call__(self, first: Picture, second: Picture, rng: np.random.Generator) -> Picture:
        r = float(rng.beta(_MIXUP_BETA, _MIXUP_BETA))
        image = (first[0].astype(np.float32) * r + second[0].astype(np.float32) * (1 - r)).astype(np.uint8)
        return image, Objects.join([first[1], second[1]])


class RandomHSV:
    """Random factors on hue, saturation and brightness."""

    def __init__(self, hgain: float = 0.015, sgain: float = 0.7, vgain: float = 0.4) -> None:
        self.gains = (hgain, sgain, vgain)

    def __call__(self, image: np.ndarray, rng: np.random.Generator, to_rgb: bool = False) -> np.ndarray:
        """The picture with other colours, in BGR or RGB order."""
        if not any(self.gains):
            return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if to_rgb else image
        factors = 1 + rng.uniform(-1, 1, 3) * self.gains
        ramp = np.arange(256)[:, None] * factors
        table = np.concatenate([ramp[:, :1] % 180, ramp[:, 1:].clip(0, 255)], 1).astype(np.uint8)  # (256, 3)
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        hsv = cv2.LUT(hsv, table[None])
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB if to_rgb else cv2.COLOR_HSV2BGR)


class RandomFlip:
    """Upside down, or left to right, by chance."""

    def __init__(self, flipud: float = 0.0, fliplr: float = 0.5) -> None:
        self.flipud, self.fliplr = flipud, fliplr

    def __call__(self, image: np.ndarray, objects: Objects, rng: np.random.Generator) -> Picture:
        up, left = (rng.random(2) < (self.flipud, self.fliplr)).tolist()
        if up or left:
            image = cv2.flip(image, -1 if up and left else 0 if up else 1)
            objects = _mirrored(objects, image.shape[1] if left else 0, image.shape[0] if up else 0)
        return image, objects


class Format:
    """From a picture in its final channel order and its objects to the tensors of a sample."""

    def __call__(self, image: np.ndarray, objects: Objects) -> dict[str, Any]:
        """Tensors `img` (3, H, W) uint8 (a view: its memory stays row by row), `cls` (n, 1), `bboxes` (n, 4) xywh
        as fractions, `batch_idx` (n,)."""
        import torch  # here, so that prediction's letterbox can be had without it

        h, w = image.shape[:2]
        x1, y1, x2, y2 = objects.boxes.T
        xywh = np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], 1) / np.array([w, h, w, h], np.float32)
        return {
            "img": torch.from_numpy(np.require(image, requirements="CW")).permute(2, 0, 1),
            "cls": torch.from_numpy(np.ascontiguousarray(objects.cls[:, None], np.float32)),
            "bboxes": torch.from_numpy(xywh.astype(np.float32)),
            "batch_idx": torch.zeros(len(objects)),
        }


class TrainAugment:
    """The whole way of a training sample, from decoded pictures to one augmented RGB picture."""

    KEYS = ("mosaic", "mixup", "degrees", "translate", "scale", "shear", "perspective", "hsv_h", "hsv_s", "hsv_v",
            "flipud", "fliplr", "bgr")  # fmt: skip

    def __init__(self, hyp: Mapping[str, float], imgsz: int) -> None:
        """Args: hyp: a value for each of KEYS; imgsz: side of the picture."""
        self.imgsz = imgsz
        self.mosaic_p, self.mixup_p, self.bgr_p = float(hyp["mosaic"]), float(hyp["mixup"]), float(hyp["bgr"])
        self.mosaic = Mosaic(imgsz)
        self.perspective = RandomPerspective(*(float(hyp[k]) for k in self.KEYS[2:7]))
        self.mixup = MixUp()
        self.hsv = RandomHSV(*(float(hyp[k]) for k in self.KEYS[7:10]))
        self.flip = RandomFlip(float(hyp["flipud"]), float(hyp["fliplr"]))
        self.letterbox = LetterBox((imgsz, imgsz))

    def __call__(
        self, load: Load, rng: np.random.Generator, rect_shape: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, Objects]:
        """One sample.

        Args:
            load: gives picture 0 (the sample's own) and, for mosaic and mixup, its partners 1 to 7.
            rng: source of everything random.
            rect_shape: (H, W) of the batch, instead of the square.

        Returns:
            Picture (H, W, 3) in RGB order (BGR by chance `bgr`), and its objects.
        """
        picture = self._composed(load, (0, 1, 2, 3), rng, rect_shape)
        if self.mixup_p and rng.random() <= self.mixup_p:
            picture = self.mixup(picture, self._composed(load, (4, 5, 6, 7), rng, rect_shape), rng)
        image, objects = picture
        image = self.hsv(image, rng, to_rgb=not (self.bgr_p and rng.random() <= self.bgr_p))
        return self.flip(image, objects, rng)

    def _composed(
        self, load: Load, numbers: Sequence[int], rng: np.random.Generator, rect_shape: tuple[int, int] | None
    ) -> Picture:
        if self.mosaic_p and rng.random() <= self.mosaic_p:
            tiles, objects = self.mosaic([load(k) for k in numbers], rng)
            return self.perspective(tiles, objects, (2 * self.imgsz,) * 2, (self.imgsz,) * 2, rng)
        image, objects = load(numbers[0])
        shape = rect_shape or (self.imgsz, self.imgsz)
        (h, w), (top, _, left, _), scale = self.letterbox.geometry(image.shape, shape)
        if (h, w) != image.shape[:2]:
            image = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
        return self.perspective([Tile(image, left, top)], objects.moved(scale[0], left, top), shape, shape, rng)


# ------------------------------------------------------------------------------------------------------------- the warp


def warp_tiles(tiles: Sequence[Tile], matrix: np.ndarray, out: tuple[int, int]) -> np.ndarray:
    """Draw tiles, given on a canvas, through a matrix from canvas to picture.

    Returns:
        uint8 (H, W, 3), grey where no tile is.
    """
    image = np.full((*out, 3), GREY, np.uint8)
    straight = not (matrix[0, 1] or matrix[1, 0] or matrix[2, 0] or matrix[2, 1]) and matrix[0, 0] > 0 < matrix[1, 1]
    for tile in tiles:
        if tile.image.size:
            (_draw_straight if straight else _draw_turned)(image, tile, matrix)
    return image


def _draw_straight(image: np.ndarray, tile: Tile, matrix: np.ndarray) -> None:
    """Only zoom and shift: the tile covers a rectangle, so that tiles beside each other share no pixel."""
    (sx, _, tx), (_, sy, ty) = matrix[:2].tolist()
    h, w = tile.image.shape[:2]
    # a picture pixel belongs to the tile whose pixel centres, half a pixel around, it falls on
    x1, x2 = (_ceil((x - 0.5) * sx + tx, image.shape[1]) for x in (tile.x, tile.x + w))
    y1, y2 = (_ceil((y - 0.5) * sy + ty, image.shape[0]) for y in (tile.y, tile.y + h))
    if x1 < x2 and y1 < y2:
        shift = np.array([[sx, 0, sx * tile.x + tx - x1], [0, sy, sy * tile.y + ty - y1]])
        _warp_into(image[y1:y2, x1:x2], tile.image, shift, cv2.BORDER_CONSTANT)


def _draw_turned(image: np.ndarray, tile: Tile, matrix: np.ndarray) -> None:
    h, w = tile.image.shape[:2]
    corners = _through(np.array([[-1, -1], [w, -1], [w, h], [-1, h]]) + (tile.x, tile.y), matrix)
    if (corners[:, 2] <= 0).any():  # the tile reaches behind the viewer: its outline says nothing
        x1, y1, x2, y2 = 0, 0, image.shape[1], image.shape[0]
    else:
        xy = corners[:, :2]
        (x1, y1), (x2, y2) = (
            (_ceil(v, side) for v, side in zip(p, image.shape[1::-1])) for p in (xy.min(0), xy.max(0))
        )
    if x1 < x2 and y1 < y2:
        back = np.array([[1, 0, -x1], [0, 1, -y1], [0, 0, 1]])
        place = np.array([[1, 0, tile.x], [0, 1, tile.y], [0, 0, 1]])
        _warp_into(image[y1:y2, x1:x2], tile.image, back @ matrix @ place, cv2.BORDER_TRANSPARENT)


def _warp_into(target: np.ndarray, source: np.ndarray, matrix: np.ndarray, border: int) -> None:
    size = target.shape[1::-1]
    grey = (GREY, GREY, GREY)
    if len(matrix) == 2 or not matrix[2, :2].any():
        drawn = cv2.warpAffine(source, matrix[:2], size, dst=target, borderMode=border, borderValue=grey)
    else:
        drawn = cv2.warpPerspective(source, matrix, size, dst=target, borderMode=border, borderValue=grey)
    if drawn is not target and not np.shares_memory(drawn, target):
        target[:] = drawn


def _ceil(value: float, limit: int) -> int:
    return int(min(max(np.ceil(value), 0), limit))


def warp_objects(
    objects: Objects, matrix: np.ndarray, scale: float, canvas: tuple[int, int], out: tuple[int, int]
) -> Objects:
    """Objects on a canvas, seen through a matrix; those of which too little is left are dropped.

    Args:
        objects: on the canvas.
        matrix: from canvas to picture.
        scale: the zoom in `matrix`, by which old areas are compared with new ones.
        canvas: (h, w) beyond which nothing is visible.
        out: (H, W) of the picture.
    """
    if not len(objects):
        return objects
    x1, y1, x2, y2 = objects.boxes.astype(np.float64).T
    corners = _through(np.stack([x1, y1, x2, y1, x2, y2, x1, y2], 1).reshape(-1, 2), matrix)
    xy = (corners[:, :2] / corners[:, 2:]).reshape(-1, 4, 2)
    boxes = np.concatenate([xy.min(1), xy.max(1)], 1)
    has_outline = np.diff(objects.point_offsets) > 0
    if has_outline.any():
        boxes[has_outline], moved = _outline_boxes(objects, matrix, canvas, out)
        objects = replace(objects, points=moved)
    boxes = boxes.clip(0, np.array([out[1], out[0]] * 2))
    new_w, new_h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    old_area = (x2 - x1) * (y2 - y1) * scale**2
    aspect = np.maximum(new_w / (new_h + 1e-16), new_h / (new_w + 1e-16))
    least = np.where(has_outline, _MIN_AREA_POLYGON, _MIN_AREA)
    good = (
        (new_w > _MIN_SIDE)
        & (new_h > _MIN_SIDE)
        & (new_w * new_h / (old_area + 1e-16) > least)
        & (aspect < _MAX_ASPECT)
    )
    return replace(objects, boxes=boxes.astype(np.float32)).keep(good)


def _through(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(k, 2) -> (k, 3) homogeneous."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def _outline_boxes(
    objects: Objects, matrix: np.ndarray, canvas: tuple[int, int], out: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The visible outlines' extents in the picture, for the objects that have one, and all points through the matrix.

    8.3.0 takes 1000 points of each outline and those of them that are inside; here each edge is cut exactly.
    """
    offsets = np.unique(objects.point_offsets)  # without the objects that have no points
    start = objects.points.astype(np.float64)
    following = np.arange(1, len(start) + 1)
    following[offsets[1:] - 1] = offsets[:-1]  # the last point is joined to the first
    a, b, seen = _cut_edges(start, start[following], canvas)
    a, b = (p[:, :2] / p[:, 2:] for p in (_through(a, matrix), _through(b, matrix)))
    a, b, inside = _cut_edges(a, b, out)
    hidden = ~(seen & inside)[:, None]
    low = np.minimum.reduceat(np.where(hidden, np.inf, np.minimum(a, b)), offsets[:-1])
    high = np.maximum.reduceat(np.where(hidden, -np.inf, np.maximum(a, b)), offsets[:-1])
    boxes = np.concatenate([low, high], 1)
    boxes[~np.isfinite(boxes).all(1)] = 0
    moved = _through(start, matrix)
    return boxes, (moved[:, :2] / moved[:, 2:]).astype(np.float32)


def _cut_edges(a: np.ndarray, b: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The parts of the edges a-b (k, 2) inside (h, w), and which edges have one."""
    along = b - a
    with np.errstate(divide="ignore", invalid="ignore"):
        near, far = -a / along, (np.array([shape[1], shape[0]]) - a) / along
    level = along == 0  # never crosses the sides: all of it or nothing
    within = (a >= 0) & (a <= (shape[1], shape[0]))
    enter = np.where(level, np.where(within, -np.inf, np.inf), np.minimum(near, far)).max(1).clip(0, None)
    leave = np.where(level, np.inf, np.maximum(near, far)).min(1).clip(None, 1)
    exists = enter <= leave
    enter, leave = (np.where(exists, t, 0)[:, None] for t in (enter, leave))
    return a + enter * along, a + leave * along, exists


def _mirrored(objects: Objects, width: int, height: int) -> Objects:
    """Mirrored at the vertical middle if `width` is given, at the horizontal middle if `height` is."""
    boxes, points = objects.boxes.copy(), objects.points.copy()
    for axis, side in ((0, width), (1, height)):
        if side:
            boxes[:, [axis, axis + 2]] = side - boxes[:, [axis + 2, axis]]
            points[:, axis] = side - points[:, axis]
    return replace(objects, boxes=boxes, points=points)


def _bordered(image: np.ndarray, top: int, bottom: int, left: int, right: int) -> np.ndarray:
    h, w = image.shape[:2]
    out = np.full((top + h + bottom, left + w + right, *image.shape[2:]), GREY, image.dtype)
    out[top : top + h, left : left + w] = image
    return out
