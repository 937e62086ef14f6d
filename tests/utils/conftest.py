"""Fixtures of the metrics tests: results of the official package and of this one, and a case of the specification."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from project import load_module

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden_metrics():
    """Metrics of the official package on the inputs of golden/make.py."""
    return json.loads((GOLDEN / "metrics.json").read_text())["values"]


@pytest.fixture(scope="session")
def actual_metrics():
    """Metrics of this package on the same inputs."""
    return load_module(GOLDEN / "make.py").metrics_record()


@pytest.fixture
def specification_case():
    """tp (3, 10), confidences, predicted and target classes: two instances of one class, three detections."""
    tp = np.zeros((3, 10), bool)
    tp[0], tp[2, :3] = True, True
    return tp, np.array([0.9, 0.8, 0.3]), np.zeros(3), np.zeros(2)
