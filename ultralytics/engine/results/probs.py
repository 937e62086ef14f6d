"""Class probabilities of one image."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ultralytics.engine.results.base import BaseTensor, Data, DrawStyle, LabelLine, Names, SummaryRow, class_name
from ultralytics.utils.plotting import Annotator

TOP = 5
TEXT_MARGIN = 0.03  # of the image's height
BACKGROUND = (40, 40, 40)


class Probs(BaseTensor):
    """Probabilities of all classes.

    Args:
        probs: (nc,).
        orig_shape: (height, width) of the image, not needed.
    """

    def __init__(self, probs: Data, orig_shape: tuple[int, int] | None = None) -> None:
        super().__init__(probs, orig_shape or (0, 0))
        if probs.ndim > 1:
            raise ValueError(f"Probs needs one probability per class, shape (nc,); got {tuple(probs.shape)}")
        self.orig_shape = orig_shape  # type: ignore[assignment]

    @property
    def top1(self) -> int:
        """Class with the highest probability."""
        return int(self.data.argmax())

    @property
    def top5(self) -> list[int]:
        """The five classes with the highest probability in descending order; all classes if there are fewer."""
        if isinstance(self.data, Tensor):
            order = torch.argsort(self.data, descending=True, stable=True)[:TOP].tolist()
        else:
            order = np.argsort(-self.data, kind="stable")[:TOP].tolist()
        return [int(i) for i in order]

    @property
    def top1conf(self) -> Data:
        """Scalar, probability of `top1`."""
        return self.data[self.top1]

    @property
    def top5conf(self) -> Data:
        """(5,) or fewer, probabilities of `top5`."""
        return self.data[self.top5]

    def draw(self, annotator: Annotator, style: DrawStyle) -> None:
        """Write the top classes into the upper left corner."""
        margin = round(annotator.im.shape[0] * TEXT_MARGIN)
        y = margin
        for i, conf in self._top():
            text = class_name(style.names, i) + (f" {conf:.2f}" if style.conf else "")
            _, ascent, descent = annotator.text_size(text)
            height = ascent + descent + max(annotator.font_size // 8, 2)
            if y > margin and y + height > annotator.im.shape[0]:
                break  # a tiny image has room for the first classes only
            annotator.label((margin, y), text, background=BACKGROUND, below=True)
            y += height

    def add_to_summary(self, rows: list[SummaryRow], names: Names, normalize: bool, decimals: int) -> None:
        """Add one row: name, class and confidence of the top class."""
        i = self.top1
        confidence = round(float(self.top1conf), decimals)
        rows.append({"name": class_name(names, i), "class": i, "confidence": confidence})

    def add_to_lines(self, lines: list[LabelLine], names: Names) -> None:
        """Add a line `probability name` for each of the top classes."""
        lines += [LabelLine(f"{conf:.2f} {class_name(names, i)}") for i, conf in self._top()]

    def count(self, names: Names) -> str:
        """The top classes, such as `cat 0.87, dog 0.10, `."""
        return "".join(f"{class_name(names, i)} {conf:.2f}, " for i, conf in self._top())

    def _top(self) -> list[tuple[int, float]]:
        return list(zip(self.top5, self.top5conf.tolist(), strict=True))
