"""Scores of segmentation, pose, oriented boxes and classification, under the names that results files use.

Detection's scores are in metrics.py; the tasks here have the same per part (boxes, masks, keypoints).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ultralytics.utils.metrics import ConfusionMatrix, DetMetrics, Metric, ap_per_class

_PER_PART = ("precision", "recall", "mAP50", "mAP50-95")
_STAGES = ("preprocess", "inference", "loss", "postprocess")


class TwoPartMetrics(DetMetrics):
    """Scores of boxes and of a second output that is matched on its own.

    Attributes:
        box: scores of the boxes, letter B in the names.
        second: scores of the second output; subclasses have it under its own name too.
    """

    letter = ""  # of the second part in the names of its scores

    def __init__(self, save_dir: str | Path = ".", names: Mapping[int, str] | None = None) -> None:
        super().__init__(save_dir, names)
        self.second = Metric(len(self.names))

    def process(  # type: ignore[override]  # a second matrix of true positives, as in 8.3.0
        self, tp: np.ndarray, tp_second: np.ndarray, conf: np.ndarray, pred_cls: np.ndarray, target_cls: np.ndarray
    ) -> None:
        """Take all detections of a run.

        Args:
            tp: (n, T) bool, true positives by the boxes' overlap.
            tp_second: (n, T) bool, by the second output's overlap.
            conf: (n,) confidences.
            pred_cls: (n,) predicted classes.
            target_cls: (m,) classes of the labels.
        """
        for part, hits in zip(self._parts(), (tp, tp_second), strict=True):
            part.nc = len(self.names)
            part.update(ap_per_class(hits, conf, pred_cls, target_cls))

    @property
    def keys(self) -> list[str]:
        """Names of the mean results."""
        return [f"metrics/{name}({letter})" for letter in ("B", self.letter) for name in _PER_PART]

    @property
    def fitness(self) -> float:
        """What the best epoch is chosen by: the sum over both parts, 0..2."""
        return sum(part.fitness() for part in self._parts())

    @property
    def maps(self) -> np.ndarray:
        """(nc,) sum of both parts' average precision of every class."""
        return self.box.maps + self.second.maps

    def mean_results(self) -> list[float]:
        """Values for `keys`."""
        return [value for part in self._parts() for value in part.mean_results()]

    def class_result(self, i: int) -> tuple[float, ...]:  # type: ignore[override]  # eight values
        """Values of row `i`, in the order of `keys`."""
        return tuple(value for part in self._parts() for value in part.class_result(i))

    @property
    def curves(self) -> list[str]:
        """Names of the curves, in the order of `curves_results`."""
        kinds = ("Precision-Recall", "F1-Confidence", "Precision-Confidence", "Recall-Confidence")
        return [f"{kind}({letter})" for letter in ("B", self.letter) for kind in kinds]

    @property
    def curves_results(self) -> list[list[Any]]:
        """For each curve x (1000,), y (C, 1000), name of x, name of y."""
        results: list[list[Any]] = []
        for part in self._parts():
            results += [
                [part.px, part.prec_values, "Recall", "Precision"],
                [part.px, part.f1_curve, "Confidence", "F1"],
                [part.px, part.p_curve, "Confidence", "Precision"],
                [part.px, part.r_curve, "Confidence", "Recall"],
            ]
        return results

    def _parts(self) -> tuple[Metric, Metric]:
        return self.box, self.second


class SegmentMetrics(TwoPartMetrics):
    """Scores of boxes (`box`) and masks (`seg`)."""

    letter = "M"

    def __init__(self, save_dir: str | Path = ".", names: Mapping[int, str] | None = None) -> None:
        super().__init__(save_dir, names)
        self.task = "segment"

    @property
    def seg(self) -> Metric:
        """Scores of the masks."""
        return self.second


class PoseMetrics(TwoPartMetrics):
    """Scores of boxes (`box`) and keypoints (`pose`)."""

    letter = "P"

    def __init__(self, save_dir: str | Path = ".", names: Mapping[int, str] | None = None) -> None:
        super().__init__(save_dir, names)
        self.task = "pose"

    @property
    def pose(self) -> Metric:
        """Scores of the keypoints."""
        return self.second


class OBBMetrics(DetMetrics):
    """Scores of oriented boxes (`box`)."""

    def __init__(self, save_dir: str | Path = ".", names: Mapping[int, str] | None = None) -> None:
        super().__init__(save_dir, names)
        self.task = "obb"


class ClassifyMetrics:
    """Shares of images whose class is the first guess (`top1`), and among the first five (`top5`)."""

    def __init__(self) -> None:
        self.top1 = 0.0
        self.top5 = 0.0
        self.speed = dict.fromkeys(_STAGES, 0.0)  # ms per image
        self.task = "classify"
        self.confusion_matrix: ConfusionMatrix | None = None

    def process(self, targets: Sequence[Tensor], pred: Sequence[Tensor]) -> None:
        """Take all predictions of a run.

        Args:
            targets: per batch (B,) true classes.
            pred: per batch (B, k) classes by falling probability, k at most 5.
        """
        if not targets:
            self.top1 = self.top5 = 0.0
            return
        hits = torch.cat(list(targets))[:, None] == torch.cat(list(pred))
        self.top1 = float(hits[:, 0].float().mean())
        self.top5 = float(hits.any(1).float().mean())

    @property
    def fitness(self) -> float:
        """What the best epoch is chosen by: the mean of both shares."""
        return (self.top1 + self.top5) / 2

    @property
    def keys(self) -> list[str]:
        """Names of the results."""
        return ["metrics/accuracy_top1", "metrics/accuracy_top5"]

    @property
    def results_dict(self) -> dict[str, float]:
        """The results and the fitness by name."""
        return dict(zip([*self.keys, "fitness"], [*self.mean_results(), self.fitness], strict=True))

    @property
    def curves(self) -> list[str]:
        """There are none."""
        return []

    @property
    def curves_results(self) -> list[list[Any]]:
        """There are none."""
        return []

    def mean_results(self) -> list[float]:
        """Values for `keys`."""
        return [self.top1, self.top5]

    def __repr__(self) -> str:
        values = ", ".join(f"{key}={value:.4g}" for key, value in self.results_dict.items())
        return f"{type(self).__name__}({values})"
