"""Chart of the labels of a dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from ultralytics.utils.figures import Array, Names, Values, chart, class_color, class_label, label_angle, to_array

MAX_NAMED_BARS = 100  # with more classes the bars have no names
MANY_CLASSES = 12  # with more classes the bars get a row of their own
MAX_DRAWN_BOXES = 1000
MAX_COUNTED_BARS = 40  # with more classes the bars have no counts and smaller names
HEAT_BINS = 40


def plot_labels(boxes: Values, cls: Values, names: Names, path: str | Path) -> None:
    """Chart of the boxes of a dataset: number per class, shapes, positions and sizes.

    Args:
        boxes: (N, 4) or (N, 5) xywh in 0..1, and the angle of oriented boxes, which is not drawn.
        cls: (N,) or (N, 1) class of each box.
        names: class names.
        path: the file to write, usually `labels.jpg`.
    """
    xywh, classes = to_array(boxes)[..., :4].reshape(-1, 4), to_array(cls).reshape(-1).astype(int)
    many = len(names) > MANY_CLASSES
    with chart(path, names.values(), (14 if many else 11, 10)) as fig:
        axes = fig.subplot_mosaic(
            [["bars"] * 3, ["shapes", "centers", "sizes"]] if many else [["bars", "shapes"], ["centers", "sizes"]]
        )
        _class_bars(axes["bars"], classes, names)
        _box_outlines(axes["shapes"], xywh, classes)
        _heat_map(axes["centers"], xywh[:, 0], xywh[:, 1], "Box centers", ("x / image width", "y / image height"))
        axes["centers"].invert_yaxis()  # as in the image, where y grows downwards
        _heat_map(axes["sizes"], xywh[:, 2], xywh[:, 3], "Box sizes", ("width / image width", "height / image height"))


def plot_class_counts(cls: Values, names: Names, path: str | Path) -> None:
    """Chart of a classification dataset: number of images per class.

    Args:
        cls: (N,) class of each image.
        names: class names.
        path: the file to write, usually `labels.jpg`.
    """
    with chart(path, names.values(), (12 if len(names) > MANY_CLASSES else 5, 5)) as fig:
        _class_bars(fig.subplots(), to_array(cls).reshape(-1).astype(int), names, "images")


def _class_bars(ax: Axes, classes: Array, names: Names, counted: str = "instances") -> None:
    nc = max(len(names), int(classes.max(initial=-1)) + 1, 1)
    counts = np.bincount(classes, minlength=nc)
    ax.bar(range(nc), counts, color=[class_color(i) for i in range(nc)], width=0.8)
    ax.set(title=f"{counted.capitalize()} per class ({len(classes)} in total)", ylabel=counted, xlim=(-0.6, nc - 0.4))
    if nc > MAX_NAMED_BARS:
        ax.set_xlabel("class number")
        return
    labels = [class_label(names, i) for i in range(nc)]
    size = 9.0 if nc <= MAX_COUNTED_BARS else 7.0
    width = 11 if nc > MANY_CLASSES else 4  # inches
    ax.set_xticks(range(nc), labels, rotation=label_angle(labels, size, width), fontsize=size)
    if nc <= MAX_COUNTED_BARS:
        for i, count in enumerate(counts):
            ax.text(i, count, str(count), ha="center", va="bottom", fontsize=8)


def _box_outlines(ax: Axes, xywh: Array, classes: Array) -> None:
    # evenly spaced and not random, so that the chart is the same every time
    rows = np.linspace(0, len(xywh) - 1, min(len(xywh), MAX_DRAWN_BOXES)).astype(int)
    half = xywh[rows, 2:] / 2
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    outlines = half[:, None] * signs  # (n, 4 corners, 2), all around the same center
    edges = [(*class_color(c), 0.35) for c in classes[rows]]
    ax.add_collection(PolyCollection(list(outlines), facecolors="none", edgecolors=edges, linewidths=0.7))
    ax.set(title="Box shapes, centered", xlim=(-0.5, 0.5), ylim=(0.5, -0.5), aspect="equal")
    ax.set(xlabel="x / image width", ylabel="y / image height")


def _heat_map(ax: Axes, x: Array, y: Array, title: str, axis_labels: tuple[str, str]) -> None:
    counts, _, _ = np.histogram2d(x, y, bins=HEAT_BINS, range=((0, 1), (0, 1)))
    image = ax.imshow(
        np.ma.masked_equal(counts.T, 0), origin="lower", extent=(0, 1, 0, 1), cmap="YlGnBu", aspect="equal"
    )
    ax.set(title=title, xlabel=axis_labels[0], ylabel=axis_labels[1])
    ax.figure.colorbar(image, ax=ax, fraction=0.046, pad=0.03, label="boxes")
