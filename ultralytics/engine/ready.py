"""A network made ready to run: a copy, so that what prediction and validation do to it never reaches the user's own."""

from __future__ import annotations

from copy import deepcopy
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from ultralytics.engine.packed import pack_convolutions

# networks made ready to run, by the network they are copies of: a loop that predicts picture by picture makes one copy
_READY: WeakKeyDictionary[nn.Module, tuple[Any, nn.Module]] = WeakKeyDictionary()


def ready_network(model: nn.Module, device: torch.device, half: bool) -> Any:
    """A copy of `model` on `device` that is made for running: normalisation merged, channels last, no gradients.

    The copy is kept as long as `model` lives and is the same; any change of its weights or layers makes a new one.
    """
    key = (str(device), half, _fingerprint(model))
    kept = _READY.get(model)
    if kept is not None and kept[0] == key:
        return kept[1]
    copied: Any = deepcopy(model)
    network = copied.eval().requires_grad_(False).to(device).fuse(verbose=False)
    network = (network.half() if half else network.float()).to(memory_format=torch.channels_last)
    pack_convolutions(network)
    _READY[model] = (key, network)
    return network


def _fingerprint(model: nn.Module) -> tuple[list[int], list[tuple[int, int]], list[float]]:
    """Changes when layers are replaced and when tensors change.

    torch counts changes of a tensor itself, but not those through `.data`; for these the norm of each module's first
    parameter (the weight) is compared as well.
    """
    # walked by hand, and only one norm a module: this runs at every call, where modules() alone takes longer
    modules = [model]
    for m in modules:
        modules.extend(child for child in m._modules.values() if child is not None)
    tensors = [t for m in modules for part in (m._parameters, m._buffers) for t in part.values() if t is not None]
    weights = [next(iter(m._parameters.values()), None) for m in modules]
    with torch.no_grad():
        norms = torch._foreach_norm([w for w in weights if w is not None])
        sums = torch.stack(norms).tolist() if norms else []
    stamps = [(t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors]
    return list(map(id, modules)), stamps, sums
