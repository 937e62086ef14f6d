"""Colors: the palettes of 8.3.0 and text that can be read on them."""

from __future__ import annotations

import pytest

from ultralytics.utils.palette import KEYPOINT_COLORS, LIMB_COLORS, SKELETON, Colors, colors, readable_on


def test_palette_of_8_3_0_repeats_after_twenty():
    assert colors.n == len(set(colors.palette)) == 20
    assert colors(0) == (4, 42, 255)
    assert colors(19) == (162, 255, 11)
    assert colors(3) == colors(23) == colors(3.0)
    assert colors(3, bgr=True) == colors(3)[::-1]


def test_pose_palette_of_8_3_0():
    assert colors.pose_palette.shape == (20, 3)
    assert colors.pose_palette[[0, 7, 9, 16]].tolist() == [[255, 128, 0], [255, 51, 255], [51, 153, 255], [0, 255, 0]]
    assert len(SKELETON) == len(LIMB_COLORS)
    assert {i for limb in SKELETON for i in limb} == set(range(1, len(KEYPOINT_COLORS) + 1))


@pytest.mark.parametrize("text", ["#1A2B3C", "1A2B3C"])
def test_hex(text):
    assert Colors.hex2rgb(text) == (26, 43, 60)


@pytest.mark.parametrize("color", [*colors.palette, (0, 0, 0), (127, 127, 127), (255, 255, 255)], ids=str)
def test_text_on_every_color_has_contrast(color):
    def luminance(bgr):
        linear = [(c / 255 / 12.92) if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in bgr]
        return 0.0722 * linear[0] + 0.7152 * linear[1] + 0.2126 * linear[2]

    background = color[::-1]
    dark, light = sorted((luminance(background), luminance(readable_on(background))))
    assert (light + 0.05) / (dark + 0.05) > 4.5  # WCAG 2, level AA
