"""The state of a network at some moment, to detect later changes of its layers, settings, hooks and weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

ROWS, COLUMNS = 8, 16  # elements of each tensor that are compared
SAMPLES = ROWS * COLUMNS
_NO_EFFECT = ("criterion", "args")  # attributes of a network that only training reads
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes: NaN equals NaN as an integer


class Fingerprint:
    """The state of a network; a comparison takes less than a millisecond.

    torch counts in-place changes of a tensor. A change through `.data` or a shared array is visible in the values only,
    of which SAMPLES per tensor are compared. The object holds the tables in which torch keeps a module's tensors and
    children, and these, but not the network itself.
    """

    def __init__(self, model: nn.Module) -> None:
        network, *modules = model.modules()
        tables = [table for m in (network, *modules) for table in (m._parameters, m._buffers, m._modules)]
        self._tables: list[dict[str, Any]] = tables
        self._entries = [entry for table in tables for entry in table.values()]  # kept, so that no id is reused
        self._attributes = [vars(m) for m in modules]
        self._values = [{key: _snapshot(value) for key, value in table.items()} for table in self._attributes]
        self._network_attributes = vars(network)
        self._network_values = self._of_network()
        attributes = [value for table in self._attributes for value in table.values() if isinstance(value, Tensor)]
        self._tensors = [entry for entry in self._entries if isinstance(entry, Tensor)] + attributes
        self._versioned = [t for t in self._tensors if not t.is_inference()]
        self._samples = [_samples(group) for group in _groups(self._tensors)]
        self._state, self._sampled = self._current_state(), self._current_samples()

    def matches(self) -> bool:
        """Whether the network still has the same entries with the same values, and the same settings and hooks."""
        try:
            settings_match = self._attributes == self._values and self._network_values == self._of_network()
        except (RuntimeError, ValueError):  # arrays and tensors that were replaced have no single answer
            return False
        if not settings_match or self._state != self._current_state():
            return False
        return all(torch.equal(a, b) for a, b in zip(self._sampled, self._current_samples(), strict=True))

    def _of_network(self) -> dict[str, Any]:
        """Attributes of the network itself; by id where they might refer to it and keep it alive."""
        values: dict[str, Any] = {}
        for key, value in self._network_attributes.items():
            if key not in _NO_EFFECT:
                is_plain = isinstance(value, (bool, int, float, str, list, tuple, dict))
                values[key] = _snapshot(value) if is_plain else id(value)
        return values

    def _current_state(self) -> tuple[list[int], list[int], list[int]]:
        entries = [id(entry) for table in self._tables for entry in table.values()]
        versions = [t._version for t in self._versioned]
        addresses = [t.data_ptr() for t in self._tensors]
        return entries, versions, addresses

    @torch.no_grad()
    def _current_samples(self) -> list[Tensor]:
        samples = [
            part for large, small in self._samples for part in (_joined(large, torch.stack), _joined(small, torch.cat))
        ]
        return [part.view(_INTEGERS[part.element_size()]) for part in samples]


def _snapshot(value: object) -> object:
    """The value as it is now; tables of tensors and children stay the same object, and are compared as such."""
    if type(value) is list:
        return list(value)
    if isinstance(value, dict) and all(not isinstance(entry, Tensor | nn.Module) for entry in value.values()):
        return value.copy()  # hooks, and dicts of settings
    return value


def _groups(tensors: list[Tensor]) -> list[list[Tensor]]:
    """Floating-point tensors with values, by device and dtype."""
    groups: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for tensor in tensors:
        if tensor.is_floating_point() and tensor.numel() and tensor.layout == torch.strided:
            groups.setdefault((tensor.device, tensor.dtype), []).append(tensor.detach())
    return list(groups.values())


def _samples(tensors: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Views of (ROWS, COLUMNS) elements of the large tensors, and of all elements of the small ones."""
    large, small = [], []
    for tensor in tensors:
        rows = tensor.numel() // ROWS
        if tensor.numel() < SAMPLES or not _is_dense(tensor):
            small.append(tensor.flatten()[:SAMPLES])
        else:  # strides that are no multiple of each other, so that a row or column of a weight is not missed
            large.append(tensor.as_strided((ROWS, COLUMNS), (rows, rows // (COLUMNS + 1) or 1)))
    return large, small


def _is_dense(tensor: Tensor) -> bool:
    channels_last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return channels_last or tensor.is_contiguous()


def _joined(parts: list[Tensor], join: Any) -> Tensor:
    joined: Tensor = join(parts) if parts else torch.zeros(0)
    return joined
