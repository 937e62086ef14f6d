"""Metrics: cases of the specification, reference loops, the official package, and where 8.3.0 is misleading."""

from __future__ import annotations

import importlib.util
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from ultralytics.utils.metrics import (
    ConfusionMatrix,
    DetMetrics,
    Metric,
    ap_per_class,
    bbox_ioa,
    bbox_iou,
    box_iou,
    compute_ap,
    match_predictions,
    smooth,
)

GOLDEN = Path(__file__).parent / "golden"
_spec = importlib.util.spec_from_file_location("golden_make", GOLDEN / "make.py")
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)
LEVELS = torch.linspace(0.5, 0.95, 10)


@pytest.fixture(scope="module")
def golden():
    return json.loads((GOLDEN / "metrics.json").read_text())["values"]


@pytest.fixture(scope="module")
def actual():
    return make.metrics_record()


# ------------------------------------------------------------------------------------------------------ overlap
def test_iou_by_hand():
    a, b = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[5.0, 5, 15, 25], [20, 20, 30, 30], [0, 0, 10, 10]])
    np.testing.assert_allclose(box_iou(a, b), [[25 / 275, 0, 1]], rtol=1e-6)
    np.testing.assert_allclose(bbox_ioa(a.numpy(), b.numpy()), [[0.125, 0, 1]], rtol=1e-6)
    np.testing.assert_allclose(bbox_ioa(a.numpy(), b.numpy(), iou=True), [[25 / 275, 0, 1]], rtol=1e-6)
    np.testing.assert_allclose(bbox_iou(a, b, xywh=False)[:, 0], [25 / 275, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(bbox_iou(a, b[1:2], xywh=False, GIoU=True), [[200 / 900 - 1]], rtol=1e-5)
    np.testing.assert_allclose(bbox_iou(a, b[1:2], xywh=False, DIoU=True), [[-800 / 1800]], rtol=1e-5)
    assert box_iou(a, torch.zeros(0, 4)).shape == (1, 0)
    assert box_iou(torch.zeros(1, 4), torch.zeros(1, 4)).item() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_iou_of_half_precision_is_computed_in_float32(dtype):
    a, b = torch.tensor([[0.0, 0, 512, 512]], dtype=dtype), torch.tensor([[256.0, 0, 512, 512]], dtype=dtype)
    for iou in (box_iou(a, b), bbox_iou(a, b, xywh=False)):  # the area, 262144, is beyond float16
        assert iou.dtype == torch.float32
        np.testing.assert_allclose(iou, [[0.5]], rtol=1e-6)


def test_iou_matches_the_official_package(golden, actual):
    assert actual["iou"].keys() == golden["iou"].keys()
    for name, values in golden["iou"].items():
        for result, expected in zip(actual["iou"][name], values, strict=True):
            np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-7, err_msg=name)


def test_ciou_trade_off_factor_gets_no_gradient():
    a = torch.tensor([[0.0, 0, 4, 2]], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([[1.0, 0, 3, 4]], dtype=torch.float64)
    bbox_iou(a, b, xywh=False, CIoU=True).sum().backward()

    def ciou_with_factor(box, factor):
        plain = bbox_iou(box, b, xywh=False, DIoU=True)
        (w, h), (u, v) = (box[0, 2:] - box[0, :2]), (b[0, 2:] - b[0, :2])
        aspect = 4 / np.pi**2 * (torch.atan(u / v) - torch.atan(w / h)) ** 2
        return plain - aspect * factor, aspect

    _, aspect = ciou_with_factor(a.detach(), 0)
    factor = aspect / (aspect - bbox_iou(a.detach(), b, xywh=False) + 1)
    c = a.detach().clone().requires_grad_()
    ciou_with_factor(c, factor)[0].sum().backward()
    np.testing.assert_allclose(a.grad, c.grad, rtol=1e-5)


# ----------------------------------------------------------------------------------------------------- matching
@pytest.mark.parametrize(
    ("iou", "true_positives"),
    [  # true positives per detection, of ten levels
        ([[0.6, 0.9]], [3, 6]),  # the first is matched at .5 .55 .6, the second above
        ([[0.9, 0.8], [0.85, 0.1]], [9, 0]),  # both select instance 0; the second is not matched to instance 1
        ([[0.4]], [0]),
        ([[0.7], [0.7]], [5]),  # linspace in float32: 0.7 is 0.69999999
    ],
)
def test_matching_cases(iou, true_positives):
    iou = torch.tensor(iou)
    correct = match_predictions(torch.zeros(iou.shape[1]), torch.zeros(iou.shape[0]), iou, LEVELS)
    assert correct.dtype == torch.bool and correct.sum(1).tolist() == true_positives


def test_matched_detection_depends_on_the_threshold():
    correct = match_predictions(torch.zeros(2), torch.zeros(1), torch.tensor([[0.6, 0.9]]), LEVELS)
    assert correct[0].tolist() == [True] * 3 + [False] * 7
    assert correct[1].tolist() == [False] * 3 + [True] * 6 + [False]


@pytest.mark.parametrize("m_n", [(0, 3), (2, 0), (0, 0)])
def test_matching_without_instances_or_detections(m_n):
    m, n = m_n
    correct = match_predictions(torch.zeros(n), torch.zeros(m), torch.zeros(m, n), LEVELS)
    assert correct.shape == (n, 10) and not correct.any()


def reference_match(pred_classes, true_classes, iou):
    """The rule of the specification, pair by pair."""
    m, n = iou.shape
    correct = np.zeros((n, 10), bool)
    for k, level in enumerate(LEVELS.tolist()):
        pairs = [(iou[g, d], g, d) for g in range(m) for d in range(n) if true_classes[g] == pred_classes[d]]
        pairs = sorted((p for p in pairs if p[0] >= level), key=lambda p: (-p[0], -p[1]))
        best = {}
        for _, g, d in pairs:
            best.setdefault(d, g)
        taken = set()
        for d in sorted(best):
            if best[d] not in taken:
                taken.add(best[d])
                correct[d, k] = True
    return correct


@pytest.mark.parametrize("seed", range(8))
def test_matching_matches_the_reference(seed):
    detected, instances = make.image_case(seed, 30, 1 + seed, 3)
    iou = box_iou(instances[:, 1:], detected[:, :4])
    if seed % 2:
        iou = (iou * 20).round() / 20  # ties
    correct = match_predictions(detected[:, 5], instances[:, 0], iou, LEVELS)
    expected = reference_match(detected[:, 5].tolist(), instances[:, 0].tolist(), iou.double().numpy())
    np.testing.assert_array_equal(correct.numpy(), expected)
    assert expected.any()


def test_matching_matches_the_official_package(golden, actual):
    assert actual["match"] == golden["match"]


# --------------------------------------------------------------------------------------------- average precision
@pytest.mark.parametrize(
    ("recall", "precision", "expected"),
    [([1], [1], 0.995), ([0.5], [1], 0.75), ([0.5, 1], [1, 0.5], 0.8725), ([0], [0], 0)],
)
def test_compute_ap(recall, precision, expected):
    ap, envelope, reach = compute_ap(np.array(recall, float), np.array(precision, float))
    assert ap == pytest.approx(expected, abs=1e-12)
    assert len(envelope) == len(reach) == len(recall) + 2 and (np.diff(envelope) <= 0).all()


def specification_case():
    tp = np.zeros((3, 10), bool)
    tp[0], tp[2, :3] = True, True
    return tp, np.array([0.9, 0.8, 0.3]), np.zeros(3), np.zeros(2)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_specification_case(order):
    tp, conf, pred, target = specification_case()
    order = list(order)
    scores = ap_per_class(tp[order], conf[order], pred, target)
    np.testing.assert_allclose([scores.p[0], scores.r[0], scores.f1[0]], [2 / 3, 1, 0.8], atol=1e-6)
    np.testing.assert_allclose(scores.ap[0], [0.828333] * 3 + [0.58] * 7, atol=1e-6)
    assert scores.tp.tolist() == [2] and scores.fp.tolist() == [1] and scores.classes.tolist() == [0]


def test_average_precision_matches_the_official_package(golden, actual):
    assert actual["ap"].keys() == golden["ap"].keys()
    for name, values in golden["ap"].items():
        for i, (result, expected) in enumerate(zip(actual["ap"][name], values, strict=True)):
            result, expected = np.array(result), np.array(expected)
            if i == 2:  # precision of a class without detections: 1 in 8.3.0, 0 here
                expected = np.where(np.array(values[3]) > 0, expected, 0)
            np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-9, err_msg=f"{name} {i}")


def test_a_class_without_confident_predictions_has_precision_zero(golden):
    scores = ap_per_class(*dict(make.ap_cases())["unconfident"])
    assert golden["ap"]["unconfident"][2][2] == 1  # 8.3.0
    assert scores.p[2] == scores.r[2] == scores.f1[2] == 0
    assert scores.p_curve[2, -1] == 1  # the curve ends at 1, as in 8.3.0


def test_precision_over_recall_has_a_row_for_every_class():
    tp, conf, pred, target = dict(make.ap_cases())["unpredicted"]
    scores = ap_per_class(tp, conf, pred, target)
    assert scores.classes.tolist() == [0, 1, 2, 3] and scores.prec_values.shape == (4, 1000)
    assert not scores.prec_values[3].any() and not scores.ap[3].any() and scores.prec_values[2, 0] > 0


def reference_ap(tp, count):
    """AP of predictions sorted by confidence: the best precision at or beyond each of 101 recalls, interpolated."""
    points, hits = [(0.0, 1.0)], 0
    for i, hit in enumerate(tp, 1):
        hits += bool(hit)
        points.append((hits / count, hits / i))
    points.append((1.0, 0.0))
    best = [(r, max(q for _, q in points[i:])) for i, (r, _) in enumerate(points)]
    heights = []
    for step in range(101):
        x = step / 100
        low = max(i for i, (r, _) in enumerate(best) if r <= x + 1e-12)
        if low == len(best) - 1 or best[low][0] >= x - 1e-12:
            heights.append(best[low][1])
        else:
            (r0, q0), (r1, q1) = best[low], best[low + 1]
            heights.append(q0 + (q1 - q0) * (x - r0) / (r1 - r0))
    return sum((a + b) / 2 for a, b in pairwise(heights)) / 100


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_matches_a_reference_loop(seed):
    tp, conf, pred, target = make.detections(seed, 2, 60, 150)
    scores = ap_per_class(tp, conf, pred, target)
    for row, cls in enumerate(scores.classes):
        order = [i for i in sorted(range(60), key=lambda i: -conf[i]) if pred[i] == cls]
        for level in (0, 5, 9):
            expected = reference_ap(tp[order, level], (target == cls).sum())
            np.testing.assert_allclose(scores.ap[row, level], expected, atol=1e-9)


def test_nan_confidence_is_ignored():
    tp, conf, pred, target = make.detections(0, 3, 80, 40)
    conf[::7] = np.nan
    keep = ~np.isnan(conf)
    for a, b in zip(
        ap_per_class(tp, conf, pred, target), ap_per_class(tp[keep], conf[keep], pred[keep], target), strict=True
    ):
        np.testing.assert_array_equal(a, b)
        assert np.isfinite(a).all()


@pytest.mark.parametrize(("n", "m"), [(0, 0), (5, 0), (0, 4), (5, 4)])
def test_no_true_positives(n, m):
    metrics = DetMetrics(names={0: "a", 1: "b"})
    metrics.process(np.zeros((n, 10), bool), np.linspace(0.1, 0.9, n), np.zeros(n), np.ones(m))
    assert metrics.mean_results() == [0, 0, 0, 0] and metrics.fitness == 0 and metrics.maps.tolist() == [0, 0]
    assert len(metrics.ap_class_index) == (m > 0)
    for x, y, _, _ in metrics.curves_results:
        assert x.shape == (1000,) and y.shape == (m > 0, 1000) and np.isfinite(y).all()


def test_smooth():
    np.testing.assert_allclose(smooth(np.full(1000, 0.3), 0.1), 0.3)
    y = np.zeros(1000)
    y[500] = 1
    result = smooth(y, 0.1)
    assert result.shape == (1000,) and np.count_nonzero(result > 1e-9) == 101 and result.sum() == pytest.approx(1)
    assert smooth(np.arange(1000.0), 0.1)[0] == pytest.approx(sum(range(51)) / 101)  # padded with the first value


# ----------------------------------------------------------------------------------------------------- containers
def test_detection_metrics():
    metrics = DetMetrics(save_dir="somewhere", names={0: "a", 1: "b", 2: "c"})
    assert metrics.mean_results() == [0, 0, 0, 0] and metrics.maps.tolist() == [0, 0, 0]  # before process is called
    tp, conf, pred, target = specification_case()
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


# ----------------------------------------------------------------------------------------------- confusion matrix
FAR, NEAR = (60, 60, 80, 80), (10, 10, 30, 30)


def detections(*rows):
    return torch.tensor([(*box, conf, cls) for box, conf, cls in rows], dtype=torch.float32).view(-1, 6)


@pytest.mark.parametrize(
    ("detected", "true", "cells"),
    [  # cells (predicted, true): count; 2 is the background
        ([(NEAR, 0.9, 0), (FAR, 0.9, 1)], [(NEAR, 1)], {(0, 1): 1, (1, 2): 1}),  # of the specification
        ([(FAR, 0.9, 1)], [(NEAR, 1)], {(1, 2): 1, (2, 1): 1}),  # 8.3.0 omits the false positive
        (
            [(FAR, 0.9, 0), (NEAR, 0.9, 1)],
            [],
            {(0, 2): 1, (1, 2): 1},
        ),  # an image without instances; not counted in 8.3.0
        ([], [(NEAR, 0), (FAR, 1)], {(2, 0): 1, (2, 1): 1}),
        ([(NEAR, 0.25, 0)], [(NEAR, 0)], {(2, 0): 1}),  # not above the threshold
        ([(NEAR, 0.9, 0), (NEAR, 0.8, 1)], [(NEAR, 1)], {(0, 1): 1, (1, 2): 1}),  # one match per instance
        (
            [((10, 10, 30, 33), 0.9, 0), (NEAR, 0.3, 1)],
            [(NEAR, 1)],
            {(1, 1): 1, (0, 2): 1},
        ),  # the higher IoU is matched
    ],
)
def test_confusion_matrix(detected, true, cells):
    matrix = ConfusionMatrix(2)
    boxes = torch.tensor([box for box, _ in true], dtype=torch.float32).view(-1, 4)
    matrix.process_batch(detections(*detected), boxes, torch.tensor([float(cls) for _, cls in true]))
    expected = np.zeros((3, 3))
    for cell, count in cells.items():
        expected[cell] = count
    np.testing.assert_array_equal(matrix.matrix, expected)


def test_confusion_matrix_accumulates_and_accepts_none():
    matrix = ConfusionMatrix(2, conf=0.001)
    assert (
        matrix.conf == 0.25 and ConfusionMatrix(2, conf=None).conf == 0.25 and ConfusionMatrix(2, conf=0.6).conf == 0.6
    )
    boxes, classes = torch.tensor([NEAR, FAR], dtype=torch.float32), torch.tensor([0.0, 1.0])
    matrix.process_batch(None, boxes, classes)
    matrix.process_batch(detections((NEAR, 0.9, 0), (FAR, 0.9, 0)), boxes, classes)
    assert matrix.matrix.tolist() == [[1, 1, 0], [0, 0, 0], [1, 1, 0]]
    tp, fp = matrix.tp_fp()
    assert tp.tolist() == [1, 0] and fp.tolist() == [1, 0]


def test_confusion_matrix_matches_the_official_package(golden, actual):
    assert actual["confusion"] == golden["confusion"]
