"""Network <-> file: checkpoints are read without running anything that they contain, and written atomically."""

from __future__ import annotations

from ultralytics.nn.checkpoint.checkpoint import (
    Checkpoint,
    copy_checkpoint,
    load_checkpoint,
    save_checkpoint,
    strip_checkpoint,
)
from ultralytics.nn.checkpoint.unpickle import CheckpointError, read_safely

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "copy_checkpoint",
    "load_checkpoint",
    "read_safely",
    "save_checkpoint",
    "strip_checkpoint",
]
