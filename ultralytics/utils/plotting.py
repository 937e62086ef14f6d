"""Drawing on one image: `Annotator`. Batches are drawn in image_grid.py and charts in charts.py.

The names that 8.3.0 has in this module are importable from here: palette.py, image_files.py, image_grid.py, charts.py.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from ultralytics.utils.image_files import save_one_box, show_image, write_image
from ultralytics.utils.mask_overlay import blend_masks
from ultralytics.utils.palette import (
    KEYPOINT_COLORS,
    LIMB_COLORS,
    RGB,
    SKELETON,
    Colors,
    colors,
    readable_on,
)
from ultralytics.utils.text import CV2_FONT_PIXELS, TextRenderer

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

__all__ = ["Annotator", "Colors", "colors", "readable_on", "save_one_box", "show_image", "write_image"]

Array = np.ndarray

MIN_LINE_WIDTH = 2
LINE_WIDTH_PER_PIXEL = 0.003  # of half the sum of the image's dimensions
MIN_FONT_SIZE = 12
MAX_FONT_SHARE = 1 / 7  # of the shorter side: on tiny images text would cover everything
TINY_FONT_SIZE = 8
MAX_LABEL_SHARE = 0.5  # of the image's width, or
MIN_LABEL_WIDTH = 10  # font sizes, if that is more
DEFAULT_FONT = "Arial.ttf"  # 8.3.0's default; stands for OpenCV's font here, nothing is downloaded
KEYPOINT_CONFIDENCE = 0.25
MIN_RIMMED_RADIUS = 4  # pixels
MAX_HIDDEN_SHARE = 0.08  # of a label by another one: less than a letter
CROWDED = 25  # with more boxes, labels do not cover them
MAX_COORDINATE = 30000  # OpenCV's drawing functions fail at larger ones
GRAY: RGB = (128, 128, 128)
WHITE: RGB = (255, 255, 255)


class _Label(NamedTuple):
    """A label that fits into the image: text, rectangle and start of the baseline, in pixels."""

    text: str
    x: int
    y: int
    width: int
    height: int
    baseline: tuple[int, int]

    def hides(self, other: _Label) -> bool:
        """Whether a part of the other label that matters lies under this one."""
        width = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        height = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return width > 0 < height and width * height > MAX_HIDDEN_SHARE * other.width * other.height

    def covers(self, points: Array) -> bool:
        """Whether any of the points (n, 2) lies in the rectangle."""
        offset = points - np.array((self.x, self.y))
        return bool(((offset >= 0) & (offset < np.array((self.width, self.height)))).all(1).any())


class Annotator:
    """Draws boxes, labels, masks and keypoints on an image.

    A writable contiguous (H, W, 3) uint8 array is drawn on in place. Anything else (a PIL image, a view with negative
    strides, a gray or float array) is copied first; `result()` returns what was drawn on in both cases. Colors are in
    the channel order of the image: BGR for arrays as OpenCV reads them, RGB for PIL images.

    Args:
        im: the image.
        line_width: pixels; depends on the size of the image by default.
        font_size: pixels; depends on the line width by default.
        font: a TrueType file for all text; by default OpenCV's font, and an installed one for what that cannot draw.
        pil: draw all text with Pillow.
        example: text whose characters the font must have, such as all class names.

    Attributes:
        im: the image that is drawn on.
        lw: line width in pixels.
        sf, tf: scale and thickness of OpenCV's font.
        skeleton, limb_color, kpt_color: limbs of 17 COCO keypoints as pairs counted from 1, and the RGB colors.
    """

    def __init__(
        self,
        im: Array | Image,
        line_width: float | None = None,
        font_size: float | None = None,
        font: str | Path | None = DEFAULT_FONT,
        pil: bool = False,
        example: object = "abc",
    ) -> None:
        self.im = _drawable(im)
        self.lw = int(line_width or max(round(sum(self.im.shape) / 2 * LINE_WIDTH_PER_PIXEL), MIN_LINE_WIDTH))
        largest = max(min(self.im.shape[:2]) * MAX_FONT_SHARE, TINY_FONT_SIZE)
        self.font_size = round(font_size or min(max(self.lw / 3 * CV2_FONT_PIXELS, MIN_FONT_SIZE), largest))
        font_file = None if font is None or str(font) == DEFAULT_FONT else font
        self.pil = pil or font_file is not None
        self._text = TextRenderer(self.font_size, font_file, self.pil, str(example))
        self.sf, self.tf = self._text.scale, self._text.thickness
        self.skeleton = [list(limb) for limb in SKELETON]
        self.limb_color = colors.pose_palette[list(LIMB_COLORS)]
        self.kpt_color = colors.pose_palette[list(KEYPOINT_COLORS)]

    def box_label(
        self,
        box: Sequence[float] | Array | Tensor,
        label: str = "",
        color: RGB = GRAY,
        txt_color: RGB | None = None,
        rotated: bool = False,
    ) -> None:
        """Draw a box and its label.

        The label is above the box, or inside it at the border of the image, and never leaves the image.

        Args:
            box: (4,) corners x1, y1, x2, y2 in pixels, or with `rotated` the (4, 2) corners of an oriented box.
            label: text; empty for none.
            color: of the lines and of the background of the label.
            txt_color: of the label; None chooses black or white, whichever is readable.
            rotated: whether `box` has four corners.
        """
        corners = _numpy(box)
        self.boxes([corners.reshape(4, 2) if rotated else corners.reshape(-1)], [label], [color], txt_color)

    def boxes(
        self,
        boxes: Sequence[Sequence[float] | Array] | Array,
        labels: Sequence[str],
        box_colors: Sequence[RGB],
        txt_color: RGB | None = None,
    ) -> None:
        """Draw many boxes, (n, 4) or (n, 4, 2) as in `box_label`: all lines first, so that none crosses a label.

        A label that the label of a later box would hide is left out. So is, among more than 25 boxes, one that would
        cover the center of another box: of small instances nothing but labels would be seen.
        """
        outlines = _outlines(boxes)
        for points, color in zip(outlines, box_colors, strict=True):
            if len(points) == 2:
                cv2.rectangle(self.im, points[0].tolist(), points[1].tolist(), color, self.lw)
            else:
                cv2.polylines(self.im, [points], True, color, self.lw, cv2.LINE_AA)
        fitted: list[tuple[_Label, RGB]] = []  # the last one first
        for i in reversed([i for i, label in enumerate(labels) if label]):
            x, y = min(outlines[i].tolist(), key=lambda point: point[1])
            label = self._fit_label((x - self.lw // 2, y), labels[i])
            others = np.delete(outlines, i, 0).mean(1) if len(outlines) > CROWDED else np.zeros((0, 2))
            if not label.covers(others) and not any(other.hides(label) for other, _ in fitted):
                fitted.append((label, box_colors[i]))
        for label, color in reversed(fitted):
            self._draw_label(label, txt_color or readable_on(color), color)

    def masks(
        self,
        masks: Array | Tensor,
        colors: Sequence[RGB],
        im_gpu: Tensor | None = None,
        alpha: float = 0.5,
        retina_masks: bool = False,
    ) -> None:
        """Blend the image with masks, the first one on top.

        Args:
            masks: (n, h, w), above 0.5 inside, in the size of the letterboxed image or of the image itself.
            colors: one per mask.
            im_gpu: accepted for 8.3.0's call form and not used: the image itself, which is sharper, is blended.
            alpha: opacity of the masks.
            retina_masks: the masks show the image without letterbox borders, whatever their size.
        """
        if len(masks):
            blend_masks(self.im, _numpy(masks > 0.5), colors, alpha, letterboxed=not retina_masks)

    def kpts(
        self,
        kpts: Array | Tensor,
        shape: tuple[int, int] = (640, 640),
        radius: int | None = None,
        kpt_line: bool = True,
        conf_thres: float = KEYPOINT_CONFIDENCE,
        kpt_color: RGB | None = None,
    ) -> None:
        """Draw the keypoints of one instance.

        Args:
            kpts: (K, 2) or (K, 3) x, y in pixels and the confidence.
            shape: (height, width) of the image the coordinates refer to; points on multiples of it are not drawn, since
                0, 0 and the far corner stand for missing points.
            radius: pixels; depends on the size of the image by default.
            kpt_line: connect the 17 keypoints of a person with limbs.
            conf_thres: minimum confidence of the points that are drawn.
            kpt_color: one color for points and limbs instead of the pose palette.
        """
        points = _numpy(kpts).astype(np.float64)
        present = (points[:, 0] % shape[1] != 0) & (points[:, 1] % shape[0] != 0) & np.isfinite(points).all(1)
        if points.shape[1] == 3:
            present &= points[:, 2] >= conf_thres
        is_person = len(points) == len(KEYPOINT_COLORS)
        pixels = np.rint(np.nan_to_num(points[:, :2])).astype(int)
        size = min(2 * self.lw, max(round(min(self.im.shape[:2]) / 50), 2)) if radius is None else radius
        if kpt_line and is_person:
            for (start, end), color in zip(self.skeleton, self.limb_color, strict=True):
                if present[start - 1] and present[end - 1]:
                    line = pixels[start - 1].tolist(), pixels[end - 1].tolist()
                    cv2.line(self.im, *line, kpt_color or _bgr(color), max(size // 2, 1), cv2.LINE_AA)
        for i in np.flatnonzero(present).tolist():
            color = kpt_color or (_bgr(self.kpt_color[i]) if is_person else colors(i, bgr=True))
            if size >= MIN_RIMMED_RADIUS:  # dark points on dark images, and light ones on light images, need a rim
                cv2.circle(self.im, pixels[i].tolist(), size + 1, readable_on(color), -1, cv2.LINE_AA)
            cv2.circle(self.im, pixels[i].tolist(), size, color, -1, cv2.LINE_AA)

    def rectangle(
        self,
        xy: Sequence[float] | Sequence[Sequence[float]],
        fill: RGB | None = None,
        outline: RGB | None = None,
        width: int = 1,
    ) -> None:
        """Draw a rectangle of corners (x1, y1, x2, y2) or ((x1, y1), (x2, y2)) in pixels."""
        x1, y1, x2, y2 = np.rint(np.asarray(xy, np.float64)).astype(int).reshape(4).tolist()
        if fill is not None:
            cv2.rectangle(self.im, (x1, y1), (x2, y2), fill, -1)
        if outline is not None or fill is None:
            cv2.rectangle(self.im, (x1, y1), (x2, y2), outline or WHITE, width)

    def text(
        self,
        xy: Sequence[float],
        text: str,
        txt_color: RGB = WHITE,
        anchor: str = "top",
        box_style: bool = False,
    ) -> None:
        """Draw text; lines are separated by `\\n`.

        Args:
            xy: left end of the baseline of the first line; with `pil` its upper left corner, or with
                `anchor="bottom"` its lower left corner.
            text: what to write.
            txt_color: of the letters; with `box_style` of the background, and the letters are black or white.
            anchor: "top" or "bottom", see `xy`.
            box_style: draw a background.
        """
        if anchor not in ("top", "bottom"):
            raise ValueError(f"anchor='{anchor}': expected 'top' or 'bottom'")
        x, y = round(xy[0]), round(xy[1])
        for line in text.split("\n"):
            width, ascent, descent = self._text.measure(line)
            baseline = y if not self.pil else y + ascent if anchor == "top" else y - descent
            color = txt_color
            if box_style:
                cv2.rectangle(self.im, (x, baseline - ascent - 2), (x + width, baseline + descent), txt_color, -1)
                color = readable_on(txt_color)
            self._text.draw(self.im, (x, baseline), line, color)
            y += ascent + descent + 2

    def label(
        self,
        xy: Sequence[float],
        text: str,
        txt_color: RGB = WHITE,
        background: RGB | None = None,
        below: bool = False,
    ) -> None:
        """Draw a label with its lower left corner at `xy`, moved and shortened so that it fits into the image.

        Args:
            xy: pixels.
            text: one line.
            txt_color: of the letters.
            background: color of the rectangle behind the text; None draws only the letters.
            below: `xy` is the upper left corner.
        """
        self._draw_label(self._fit_label(xy, text, below), txt_color, background)

    def _fit_label(self, xy: Sequence[float], text: str, below: bool = False) -> _Label:
        """Position and text of a label; arguments as of `label`."""
        pad = max(self.font_size // 8, 2)
        height, width = self.im.shape[:2]
        room = min(max(width * MAX_LABEL_SHARE, self.font_size * MIN_LABEL_WIDTH), width)
        text_width, ascent, descent = self._text.measure(text)
        if text_width > room - 2 * pad:
            text = self._text.shortened(text, room - 2 * pad)
            text_width, ascent, descent = self._text.measure(text)
        box_w, box_h = text_width + 2 * pad, ascent + descent + pad
        x = min(max(int(xy[0]), 0), max(width - box_w, 0))
        y = int(xy[1]) if below or xy[1] - box_h < 0 else int(xy[1]) - box_h
        y = min(max(y, 0), max(height - box_h, 0))
        return _Label(text, x, y, box_w, box_h, (x + pad, y + pad // 2 + ascent))

    def _draw_label(self, label: _Label, txt_color: RGB, background: RGB | None) -> None:
        if background is not None:
            corner = label.x + label.width - 1, label.y + label.height - 1
            cv2.rectangle(self.im, (label.x, label.y), corner, background, -1)
        self._text.draw(self.im, label.baseline, label.text, txt_color)

    def text_size(self, text: str) -> tuple[int, int, int]:
        """(width, ascent above the baseline, descent below it) of one line of text in pixels."""
        return self._text.measure(text)

    def seg_bbox(
        self,
        mask: Array | Tensor,
        mask_color: RGB = (255, 0, 255),
        label: str | None = None,
        txt_color: RGB = WHITE,
    ) -> None:
        """Draw the outline of an instance and its label.

        Args:
            mask: (m, 2) polygon in pixels; one with fewer than 3 points is not drawn.
            mask_color: of the outline and of the background of the label.
            label: text at the topmost point.
            txt_color: of the label.
        """
        points = np.rint(_numpy(mask)).astype(np.int32).reshape(-1, 2)
        if len(points) < 3:
            return
        cv2.polylines(self.im, [points], True, mask_color, self.lw, cv2.LINE_AA)
        if label:
            self.label(points[points[:, 1].argmin()].tolist(), label, txt_color, background=mask_color)

    def fromarray(self, im: Array | Image) -> None:
        """Go on with another image."""
        self.im = _drawable(im)

    def result(self) -> Array:
        """(H, W, 3) uint8, the image with everything drawn on it, in its own channel order."""
        return self.im

    def show(self, title: str | None = None) -> None:
        """Show the image, taken as BGR, in a window."""
        show_image(self.im, title or "image")

    def save(self, filename: str | Path = "image.jpg") -> None:
        """Write the image, taken as BGR, to a file."""
        write_image(filename, self.im)


def _drawable(im: Array | Image) -> Array:
    """The image as a writable contiguous (H, W, 3) uint8 array: itself if it is one, else a copy."""
    array = im if isinstance(im, np.ndarray) else np.array(im.convert("RGB"))
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, 2)
    if array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(f"expected an image of shape (H, W, 3) or (H, W), got {array.shape}")
    if array.dtype == np.uint8 and array.flags.c_contiguous and array.flags.writeable:
        return array
    return np.array(array, dtype=np.uint8, order="C")


def _outlines(boxes: Sequence[Sequence[float] | Array] | Array) -> Array:
    """(n, 2, 2) or (n, 4, 2) int32 corners, limited to what OpenCV can draw."""
    corners = np.nan_to_num(np.asarray(boxes, np.float64)).clip(-MAX_COORDINATE, MAX_COORDINATE)
    return np.rint(corners).astype(np.int32).reshape(len(corners), -1 if corners.size else 2, 2)


def _numpy(x: Sequence[float] | Array | Tensor) -> Array:
    if isinstance(x, (np.ndarray, Sequence)):
        return np.asarray(x)
    return x.detach().cpu().numpy()


def _bgr(color: Array) -> RGB:
    red, green, blue = color.tolist()
    return blue, green, red


def __getattr__(name: str) -> Callable[..., object]:
    # 8.3.0 has these here; drawing boxes does not pay for importing matplotlib
    if name in ("plot_images", "plot_feature_maps"):
        return getattr(importlib.import_module("ultralytics.utils.image_grid"), name)
    if name.startswith("plot_"):
        charts = importlib.import_module("ultralytics.utils.charts")
        if hasattr(charts, name):
            return getattr(charts, name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
