"""Matching and average precision: cases of the specification, reference loops, the official package."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from project import load_module

from ultralytics.utils.average_precision import ap_per_class, compute_ap, match_predictions, smooth
from ultralytics.utils.iou import box_iou

make = load_module(Path(__file__).parent / "golden" / "make.py")
LEVELS = torch.linspace(0.5, 0.95, 10)


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


def test_matching_matches_the_official_package(golden_metrics, actual_metrics):
    assert actual_metrics["match"] == golden_metrics["match"]


@pytest.mark.parametrize(
    ("recall", "precision", "expected"),
    [([1], [1], 0.995), ([0.5], [1], 0.75), ([0.5, 1], [1, 0.5], 0.8725), ([0], [0], 0)],
)
def test_compute_ap(recall, precision, expected):
    ap, envelope, reach = compute_ap(np.array(recall, float), np.array(precision, float))
    assert ap == pytest.approx(expected, abs=1e-12)
    assert len(envelope) == len(reach) == len(recall) + 2 and (np.diff(envelope) <= 0).all()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_specification_case(order, specification_case):
    tp, conf, pred, target = specification_case
    order = list(order)
    scores = ap_per_class(tp[order], conf[order], pred, target)
    np.testing.assert_allclose([scores.p[0], scores.r[0], scores.f1[0]], [2 / 3, 1, 0.8], atol=1e-6)
    np.testing.assert_allclose(scores.ap[0], [0.828333] * 3 + [0.58] * 7, atol=1e-6)
    assert scores.tp.tolist() == [2] and scores.fp.tolist() == [1] and scores.classes.tolist() == [0]


def test_average_precision_matches_the_official_package(golden_metrics, actual_metrics):
    assert actual_metrics["ap"].keys() == golden_metrics["ap"].keys()
    for name, values in golden_metrics["ap"].items():
        for i, (result, expected) in enumerate(zip(actual_metrics["ap"][name], values, strict=True)):
            result, expected = np.array(result), np.array(expected)
            if i == 2:  # precision of a class without detections: 1 in 8.3.0, 0 here
                expected = np.where(np.array(values[3]) > 0, expected, 0)
            np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-9, err_msg=f"{name} {i}")


def test_a_class_without_confident_predictions_has_precision_zero(golden_metrics):
    scores = ap_per_class(*dict(make.ap_cases())["unconfident"])
    assert golden_metrics["ap"]["unconfident"][2][2] == 1  # 8.3.0
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


def test_smooth():
    np.testing.assert_allclose(smooth(np.full(1000, 0.3), 0.1), 0.3)
    y = np.zeros(1000)
    y[500] = 1
    result = smooth(y, 0.1)
    assert result.shape == (1000,) and np.count_nonzero(result > 1e-9) == 101 and result.sum() == pytest.approx(1)
    assert smooth(np.arange(1000.0), 0.1)[0] == pytest.approx(sum(range(51)) / 101)  # padded with the first value
