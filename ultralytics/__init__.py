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
    from ultralytics.utils import ASSETS
    from ultralytics.utils.downloads import download
    from ultralytics.utils.settings import settings
    from ultralytics.utils.system_checks import check_yolo as checks

__all__ = ["ASSETS", "YOLO", "__build__", "__version__", "checks", "download", "register", "settings"]

_NAMES = {
    "ASSETS": "ultralytics.utils:ASSETS",
    "YOLO": "ultralytics.engine.model:YOLO",
    "checks": "ultralytics.utils.system_checks:check_yolo",
    "download": "ultralytics.utils.downloads:download",
    "register": "ultralytics.nn.registry:register",
    "settings": "ultralytics.utils.settings:settings",
}


def __getattr__(name: str) -> object:
    if name not in _NAMES:
        raise AttributeError(f"module 'ultralytics' has no attribute '{name}'")
    module, _, attribute = _NAMES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
