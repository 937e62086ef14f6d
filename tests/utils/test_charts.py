"""Charts of training and validation: what is drawn, by the objects of the figure, and the file."""

from __future__ import annotations

import sys

import cv2
import matplotlib
import numpy as np
import pytest
import torch

from ultralytics.utils import figures as figures_module
from ultralytics.utils.charts import (
    gaussian_smooth,
    plot_confusion_matrix,
    plot_labels,
    plot_mc_curve,
    plot_pr_curve,
    plot_results,
)

NAMES = {0: "RBC", 1: "WBC", 2: "Platelets"}
X = np.linspace(0, 1, 50)


@pytest.fixture(autouse=True)
def figures(monkeypatch):
    """The figures that are drawn, at a low resolution, which saves time."""
    drawn = []

    class Kept(figures_module.Figure):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            drawn.append(self)

    monkeypatch.setattr(figures_module, "Figure", Kept)
    monkeypatch.setattr(figures_module, "DPI", 40)
    return drawn


def legend(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def ticks(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def size(path):
    return cv2.imread(str(path)).shape[:2]


def table(path, epochs, pad=23):
    columns = ["epoch", "train/box_loss", "train/cls_loss", "metrics/precision(B)", "metrics/recall(B)"]
    columns += ["metrics/mAP50(B)", "metrics/mAP50-95(B)", "val/box_loss", "val/cls_loss", "lr/pg0"]
    rows = [[i, *(f"{i / (k + 1):.5g}" for k in range(len(columns) - 1))] for i in range(1, epochs + 1)]
    path.write_text("".join(",".join(f"{v:>{pad}}" for v in row) + "\n" for row in [columns, *rows]))
    return path


class TestResults:
    @pytest.mark.parametrize("pad", [0, 23])
    def test_two_rows_losses_then_metrics(self, tmp_path, figures, pad):
        plot_results(table(tmp_path / "results.csv", 6, pad))
        assert [ax.get_title() for ax in figures[0].axes] == [
            "train/box_loss", "train/cls_loss", "metrics/precision(B)", "metrics/recall(B)",
            "val/box_loss", "val/cls_loss", "metrics/mAP50(B)", "metrics/mAP50-95(B)",
        ]  # fmt: skip
        points, line = figures[0].axes[1].lines
        assert points.get_ydata().tolist() == [0.5, 1, 1.5, 2, 2.5, 3]
        assert line.get_ydata() == pytest.approx(gaussian_smooth(points.get_ydata()))
        assert size(tmp_path / "results.png")[1] > size(tmp_path / "results.png")[0]

    @pytest.mark.parametrize(("epochs", "lines"), [(3, 1), (4, 2)])
    def test_few_epochs_are_points(self, tmp_path, figures, epochs, lines):
        plot_results(table(tmp_path / "results.csv", epochs), tmp_path / "other.png")
        assert len(figures[0].axes[0].lines) == lines
        assert (tmp_path / "other.png").exists()

    def test_incomplete_and_bad_cells_are_gaps(self, tmp_path, figures):
        path = table(tmp_path / "results.csv", 5)
        path.write_text(path.read_text().replace("0.4", "nan") + "6, 6.0\n")
        plot_results(path)
        last = figures[0].axes[1].lines[0].get_ydata()
        assert np.isnan(last[-1])

    @pytest.mark.parametrize("text", ["", "epoch,train/loss\n", "train/loss\n1\n"])
    def test_nothing_to_draw(self, tmp_path, text):
        (tmp_path / "results.csv").write_text(text)
        with pytest.raises(ValueError, match=r"results\.csv: there is no finished epoch"):
            plot_results(tmp_path / "results.csv")
        assert not (tmp_path / "results.png").exists()


class TestSmoothing:
    def test_a_constant_stays_and_noise_decreases(self):
        assert gaussian_smooth(np.full(9, 3.0)) == pytest.approx(3.0)
        noise = np.random.default_rng(0).normal(size=200)
        assert gaussian_smooth(noise).std() < 0.5 * noise.std()

    def test_against_the_sum_written_out(self):
        y = [1.0, 4.0, 2.0]
        w = np.exp(-0.5 * (np.array([0, 1, 2]) / 3) ** 2)
        assert gaussian_smooth(y)[0] == pytest.approx((w * y).sum() / w.sum())

    def test_gaps_are_bridged(self):
        assert gaussian_smooth([2.0, np.nan, 2.0, np.inf]) == pytest.approx([2.0] * 4)
        assert np.isnan(gaussian_smooth([np.nan])).all()


class TestCurves:
    def test_a_class_without_predictions_keeps_its_own_name(self, tmp_path, figures):
        precision = np.stack([np.full(50, 0.5), np.zeros(50), np.full(50, 0.8)])
        plot_pr_curve(X, precision, [0.5, 0.0, 0.8], [0, 1, 2], NAMES, tmp_path / "PR_curve.png")
        assert legend(figures[0]) == [
            "all classes 0.433 mAP@0.5",
            "RBC 0.500",
            "WBC 0.000",
            "Platelets 0.800",
        ]
        lines = {line.get_label(): line.get_ydata()[0] for line in figures[0].axes[0].lines}
        assert lines["Platelets 0.800"] == 0.8
        assert lines["WBC 0.000"] == 0

    def test_classes_are_those_of_the_targets(self, tmp_path, figures):
        plot_mc_curve(X, np.stack([X, X / 2]), np.array([0, 2]), NAMES, tmp_path / "F1_curve.png", "F1")
        assert legend(figures[0]) == ["all classes 0.75 at 1.000", "RBC", "Platelets"]
        assert figures[0].axes[0].get_ylabel() == "F1"

    def test_many_classes_are_gray_and_only_the_mean_is_named(self, tmp_path, figures):
        plot_mc_curve(X, np.zeros((40, 50)), range(40), {}, tmp_path / "R_curve.png", "Recall")
        assert len(legend(figures[0])) == 1
        assert len(figures[0].axes[0].lines) == 41

    def test_no_class_at_all(self, tmp_path):
        plot_mc_curve(X, np.zeros((0, 50)), [], NAMES, tmp_path / "P_curve.png")
        plot_pr_curve(X, np.zeros((0, 50)), [], [], NAMES, tmp_path / "PR_curve.png")
        assert len(list(tmp_path.iterdir())) == 2

    def test_rows_must_match_the_classes(self, tmp_path):
        with pytest.raises(ValueError):
            plot_pr_curve(X, np.zeros((2, 50)), [0.5, 0.5], [0, 1, 2], NAMES, tmp_path / "PR_curve.png")
        assert not list(tmp_path.iterdir())


class TestConfusionMatrix:
    MATRIX = np.array([[8, 1, 0], [2, 9, 4], [0, 0, 0]])  # two classes and background

    @pytest.mark.parametrize(
        ("normalize", "cells"),
        [
            (False, {(0, 0): "8", (0, 1): "1", (1, 0): "2", (1, 1): "9", (1, 2): "4"}),
            (True, {(0, 0): "0.80", (0, 1): "0.10", (1, 0): "0.20", (1, 1): "0.90", (1, 2): "1.00"}),
        ],
    )
    def test_cells(self, tmp_path, figures, normalize, cells):
        names = {0: "cat", 1: "dog"}
        plot_confusion_matrix(self.MATRIX, names, tmp_path / "c.png", normalize)
        ax = figures[0].axes[0]
        texts = {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in ax.texts}
        assert texts == cells
        assert ticks(ax.xaxis) == ticks(ax.yaxis) == ["cat", "dog", "background"]
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("True", "Predicted")

    @pytest.mark.parametrize(("n", "labels"), [(31, 32), (120, 41)])
    def test_many_classes_have_no_values_and_few_names(self, tmp_path, figures, n, labels):
        plot_confusion_matrix(np.eye(n + 1), [f"c{i}" for i in range(n)], tmp_path / "c.png")
        assert not figures[0].axes[0].texts
        assert len(ticks(figures[0].axes[0].xaxis)) == labels

    def test_empty_matrix_and_own_background(self, tmp_path, figures):
        plot_confusion_matrix(torch.zeros(2, 2), ["a", "b"], tmp_path / "c.png", normalize=True)
        assert ticks(figures[0].axes[0].xaxis) == ["a", "b"]
        assert not figures[0].axes[0].texts

    def test_names_that_do_not_fit(self, tmp_path):
        with pytest.raises(ValueError, match="3 rows and there are 1 names"):
            plot_confusion_matrix(self.MATRIX, ["a"], tmp_path / "c.png")


class TestLabels:
    def test_counts_shapes_and_maps(self, tmp_path, figures):
        boxes = torch.tensor([[0.5, 0.25, 0.2, 0.4], [0.1, 0.1, 0.1, 0.1], [0.5, 0.25, 0.2, 0.4]])
        plot_labels(boxes, torch.tensor([[0.0], [2.0], [0.0]]), NAMES, tmp_path / "labels.jpg")
        bars, shapes, centers, sizes = figures[0].axes[:4]
        assert [bar.get_height() for bar in bars.patches] == [2, 0, 1]
        assert ticks(bars.xaxis) == list(NAMES.values())
        outline = shapes.collections[0].get_paths()[0].vertices
        assert np.abs(outline).max(0) == pytest.approx([0.1, 0.2])
        assert centers.images[0].get_array()[10, 20] == 2  # row of y 0.25, column of x 0.5, in 40 bins
        assert sizes.images[0].get_array().sum() == 3
        assert size(tmp_path / "labels.jpg") == (400, 440)

    @pytest.mark.parametrize(("nc", "named"), [(20, True), (120, False)])
    def test_many_classes(self, tmp_path, figures, nc, named):
        names = {i: f"class {i}" for i in range(nc)}
        plot_labels(np.full((nc, 4), 0.5), np.arange(nc), names, tmp_path / "labels.jpg")
        assert (ticks(figures[0].axes[0].xaxis) == list(names.values())) == named

    def test_no_boxes(self, tmp_path):
        plot_labels(np.zeros((0, 4)), np.zeros(0), NAMES, tmp_path / "labels.jpg")
        assert (tmp_path / "labels.jpg").exists()


LONG = {0: "a class name that is much longer than any legend or axis could show", 1: "b"}


class TestLongNames:
    def test_legend(self, tmp_path, figures):
        plot_mc_curve(X, [X, X], [0, 1], LONG, tmp_path / "c.png")
        assert legend(figures[0])[1:] == ["a class name t..uld show", "b"]

    def test_confusion_matrix(self, tmp_path, figures):
        plot_confusion_matrix(np.eye(3), LONG, tmp_path / "c.png")
        assert ticks(figures[0].axes[0].xaxis) == ["a class name t..uld show", "b", "background"]

    def test_bars(self, tmp_path, figures):
        plot_labels(np.zeros((2, 5)), [0, 1], LONG, tmp_path / "c.jpg")
        assert ticks(figures[0].axes[0].xaxis) == ["a class name t..uld show", "b"]


@pytest.mark.parametrize("i", range(20))
def test_every_class_is_visible_on_white(i):
    r, g, b = figures_module.class_color(i)
    assert 0.299 * r + 0.587 * g + 0.114 * b < 0.65


def test_no_pyplot_and_no_global_settings(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it would fail
    before = list(matplotlib.rcParams["font.family"])
    plot_mc_curve(X, [X], [0], {0: "naïve"}, tmp_path / "f.png")
    assert list(matplotlib.rcParams["font.family"]) == before


@pytest.mark.parametrize("name", ["cell " * 60, "红细胞" * 60, "红" * 12, "a" * 24], ids=["words", "中文", "12", "24"])
def test_long_class_names_leave_room_for_the_matrix(tmp_path, name):
    plot_confusion_matrix(np.eye(4), [f"{i}{name}" for i in range(3)], tmp_path / "long.png")
    plot_confusion_matrix(np.eye(4), ["a", "b", "c"], tmp_path / "short.png")
    dark = []
    for file in ("long.png", "short.png"):
        image = cv2.imread(str(tmp_path / file)).astype(int)
        blue = (image[..., 0] > image[..., 2] + 50).sum()  # the filled cells
        dark.append(blue)
    assert dark[0] > 0.3 * dark[1]
