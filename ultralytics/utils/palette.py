"""Colors of drawings: the palette of classes, the palette of keypoints, and the skeleton of COCO's 17 keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

RGB = tuple[int, int, int]

# the palettes of 8.3.0, as facts: scripts compare drawn colors with them
_CLASS_PALETTE = (
    "042AFF", "0BDBEB", "F3F3F3", "00DFB7", "111F68", "FF6FDD", "FF444F", "CCED00", "00F344", "BD00FF",
    "00B4FF", "DD00BA", "00FFFF", "26C000", "01FFB3", "7D24FF", "7B0068", "FF1B6C", "FC6D2F", "A2FF0B",
)  # fmt: skip
_POSE_PALETTE = (
    "FF8000", "FF9933", "FFB266", "E6E600", "FF99FF", "99CCFF", "FF66FF", "FF33FF", "66B2FF", "3399FF",
    "FF9999", "FF6666", "FF3333", "99FF99", "66FF66", "33FF33", "00FF00", "0000FF", "FF0000", "FFFFFF",
)  # fmt: skip

# limbs of a person as pairs of COCO's keypoints, counted from 1; and the color of each in the pose palette
SKELETON = (
    (16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9),
    (8, 10), (9, 11), (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7),
)  # fmt: skip
LIMB_COLORS = (9,) * 4 + (7,) * 3 + (0,) * 5 + (16,) * 7
KEYPOINT_COLORS = (16,) * 5 + (0,) * 6 + (9,) * 6
# relative luminance above which black text has more contrast than white text (WCAG 2: sqrt(1.05 * 0.05) - 0.05)
_BLACK_TEXT_LUMINANCE = 0.179


class Colors:
    """The palette of classes: `colors(3)` is RGB, `colors(3, bgr=True)` is in OpenCV's order; it repeats after 20.

    Attributes:
        palette: the RGB colors.
        n: number of colors.
        pose_palette: (20, 3) uint8 RGB, colors of keypoints and limbs.
    """

    def __init__(self) -> None:
        self.palette: list[RGB] = [self.hex2rgb(code) for code in _CLASS_PALETTE]
        self.n = len(self.palette)
        self.pose_palette = np.array([self.hex2rgb(code) for code in _POSE_PALETTE], np.uint8)

    def __call__(self, i: int | float, bgr: bool = False) -> RGB:
        r, g, b = self.palette[int(i) % self.n]
        return (b, g, r) if bgr else (r, g, b)

    @staticmethod
    def hex2rgb(h: str) -> RGB:
        """RGB color of `RRGGBB`, with or without a leading `#`."""
        code = h.lstrip("#")
        return int(code[0:2], 16), int(code[2:4], 16), int(code[4:6], 16)


colors = Colors()


def readable_on(color: Sequence[float]) -> RGB:
    """Black or white, whichever has more contrast on a BGR color."""
    blue, green, red = color
    return (0, 0, 0) if _luminance(red, green, blue) > _BLACK_TEXT_LUMINANCE else (255, 255, 255)


@lru_cache(maxsize=256)
def _luminance(red: float, green: float, blue: float) -> float:
    return 0.2126 * _linear(red / 255) + 0.7152 * _linear(green / 255) + 0.0722 * _linear(blue / 255)


def _linear(value: float) -> float:
    """An sRGB value in 0..1 as linear light."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
