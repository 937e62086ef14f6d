"""Charts of data, training and validation: labels, losses and metrics over epochs, curves, confusion matrix.

All draw on matplotlib objects of their own (no pyplot, no global figure) and have written their file when they return.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from ultralytics.utils.files import atomic_write, read_results
from ultralytics.utils.fonts import mpl_families
from ultralytics.utils.plotting import colors

Array = np.ndarray
Names = Mapping[int, str]

DPI = 160
MAX_NAMED_CLASSES = 30  # more classes than this get numbers or nothing instead of names, figures and legend entries
MAX_NAMED_BARS = 100
MANY_CLASSES = 12  # from here on the bars of labels.jpg get a row of their own
MAX_DRAWN_BOXES = 1000
SMOOTHING_SIGMA = 3.0  # epochs


def plot_labels(boxes: Any, cls: Any, names: Names, path: str | Path) -> None:
    """Picture of a data set's boxes: how many of each class, their shapes, where they lie, how large they are.

    Args:
        boxes: (N, 4) xywh in 0..1.
        cls: (N,) or (N, 1) class of each box.
        names: class names.
        path: the file to write, usually `labels.jpg`.
    """
    xywh, classes = _array(boxes).reshape(-1, 4), _array(cls).reshape(-1).astype(int)
    many = len(names) > MANY_CLASSES  # their bars get the whole width
    with _figure(path, names.values(), (14 if many else 11, 10)) as fig:
        axes = fig.subplot_mosaic(
            [["bars"] * 3, ["shapes", "centres", "sizes"]] if many else [["bars", "shapes"], ["centres", "sizes"]]
        )
        _class_bars(axes["bars"], classes, names)
        _box_outlines(axes["shapes"], xywh, classes)
        _heat(axes["centres"], xywh[:, 0], xywh[:, 1], "Box centres", ("x / image width", "y / image height"))
        axes["centres"].invert_yaxis()  # as in the image: y grows downwards
        _heat(axes["sizes"], xywh[:, 2], xywh[:, 3], "Box sizes", ("width / image width", "height / image height"))


def plot_results(file: str | Path, path: str | Path | None = None) -> None:
    """Draw losses and metrics of a `results.csv` over the epochs, raw points and a smoothed line.

    Args:
        file: the table; a column `epoch`, losses `train/...` and `val/...`, and `metrics/...`.
        path: the picture, by default `results.png` beside the table.

    Raises:
        ValueError: the table has no finished epoch.
    """
    file = Path(file)
    table = {name: np.array(values) for name, values in read_results(file).items()}
    epochs = table.pop("epoch", None)
    if epochs is None or not len(epochs):
        raise ValueError(
            f"{file}: there is no finished epoch to draw. It needs a column 'epoch' and a row for each one."
        )
    train, val, metrics = ([k for k in table if k.startswith(p)] for p in ("train/", "val/", "metrics/"))
    upper = metrics[: math.ceil(len(metrics) / 2)]
    panels = [train + upper, val + metrics[len(upper) :]]
    columns = max(max(map(len, panels)), 1)
    with _figure(path or file.with_name("results.png"), (), (2.6 * columns, 5.6)) as fig:
        axes = fig.subplots(2, columns, squeeze=False)
        for row, keys in zip(axes, panels, strict=True):
            for ax, key in zip(row, keys, strict=False):
                _draw_history(ax, epochs, table[key], key)
            for ax in row[len(keys) :]:
                ax.set_axis_off()
        for ax in axes[-1]:
            ax.set_xlabel("epoch")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        axes[0, 0].legend(handles, labels, fontsize=7)


def plot_pr_curve(
    recall: Any, precision: Any, ap50: Any, class_index: Sequence[int] | Array, names: Names, path: str | Path
) -> None:
    """Draw precision over recall, a line for each class and their mean.

    Args:
        recall: (P,) the common axis in 0..1.
        precision: (n, P), one row for each class of `class_index`, zeros for a class that was never predicted.
        ap50: (n,) average precision at IoU 0.5 of these classes.
        class_index: (n,) which classes the rows belong to; the legend is made from it.
        names: class names.
        path: the file to write.
    """
    ap = _array(ap50).reshape(-1)
    legend = [f"{_name(names, c)} {a:.3f}" for c, a in zip(class_index, ap, strict=True)]
    mean = f"all classes {ap.mean() if ap.size else 0:.3f} mAP@0.5"
    _draw_curves(recall, precision, class_index, legend, mean, ("Recall", "Precision"), "Precision-Recall curve", path)


def plot_mc_curve(
    confidence: Any,
    values: Any,
    class_index: Sequence[int] | Array,
    names: Names,
    path: str | Path,
    ylabel: str = "Precision",
) -> None:
    """Draw precision, recall or F1 (`ylabel`) over the confidence threshold, a line for each class and their mean.

    Args:
        confidence: (P,) the common axis in 0..1.
        values: (n, P), one row for each class of `class_index`.
        class_index: (n,) which classes the rows belong to; the legend is made from it.
        names: class names.
        path: the file to write.
        ylabel: what the values are.
    """
    y = _array(values).reshape(len(class_index), _array(confidence).size)
    legend = [_name(names, c) for c in class_index]
    mean = "all classes"
    if y.size:
        average = y.mean(0)
        best = int(average.argmax())
        mean = f"all classes {average[best]:.2f} at {float(_array(confidence)[best]):.3f}"
    _draw_curves(confidence, y, class_index, legend, mean, ("Confidence", ylabel), f"{ylabel}-Confidence curve", path)


def plot_confusion_matrix(matrix: Any, names: Names | Sequence[str], path: str | Path, normalize: bool = False) -> None:
    """Draw a confusion matrix: rows predicted, columns true.

    Args:
        matrix: (n, n) counts; with one row and column more than `names`, the last one is background.
        names: class names in the order of rows and columns.
        path: the file to write.
        normalize: show shares of each column's sum instead of counts.
    """
    counts = _array(matrix).astype(np.float64)
    n = len(counts)
    labels = [str(v) for v in (names.values() if isinstance(names, Mapping) else names)]
    if n == len(labels) + 1:
        labels.append("background")
    if len(labels) != n:
        raise ValueError(f"The confusion matrix has {n} rows and there are {len(labels)} names; give {n} or {n - 1}.")
    values = counts / np.maximum(counts.sum(0, keepdims=True), 1e-9) if normalize else counts
    shown = np.where(values < (0.005 if normalize else 0.5), np.nan, values)
    side = min(max(4.5, 0.42 * n + 2.5), 18)  # inches
    with _figure(path, labels, (side * 1.15, side)) as fig:
        ax = fig.subplots()
        top = 1.0 if normalize else max(float(values.max(initial=0)), 1.0)
        image = ax.imshow(shown, cmap="Blues", vmin=0, vmax=top)
        fig.colorbar(image, ax=ax, fraction=0.046, pad=0.03)
        ax.set(
            xlabel="True",
            ylabel="Predicted",
            title="Confusion matrix" + (", share of each true class" if normalize else ""),
        )
        size = float(
            np.clip(0.5 * 72 * side / n, 4, 10)
        )  # points: fits the cells, which take three quarters of the side
        step = 1 if n <= 100 else math.ceil(n / 50)
        ax.set_xticks(range(0, n, step), labels[::step], rotation=_turned(labels, size, 0.6 * side), fontsize=size)
        ax.set_yticks(range(0, n, step), labels[::step], fontsize=size)
        ax.set_xticks(np.arange(n + 1) - 0.5, minor=True)
        ax.set_yticks(np.arange(n + 1) - 0.5, minor=True)
        ax.grid(which="minor", color="0.9", linewidth=0.5)
        ax.tick_params(which="minor", length=0)
        if n <= MAX_NAMED_CLASSES:
            _write_cells(ax, shown, "{:.2f}" if normalize else "{:.0f}", top, size)


def gaussian_smooth(values: Any, sigma: float = SMOOTHING_SIGMA) -> Array:
    """The series averaged with a bell of `sigma` steps; at the ends the weights that remain are scaled up to one."""
    y = np.asarray(values, np.float64)
    steps = np.arange(len(y))
    weights = np.exp(-0.5 * ((steps[:, None] - steps[None]) / sigma) ** 2) * np.isfinite(y)
    total = weights.sum(1)
    return np.divide(
        weights @ np.nan_to_num(y, posinf=0, neginf=0), total, out=np.full(len(y), np.nan), where=total > 0
    )


@contextmanager
def _figure(path: str | Path, texts: Any, size: tuple[float, float]) -> Iterator[Figure]:
    """A figure that is written to `path` when the block ends without an error; `texts` must be drawable."""
    path = Path(path)
    with mpl.rc_context({"font.family": mpl_families(str(t) for t in texts)}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # fonts.py has said so once
        fig = Figure(figsize=size, dpi=DPI, layout="constrained")
        FigureCanvasAgg(fig)
        yield fig
        data = io.BytesIO()
        fig.savefig(data, format=path.suffix.lstrip(".").lower(), dpi=DPI)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(data.getvalue())


def _class_bars(ax: Any, classes: Array, names: Names) -> None:
    nc = max(len(names), int(classes.max(initial=-1)) + 1, 1)
    counts = np.bincount(classes, minlength=nc)
    ax.bar(range(nc), counts, color=[_rgb(i) for i in range(nc)], width=0.8)
    ax.set(title=f"Instances per class ({len(classes)} in all)", ylabel="instances", xlim=(-0.6, nc - 0.4))
    if nc > MAX_NAMED_BARS:
        ax.set_xlabel("class number")
        return
    labels = [_name(names, i) for i in range(nc)]
    size = 9.0 if nc <= 40 else 7.0
    ax.set_xticks(range(nc), labels, rotation=_turned(labels, size, 11 if nc > MANY_CLASSES else 4), fontsize=size)
    if nc <= 40:
        for i, count in enumerate(counts):
            ax.text(i, count, str(count), ha="center", va="bottom", fontsize=8)


def _turned(labels: Sequence[str], size: float, inches: float) -> int:
    """Angle of the labels of an axis of this length: upright where they would run into each other."""
    # a letter is about 0.6 of the font size wide, a Chinese character all of it; 72 points are an inch
    widest = max((sum(0.6 if c.isascii() else 1.0 for c in label) for label in labels), default=0) * size
    return 90 if widest + size > inches * 72 / max(len(labels), 1) else 0


def _box_outlines(ax: Any, xywh: Array, classes: Array) -> None:
    some = np.linspace(0, len(xywh) - 1, min(len(xywh), MAX_DRAWN_BOXES)).astype(int)  # evenly, the same every time
    half = xywh[some, 2:] / 2
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    outlines = half[:, None] * signs  # (n, 4 corners, 2), all about the same centre
    edges = [(*_rgb(c), 0.35) for c in classes[some]]
    ax.add_collection(PolyCollection(list(outlines), facecolors="none", edgecolors=edges, linewidths=0.7))
    ax.set(title="Box shapes, centred", xlim=(-0.5, 0.5), ylim=(0.5, -0.5), aspect="equal")
    ax.set(xlabel="x / image width", ylabel="y / image height")


def _heat(ax: Any, x: Array, y: Array, title: str, axis_labels: tuple[str, str]) -> None:
    counts, _, _ = np.histogram2d(x, y, bins=40, range=((0, 1), (0, 1)))
    image = ax.imshow(
        np.ma.masked_equal(counts.T, 0), origin="lower", extent=(0, 1, 0, 1), cmap="YlGnBu", aspect="equal"
    )
    ax.set(title=title, xlabel=axis_labels[0], ylabel=axis_labels[1])
    ax.figure.colorbar(image, ax=ax, fraction=0.046, pad=0.03, label="boxes")


def _draw_history(ax: Any, epochs: Array, values: Array, key: str) -> None:
    ax.plot(epochs, values, ".", color=_rgb(1), markersize=4 if len(epochs) > 1 else 9, alpha=0.55, label="each epoch")
    if len(epochs) > 3:
        ax.plot(epochs, gaussian_smooth(values), color=_rgb(0), linewidth=1.6, label="smoothed")
    ax.set_title(key, fontsize=9)
    ax.tick_params(labelsize=8)
    ax.grid(color="0.92")
    ax.xaxis.get_major_locator().set_params(integer=True)


def _draw_curves(
    x: Any,
    curves: Any,
    class_index: Sequence[int] | Array,
    legend: list[str],
    mean: str,
    axis_labels: tuple[str, str],
    title: str,
    path: str | Path,
) -> None:
    px = _array(x)
    py = _array(curves).reshape(len(class_index), px.size)
    named = 0 < len(class_index) <= MAX_NAMED_CLASSES
    with _figure(path, legend, (9, 6)) as fig:
        ax = fig.subplots()
        for c, y, label in zip(class_index, py, legend, strict=True):
            style: dict[str, Any] = {"color": _rgb(int(c)), "label": label} if named else {"color": "0.75"}
            line = "--" if int(c) % (2 * colors.n) >= colors.n else "-"  # the second time round the palette
            ax.plot(px, y, line, linewidth=1.2 if named else 0.6, **style)
        if len(py):
            ax.plot(px, py.mean(0), color="black", linewidth=3, label=mean)
        ax.set(xlabel=axis_labels[0], ylabel=axis_labels[1], title=title, xlim=(0, 1), ylim=(0, 1.02))
        ax.grid(color="0.92")
        handles, labels = ax.get_legend_handles_labels()
        if handles:  # the mean first
            order = [len(handles) - 1, *range(len(handles) - 1)]
            ax.legend(
                [handles[i] for i in order], [labels[i] for i in order],
                bbox_to_anchor=(1.01, 1), loc="upper left", borderaxespad=0, fontsize=9 if len(order) <= 22 else 7,
            )  # fmt: skip


def _write_cells(ax: Any, values: Array, form: str, brightest: float, size: float) -> None:
    for row, column in zip(*np.nonzero(np.isfinite(values)), strict=True):
        value = values[row, column]
        ax.text(
            column, row, form.format(value), ha="center", va="center",
            fontsize=size * 0.9, color="white" if value > 0.5 * brightest else "black",
        )  # fmt: skip


def _array(x: Any) -> Array:
    return np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)


def _rgb(i: int) -> tuple[float, float, float]:
    r, g, b = colors(i)
    return r / 255, g / 255, b / 255


def _name(names: Names, i: int) -> str:
    return str(names.get(int(i), int(i)))
