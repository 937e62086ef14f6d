"""What all components of a result share: data per instance, and how it is drawn, tabulated, written and counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypedDict, TypeVar

import numpy as np
import torch
from torch import Tensor

from ultralytics.utils.palette import RGB, colors
from ultralytics.utils.plotting import Annotator

Data = Tensor | np.ndarray
Index = int | slice | Sequence[int] | Tensor | np.ndarray
Names = Mapping[int, str] | Sequence[str]
ComponentType = TypeVar("ComponentType", bound="BaseTensor")


# One instance, or the top class of a classified image, as plain Python values. `name`, `class` and `confidence` are
# always there; the others depend on the components of the result.
SummaryRow = TypedDict(
    "SummaryRow",
    {
        "name": str,
        "class": int,
        "confidence": float,
        "box": dict[str, float],  # x1, y1, x2, y2; of oriented boxes x1, y1 ... x4, y4
        "track_id": int,
        "segments": dict[str, list[float]],  # x, y
        "keypoints": dict[str, list[float]],  # x, y, and visible if there is a confidence
    },
    total=False,
)


@dataclass
class LabelLine:
    """One line of a label file; every component of the result adds its part.

    Attributes:
        head: class number, or all of the line for probabilities.
        geometry: box or polygon, in fractions of the image's width and height.
        keypoints: x, y and the confidence of each keypoint.
        conf: confidence of the instance.
        track_id: with tracking.
    """

    head: str
    geometry: list[float] = field(default_factory=list)
    keypoints: list[float] = field(default_factory=list)
    conf: float | None = None
    track_id: int | None = None

    def text(self, save_conf: bool) -> str:
        """The line, numbers with 6 significant digits."""
        numbers = [*self.geometry, *self.keypoints]
        if save_conf and self.conf is not None:
            numbers.append(self.conf)
        words = [self.head, *(f"{value:g}" for value in numbers)]
        if self.track_id is not None:
            words.append(str(self.track_id))
        return " ".join(words)


@dataclass(frozen=True)
class DrawStyle:
    """How a result is drawn.

    Attributes:
        names: class names.
        classes: class of each instance.
        conf: write confidences.
        labels: write labels.
        color_mode: one color per class or per instance.
        kpt_radius: pixels; None depends on the size of the image.
        kpt_line: draw the limbs of a person.
        im_gpu: the image as the network saw it; see `Annotator.masks`.
    """

    names: Names
    classes: Sequence[int] = ()
    conf: bool = True
    labels: bool = True
    color_mode: Literal["class", "instance"] = "class"
    kpt_radius: int | None = None
    kpt_line: bool = True
    im_gpu: Tensor | None = None

    def color(self, i: int) -> RGB:
        """BGR color of instance `i`."""
        by_class = self.color_mode == "class" and i < len(self.classes)
        return colors(self.classes[i] if by_class else i, bgr=True)


class BaseTensor:
    """Data of one image, one row per instance (of probabilities: one value per class).

    Subclasses override `draw`, `add_to_summary`, `add_to_lines` and `count` with what they know.

    Args:
        data: tensor or array; results are of the same type.
        orig_shape: (height, width) of the original image, which the numbers refer to.
    """

    def __init__(self, data: Data, orig_shape: tuple[int, int]) -> None:
        if not isinstance(data, (Tensor, np.ndarray)):
            raise TypeError(f"{type(self).__name__} needs a tensor or an array, not {type(data).__name__}")
        self.data = data
        self.orig_shape = orig_shape

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of `data`."""
        return tuple(self.data.shape)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self: ComponentType, index: Index) -> ComponentType:
        return self._with(self.data[index])

    def __iter__(self: ComponentType) -> Iterator[ComponentType]:
        for i in range(len(self)):
            yield self[i]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape}, orig_shape={self.orig_shape})\n{self.data}"

    def cpu(self: ComponentType) -> ComponentType:
        """The same with `data` in main memory."""
        return self if isinstance(self.data, np.ndarray) else self._with(self.data.cpu())

    def numpy(self: ComponentType) -> ComponentType:
        """The same with `data` as an array, from any device."""
        return self if isinstance(self.data, np.ndarray) else self._with(self.data.cpu().numpy())

    def cuda(self: ComponentType) -> ComponentType:
        """The same with `data` on the current CUDA device."""
        return self.to("cuda")

    def to(
        self: ComponentType, *args: torch.device | str | int | torch.dtype | Tensor | bool, **kwargs: object
    ) -> ComponentType:
        """The same with `data` converted as `Tensor.to` does; arrays become tensors."""
        return self._with(torch.as_tensor(self.data).to(*args, **kwargs))  # type: ignore[call-overload]

    def draw(self, annotator: Annotator, style: DrawStyle) -> None:
        """Draw all instances."""

    def add_to_summary(self, rows: list[SummaryRow], names: Names, normalize: bool, decimals: int) -> None:
        """Add a row per instance to `rows`, or this component's values to the rows that are there.

        Args:
            rows: changed in place.
            names: class names.
            normalize: coordinates in fractions of the image's width and height instead of pixels.
            decimals: number of decimal places.
        """

    def add_to_lines(self, lines: list[LabelLine], names: Names) -> None:
        """Add a line per instance to `lines`, or this component's values to the lines that are there, in place."""

    def crops(self, names: Names) -> list[tuple[str, np.ndarray]]:
        """(class name, (4,) corners in pixels) of each part of the image that `save_crop` writes."""
        return []

    def count(self, names: Names) -> str:
        """Counts for the log line, such as `3 cats, 1 dog, `; empty for components that follow others."""
        return ""

    def _with(self: ComponentType, data: Data) -> ComponentType:
        return type(self)(data, self.orig_shape)

    def _fractions(self, points: Data) -> Data:
        """Coordinates (..., 2k) x, y, x, y, ... divided by the image's width and height."""
        height, width = self.orig_shape
        sides = [width, height] * (points.shape[-1] // 2)
        if isinstance(points, Tensor):
            dtype = points.dtype if points.is_floating_point() else torch.float32
            return points / torch.tensor(sides, dtype=dtype, device=points.device)
        return points / np.array(sides, points.dtype if np.issubdtype(points.dtype, np.floating) else np.float32)


def class_name(names: Names, number: int) -> str:
    """Name of a class; its number if it has none."""
    if isinstance(names, Mapping):
        return str(names.get(number, number))
    return str(names[number]) if 0 <= number < len(names) else str(number)
