"""Reads checkpoints of this package and of 8.0 to 8.3 without running anything that they contain.

The network is built by `parse_model` from the description in the file, and the weights are loaded into it; see
unpickle.py for the pickle, description.py for what a file says about its network, rebuild.py for building it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ultralytics.nn.base import BaseModel
from ultralytics.nn.checkpoint import safetensors_file
from ultralytics.nn.checkpoint.description import NetworkDescription, check_size
from ultralytics.nn.checkpoint.find import find_checkpoint
from ultralytics.nn.checkpoint.pickled_types import CheckpointError
from ultralytics.nn.checkpoint.rebuild import rebuild_network
from ultralytics.nn.checkpoint.unpickle import read_safely

# what malformed records raise
_MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_NOT_CONTENT = {"ema", "model", "float32", "train_args", "network", "yaml", "names", "format"}


@dataclass
class Checkpoint:
    """A checkpoint in memory.

    Attributes:
        path: of the file.
        network: in float32 and evaluation mode, on the CPU.
        train_args: settings of its training.
        content: the other keys of the file.
        edits: how the network differs from its model file, one text each; empty unless it was edited.
    """

    path: Path
    network: BaseModel
    train_args: dict[str, Any] = field(default_factory=dict)
    content: dict[str, Any] = field(default_factory=dict)
    edits: list[str] = field(default_factory=list)

    @property
    def can_resume(self) -> bool:
        """Whether the run that wrote the file had epochs left."""
        return self.content.get("resume") is not None


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint and build its network.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, asks for code to be run, or holds something else than a known network.
    """
    path = Path(path).expanduser()
    try:
        description, content = _read(path)
        network, edits = rebuild_network(description)
    except CheckpointError:
        raise
    except _MALFORMED as e:
        raise CheckpointError(f"{path} is damaged, its network cannot be built: {e}") from e
    train_args = content.get("train_args")
    train_args = dict(train_args) if isinstance(train_args, dict) else {}
    check_size(path, train_args)
    network.named = bool(train_args.get("data"))  # training gives a network the names of its data
    return Checkpoint(path, network, train_args, {k: v for k, v in content.items() if k not in _NOT_CONTENT}, edits)


def load_network(path: str | Path) -> BaseModel:
    """The network of a checkpoint, in float32 and evaluation mode, to transfer weights from.

    Args:
        path: a checkpoint as users write it; see `find_checkpoint`.

    Raises:
        FileNotFoundError, ValueError: there is no such checkpoint, or it cannot be read.
    """
    return load_checkpoint(find_checkpoint(path)).network


def _read(path: Path) -> tuple[NetworkDescription, dict[Any, Any]]:
    """The description of the network in a file, and all of the file's content."""
    if path.suffix.lower() == safetensors_file.SUFFIX:
        state, content = safetensors_file.read(path)
        return NetworkDescription.from_safetensors(path, state, content), content
    content = read_safely(path)
    if not isinstance(content, dict):
        content = {"model": content}
    return NetworkDescription.from_pickle(path, content), content
