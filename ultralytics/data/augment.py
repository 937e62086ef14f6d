"""Augmentation of training pictures, and the letterbox.

The distributions are those of ultralytics 8.3.0: mosaic of four, random perspective, mixup, HSV, flips, BGR order.
Random numbers come from a numpy Generator per sample, so that a sample depends on nothing but its ticket. The blur,
grey and CLAHE steps that 8.3.0 adds where albumentations is installed are left out.

Pictures are uint8 (H, W, 3) in BGR order until the HSV step makes RGB of them; boxes are xyxy in pixels until `Format`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import cos, radians, sin, tan
from typing import Any

import cv2
import numpy as np

from ultralytics.data.warp import GREY, Objects, Scene, Tile, warp_scene

_MIXUP_BETA = 32.0
_STRIPE = 128  # rows that the colour steps take at a time, so that they stay in the processor's cache
_CUT_OFF = -0.4999  # what makes of rounding the cutting off of 8.3.0; not quite -0.5, for products that are whole

Picture = tuple[np.ndarray, Objects]
Load = Callable[[int], Picture]  # picture k of a ticket (0 its own, then its partners) at training size


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
        """A picture of `shape` (h, w): its new (h, w), the grey (top, bottom, left, right), the scale (x, y)."""
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
            labels: may hold "img", "rect_shape" (instead of the set shape), "ratio_pad" and "objects" (`Objects`).
            image: uint8 (h, w, C).

        Returns:
            The picture, if no labels were given; else a new dict, with "resized_shape" and without "rect_shape".
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
            given["objects"] = given["objects"].moved(scale, (left, top))
        return {**given, "img": image, "resized_shape": image.shape[:2]}


class Mosaic:
    """Four pictures around a random centre on a canvas of twice the size."""

    def __init__(self, imgsz: int) -> None:
        self.imgsz = imgsz

    def __call__(self, pictures: Sequence[Picture], rng: np.random.Generator) -> Scene:
        """Lay out four pictures: upper left, upper right, lower left and lower right of the centre."""
        side = 2 * self.imgsz
        yc, xc = (int(v) for v in rng.uniform(self.imgsz / 2, 1.5 * self.imgsz, 2))
        tiles, found = [], []
        for k, (image, objects) in enumerate(pictures):
            h, w = image.shape[:2]
            x, y = xc - (w if k in (0, 2) else 0), yc - (h if k in (0, 1) else 0)
            x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + w, side), min(y + h, side)
            tiles.append(Tile(image[y1 - y : y2 - y, x1 - x : x2 - x], x1, y1))
            found.append(objects.moved((1, 1), (x, y)))
        objects = Objects.join(found)
        owner = np.arange(4).repeat([len(part) for part in found])
        boxes = objects.boxes.clip(0, side)
        objects = Objects(objects.cls, boxes, objects.points, objects.point_offsets)
        seen = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
        return Scene(tiles, objects.keep(seen), owner[seen], (side, side))


class RandomPerspective:
    """Random rotation, zoom, shear, shift and tilt, in one step from the canvas to the picture."""

    def __init__(
        self,
        degrees: float = 0.0,
        translate: float = 0.1,
        scale: float = 0.5,
        shear: float = 0.0,
        perspective: float = 0.0,
    ) -> None:
        self.translate = translate
        self.spread = (perspective, perspective, degrees, scale, shear, shear)

    def matrix(
        self, canvas: tuple[int, int], out: tuple[int, int], rng: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        """Draw a matrix from canvas (h, w) to picture (h, w); also gives the zoom in it."""
        px, py, angle, zoom, shear_x, shear_y = (rng.uniform(-1, 1, 6) * self.spread).tolist()
        tx, ty = (0.5 + rng.uniform(-1, 1, 2) * self.translate).tolist()
        s, a = 1 + zoom, radians(angle)
        centre = np.array([[1, 0, -canvas[1] / 2], [0, 1, -canvas[0] / 2], [0, 0, 1]])
        tilt = np.array([[1, 0, 0], [0, 1, 0], [px, py, 1]])
        turn = np.array([[s * cos(a), s * sin(a), 0], [-s * sin(a), s * cos(a), 0], [0, 0, 1]])
        slant = np.array([[1, tan(radians(shear_x)), 0], [tan(radians(shear_y)), 1, 0], [0, 0, 1]])
        shift = np.array([[1, 0, tx * out[1]], [0, 1, ty * out[0]], [0, 0, 1]])
        return shift @ slant @ turn @ tilt @ centre, s

    def __call__(self, scene: Scene, out: tuple[int, int], rng: np.random.Generator) -> Picture:
        """A picture (h, w) of the scene through a random matrix."""
        matrix, scale = self.matrix(scene.shape, out, rng)
        return warp_scene(scene, matrix, scale, out)


class MixUp:
    """Two pictures blended, the objects of both kept."""

    def __call__(self, first: Picture, second: Picture, rng: np.random.Generator) -> Picture:
        r = float(rng.beta(_MIXUP_BETA, _MIXUP_BETA))
        image = (first[0].astype(np.float32) * r + second[0].astype(np.float32) * (1 - r)).astype(np.uint8)
        return image, Objects.join([first[1], second[1]])


class RandomHSV:
    """Random factors on hue, saturation and brightness; turns and reorders the picture in the same pass."""

    def __init__(self, hgain: float = 0.015, sgain: float = 0.7, vgain: float = 0.4) -> None:
        self.gains = (hgain, sgain, vgain)

    def __call__(
        self,
        image: np.ndarray,
        rng: np.random.Generator,
        to_rgb: bool = False,
        flips: tuple[bool, bool] = (False, False),
    ) -> np.ndarray:
        """A new picture with other colours.

        Args:
            image: BGR.
            rng: source of the factors.
            to_rgb: the new picture is RGB instead.
            flips: upside down, left to right.
        """
        up, left = flips
        turn = ((-1 if left else 0) if up else 1) if up or left else None
        if not any(self.gains):
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if to_rgb else image.copy()
            return cv2.flip(image, turn) if turn is not None else image
        hue, saturation, value = (1 + rng.uniform(-1, 1, 3) * self.gains).tolist()
        hues = (np.arange(256) * hue % 180).astype(np.uint8)
        order = cv2.COLOR_HSV2RGB if to_rgb else cv2.COLOR_HSV2BGR
        out = np.empty(image.shape, np.uint8)
        for top in range(0, len(image), _STRIPE):
            part = image[top : top + _STRIPE]
            target = out[len(out) - top - len(part) : len(out) - top] if up else out[top : top + len(part)]
            hsv = cv2.cvtColor(part, cv2.COLOR_BGR2HSV)
            h, s, v = cv2.split(hsv)
            cv2.LUT(h, hues, dst=h)
            cv2.convertScaleAbs(s, dst=s, alpha=saturation, beta=_CUT_OFF)
            cv2.convertScaleAbs(v, dst=v, alpha=value, beta=_CUT_OFF)
            cv2.merge((h, s, v), dst=hsv)
            if turn is None:
                cv2.cvtColor(hsv, order, dst=target)
            else:
                cv2.flip(cv2.cvtColor(hsv, order), turn, dst=target)
        return out


class RandomFlip:
    """Upside down, or left to right, by chance."""

    def __init__(self, flipud: float = 0.0, fliplr: float = 0.5) -> None:
        self.chances = (flipud, fliplr)

    def draw(self, rng: np.random.Generator) -> tuple[bool, bool]:
        """Whether a picture is turned upside down, and left to right."""
        up, left = (rng.random(2) < self.chances).tolist()
        return up, left

    def __call__(self, image: np.ndarray, objects: Objects, rng: np.random.Generator) -> Picture:
        up, left = self.draw(rng)
        if up or left:
            image = cv2.flip(image, (-1 if left else 0) if up else 1)
        return image, objects.mirrored(image.shape[1] if left else 0, image.shape[0] if up else 0)


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
            "img": torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1),
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
        up, left = self.flip.draw(rng)
        to_rgb = not (self.bgr_p and rng.random() <= self.bgr_p)
        objects = objects.mirrored(image.shape[1] if left else 0, image.shape[0] if up else 0)
        return self.hsv(image, rng, to_rgb, (up, left)), objects

    def _composed(
        self, load: Load, numbers: Sequence[int], rng: np.random.Generator, rect_shape: tuple[int, int] | None
    ) -> Picture:
        if self.mosaic_p and rng.random() <= self.mosaic_p:
            scene = self.mosaic([load(k) for k in numbers], rng)
            return self.perspective(scene, (self.imgsz, self.imgsz), rng)
        image, objects = load(numbers[0])
        shape = rect_shape or (self.imgsz, self.imgsz)
        (h, w), (top, _, left, _), scale = self.letterbox.geometry(image.shape, shape)
        if (h, w) != image.shape[:2]:
            image = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
        objects = objects.moved(scale, (left, top))
        scene = Scene([Tile(image, left, top)], objects, np.zeros(len(objects), int), shape)
        return self.perspective(scene, shape, rng)


def _bordered(image: np.ndarray, top: int, bottom: int, left: int, right: int) -> np.ndarray:
    h, w = image.shape[:2]
    out = np.full((top + h + bottom, left + w + right, *image.shape[2:]), GREY, image.dtype)
    out[top : top + h, left : left + w] = image
    return out
