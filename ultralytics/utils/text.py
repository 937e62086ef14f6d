"""Text on images: OpenCV's font where it has the characters, a TrueType font through Pillow otherwise."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from ultralytics.utils import LOGGER
from ultralytics.utils.fonts import font_runs
from ultralytics.utils.palette import RGB
from ultralytics.utils.printable import printable

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

CV2_FONT = cv2.FONT_HERSHEY_SIMPLEX
CV2_FONT_PIXELS = 30  # font size in pixels that corresponds to scale 1 of OpenCV's font
CV2_DRAWS_UNICODE = hasattr(cv2, "FontFace")  # OpenCV >= 5 ships fonts with Chinese, Japanese and Korean glyphs
ELLIPSIS = ".."
TAIL = 5  # characters kept behind the ellipsis: a confidence such as " 0.87"


class TextRenderer:
    """Measures and draws one line of text.

    Args:
        size: of the font in pixels.
        font: TrueType file for all text; None uses OpenCV's font, and an installed font for what it cannot draw.
        pil: draw all text with Pillow.
        example: text whose characters the font must have, such as all class names.
    """

    def __init__(self, size: int, font: str | Path | None = None, pil: bool = False, example: str = "") -> None:
        self.size = size
        self.font = font
        self.scale = size / CV2_FONT_PIXELS
        self.thickness = max(round(size / 16), 1)
        self._pil = pil or not (CV2_DRAWS_UNICODE or example.isascii())
        self._example = "" if example.isascii() else example

    def measure(self, text: str) -> tuple[int, int, int]:
        """(width, ascent above the baseline, descent below it) of `text` in pixels."""
        text = printable(text)
        if self._uses_pil(text):
            runs = self._pil_runs(text)
            metrics = [font.getmetrics() for _, font in runs]
            width = sum(font.getlength(part) for part, font in runs)
            return math.ceil(width), int(max(m[0] for m in metrics)), int(max(m[1] for m in metrics))
        (width, height), base = cv2.getTextSize(text, CV2_FONT, self.scale, self.thickness)
        return int(width), int(height), int(base)

    def draw(self, image: np.ndarray, baseline: tuple[int, int], text: str, color: RGB) -> None:
        """Draw `text` on `image` (H, W, 3) in place; `baseline` is the left end of the baseline."""
        text = printable(text)  # OpenCV ends the process if it cannot encode a text
        if self._uses_pil(text):
            self._draw_with_pillow(image, baseline, text, color)
        else:
            cv2.putText(image, text, baseline, CV2_FONT, self.scale, color, self.thickness, cv2.LINE_AA)

    def shortened(self, text: str, width: float) -> str:
        """`text`, or if it is wider than `width` pixels its beginning and its last characters."""
        text = printable(text)
        if self.measure(text)[0] <= width:
            return text
        head, tail = text[:-TAIL], text[-TAIL:]
        while head and self.measure(f"{head}{ELLIPSIS}{tail}")[0] > width:
            head = head[:-1]
        return f"{head}{ELLIPSIS}{tail}"

    def _uses_pil(self, text: str) -> bool:
        return self._pil or not (CV2_DRAWS_UNICODE or text.isascii())

    def _pil_runs(self, text: str) -> list[tuple[str, FreeTypeFont]]:
        """Parts of the text, each with a font that has its characters."""
        if self.font or not text:
            return [(text, self._pil_font(self.font))]
        return [(part, self._pil_font(path)) for part, path in font_runs(text, self._example)]

    def _pil_font(self, path: str | Path | None) -> FreeTypeFont:
        from PIL import ImageFont  # here: most images need no Pillow

        try:
            if path:
                return ImageFont.truetype(str(path), self.size)
        except OSError:
            LOGGER.warning(f"font '{path}' cannot be opened; labels use Pillow's own font")
            self.font = None
        return cast("FreeTypeFont", ImageFont.load_default(self.size))  # with a size it is one

    def _draw_with_pillow(self, image: np.ndarray, baseline: tuple[int, int], text: str, color: RGB) -> None:
        from PIL import Image, ImageDraw

        width, ascent, descent = self.measure(text)
        stencil = Image.new("L", (max(width, 1), max(ascent + descent, 1)))
        drawing, start = ImageDraw.Draw(stencil), 0.0
        for part, font in self._pil_runs(text):
            drawing.text((start, ascent), part, fill=255, font=font, anchor="ls")
            start += font.getlength(part)
        x, y = baseline[0], baseline[1] - ascent
        target = image[max(y, 0) : max(y + stencil.height, 0), max(x, 0) : max(x + stencil.width, 0)]
        rows, columns = target.shape[:2]
        opacity = np.asarray(stencil, np.float32)[max(-y, 0) :, max(-x, 0) :][:rows, :columns, None] / 255
        target[:] = np.rint(target * (1 - opacity) + np.asarray(color, np.float32) * opacity).astype(np.uint8)
