"""YOLO object detection with added modules, behind the interface of ultralytics 8.3.0.

Importing this costs nothing: the names below are fetched when they are first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ultralytics.version import __version__

if TYPE_CHECKING:
    from ultralytics.engine.model import YOLO
    from ultralytics.nn.registry import register
    from ultralytics.utils.settings import settings

__all__ = ["YOLO", "__version__", "register", "settings"]

_HOMES = {
    "YOLO": "ultralytics.engine.model",
    "register": "ultralytics.nn.registry",
    "settings": "ultralytics.utils.settings",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ultralytics' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
