"""`Results` of every task against what official 8.3.0 makes of the same inputs (golden/make_results.py)."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from ultralytics.engine.results import Results

GOLDEN = Path(__file__).parent / "golden"
spec = importlib.util.spec_from_file_location("make_results", GOLDEN / "make_results.py")
made = importlib.util.module_from_spec(spec)
spec.loader.exec_module(made)
OFFICIAL = json.loads((GOLDEN / "results.json").read_text())


def assert_same(ours, official, where):
    """Equal, numbers to the precision of float32."""
    if isinstance(official, dict):
        assert ours.keys() == official.keys(), where
        for key, value in official.items():
            assert_same(ours[key], value, f"{where}.{key}")
    elif isinstance(official, list):
        assert len(ours) == len(official), where
        for i, value in enumerate(official):
            assert_same(ours[i], value, f"{where}[{i}]")
    elif isinstance(official, str) and " " in official:  # a line of a label file, or of the log
        assert_same([_number(word) for word in ours.split()], [_number(word) for word in official.split()], where)
    elif isinstance(official, float):
        assert ours == pytest.approx(official, rel=1e-5, abs=2e-5), where
    else:
        assert ours == official, where


def _number(word):
    try:
        return float(word)
    except ValueError:
        return word


@pytest.mark.parametrize("as_tensor", [True, False], ids=["tensor", "array"])
@pytest.mark.parametrize(("task", "n", "tracked"), made.CASES)
def test_same_as_official(task, n, tracked, as_tensor):
    ours = made.describe(Results, task, n, tracked, as_tensor)
    official = OFFICIAL[f"{task}-{n}-{tracked}"]
    # what differs on purpose: keypoints without confidence have a summary, oriented boxes a log line
    if task == "obb":
        ours["verbose"] = None
    if task == "pose2":
        ours = {key: value for key, value in ours.items() if not key.startswith("summary")}
    assert_same(ours, official, f"{task}-{n}")
