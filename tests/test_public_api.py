"""Imports that scripts written for 8.3.0 contain: the names resolve, and the helpers give what 8.3.0 gives."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from ultralytics.utils.official_names import OFFICIAL_NAMES

LINES = (Path(__file__).parent / "golden_api.txt").read_text(encoding="utf-8").splitlines()
IMPORTS = {line.split()[0]: int(line.split()[1]) for line in LINES if not line.startswith("#")}
SHARE = 0.9
NETWORK = {"ultralytics.utils.ONLINE", "ultralytics.utils.checks.ONLINE"}  # their value is found by connecting


def resolves(name: str) -> bool:
    """Whether `name` is a module, or an attribute of the longest part of it that is one."""
    module_name, _, attribute = name.rpartition(".")
    try:
        if module_name and hasattr(importlib.import_module(module_name), attribute):
            return True
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def test_most_imports_resolve(monkeypatch):
    monkeypatch.setenv("YOLO_OFFLINE", "true")
    missing = {name: uses for name, uses in IMPORTS.items() if not resolves(name)}
    share = 1 - len(missing) / len(IMPORTS)
    assert share >= SHARE, f"{share:.1%} of {len(IMPORTS)} names resolve; missing: {missing}"
    weighted = 1 - sum(missing.values()) / sum(IMPORTS.values())
    assert weighted >= SHARE, f"{weighted:.1%} of the imports resolve; missing: {missing}"


@pytest.mark.parametrize(
    "name", sorted({f"{module}.{name}" for module, table in OFFICIAL_NAMES.items() for name in table} - NETWORK)
)
def test_every_listed_name_exists(name):
    module, _, attribute = name.rpartition(".")
    getattr(importlib.import_module(module), attribute)


def test_unknown_names_are_errors():
    for module in OFFICIAL_NAMES:
        with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
            importlib.import_module(module).no_such_name  # noqa: B018
