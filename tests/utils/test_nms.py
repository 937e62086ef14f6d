"""Non-maximum suppression against the official package and a reference loop, and where 8.3.0 is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from project import load_module

from ultralytics.utils import nms
from ultralytics.utils.nms import non_max_suppression

GOLDEN = Path(__file__).parent / "golden"
make = load_module(GOLDEN / "make.py")


def reference_nms(pred, conf, iou_thres, multi_label, agnostic, max_det):
    """One image (4 + nc, A), box by box."""
    rows = []
    for column in pred.T.tolist():
        x, y, w, h, *scores = column
        if any(s != s for s in scores):
            continue
        classes = range(len(scores)) if multi_label else [scores.index(max(scores))]
        rows += [(x - w / 2, y - h / 2, x + w / 2, y + h / 2, scores[k], k) for k in classes if scores[k] > conf]
    rows.sort(key=lambda row: -row[4])  # stable
    kept = []
    for a in rows:
        for b in kept:
            if not agnostic and a[5] != b[5]:
                continue
            inter = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
            union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
            if inter / union > iou_thres:
                break
        else:
            kept.append(a)
    return kept[:max_det]


@pytest.mark.parametrize("seed", range(12))
def test_matches_a_reference_loop(seed):
    rng = np.random.RandomState(seed)
    conf, iou_thres = float(rng.choice([0.01, 0.3])), float(rng.choice([0.3, 0.6]))
    multi_label, agnostic, max_det = bool(rng.randint(2)), bool(rng.randint(2)), int(rng.choice([5, 300]))
    pred = make.nms_case(seed, 2, 3, 150, ties=seed % 3 == 0, nan=seed % 4 == 0).double()
    detections = non_max_suppression(pred, conf, iou_thres, agnostic=agnostic, multi_label=multi_label, max_det=max_det)
    for i, rows in enumerate(detections):
        expected = reference_nms(pred[i], conf, iou_thres, multi_label, agnostic, max_det)
        np.testing.assert_allclose(rows.numpy(), np.array(expected).reshape(-1, 6), atol=1e-9)


def test_matches_the_official_package():
    golden = json.loads((GOLDEN / "nms.json").read_text())["values"]
    actual = make.nms_record()
    assert actual.keys() == golden.keys()
    for name, images in golden.items():
        assert [image["n"] for image in actual[name]] == [image["n"] for image in images], name
        for result, expected in zip(actual[name], images, strict=True):
            for key in ("sums", "first"):
                np.testing.assert_allclose(result[key], expected[key], rtol=1e-5, err_msg=name)


def raw(*boxes):
    """Prediction for one image from rows x, y, w, h, scores."""
    return torch.tensor(boxes, dtype=torch.float32).T[None]


def test_six_anchors_are_not_an_end_to_end_output():
    pred = raw(*[(20.0 + 40 * k, 20, 10, 10, 0.9 - 0.1 * k) for k in range(6)])
    (rows,) = non_max_suppression(pred, 0.45)
    np.testing.assert_allclose(rows[:, 4], [0.9, 0.8, 0.7, 0.6, 0.5], rtol=1e-6)
    assert rows[0].tolist()[:4] == [15, 15, 25, 25]


def test_equal_scores_stay_in_input_order():
    pred = raw(*[(300.0 - 40 * k, 20, 10, 10, 0.5, 0.5) for k in range(7)])
    (rows,) = non_max_suppression(pred, multi_label=True)
    assert rows[:, 0].tolist() == [300 - 40 * k - 5 for k in range(7) for _ in range(2)]
    assert rows[:, 5].tolist() == [0, 1] * 7


def test_nan_and_scores_equal_to_the_threshold_are_dropped():
    pred = raw((20, 20, 10, 10, float("nan"), 0.9), (60, 20, 10, 10, 0.25, 0.1), (90, 20, 10, 10, 0.3, 0.1))
    for multi_label in (False, True):
        (rows,) = non_max_suppression(pred, 0.25, multi_label=multi_label)
        np.testing.assert_allclose(rows, [[85, 15, 95, 25, 0.3, 0]])


def test_no_candidates_and_no_anchors():
    assert [r.shape for r in non_max_suppression(torch.zeros(2, 9, 30), nc=3)] == [(0, 8), (0, 8)]
    assert [r.shape for r in non_max_suppression(torch.zeros(2, 7, 0), multi_label=True)] == [(0, 6), (0, 6)]


def test_input_is_unchanged_and_of_a_list_the_first_element_is_used():
    pred = make.nms_case(0, 2, 3, 60)
    before = pred.clone()
    rows = non_max_suppression([pred, "maps"], 0.1, multi_label=True)
    assert torch.equal(pred, before)
    assert torch.equal(rows[1], non_max_suppression(pred, 0.1, multi_label=True)[1]) and len(rows[1]) > 10


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_with_high_class_indices(dtype):
    # class 79 is offset by 606720 pixels, beyond float16: all boxes would become infinite and none be suppressed
    scores = torch.zeros(4, 80)
    scores[:, 79] = torch.tensor([0.9, 0.8, 0.7, 0.6])
    boxes = torch.tensor([[20.0, 20, 10, 10], [21, 20, 10, 10], [60, 20, 10, 10], [60, 21, 10, 10]])
    (rows,) = non_max_suppression(torch.cat((boxes, scores), 1).T[None].to(dtype))
    assert rows.dtype == torch.float32 and rows[:, 0].tolist() == [15, 55] and rows[:, 5].tolist() == [79, 79]


def test_stopping_early_changes_nothing():
    """Suppression stops once max_det boxes are found; the result must be the start of the complete one."""
    pred = make.nms_case(3, 1, 4, 2000, spread=900.0)
    options = {"conf_thres": 0.001, "iou_thres": 0.3, "multi_label": True}
    (complete,) = non_max_suppression(pred, **options, max_det=8000)
    assert 300 < len(complete) < 8000  # some of the 2000 boxes of 4 classes are suppressed
    for max_det in (1, 40, 300):
        assert torch.equal(non_max_suppression(pred, **options, max_det=max_det)[0], complete[:max_det])


def test_max_nms_keeps_the_highest_scores():
    pred = make.nms_case(4, 1, 3, 300, spread=5000.0)
    best = non_max_suppression(pred, 0.01, multi_label=True, max_nms=20)[0]
    assert torch.equal(best, non_max_suppression(pred, 0.01, multi_label=True)[0][:20])
    tied = pred.clone()
    tied[:, 4:] = 0.5  # of equal scores the first ones are kept
    assert torch.equal(
        non_max_suppression(tied, multi_label=True, max_nms=20)[0], non_max_suppression(tied, multi_label=True)[0][:20]
    )


def test_class_filter_precedes_max_nms():
    pred = make.nms_case(5, 1, 3, 300, spread=5000.0)
    rows = non_max_suppression(pred, 0.01, classes=[2], multi_label=True, max_nms=30)[0]
    assert len(rows) == 30 and set(rows[:, 5].tolist()) == {2.0}


@pytest.mark.parametrize(
    ("options", "message"), [({"conf_thres": 1.2}, "conf_thres=1.2"), ({"iou_thres": -0.1}, "iou_thres=-0.1")]
)
def test_thresholds_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        non_max_suppression(torch.zeros(1, 5, 3), **options)


def test_shape_is_checked():
    with pytest.raises(ValueError, match=r"\(B, 4 \+ nc \+ extras, A\), got shape \(5, 3\)"):
        non_max_suppression(torch.zeros(5, 3))


def test_import_does_not_import_torchvision():
    code = "import sys; import ultralytics.utils.nms; sys.exit('torchvision' in sys.modules)"
    root = Path(nms.__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
