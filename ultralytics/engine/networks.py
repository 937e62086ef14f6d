"""The network behind what users give as one: a network, a YOLO object, or the path of a checkpoint."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ultralytics.nn.base import BaseModel
from ultralytics.nn.checkpoint import load_network


def as_network(source: nn.Module | str | Path) -> nn.Module:
    """The network itself; a checkpoint is read, and of a YOLO object, which is a module too, it is `model`."""
    if not isinstance(source, nn.Module):
        return load_network(source)
    inner = getattr(source, "model", None)
    return inner if isinstance(inner, BaseModel) else source
