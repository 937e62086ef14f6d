"""YOLOv10: an end-to-end head trains with two losses and predicts without non-maximum suppression."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from ultralytics import YOLO
from ultralytics.models.yolo.detect.postprocess import filter_detections
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import LOGGER, IterableSimpleNamespace
from ultralytics.utils.loss import E2EDetectLoss


@pytest.fixture
def tiny_v10(tmp_path, tiny_model_text):
    path = tmp_path / "tiny10.yaml"
    path.write_text(tiny_model_text.replace("Detect", "v10Detect"), encoding="utf-8")
    return path


@pytest.fixture
def model(tiny_v10):
    torch.manual_seed(0)
    return YOLO(tiny_v10)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)


def test_filter_detections():
    rows = torch.tensor([[[0, 0, 1, 1, 0.9, 2], [0, 0, 2, 2, 0.6, 0], [0, 0, 3, 3, 0.5, 2], [0, 0, 4, 4, 0.2, 1]]])
    assert filter_detections(rows, 0.5, None, 300)[0].tolist() == rows[0, :2].tolist()
    assert filter_detections(rows, 0.1, [2, 1], 300)[0].tolist() == rows[0, [0, 2, 3]].tolist()
    assert filter_detections(rows, 0.1, [2, 1], 2)[0].tolist() == rows[0, [0, 2]].tolist()
    assert filter_detections(rows.half(), 0.95, None, 300)[0].shape == (0, 6)
    assert filter_detections(rows.half(), 0.1, None, 300)[0].dtype == torch.float32
    rows[0, 0, 4] = torch.nan
    assert len(filter_detections(rows, 0.0, None, 300)[0]) == 3


def test_the_loss_has_both_branches(tiny_v10):
    model = DetectionModel(tiny_v10, verbose=False)
    model.args = IterableSimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    batch = {
        "img": torch.rand(2, 3, 64, 64),
        "batch_idx": torch.tensor([0.0, 1.0]),
        "cls": torch.tensor([[0.0], [1.0]]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.4, 0.4], [0.4, 0.6, 0.3, 0.5]]),
    }
    loss, items = model.loss(batch)
    assert isinstance(model.criterion, E2EDetectLoss)
    assert items.shape == (3,)
    loss.backward()
    for name in ("cv2", "cv3", "one2one_cv2", "one2one_cv3"):
        assert any(p.grad is not None and p.grad.any() for p in getattr(model.model[-1], name).parameters()), name


def test_train_validate_predict(model, tiny_data, tmp_path, image):
    args = {"imgsz": 64, "batch": 4, "workers": 0, "device": "cpu", "project": tmp_path, "plots": False}
    model.train(data=tiny_data, epochs=2, **args)
    header = (tmp_path / "train" / "results.csv").read_text().splitlines()[0].replace(" ", "")
    assert "train/box_loss,train/cls_loss,train/dfl_loss" in header and "val/dfl_loss" in header
    best = YOLO(tmp_path / "train" / "weights" / "best.pt")
    assert type(best.model.model[-1]).__name__ == "v10Detect"
    metrics = best.val(data=tiny_data, **args | {"plots": True})
    assert set(metrics.results_dict) >= {"metrics/mAP50(B)", "fitness"}
    assert (tmp_path / "val" / "val_batch0_pred.jpg").is_file()
    boxes = best.predict(image, conf=0.001, imgsz=64, device="cpu")[0].boxes
    assert len(boxes) and boxes.conf.tolist() == sorted(boxes.conf.tolist(), reverse=True)


def test_predictions_are_those_of_the_head(model, image):
    """`iou` has no effect, `conf`, `classes` and `max_det` do, also above the head's own limit of 300."""
    options = {"imgsz": [64, 96], "device": "cpu", "conf": 0.0}
    x = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        expected = model.model.eval()(x)[0][0]
    every = model.predict(image, iou=0.1, **options)[0].boxes.data
    assert every.shape == (126, 6)
    torch.testing.assert_close(every[:, 4], expected[:, 4], rtol=1e-4, atol=1e-6)
    ones = model.predict(image, classes=[1], **options)[0].boxes
    assert set(ones.cls.tolist()) == {1.0}
    torch.testing.assert_close(ones.data, every[every[:, 5] == 1])
    assert len(model.predict(image, max_det=7, **options)[0]) == 7
    threshold = float(every[40, 4])
    assert len(model.predict(image, **options | {"conf": threshold})[0]) <= 40
    assert len(model.predict(np.zeros((320, 320, 3), np.uint8), max_det=1000, imgsz=320, conf=0.0)[0]) == 1000


def test_augment_falls_back_with_one_warning(model, image, monkeypatch):
    texts = []
    handler = logging.Handler()
    handler.emit = lambda record: texts.append(record.getMessage())
    monkeypatch.setattr(LOGGER, "handlers", [handler])
    options = {"imgsz": 64, "device": "cpu", "conf": 0.0}
    plain = model.predict(image, **options)[0].boxes.data
    for _ in range(2):
        assert torch.equal(model.predict(image, augment=True, **options)[0].boxes.data, plain)
    assert sum("v10Detect has no test-time augmentation" in text for text in texts) == 1
