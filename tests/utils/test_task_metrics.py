"""Scores of the other tasks: the parts are those of a detector, and the names are those of results files."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from ultralytics.tasks import TASKS
from ultralytics.utils.metrics import DetMetrics
from ultralytics.utils.task_metrics import ClassifyMetrics, OBBMetrics, PoseMetrics, SegmentMetrics

_spec = importlib.util.spec_from_file_location("golden_make", Path(__file__).parent / "golden" / "make.py")
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)
NAMES = dict(enumerate("abcde"))


@pytest.mark.parametrize(("cls", "part", "letter"), [(SegmentMetrics, "seg", "M"), (PoseMetrics, "pose", "P")])
def test_both_parts_are_scored_on_their_own(cls, part, letter):
    tp, conf, pred, target = make.detections(0, 5, 400, 150)
    second = make.detections(7, 5, 400, 150)[0]
    ours = cls(names=NAMES)
    ours.process(tp, second, conf, pred, target)
    alone = []
    for hits in (tp, second):
        one = DetMetrics(names=NAMES)
        one.process(hits, conf, pred, target)
        alone.append(one)
    assert ours.mean_results() == alone[0].mean_results() + alone[1].mean_results()
    assert ours.fitness == alone[0].fitness + alone[1].fitness
    assert ours.class_result(2) == alone[0].class_result(2) + alone[1].class_result(2)
    np.testing.assert_allclose(ours.maps, alone[0].maps + alone[1].maps)
    assert getattr(ours, part).map == alone[1].box.map != ours.box.map
    assert ours.keys[4:] == [f"metrics/{x}({letter})" for x in ("precision", "recall", "mAP50", "mAP50-95")]
    assert list(ours.results_dict) == [*ours.keys, "fitness"]
    assert len(ours.curves) == len(ours.curves_results) == 8
    np.testing.assert_array_equal(ours.curves_results[5][1], alone[1].box.f1_curve)


def test_several_classes_have_maps_also_for_poses():
    """8.3.0 raises an error here for any number of classes but one."""
    assert PoseMetrics(names=NAMES).maps.tolist() == [0.0] * 5


@pytest.mark.parametrize(
    ("targets", "guesses", "top1", "top5"),
    [
        ([], [], 0, 0),
        ([[0, 1]], [[[0, 1], [0, 1]]], 0.5, 1),  # two classes: fewer than five guesses
        ([[0], [7, 3]], [[[1, 2, 3, 4, 5]], [[7, 0, 1, 2, 3], [4, 5, 3, 0, 1]]], 1 / 3, 2 / 3),
    ],
)
def test_shares_of_a_classifier(targets, guesses, top1, top5):
    metrics = ClassifyMetrics()
    metrics.process([torch.tensor(t) for t in targets], [torch.tensor(g) for g in guesses])
    assert (metrics.top1, metrics.top5) == pytest.approx((top1, top5))
    assert metrics.fitness == pytest.approx((top1 + top5) / 2)
    assert list(metrics.results_dict) == ["metrics/accuracy_top1", "metrics/accuracy_top5", "fitness"]


def test_names_are_those_of_the_table_of_tasks():
    for cls, task in ((DetMetrics, "detect"), (SegmentMetrics, "segment"), (PoseMetrics, "pose"), (OBBMetrics, "obb")):
        metrics = cls(names=NAMES)
        assert metrics.task == task
        if task in TASKS:
            assert tuple(metrics.keys) == TASKS[task].metric_keys
