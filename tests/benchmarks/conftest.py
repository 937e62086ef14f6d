"""Puts benchmarks/ on the import path: its scripts import each other by file name, and so do their tests."""

import sys
from pathlib import Path

import pytest

from ultralytics.utils import LOGGER

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))


@pytest.fixture(autouse=True)
def _restore_log_level():
    """The script raises the log level; other tests read the log."""
    level = LOGGER.level
    yield
    LOGGER.setLevel(level)
