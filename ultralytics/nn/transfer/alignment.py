"""Alignment of two networks: which row of one is the counterpart of which row of the other.

Two networks are two sequences of rows. A pair of rows has a score: higher the more related their types, the more of
their weights fit, and the more similar their position, that is map size, backbone or head, rows they read and rows that
read them. The alignment is the order-preserving choice of pairs with the greatest sum (Needleman and Wunsch 1970, with
gaps that cost nothing). Which rows a row is connected to depends on the alignment itself, so it is repeated until it
no longer changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from ultralytics.nn.transfer.module_pairs import best_pairs, fit_share, is_repeated, related
from ultralytics.nn.transfer.network import Network

ROUNDS = 5  # usually two; the bound is for networks in which two choices have the same sum
# parts of a pair's score; only the order of the sums matters
SAME_TYPE, RELATED_TYPE, REPLACED = 1.0, 0.5, 0.2
FIT = 2.0  # times the share of weights that fit
SAME_STRIDE, SAME_PART = 2.0, 0.2  # the widths of another scale must not outweigh the map size
SAME_CONNECTIONS = 0.5  # once for the rows it reads, once for those that read it
NO_WEIGHTS = 0.3  # rows without weights, such as Concat, only help to align the others


@dataclass(frozen=True)
class Row:
    """One row of a network.

    Attributes:
        module: its module, a Sequential if the row is repeated.
        sources: numbers of the rows it reads, -1 for the image.
        in_backbone: whether it belongs to the backbone.
        channels: of its output.
        stride: pixels of the image per cell of its output.
        num_weights: number of its tensors.
    """

    module: nn.Module
    sources: tuple[int, ...]
    in_backbone: bool
    channels: int
    stride: float
    num_weights: int

    @property
    def type(self) -> type[nn.Module]:
        """Class of the row's module, or of its copies if it is repeated."""
        if isinstance(self.module, nn.Sequential) and is_repeated(self.module):
            return type(self.module[0])
        return type(self.module)


def rows_of(network: Network) -> list[Row]:
    """The rows of a network, in order."""
    num_backbone = len(network.yaml["backbone"])
    rows = []
    for i, (module, (channels, stride)) in enumerate(zip(network.model, network.layer_sizes(), strict=True)):
        f = vars(module)["f"]
        sources = tuple(i + x if x < 0 else x for x in ([f] if isinstance(f, int) else f))
        rows.append(Row(module, sources, i < num_backbone, channels, stride, len(module.state_dict())))
    return rows


def align_rows(source: Sequence[Row], target: Sequence[Row]) -> dict[int, int]:
    """Number of the counterpart in `source` for every row of `target` that has one."""
    base_scores = [[_score(s, t) for t in target] for s in source]
    pairs: dict[int, int] = {}
    for _ in range(ROUNDS):
        previous = pairs
        source_links, target_links = _connections(source, set(previous.values())), _connections(target, set(previous))
        scores = [
            [
                x and x + SAME_CONNECTIONS * _overlap(source_links[i], target_links[j], previous)
                for j, x in enumerate(line)
            ]
            for i, line in enumerate(base_scores)
        ]
        pairs = {j: i for i, j in best_pairs(scores)}
        if pairs == previous:
            break
    return pairs


def _score(s: Row, t: Row) -> float:
    type_score = SAME_TYPE if s.type is t.type else RELATED_TYPE if related(s.type, t.type) else 0.0
    if not s.num_weights or not t.num_weights:
        if type_score < SAME_TYPE or s.num_weights or t.num_weights:
            return 0.0
        score = NO_WEIGHTS
    else:
        score = type_score + FIT * fit_share(s.module, t.module)
        if not score and (s.channels, s.stride) == (t.channels, t.stride) and len(s.sources) == len(t.sources):
            score = REPLACED  # another module at the same position: no weights to transfer, but it aligns the others
    if not score:
        return 0.0
    return score + SAME_STRIDE * (s.stride == t.stride) + SAME_PART * (s.in_backbone == t.in_backbone)


Connections = tuple[set[int], set[int]]  # rows that are read, and rows that read


def _connections(rows: Sequence[Row], aligned: set[int]) -> list[Connections]:
    """For every row the nearest aligned rows before and after it; rows in between are new and are skipped."""
    inputs: list[set[int]] = [set() for _ in rows]
    outputs: list[set[int]] = [set() for _ in rows]
    for i, row in enumerate(rows):
        inputs[i] = set().union(*({x} if x in aligned or x < 0 else inputs[x] for x in row.sources))
    for i in range(len(rows) - 1, -1, -1):
        for x in rows[i].sources:
            if x >= 0:
                outputs[x] |= {i} if i in aligned else outputs[i]
    return list(zip(inputs, outputs, strict=True))


def _overlap(source: Connections, target: Connections, pairs: dict[int, int]) -> float:
    """Intersection over union of the connections of two rows, summed over both directions; 0 … 2."""
    total = 0.0
    for source_rows, target_rows in zip(source, target, strict=True):
        expected = {pairs.get(x, x) for x in target_rows}
        total += len(source_rows & expected) / max(len(source_rows | expected), 1)
    return total
