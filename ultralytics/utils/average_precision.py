"""Matching detections with ground truth, and the average precision of each class.

The definition is that of 8.3.0: 101 recall levels, the ten IoU thresholds of COCO. `ap_per_class` differs in two
details where the numbers of 8.3.0 are misleading.

Dimensions: n detections, m ground-truth boxes, T IoU thresholds, C classes that occur in the ground truth.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_CURVE_POINTS = 1000  # confidences at which precision, recall and F1 are tabulated
_RECALL_LEVELS = np.linspace(0, 1, 101)  # those of COCO
_F1_SMOOTHING = 0.1  # fraction of the confidence axis over which F1 is averaged before its maximum is chosen


def match_predictions(pred_classes: Tensor, true_classes: Tensor, iou: Tensor, iouv: Tensor) -> Tensor:
    """Which detections are true positives at which IoU threshold.

    Each detection selects the instance of its class with the highest IoU, the last one of ties. If several detections
    select the same instance with sufficient IoU, the first one in the list is matched, regardless of the IoU of the
    others, which are not matched again.

    Args:
        pred_classes: (n,) classes of the detections, highest confidence first.
        true_classes: (m,) classes of the instances.
        iou: (m, n) IoU.
        iouv: (T,) thresholds above 0.

    Returns:
        (n, T) bool.
    """
    m, n = iou.shape
    correct = np.zeros((n, len(iouv)), dtype=bool)
    if m and n:
        same_class = torch.where(true_classes[:, None] == pred_classes, iou, 0.0).cpu().numpy()
        choice = m - 1 - same_class[::-1].argmax(0)  # (n,) the selected instance
        best = same_class[choice, np.arange(n)]
        # sorted by threshold, then by detection
        level, detection = np.nonzero(best >= iouv.cpu().numpy().astype(best.dtype)[:, None])
        _, first = np.unique(level * m + choice[detection], return_index=True)
        correct[detection[first], level[first]] = True
    return torch.from_numpy(correct).to(iou.device)


def smooth(y: np.ndarray, f: float = 0.05) -> np.ndarray:
    """Moving average of `y` over a window of a fraction `f` of its length (made odd), padded with the end values."""
    width = round(len(y) * f * 2) // 2 + 1
    padded = np.pad(y, width // 2, mode="edge")
    return np.convolve(padded, np.full(width, 1 / width), mode="valid")


def compute_ap(recall: np.ndarray, precision: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Area under a precision-recall curve.

    Args:
        recall: (n,) ascending.
        precision: (n,).

    Returns:
        The area over 101 recall levels by the trapezoidal rule, and the curve it was computed from: precision made
        monotonically decreasing, and recall, both (n + 2,) with end points added.
    """
    recall = np.concatenate(([0.0], recall, [1.0]))
    envelope = np.concatenate(([1.0], precision, [0.0]))
    envelope = np.maximum.accumulate(envelope[::-1])[::-1]
    height = np.interp(_RECALL_LEVELS, recall, envelope)
    return float((np.diff(_RECALL_LEVELS) * (height[1:] + height[:-1]) / 2).sum()), envelope, recall


class ClassScores(NamedTuple):
    """Result of `ap_per_class`, one row per class that occurs in the ground truth; the order is that of 8.3.0."""

    tp: np.ndarray  # (C,) true positives and
    fp: np.ndarray  # (C,) false positives at the operating point
    p: np.ndarray  # (C,) precision there
    r: np.ndarray  # (C,) recall there
    f1: np.ndarray  # (C,) F1 there
    ap: np.ndarray  # (C, T) average precision
    classes: np.ndarray  # (C,) class indices
    p_curve: np.ndarray  # (C, 1000) precision over confidence, at the first IoU threshold
    r_curve: np.ndarray  # (C, 1000) recall over confidence
    f1_curve: np.ndarray  # (C, 1000) F1 over confidence
    x: np.ndarray  # (1000,) confidences or recalls of the curves, 0..1
    prec_values: np.ndarray  # (C, 1000) precision over recall, at the first IoU threshold


class _Curves(NamedTuple):
    """Average precision (T,) of a class, and its curves (1000,) at the first IoU threshold."""

    ap: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    precision_over_recall: np.ndarray


def ap_per_class(
    tp: np.ndarray, conf: np.ndarray, pred_cls: np.ndarray, target_cls: np.ndarray, eps: float = 1e-16
) -> ClassScores:
    """Average precision, and precision and recall at the confidence where the mean F1 over classes is highest.

    Detections with a confidence of NaN are ignored. A class without a prediction above the confidence of the operating
    point gets precision 0 there, not 1 as in 8.3.0, where finding nothing raises the mean (its curve still ends at 1).
    `prec_values` has a row for every class; 8.3.0 omits classes without predictions, so that the following rows are
    attributed to the wrong names.

    Args:
        tp: (n, T) bool from `match_predictions`.
        conf: (n,) confidences.
        pred_cls: (n,) predicted classes.
        target_cls: (number of instances,) true classes.
        eps: avoids division by zero.
    """
    valid = np.flatnonzero(~np.isnan(conf))
    order = valid[np.argsort(-conf[valid], kind="stable")]
    tp, conf, pred_cls = tp[order], conf[order], pred_cls[order]
    classes, counts = np.unique(target_cls, return_counts=True)
    x = np.linspace(0, 1, _CURVE_POINTS)
    ap = np.zeros((len(classes), tp.shape[1]))
    p_curve, r_curve, prec_values = (np.zeros((len(classes), _CURVE_POINTS)) for _ in range(3))
    for row, (cls, count) in enumerate(zip(classes, counts, strict=True)):
        selected = pred_cls == cls
        if selected.any():
            curves = _class_curves(tp[selected], conf[selected], int(count), x, eps)
            ap[row], p_curve[row], r_curve[row], prec_values[row] = curves
    f1_curve = 2 * p_curve * r_curve / (p_curve + r_curve + eps)
    best = int(smooth(f1_curve.mean(0), _F1_SMOOTHING).argmax()) if len(classes) else 0
    r, f1 = r_curve[:, best], f1_curve[:, best]
    p = np.where(r > 0, p_curve[:, best], 0.0)
    num_tp = (r * counts).round()
    num_fp = (num_tp / (p + eps) - num_tp).round()
    return ClassScores(num_tp, num_fp, p, r, f1, ap, classes.astype(int), p_curve, r_curve, f1_curve, x, prec_values)


def _class_curves(tp: np.ndarray, conf: np.ndarray, count: int, x: np.ndarray, eps: float) -> _Curves:
    """Curves of one class with `count` instances; `tp` and `conf` are those of its detections, sorted."""
    cumulative = tp.cumsum(0)
    recall = cumulative / (count + eps)
    precision = cumulative / np.arange(1, len(cumulative) + 1)[:, None]
    results = [compute_ap(recall[:, level], precision[:, level]) for level in range(tp.shape[1])]
    _, envelope, envelope_recall = results[0]
    return _Curves(
        np.array([area for area, _, _ in results]),
        np.interp(-x, -conf, precision[:, 0], left=1),
        np.interp(-x, -conf, recall[:, 0], left=0),
        np.interp(x, envelope_recall, envelope),
    )
