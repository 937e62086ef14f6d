"""The scripts of benchmarks/ import each other as they lie side by side there; so do their tests."""

import sys
from pathlib import Path

import pytest

from ultralytics.utils import LOGGER

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))


@pytest.fixture(autouse=True)
def _same_log_level():
    """The script quietens the log; other tests read it."""
    level = LOGGER.level
    yield
    LOGGER.setLevel(level)
