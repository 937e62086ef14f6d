"""Which channels of a layer are which of its counterpart in another network, where widths, inputs or classes differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ultralytics.nn.modules import C2, C2PSA, C3, PSA, SPP, SPPF, C2f, Concat
from ultralytics.nn.transfer.alignment import Row

if TYPE_CHECKING:  # tasks.py imports this file
    from ultralytics.nn.tasks import BaseModel


@dataclass(frozen=True)
class Channels:
    """Which channel of the source becomes which of the target: two equally long lists, and the target's total."""

    source: list[int]
    target: list[int]
    total: int


def in_parts(n_source: int, n_target: int, parts: tuple[int, int] = (1, 1)) -> Channels:
    """First channels of every part; the parts of one side are equally wide."""
    wide = n_source // parts[0], n_target // parts[1]
    places = [(p, c) for p in range(min(parts)) for c in range(min(wide))]
    return Channels([p * wide[0] + c for p, c in places], [p * wide[1] + c for p, c in places], n_target)


def by_origin(
    source: Sequence[tuple[int, int]], target: Sequence[tuple[int, int]], same: Callable[[int, int], bool]
) -> Channels:
    """First channels of every part that comes from the same row; parts of unknown origin meet in their order."""
    free = list(range(len(source)))
    meets: dict[int, int] = {}
    for j, (row, _) in enumerate(target):
        found = next((i for i in free if same(source[i][0], row)), None)
        if found is not None:
            meets[j] = found
            free.remove(found)
    for j in range(len(target)):
        if j not in meets and free:
            meets[j] = free.pop(0)
    a, b = ([sum(n for _, n in parts[:k]) for k in range(len(parts))] for parts in (source, target))
    places = [(i, j, c) for j, i in sorted(meets.items()) for c in range(min(source[i][1], target[j][1]))]
    total = sum(n for _, n in target)
    return Channels([a[i] + c for i, _, c in places], [b[j] + c for _, j, c in places], total)


def block_parts(block: Any) -> dict[str, tuple[int, int]]:
    """For convolutions of a block by name: of how many equal parts its output and its input are made."""
    if isinstance(block, C2 | C2f | C2PSA | PSA):
        return {"cv1": (2, 1), "cv2": (1, block.cv2.conv.in_channels // block.c)}
    if isinstance(block, SPP | SPPF):
        return {"cv2": (1, block.cv2.conv.in_channels // block.cv1.conv.out_channels)}
    if isinstance(block, C3):
        return {"cv3": (1, 2)}
    return {}


def input_parts(rows: Sequence[Row]) -> list[list[tuple[int, int]]]:
    """What every row's input is made of, in order: (row that made the channels, number of channels)."""
    made: list[list[tuple[int, int]]] = []
    parts = []
    for i, row in enumerate(rows):
        given = [part for x in row.sources for part in (made[x] if x >= 0 else [(-1, 0)])]
        parts.append(given)
        passes = not row.num_weights and sum(n for _, n in given) == row.channels
        made.append(
            given if passes and (isinstance(row.module, Concat) or len(row.sources) == 1) else [(i, row.channels)]
        )
    return parts


def origin(rows: Sequence[Row], i: int, known: Callable[[int], bool]) -> int:
    """Row `i`, or where it is not `known` the nearest known one above it along first inputs that kept the channels."""
    while i >= 0 and not known(i):
        above = rows[i].sources[0]
        if above < 0 or len(rows[i].sources) > 1 or rows[above].channels != rows[i].channels:
            return i
        i = above
    return i


def has_class_names(network: BaseModel) -> bool:
    """Whether the classes have names and not only the numbers of a new network."""
    return getattr(network, "named", False) or not _numbered(network)


def meet_by_name(source: BaseModel, target: BaseModel) -> bool:
    """Whether the names of the classes say which are the same."""
    if not has_class_names(target):
        return False
    # numbers that may be names are the same classes as numbers that are: the digits of a data set
    return has_class_names(source) or _numbered(target)


def same_classes(source: BaseModel, target: BaseModel) -> Channels:
    """Classes of one name, however written in capitals; by number where either has no names and both have as many."""
    theirs, ours = source.names, target.names
    if meet_by_name(source, target):
        rows: dict[str, list[int]] = {}
        for i, name in theirs.items():
            rows.setdefault(_plain(name), []).append(i)
        known = []
        for j, name in ours.items():
            if found := rows.get(_plain(name)):
                known.append((found[0], j))
                del found[: len(found) > 1]  # of two classes of one name the first meets the first
    else:  # numbers are no names: 0 is another class in every data set, unless it is the same list
        known = [(i, i) for i in theirs] if len(theirs) == len(ours) else []
    return Channels([i for i, _ in known], [j for _, j in known], len(ours))


def _numbered(network: BaseModel) -> bool:
    return all(name == str(i) for i, name in network.names.items())


def _plain(name: str) -> str:
    return str(name).strip().casefold()
