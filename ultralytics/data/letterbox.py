"""Letterbox: an image fitted into a shape without distortion, the rest gray."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, overload

import cv2
import numpy as np

from ultralytics.data.instances import Instances
from ultralytics.data.warp import GRAY

RatioPad = tuple[tuple[float, float], tuple[int, int]]  # scale (y, x) from the file to the resized image; left, top


class LetterBoxLabels(TypedDict, total=False):
    """What LetterBox reads and writes of an image's labels; other keys are passed on."""

    img: np.ndarray
    rect_shape: Sequence[int]
    ratio_pad: tuple[float, float] | RatioPad
    instances: Instances
    resized_shape: tuple[int, int]


class LetterBox:
    """Fits an image into a shape without distortion and fills the rest with gray."""

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
            auto: pad only up to the next multiple of `stride`, not up to `new_shape`.
            scale_fill: stretch to `new_shape` instead.
            scaleup: small images are enlarged.
            center: pad on both sides, else only at the right and the bottom.
            stride: see `auto`.
        """
        self.new_shape = (
            (new_shape, new_shape) if isinstance(new_shape, int) else (int(new_shape[0]), int(new_shape[1]))
        )
        self.auto, self.scale_fill, self.scaleup, self.center, self.stride = auto, scale_fill, scaleup, center, stride

    def geometry(
        self, shape: Sequence[int], new_shape: tuple[int, int] | None = None
    ) -> tuple[tuple[int, int], tuple[int, int, int, int], tuple[float, float]]:
        """For an image of `shape` (h, w): its new (h, w), the padding (top, bottom, left, right), the scale (x, y)."""
        h, w = shape[:2]
        out_h, out_w = new_shape or self.new_shape
        r = min(out_h / h, out_w / w)
        if not self.scaleup:
            r = min(r, 1.0)
        scale = r, r
        new_w, new_h = max(round(w * r), 1), max(round(h * r), 1)  # of a strip, one side would vanish
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

    @overload
    def __call__(self, labels: LetterBoxLabels, image: np.ndarray | None = None) -> LetterBoxLabels: ...

    @overload
    def __call__(self, labels: None = None, *, image: np.ndarray) -> np.ndarray: ...

    def __call__(
        self, labels: LetterBoxLabels | None = None, image: np.ndarray | None = None
    ) -> LetterBoxLabels | np.ndarray:
        """Fit `image`, or the image `labels["img"]` with its instances.

        Args:
            labels: may hold "img", "rect_shape" (instead of the set shape), "ratio_pad" and "instances" (`Instances`).
            image: uint8 (h, w, C).

        Returns:
            The image, if no labels were given; else a new dict, with "resized_shape" and without "rect_shape".
        """
        result: LetterBoxLabels = {**labels} if labels else {}
        image = result["img"] if image is None else image
        target = result.pop("rect_shape", None)
        (h, w), (top, bottom, left, right), scale = self.geometry(
            image.shape, (int(target[0]), int(target[1])) if target else None
        )
        if (h, w) != image.shape[:2]:
            image = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
        if top or bottom or left or right:
            image = _padded(image, top, bottom, left, right)
        if not labels:
            return image
        if "ratio_pad" in result:
            result["ratio_pad"] = (result["ratio_pad"], (left, top))  # type: ignore[typeddict-item]
        if "instances" in result:
            result["instances"] = result["instances"].moved(scale, (left, top))
        result["img"], result["resized_shape"] = image, (image.shape[0], image.shape[1])
        return result


def _padded(image: np.ndarray, top: int, bottom: int, left: int, right: int) -> np.ndarray:
    h, w = image.shape[:2]
    out = np.full((top + h + bottom, left + w + right, *image.shape[2:]), GRAY, image.dtype)
    out[top : top + h, left : left + w] = image
    return out
