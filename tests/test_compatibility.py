"""docs/compatibility.md: every difference names an existing test; also tests of differences without another file."""

import ast
import itertools
import re
import time

import pytest
import torch
from project import ROOT

from ultralytics import YOLO
from ultralytics.data.dataset import YOLODataset
from ultralytics.utils.nms import non_max_suppression

PAGES = ("docs/compatibility.md", "docs/兼容性.md")


def rows(page):
    """The table rows of a page, as lists of three cells."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [cells for cells in table if not cells[0].startswith(("8.3.0", "---"))]


def references_in(cell):
    """(file, function) of every test that a cell names."""
    file, tests = None, []
    for path, function in re.findall(r"\]\(\.\./(tests/[^)]+)\)|`(test_\w+)`", cell):
        file = path or file
        if function:
            tests.append((file, function))
    return tests


def test_every_difference_names_tests_that_exist():
    table = rows(PAGES[0])
    assert len(table) > 40
    for cells in table:
        assert len(cells) == 3, cells
        tests = references_in(cells[2])
        assert tests, cells
        for file, function in tests:
            tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
            assert function in {x.name for x in tree.body if isinstance(x, ast.FunctionDef)}, f"{file} {function}"


def test_both_languages_have_the_same_rows():
    english, chinese = ([references_in(cells[2]) for cells in rows(page)] for page in PAGES)
    assert english == chinese


def test_nms_has_no_time_limit(monkeypatch):
    """Every image keeps its boxes, even if the clock advances by 1000 seconds per call."""
    clock = itertools.count(step=1000.0)
    for name in ("time", "perf_counter", "monotonic"):
        monkeypatch.setattr(time, name, lambda: next(clock))
    pred = torch.zeros(8, 5, 12)
    pred[:, :4] = torch.tensor([50.0, 50.0, 20.0, 20.0])[:, None]
    pred[:, 4] = 0.9
    assert [len(boxes) for boxes in non_max_suppression(pred)] == [1] * 8


@pytest.mark.parametrize(("close_mosaic", "closed_in"), [(10, [1]), (1, [3]), (0, [])])
def test_close_mosaic_longer_than_the_run(close_mosaic, closed_in, tiny_model, tiny_data, tmp_path, monkeypatch):
    current, epochs, close = [], [], YOLODataset.close_mosaic

    def record(self, *arguments):
        epochs.append(current[-1])
        close(self, *arguments)

    monkeypatch.setattr(YOLODataset, "close_mosaic", record)
    monkeypatch.chdir(tmp_path)
    model = YOLO(tiny_model)
    model.add_callback("on_train_epoch_start", lambda trainer: current.append(trainer.epoch + 1))
    model.train(
        data=str(tiny_data), epochs=3, imgsz=64, batch=12, workers=0, plots=False, val=False, device="cpu",
        close_mosaic=close_mosaic, project=str(tmp_path), verbose=False,
    )  # fmt: skip
    assert current == [1, 2, 3]
    assert epochs == closed_in
