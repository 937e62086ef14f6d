"""Which channels of a layer correspond to which of its counterpart, where widths, inputs or classes differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from ultralytics.nn.modules import C2, C2PSA, C3, PSA, SPP, SPPF, C2f, Classify, Concat, Detect
from ultralytics.nn.transfer.alignment import Row
from ultralytics.nn.transfer.network import Network

_CLASS_BRANCHES = ("cv3", "one2one_cv3")  # of detection heads, one branch per level

Part = tuple[int, int]  # row that computed the channels, number of channels


@dataclass(frozen=True)
class ChannelMap:
    """Channel source[k] of the source becomes channel target[k] of the target, which has `total` channels."""

    source: list[int]
    target: list[int]
    total: int


def map_parts(n_source: int, n_target: int, parts: tuple[int, int] = (1, 1)) -> ChannelMap:
    """The first channels of every part, where source and target have `parts` parts of equal width each."""
    widths = n_source // parts[0], n_target // parts[1]
    pairs = [(p, c) for p in range(min(parts)) for c in range(min(widths))]
    return ChannelMap([p * widths[0] + c for p, c in pairs], [p * widths[1] + c for p, c in pairs], n_target)


def map_by_origin(source: Sequence[Part], target: Sequence[Part], same: Callable[[int, int], bool]) -> ChannelMap:
    """The first channels of every part computed by corresponding rows; parts without one are matched in order.

    Args:
        source, target: the parts of the two inputs, in order.
        same: whether a row of the source is the counterpart of a row of the target.
    """
    free = list(range(len(source)))
    matches: dict[int, int] = {}
    for j, (row, _) in enumerate(target):
        match = next((i for i in free if same(source[i][0], row)), None)
        if match is not None:
            matches[j] = match
            free.remove(match)
    for j in range(len(target)):
        if j not in matches and free:
            matches[j] = free.pop(0)
    starts = [[sum(n for _, n in parts[:k]) for k in range(len(parts))] for parts in (source, target)]
    pairs = [(i, j, c) for j, i in sorted(matches.items()) for c in range(min(source[i][1], target[j][1]))]
    total = sum(n for _, n in target)
    return ChannelMap([starts[0][i] + c for i, _, c in pairs], [starts[1][j] + c for _, j, c in pairs], total)


def block_parts(block: nn.Module) -> dict[str, tuple[int, int]]:
    """For convolutions of a block by name: the number of equal parts of its output and of its input."""
    if isinstance(block, C2 | C2f | C2PSA | PSA):
        return {"cv1": (2, 1), "cv2": (1, block.cv2.conv.in_channels // block.c)}
    if isinstance(block, SPP | SPPF):
        return {"cv2": (1, block.cv2.conv.in_channels // block.cv1.conv.out_channels)}
    if isinstance(block, C3):
        return {"cv3": (1, 2)}
    return {}


def input_parts(rows: Sequence[Row]) -> list[list[Part]]:
    """The parts of every row's input, in order: a Concat keeps those of its inputs."""
    outputs: list[list[Part]] = []
    inputs = []
    for i, row in enumerate(rows):
        parts = [part for x in row.sources for part in (outputs[x] if x >= 0 else [(-1, 0)])]
        inputs.append(parts)
        same_width = not row.num_weights and sum(n for _, n in parts) == row.channels
        keeps_parts = same_width and (isinstance(row.module, Concat) or len(row.sources) == 1)
        outputs.append(parts if keeps_parts else [(i, row.channels)])
    return inputs


def origin(rows: Sequence[Row], i: int, known: Callable[[int], bool]) -> int:
    """Row `i`, or if it is not `known` the nearest known row before it along inputs with the same channel count."""
    while i >= 0 and not known(i):
        above = rows[i].sources[0]
        if above < 0 or len(rows[i].sources) > 1 or rows[above].channels != rows[i].channels:
            return i
        i = above
    return i


def class_layers(head: nn.Module) -> list[nn.Module]:
    """The layers of a head whose output channels are the classes."""
    if isinstance(head, Classify):
        return [head.linear]
    if not isinstance(head, Detect):
        return []
    lists = [head._modules.get(name) for name in _CLASS_BRANCHES]
    branches = [branch for layers in lists if isinstance(layers, nn.ModuleList) for branch in layers]
    return [branch[-1] for branch in branches if isinstance(branch, nn.Sequential)]


def has_class_names(network: Network) -> bool:
    """Whether the classes have names and not only the numbers of a new network."""
    return getattr(network, "named", False) or not _is_numbered(network)


def matched_by_name(source: Network, target: Network) -> bool:
    """Whether the class names say which classes are the same."""
    if not has_class_names(target):
        return False
    # numbers as names, such as the digits of a dataset, match the numbers of a network without names
    return has_class_names(source) or _is_numbered(target)


def map_classes(source: Network, target: Network) -> ChannelMap:
    """Classes of the same name, case ignored; by number where one has no names and both have as many classes."""
    if not matched_by_name(source, target):  # numbers are no names: class 0 is another class in every dataset
        pairs = [(i, i) for i in source.names] if len(source.names) == len(target.names) else []
    else:
        numbers: dict[str, list[int]] = {}
        for i, name in source.names.items():
            numbers.setdefault(_normalized(name), []).append(i)
        pairs = []
        for j, name in target.names.items():
            if same := numbers.get(_normalized(name)):
                pairs.append((same[0], j))
                del same[: len(same) > 1]  # of two classes with the same name the first matches the first
    return ChannelMap([i for i, _ in pairs], [j for _, j in pairs], len(target.names))


def _is_numbered(network: Network) -> bool:
    return all(name == str(i) for i, name in network.names.items())


def _normalized(name: str) -> str:
    return str(name).strip().casefold()
