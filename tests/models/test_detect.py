"""The detection task: what the validator counts for boxes with a known answer, and the official import paths."""

import importlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ultralytics import YOLO
from ultralytics.cfg import get_cfg
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.utils import IterableSimpleNamespace


def batch(instances, size=(64, 96), original=(128, 192)):
    """Two images of `size` that were twice as large, with (image, class, x1, y1, x2, y2) in batch pixels."""
    rows = torch.tensor(instances, dtype=torch.float32).reshape(-1, 6)
    h, w = size
    x1, y1, x2, y2 = rows[:, 2:].T
    xywh = torch.stack([(x1 + x2) / 2 / w, (y1 + y2) / 2 / h, (x2 - x1) / w, (y2 - y1) / h], 1)
    return {
        "img": torch.zeros(2, 3, h, w),
        "batch_idx": rows[:, 0],
        "cls": rows[:, 1:2],
        "bboxes": xywh,
        "im_file": ("a.jpg", "b.jpg"),
        "ori_shape": [original] * 2,
        "ratio_pad": [((0.5, 0.5), (0, 0))] * 2,
    }


def predictions(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)


@pytest.fixture
def validator(tmp_path):
    def make(**args):
        v = DetectionValidator(save_dir=tmp_path, args={"mode": "val", "plots": True, **args})
        v.training = False
        v.init_metrics(IterableSimpleNamespace(names={0: "a", 1: "b"}))
        return v

    return make


INSTANCES = [(0, 0, 10, 10, 30, 30), (0, 1, 40, 10, 60, 50), (1, 0, 5, 5, 25, 25)]
CORRECT = [predictions((10, 10, 30, 30, 0.9, 0), (40, 10, 60, 50, 0.8, 1)), predictions((5, 5, 25, 25, 0.7, 0))]


def test_perfect_predictions_have_the_highest_score(validator):
    v = validator()
    v.update_metrics(CORRECT, batch(INSTANCES))
    stats = v.get_stats()
    assert stats["metrics/mAP50-95(B)"] == pytest.approx(0.995)
    assert stats["fitness"] == pytest.approx(0.995)
    np.testing.assert_array_equal(v.confusion_matrix.matrix, np.diag([2, 1, 0]))
    assert v.seen == 2 and v.nt_per_class.tolist() == [2, 1] and v.nt_per_image.tolist() == [2, 1]


def test_predictions_stay_in_pixels_of_the_batch(validator):
    v = validator()
    preds = [p.clone() for p in CORRECT]
    v.update_metrics(preds, batch(INSTANCES))
    assert all(torch.equal(a, b) for a, b in zip(preds, CORRECT, strict=True)), "plots are made from them"


def test_false_alarms_on_an_empty_image_count(validator):
    v = validator()
    v.update_metrics([CORRECT[0], predictions((0, 0, 20, 20, 0.95, 1))], batch(INSTANCES[:2]))
    stats = v.get_stats()
    assert v.confusion_matrix.matrix[1, 2] == 1
    assert stats["metrics/mAP50(B)"] < 0.9


def test_no_labels_at_all_gives_zeros(validator):
    v = validator()
    v.update_metrics([predictions(), predictions()], batch([]))
    assert set(v.get_stats().values()) == {0.0}


def test_single_cls_ignores_the_predicted_class(validator):
    swapped = [CORRECT[0].clone(), CORRECT[1].clone()]
    for rows in swapped:
        rows[:, 5] = 1 - rows[:, 5]
    instances = [(i, 0, *box) for i, _, *box in INSTANCES]
    results = []
    for single in (False, True):
        v = validator(single_cls=single)
        v.update_metrics(swapped, batch(instances))
        results.append(v.get_stats()["metrics/mAP50(B)"])
    assert results[0] < 0.9 and results[1] == pytest.approx(0.995)


def test_json_and_text_are_in_pixels_of_the_original(validator, tmp_path):
    v = validator(save_json=True, save_txt=True, save_conf=True)
    v.update_metrics(CORRECT, batch(INSTANCES))
    assert v.jdict[0] == {"image_id": "a", "category_id": 0, "bbox": [20.0, 20.0, 40.0, 40.0], "score": 0.9}
    line = (tmp_path / "labels" / "a.txt").read_text().splitlines()[0].split()
    assert [float(x) for x in line] == pytest.approx([0, 40 / 192, 40 / 128, 40 / 192, 40 / 128, 0.9], abs=1e-5)


def test_results_per_class(validator):
    v = validator()
    v.update_metrics(CORRECT, batch(INSTANCES[:1] + INSTANCES[2:]))  # no instance of class b
    v.get_stats()
    a, b = v.class_results()
    assert (a.index, a.name, a.images, a.instances) == (0, "a", 2, 2)
    assert (b.index, b.name, b.images, b.instances, b.metrics) == (1, "b", 0, 0, {})
    assert list(a.metrics) == list(v.metric_keys) and a.metrics["metrics/mAP50(B)"] == pytest.approx(0.995)


@pytest.mark.parametrize(("module", "name"), [("train", "Trainer"), ("val", "Validator"), ("predict", "Predictor")])
def test_official_import_paths(module, name):
    from ultralytics.models.yolo import detect

    path = importlib.import_module(f"ultralytics.models.yolo.detect.{module}")
    assert getattr(path, f"Detection{name}") is getattr(detect, f"Detection{name}")


@pytest.mark.parametrize("form", ["dict", "options", "namespace", "positional"])
@pytest.mark.parametrize("network", ["path", "without suffix", "module", "YOLO", "option"])
def test_a_validator_is_called_as_in_8_3_0(tiny_model, tiny_data, tmp_path, form, network):
    yolo = YOLO(tiny_model)
    path = yolo.save(tmp_path / "tiny.pt")
    expected = yolo.val(data=str(tiny_data), imgsz=64, rect=False, workers=0, device="cpu", plots=False)
    options = {"data": str(tiny_data), "imgsz": 64, "workers": 0, "device": "cpu", "plots": False}
    options |= {"project": str(tmp_path / "runs")} | ({"model": str(path)} if network == "option" else {})
    args = {"options": get_cfg({"mode": "val", **options}), "namespace": SimpleNamespace(**options)}.get(form, options)
    validator = DetectionValidator(None, None, None, args) if form == "positional" else DetectionValidator(args=args)
    models = {"path": path, "without suffix": str(path.with_suffix("")), "module": yolo.model, "YOLO": yolo}
    stats = validator(model=models.get(network))
    assert stats == {key: round(float(value), 5) for key, value in expected.results_dict.items()}
    assert validator.save_dir == tmp_path / "runs" / "val" and validator.metrics.box.map == expected.box.map
