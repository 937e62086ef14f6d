"""YOLO object detection with added modules, behind the interface of ultralytics 8.3.0.

Importing the package is cheap: the names below are imported at their first access.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ultralytics.version import __build__, __version__

if TYPE_CHECKING:
    from ultralytics.engine.model import YOLO
    from ultralytics.nn.registry import register
    from ultralytics.utils.settings import settings

__all__ = ["YOLO", "__build__", "__version__", "register", "settings"]

_MODULES = {
    "YOLO": "ultralytics.engine.model",
    "register": "ultralytics.nn.registry",
    "settings": "ultralytics.utils.settings",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'ultralytics' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
