"""Fixtures of the configuration tests: captured warnings, an empty current folder with default settings."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from ultralytics.utils import LOGGER
from ultralytics.utils.settings import settings


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Texts of the warnings logged during the test."""
    texts: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: texts.append(record.getMessage())
    monkeypatch.setattr(LOGGER, "handlers", [handler])
    return texts


@pytest.fixture
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, empty, with unchanged settings that are stored in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path / "config"))
    settings.reload()
    yield tmp_path
    settings.reload()
