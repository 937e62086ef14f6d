"""Results and Boxes: views of the same numbers, text and files made from them, drawing."""

from __future__ import annotations

import copy
import csv
import io
import json
import pickle
import sys

import cv2
import numpy as np
import pytest
import torch

from ultralytics.engine.results import Boxes, Results
from ultralytics.utils import plotting
from ultralytics.utils.plotting import colors

NAMES = {0: "cat", 1: "dog", 2: "红细胞"}
ROWS = [[10, 20, 50, 40, 0.9, 0], [0, 0, 100, 80, 0.5, 1], [60, 10, 70, 30, 0.25, 0]]  # in a picture of 80 x 100
TRACKED = [[10, 20, 50, 40, 7, 0.9, 0], [0, 0, 100, 80, 8, 0.5, 1]]


def results(rows=ROWS, path="some/where/im.jpg", kind=torch.tensor, h=80, w=100):
    data = kind(rows) if kind is torch.tensor else np.array(rows, np.float32)
    return Results(np.full((h, w, 3), 127, np.uint8), path, NAMES, boxes=data.reshape(-1, len(rows[0]) if rows else 6))


@pytest.mark.parametrize("kind", [torch.tensor, np.array], ids=["torch", "numpy"])
class TestBoxes:
    def test_every_form_of_the_coordinates(self, kind):
        boxes = results(kind=kind).boxes
        for name, first in (
            ("xyxy", [10, 20, 50, 40]),
            ("xywh", [30, 30, 40, 20]),
            ("xyxyn", [0.1, 0.25, 0.5, 0.5]),
            ("xywhn", [0.3, 0.375, 0.4, 0.25]),
        ):
            values = getattr(boxes, name)
            assert type(values) is type(boxes.data)
            assert values.shape == (3, 4)
            assert values[0].tolist() == pytest.approx(first)
        assert boxes.conf.tolist() == pytest.approx([0.9, 0.5, 0.25])
        assert boxes.cls.tolist() == [0, 1, 0]
        assert boxes.id is None
        assert not boxes.is_track

    def test_tracked(self, kind):
        boxes = results(TRACKED, kind=kind).boxes
        assert boxes.is_track
        assert boxes.id.tolist() == [7, 8]
        assert boxes.conf.tolist() == pytest.approx([0.9, 0.5])
        assert boxes.cls.tolist() == [0, 1]

    def test_indexing_and_iteration_keep_rows(self, kind):
        boxes = results(kind=kind).boxes
        assert boxes.shape == (3, 6)
        assert boxes[1].shape == (1, 6)
        assert boxes[1].cls.tolist() == [1]
        assert boxes[boxes.conf > 0.4].shape == (2, 6)
        assert [len(b) for b in boxes] == [1, 1, 1]
        assert [b.xyxy[0, 0].item() for b in boxes] == [10, 0, 60]

    def test_conversions(self, kind):
        boxes = results(kind=kind).boxes
        assert isinstance(boxes.numpy().data, np.ndarray)
        assert isinstance(boxes.to("cpu").data, torch.Tensor)
        assert boxes.to(torch.float64).data.dtype == torch.float64
        assert boxes.cpu().shape == (3, 6)


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        (torch.zeros(2, 5), ValueError, r"\(2, 5\)"),
        (torch.zeros(2, 2, 6), ValueError, r"\(2, 2, 6\)"),
        ([[1, 2, 3, 4, 5, 6]], TypeError, "list"),
    ],
)
def test_boxes_refuse_other_shapes(data, error, text):
    with pytest.raises(error, match=text):
        Boxes(data, (80, 100))


def test_one_row_may_come_without_its_dimension():
    assert Boxes(torch.arange(6.0), (8, 8)).shape == (1, 6)


def test_index_and_conversions_reach_the_components():
    whole = results()
    part = whole[whole.boxes.cls == 0]
    assert (len(whole), len(part), len(whole[1]), len(whole[1:])) == (3, 2, 1, 2)
    assert part.path == whole.path
    assert part.orig_img is whole.orig_img
    assert isinstance(whole.numpy().boxes.data, np.ndarray)
    assert isinstance(whole.boxes.data, torch.Tensor)  # the original is as it was
    assert [r.verbose() for r in whole] == ["1 cat, ", "1 dog, ", "1 cat, "]
    assert len(pickle.loads(pickle.dumps(whole))) == 3
    assert len(copy.deepcopy(whole)) == 3


def test_new_and_update():
    whole = results()
    empty = whole.new()
    assert empty.boxes is None
    assert len(whole) == 3
    given = torch.tensor([[-5.0, 10, 200, 90, 0.5, 1]])
    empty.update(boxes=given)
    assert empty.boxes.xyxy.tolist() == [[0, 10, 100, 80]]
    assert given[0, 0] == -5  # not in place


@pytest.mark.parametrize(
    ("rows", "text"), [(ROWS, "2 cats, 1 dog, "), ([], "(no detections), "), ([[0, 0, 1, 1, 0.5, 9]], "1 9, ")]
)
def test_verbose(rows, text):
    assert results(rows).verbose() == text


@pytest.mark.parametrize(
    ("rows", "conf", "lines"),
    [
        (ROWS[:1], False, ["0 0.3 0.375 0.4 0.25"]),
        (ROWS[:2], True, ["0 0.3 0.375 0.4 0.25 0.9", "1 0.5 0.5 1 1 0.5"]),
        (TRACKED[:1], True, ["0 0.3 0.375 0.4 0.25 0.9 7"]),
        (TRACKED[:1], False, ["0 0.3 0.375 0.4 0.25 7"]),
    ],
)
def test_save_txt(tmp_path, rows, conf, lines):
    file = tmp_path / "labels" / "im.txt"
    for _ in range(2):  # a second run replaces, it does not append
        assert results(rows).save_txt(file, save_conf=conf) == str(file)
        assert file.read_text().splitlines() == lines


def test_save_txt_with_nothing_found_leaves_no_file(tmp_path):
    file = tmp_path / "im.txt"
    results().save_txt(file)
    results([]).save_txt(file)
    assert not file.exists()


def test_save_crop(tmp_path):
    named = results()
    named.names = {0: "cat/kitten", 1: "dog"}
    named.save_crop(tmp_path, "im.png")
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.*")) == [
        "cat_kitten/im.jpg",
        "cat_kitten/im2.jpg",
        "dog/im.jpg",
    ]
    assert cv2.imread(str(tmp_path / "cat_kitten" / "im.jpg")).shape == (31, 51, 3)  # 20 and 40, times 1.02, plus 10


def test_summary_rounds_away_float32_noise():
    assert results(TRACKED).summary()[0] == {
        "name": "cat",
        "class": 0,
        "confidence": 0.9,
        "box": {"x1": 10.0, "y1": 20.0, "x2": 50.0, "y2": 40.0},
        "track_id": 7,
    }
    assert results().summary(normalize=True, decimals=2)[0]["box"] == {"x1": 0.1, "y1": 0.25, "x2": 0.5, "y2": 0.5}
    assert results([]).summary() == []


def test_json_and_csv_hold_the_summary():
    found = results([*ROWS, [1, 2, 3, 4, 0.125, 2]])
    assert json.loads(found.to_json()) == found.summary()
    assert "红细胞" in found.tojson()
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert rows[3] == {
        "name": "红细胞", "class": "2", "confidence": "0.125", "x1": "1.0", "y1": "2.0", "x2": "3.0", "y2": "4.0",
    }  # fmt: skip
    assert results([]).to_csv() == "name,class,confidence,x1,y1,x2,y2\n"


def test_to_df_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        results().to_df()


def test_plot_draws_on_a_copy_in_the_colour_of_the_class():
    found = results(ROWS[:1])
    before = found.orig_img.copy()
    drawn = found.plot(labels=False, line_width=1)
    assert drawn[40, 30].tolist() == list(colors(0, bgr=True))  # lower edge
    assert (found.orig_img == before).all()
    assert (found.plot(boxes=False) == before).all()
    assert results([ROWS[1]]).plot(labels=False, line_width=1, color_mode="instance")[40, 0].tolist() == list(
        colors(0, bgr=True)
    )


@pytest.mark.parametrize(
    ("options", "changes"), [({}, True), ({"conf": False}, True), ({"labels": False}, False)], ids=str
)
def test_plot_labels_sit_above_the_box(options, changes):
    large = results([[100, 100, 300, 200, 0.9, 0]], h=300, w=400)
    above = large.plot(**options)[80:98, 100:140]
    assert bool((above != 127).any()) == changes


def test_plot_on_another_picture_and_bad_mode():
    other = np.zeros((80, 100, 3), np.uint8)
    assert results([]).plot(img=other).max() == 0
    with pytest.raises(ValueError, match="color_mode='x'"):
        results().plot(color_mode="x")


def test_save_writes_the_drawn_picture(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = results(path="some/where/im.png")
    assert found.save() == "results_im.png"
    assert (cv2.imread("results_im.png") == found.plot()).all()
    assert found.save(tmp_path / "红" / "x.png", labels=False) == str(tmp_path / "红" / "x.png")


def test_show_without_windows_says_what_to_do(monkeypatch):
    monkeypatch.setattr(plotting.sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(RuntimeError, match=r"no display.*save=True"):
        results().show()
    monkeypatch.setenv("DISPLAY", ":9")

    def no_windows(*_):
        raise cv2.error("The function is not implemented")

    monkeypatch.setattr(cv2, "imshow", no_windows)
    from PIL import ImageShow

    monkeypatch.setattr(ImageShow, "show", lambda *_a, **_k: False)
    with pytest.raises(RuntimeError, match="pip install opencv-python"):
        results().show()


@pytest.mark.gpu
def test_numpy_works_from_the_gpu():
    found = results().cuda()
    assert found.boxes.data.is_cuda
    assert found.numpy().boxes.xywhn[0].tolist() == pytest.approx([0.3, 0.375, 0.4, 0.25])
    assert found.verbose() == "2 cats, 1 dog, "
    assert found.summary() == results().summary()
