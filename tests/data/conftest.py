"""Fixtures of the data tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from toy_dataset import make_dataset


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """YAML file of six tiny images in a folder with a blank and Chinese characters in its name."""
    return make_dataset(tmp_path / "数据 集")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    cv2.setNumThreads(1)
