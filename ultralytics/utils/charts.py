"""Charts of training and validation: losses and metrics over epochs, curves, confusion matrix.

The chart of a dataset's labels is in label_charts.py. All charts have written their file when they return.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ultralytics.utils.figures import (
    MAX_NAMED_CLASSES,
    POINTS_PER_INCH,
    Array,
    Names,
    Values,
    chart,
    class_color,
    class_label,
    label_angle,
    label_inches,
    shortened,
    to_array,
)
from ultralytics.utils.files import read_results
from ultralytics.utils.label_charts import plot_class_counts, plot_labels
from ultralytics.utils.palette import colors

__all__ = [
    "gaussian_smooth",
    "plot_class_counts",
    "plot_confusion_matrix",
    "plot_labels",
    "plot_mc_curve",
    "plot_pr_curve",
    "plot_results",
]

SMOOTHING_SIGMA = 3.0  # epochs
MAX_TICKS = 100  # a confusion matrix with more classes names only some of them
MIN_SHARE = 0.005  # smaller cells of a normalized confusion matrix are blank


def plot_results(file: str | Path, path: str | Path | None = None) -> None:
    """Draw losses and metrics of a `results.csv` over the epochs: values and a smoothed line.

    Args:
        file: the table with a column `epoch`, losses `train/...` and `val/...`, and `metrics/...`.
        path: the image, by default `results.png` beside the table.

    Raises:
        ValueError: the table has no finished epoch.
    """
    file = Path(file)
    table = {name: np.array(values) for name, values in read_results(file).items()}
    epochs = table.pop("epoch", None)
    if epochs is None or not len(epochs):
        raise ValueError(f"{file}: there is no finished epoch to draw; expected a column 'epoch' and a row per epoch")
    train, val, metrics = ([key for key in table if key.startswith(p)] for p in ("train/", "val/", "metrics/"))
    upper = metrics[: math.ceil(len(metrics) / 2)]
    panels = [train + upper, val + metrics[len(upper) :]]
    columns = max(max(map(len, panels)), 1)
    with chart(path or file.with_name("results.png"), (), (2.6 * columns, 5.6)) as fig:
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
    recall: Values, precision: Values, ap50: Values, class_index: Sequence[int] | Array, names: Names, path: str | Path
) -> None:
    """Draw precision over recall, a line per class and their mean.

    Args:
        recall: (P,) x axis in 0..1.
        precision: (n, P), a row per class of `class_index`, zeros for a class without predictions.
        ap50: (n,) average precision at IoU 0.5 of these classes.
        class_index: (n,) classes of the rows; the legend is made from it.
        names: class names.
        path: the file to write.
    """
    ap = to_array(ap50).reshape(-1)
    legend = [f"{class_label(names, c)} {a:.3f}" for c, a in zip(class_index, ap, strict=True)]
    mean = f"all classes {ap.mean() if ap.size else 0:.3f} mAP@0.5"
    curves = to_array(precision).reshape(len(class_index), to_array(recall).size)
    _draw_curves(to_array(recall), curves, class_index, legend, mean, ("Recall", "Precision"), path)


def plot_mc_curve(
    confidence: Values,
    values: Values,
    class_index: Sequence[int] | Array,
    names: Names,
    path: str | Path,
    ylabel: str = "Precision",
) -> None:
    """Draw precision, recall or F1 over the confidence threshold, a line per class and their mean.

    Args:
        confidence: (P,) x axis in 0..1.
        values: (n, P), a row per class of `class_index`.
        class_index: (n,) classes of the rows; the legend is made from it.
        names: class names.
        path: the file to write.
        ylabel: name of the values.
    """
    x = to_array(confidence)
    y = to_array(values).reshape(len(class_index), x.size)
    legend = [class_label(names, c) for c in class_index]
    mean = "all classes"
    if y.size:
        average = y.mean(0)
        best = int(average.argmax())
        mean = f"all classes {average[best]:.2f} at {float(x[best]):.3f}"
    _draw_curves(x, y, class_index, legend, mean, ("Confidence", ylabel), path)


def plot_confusion_matrix(
    matrix: Values, names: Names | Sequence[str], path: str | Path, normalize: bool = False
) -> None:
    """Draw a confusion matrix: rows predicted, columns true.

    Args:
        matrix: (n, n) counts; if there is one row and column more than `names`, the last one is background.
        names: class names in the order of rows and columns.
        path: the file to write.
        normalize: show fractions of each column's sum instead of counts.

    Raises:
        ValueError: the number of names does not fit the matrix.
    """
    counts = to_array(matrix).astype(np.float64)
    n = len(counts)
    labels = [shortened(str(v)) for v in (names.values() if isinstance(names, Mapping) else names)]
    if n == len(labels) + 1:
        labels.append("background")
    if len(labels) != n:
        raise ValueError(
            f"the confusion matrix has {n} rows and there are {len(labels)} names; expected {n} or {n - 1}"
        )
    values = counts / np.maximum(counts.sum(0, keepdims=True), 1e-9) if normalize else counts
    cells = np.where(values < (MIN_SHARE if normalize else 0.5), np.nan, values)
    top = 1.0 if normalize else max(float(values.max(initial=0)), 1.0)
    # inches; long names get room of their own, beside the 0.8 that short ones have
    side = min(max(4.5, 0.42 * n + 2.5) + max(label_inches(labels, 10) - 0.8, 0), 18)
    with chart(path, labels, (side * 1.15, side)) as fig:
        ax = fig.subplots()
        image = ax.imshow(cells, cmap="Blues", vmin=0, vmax=top)
        fig.colorbar(image, ax=ax, fraction=0.046, pad=0.03)
        title = "Confusion matrix" + (", fraction of each true class" if normalize else "")
        ax.set(xlabel="True", ylabel="Predicted", title=title)
        # points; the cells take three quarters of the side, and the text half of a cell
        size = float(np.clip(0.5 * POINTS_PER_INCH * side / n, 4, 10))
        _label_cells(ax, labels, size, side)
        if n <= MAX_NAMED_CLASSES:
            _write_cells(ax, cells, "{:.2f}" if normalize else "{:.0f}", top, size)


def gaussian_smooth(values: Values, sigma: float = SMOOTHING_SIGMA) -> Array:
    """The series smoothed with a Gaussian of `sigma` steps; weights are normalized at the ends and around gaps."""
    y = np.asarray(values, np.float64)
    steps = np.arange(len(y))
    weights = np.exp(-0.5 * ((steps[:, None] - steps[None]) / sigma) ** 2) * np.isfinite(y)
    total = weights.sum(1)
    return np.divide(
        weights @ np.nan_to_num(y, posinf=0, neginf=0), total, out=np.full(len(y), np.nan), where=total > 0
    )


def _draw_history(ax: Axes, epochs: Array, values: Array, key: str) -> None:
    size = 4 if len(epochs) > 1 else 9
    ax.plot(epochs, values, ".", color=class_color(0), markersize=size, alpha=0.55, label="each epoch")
    if len(epochs) > 3:
        ax.plot(epochs, gaussian_smooth(values), color=class_color(6), linewidth=1.6, label="smoothed")
    ax.set_title(key, fontsize=9)
    ax.tick_params(labelsize=8)
    ax.grid(color="0.92")
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 2.5, 5, 10]))


def _draw_curves(
    x: Array,
    curves: Array,
    class_index: Sequence[int] | Array,
    legend: Sequence[str],
    mean: str,
    axis_labels: tuple[str, str],
    path: str | Path,
) -> None:
    named = 0 < len(class_index) <= MAX_NAMED_CLASSES
    with chart(path, legend, (9, 6)) as fig:
        ax = fig.subplots()
        for c, y, label in zip(class_index, curves, legend, strict=True):
            style = "--" if int(c) % (2 * colors.n) >= colors.n else "-"  # the palette repeats with dashed lines
            if named:
                ax.plot(x, y, style, linewidth=1.2, color=class_color(int(c)), label=label)
            else:
                ax.plot(x, y, style, linewidth=0.6, color="0.75")
        if len(curves):
            ax.plot(x, curves.mean(0), color="black", linewidth=3, label=mean)
        title = "Precision-Recall curve" if axis_labels[0] == "Recall" else f"{axis_labels[1]}-Confidence curve"
        ax.set(xlabel=axis_labels[0], ylabel=axis_labels[1], title=title, xlim=(0, 1), ylim=(0, 1.02))
        ax.grid(color="0.92")
        _draw_legend(ax)


def _draw_legend(ax: Axes) -> None:
    """The entries of the lines beside the chart, the mean, which is the last line, first."""
    handles, labels = ax.get_legend_handles_labels()
    if handles:
        order = [len(handles) - 1, *range(len(handles) - 1)]
        ax.legend(
            [handles[i] for i in order], [labels[i] for i in order],
            bbox_to_anchor=(1.01, 1), loc="upper left", borderaxespad=0, fontsize=9 if len(order) <= 22 else 7,
        )  # fmt: skip


def _label_cells(ax: Axes, labels: Sequence[str], size: float, side: float) -> None:
    """Class names and a line between cells; `size` of the font in points, `side` of the figure in inches."""
    n = len(labels)
    step = 1 if n <= MAX_TICKS else math.ceil(2 * n / MAX_TICKS)
    ax.set_xticks(range(0, n, step), labels[::step], rotation=label_angle(labels, size, 0.6 * side), fontsize=size)
    ax.set_yticks(range(0, n, step), labels[::step], fontsize=size)
    ax.set_xticks(np.arange(n + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="0.9", linewidth=0.5)
    ax.tick_params(which="minor", length=0)


def _write_cells(ax: Axes, values: Array, form: str, brightest: float, size: float) -> None:
    for row, column in zip(*np.nonzero(np.isfinite(values)), strict=True):
        value = values[row, column]
        ax.text(
            column, row, form.format(value), ha="center", va="center",
            fontsize=size * 0.9, color="white" if value > 0.5 * brightest else "black",
        )  # fmt: skip
