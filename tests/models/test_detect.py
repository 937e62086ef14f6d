"""The detection task: what the validator counts, against boxes whose answer is known."""

import numpy as np
import pytest
import torch

from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.utils import IterableSimpleNamespace


def batch(objects, size=(64, 96), original=(128, 192)):
    """Two images of `size` that were twice as large, with (image, class, x1, y1, x2, y2) in batch pixels."""
    rows = torch.tensor(objects, dtype=torch.float32).reshape(-1, 6)
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


def found(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)


@pytest.fixture
def validator(tmp_path):
    def make(**args):
        v = DetectionValidator(save_dir=tmp_path, args={"mode": "val", "plots": True, **args})
        v.training = False
        v.init_metrics(IterableSimpleNamespace(names={0: "a", 1: "b"}))
        return v

    return make


OBJECTS = [(0, 0, 10, 10, 30, 30), (0, 1, 40, 10, 60, 50), (1, 0, 5, 5, 25, 25)]
RIGHT = [found((10, 10, 30, 30, 0.9, 0), (40, 10, 60, 50, 0.8, 1)), found((5, 5, 25, 25, 0.7, 0))]


def test_perfect_detections_score_as_high_as_can_be(validator):
    v = validator()
    v.update_metrics(RIGHT, batch(OBJECTS))
    stats = v.get_stats()
    assert stats["metrics/mAP50-95(B)"] == pytest.approx(0.995)
    assert stats["fitness"] == pytest.approx(0.995)
    np.testing.assert_array_equal(v.confusion_matrix.matrix, np.diag([2, 1, 0]))
    assert v.seen == 2 and v._instances.tolist() == [2, 1] and v._images_with.tolist() == [2, 1]


def test_predictions_stay_in_pixels_of_the_batch(validator):
    v = validator()
    preds = [p.clone() for p in RIGHT]
    v.update_metrics(preds, batch(OBJECTS))
    assert all(torch.equal(a, b) for a, b in zip(preds, RIGHT, strict=True)), "the pictures are drawn from them"


def test_false_alarms_on_an_empty_image_count(validator):
    v = validator()
    v.update_metrics([RIGHT[0], found((0, 0, 20, 20, 0.95, 1))], batch(OBJECTS[:2]))
    stats = v.get_stats()
    assert v.confusion_matrix.matrix[1, 2] == 1
    assert stats["metrics/mAP50(B)"] < 0.9


def test_no_labels_at_all_gives_zeros(validator):
    v = validator()
    v.update_metrics([found(), found()], batch([]))
    assert set(v.get_stats().values()) == {0.0}


def test_single_cls_ignores_the_predicted_class(validator):
    swapped = [RIGHT[0].clone(), RIGHT[1].clone()]
    for rows in swapped:
        rows[:, 5] = 1 - rows[:, 5]
    objects = [(i, 0, *box) for i, _, *box in OBJECTS]
    results = []
    for single in (False, True):
        v = validator(single_cls=single)
        v.update_metrics(swapped, batch(objects))
        results.append(v.get_stats()["metrics/mAP50(B)"])
    assert results[0] < 0.9 and results[1] == pytest.approx(0.995)


def test_json_and_text_are_in_pixels_of_the_original(validator, tmp_path):
    v = validator(save_json=True, save_txt=True, save_conf=True)
    v.update_metrics(RIGHT, batch(OBJECTS))
    assert v.jdict[0] == {"image_id": "a", "category_id": 0, "bbox": [20.0, 20.0, 40.0, 40.0], "score": 0.9}
    line = (tmp_path / "labels" / "a.txt").read_text().splitlines()[0].split()
    assert [float(x) for x in line] == pytest.approx([0, 40 / 192, 40 / 128, 40 / 192, 40 / 128, 0.9], abs=1e-5)
