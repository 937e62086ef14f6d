"""What a prediction is: `Results` of one picture and the components it holds, such as `Boxes`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ultralytics.utils import LOGGER
from ultralytics.utils.files import atomic_write
from ultralytics.utils.ops import xyxy2xywh
from ultralytics.utils.plotting import Annotator, colors, save_one_box, show_image, write_image

Data = Any  # a tensor or an array; what comes out is of the kind that went in


class Component:
    """One row for each object found, as a tensor or array; base of what `Results` holds.

    Attributes:
        data: (n, columns).
        orig_shape: (height, width) of the picture the numbers refer to.
    """

    def __init__(self, data: Data, orig_shape: tuple[int, int]) -> None:
        if not isinstance(data, (Tensor, np.ndarray)):
            raise TypeError(f"{type(self).__name__} takes a tensor or an array, not {type(data).__name__}.")
        self.data = data
        self.orig_shape = orig_shape

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of `data`."""
        return tuple(self.data.shape)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: Any) -> Any:
        return type(self)(self.data[index], self.orig_shape)

    def __iter__(self) -> Iterator[Any]:
        for i in range(len(self)):
            yield self[i]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape}, orig_shape={tuple(self.orig_shape)})\n{self.data}"

    def cpu(self) -> Any:
        """The same with `data` in main memory."""
        return self if isinstance(self.data, np.ndarray) else type(self)(self.data.cpu(), self.orig_shape)

    def numpy(self) -> Any:
        """The same with `data` as an array, from whatever device."""
        return self if isinstance(self.data, np.ndarray) else type(self)(self.data.cpu().numpy(), self.orig_shape)

    def cuda(self) -> Any:
        """The same with `data` on the current CUDA device."""
        return self.to("cuda")

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """The same with `data` converted as `Tensor.to` does; arrays become tensors."""
        return type(self)(torch.as_tensor(self.data).to(*args, **kwargs), self.orig_shape)


class Boxes(Component):
    """Boxes of one picture.

    Args:
        boxes: (n, 6) x1, y1, x2, y2, confidence, class, or with tracking (n, 7) x1, y1, x2, y2, id, confidence, class;
            pixels of the original picture. One row may come without its dimension.
        orig_shape: (height, width) of that picture.

    Raises:
        ValueError: there are not 6 or 7 columns.
    """

    def __init__(self, boxes: Data, orig_shape: tuple[int, int]) -> None:
        super().__init__(boxes, orig_shape)
        if boxes.ndim == 1:
            self.data = boxes = boxes[None]
        if boxes.ndim != 2 or boxes.shape[-1] not in (6, 7):
            raise ValueError(
                "Boxes have 6 columns (x1, y1, x2, y2, confidence, class), or 7 (the track id before the confidence); "
                f"this has shape {tuple(boxes.shape)}."
            )
        self.is_track = boxes.shape[-1] == 7

    @property
    def xyxy(self) -> Data:
        """(n, 4) corners in pixels."""
        return self.data[:, :4]

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
        """(n,) number of the track; None without tracking."""
        return self.data[:, 4] if self.is_track else None

    @property
    def xywh(self) -> Data:
        """(n, 4) centre, width and height in pixels."""
        return xyxy2xywh(self.xyxy)

    @property
    def xyxyn(self) -> Data:
        """(n, 4) corners as shares of the picture's width and height."""
        return self.xyxy / self._whwh()

    @property
    def xywhn(self) -> Data:
        """(n, 4) centre, width and height as shares of the picture's width and height."""
        return self.xywh / self._whwh()

    def _whwh(self) -> Data:
        height, width = self.orig_shape
        whwh = [width, height, width, height]
        if isinstance(self.data, np.ndarray):
            return np.array(whwh, np.float32)
        return torch.tensor(whwh, dtype=torch.float32, device=self.data.device)


class Results:
    """Everything found in one picture.

    Args:
        orig_img: (H, W, 3) uint8 BGR, the picture as it was given.
        path: where it came from.
        names: class names.
        boxes: (n, 6) or (n, 7), see `Boxes`.
        speed: milliseconds for this picture: `preprocess`, `inference`, `postprocess`.

    `len`, indexing, `cpu`, `numpy`, `cuda` and `to` reach every component and give new Results.
    """

    # attribute -> class; a task with more to show than boxes adds a row, in the order in which `len` asks them
    COMPONENTS: ClassVar[dict[str, type[Component]]] = {"boxes": Boxes}

    def __init__(
        self,
        orig_img: np.ndarray,
        path: str,
        names: Mapping[int, str],
        boxes: Data | None = None,
        speed: dict[str, float | None] | None = None,
    ) -> None:
        self.orig_img = orig_img
        self.orig_shape: tuple[int, int] = (int(orig_img.shape[0]), int(orig_img.shape[1]))
        self.path = path
        self.names = names
        self.boxes = None if boxes is None else Boxes(boxes, self.orig_shape)
        self.speed = speed if speed is not None else {"preprocess": None, "inference": None, "postprocess": None}
        self.save_dir: str | None = None

    def __len__(self) -> int:
        return next((len(part) for part in self._parts().values()), 0)

    def __getitem__(self, index: Any) -> Results:
        return self._each(lambda part: part[index])

    def __iter__(self) -> Iterator[Results]:
        for i in range(len(self)):
            yield self[i]

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}: {len(part)}" for name, part in self._parts().items())
        return f"Results({self.path!r}, {self.orig_shape[0]}x{self.orig_shape[1]}, {parts or 'empty'})"

    def cpu(self) -> Results:
        """The same in main memory."""
        return self._each(lambda part: part.cpu())

    def numpy(self) -> Results:
        """The same as arrays."""
        return self._each(lambda part: part.numpy())

    def cuda(self) -> Results:
        """The same on the current CUDA device."""
        return self._each(lambda part: part.cuda())

    def to(self, *args: Any, **kwargs: Any) -> Results:
        """The same, converted as `Tensor.to` does."""
        return self._each(lambda part: part.to(*args, **kwargs))

    def new(self) -> Results:
        """Results of the same picture with nothing found."""
        empty = copy(self)
        for name in self.COMPONENTS:
            setattr(empty, name, None)
        return empty

    def update(self, boxes: Data | None = None) -> None:
        """Put other boxes in place of those here, cut off at the picture's edge."""
        if boxes is not None:
            data: Data = torch.clone(boxes) if isinstance(boxes, Tensor) else np.array(boxes)
            height, width = self.orig_shape
            data[..., 0:4:2] = data[..., 0:4:2].clip(0, width)
            data[..., 1:4:2] = data[..., 1:4:2].clip(0, height)
            self.boxes = Boxes(data, self.orig_shape)

    def plot(
        self,
        conf: bool = True,
        line_width: float | None = None,
        font_size: float | None = None,
        font: str | Path | None = None,
        pil: bool = False,
        img: np.ndarray | None = None,
        labels: bool = True,
        boxes: bool = True,
        show: bool = False,
        save: bool = False,
        filename: str | Path | None = None,
        color_mode: Literal["class", "instance"] = "class",
    ) -> np.ndarray:
        """Draw what was found on a copy of the picture.

        Args:
            conf: write the confidence into the label.
            line_width: pixels, by default by the picture's size.
            font_size: pixels, by default by the line width.
            font: a TrueType file for the labels.
            pil: write with Pillow instead of OpenCV.
            img: draw on this BGR picture instead of the original.
            labels: write names; False draws bare boxes.
            boxes: draw boxes; False hides their labels too.
            show: show the picture on the screen.
            save: write it to `filename`.
            color_mode: a colour for each class, or for each object.

        Returns:
            (H, W, 3) uint8 BGR.
        """
        if color_mode not in ("class", "instance"):
            raise ValueError(f"color_mode='{color_mode}' is unknown; it is 'class' or 'instance'.")
        annotator = Annotator(self.orig_img if img is None else img, line_width, font_size, font, pil)
        if self.boxes is not None and boxes:
            found = self.boxes.numpy()
            order = range(len(found))[::-1]  # the surest last, on top of the others
            annotator.boxes(
                found.xyxy[::-1],
                [self._label(found, i, conf) if labels else "" for i in order],
                [colors(found.cls[i] if color_mode == "class" else i, bgr=True) for i in order],
            )
        drawn = annotator.result()
        if save:
            write_image(filename or self._default_file(), drawn)
        if show:
            show_image(drawn, self.path)
        return drawn

    def show(self, *args: Any, **kwargs: Any) -> None:
        """Draw as `plot` does and show the picture on the screen."""
        self.plot(*args, **{**kwargs, "show": True})

    def save(self, filename: str | Path | None = None, *args: Any, **kwargs: Any) -> str:
        """Draw as `plot` does and write the picture, by default to `results_<name>` in the current folder."""
        file = str(filename or self._default_file())
        self.plot(*args, **{**kwargs, "save": True, "filename": file})
        return file

    def verbose(self) -> str:
        """Counts for a log line, such as `3 cats, 1 dog, `, or `(no detections), `."""
        if not len(self):
            return "(no detections), "
        if self.boxes is None:
            return ""
        classes, counts = np.unique(self.boxes.numpy().cls.astype(int), return_counts=True)
        return "".join(
            f"{n} {self._name(c)}{'s' if n > 1 else ''}, "
            for c, n in zip(classes.tolist(), counts.tolist(), strict=True)
        )

    def save_txt(self, txt_file: str | Path, save_conf: bool = False) -> str:
        """Write a label file: a line `class cx cy w h [conf] [id]` for each box, 0..1 of the picture's sides.

        The file is written anew, whatever it held; if nothing was found there is no file, and an older one is removed.

        Returns:
            The path of the file.
        """
        path, lines = Path(txt_file), self._label_lines(save_conf)
        if lines:
            with atomic_write(path, "w") as file:
                file.write("".join(f"{line}\n" for line in lines))
        else:
            path.unlink(missing_ok=True)
        return str(path)

    def save_crop(self, save_dir: str | Path, file_name: str | Path = "im.jpg") -> None:
        """Cut every box out into `<save_dir>/<class>/<file_name>`; further ones of a class get a number."""
        if self.boxes is None:
            LOGGER.warning(f"{self.path}: there are no boxes to cut out")
            return
        name = Path(file_name).name
        for box in self.boxes.numpy():
            folder = self._name(int(box.cls[0])).replace("/", "_").replace("\\", "_")
            file = (Path(save_dir) / folder / name).with_suffix(".jpg")
            save_one_box(box.xyxy[0], self.orig_img, file)

    def summary(self, normalize: bool = False, decimals: int = 5) -> list[dict[str, Any]]:
        """What was found as plain Python: `name`, `class`, `confidence`, `box` {x1, y1, x2, y2}, `track_id` if tracked.

        Args:
            normalize: coordinates in 0..1 instead of pixels.
            decimals: digits after the point.
        """
        if self.boxes is None:
            return []
        found = self.boxes.numpy()
        rows = []
        corners = (found.xyxyn if normalize else found.xyxy).astype(np.float64)
        for i, xyxy in enumerate(corners.tolist()):
            number = int(found.cls[i])
            row: dict[str, Any] = {
                "name": self._name(number),
                "class": number,
                "confidence": round(float(found.conf[i]), decimals),
                "box": {key: round(v, decimals) for key, v in zip(("x1", "y1", "x2", "y2"), xyxy, strict=True)},
            }
            if found.is_track:
                row["track_id"] = int(found.id[i])
            rows.append(row)
        return rows

    def to_json(self, normalize: bool = False, decimals: int = 5) -> str:
        """`summary` as JSON text."""
        return json.dumps(self.summary(normalize, decimals), indent=2, ensure_ascii=False)

    tojson = to_json  # its older name

    def to_df(self, normalize: bool = False, decimals: int = 5) -> Any:
        """`summary` as a pandas table."""
        try:
            import pandas as pd  # not a dependency: only this method needs it
        except ImportError as e:
            raise ImportError("to_df() needs pandas: `pip install pandas`. to_csv() and summary() do without.") from e
        return pd.DataFrame(self.summary(normalize, decimals))

    def to_csv(self, normalize: bool = False, decimals: int = 5) -> str:
        """`summary` as CSV text, the corners in columns `x1`, `y1`, `x2`, `y2`."""
        rows = self.summary(normalize, decimals)
        for row in rows:
            row |= row.pop("box")
        columns = list(rows[0]) if rows else ["name", "class", "confidence", "x1", "y1", "x2", "y2"]
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def _parts(self) -> dict[str, Component]:
        return {name: part for name in self.COMPONENTS if (part := getattr(self, name)) is not None}

    def _each(self, change: Callable[[Component], Component]) -> Results:
        changed = self.new()
        for name, part in self._parts().items():
            setattr(changed, name, change(part))
        return changed

    def _name(self, number: int) -> str:
        return str(self.names.get(number, number))

    def _label(self, found: Boxes, i: int, conf: bool) -> str:
        track = f"id:{int(found.id[i])} " if found.id is not None else ""
        return f"{track}{self._name(int(found.cls[i]))}" + (f" {float(found.conf[i]):.2f}" if conf else "")

    def _label_lines(self, save_conf: bool) -> list[str]:
        if self.boxes is None:
            return []
        found = self.boxes.numpy()
        lines = []
        for i, xywhn in enumerate(found.xywhn):
            values = [*xywhn, *([found.conf[i]] if save_conf else ())]
            track = f" {int(found.id[i])}" if found.id is not None else ""
            lines.append(f"{int(found.cls[i])} " + " ".join(f"{v:g}" for v in values) + track)
        return lines

    def _default_file(self) -> str:
        name = Path(self.path).name or "image.jpg"
        return f"results_{name}"
