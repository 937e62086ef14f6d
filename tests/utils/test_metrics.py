"""Metrics of a detector: names, means and per-class values; official import path."""

from __future__ import annotations

import numpy as np
import pytest

from ultralytics.utils import average_precision, confusion_matrix, iou, metrics
from ultralytics.utils.metrics import DetMetrics, Metric, ap_per_class


def test_detection_metrics(specification_case):
    metrics = DetMetrics(save_dir="somewhere", names={0: "a", 1: "b", 2: "c"})
    assert metrics.mean_results() == [0, 0, 0, 0] and metrics.maps.tolist() == [0, 0, 0]  # before process is called
    tp, conf, pred, target = specification_case
    metrics.process(tp, conf, pred + 1, target + 1)
    ap50, ap = 0.828333, 0.3 * 0.828333 + 0.7 * 0.58
    expected = [2 / 3, 1, ap50, ap]
    np.testing.assert_allclose(metrics.mean_results(), expected, atol=1e-6)
    np.testing.assert_allclose(metrics.class_result(0), expected, atol=1e-6)
    assert metrics.keys == ["metrics/precision(B)", "metrics/recall(B)", "metrics/mAP50(B)", "metrics/mAP50-95(B)"]
    assert [*metrics.results_dict] == [*metrics.keys, "fitness"]
    assert metrics.results_dict["fitness"] == metrics.fitness == pytest.approx(0.1 * ap50 + 0.9 * ap, abs=1e-6)
    np.testing.assert_allclose(metrics.maps, [ap, ap, ap], atol=1e-6)
    assert metrics.ap_class_index.tolist() == [1] and metrics.box.map75 == pytest.approx(0.58)
    assert len(metrics.curves) == len(metrics.curves_results) == 4
    assert set(metrics.speed) == {"preprocess", "inference", "loss", "postprocess"}
    assert len(repr(metrics)) < 200 and "mAP50(B)=0.8283" in str(metrics)


def test_maps_fill_missing_classes_with_the_mean():
    metric = Metric(nc=4)
    tp = np.zeros((2, 10), bool)
    tp[0] = True
    metric.update(ap_per_class(tp, np.array([0.9, 0.8]), np.array([3.0, 0]), np.array([3.0, 0])))
    np.testing.assert_allclose(metric.maps, [0, 0.4975, 0.4975, 0.995])


@pytest.mark.parametrize(("n", "m"), [(0, 0), (5, 0), (0, 4), (5, 4)])
def test_no_true_positives(n, m):
    metrics = DetMetrics(names={0: "a", 1: "b"})
    metrics.process(np.zeros((n, 10), bool), np.linspace(0.1, 0.9, n), np.zeros(n), np.ones(m))
    assert metrics.mean_results() == [0, 0, 0, 0] and metrics.fitness == 0 and metrics.maps.tolist() == [0, 0]
    assert len(metrics.ap_class_index) == (m > 0)
    for x, y, _, _ in metrics.curves_results:
        assert x.shape == (1000,) and y.shape == (m > 0, 1000) and np.isfinite(y).all()


def test_metrics_is_the_import_path_of_all_metric_functions():
    """Scripts for 8.3.0 import them from ultralytics.utils.metrics."""
    assert metrics.box_iou is iou.box_iou
    assert metrics.bbox_iou is iou.bbox_iou
    assert metrics.compute_ap is average_precision.compute_ap
    assert metrics.smooth is average_precision.smooth
    assert metrics.ConfusionMatrix is confusion_matrix.ConfusionMatrix
