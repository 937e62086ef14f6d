"""Fixtures of the data tests."""

from __future__ import annotations

from collections.abc import Callable
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


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Folder of a real dataset beside the project, by name, read only."""

    def find(name: str) -> Path:
        folder = Path(__file__).resolve().parents[3] / "shared" / "data" / name
        if not folder.is_dir():
            pytest.skip(f"the shared data set '{name}' is not beside the project (looked in ../shared/data)")
        return folder

    return find
