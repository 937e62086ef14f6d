"""Which layer of one network stands where which layer of another stands: the alignment behind `carry`.

Two networks are two sequences of rows. A pair of rows is worth the more, the nearer their types, the more of their
weights fit, and the more alike their place is: map size, backbone or head, rows that feed them and that read them. The
alignment is the order-keeping choice of pairs of the greatest sum (Needleman and Wunsch 1970, with gaps that cost
nothing). Who feeds and reads a row is itself a matter of the alignment, so the choice is repeated until it stays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ultralytics.nn.modules import Detect

if TYPE_CHECKING:  # tasks.py imports this file
    from ultralytics.nn.tasks import BaseModel

ROUNDS = 5  # two are the rule; the bound is for networks in which two choices are worth the same
# what a pair of rows is worth; only the order of the sums matters
SAME_TYPE, RELATED_TYPE, REPLACED = 1.0, 0.5, 0.2
FIT = 2.0  # times the share of weights that fit
SAME_STRIDE, SAME_PART = 2.0, 0.2  # another scale's widths must not win over the map size
SAME_WIRING = 0.5  # once for the rows that feed it, once for those that read it
NO_WEIGHTS = 0.3  # rows without weights, such as Concat, only help to find one's way

Pair = tuple[str, nn.Module, str, nn.Module]  # name and module in the source, name and module in the target


@dataclass(frozen=True)
class Row:
    """One row of a network as the alignment sees it; `sources` are numbers of rows, -1 for the image."""

    module: Any
    sources: tuple[int, ...]
    in_backbone: bool
    channels: int
    stride: float
    num_weights: int

    @property
    def kind(self) -> type:
        """Class of the row's module, or of its copies where `repeats` made several."""
        return type(self.module[0] if _is_chain(self.module) else self.module)


def rows_of(network: BaseModel) -> list[Row]:
    """The rows of a network, in order."""
    in_backbone = len(network.yaml["backbone"])
    maps = getattr(network, "layer_maps", None) or _measure(network)
    rows = []
    for i, m in enumerate(network.model):
        f: Any = m.f
        given = [f] if isinstance(f, int) else f
        sources = tuple(i + x if x < 0 else x for x in given)
        channels, stride = maps[i]
        rows.append(Row(m, sources, i < in_backbone, channels, stride, len(m.state_dict())))
    return rows


def align_rows(source: Sequence[Row], target: Sequence[Row]) -> dict[int, int]:
    """Number of the row in `source` for every row of `target` that has a counterpart there."""
    alike = [[_likeness(s, t) for t in target] for s in source]
    pairs: dict[int, int] = {}
    for _ in range(ROUNDS):
        before = pairs
        theirs, ours = _wiring(source, set(before.values())), _wiring(target, set(before))
        worth = [
            [a and a + SAME_WIRING * _same_wiring(theirs[i], ours[j], before) for j, a in enumerate(line)]
            for i, line in enumerate(alike)
        ]
        pairs = {j: i for i, j in best_order(worth)}
        if pairs == before:
            break
    return pairs


def best_order(worth: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """Pairs (i, j), both rising, of the greatest sum of worth[i][j]; no pair is worth 0. Early pairs win a tie."""
    n, m = len(worth), len(worth[0]) if worth else 0
    best = [[0.0] * (m + 1) for _ in range(n + 1)]  # of what follows (i, j)
    for i in range(n - 1, -1, -1):
        for j in range(m - 1, -1, -1):
            paired = worth[i][j] + best[i + 1][j + 1] if worth[i][j] > 0 else 0.0
            best[i][j] = max(paired, best[i + 1][j], best[i][j + 1])
    pairs, i, j = [], 0, 0
    while i < n and j < m:
        if worth[i][j] > 0 and best[i][j] == worth[i][j] + best[i + 1][j + 1]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i][j + 1]:
            j += 1
        else:
            i += 1
    return pairs


def pair_modules(source: nn.Module, target: nn.Module) -> Iterator[Pair]:
    """The modules inside two aligned rows that stand for each other, outer ones first; names are relative to the row.

    Chains (Sequential) are aligned like rows, the branches of a head by the stride of their level, everything else by
    name. A row of several copies and a row of one meet in the first copy.
    """
    chains = _is_chain(source), _is_chain(target)
    if chains == (True, False):
        yield from _pairs("0", source[0], "", target)  # type: ignore[index]
    elif chains == (False, True):
        yield from _pairs("", source, "0", target[0])  # type: ignore[index]
    else:
        yield from _pairs("", source, "", target)


def fitting(source: nn.Module, target: nn.Module) -> bool:
    """Whether weights of one can be those of the other: equal class, kernel and way of grouping; widths may differ."""
    if type(source) is not type(target):
        return False
    if isinstance(source, nn.Conv2d) and isinstance(target, nn.Conv2d):
        depthwise = [c.groups > 1 and c.groups == c.in_channels == c.out_channels for c in (source, target)]
        grouped_alike = source.groups == target.groups or all(depthwise)
        return source.kernel_size == target.kernel_size and grouped_alike and depthwise[0] == depthwise[1]
    return True


def own_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and saved buffers of a module without those of its children."""
    found: dict[str, Tensor | None] = {**module._parameters}
    found |= {k: v for k, v in module._buffers.items() if k not in module._non_persistent_buffers_set}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def effective_tensors(module: nn.Module) -> dict[str, Tensor]:
    """As `own_tensors`, with the weights that torch.nn.utils.prune has split as they take effect, not in two parts."""
    found = own_tensors(module)
    for mask in [name for name in found if name.endswith("_mask")]:
        name = mask.removesuffix("_mask")
        if f"{name}_orig" in found:
            found[name] = found.pop(f"{name}_orig") * found.pop(mask)
    return found


def _measure(network: BaseModel) -> list[tuple[int, float]]:
    # an object that torch.load made out of a file of 8.3.0: building its like costs less than a wrong guess
    with torch.random.fork_rng(devices=[]):
        return type(network)(network.yaml, verbose=False).layer_maps  # type: ignore[call-arg]


# ---- worth of a pair -------------------------------------------------------------------------------------------------


def _likeness(s: Row, t: Row) -> float:
    kin = _kinship(s.kind, t.kind)
    if not s.num_weights or not t.num_weights:
        if kin < SAME_TYPE or s.num_weights or t.num_weights:
            return 0.0
        worth = NO_WEIGHTS
    else:
        worth = kin + FIT * _fit(s.module, t.module)
        if not worth and (s.channels, s.stride) == (t.channels, t.stride) and len(s.sources) == len(t.sources):
            worth = REPLACED  # another module in the same place: nothing to carry, but it shows where the others are
    if not worth:
        return 0.0
    return worth + SAME_STRIDE * (s.stride == t.stride) + SAME_PART * (s.in_backbone == t.in_backbone)


def _kinship(a: type, b: type) -> float:
    if a is b:
        return SAME_TYPE
    ours = [c for c in a.__mro__ if c not in _BARE and not c.__name__.startswith("_")]
    return RELATED_TYPE if any(c in b.__mro__ for c in ours) else 0.0


_BARE = {object, nn.Module, nn.Sequential, nn.ModuleList}  # what these share says nothing


def _fit(a: nn.Module, b: nn.Module) -> float:
    """Share of the elements of both that would be carried, 0 … 1."""
    shared = 0
    for _, s, _, t in pair_modules(a, b):
        theirs, ours = own_tensors(s), own_tensors(t)
        if theirs and ours and fitting(s, t):
            shared += sum(_overlap(theirs[k], ours[k]) for k in ours if k in theirs)
    total = sum(x.numel() for m in (a, b) for x in m.state_dict().values())
    return 2 * shared / total if total else 0.0


def _overlap(a: Tensor, b: Tensor) -> int:
    if a.ndim != b.ndim:
        return 0
    return math.prod(map(min, a.shape, b.shape))


Wiring = tuple[set[int], set[int]]


def _wiring(rows: Sequence[Row], known: set[int]) -> list[Wiring]:
    # for every row the nearest aligned rows before and behind it: what stands between is new and mostly passes on
    feeds: list[set[int]] = [set() for _ in rows]
    reads: list[set[int]] = [set() for _ in rows]
    for i, row in enumerate(rows):
        feeds[i] = set().union(*({x} if x in known or x < 0 else feeds[x] for x in row.sources))
    for i in range(len(rows) - 1, -1, -1):
        for x in rows[i].sources:
            if x >= 0:
                reads[x] |= {i} if i in known else reads[i]
    return list(zip(feeds, reads, strict=True))


def _same_wiring(s: Wiring, t: Wiring, pairs: dict[int, int]) -> float:
    total = 0.0
    for theirs, ours in zip(s, t, strict=True):
        wanted = {pairs.get(x, x) for x in ours}
        total += len(theirs & wanted) / max(len(theirs | wanted), 1)
    return total


# ---- inside a row ----------------------------------------------------------------------------------------------------


def _is_chain(layer: nn.Module) -> bool:
    # the reader of model files makes a Sequential of a repeated row and notes the type of the copies
    return isinstance(layer, nn.Sequential) and not str(getattr(layer, "type", "Sequential")).endswith("Sequential")


def _pairs(a_name: str, a: nn.Module, b_name: str, b: nn.Module) -> Iterator[Pair]:
    yield a_name, a, b_name, b
    for x, y in _children(a, b):
        yield from _pairs(_join(a_name, x), a.get_submodule(x), _join(b_name, y), b.get_submodule(y))


def _children(a: nn.Module, b: nn.Module) -> list[tuple[str, str]]:
    if isinstance(a, Detect) and isinstance(b, Detect):
        return _levels(a, b)
    if isinstance(a, nn.Sequential) and isinstance(b, nn.Sequential):
        worth = [[_chain_worth(x, y) for y in b] for x in a]
        names = list(a._modules), list(b._modules)
        return [(names[0][i], names[1][j]) for i, j in best_order(worth)]
    return [(name, name) for name, child in b._modules.items() if child is not None and a._modules.get(name)]


def _chain_worth(a: nn.Module, b: nn.Module) -> float:
    kin = _kinship(type(a), type(b))
    return kin and kin + FIT * _fit(a, b)


def _levels(a: Detect, b: Detect) -> list[tuple[str, str]]:
    strides = a.stride.tolist(), b.stride.tolist()
    levels = [(strides[0].index(x), j) for j, x in enumerate(strides[1]) if x in strides[0]]
    if not levels:  # the whole network works at another resolution
        levels = [(j, j) for j in range(min(a.nl, b.nl))]
    others = [name for name in b._modules if name not in ("cv2", "cv3") and name in a._modules]
    return [(n, n) for n in others] + [(f"{n}.{i}", f"{n}.{j}") for n in ("cv2", "cv3") for i, j in levels]


def _join(*parts: str) -> str:
    return ".".join(p for p in parts if p)
