"""Inference copies of networks: what prediction and validation change in a copy never reaches the user's network."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import cast
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn.modules import module as torch_module
from torch.nn.utils import prune

from ultralytics.nn.base import BaseModel
from ultralytics.nn.fuse import forget_unfused
from ultralytics.nn.inference.fingerprint import Fingerprint
from ultralytics.nn.inference.onednn_fusion import fuse_onednn
from ultralytics.nn.user_code import changes_forward
from ultralytics.utils import LOGGER
from ultralytics.utils.torch_utils import copy_module, keep_freed_memory


def get_inference_model(model: nn.Module, device: torch.device, half: bool) -> BaseModel:
    """A copy of `model` for inference: normalization merged, channels last, no gradients.

    The copy is cached as long as `model` exists and is unchanged; a change of its weights, layers or settings makes a
    new one. A network with forward hooks or replaced methods runs itself, because these refer to its own layers: it is
    then moved to `device` and set to evaluation mode, and keeps its precision.

    Args:
        model: a network made from a model file.
        device: of the copy.
        half: float16 weights instead of float32.
    """
    key = (device, half)
    cached = _CACHE.get(model)
    if cached is not None and cached.key == key and cached.fingerprint.matches():
        return cached.network
    importlib.import_module("torchvision.ops")  # takes seconds, which would count as the first image's suppression
    if device.type == "cpu":
        keep_freed_memory()
    if _has_code_of_users(model):
        _CACHE.pop(model, None)
        return _prepared_in_place(cast(BaseModel, model), device, half)
    network = _prepared_copy(cast(BaseModel, model), device, half)
    _CACHE[model] = _Cached(network, key, Fingerprint(model))
    return network


def _prepared_copy(model: BaseModel, device: torch.device, half: bool) -> BaseModel:
    network = copy_module(model)
    for m in network.modules():
        for hook in [h for h in m._forward_pre_hooks.values() if isinstance(h, prune.BasePruningMethod)]:
            prune.remove(m, hook._tensor_name)  # merging reads the weights without running the layer
    network = network.eval().requires_grad_(False).to(device).fuse(verbose=False)
    forget_unfused(network)
    network = (network.half() if half else network.float()).to(memory_format=torch.channels_last)
    fuse_onednn(network)
    return network


def _prepared_in_place(model: BaseModel, device: torch.device, half: bool) -> BaseModel:
    if half:
        LOGGER.warning("half=True has no effect on a network with forward hooks or replaced methods: it runs itself")
    if any(p.device != device for p in model.parameters()):
        model.to(device)
    return model.eval()


def _has_code_of_users(model: nn.Module) -> bool:
    """Whether hooks or replaced methods belong to the very objects of this network."""
    if torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks:
        return True
    return any(changes_forward(m) for m in model.modules())


@dataclass(frozen=True)
class _Cached:
    """An inference copy, its device and precision, and the state of the original that it was made from."""

    network: BaseModel
    key: tuple[torch.device, bool]
    fingerprint: Fingerprint


# by original: a loop that predicts one image at a time makes one copy
_CACHE: WeakKeyDictionary[nn.Module, _Cached] = WeakKeyDictionary()
