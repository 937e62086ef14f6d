"""A network made ready to run: a copy, so that what prediction and validation do to it never reaches the user's own."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ultralytics.engine.packed import pack_convolutions
from ultralytics.utils.torch_utils import keep_freed_memory

SAMPLES = 64  # elements of each weight that are looked at for changes


@dataclass(frozen=True)
class _Ready:
    """A copy that runs, and what its original looked like when the copy was made."""

    network: nn.Module
    place: tuple[torch.device, bool]
    stamps: list[int]
    samples: list[Tensor]  # views of the original's weights
    norms: list[float]

    def serves(self, model: nn.Module, place: tuple[torch.device, bool]) -> bool:
        """Whether the copy is still one of `model`, for that place."""
        return self.place == place and self.stamps == _stamps(model) and self.norms == _norms(self.samples)


# by original: a loop that predicts picture by picture makes one copy
_READY: WeakKeyDictionary[nn.Module, _Ready] = WeakKeyDictionary()


def ready_network(model: nn.Module, device: torch.device, half: bool) -> Any:
    """A copy of `model` on `device` that is made for running: normalisation merged, channels last, no gradients.

    The copy is kept as long as `model` lives and is the same; a change of its weights or layers makes a new one.
    """
    place = (device, half)
    kept = _READY.get(model)
    if kept is not None and kept.serves(model, place):
        return kept.network
    if device.type == "cpu":
        keep_freed_memory()
    copied: Any = deepcopy(model)
    network = copied.eval().requires_grad_(False).to(device).fuse(verbose=False)
    network = (network.half() if half else network.float()).to(memory_format=torch.channels_last)
    pack_convolutions(network)
    samples = _samples(model)
    _READY[model] = _Ready(network, place, _stamps(model), samples, _norms(samples))
    return network


def _stamps(model: nn.Module) -> list[int]:
    """Which modules and tensors there are, and how often torch saw each tensor change."""
    # walked by hand, because this runs at every call and modules() alone takes longer
    modules = [model]
    stamps: list[int] = []
    for m in modules:
        stamps.append(id(m))
        modules.extend(child for child in m._modules.values() if child is not None)
        for part in (m._parameters, m._buffers):
            for t in part.values():
                if t is not None:
                    stamps += (t.data_ptr(), 0 if t.is_inference() else t._version)
    return stamps


def _samples(model: nn.Module) -> list[Tensor]:
    """A few elements of every parameter, spread over its memory; they follow changes that torch does not count."""
    found = (p.detach() for p in model.parameters() if p.numel())
    return [p.as_strided((min(SAMPLES, p.numel()),), (max(p.numel() // SAMPLES, 1),)) for p in found]


def _norms(samples: list[Tensor]) -> list[float]:
    # a change through `.data` or a shared array, such as pruning, leaves no other trace
    with torch.no_grad():
        return torch.stack(torch._foreach_norm(samples)).tolist() if samples else []
