"""Boxes of one image, and what they share with oriented boxes: class, confidence, track, label, count."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ultralytics.engine.results.base import BaseTensor, Data, DrawStyle, LabelLine, Names, SummaryRow, class_name
from ultralytics.utils.ops import xyxy2xywh
from ultralytics.utils.plotting import Annotator


class Detections(BaseTensor):
    """Rows of geometry, then the track id if tracked, confidence and class; base of `Boxes` and `OBB`.

    Subclasses say how many columns the geometry has, where the corners are and what a label file holds.
    """

    GEOMETRY: ClassVar[str]
    num_geometry: ClassVar[int]

    def __init__(self, boxes: Data, orig_shape: tuple[int, int]) -> None:
        super().__init__(boxes, orig_shape)
        if boxes.ndim == 1:
            self.data = boxes = boxes[None]
        n = self.num_geometry
        if boxes.ndim != 2 or boxes.shape[-1] not in (n + 2, n + 3):
            raise ValueError(
                f"{type(self).__name__} needs {n + 2} columns ({self.GEOMETRY}, confidence, class), or {n + 3} with "
                f"the track id before the confidence; got shape {tuple(boxes.shape)}"
            )
        self.is_track = boxes.shape[-1] == n + 3

    @property
    def conf(self) -> Data:
        """(n,) confidence."""
        return self.data[:, -2]

    @property
    def cls(self) -> Data:
        """(n,) class number, as a float."""
        return self.data[:, -1]

    @property
    def id(self) -> Data | None:
        """(n,) track id; None without tracking."""
        return self.data[:, -3] if self.is_track else None

    @property
    def xyxy(self) -> Data:
        """(n, 4) corners of upright boxes in pixels."""
        raise NotImplementedError

    def corners(self) -> np.ndarray:
        """(n, 4) or (n, 4, 2) corners that are drawn and tabulated, in pixels."""
        raise NotImplementedError

    def label_geometry(self) -> np.ndarray:
        """(n, columns) numbers of a label file."""
        raise NotImplementedError

    def classes(self) -> list[int]:
        """Class number of each instance."""
        return [int(c) for c in self.cls.tolist()]

    def draw(self, annotator: Annotator, style: DrawStyle) -> None:
        """Draw boxes and labels, the highest confidence last."""
        labels = self._labels(style) if style.labels else [""] * len(self)
        annotator.boxes(self.corners()[::-1], labels[::-1], [style.color(i) for i in range(len(self))][::-1])

    def add_to_summary(self, rows: list[SummaryRow], names: Names, normalize: bool, decimals: int) -> None:
        """Add a row with name, class, confidence, box and, if tracked, track_id for each instance."""
        corners = self.corners()
        corners = corners.reshape(len(self), corners[0].size if len(self) else 0)
        values = np.asarray(self._fractions(corners) if normalize else corners, np.float64)
        keys = [f"{axis}{i // 2 + 1}" for i in range(values.shape[1]) for axis in "xy"[i % 2]]
        ids = self._ids()
        for number, conf, box, track in zip(self.classes(), self.conf.tolist(), values.tolist(), ids, strict=True):
            row: SummaryRow = {
                "name": class_name(names, number),
                "class": number,
                "confidence": round(conf, decimals),
                "box": {key: round(value, decimals) for key, value in zip(keys, box, strict=True)},
            }
            if track is not None:
                row["track_id"] = track
            rows.append(row)

    def add_to_lines(self, lines: list[LabelLine], names: Names) -> None:
        """Add a line `class geometry [confidence] [track id]` for each instance."""
        geometry = self.label_geometry().tolist()
        for number, conf, values, track in zip(self.classes(), self.conf.tolist(), geometry, self._ids(), strict=True):
            lines.append(LabelLine(str(number), values, conf=conf, track_id=track))

    def count(self, names: Names) -> str:
        """Instances per class, such as `3 cats, 1 dog, `."""
        numbers, counts = np.unique(self.classes(), return_counts=True)
        return "".join(
            f"{n} {class_name(names, c)}{'s' if n > 1 else ''}, "
            for c, n in zip(numbers.tolist(), counts.tolist(), strict=True)
        )

    def _ids(self) -> list[int | None]:
        return [None] * len(self) if self.id is None else [int(i) for i in self.id.tolist()]

    def _labels(self, style: DrawStyle) -> list[str]:
        """Label of each instance: `id:3 name 0.87`, without the parts that are missing or switched off."""
        labels = []
        for number, conf, track in zip(self.classes(), self.conf.tolist(), self._ids(), strict=True):
            start = f"id:{track} " if track is not None else ""
            labels.append(f"{start}{class_name(style.names, number)}" + (f" {conf:.2f}" if style.conf else ""))
        return labels


class Boxes(Detections):
    """Upright boxes of one image.

    Args:
        boxes: (n, 6) x1, y1, x2, y2, confidence, class, or with tracking (n, 7) x1, y1, x2, y2, id, confidence, class;
            pixels of the original image. One row may come as a vector.
        orig_shape: (height, width) of that image.

    Raises:
        ValueError: there are not 6 or 7 columns.
    """

    GEOMETRY = "x1, y1, x2, y2"
    num_geometry = 4

    @property
    def xyxy(self) -> Data:
        """(n, 4) corners in pixels."""
        return self.data[:, :4]

    @property
    def xywh(self) -> Data:
        """(n, 4) center, width and height in pixels."""
        return xyxy2xywh(self.xyxy)  # type: ignore[type-var]  # takes both types of the union

    @property
    def xyxyn(self) -> Data:
        """(n, 4) corners in fractions of the image's width and height."""
        return self._fractions(self.xyxy)

    @property
    def xywhn(self) -> Data:
        """(n, 4) center, width and height in fractions of the image's width and height."""
        return self._fractions(self.xywh)

    def corners(self) -> np.ndarray:
        """(n, 4) x1, y1, x2, y2 in pixels."""
        return np.asarray(self.numpy().xyxy)

    def label_geometry(self) -> np.ndarray:
        """(n, 4) center, width and height in fractions."""
        return np.asarray(self.numpy().xywhn)

    def crops(self, names: Names) -> list[tuple[str, np.ndarray]]:
        """(class name, corners) of each box."""
        return [(class_name(names, c), xyxy) for c, xyxy in zip(self.classes(), self.corners(), strict=True)]
