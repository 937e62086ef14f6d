"""Checkpoints: read without running anything that they contain, and written atomically."""

from __future__ import annotations

from ultralytics.nn.checkpoint.find import find_checkpoint
from ultralytics.nn.checkpoint.reader import Checkpoint, load_checkpoint, load_network
from ultralytics.nn.checkpoint.unpickle import CheckpointError, read_safely
from ultralytics.nn.checkpoint.writer import copy_checkpoint, save_checkpoint, strip_checkpoint

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "copy_checkpoint",
    "find_checkpoint",
    "load_checkpoint",
    "load_network",
    "read_safely",
    "save_checkpoint",
    "strip_checkpoint",
]
