"""How well boxes fit and how good a detector is: IoU, matching, average precision, the confusion matrix.

Average precision follows the definition of 8.3.0: 101 recalls, COCO's ten IoU thresholds, but see `ap_per_class` for
the two places where 8.3.0's numbers mislead. Plots of what is computed here are drawn in plotting.py.

Dimensions: n detections, m ground-truth boxes, T IoU thresholds, C classes that occur in the ground truth, nc classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

_CURVE_POINTS = 1000  # confidences at which P, R and F1 are tabulated
_RECALLS = np.linspace(0, 1, 101)  # COCO's recall points
_F1_SMOOTHING = 0.1  # share of the confidence axis over which F1 is averaged before its best point is chosen
_USUAL_CONF, _VALIDATION_CONF = 0.25, 0.001  # threshold of the confusion matrix when the run has validation's own


def box_iou(box1: Tensor, box2: Tensor, eps: float = 1e-7) -> Tensor:
    """(n, m) IoU of corner boxes (n, 4) and (m, 4); half precision is read as float32."""
    a, b = _wide(box1)[:, None], _wide(box2)[None]
    inter = _area(torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:]))
    size_a, size_b = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
    union = size_a[..., 0] * size_a[..., 1] + size_b[..., 0] * size_b[..., 1] - inter
    return inter / (union + eps)


def bbox_iou(
    box1: Tensor,
    box2: Tensor,
    xywh: bool = True,
    GIoU: bool = False,
    DIoU: bool = False,
    CIoU: bool = False,
    eps: float = 1e-7,
) -> Tensor:
    """IoU, or one of its kin, of boxes paired by broadcasting; differentiable.

    GIoU: arXiv:1902.09630. DIoU and CIoU: arXiv:1911.08287; CIoU's trade-off factor gets no gradient.

    Args:
        box1: (..., 4), half precision is read as float32.
        box2: (..., 4), broadcastable to `box1`.
        xywh: centre and size; False: corners.
        GIoU: subtract the share of the enclosing box that neither covers.
        DIoU: subtract the centres' distance relative to the enclosing box's diagonal.
        CIoU: DIoU with a term for the difference of the aspect ratios.
        eps: keeps divisions finite; for corners it is added to the heights too.

    Returns:
        (..., 1); IoU in 0..1, the others may be negative.
    """
    low1, high1, w1, h1 = _extent(_wide(box1), xywh, eps)
    low2, high2, w2, h2 = _extent(_wide(box2), xywh, eps)
    inter = _area(torch.maximum(low1, low2), torch.minimum(high1, high2))[..., None]
    union = w1 * h1 + w2 * h2 - inter + eps
    iou = inter / union
    if not (GIoU or DIoU or CIoU):
        return iou
    hull_w, hull_h = (torch.maximum(high1, high2) - torch.minimum(low1, low2)).split(1, -1)
    if GIoU:
        hull = hull_w * hull_h + eps
        return iou - (hull - union) / hull
    gap = (low2 + high2 - low1 - high1).square().sum(-1, keepdim=True) / 4
    penalty = gap / (hull_w.square() + hull_h.square() + eps)
    if CIoU:
        turn = (4 / math.pi**2) * ((w2 / h2).atan() - (w1 / h1).atan()).square()
        with torch.no_grad():
            factor = turn / (turn - iou + (1 + eps))
        penalty = penalty + turn * factor
    return iou - penalty


def bbox_ioa(box1: np.ndarray, box2: np.ndarray, iou: bool = False, eps: float = 1e-7) -> np.ndarray:
    """(n, m) share of each corner box of `box2` that a box of `box1` covers; with `iou` of their union instead."""
    a, b = box1[:, None], box2[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    inter = sides.clip(0).prod(-1)
    area = (b[..., 2:] - b[..., :2]).prod(-1)
    if iou:
        area = area + (a[..., 2:] - a[..., :2]).prod(-1) - inter
    return inter / (area + eps)


def match_predictions(pred_classes: Tensor, true_classes: Tensor, iou: Tensor, iouv: Tensor) -> Tensor:
    """(n, T) which detections are true positives at which IoU threshold.

    A detection asks for the object of its class that it overlaps most, the last of equals. Of the detections that ask
    for the same object with enough overlap the first in the list gets it, whatever the others' overlap; who loses is
    not matched again.

    Args:
        pred_classes: (n,) classes of the detections, most confident first.
        true_classes: (m,) classes of the objects.
        iou: (m, n) overlap.
        iouv: (T,) thresholds above 0.
    """
    m, n = iou.shape
    correct = np.zeros((n, len(iouv)), dtype=bool)
    if m and n:
        fit = torch.where(true_classes[:, None] == pred_classes, iou, 0.0).cpu().numpy()
        choice = m - 1 - fit[::-1].argmax(0)  # (n,) the object asked for
        best = fit[choice, np.arange(n)]
        level, asking = np.nonzero(best >= iouv.cpu().numpy().astype(best.dtype)[:, None])  # by level, then detection
        _, first = np.unique(level * m + choice[asking], return_index=True)
        correct[asking[first], level[first]] = True
    return torch.from_numpy(correct).to(iou.device)


def smooth(y: np.ndarray, f: float = 0.05) -> np.ndarray:
    """`y` averaged over a window of a share `f` of its length (made odd); beyond the ends the end values count."""
    width = round(len(y) * f * 2) // 2 + 1
    padded = np.pad(y, width // 2, mode="edge")
    return np.convolve(padded, np.full(width, 1 / width), mode="valid")


def compute_ap(recall: np.ndarray, precision: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Area under one precision-recall curve (both (n,), recall ascending).

    Returns:
        The area over 101 recalls by the trapezoid rule, and the curve it was taken from: precision that never rises
        with recall, and recall, both with end points added.
    """
    reach = np.concatenate(([0.0], recall, [1.0]))
    envelope = np.concatenate(([1.0], precision, [0.0]))
    envelope = np.maximum.accumulate(envelope[::-1])[::-1]
    height = np.interp(_RECALLS, reach, envelope)
    return float((np.diff(_RECALLS) * (height[1:] + height[:-1]) / 2).sum()), envelope, reach


class ClassScores(NamedTuple):
    """Result of `ap_per_class`, one row per class that occurs in the ground truth; the order is 8.3.0's."""

    tp: np.ndarray  # (C,) true and
    fp: np.ndarray  # (C,) false positives at the operating point
    p: np.ndarray  # (C,) precision there
    r: np.ndarray  # (C,) recall there
    f1: np.ndarray  # (C,)
    ap: np.ndarray  # (C, T)
    classes: np.ndarray  # (C,) class numbers
    p_curve: np.ndarray  # (C, 1000) over confidence, at the first threshold
    r_curve: np.ndarray  # (C, 1000)
    f1_curve: np.ndarray  # (C, 1000)
    x: np.ndarray  # (1000,) 0..1
    prec_values: np.ndarray  # (C, 1000) precision over recall, at the first threshold


def ap_per_class(
    tp: np.ndarray, conf: np.ndarray, pred_cls: np.ndarray, target_cls: np.ndarray, eps: float = 1e-16
) -> ClassScores:
    """Average precision and the operating point that the mean F1 over classes chooses.

    A detection whose confidence is NaN is left out. A class without any prediction as confident as the operating point
    gets precision 0 there, not 8.3.0's 1, which lifts the mean for finding nothing (its curve still ends at 1, as a
    curve without predictions has no other value). `prec_values` has a row for every class, where 8.3.0 leaves out
    those without predictions and so shifts the others under the wrong names.

    Args:
        tp: (n, T) bool from `match_predictions`.
        conf: (n,) confidences.
        pred_cls: (n,) predicted classes.
        target_cls: (number of objects,) true classes.
        eps: keeps divisions finite.
    """
    keep = np.flatnonzero(~np.isnan(conf))
    order = keep[np.argsort(-conf[keep], kind="stable")]
    tp, conf, pred_cls = tp[order], conf[order], pred_cls[order]
    classes, targets = np.unique(target_cls, return_counts=True)
    x = np.linspace(0, 1, _CURVE_POINTS)
    ap = np.zeros((len(classes), tp.shape[1]))
    p_curve, r_curve, prec_values = (np.zeros((len(classes), _CURVE_POINTS)) for _ in range(3))
    for row, (kind, count) in enumerate(zip(classes, targets, strict=True)):
        mine = pred_cls == kind
        if not mine.any():
            continue
        hits = tp[mine].cumsum(0)
        recall = hits / (count + eps)
        precision = hits / np.arange(1, len(hits) + 1)[:, None]
        falling = -conf[mine]
        r_curve[row] = np.interp(-x, falling, recall[:, 0], left=0)
        p_curve[row] = np.interp(-x, falling, precision[:, 0], left=1)
        for level in range(tp.shape[1]):
            ap[row, level], envelope, reach = compute_ap(recall[:, level], precision[:, level])
            if level == 0:
                prec_values[row] = np.interp(x, reach, envelope)
    f1_curve = 2 * p_curve * r_curve / (p_curve + r_curve + eps)
    at = int(smooth(f1_curve.mean(0), _F1_SMOOTHING).argmax()) if len(classes) else 0
    r, f1 = r_curve[:, at], f1_curve[:, at]
    p = np.where(r > 0, p_curve[:, at], 0.0)
    hit = (r * targets).round()
    false = (hit / (p + eps) - hit).round()
    return ClassScores(hit, false, p, r, f1, ap, classes.astype(int), p_curve, r_curve, f1_curve, x, prec_values)


class Metric:
    """Scores of one kind of output (boxes, masks, ...), per class that occurs and as means."""

    def __init__(self, nc: int = 0) -> None:
        self.nc = nc
        self.update(ap_per_class(np.zeros((0, 10), bool), np.zeros(0), np.zeros(0), np.zeros(0)))

    def update(self, scores: ClassScores) -> None:
        """Takes the result of `ap_per_class`."""
        self.p, self.r, self.f1, self.all_ap = scores.p, scores.r, scores.f1, scores.ap
        self.ap_class_index = scores.classes
        self.p_curve, self.r_curve, self.f1_curve = scores.p_curve, scores.r_curve, scores.f1_curve
        self.px, self.prec_values = scores.x, scores.prec_values

    @property
    def ap50(self) -> np.ndarray:
        """(C,) average precision at IoU 0.5."""
        return self.all_ap[:, 0]

    @property
    def ap(self) -> np.ndarray:
        """(C,) average precision, mean over the thresholds."""
        return self.all_ap.mean(1)

    @property
    def mp(self) -> float:
        """Mean precision."""
        return _mean(self.p)

    @property
    def mr(self) -> float:
        """Mean recall."""
        return _mean(self.r)

    @property
    def map50(self) -> float:
        """Mean average precision at IoU 0.5."""
        return _mean(self.all_ap[:, 0])

    @property
    def map75(self) -> float:
        """Mean average precision at IoU 0.75."""
        return _mean(self.all_ap[:, 5])

    @property
    def map(self) -> float:
        """Mean average precision over the ten thresholds 0.5 .. 0.95."""
        return _mean(self.all_ap)

    @property
    def maps(self) -> np.ndarray:
        """(nc,) average precision of every class; the mean for classes that do not occur."""
        values = np.full(self.nc, self.map)
        values[self.ap_class_index] = self.ap
        return values

    def mean_results(self) -> list[float]:
        """Mean precision, mean recall, mAP50, mAP50-95."""
        return [self.mp, self.mr, self.map50, self.map]

    def class_result(self, i: int) -> tuple[float, float, float, float]:
        """Precision, recall, AP50 and AP of the class in row `i`, which is class `ap_class_index[i]`."""
        return self.p[i], self.r[i], self.ap50[i], self.ap[i]

    def fitness(self) -> float:
        """What the best epoch is chosen by: 0.1 mAP50 + 0.9 mAP50-95."""
        return 0.1 * self.map50 + 0.9 * self.map


class DetMetrics:
    """Scores of a detector, under the names that results files and callbacks use.

    Attributes:
        box: the scores of boxes.
        speed: milliseconds a picture, by stage.
        confusion_matrix: filled when validation draws pictures (plots=True).
        coco: COCO's own twelve figures by name (AP, AP50, AP75, APsmall, APmedium, APlarge, AR1, …), which differ from
            `box` (see coco.py); filled when validation writes predictions.json (save_json=True), else empty.
    """

    def __init__(self, save_dir: str | Path = ".", names: Mapping[int, str] | None = None) -> None:
        self.save_dir = Path(save_dir)
        self.names = dict(names or {})
        self.box = Metric(len(self.names))
        self.speed = dict.fromkeys(("preprocess", "inference", "loss", "postprocess"), 0.0)  # ms per picture
        self.task = "detect"
        self.confusion_matrix: ConfusionMatrix | None = None
        self.coco: dict[str, float] = {}

    def process(self, tp: np.ndarray, conf: np.ndarray, pred_cls: np.ndarray, target_cls: np.ndarray) -> None:
        """Takes all detections of a run, as `ap_per_class` does."""
        self.box.nc = len(self.names)
        self.box.update(ap_per_class(tp, conf, pred_cls, target_cls))

    @property
    def keys(self) -> list[str]:
        """Column names of the mean results."""
        return [f"metrics/{name}(B)" for name in ("precision", "recall", "mAP50", "mAP50-95")]

    @property
    def results_dict(self) -> dict[str, float]:
        """The mean results and the fitness by name."""
        return dict(zip([*self.keys, "fitness"], [*self.mean_results(), self.fitness], strict=True))

    @property
    def fitness(self) -> float:
        """What the best epoch is chosen by."""
        return self.box.fitness()

    @property
    def maps(self) -> np.ndarray:
        """(nc,) average precision of every class."""
        return self.box.maps

    @property
    def ap_class_index(self) -> np.ndarray:
        """(C,) numbers of the classes that have a row."""
        return self.box.ap_class_index

    def mean_results(self) -> list[float]:
        """Values for `keys`."""
        return self.box.mean_results()

    def class_result(self, i: int) -> tuple[float, float, float, float]:
        """Values of row `i`, in the order of `keys`."""
        return self.box.class_result(i)

    @property
    def curves(self) -> list[str]:
        """Names of the curves, in the order of `curves_results`."""
        return ["Precision-Recall(B)", "F1-Confidence(B)", "Precision-Confidence(B)", "Recall-Confidence(B)"]

    @property
    def curves_results(self) -> list[list[Any]]:
        """For each curve x (1000,), y (C, 1000), name of x, name of y."""
        box = self.box
        return [
            [box.px, box.prec_values, "Recall", "Precision"],
            [box.px, box.f1_curve, "Confidence", "F1"],
            [box.px, box.p_curve, "Confidence", "Precision"],
            [box.px, box.r_curve, "Confidence", "Recall"],
        ]

    def __repr__(self) -> str:
        values = ", ".join(f"{key}={value:.4g}" for key, value in self.results_dict.items())
        return f"{type(self).__name__}({values})"


class ConfusionMatrix:
    """Counts of predicted (row) against true (column) classes; the last row and column are the background."""

    def __init__(
        self, nc: int, conf: float | None = _USUAL_CONF, iou_thres: float = 0.45, task: str = "detect"
    ) -> None:
        self.task = task
        self.nc = nc
        self.conf = _USUAL_CONF if conf in (None, _VALIDATION_CONF) else conf
        self.iou_thres = iou_thres
        self.matrix = np.zeros((nc + 1, nc + 1))

    def process_batch(self, detections: Tensor | None, gt_bboxes: Tensor, gt_cls: Tensor) -> None:
        """Adds one picture.

        Call it for pictures without objects or without detections as well: what is left over is counted against the
        background in every case, where 8.3.0 forgets false positives of pictures without a match.

        Args:
            detections: (n, 6) corners, confidence, class; None for none.
            gt_bboxes: (m, 4) corners.
            gt_cls: (m,) classes.
        """
        true = gt_cls.cpu().numpy().astype(int)
        if detections is None:
            detections = gt_bboxes.new_zeros((0, 6))
        detections = detections[detections[:, 4] > self.conf]
        guess = detections[:, 5].cpu().numpy().astype(int)
        gt, det = self._matches(box_iou(gt_bboxes, detections[:, :4]).cpu().numpy())
        missed, stray = np.delete(true, gt), np.delete(guess, det)
        background = self.nc
        rows = np.concatenate((guess[det], np.full(len(missed), background), stray))
        columns = np.concatenate((true[gt], missed, np.full(len(stray), background)))
        np.add.at(self.matrix, (rows, columns), 1)

    def tp_fp(self) -> tuple[np.ndarray, np.ndarray]:
        """(nc,) detections of the right class and (nc,) all others, background left out."""
        right = self.matrix.diagonal()[: self.nc]
        return right.copy(), self.matrix.sum(1)[: self.nc] - right

    def _matches(self, iou: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Objects and detections, as index arrays, that belong together; `iou` is (m, n), classes do not matter.

        Each detection asks for the object that it overlaps most, and each object takes the best that asks.
        """
        m, n = iou.shape
        if not (m and n):
            return np.zeros(0, int), np.zeros(0, int)
        choice = iou.argmax(0)
        best = iou[choice, np.arange(n)]
        asking = np.flatnonzero(best > self.iou_thres)
        asking = asking[np.argsort(-best[asking], kind="stable")]
        gt, first = np.unique(choice[asking], return_index=True)
        return gt, asking[first]


def _wide(boxes: Tensor) -> Tensor:
    """`boxes` in float32 at least."""
    return boxes.float() if boxes.dtype in (torch.float16, torch.bfloat16) else boxes


def _area(low: Tensor, high: Tensor) -> Tensor:
    """(...) area of boxes (..., 2), (..., 2); 0 where a side is negative."""
    width, height = (high - low).clamp(min=0).unbind(-1)
    return width * height


def _extent(boxes: Tensor, xywh: bool, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Low corner (..., 2), high corner (..., 2), width (..., 1), height (..., 1)."""
    first, second = boxes.split(2, -1)
    if xywh:
        width, height = second.split(1, -1)
        return first - second / 2, first + second / 2, width, height
    width, height = (second - first).split(1, -1)
    return first, second, width, height + eps


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else 0.0
