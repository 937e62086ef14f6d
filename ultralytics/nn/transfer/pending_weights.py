"""What a network was given by `load`, kept until its training knows the classes of the data.

Class rows are carried by name, and the width of a class branch follows the number of classes. A new network made from
a model file knows neither, so a part of what it is given finds no place in it, although the data may ask for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from ultralytics.nn.tasks import BaseModel
from ultralytics.nn.transfer.transfer import TransferReport, carry
from ultralytics.utils import LOGGER


class PendingWeights:
    """The networks that one network was given, and what has been changed in it by hand since."""

    def __init__(self) -> None:
        self._network: nn.Module | None = None
        self._sources: list[BaseModel] = []  # in the order of loading; empty while all found a place
        self._waiting: list[str] = []  # classes of theirs whose rows found no place
        self._digests: dict[str, tuple[Any, bytes]] = {}  # of the network's tensors after the last load
        self._edited: set[str] = set()  # tensors changed by hand before the last load, which left them as they were

    def load(self, network: BaseModel, source: BaseModel, *, mine: bool) -> TransferReport:
        """Carry `source` over to `network`, and remember it where it holds more than found a place.

        Args:
            network: what is given weights, in place.
            source: not changed.
            mine: False where somebody else holds `source` and may change it afterwards.
        """
        if network is not self._network:
            self._sources, self._waiting, self._edited = [], [], set()
        edited = self._edits(network)
        report = network.load(source)
        if self._sources or report.parameters_carried < report.source_parameters:
            self._sources.append(source if mine else deepcopy(source))
            self._network, self._digests = network, _digests(network)
            self._edited = edited - set(report.carried)
            known = {name.casefold() for name in report.classes}
            if report.classes_by:
                self._waiting += [name for name in source.names.values() if name.casefold() not in known]
        return report

    def waiting(self, network: BaseModel) -> list[str]:
        """Classes for which `network` was given weights that are not in it."""
        return self._waiting if network is self._network else []

    def start(self, network: BaseModel, names: Mapping[int, str]) -> BaseModel:
        """A network for classes of these names with all that was given; `network` itself if it has all that.

        What was changed by hand in `network` wins over what was given.
        """
        if network is not self._network:
            return network
        edited = self._edits(network)
        # DetectionModel and its like; BaseModel itself cannot be built
        start: BaseModel = type(network)(deepcopy(network.yaml), nc=len(names), verbose=False)  # type: ignore[call-arg]
        start.names, start.named = dict(names), True
        carry(network, start)
        for source in self._sources:
            LOGGER.info(f"Weights given by load(), for the classes of the data. {carry(source, start)}")
        if edited:
            carry(network, start, only=edited)
            LOGGER.info(f"{len(edited)} tensors were changed after load() and are kept as they are now")
        return start

    def _edits(self, network: BaseModel) -> set[str]:
        if not self._sources:
            return set()
        now = _digests(network)
        return self._edited | {name for name, digest in self._digests.items() if now.get(name) != digest}


def _digests(network: nn.Module) -> dict[str, tuple[Any, bytes]]:
    return {name: (tuple(t.shape), _digest(t)) for name, t in network.state_dict().items()}


def _digest(tensor: Tensor) -> bytes:
    # of every byte: changes through .data or numpy leave no other trace, and a copy of all weights would take more room
    raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
    return hashlib.blake2b(raw.numpy().data, digest_size=16).digest()
