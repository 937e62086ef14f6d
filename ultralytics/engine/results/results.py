"""`Results` of one image: its components, and the image, files, tables and log text made from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ultralytics.engine.results import tables
from ultralytics.engine.results.base import BaseTensor, Data, DrawStyle, Index, Names, SummaryRow
from ultralytics.engine.results.boxes import Boxes, Detections
from ultralytics.engine.results.keypoints import Keypoints
from ultralytics.engine.results.labels import label_lines, write_label_file
from ultralytics.engine.results.masks import Masks
from ultralytics.engine.results.obb import OBB
from ultralytics.engine.results.probs import Probs
from ultralytics.utils import LOGGER
from ultralytics.utils.ops import clip_boxes
from ultralytics.utils.plotting import DEFAULT_FONT, Annotator, save_one_box, show_image, write_image

if TYPE_CHECKING:
    import pandas as pd

STAGES = ("preprocess", "inference", "postprocess")


class Results:
    """Predictions for one image. Components that the task does not have are None.

    `len`, indexing, `cpu`, `numpy`, `cuda` and `to` apply to every component and give new Results.

    Args:
        orig_img: (H, W, 3) uint8 BGR, the original image.
        path: where it came from.
        names: class names.
        boxes: (n, 6) or (n, 7), see `Boxes`.
        masks: (n, h, w), see `Masks`.
        probs: (nc,), see `Probs`.
        keypoints: (n, K, 2) or (n, K, 3), see `Keypoints`.
        obb: (n, 7) or (n, 8), see `OBB`.
        speed: milliseconds for this image: `preprocess`, `inference`, `postprocess`.

    Attributes:
        orig_shape: (height, width).
        save_dir: folder of the prediction run, if it writes files.
    """

    # in the order in which `len` asks them and label files are written
    COMPONENTS: ClassVar[dict[str, type[BaseTensor]]] = {
        "boxes": Boxes,
        "masks": Masks,
        "probs": Probs,
        "keypoints": Keypoints,
        "obb": OBB,
    }
    _keys: ClassVar[tuple[str, ...]] = tuple(COMPONENTS)  # read by scripts
    _DRAW_ORDER: ClassVar[tuple[str, ...]] = ("masks", "keypoints", "boxes", "obb", "probs")  # labels on top

    def __init__(
        self,
        orig_img: np.ndarray,
        path: str,
        names: Names,
        boxes: Data | None = None,
        masks: Data | None = None,
        probs: Data | None = None,
        keypoints: Data | None = None,
        obb: Data | None = None,
        speed: dict[str, float | None] | None = None,
    ) -> None:
        self.orig_img = orig_img
        self.orig_shape: tuple[int, int] = (int(orig_img.shape[0]), int(orig_img.shape[1]))
        self.path = path
        self.names = names
        self.boxes = None if boxes is None else Boxes(boxes, self.orig_shape)
        self.masks = None if masks is None else Masks(masks, self.orig_shape)
        self.probs = None if probs is None else Probs(probs)
        self.keypoints = None if keypoints is None else Keypoints(keypoints, self.orig_shape)
        self.obb = None if obb is None else OBB(obb, self.orig_shape)
        self.speed = speed if speed is not None else dict.fromkeys(STAGES)
        self.save_dir: str | None = None

    def __len__(self) -> int:
        return next((len(component) for component in self.components().values()), 0)

    def __getitem__(self, index: Index) -> Results:
        return self._apply(lambda component: component[index])

    def __iter__(self) -> Iterator[Results]:
        for i in range(len(self)):
            yield self[i]

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}: {len(component)}" for name, component in self.components().items())
        return f"Results({self.path!r}, {self.orig_shape[0]}x{self.orig_shape[1]}, {sizes or 'empty'})"

    def components(self) -> dict[str, BaseTensor]:
        """The components that this result has, by name."""
        return {name: part for name in self.COMPONENTS if (part := getattr(self, name)) is not None}

    def cpu(self) -> Results:
        """The same in main memory."""
        return self._apply(lambda component: component.cpu())

    def numpy(self) -> Results:
        """The same as arrays, from any device."""
        return self._apply(lambda component: component.numpy())

    def cuda(self) -> Results:
        """The same on the current CUDA device."""
        return self._apply(lambda component: component.cuda())

    def to(self, *args: torch.device | str | int | torch.dtype | Tensor | bool, **kwargs: object) -> Results:
        """The same, converted as `Tensor.to` does."""
        return self._apply(lambda component: component.to(*args, **kwargs))

    def new(self) -> Results:
        """Results of the same image without predictions."""
        empty = copy(self)
        for name in self.COMPONENTS:
            setattr(empty, name, None)
        return empty

    def update(
        self,
        boxes: Data | None = None,
        masks: Data | None = None,
        probs: Data | None = None,
        obb: Data | None = None,
        keypoints: Data | None = None,
    ) -> None:
        """Replace components; boxes are clipped to the image. The arguments are not changed."""
        if boxes is not None:
            self.boxes = Boxes(_clipped(boxes, self.orig_shape), self.orig_shape)
        if masks is not None:
            self.masks = Masks(masks, self.orig_shape)
        if probs is not None:
            self.probs = Probs(probs)
        if obb is not None:
            self.obb = OBB(obb, self.orig_shape)
        if keypoints is not None:
            self.keypoints = Keypoints(keypoints, self.orig_shape)

    def plot(
        self,
        conf: bool = True,
        line_width: float | None = None,
        font_size: float | None = None,
        font: str | Path | None = DEFAULT_FONT,
        pil: bool = False,
        img: np.ndarray | None = None,
        im_gpu: Tensor | None = None,
        kpt_radius: int | None = None,
        kpt_line: bool = True,
        labels: bool = True,
        boxes: bool = True,
        masks: bool = True,
        probs: bool = True,
        show: bool = False,
        save: bool = False,
        filename: str | Path | None = None,
        color_mode: Literal["class", "instance"] = "class",
    ) -> np.ndarray:
        """Draw the predictions on a copy of the image.

        Args:
            conf: write the confidence into the label.
            line_width: pixels; depends on the size of the image by default.
            font_size: pixels; depends on the line width by default.
            font: a TrueType file for the labels.
            pil: write with Pillow instead of OpenCV.
            img: draw on a copy of this BGR image instead of the original.
            im_gpu: accepted for 8.3.0's call form; see `Annotator.masks`.
            kpt_radius: of keypoints in pixels; depends on the size of the image by default (8.3.0: 5).
            kpt_line: draw the limbs of persons.
            labels: write class names; False draws boxes only.
            boxes: draw boxes and oriented boxes; False hides their labels too.
            masks: draw masks.
            probs: write the top classes.
            show: show the image on the screen.
            save: write it to `filename`.
            filename: by default `results_<name>` in the current folder.
            color_mode: one color per class or per instance.

        Returns:
            (H, W, 3) uint8 BGR.

        Raises:
            ValueError: `color_mode` is unknown.
        """
        if color_mode not in ("class", "instance"):
            raise ValueError(f"color_mode='{color_mode}': expected 'class' or 'instance'")
        image = np.array(self.orig_img if img is None else img)
        annotator = Annotator(image, line_width, font_size, font, pil, example=self.names)
        style = DrawStyle(self.names, self._classes(), conf, labels, color_mode, kpt_radius, kpt_line, im_gpu)
        drawn = {"masks": masks, "boxes": boxes, "obb": boxes, "probs": probs, "keypoints": True}
        components = self.components()
        for name in self._DRAW_ORDER:
            if name in components and drawn[name]:
                components[name].draw(annotator, style)
        if save:
            write_image(filename or self._default_file(), annotator.im)
        if show:
            show_image(annotator.im, self.path)
        return annotator.im

    def show(self, *args: object, **kwargs: object) -> None:
        """Draw as `plot` does and show the image on the screen."""
        self.plot(*args, **{**kwargs, "show": True})  # type: ignore[arg-type]

    def save(self, filename: str | Path | None = None, *args: object, **kwargs: object) -> str:
        """Draw as `plot` does and write the image; returns the path, by default `results_<name>` in this folder."""
        file = str(filename or self._default_file())
        self.plot(*args, **{**kwargs, "save": True, "filename": file})  # type: ignore[arg-type]
        return file

    def verbose(self) -> str:
        """Counts for a log line, such as `3 cats, 1 dog, `, the top classes, or `(no detections), `."""
        if not len(self):
            return "(no detections), "
        return "".join(component.count(self.names) for component in self.components().values())

    def save_txt(self, txt_file: str | Path, save_conf: bool = False) -> str:
        """Write a label file, see `label_lines`; unlike 8.3.0 it replaces an older file.

        Without predictions there is no file, and an older one is removed.

        Returns:
            The path of the file.
        """
        return write_label_file(txt_file, label_lines(self.components().values(), self.names, save_conf))

    def save_crop(self, save_dir: str | Path, file_name: str | Path = "im.jpg") -> None:
        """Write the content of each box to `<save_dir>/<class>/<file_name>`; a number is added if the file exists."""
        if self.boxes is None:
            LOGGER.warning(f"{self.path}: save_crop needs boxes, which this result does not have")
        for component in self.components().values():
            for name, xyxy in component.crops(self.names):
                folder = name.replace("/", "_").replace("\\", "_")
                file = (Path(save_dir) / folder / Path(file_name).name).with_suffix(".jpg")
                save_one_box(xyxy, self.orig_img, file)

    def summary(self, normalize: bool = False, decimals: int = 5) -> list[SummaryRow]:
        """The predictions as plain Python values, one row per instance.

        Args:
            normalize: coordinates in fractions of the image's width and height instead of pixels.
            decimals: number of decimal places.
        """
        rows: list[SummaryRow] = []
        # what an instance is comes from boxes or oriented boxes, then the other components add to its row
        for component in sorted(self.components().values(), key=lambda part: not isinstance(part, Detections)):
            component.add_to_summary(rows, self.names, normalize, decimals)
        return rows

    def to_json(self, normalize: bool = False, decimals: int = 5) -> str:
        """`summary` as JSON text."""
        return tables.as_json(self.summary(normalize, decimals))

    tojson = to_json  # its older name

    def to_df(self, normalize: bool = False, decimals: int = 5) -> pd.DataFrame:
        """`summary` as a pandas table.

        Raises:
            ImportError: pandas is not installed.
        """
        return tables.as_dataframe(self.summary(normalize, decimals))

    def to_csv(self, normalize: bool = False, decimals: int = 5, **kwargs: object) -> str:
        """`summary` as CSV text, corners in columns of their own; options go to pandas' `to_csv` instead."""
        if kwargs:
            return str(self.to_df(normalize, decimals).to_csv(**kwargs))
        return tables.as_csv(self.summary(normalize, decimals))

    def to_xml(self, normalize: bool = False, decimals: int = 5, **kwargs: object) -> str:
        """`summary` as XML text; options go to pandas' `to_xml` instead, which needs lxml."""
        if kwargs:
            return str(self.to_df(normalize, decimals).to_xml(**kwargs))
        return tables.as_xml(self.summary(normalize, decimals))

    def _apply(self, change: Callable[[BaseTensor], BaseTensor]) -> Results:
        changed = self.new()
        for name, component in self.components().items():
            setattr(changed, name, change(component))
        return changed

    def _classes(self) -> list[int]:
        return next((part.classes() for part in self.components().values() if isinstance(part, Detections)), [])

    def _default_file(self) -> str:
        return f"results_{Path(self.path).name or 'image.jpg'}"


def _clipped(boxes: Data, shape: tuple[int, int]) -> Data:
    """A copy of the rows with the corners clipped to the image."""
    if isinstance(boxes, Tensor):
        return torch.cat((clip_boxes(boxes[..., :4], shape), boxes[..., 4:]), -1)
    return np.concatenate((clip_boxes(boxes[..., :4], shape), boxes[..., 4:]), -1)
