"""The added modules, one file per paper. Every file in this folder is imported and registers its classes.

Adding a module is adding a file here: a class with `@register(...)` above it (see ultralytics/nn/registry.py). Each
registered class, and each further name of it, can be imported from this package: `from ultralytics.nn.Addmodules
import AKConv`.
"""

from __future__ import annotations

import importlib
import pkgutil

from ultralytics.nn.registry import RegistryError, register, registered

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")

_CLASSES: dict[str, type] = {
    name: entry.cls for name, entry in registered().items() if entry.dotted.startswith(f"{__name__}.")
}
__all__ = [*_CLASSES, "RegistryError", "register"]  # names of classes, known once the files are imported


def __getattr__(name: str) -> type:
    if name not in _CLASSES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'; it has {', '.join(_CLASSES)}")
    return _CLASSES[name]
