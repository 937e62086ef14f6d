"""Pose networks against official 8.3.0: predictions and metrics of the same weights (golden/make_pose.py)."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from ultralytics import YOLO
from ultralytics.nn import tasks
from ultralytics.nn.checkpoint import save_checkpoint

GOLDEN = Path(__file__).parent / "golden"
spec = importlib.util.spec_from_file_location("make_pose", GOLDEN / "make_pose.py")
made = importlib.util.module_from_spec(spec)
spec.loader.exec_module(made)
OFFICIAL = json.loads((GOLDEN / "pose.json").read_text())


@pytest.fixture(params=made.CASES)
def case(request, tmp_path):
    """Name, network as a checkpoint, images."""
    save_checkpoint(tmp_path / "net.pt", made.network(tasks, request.param), finished=True, train_args={"task": "pose"})
    return request.param, YOLO(tmp_path / "net.pt"), made.write_images(tmp_path)


def test_same_predictions(case):
    """Keypoints to 1e-3 pixels; 8.3.0 rounds boxes to integers, and moves points of confidence below 0.5 to (0, 0)."""
    name, yolo, files = case
    official = OFFICIAL[name]["predictions"]
    compared = 0
    for file, (boxes, points), (boxes_0, points_0) in zip(files, made.predict(yolo, files), official, strict=True):
        boxes_0, points_0 = np.array(boxes_0), np.array(points_0).reshape(points.shape)
        np.testing.assert_allclose(boxes[:, 4:], boxes_0[:, 4:], atol=1e-4)
        # 8.3.0 takes points from the letterbox with a border of 15.5 pixels, where it is 15
        shift = np.array([0, 0.5]) if file.stem == "odd" else 0
        np.testing.assert_allclose(boxes[:, :4], boxes_0[:, :4], rtol=0, atol=0.501)
        certain = points_0[..., 2] >= 0.5 if points.shape[2] == 3 else np.ones(points.shape[:2], bool)
        inside = (points_0[..., :2] > 0).all(2) & (points_0[..., :2] < np.array(made.ODD[::-1])).all(2)
        chosen = certain & inside
        np.testing.assert_allclose(points[chosen][:, :2], (points_0[..., :2] + shift)[chosen], rtol=0, atol=2e-3)
        np.testing.assert_allclose(points[..., 2:], points_0[..., 2:], atol=1e-4)
        compared += int(chosen.sum())
    assert compared > 15


def test_same_metrics(case, tmp_path):
    name, yolo, _ = case
    data = made.write_labels(tmp_path, OFFICIAL[name]["labels"], made.CASES[name])
    metrics, official = made.validate(yolo, data, tmp_path), OFFICIAL[name]["metrics"]
    assert list(metrics) == list(official)
    # a class without confident predictions has precision 1 in 8.3.0, see docs/compatibility.md
    for key in metrics.keys() - {"metrics/precision(B)", "metrics/precision(P)"}:
        assert metrics[key] == pytest.approx(official[key], abs=1e-3), key
    assert official["metrics/mAP50-95(P)"] > 0.2
