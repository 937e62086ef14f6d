"""Drawing on images: boxes, labels, masks, keypoints, and text where OpenCV or the fonts fall short."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from ultralytics.utils import plotting
from ultralytics.utils.plotting import Annotator

FONT_FILE = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


def gray(h=120, w=200, level=127):
    return np.full((h, w, 3), level, np.uint8)


def changed(before, after):
    """(top, bottom, left, right) of what is different, inclusive."""
    rows, columns = np.nonzero((before != after).any(2))
    return rows.min(), rows.max(), columns.min(), columns.max()


class TestAnnotator:
    @pytest.mark.parametrize("pil", [False, True])
    def test_an_array_is_drawn_on_in_place(self, pil):
        image = gray()
        annotator = Annotator(image, pil=pil, example="cat")
        annotator.box_label((20, 40, 90, 100), "cat", (0, 0, 255))
        assert annotator.result() is image
        assert image[100, 50].tolist() == [0, 0, 255]

    @pytest.mark.parametrize(
        "image", [gray()[:, ::-1], gray().astype(np.float32), np.full((120, 200), 127, np.uint8)], ids=str
    )
    def test_other_arrays_are_copied(self, image):
        annotator = Annotator(image)
        annotator.rectangle((20, 40, 90, 100), outline=(0, 0, 255))
        assert annotator.result()[100, 50].tolist() == [0, 0, 255]
        assert (image == 127).all()

    def test_a_pil_image_keeps_its_channel_order(self):
        annotator = Annotator(Image.new("RGB", (80, 60), (255, 0, 0)))
        annotator.rectangle(((1, 1), (9, 9)), fill=(0, 0, 255))
        assert annotator.result()[20, 20].tolist() == [255, 0, 0]
        assert annotator.result()[5, 5].tolist() == [0, 0, 255]

    def test_no_image(self):
        with pytest.raises(ValueError, match=r"\(4, 4, 2\)"):
            Annotator(np.zeros((4, 4, 2), np.uint8))

    @pytest.mark.parametrize(
        ("h", "w", "line_width", "width"), [(100, 100, None, 2), (1000, 2000, None, 5), (1000, 2000, 7, 7)]
    )
    def test_line_width_follows_the_size(self, h, w, line_width, width):
        assert Annotator(gray(h, w), line_width=line_width).lw == width

    @pytest.mark.parametrize(
        "box", [(60, 60, 120, 100), (150, 1, 199, 60), (-20, -20, 500, 500), (190, 110, 260, 180)], ids=str
    )
    @pytest.mark.parametrize("pil", [False, True])
    def test_the_whole_label_stays_inside_the_image(self, box, pil):
        annotator = Annotator(gray(), pil=pil)
        width, ascent, descent = annotator.text_size("person 0.87")
        annotator.label((box[0], box[1]), "person 0.87", (255, 255, 255), background=(0, 0, 0))
        top, bottom, left, right = changed(gray(), annotator.result())
        assert right - left + 1 >= width
        assert bottom - top + 1 >= ascent + descent

    def test_no_line_runs_through_a_label(self):
        one, both = Annotator(gray()), Annotator(gray())
        one.boxes([(20, 60, 150, 110)], ["cat"], [(0, 0, 255)])
        both.boxes([(20, 60, 150, 110), (30, 50, 90, 90)], ["cat", ""], [(0, 0, 255), (255, 0, 0)])
        label = (slice(46, 58), slice(20, 40))
        assert (one.result()[label] == both.result()[label]).all()
        assert (one.result()[60:, 20:40] != both.result()[60:, 20:40]).any()

    def test_letters_of_a_font_file_are_drawn(self):
        annotator = Annotator(gray(), font=FONT_FILE, font_size=20)
        annotator.text((10, 60), "Wg", (0, 0, 255))
        top, bottom, left, right = changed(gray(), annotator.result())
        assert 12 <= bottom - top <= 24
        assert 15 <= right - left <= 40
        assert annotator.result()[..., 2].max() > 250

    @pytest.mark.parametrize("xy", [(-30, 10), (190, 200)])
    def test_pillow_text_that_does_not_fit_is_cut(self, xy):
        annotator = Annotator(gray(12, 40), pil=True, font_size=30)
        annotator.text(xy, "a very long name", (255, 255, 255))
        annotator.label(xy, "a very long name", (255, 255, 255))
        assert annotator.result().shape == (12, 40, 3)

    def test_long_labels_cover_half_of_the_image(self):
        short, long = Annotator(gray(100, 400)), Annotator(gray(100, 400))
        short.label((0, 50), "person 0.87", background=(0, 0, 0))
        long.label(
            (0, 50), "person with a very long name that is wider than half of the image 0.87", background=(0, 0, 0)
        )
        assert changed(gray(100, 400), short.result())[3] < changed(gray(100, 400), long.result())[3] <= 200

    @pytest.mark.parametrize("box_style", [False, True])
    @pytest.mark.parametrize(("pil", "anchor", "inside"), [(False, "top", -5), (True, "top", 8), (True, "bottom", -8)])
    def test_text_is_above_or_below_its_point(self, pil, anchor, inside, box_style):
        annotator = Annotator(gray(), pil=pil)
        annotator.text((50, 60), "Text", (0, 0, 255), anchor=anchor, box_style=box_style)
        top, bottom, left, _ = changed(gray(), annotator.result())
        assert top <= 60 + inside <= bottom
        assert abs(left - 50) <= 4
        assert bottom - top < 25

    def test_lines_of_text_are_below_each_other(self):
        one, two = Annotator(gray()), Annotator(gray())
        one.text((20, 40), "a\nb")
        two.text((20, 40), "a")
        assert changed(gray(), one.result())[1] > changed(gray(), two.result())[1] + 10
        with pytest.raises(ValueError, match="anchor='left'"):
            one.text((20, 40), "a", anchor="left")

    def test_oriented_box_and_its_label(self):
        corners = np.array([[100, 40], [140, 80], [120, 100], [80, 60]])
        for box in (corners, corners.tolist(), torch.tensor(corners)):
            annotator = Annotator(gray(), line_width=1)
            annotator.box_label(box, "", (0, 0, 255), rotated=True)
            assert changed(gray(), annotator.result()) == pytest.approx((40, 100, 80, 140), abs=1)
        annotator.box_label(corners, "cat", (0, 0, 255), rotated=True)
        assert changed(gray(), annotator.result())[0] < 30  # the label is above the topmost corner

    @pytest.mark.parametrize("color", [[255, 0, 0], (255.0, 0, 0)], ids=str)
    def test_colors_of_any_sequence(self, color):
        annotator = Annotator(gray())
        annotator.box_label((20, 40, 90, 100), "cat", color)
        assert annotator.result()[100, 50].tolist() == [255, 0, 0]

    def test_text_color_of_a_label(self):
        annotator = Annotator(gray())
        annotator.box_label((20, 40, 90, 100), "cat", (255, 255, 255), txt_color=(0, 0, 255))
        assert (annotator.result() == (0, 0, 255)).all(2).any()

    @pytest.mark.parametrize("as_type", [torch.tensor, np.array])
    def test_masks(self, as_type):
        annotator = Annotator(gray(60, 100))
        masks = np.zeros((2, 60, 100), np.float32)
        masks[0, 10:20, 10:20] = masks[1, 30:40, 30:40] = 1
        annotator.masks(as_type(masks), [(0, 0, 255), (255, 0, 0)], None, alpha=0.25)
        assert annotator.result()[15, 15].tolist() == [95, 95, 159]
        assert annotator.result()[35, 35].tolist() == [159, 95, 95]
        assert annotator.result()[25, 25].tolist() == [127] * 3
        annotator.masks(as_type(masks[:0]), [])

    def test_masks_without_letterbox_borders_are_stretched(self):
        letterboxed, stretched = Annotator(gray(50, 100)), Annotator(gray(50, 100))
        masks = np.zeros((1, 100, 100), np.float32)
        masks[0, :50] = 1  # of the letterbox the upper border of 25 and half of the image
        letterboxed.masks(masks, [(0, 0, 255)])
        stretched.masks(masks, [(0, 0, 255)], retina_masks=True)
        assert changed(gray(50, 100), letterboxed.result()) == (0, 24, 0, 99)
        assert changed(gray(50, 100), stretched.result()) == (0, 24, 0, 99)
        masks[0, 25:] = 0
        again = Annotator(gray(50, 100))
        again.masks(masks, [(0, 0, 255)])
        assert (again.result() == 127).all()

    def test_keypoints_that_are_missing_or_uncertain_are_left_out(self):
        annotator = Annotator(gray())
        points = torch.tensor([[50, 50, 0.9], [100, 50, 0.2], [0, 50, 0.9], [50, 120, 0.9], [float("nan"), 9, 1]])
        annotator.kpts(points, (120, 200), radius=3, kpt_color=(0, 0, 255))
        assert changed(gray(), annotator.result()) == pytest.approx((47, 53, 47, 53), abs=1)
        annotator.kpts(points[:, :2], (120, 200), radius=3)
        assert changed(gray(), annotator.result())[3] >= 102  # without confidences

    def test_keypoints_have_a_rim_that_contrasts_with_their_color(self):
        for color, rim in (((104, 31, 17), 255), ((255, 255, 255), 0)):
            annotator = Annotator(np.full((40, 40, 3), color, np.uint8))  # on an image of the same color
            annotator.kpts(np.array([[20.0, 20.0]]), (40, 40), radius=5, kpt_color=color)
            assert annotator.result()[20, 20].tolist() == list(color)
            assert abs(int(annotator.result()[20, 26, 0]) - rim) < 60

    def test_outline_of_a_segment(self):
        annotator = Annotator(gray())
        polygon = np.array([[50.0, 40], [90, 40], [90, 80], [50, 80]])
        annotator.seg_bbox(polygon, (0, 0, 255), "cell")
        assert annotator.result()[60, 50].tolist() == [0, 0, 255]
        assert changed(gray(), annotator.result())[0] < 35
        empty = Annotator(gray())
        empty.seg_bbox(polygon[:0])
        assert (empty.result() == 127).all()

    def test_save_and_another_image(self, tmp_path):
        annotator = Annotator(gray())
        annotator.fromarray(gray(20, 30))
        annotator.save(tmp_path / "x.png")
        assert Image.open(tmp_path / "x.png").size == (30, 20)

    def test_a_missing_font_file_is_named(self, caplog):
        annotator = Annotator(gray(), font="no-such-font.ttf")
        annotator.text((20, 40), "cat")
        assert (annotator.result() != 127).any()
        assert "no-such-font.ttf" in caplog.text


def test_the_names_of_8_3_0_are_found_here():
    from ultralytics.utils import charts, image_grid

    assert plotting.plot_images is image_grid.plot_images
    assert plotting.plot_results is charts.plot_results
    with pytest.raises(AttributeError, match="plot_nothing"):
        _ = plotting.plot_nothing


def drawn(boxes, labels, size=(120, 200)):
    annotator = Annotator(gray(*size))
    annotator.boxes(boxes, labels, [(255, 0, 0)] * len(boxes))
    return annotator.result()


def test_a_label_hidden_by_a_later_one_is_left_out():
    same, apart = [(60, 60, 100, 100)] * 2, [(10, 60, 50, 100), (140, 60, 180, 100)]
    assert np.array_equal(drawn(same, ["first", "last"]), drawn(same, ["", "last"]))
    assert not np.array_equal(drawn(apart, ["first", "last"]), drawn(apart, ["", "last"]))


@pytest.mark.parametrize("rotated", [False, True])
def test_labels_do_not_cover_the_instances_of_a_crowded_image(rotated):
    boxes = np.array([(x, y, x + 8, y + 8) for y in range(4, 116, 16) for x in range(4, 196, 16)])
    if rotated:
        boxes = boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]
    for n, is_covered in ((len(boxes), False), (20, True)):
        labels = ["label"] * n
        assert np.array_equal(drawn(boxes[:n], labels), drawn(boxes[:n], [""] * n)) != is_covered
