"""Drawing on one image: palette, boxes with labels, crops. Batches are drawn in mosaic.py, charts in charts.py."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ultralytics.utils.files import atomic_write, increment_path
from ultralytics.utils.fonts import font_for

Array = np.ndarray
RGB = tuple[int, int, int]

JPEG_QUALITY = 95
MIN_LINE_WIDTH = 2
LINE_WIDTH_PER_PIXEL = 0.003  # of the mean of height and width
CV2_FONT = cv2.FONT_HERSHEY_SIMPLEX
CV2_FONT_PIXELS = 30  # size in pixels that scale 1 of OpenCV's font stands for
CV2_DRAWS_UNICODE = hasattr(cv2, "FontFace")  # OpenCV >= 5 carries fonts with Chinese, Japanese and Korean glyphs

# twenty hues as far apart as they go, light and dark in turn so that neighbours differ for the colour-blind as well
_PALETTE = (
    "E6352B", "1F6FE0", "17A34A", "F59E0B", "8B2FC9", "0BB5C9", "E83E9C", "7A5210", "9BD11F", "1B2A8F",
    "FF7A59", "0E7C66", "C7A6FF", "A3152F", "4FC3F7", "5E8C00", "FFD23F", "6D5BD0", "FF9EC4", "3F5566",
)  # fmt: skip


class Colors:
    """The palette; call it with a class index: `colors(3)` is RGB, `colors(3, bgr=True)` is OpenCV's order."""

    def __init__(self) -> None:
        self.palette: list[RGB] = [self.hex2rgb(code) for code in _PALETTE]
        self.n = len(self.palette)

    def __call__(self, i: int | float, bgr: bool = False) -> RGB:
        r, g, b = self.palette[int(i) % self.n]
        return (b, g, r) if bgr else (r, g, b)

    @staticmethod
    def hex2rgb(code: str) -> RGB:
        """Colour of `RRGGBB`, with or without a leading `#`."""
        code = code.lstrip("#")
        return int(code[0:2], 16), int(code[2:4], 16), int(code[4:6], 16)


colors = Colors()


class Annotator:
    """Draws boxes and labels on a copy of a BGR image.

    Args:
        im: (H, W, 3) uint8 BGR; a PIL image is converted.
        line_width: pixels; by default it follows the image's size.
        font_size: pixels; by default it follows the line width.
        font: a TrueType file for all text; by default OpenCV's font, and an installed one for what that cannot draw.
        pil: draw all text with Pillow (smoother than OpenCV 4's strokes, slower).
    """

    def __init__(
        self,
        im: Any,
        line_width: float | None = None,
        font_size: float | None = None,
        font: str | Path | None = None,
        pil: bool = False,
    ) -> None:
        if not isinstance(im, np.ndarray):
            im = np.asarray(im.convert("RGB"))[..., ::-1]
        self.im = np.array(im, dtype=np.uint8, order="C")  # a copy: the caller's picture stays clean
        height, width = self.im.shape[:2]
        self.lw = int(line_width or max(round((height + width) / 2 * LINE_WIDTH_PER_PIXEL), MIN_LINE_WIDTH))
        self.font_size = round(font_size or max(self.lw / 3 * CV2_FONT_PIXELS, 12))
        self.font = str(font) if font else None
        self.pil = pil or font is not None

    def box_label(
        self, box: Sequence[float] | Array, label: str = "", color: RGB = (128, 128, 128), txt_color: RGB | None = None
    ) -> None:
        """Draw the rectangle `box` (x1, y1, x2, y2 pixels), and `label` on a plate at its upper left corner.

        Colours are BGR. The plate sits above the box, or inside it at the picture's edge, and never leaves the picture.
        """
        self.boxes([box], [label], [color], txt_color)

    def boxes(
        self,
        boxes: Sequence[Sequence[float] | Array] | Array,
        labels: Sequence[str],
        box_colors: Sequence[RGB],
        txt_color: RGB | None = None,
    ) -> None:
        """As `box_label`, of many: first all rectangles, then all labels, so that no line runs through a name."""
        corners = [tuple(round(float(v)) for v in box) for box in boxes]
        for (x1, y1, x2, y2), color in zip(corners, box_colors, strict=True):
            cv2.rectangle(self.im, (x1, y1), (x2, y2), color, self.lw)
        for (x1, y1, _, _), label, color in zip(corners, labels, box_colors, strict=True):
            if label:
                self.text((x1 - self.lw // 2, y1), label, txt_color or readable_on(color), plate=color)

    def text(
        self,
        xy: tuple[int, int],
        text: str,
        txt_color: RGB = (255, 255, 255),
        plate: RGB | None = None,
        below: bool = False,
    ) -> None:
        """Write `text` with its lower (`below`: upper) left corner at `xy`, moved so that the picture holds it."""
        width, ascent, descent = self.text_size(text)
        pad = max(self.font_size // 8, 2)
        box_w, box_h = width + 2 * pad, ascent + descent + pad
        x = min(max(xy[0], 0), max(self.im.shape[1] - box_w, 0))
        y = xy[1] if below or xy[1] - box_h < 0 else xy[1] - box_h
        y = min(max(y, 0), max(self.im.shape[0] - box_h, 0))
        if plate is not None:
            cv2.rectangle(self.im, (x, y), (x + box_w - 1, y + box_h - 1), plate, -1)
        baseline = (x + pad, y + pad // 2 + ascent)
        if self._uses_pil(text):
            self._pil_text(baseline, text, txt_color)
        else:
            cv2.putText(self.im, text, baseline, CV2_FONT, self._scale, txt_color, self._thickness, cv2.LINE_AA)

    def text_size(self, text: str) -> tuple[int, int, int]:
        """(width, ascent above the base line, descent below it) of `text` in pixels."""
        if self._uses_pil(text):
            font = self._pil_font(text)
            ascent, descent = font.getmetrics()
            return math.ceil(font.getlength(text)), int(ascent), int(descent)
        (width, height), base = cv2.getTextSize(text, CV2_FONT, self._scale, self._thickness)
        return int(width), int(height), int(base)

    def result(self) -> Array:
        """The picture with everything drawn on it."""
        return self.im

    @property
    def _scale(self) -> float:
        return self.font_size / CV2_FONT_PIXELS

    @property
    def _thickness(self) -> int:
        return max(round(self.font_size / 16), 1)

    def _uses_pil(self, text: str) -> bool:
        return self.pil or not (CV2_DRAWS_UNICODE or text.isascii())

    def _pil_font(self, text: str) -> Any:
        from PIL import ImageFont  # here: most pictures need no Pillow

        path = self.font or font_for(text)
        return ImageFont.truetype(str(path), self.font_size) if path else ImageFont.load_default(self.font_size)

    def _pil_text(self, baseline: tuple[int, int], text: str, color: RGB) -> None:
        from PIL import Image, ImageDraw

        width, ascent, descent = self.text_size(text)
        stencil = Image.new("L", (max(width, 1), ascent + descent))
        ImageDraw.Draw(stencil).text((0, 0), text, fill=255, font=self._pil_font(text))
        x, y = baseline[0], baseline[1] - ascent
        target = self.im[max(y, 0) : y + stencil.height, max(x, 0) : x + stencil.width]
        alpha = (
            np.asarray(stencil, np.float32)[max(-y, 0) :, max(-x, 0) :][: target.shape[0], : target.shape[1], None]
            / 255
        )
        target[:] = np.rint(target * (1 - alpha) + np.asarray(color, np.float32) * alpha).astype(np.uint8)


def readable_on(color: RGB) -> RGB:
    """Black or white, whichever reads better on a BGR colour."""
    blue, green, red = color
    return (0, 0, 0) if 0.114 * blue + 0.587 * green + 0.299 * red > 125 else (255, 255, 255)


def write_image(path: str | Path, im: Array) -> None:
    """Write a BGR image whole or not at all; the suffix names the format, and the path may hold any characters."""
    path = Path(path)
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if path.suffix.lower() in {".jpg", ".jpeg"} else []
    try:
        ok, data = cv2.imencode(path.suffix, im, options)
    except cv2.error as e:
        raise ValueError(
            f"{path}: OpenCV cannot write '{path.suffix}' pictures. Use a name ending in .jpg or .png."
        ) from e
    if not ok:
        raise ValueError(f"{path}: this picture of shape {im.shape} could not be encoded as '{path.suffix}'.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(data.tobytes())


def show_image(im: Array, title: str, wait_ms: int | None = None) -> None:
    """Show a BGR image on the screen.

    Args:
        im: (H, W, 3) uint8 BGR.
        title: of the window; one window stays open for each title.
        wait_ms: how long to wait for a key; None waits until one is pressed, and where OpenCV has no windows
            opens the system's viewer instead.

    Raises:
        RuntimeError: neither OpenCV nor the system can show a picture here.
    """
    # OpenCV ends the whole process where Qt or GTK finds no display, so this is asked first
    has_display = not sys.platform.startswith("linux") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    if has_display:
        try:
            cv2.imshow(title, im)
            cv2.waitKey(wait_ms if wait_ms is not None else 0)
            return
        except cv2.error:  # a build without windows
            pass
        if wait_ms is None:
            from PIL import Image, ImageShow

            if ImageShow.show(Image.fromarray(im[..., ::-1]), title):
                return
    raise RuntimeError(
        "Pictures cannot be shown here: "
        + (
            "this OpenCV was built without windows; `pip install opencv-python` brings one with them. "
            if has_display
            else "there is no display. "
        )
        + "Or write them to files with save=True."
    )


def save_one_box(
    xyxy: Any,
    im: Array,
    file: str | Path = "im.jpg",
    gain: float = 1.02,
    pad: int = 10,
    square: bool = False,
    BGR: bool = True,
    save: bool = True,
) -> Array:
    """Cut one box out of an image, `gain` times as large plus `pad` pixels, and write it to `file`.

    Args:
        xyxy: four numbers x1, y1, x2, y2 in pixels, of any kind.
        im: (H, W, 3) uint8 BGR.
        file: where the crop goes; an existing file is not overwritten, a number is added (`im2.jpg`).
        square: widen the shorter side to the longer one first.
        BGR: order of the channels of the returned crop; the file is always right.
        save: write the file.

    Returns:
        The crop, a copy.
    """
    x1, y1, x2, y2 = np.asarray(xyxy.tolist() if hasattr(xyxy, "tolist") else xyxy, np.float64).reshape(4)
    width, height = x2 - x1, y2 - y1
    if square:
        width = height = max(width, height)
    width, height = width * gain + pad, height * gain + pad
    cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
    left, right = (int(np.clip(v, 0, im.shape[1])) for v in (cx - width / 2, cx + width / 2))
    top, bottom = (int(np.clip(v, 0, im.shape[0])) for v in (cy - height / 2, cy + height / 2))
    crop = im[top:bottom, left:right].copy()
    if save and crop.size:
        write_image(increment_path(file), crop)
    return crop if BGR else np.ascontiguousarray(crop[..., ::-1])


def __getattr__(name: str) -> Any:
    # 8.3.0 has these here; who only draws boxes does not pay for matplotlib
    if name in ("plot_images", "plot_feature_maps"):
        from ultralytics.utils import image_grid

        return getattr(image_grid, name)
    if name.startswith("plot_"):
        from ultralytics.utils import charts

        if hasattr(charts, name):
            return getattr(charts, name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
