"""Draws the figures of architecture.md, layers.svg and paths.svg: `python docs/development/make_architecture.py`.

The layers are read from the import-linter contract in pyproject.toml, so that the figure and the check cannot disagree.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).resolve().parent
PYPROJECT = HERE.parents[1] / "pyproject.toml"
TEXT, MUTED = "#1f2933", "#52606d"

CONTENTS = {
    "__main__": "python -m ultralytics",
    "cli": "the yolo command: words in, one call of YOLO out",
    "models": "one folder per task: its trainer, validator and predictor",
    "engine": "YOLO, training loop, evaluation, prediction, results, run folder",
    "data": "label files and images to samples to batches; sources for prediction",
    "nn": "model files to networks; blocks, added modules, operators, checkpoints, weight transfer",
    "cfg": "default.yaml (all options), model files; reading, checking and merging settings",
    "tasks": "the table of tasks: names, head classes, label schemas, metric keys; strings only",
    "utils": "boxes, losses, metrics, NMS, plotting, files, process ranks; independent of the other layers",
    "version": "the version number",
}
COLORS = {
    "__main__": "#d9e2ec",
    "cli": "#d9e2ec",
    "models": "#cfe3f7",
    "engine": "#bcd7f2",
    "data": "#cdeccf",
    "nn": "#fde3b8",
    "cfg": "#f3d4e4",
    "tasks": "#e6dcf5",
    "utils": "#e4e7eb",
    "version": "#f5f7fa",
}


@dataclass(frozen=True)
class Step:
    """One box of a path: the layer that does it, its title, and what it produces."""

    layer: str
    title: str
    output: str


TRAINING = (
    Step("data", "label_parser, labels", "label table\nof all images (cached)"),
    Step("data", "loader", "SampleSpec: index,\nseed, mix indices"),
    Step("data", "dataset, augment", "sample: image (H, W, 3)\nand Instances"),
    Step("data", "collate", "Batch: img uint8\n(B, 3, H, W), cls, bboxes"),
    Step("engine", "trainer", "float image on\nthe device, AMP"),
    Step("nn", "model", "feature maps\nof each level"),
    Step("utils", "loss, tal", "loss per image\nand its components"),
    Step("engine", "trainer", "gradients, optimizer\nstep, EMA"),
    Step("engine", "evaluate", "EvalResult after each\nepoch, metrics.json"),
    Step("nn", "checkpoint", "last.pt, best.pt"),
)
PREDICTION = (
    Step("data", "sources", "images (H, W, 3)\nuint8, BGR"),
    Step("data", "letterbox", "same size, multiple\nof the stride"),
    Step("engine", "predictor", "(B, 3, H, W) float\nin [0, 1], RGB"),
    Step("nn", "inference model", "(B, 4 + nc, A)\nfused network"),
    Step("utils", "nms, ops", "(K, 6) per image,\nin image pixels"),
    Step("engine", "Results", "boxes, plots,\ntext, JSON"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE, help="folder for the figures")
    parser.add_argument("--format", default="svg", choices=("svg", "png"))
    args = parser.parse_args()
    # fixed ids, and no date in the metadata: the same script writes the same bytes
    mpl.rcParams.update(
        {"svg.hashsalt": "ultralytics", "svg.fonttype": "none", "font.size": 9, "font.family": "DejaVu Sans"}
    )
    metadata = {"Date": None} if args.format == "svg" else None
    for name, figure in (("layers", layers_figure(read_layers())), ("paths", paths_figure())):
        figure.savefig(args.out / f"{name}.{args.format}", metadata=metadata, dpi=110)


def read_layers(file: Path = PYPROJECT) -> list[str]:
    """Names of the layers from the highest to the lowest, as the import-linter contract lists them.

    Raises:
        KeyError: a layer has no description in CONTENTS.
    """
    contracts = tomllib.loads(file.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    for layer in layers:
        if layer not in CONTENTS or layer not in COLORS:
            raise KeyError(f"layer '{layer}' of {file.name} is not described in {Path(__file__).name}")
    return layers


def layers_figure(layers: list[str]) -> Figure:
    """One box per layer from top to bottom, below the scripts that use the package."""
    height = len(layers) + 1
    figure, axes = _canvas(10, 0.52 * height + 0.3, height)
    _box(axes, (0.9, height - 0.9), (9.0, 0.76), "white", dashed=True)
    axes.text(
        5.4, height - 0.52, "train/train.py, user scripts, tests, benchmarks", ha="center", va="center", color=MUTED
    )
    for row, layer in enumerate(layers):
        y = height - 1.9 - row
        _box(axes, (0.9, y), (9.0, 0.76), COLORS[layer])
        axes.text(1.05, y + 0.38, layer, va="center", weight="bold", color=TEXT)
        axes.text(2.25, y + 0.38, CONTENTS[layer], va="center", color=TEXT, fontsize=8)
    axes.annotate("", (0.45, 0.1), (0.45, height - 0.2), arrowprops={"arrowstyle": "-|>", "color": MUTED, "lw": 1.6})
    axes.text(0.28, height / 2, "imports point down", rotation=90, ha="center", va="center", color=MUTED)
    return figure


def paths_figure() -> Figure:
    """The path of a training batch in two rows, and the path of a predicted image in a third."""
    figure, axes = _canvas(12, 5.6, 6.0, width=12, bottom=0.4)
    half = len(TRAINING) // 2
    for title, y in (("A training batch", 5.75), ("A predicted image", 1.95)):
        axes.text(0.1, y, title, weight="bold", color=TEXT, fontsize=11, va="center")
    _row(axes, TRAINING[:half], top=5.45)
    _row(axes, TRAINING[half:], top=3.75)
    x_first, x_last = 0.1 + 0.9, 0.1 + (half - 1) * 2.4 + 0.9
    # from the end of the first row to the start of the second, through the gap between them
    axes.plot([x_last, x_last, x_first], [4.1, 3.97, 3.97], color=MUTED, lw=1.2)
    axes.annotate("", (x_first, 3.73), (x_first, 3.97), arrowprops={"arrowstyle": "-|>", "color": MUTED, "shrinkA": 0})
    _row(axes, PREDICTION, top=1.65, pitch=2.0, width=1.6)
    used = list(dict.fromkeys(step.layer for step in (*TRAINING, *PREDICTION)))
    for i, layer in enumerate(used):
        _box(axes, (7.2 + i * 1.15, 5.62), (0.26, 0.26), COLORS[layer])
        axes.text(7.54 + i * 1.15, 5.75, layer, va="center", color=MUTED)
    return figure


def _canvas(
    width_inches: float, height_inches: float, height: float, width: float = 10.0, bottom: float = 0.0
) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width_inches, height_inches))
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    axes.set(xlim=(0, width), ylim=(bottom, height))
    axes.axis("off")
    return figure, axes


def _row(axes: Axes, steps: tuple[Step, ...], top: float, pitch: float = 2.4, width: float = 1.8) -> None:
    for i, step in enumerate(steps):
        x = 0.1 + i * pitch
        _box(axes, (x, top - 0.55), (width, 0.55), COLORS[step.layer])
        axes.text(
            x + width / 2, top - 0.275, step.title, ha="center", va="center", weight="bold", color=TEXT, fontsize=8.5
        )
        axes.text(
            x + width / 2, top - 0.66, step.output, ha="center", va="top", color=MUTED, fontsize=8, linespacing=1.3
        )
        if i + 1 < len(steps):
            arrow = {"arrowstyle": "-|>", "color": MUTED, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", (x + pitch - 0.05, top - 0.275), (x + width + 0.05, top - 0.275), arrowprops=arrow)


def _box(axes: Axes, corner: tuple[float, float], size: tuple[float, float], color: str, dashed: bool = False) -> None:
    style = "round,pad=0,rounding_size=0.08"
    line = "--" if dashed else "-"
    axes.add_patch(FancyBboxPatch(corner, *size, boxstyle=style, facecolor=color, edgecolor="#829ab1", linestyle=line))


if __name__ == "__main__":
    main()
