"""Weights given by `load` that wait for the classes of the data.

Class rows are transferred by name, and the width of a class branch depends on the number of classes. A new network made
from a model file knows neither, so a part of the given weights may not fit yet, although the data need it. When the
classes are known, the transfers are done again onto a network with these classes. Tensors that were edited in between
are recognized by repeating the first transfers, and are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from ultralytics.nn.transfer.network import Network
from ultralytics.nn.transfer.report import TransferReport
from ultralytics.nn.transfer.transfer import transfer_weights
from ultralytics.utils import LOGGER

N = TypeVar("N", bound=Network)


@dataclass
class _Transfer:
    """A network whose weights were transferred, and the class names of the target before that."""

    source: Network
    names: dict[int, str]
    named: bool


class PendingWeights:
    """The transfers to one network that did not use all weights of their sources."""

    def __init__(self) -> None:
        self._network: Network | None = None
        self._transfers: list[_Transfer] = []  # in the order of loading; empty while all weights were used
        self._initial: dict[str, Tensor] = {}  # values of tensors that the first transfer did not write whole
        self._waiting: list[str] = []  # classes of the sources whose rows were not used

    def load(self, network: Network, source: Network, *, copy: bool) -> TransferReport:
        """Transfer the weights of `source` to `network`, and remember it if a part of them was not used.

        Args:
            network: changed in place.
            source: not changed.
            copy: remember a copy of `source`, which the caller may change afterwards.
        """
        if network is not self._network:
            self._transfers, self._waiting = [], []
        names, named = dict(network.names), network.named
        before = {} if self._transfers else {name: tensor.clone() for name, tensor in network.state_dict().items()}
        report = transfer_weights(source, network)
        LOGGER.info(str(report))
        if self._transfers or report.parameters_transferred < report.source_parameters:
            if not self._transfers:
                self._initial = {name: before[name] for name in (*report.new, *report.partly)}
            self._transfers.append(_Transfer(deepcopy(source) if copy else source, names, named))
            self._network = network
            if report.classes_by:
                used = {name.casefold() for name in report.classes}
                self._waiting += [name for name in source.names.values() if name.casefold() not in used]
        return report

    def waiting_classes(self, network: Network) -> list[str]:
        """Classes whose weights were given to `network` but are not in it."""
        return self._waiting if network is self._network else []

    def complete(self, network: N, names: Mapping[int, str]) -> N:
        """A network for classes of these names with all weights that were given; `network` itself if it has them all.

        Tensors of `network` that were edited after `load` replace those that were given.
        """
        if network is not self._network:
            return network
        edited = self._edited_tensors(network)
        result = network.new_like(nc=len(names))
        result.names, result.named = dict(names), True
        transfer_weights(network, result)
        for transfer in self._transfers:
            report = transfer_weights(transfer.source, result)
            LOGGER.info(f"Weights given by load(), for the classes of the data. {report}")
        if edited:
            transfer_weights(network, result, only=edited)
            LOGGER.info(f"{len(edited)} tensors were edited after load() and are kept as they are now")
        return result

    @torch.no_grad()
    def _edited_tensors(self, network: Network) -> set[str]:
        """Names of tensors that differ from the result of the same transfers onto the same initial values."""
        current = network.state_dict()
        with torch.random.fork_rng(devices=[]):  # its random weights are overwritten below
            repeated = network.new_like()
        values = repeated.state_dict()
        for name, tensor in self._initial.items():
            if name in values and values[name].shape == tensor.shape:
                values[name].copy_(tensor)
        for transfer in self._transfers:
            repeated.names, repeated.named = transfer.names, transfer.named
            transfer_weights(transfer.source, repeated)
        return {name for name, tensor in values.items() if not _equal(current.get(name), tensor)}


def _equal(current: Tensor | None, expected: Tensor) -> bool:
    if current is None or current.shape != expected.shape:
        return False
    return torch.equal(current, expected.to(current))
