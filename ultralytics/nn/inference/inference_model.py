"""A network made ready to run: a copy, so that what prediction and validation do to it never reaches the user's own."""

from __future__ import annotations

import importlib
from copy import deepcopy
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ultralytics.nn.inference.onednn_fusion import fuse_onednn
from ultralytics.utils.torch_utils import keep_freed_memory

SAMPLES = 64  # elements of each parameter that are looked at for changes


class _Look:
    """What a network looked like at some moment, to tell later whether it changed; takes a third of a millisecond.

    It holds the tables in which torch keeps a module's parts, and the parts, but not the network itself.
    """

    def __init__(self, model: nn.Module) -> None:
        modules = list(model.modules())
        self._tables: list[dict[str, Any]] = [t for m in modules for t in (m._parameters, m._buffers, m._modules)]
        self._parts = [part for table in self._tables for part in table.values()]  # kept, so that no id is used again
        self._tensors = [part for part in self._parts if isinstance(part, Tensor)]
        self._counted = [t for t in self._tensors if not t.is_inference()]
        self._samples = [_sample(p) for p in model.parameters() if p.numel()]
        self._seen = self._state()

    def unchanged(self) -> bool:
        """Whether the network still has the same parts with the same values."""
        return self._seen == self._state()

    def _state(self) -> tuple[list[int], list[int], list[int], list[float]]:
        parts = [id(part) for table in self._tables for part in table.values()]
        versions = [t._version for t in self._counted]  # torch counts changes of a tensor in place
        places = [t.data_ptr() for t in self._tensors]
        # a change through `.data` or a shared array, such as pruning, leaves no other trace than the values
        with torch.no_grad():
            norms = torch.stack(torch._foreach_norm(self._samples)).tolist() if self._samples else []
        return parts, versions, places, norms


def _sample(weight: Tensor) -> Tensor:
    """A view of a few elements, spread over the tensor's memory."""
    number = weight.numel()
    return weight.detach().as_strided((min(SAMPLES, number),), (max(number // SAMPLES, 1),))


@dataclass(frozen=True)
class _Ready:
    """A copy that runs, where, and the look of its original."""

    network: nn.Module
    place: tuple[torch.device, bool]
    look: _Look


# by original: a loop that predicts picture by picture makes one copy
_READY: WeakKeyDictionary[nn.Module, _Ready] = WeakKeyDictionary()


def get_inference_model(model: nn.Module, device: torch.device, half: bool) -> Any:
    """A copy of `model` on `device` that is made for running: normalisation merged, channels last, no gradients.

    The copy is kept as long as `model` lives and is the same; a change of its weights or layers makes a new one.
    """
    place = (device, half)
    kept = _READY.get(model)
    if kept is not None and kept.place == place and kept.look.unchanged():
        return kept.network
    importlib.import_module("torchvision.ops")  # seconds that would count as the first picture's suppression
    if device.type == "cpu":
        keep_freed_memory()
    copied: Any = deepcopy(model)
    network = copied.eval().requires_grad_(False).to(device).fuse(verbose=False)
    network = (network.half() if half else network.float()).to(memory_format=torch.channels_last)
    fuse_onednn(network)
    _READY[model] = _Ready(network, place, _Look(model))
    return network
