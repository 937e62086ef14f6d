"""Drawing of results: what `plot` changes on the image, for every task."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from result_examples import NAMES, ROWS, image, of_every_task, results

from ultralytics.engine.results import Results
from ultralytics.utils.plotting import colors


def test_plot_draws_on_a_copy_in_the_color_of_the_class():
    result = results(ROWS[:1])
    before = result.orig_img.copy()
    drawn = result.plot(labels=False, line_width=1)
    assert drawn[40, 30].tolist() == list(colors(0, bgr=True))  # lower edge
    assert (result.orig_img == before).all()
    assert (result.plot(boxes=False) == before).all()
    assert results([ROWS[1]]).plot(labels=False, line_width=1, color_mode="instance")[40, 0].tolist() == list(
        colors(0, bgr=True)
    )


@pytest.mark.parametrize(
    ("options", "changes"), [({}, True), ({"conf": False}, True), ({"labels": False}, False)], ids=str
)
def test_plot_labels_are_above_the_box(options, changes):
    large = results([[100, 100, 300, 200, 0.9, 0]], h=300, w=400)
    above = large.plot(**options)[80:98, 100:140]
    assert bool((above != 127).any()) == changes


def test_plot_on_another_image_and_bad_mode():
    other = np.zeros((80, 100, 3), np.uint8)
    assert results().plot(img=other).max() > 0
    assert other.max() == 0
    with pytest.raises(ValueError, match="color_mode='x'"):
        results().plot(color_mode="x")


def differs(a, b):
    """(top, bottom, left, right) of what is different, inclusive."""
    rows, columns = np.nonzero((a != b).any(2))
    return rows.min(), rows.max(), columns.min(), columns.max()


class TestPlotOfEachTask:
    def test_masks_are_blended_where_they_are(self):
        result = of_every_task()["segment"]
        drawn = result.plot(boxes=False)
        assert differs(drawn, image()) == (25, 34, 15, 44)
        expected = (127 + np.array(colors(0, bgr=True))) / 2
        assert np.abs(drawn[30, 30] - expected).max() <= 1
        assert (result.plot(boxes=False, masks=False) == image()).all()
        assert (result.plot(boxes=False, im_gpu=torch.zeros(3, 80, 100)) == drawn).all()

    def test_letterboxed_masks_are_scaled_to_the_image(self):
        mask = torch.zeros(1, 64, 64)
        mask[0, 6:58] = 1  # the whole image within its borders
        drawn = Results(image(), "x", NAMES, boxes=torch.tensor(ROWS[:1]), masks=mask).plot(boxes=False)
        assert differs(drawn, image()) == (0, 79, 0, 99)
        assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 1

    def test_the_mask_of_the_highest_confidence_is_on_top(self):
        masks = torch.ones(2, 80, 100)
        pixel = Results(image(), "x", NAMES, boxes=torch.tensor(ROWS[:2]), masks=masks).plot(boxes=False)[40, 50]
        first, second = (np.array(colors(c, bgr=True)) for c in (0, 1))
        assert np.abs(pixel - (first / 2 + second / 4 + 127 / 4)).max() <= 1

    def test_uncertain_keypoints_are_not_drawn(self):
        drawn = of_every_task()["pose"].plot(boxes=False, kpt_radius=2)
        assert differs(drawn, image()) == pytest.approx((28, 32, 18, 22), abs=1)

    def test_limbs_of_a_person(self):
        points = torch.zeros(1, 17, 3)
        points[0, 5], points[0, 6] = torch.tensor([20.0, 40, 1]), torch.tensor([80.0, 40, 1])  # shoulders
        person = Results(image(), "x", NAMES, boxes=torch.tensor(ROWS[:1]), keypoints=points)
        limb = colors.pose_palette[0][::-1].tolist()
        assert person.plot(boxes=False, kpt_radius=6)[40, 50].tolist() == limb
        assert person.plot(boxes=False, kpt_line=False)[40, 50].tolist() == [127] * 3

    def test_oriented_box(self):
        result = of_every_task()["obb"]
        top, bottom, left, right = differs(result.plot(labels=False, line_width=1), image())
        box = result.obb.xyxy[0].tolist()
        assert [left, top, right, bottom] == pytest.approx(box, abs=2)
        assert (result.plot(boxes=False) == image()).all()

    def test_top_classes(self):
        result = of_every_task()["classify"]
        assert differs(result.plot(), image())[:3:2] == (2, 2)
        assert (result.plot(probs=False) == image()).all()
