"""Inference copies of networks: what prediction and validation change in a copy never reaches the user's network."""

from __future__ import annotations

import importlib
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ultralytics.nn.base import BaseModel
from ultralytics.nn.inference.onednn_fusion import fuse_onednn
from ultralytics.utils.torch_utils import keep_freed_memory

SAMPLES = 64  # elements of each parameter that are compared to detect changes


def get_inference_model(model: nn.Module, device: torch.device, half: bool) -> BaseModel:
    """A copy of `model` for inference: normalization merged, channels last, no gradients.

    The copy is cached as long as `model` exists and is unchanged; a change of its weights or layers makes a new one.

    Args:
        model: a network made from a model file; not changed.
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
    copied = cast(BaseModel, deepcopy(model))
    network = copied.eval().requires_grad_(False).to(device).fuse(verbose=False)
    network = (network.half() if half else network.float()).to(memory_format=torch.channels_last)
    fuse_onednn(network)
    _CACHE[model] = _Cached(network, key, _Fingerprint(model))
    return network


class _Fingerprint:
    """The state of a network at some moment, to detect later changes; a comparison takes a third of a millisecond.

    It holds the tables in which torch keeps a module's tensors and children, and these, but not the network itself.
    """

    def __init__(self, model: nn.Module) -> None:
        modules = list(model.modules())
        self._tables: list[dict[str, Any]] = [t for m in modules for t in (m._parameters, m._buffers, m._modules)]
        self._entries = [entry for table in self._tables for entry in table.values()]  # kept, so that no id is reused
        self._tensors = [entry for entry in self._entries if isinstance(entry, Tensor)]
        self._versioned = [t for t in self._tensors if not t.is_inference()]
        self._samples = [_sample(p) for p in model.parameters() if p.numel()]
        self._state = self._current_state()

    def matches(self) -> bool:
        """Whether the network still has the same entries with the same values."""
        return self._state == self._current_state()

    def _current_state(self) -> tuple[list[int], list[int], list[int], list[float]]:
        entries = [id(entry) for table in self._tables for entry in table.values()]
        versions = [t._version for t in self._versioned]  # torch counts in-place changes of a tensor
        addresses = [t.data_ptr() for t in self._tensors]
        # a change through `.data` or a shared array, such as pruning, is visible in the values only
        with torch.no_grad():
            norms = torch.stack(torch._foreach_norm(self._samples)).tolist() if self._samples else []
        return entries, versions, addresses, norms


def _sample(weight: Tensor) -> Tensor:
    """A view of a few elements, spread over the tensor's memory."""
    number = weight.numel()
    return weight.detach().as_strided((min(SAMPLES, number),), (max(number // SAMPLES, 1),))


@dataclass(frozen=True)
class _Cached:
    """An inference copy, its device and precision, and the state of the original that it was made from."""

    network: BaseModel
    key: tuple[torch.device, bool]
    fingerprint: _Fingerprint


# by original: a loop that predicts one image at a time makes one copy
_CACHE: WeakKeyDictionary[nn.Module, _Cached] = WeakKeyDictionary()
