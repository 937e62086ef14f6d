"""Text on images: its size, and shortening."""

from __future__ import annotations

import numpy as np
import pytest

from ultralytics.utils.text import TextRenderer


@pytest.mark.parametrize("pil", [False, True])
class TestTextRenderer:
    def test_short_text_stays(self, pil):
        text = TextRenderer(20, pil=pil)
        assert text.shortened("cat 0.87", text.measure("cat 0.87")[0]) == "cat 0.87"

    def test_long_text_keeps_its_beginning_and_the_confidence(self, pil):
        text = TextRenderer(20, pil=pil)
        short = text.shortened("a very long class name 0.87", 120)
        assert text.measure(short)[0] <= 120
        assert short.startswith("a ve")
        assert short.endswith(".. 0.87")

    def test_narrower_than_the_confidence(self, pil):
        assert TextRenderer(20, pil=pil).shortened("cat 0.87", 1) == ".. 0.87"

    def test_size_grows_with_the_font(self, pil):
        small, large = (TextRenderer(size, pil=pil).measure("cat") for size in (10, 40))
        assert large[0] == pytest.approx(4 * small[0], rel=0.25)

    def test_it_is_drawn_on_the_baseline(self, pil):
        image = np.zeros((60, 100, 3), np.uint8)
        TextRenderer(30, pil=pil).draw(image, (10, 40), "HI", (0, 0, 255))
        rows, columns = np.nonzero(image[..., 2] > 128)
        assert rows.max() == pytest.approx(39, abs=2)
        assert columns.min() == pytest.approx(11, abs=4)
        assert image[..., :2].max() == 0
