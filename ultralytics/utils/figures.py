"""What all charts share: a figure that becomes a file, colors and names of classes, labels of axes.

Nothing here uses pyplot or changes matplotlib's global settings.
"""

from __future__ import annotations

import io
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ultralytics.utils.files import atomic_write
from ultralytics.utils.fonts import mpl_families
from ultralytics.utils.palette import colors

if TYPE_CHECKING:
    from torch import Tensor

Array = np.ndarray
Values: TypeAlias = "Sequence[float] | Array | Tensor"
Names = Mapping[int, str]

DPI = 160
MAX_NAMED_CLASSES = 30  # with more classes, names, cell values and legend entries are left out
MAX_NAME_LENGTH = 24  # longer names are shortened
POINTS_PER_INCH = 72
MAX_LUMA = 0.6  # lighter colors are darkened, since charts are drawn on white
DARKENED = 0.65


@contextmanager
def chart(path: str | Path, texts: Iterable[object], size: tuple[float, float]) -> Iterator[Figure]:
    """A figure that is written to `path` when the block ends without an error.

    Args:
        path: the file; its folder is made.
        texts: what will be written; the fonts are chosen for it.
        size: width and height in inches.
    """
    path = Path(path)
    with mpl.rc_context({"font.family": mpl_families(str(t) for t in texts)}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # fonts.py has warned already
        fig = Figure(figsize=size, dpi=DPI, layout="constrained")
        FigureCanvasAgg(fig)
        yield fig
        data = io.BytesIO()
        fig.savefig(data, format=path.suffix.lstrip(".").lower(), dpi=DPI)
    with atomic_write(path, durable=False) as file:
        file.write(data.getvalue())


def to_array(x: Values) -> Array:
    """The values of a tensor, on any device, or a sequence as an array."""
    return np.asarray(x if isinstance(x, (np.ndarray, Sequence)) else x.detach().cpu())


def class_color(i: int) -> tuple[float, float, float]:
    """RGB in 0..1 of a class, darker than in the palette where that could not be seen on white."""
    r, g, b = (value / 255 for value in colors(i))
    scale = DARKENED if 0.299 * r + 0.587 * g + 0.114 * b > MAX_LUMA else 1.0
    return r * scale, g * scale, b * scale


def class_label(names: Names, i: int) -> str:
    """Name of a class, shortened if it is long; its number if it has none."""
    return shortened(str(names.get(int(i), int(i))))


def shortened(name: str) -> str:
    """A name at most `MAX_NAME_LENGTH` letters wide; the middle of a longer one is left out."""
    if _width(name) <= MAX_NAME_LENGTH:
        return name
    tail = MAX_NAME_LENGTH // 3
    head = _fitting(name, MAX_NAME_LENGTH - tail - 2)
    return f"{head}..{_fitting(name[::-1], tail)[::-1]}"


def label_inches(labels: Sequence[str], size: float) -> float:
    """Length of the longest label in inches, in a font of `size` points."""
    return 0.6 * max(map(_width, labels), default=0) * size / POINTS_PER_INCH  # a letter is 0.6 of the size wide


def _width(text: str) -> int:
    """Width in letters; a Chinese character is as wide as two."""
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def _fitting(text: str, width: int) -> str:
    """The beginning of `text` that is at most `width` letters wide."""
    end = 0
    while end < len(text) and _width(text[: end + 1]) <= width:
        end += 1
    return text[:end]


def label_angle(labels: Sequence[str], size: float, inches: float) -> int:
    """Rotation in degrees of the labels of an axis: 90 if they would overlap each other, else 0.

    Args:
        labels: of the ticks.
        size: of the font in points.
        inches: length of the axis.
    """
    # a letter is about 0.6 of the font size wide, a Chinese character as wide as the font size
    widest = max((sum(0.6 if c.isascii() else 1.0 for c in label) for label in labels), default=0) * size
    return 90 if widest + size > inches * POINTS_PER_INCH / max(len(labels), 1) else 0
