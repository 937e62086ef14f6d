"""The added modules, one file per paper. Every file in this folder is imported and registers its classes.

Adding a module is adding a file here: a class with `@register(...)` above it (see ultralytics/nn/registry.py).
"""

from __future__ import annotations

import importlib
import pkgutil

from ultralytics.nn import registry
from ultralytics.nn.registry import RegistryError, register

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")

_CLASSES: dict[str, type] = {
    entry.name: entry.cls for entry in registry.entries().values() if entry.cls.__module__.startswith(f"{__name__}.")
}
__all__ = [*_CLASSES, "RegistryError", "register"]  # names of classes, known once the files are read


def __getattr__(name: str) -> type:
    if name not in _CLASSES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'; it has {', '.join(_CLASSES)}")
    return _CLASSES[name]
