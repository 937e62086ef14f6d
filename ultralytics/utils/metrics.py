"""Metrics of a detector: means, per-class values and curves.

`ultralytics.utils.metrics` is the official path of the metric functions, so those of iou.py, rotated_boxes.py,
average_precision.py and confusion_matrix.py can be imported from here, too. Plots are drawn in plotting.py.

Dimensions: T IoU thresholds, C classes that occur in the ground truth, nc classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ultralytics.utils.average_precision import ClassScores, ap_per_class, compute_ap, match_predictions, smooth
from ultralytics.utils.confusion_matrix import ConfusionMatrix
from ultralytics.utils.iou import bbox_ioa, bbox_iou, box_iou
from ultralytics.utils.rotated_boxes import batch_probiou, probiou

__all__ = [
    "ClassScores",
    "ConfusionMatrix",
    "DetMetrics",
    "Metric",
    "ap_per_class",
    "batch_probiou",
    "bbox_ioa",
    "bbox_iou",
    "box_iou",
    "compute_ap",
    "match_predictions",
    "probiou",
    "smooth",
]


class Metric:
    """Metrics of one type of output (boxes, masks, ...), per class that occurs and as means."""

    def __init__(self, nc: int = 0) -> None:
        self.nc = nc
        self.update(ap_per_class(np.zeros((0, 10), bool), np.zeros(0), np.zeros(0), np.zeros(0)))

    def update(self, scores: ClassScores) -> None:
        """Set the metrics from the result of `ap_per_class`."""
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
        """(C,) average precision, mean over the IoU thresholds."""
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
        """Mean average precision over the ten IoU thresholds 0.5..0.95."""
        return _mean(self.all_ap)

    @property
    def maps(self) -> np.ndarray:
        """(nc,) average precision of every class; the mean average precision for classes that do not occur."""
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
        """Criterion of the best epoch: 0.1 mAP50 + 0.9 mAP50-95."""
        return 0.1 * self.map50 + 0.9 * self.map


class DetMetrics:
    """Metrics of a detector, under the names that results files and callbacks use.

    Attributes:
        box: metrics of the boxes.
        speed: milliseconds per image, by stage.
        confusion_matrix: set if validation saves plots (plots=True).
        coco: the twelve COCO metrics by name (AP, AP50, AP75, APsmall, APmedium, APlarge, AR1, ...), which differ from
            `box` (see coco.py); set if validation writes predictions.json (save_json=True), else empty.
    """

    def __init__(self, save_dir: str | Path = ".", names: Mapping[int, str] | None = None) -> None:
        self.save_dir = Path(save_dir)
        self.names = dict(names or {})
        self.box = Metric(len(self.names))
        self.speed = dict.fromkeys(("preprocess", "inference", "loss", "postprocess"), 0.0)
        self.task = "detect"  # scripts read it
        self.confusion_matrix: ConfusionMatrix | None = None
        self.coco: dict[str, float] = {}

    def process(self, tp: np.ndarray, conf: np.ndarray, pred_cls: np.ndarray, target_cls: np.ndarray) -> None:
        """Compute the metrics from all detections of a validation; arguments as of `ap_per_class`."""
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
        """Criterion of the best epoch."""
        return self.box.fitness()

    @property
    def maps(self) -> np.ndarray:
        """(nc,) average precision of every class."""
        return self.box.maps

    @property
    def ap_class_index(self) -> np.ndarray:
        """(C,) indices of the classes that have a row."""
        return self.box.ap_class_index

    def mean_results(self) -> list[float]:
        """Mean metrics, in the order of `keys`."""
        return self.box.mean_results()

    def class_result(self, i: int) -> tuple[float, float, float, float]:
        """Metrics of row `i`, in the order of `keys`."""
        return self.box.class_result(i)

    @property
    def curves(self) -> list[str]:
        """Names of the curves, in the order of `curves_results`."""
        return ["Precision-Recall(B)", "F1-Confidence(B)", "Precision-Confidence(B)", "Recall-Confidence(B)"]

    @property
    def curves_results(self) -> list[list[np.ndarray | str]]:
        """For each curve x (1000,), y (C, 1000), label of x, label of y."""
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


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else 0.0
