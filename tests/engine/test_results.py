"""Results: components of every task, text, tables and files made from them, drawing."""

from __future__ import annotations

import copy
import csv
import io
import json
import pickle
import sys
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import torch
from result_examples import ROWS, TRACKED, of_every_task, results

from ultralytics.utils import image_files


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
    boxes = torch.tensor([[-5.0, 10, 200, 90, 0.5, 1]])
    empty.update(boxes=boxes)
    assert empty.boxes.xyxy.tolist() == [[0, 10, 100, 80]]
    assert boxes[0, 0] == -5  # not in place
    empty.update(masks=torch.zeros(1, 8, 8), probs=torch.ones(1), obb=torch.zeros(1, 7), keypoints=torch.zeros(1, 5, 2))
    assert list(empty.components()) == ["boxes", "masks", "probs", "keypoints", "obb"]
    assert list(whole.components()) == ["boxes"]


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


def test_save_txt_without_predictions_leaves_no_file(tmp_path):
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
    result = results([*ROWS, [1, 2, 3, 4, 0.125, 2]])
    assert json.loads(result.to_json()) == result.summary()
    assert "红细胞" in result.tojson()
    rows = list(csv.DictReader(io.StringIO(result.to_csv())))
    assert rows[3] == {
        "name": "红细胞", "class": "2", "confidence": "0.125", "x1": "1.0", "y1": "2.0", "x2": "3.0", "y2": "4.0",
    }  # fmt: skip
    assert results([]).to_csv() == "name,class,confidence,x1,y1,x2,y2\n"


def test_to_df_names_the_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        results().to_df()


def test_save_writes_the_drawn_image(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = results(path="some/where/im.png")
    assert result.save() == "results_im.png"
    assert (cv2.imread("results_im.png") == result.plot()).all()
    assert result.save(tmp_path / "红" / "x.png", labels=False) == str(tmp_path / "红" / "x.png")


def test_show_without_windows_says_what_to_do(monkeypatch):
    monkeypatch.setattr(image_files.sys, "platform", "linux")
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


@pytest.mark.parametrize(
    ("task", "verbose", "size"),
    [
        ("detect", "1 cat, 1 dog, ", 2),
        ("segment", "1 cat, 1 dog, ", 2),
        ("pose", "1 cat, 1 dog, ", 2),
        ("obb", "1 dog, ", 1),
        ("classify", "dog 0.70, cat 0.25, 红细胞 0.05, ", 3),
    ],
)
def test_components_of_each_task(task, verbose, size):
    result = of_every_task()[task]
    assert (result.verbose(), len(result)) == (verbose, size)
    for name in ("boxes", "masks", "probs", "keypoints", "obb"):
        assert (getattr(result, name) is None) == (name not in result.components())
    first = result[0]
    assert first.components().keys() == result.components().keys()
    assert {type(part.data) for part in result.numpy().components().values()} == {np.ndarray}
    assert {type(part.data) for part in result.numpy().to("cpu").components().values()} == {torch.Tensor}
    assert pickle.loads(pickle.dumps(result)).summary() == result.summary()


def test_keys_are_those_of_8_3_0():
    assert results()._keys == ("boxes", "masks", "probs", "keypoints", "obb")


def test_summaries_of_the_other_components():
    every = {task: result.summary(decimals=2)[0] for task, result in of_every_task().items()}
    assert every["segment"]["segments"] == {"x": [15, 15, 44, 44], "y": [25, 34, 34, 25]}
    assert every["pose"]["keypoints"] == {"x": [20, 40], "y": [30, 35], "visible": [0.9, 0.1]}
    assert list(every["obb"]["box"]) == ["x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4"]
    assert every["classify"] == {"name": "dog", "class": 1, "confidence": 0.7}


def test_xml_and_csv_of_nested_values():
    root = ElementTree.fromstring(of_every_task()["pose"].to_xml(decimals=2))
    first = root.findall("row")[0]
    assert (first.find("index").text, first.find("name").text, first.find("box/x2").text) == ("0", "cat", "50.0")
    assert first.find("keypoints/visible").text == "0.9 0.1"
    assert len(ElementTree.fromstring(results([]).to_xml())) == 0
    row = next(csv.DictReader(io.StringIO(of_every_task()["segment"].to_csv())))
    assert json.loads(row["segments"]) == {"x": [15, 15, 44, 44], "y": [25, 34, 34, 25]}


def test_probabilities_have_no_crops(tmp_path, caplog):
    of_every_task()["classify"].save_crop(tmp_path)
    assert "save_crop needs boxes" in caplog.text
    assert not list(tmp_path.iterdir())


@pytest.mark.gpu
def test_numpy_works_from_the_gpu():
    result = results().cuda()
    assert result.boxes.data.is_cuda
    assert result.numpy().boxes.xywhn[0].tolist() == pytest.approx([0.3, 0.375, 0.4, 0.25])
    assert result.verbose() == "2 cats, 1 dog, "
    assert result.summary() == results().summary()
