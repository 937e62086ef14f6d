"""Pairs of corresponding modules inside two aligned rows, and how much of their weights fits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from ultralytics.nn.modules import Detect

RELATED, FIT = 0.5, 2.0  # parts of the score of two modules in a Sequential; 1 for the same type

_DETECT_PARTS = ("cv2", "cv3", "dfl")  # box branches, class branches, and the layer that decodes the boxes

Pair = tuple[str, nn.Module, str, nn.Module]  # name and module in the source, name and module in the target


def pair_modules(source: nn.Module, target: nn.Module) -> Iterator[Pair]:
    """Pairs of corresponding modules inside two aligned rows, outer ones first; names are relative to the row.

    The modules of a Sequential are aligned like rows, the branches of a head by the stride of their level, all others
    by name. A repeated row corresponds to a single one in its first copy.
    """
    repeated = is_repeated(source), is_repeated(target)
    if repeated == (True, False):
        yield from _pairs("0", source.get_submodule("0"), "", target)
    elif repeated == (False, True):
        yield from _pairs("", source, "0", target.get_submodule("0"))
    else:
        yield from _pairs("", source, "", target)


def best_pairs(scores: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """Pairs (i, j), both ascending, with the greatest sum of scores[i][j]; pairs with score 0 are left out.

    Of several choices with the same sum, the one with the earliest pairs is returned.
    """
    n, m = len(scores), len(scores[0]) if scores else 0
    best = [[0.0] * (m + 1) for _ in range(n + 1)]  # greatest sum over what follows (i, j)
    for i in range(n - 1, -1, -1):
        for j in range(m - 1, -1, -1):
            paired = scores[i][j] + best[i + 1][j + 1] if scores[i][j] > 0 else 0.0
            best[i][j] = max(paired, best[i + 1][j], best[i][j + 1])
    pairs, i, j = [], 0, 0
    while i < n and j < m:
        if scores[i][j] > 0 and best[i][j] == scores[i][j] + best[i + 1][j + 1]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i][j + 1]:
            j += 1
        else:
            i += 1
    return pairs


def compatible(source: nn.Module, target: nn.Module) -> bool:
    """Whether the weights of one can be those of the other: same class, kernel and grouping; widths may differ."""
    if type(source) is not type(target):
        return False
    if isinstance(source, nn.Conv2d) and isinstance(target, nn.Conv2d):
        depthwise = [c.groups > 1 and c.groups == c.in_channels == c.out_channels for c in (source, target)]
        same_grouping = source.groups == target.groups or all(depthwise)
        return source.kernel_size == target.kernel_size and same_grouping and depthwise[0] == depthwise[1]
    return True


def related(a: type[nn.Module], b: type[nn.Module]) -> bool:
    """Whether two classes have a public base class in common, apart from PyTorch's containers."""
    bases = [c for c in a.__mro__ if c not in _GENERIC and not c.__name__.startswith("_")]
    return any(c in b.__mro__ for c in bases)


def fit_share(a: nn.Module, b: nn.Module) -> float:
    """Share of the elements of both that can be transferred, 0 … 1."""
    shared = 0
    for _, source, _, target in pair_modules(a, b):
        source_tensors, target_tensors = own_tensors(source), own_tensors(target)
        if source_tensors and target_tensors and compatible(source, target):
            shared += sum(_common(source_tensors[k], target_tensors[k]) for k in target_tensors if k in source_tensors)
    total = sum(x.numel() for m in (a, b) for x in m.state_dict().values())
    return 2 * shared / total if total else 0.0


def own_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers of a module without those of its children."""
    tensors: dict[str, Tensor | None] = {**module._parameters}
    tensors |= {k: v for k, v in module._buffers.items() if k not in module._non_persistent_buffers_set}
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def effective_tensors(module: nn.Module) -> dict[str, Tensor]:
    """As `own_tensors`, but weights that torch.nn.utils.prune has split into two are multiplied again."""
    tensors = own_tensors(module)
    for mask in [name for name in tensors if name.endswith("_mask")]:
        name = mask.removesuffix("_mask")
        if f"{name}_orig" in tensors:
            tensors[name] = tensors.pop(f"{name}_orig") * tensors.pop(mask)
    return tensors


def is_repeated(layer: nn.Module) -> bool:
    """Whether a layer is the Sequential that the parser makes of a repeated row; its `type` is that of the copies."""
    return isinstance(layer, nn.Sequential) and not str(getattr(layer, "type", "Sequential")).endswith("Sequential")


def join_name(*parts: str) -> str:
    """Dotted name of a module or tensor; empty parts are left out."""
    return ".".join(part for part in parts if part)


_GENERIC = {object, nn.Module, nn.Sequential, nn.ModuleList}  # base classes that say nothing about a module


def _common(a: Tensor, b: Tensor) -> int:
    return math.prod(map(min, a.shape, b.shape)) if a.ndim == b.ndim else 0


def _pairs(source_name: str, source: nn.Module, target_name: str, target: nn.Module) -> Iterator[Pair]:
    yield source_name, source, target_name, target
    for x, y in _children(source, target):
        yield from _pairs(
            join_name(source_name, x), source.get_submodule(x), join_name(target_name, y), target.get_submodule(y)
        )


def _children(source: nn.Module, target: nn.Module) -> list[tuple[str, str]]:
    if isinstance(source, Detect) and isinstance(target, Detect):
        return _branches(source, target)
    if isinstance(source, nn.Sequential) and isinstance(target, nn.Sequential):
        scores = [[_score(x, y) for y in target] for x in source]
        names = list(source._modules), list(target._modules)
        return [(names[0][i], names[1][j]) for i, j in best_pairs(scores)]
    return [(name, name) for name, child in target._modules.items() if child is not None and source._modules.get(name)]


def _score(source: nn.Module, target: nn.Module) -> float:
    if type(source) is type(target):
        return 1 + FIT * fit_share(source, target)
    return RELATED + FIT * fit_share(source, target) if related(type(source), type(target)) else 0.0


def _branches(source: Detect, target: Detect) -> list[tuple[str, str]]:
    """Children of two heads: lists with one branch per level by the stride of the level, other modules by name."""
    strides = source.stride.tolist(), target.stride.tolist()
    levels = [(strides[0].index(x), j) for j, x in enumerate(strides[1]) if x in strides[0]]
    if not levels:  # the whole network works at another resolution
        levels = [(j, j) for j in range(min(source.nl, target.nl))]
    names = [name for name in target._modules if name in source._modules]
    if _nearest_common_class(source, target) is Detect:
        # other branches of the same name, such as cv4, are mask coefficients in one head and angles in the other
        names = [name for name in names if name in _DETECT_PARTS]
    per_level = [name for name in names if _is_per_level(source, name) and _is_per_level(target, name)]
    others = [(name, name) for name in names if name not in per_level]
    return others + [(f"{name}.{i}", f"{name}.{j}") for name in per_level for i, j in levels]


def _nearest_common_class(a: nn.Module, b: nn.Module) -> type:
    return next(cls for cls in type(a).__mro__ if isinstance(b, cls))


def _is_per_level(head: Detect, name: str) -> bool:
    module = head._modules[name]
    return isinstance(module, nn.ModuleList) and len(module) == head.nl
