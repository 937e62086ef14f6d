"""Writes checkpoints: after a crash at any moment, a file is the old one or the new one, and whole.

Layout of a .pt file (that of 8.3.0; a dict in a torch zip archive):
    epoch            int, 0-based index of the finished epoch; -1 after the end of training
    best_fitness     float | None
    model, ema       the averaged network as a half-precision module: `ema` during training, `model` afterwards
    updates          int | None, steps of the moving average
    optimizer        state_dict | None
    train_args       dict, every setting of the run
    train_metrics    dict, metrics and validation losses of the epoch, and `fitness`
    train_results    dict of lists, the columns of results.csv
    date, version, license, docs
and two keys of this package, which other readers ignore:
    float32          state_dict of that network in full precision: it is loaded here, so that a file validates to the
                     same metrics as in training
    resume           state that an interrupted run needs to continue exactly; None after the end of training
A .safetensors file holds a finished network without a pickle; see safetensors_file.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import nn

from ultralytics.nn import module_tree
from ultralytics.nn.base import BaseModel
from ultralytics.nn.checkpoint import safetensors_file
from ultralytics.nn.checkpoint.reader import load_checkpoint
from ultralytics.nn.fuse import forget_unfused, fuse_layers
from ultralytics.nn.user_code import remove_user_code
from ultralytics.utils import LOGGER, IterableSimpleNamespace
from ultralytics.utils.files import atomic_write
from ultralytics.utils.torch_utils import copy_module, unwrap
from ultralytics.version import FULL_VERSION

LICENSE = "AGPL-3.0-or-later"
DOCS = "README.md and docs/ of this distribution"
_HISTORY = ("train_metrics", "train_results")


def save_checkpoint(path: str | Path, network: nn.Module, *, finished: bool, **content: Any) -> None:
    """Write a checkpoint.

    Args:
        path: target; its folder exists. The suffix .safetensors gives a file without pickle (finished networks only).
        network: the (averaged) network; copied, not changed.
        finished: True after the end of training: the network is stored as `model` instead of `ema`.
        content: further keys of the layout above.

    Raises:
        KeyError: `content` has a key that is not part of the layout.
        OSError: the file cannot be written.
        ValueError: a .safetensors file of an unfinished training.
    """
    plain = cast(BaseModel, unwrap(network))
    if Path(path).suffix.lower() == safetensors_file.SUFFIX:
        _save_safetensors(path, plain, finished, content)
        return
    half = _picklable_copy(plain).half()
    record: dict[str, Any] = {
        "epoch": -1,
        "best_fitness": None,
        "model": half if finished else None,
        "ema": None if finished else half,
        "updates": None,
        "optimizer": None,
        "train_args": {},
        "train_metrics": {},
        "train_results": {},
        "date": datetime.now().isoformat(),
        "version": FULL_VERSION,
        "license": LICENSE,
        "docs": DOCS,
        "float32": {key: value.detach().cpu() for key, value in plain.state_dict().items()},
        "resume": None,
    }
    unknown = content.keys() - record.keys()
    if unknown:
        raise KeyError(f"a checkpoint has no key {sorted(unknown)}")
    with _atomic(path) as file:
        torch.save(record | content, file)


def copy_checkpoint(source: str | Path, target: str | Path) -> None:
    """Copy a checkpoint as safely as `save_checkpoint` writes it."""
    with Path(source).open("rb") as old, _atomic(target) as new:
        shutil.copyfileobj(old, new)


def strip_checkpoint(path: str | Path, **updates: Any) -> None:
    """Turn the file of a running training into that of a finished one: network and history, no optimizer.

    Args:
        path: the file, which is replaced.
        updates: keys of the layout with new values.
    """
    old = load_checkpoint(path)
    kept = {key: old.content.get(key) for key in (*_HISTORY, "date")}
    save_checkpoint(path, old.network, finished=True, train_args=old.train_args, **{**kept, **updates})


def _save_safetensors(path: str | Path, network: BaseModel, finished: bool, content: dict[str, Any]) -> None:
    if not finished:
        raise ValueError(f"{path}: an unfinished training needs a .pt file; .safetensors holds finished networks")
    with torch.random.fork_rng(devices=[]):  # its random weights are not used
        plain = network.new_like()
    if network.is_fused():
        fuse_layers(plain.model, keep=False)
    plain_modules = dict(plain.named_modules())
    for name, pair in _own_batch_norm(network).items():  # these are part of the description
        if isinstance(module := plain_modules.get(name), nn.BatchNorm2d):
            module.eps, module.momentum = pair
    if edits := module_tree.differences(network, plain):
        raise ValueError(
            f"{path}: a .safetensors file holds networks as their model file describes them, but this one was edited "
            f"({module_tree.summary(edits)}); use a .pt file"
        )
    description = {
        "network": type(network).__name__,
        "yaml": network.yaml,
        "names": network.names,
        "version": FULL_VERSION,
        "date": content.get("date") or datetime.now().isoformat(),
        "license": LICENSE,
        "batch_norm": _own_batch_norm(network),
    }
    kept = {key: content.get(key, {}) for key in ("train_args", *_HISTORY)}
    safetensors_file.write(path, network.state_dict(), description | kept)


def _own_batch_norm(network: BaseModel) -> dict[str, tuple[float, float | None]]:
    """Epsilon and momentum of the batch normalizations that do not have those of the network's class."""
    norms = {name: m for name, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
    settings = {name: (m.eps, m.momentum) for name, m in norms.items()}
    return {name: pair for name, pair in settings.items() if pair != network.batch_norm}


def _picklable_copy(network: BaseModel) -> BaseModel:
    """Copy of a network on the CPU without loss object and settings object, so that every reader can unpickle it."""
    criterion = vars(network).pop("criterion", None)  # not copied: it holds the assigner's buffers
    try:
        copy = copy_module(network).cpu().eval()
    finally:
        if criterion is not None:
            network.criterion = criterion
    copy.criterion = None
    forget_unfused(copy)
    if count := remove_user_code(copy):
        LOGGER.warning(f"hooks and replaced methods of {count} modules are code, and are not saved")
    settings = getattr(copy, "args", None)
    if isinstance(settings, IterableSimpleNamespace):
        copy.args = dict(settings)
    return copy.requires_grad_(False)


@contextmanager
def _atomic(path: str | Path) -> Iterator[IO[bytes]]:
    try:
        with atomic_write(path) as file:
            yield file
    except (OSError, RuntimeError) as e:  # torch reports a full disk as a RuntimeError about positions in the file
        raise OSError(f"{path} could not be written: {e}. Is the disk full? An existing file is unchanged.") from e
