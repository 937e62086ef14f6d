"""The functions for checkpoints with the signatures of 8.3.0, over the reader that runs nothing from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from ultralytics.nn.base import BaseModel
from ultralytics.nn.checkpoint.find import find_checkpoint
from ultralytics.nn.checkpoint.reader import load_checkpoint
from ultralytics.nn.checkpoint.unpickle import read_safely
from ultralytics.nn.checkpoint.writer import copy_checkpoint, strip_checkpoint
from ultralytics.tasks import task_of_model_class
from ultralytics.utils import LOGGER

_NO_UPDATES: Mapping[str, Any] = MappingProxyType({})


class Ensemble(nn.ModuleList):
    """Several networks whose detections are joined."""

    def forward(
        self, x: Tensor, augment: bool = False, profile: bool = False, visualize: bool = False
    ) -> tuple[Tensor, None]:
        """The outputs of all networks beside each other: (B, 4 + nc, sum of anchors)."""
        outputs = [network(x, augment=augment, profile=profile, visualize=visualize)[0] for network in self]
        return torch.cat(outputs, 2), None


def torch_safe_load(weight: str | Path, safe_only: bool = False) -> tuple[dict[str, Any], str]:
    """Content of a checkpoint with its network, and the path of the file.

    Args:
        weight: the file; see `find_checkpoint`.
        safe_only: of 8.3.0; the file is always read without running anything from it.

    Raises:
        FileNotFoundError, CheckpointError: see `load_checkpoint`.
    """
    path = find_checkpoint(weight)
    checkpoint = load_checkpoint(path)
    content = {**checkpoint.content, "model": checkpoint.network, "ema": None, "train_args": checkpoint.train_args}
    return content, str(path)


def attempt_load_one_weight(
    weight: str | Path, device: torch.device | None = None, inplace: bool = True, fuse: bool = False
) -> tuple[BaseModel, dict[str, Any]]:
    """The network of a checkpoint in float32 and evaluation mode, and the content of the file.

    The network has the attributes `args` (settings of the training), `pt_path` and `task`.

    Args:
        weight: the file; see `find_checkpoint`.
        device: of the network; None for the CPU.
        inplace: of 8.3.0; without effect on heads of this version.
        fuse: merge normalizations into convolutions.

    Raises:
        FileNotFoundError, CheckpointError: see `load_checkpoint`.
    """
    content, path = torch_safe_load(weight)
    network = _prepared(content["model"], content["train_args"], path, device, fuse)
    return network, content


def attempt_load_weights(
    weights: str | Path | Sequence[str | Path],
    device: torch.device | None = None,
    inplace: bool = True,
    fuse: bool = False,
) -> BaseModel | Ensemble:
    """The network of a checkpoint, or of several an `Ensemble`; arguments as of `attempt_load_one_weight`.

    Raises:
        ValueError: the networks have different numbers of classes.
    """
    files = [weights] if isinstance(weights, (str, Path)) else list(weights)
    networks = [attempt_load_one_weight(file, device, inplace, fuse)[0] for file in files]
    if len(networks) == 1:
        return networks[0]
    counts = [len(network.names) for network in networks]
    if len(set(counts)) > 1:
        raise ValueError(f"the networks of an ensemble must have the same classes, but have {counts} classes")
    ensemble = Ensemble(networks)
    for name in ("names", "yaml"):
        setattr(ensemble, name, getattr(networks[0], name))
    ensemble.stride = max((network.stride for network in networks), key=lambda stride: float(stride.max()))
    return ensemble.eval()


def strip_optimizer(
    f: str | Path = "best.pt", s: str | Path = "", updates: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Turn the file of a running training into that of a finished one, without the optimizer.

    Args:
        f: the checkpoint.
        s: where to write the result; in place if empty.
        updates: keys of the file with new values.

    Returns:
        The content of the written file as the safe reader gives it; empty with a warning if it cannot be read.
    """
    target = Path(s) if s else Path(f)
    try:
        if s:
            copy_checkpoint(f, target)
        strip_checkpoint(target, **(updates or _NO_UPDATES))
        return dict(read_safely(target))
    except (OSError, ValueError) as e:
        LOGGER.warning(f"{f} is not a checkpoint whose optimizer can be removed: {e}")
        return {}


def _prepared(
    network: BaseModel, train_args: Mapping[str, Any], path: str, device: torch.device | None, fuse: bool
) -> BaseModel:
    network = network.to(device) if device is not None else network
    network.args = dict(train_args)
    vars(network)["pt_path"] = path  # of scripts; the class does not have it
    task = task_of_model_class(type(network).__name__)
    network.task = task.name if task else "detect"
    return network.fuse(verbose=False).eval() if fuse else network.eval()
