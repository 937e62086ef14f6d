"""Drawing on images: palette, labels, crops, picture files, and text where OpenCV or the fonts fall short."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from ultralytics.utils import LOGGER, fonts, plotting
from ultralytics.utils.plotting import Annotator, Colors, colors, readable_on, save_one_box, write_image

FONT_FILE = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


def grey(h=120, w=200, level=127):
    return np.full((h, w, 3), level, np.uint8)


def changed(before, after):
    """(top, bottom, left, right) of what is different, inclusive."""
    rows, columns = np.nonzero((before != after).any(2))
    return rows.min(), rows.max(), columns.min(), columns.max()


class TestColors:
    def test_twenty_that_differ_and_repeat(self):
        assert colors.n == len(set(colors.palette)) == 20
        assert colors(3) == colors(23) == colors(3.0)
        assert colors(3, bgr=True) == colors(3)[::-1]

    def test_all_pairs_can_be_told_apart(self):
        lab = cv2.cvtColor(np.array([colors.palette], np.float32) / 255, cv2.COLOR_RGB2Lab)[0]
        assert min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(lab, 2)) > 15

    @pytest.mark.parametrize("text", ["#1A2B3C", "1A2B3C"])
    def test_hex(self, text):
        assert Colors.hex2rgb(text) == (26, 43, 60)

    @pytest.mark.parametrize("i", range(20))
    def test_text_on_every_colour_has_contrast(self, i):
        def luminance(bgr):
            linear = [(c / 255 / 12.92) if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in bgr]
            return 0.0722 * linear[0] + 0.7152 * linear[1] + 0.2126 * linear[2]

        plate = colors(i, bgr=True)
        dark, light = sorted((luminance(plate), luminance(readable_on(plate))))
        assert (light + 0.05) / (dark + 0.05) > 3  # what WCAG asks of large text


class TestAnnotator:
    def test_the_given_picture_stays_clean(self):
        image = grey()
        Annotator(image).box_label((20, 40, 90, 100), "cat", (0, 0, 255))
        assert (image == 127).all()

    def test_pil_picture_is_converted_to_bgr(self):
        assert Annotator(Image.new("RGB", (8, 6), (255, 0, 0))).result()[0, 0].tolist() == [0, 0, 255]

    @pytest.mark.parametrize(
        ("h", "w", "given", "width"), [(100, 100, None, 2), (1000, 2000, None, 4), (1000, 2000, 7, 7)]
    )
    def test_line_width_follows_the_size(self, h, w, given, width):
        assert Annotator(grey(h, w), line_width=given).lw == width

    @pytest.mark.parametrize(
        "box", [(60, 60, 120, 100), (150, 1, 199, 60), (-20, -20, 500, 500), (190, 110, 260, 180)], ids=str
    )
    @pytest.mark.parametrize("pil", [False, True])
    def test_the_whole_label_stays_inside_the_picture(self, box, pil):
        annotator = Annotator(grey(), pil=pil)
        width, ascent, descent = annotator.text_size("person 0.87")
        annotator.text((box[0], box[1]), "person 0.87", (255, 255, 255), plate=(0, 0, 0))
        top, bottom, left, right = changed(grey(), annotator.result())
        assert right - left + 1 >= width
        assert bottom - top + 1 >= ascent + descent

    def test_no_line_runs_through_a_label(self):
        one, both = Annotator(grey()), Annotator(grey())
        one.boxes([(20, 60, 150, 110)], ["cat"], [(0, 0, 255)])
        both.boxes([(20, 60, 150, 110), (30, 50, 90, 90)], ["cat", ""], [(0, 0, 255), (255, 0, 0)])
        plate = (slice(45, 58), slice(20, 50))
        assert (one.result()[plate] == both.result()[plate]).all()

    def test_letters_of_a_font_file_are_drawn(self):
        annotator = Annotator(grey(), font=FONT_FILE, font_size=20)
        annotator.text((10, 60), "Wg", (0, 0, 255))
        top, bottom, left, right = changed(grey(), annotator.result())
        assert 12 <= bottom - top <= 24
        assert 15 <= right - left <= 40
        assert annotator.result()[..., 2].max() > 250

    @pytest.mark.parametrize("xy", [(-30, 10), (190, 200)])
    def test_pillow_text_that_does_not_fit_is_cut(self, xy):
        annotator = Annotator(grey(12, 40), pil=True, font_size=30)
        annotator.text(xy, "a very long name", (255, 255, 255))
        assert annotator.result().shape == (12, 40, 3)

    def test_names_outside_ascii_without_a_font_do_not_crash(self, monkeypatch):
        said = []
        monkeypatch.setattr(plotting, "CV2_DRAWS_UNICODE", False)
        monkeypatch.setattr(fonts, "_font_files", lambda: (FONT_FILE,))
        monkeypatch.setattr(LOGGER, "warning", said.append)
        fonts._font_for.cache_clear()
        fonts._warn_no_font.cache_clear()
        annotator = Annotator(grey())
        for name in ("红细胞 0.9", "白细胞 0.9", "血小板"):
            annotator.box_label((60, 60, 120, 100), name, (0, 0, 255))
        assert (annotator.result() != 127).any()
        assert len(said) == 1
        assert "fonts-noto-cjk" in said[0]

    def test_latin_letters_with_accents_find_a_font_on_every_machine(self):
        assert fonts.font_for("café Ω") == FONT_FILE


class TestWriteImage:
    @pytest.mark.parametrize("name", ["a.png", "红 细胞/b.PNG", "c.bmp"])
    def test_any_path_comes_back_the_same(self, tmp_path, name):
        image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
        write_image(tmp_path / name, image)
        assert (cv2.imdecode(np.fromfile(tmp_path / name, np.uint8), 1) == image).all()
        assert len(list((tmp_path / name).parent.iterdir())) == 1  # nothing temporary is left

    def test_unknown_suffix(self, tmp_path):
        with pytest.raises(ValueError, match=r"'\.xyz'.*\.jpg or \.png"):
            write_image(tmp_path / "a.xyz", grey())
        assert not list(tmp_path.iterdir())


class TestSaveOneBox:
    def test_size_of_the_crop(self, tmp_path):
        image = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
        crop = save_one_box(torch.tensor([20.0, 20, 60, 50]), image, tmp_path / "c.png")
        assert crop.shape == (41, 51, 3)
        assert (cv2.imread(str(tmp_path / "c.png")) == crop).all()
        assert (crop == image[14:55, 14:65]).all()

    @pytest.mark.parametrize(
        ("box", "options", "shape"),
        [
            ([0, 0, 100, 100], {}, (100, 100)),  # cut off at the edges
            ([40, 40, 60, 50], {"gain": 1.0, "pad": 0}, (10, 20)),
            ([40, 40, 60, 50], {"gain": 1.0, "pad": 0, "square": True}, (20, 20)),
        ],
    )
    def test_options(self, box, options, shape):
        assert save_one_box(box, grey(100, 100), save=False, **options).shape[:2] == shape

    def test_channels_and_numbering(self, tmp_path):
        image = grey(50, 50)
        image[:] = (1, 2, 3)
        for _ in range(3):
            rgb = save_one_box([10, 10, 30, 30], image, tmp_path / "c.png", BGR=False)
        assert rgb[0, 0].tolist() == [3, 2, 1]
        assert sorted(p.name for p in tmp_path.iterdir()) == ["c.png", "c2.png", "c3.png"]
        assert cv2.imread(str(tmp_path / "c3.png"))[0, 0].tolist() == [1, 2, 3]


def test_the_names_of_8_3_0_are_found_here():
    from ultralytics.utils import charts, image_grid

    assert plotting.plot_images is image_grid.plot_images
    assert plotting.plot_results is charts.plot_results
    with pytest.raises(AttributeError, match="plot_nothing"):
        _ = plotting.plot_nothing
