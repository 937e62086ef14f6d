"""Rounding and timing; all functions of the official path against the official package."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from project import load_module

from ultralytics.utils import ops

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize(
    ("x", "divisor", "expected"), [(1, 8, 8), (8, 8, 8), (8.1, 8, 16), (100, torch.tensor([8, 32]), 128)]
)
def test_make_divisible(x, divisor, expected):
    assert ops.make_divisible(x, divisor) == expected


def test_profile_sums_blocks():
    timer = ops.Profile()
    with timer:
        time.sleep(0.002)
    first = timer.dt
    with timer:
        pass
    assert first >= 0.002 and timer.dt < timer.t == pytest.approx(first + timer.dt)
    assert str(timer).startswith("Elapsed time is 0.0")


def test_matches_the_official_package():
    golden = json.loads((GOLDEN / "ops.json").read_text())["values"]
    actual = load_module(GOLDEN / "make.py").ops_record()
    assert actual.keys() == golden.keys()
    for name, values in golden.items():
        np.testing.assert_allclose(actual[name], values, rtol=1e-6, err_msg=name)
