"""The confusion matrix: matches, background, accumulation, the official package."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ultralytics.utils.confusion_matrix import ConfusionMatrix

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


def test_confusion_matrix_matches_the_official_package(golden_metrics, actual_metrics):
    assert actual_metrics["confusion"] == golden_metrics["confusion"]


def test_classified_images_have_no_background():
    matrix = ConfusionMatrix(3, task="classify")
    matrix.process_cls_preds(
        [torch.tensor([[0, 1], [2, 0]]), torch.tensor([[1, 2]])], [torch.tensor([0, 1]), torch.tensor([1])]
    )
    np.testing.assert_array_equal(matrix.matrix, [[1, 0, 0], [0, 1, 0], [0, 1, 0]])
    true_positives, false_positives = matrix.tp_fp()
    assert true_positives.tolist() == [1, 1, 0] and false_positives.tolist() == [0, 0, 1]
