"""The plan of a weight transfer: every tensor that is copied from a row of the source to its counterpart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ultralytics.nn import modules
from ultralytics.nn.modules import Attention, Pose
from ultralytics.nn.transfer.alignment import Row
from ultralytics.nn.transfer.channel_mapping import (
    ChannelMap,
    block_parts,
    class_layers,
    input_parts,
    map_by_origin,
    map_parts,
    origin,
)
from ultralytics.nn.transfer.module_pairs import (
    Pair,
    compatible,
    effective_tensors,
    join_name,
    own_tensors,
    pair_modules,
)

_STANDARD = (*(getattr(modules, name) for name in modules.__all__), nn.Sequential, nn.ModuleList)
_LEAVES = (nn.Conv2d, nn.BatchNorm2d)


@dataclass
class TensorCopy:
    """One tensor that is copied.

    Attributes:
        row: number of the target's row.
        name: of the target tensor in its row.
        source_name: of the source tensor in its network's state_dict.
        out: map of dimension 0, None to copy the whole tensor.
        inner: map of dimension 1, None for equal widths.
    """

    row: int
    name: str
    source_name: str
    source: Tensor
    target: Tensor
    out: ChannelMap | None = None
    inner: ChannelMap | None = None

    @property
    def whole(self) -> bool:
        """Whether all elements of both tensors take part."""
        return self.source.shape == self.target.shape and self.count == self.target.numel()

    @property
    def count(self) -> int:
        """Number of elements that are copied."""
        count = self.target.numel()
        for dim, channels in enumerate((self.out, self.inner)):
            if channels:
                count = count // self.target.shape[dim] * len(channels.target)
        return count

    def run(self) -> None:
        """Copy, in place, into the target's dtype and device."""
        source = self.source.to(device=self.target.device, dtype=self.target.dtype)
        if self.out is None:
            self.target.copy_(source)
            return
        source_rows, target_rows = (torch.tensor(x, device=source.device) for x in (self.out.source, self.out.target))
        values = source[source_rows]
        if self.inner is not None:
            widened = values.new_zeros((len(target_rows), *self.target.shape[1:]))  # new inputs have no effect at first
            widened[:, self.inner.target] = values[:, self.inner.source]
            values = widened
        self.target[target_rows] = values


class TransferPlan:
    """All copies between two aligned networks.

    Args:
        source, target: rows of the two networks.
        pairs: number of the counterpart in `source` for rows of `target`.
        classes: which classes correspond.

    Attributes:
        copies: what is copied, in the order of the target's rows.
    """

    def __init__(
        self, source: Sequence[Row], target: Sequence[Row], pairs: Mapping[int, int], classes: ChannelMap
    ) -> None:
        self.source, self.target, self.pairs, self.classes = source, target, pairs, classes
        self.copies: list[TensorCopy] = []
        self._source_inputs, self._target_inputs = input_parts(source), input_parts(target)
        self._aligned_sources = set(pairs.values())
        # modules below are those of the target
        self._initialized: set[nn.Module] = set()  # modules with weights of a counterpart of the same class
        self._opaque: set[nn.Module] = set()  # modules whose channels have another meaning in the counterpart
        self._class_layers: set[nn.Module] = set()
        self._parts: dict[nn.Module, tuple[tuple[int, int], tuple[int, int]]] = {}  # (out, in) parts, both networks
        self._counterparts: dict[nn.Module, tuple[nn.Module, ChannelMap | None]] = {}  # with the map of its output
        for j in sorted(pairs):
            self._plan_row(j)

    @property
    def has_class_layer(self) -> bool:
        """Whether the heads of both networks are aligned and have class layers."""
        return bool(self._class_layers)

    @property
    def transferred_classes(self) -> list[int]:
        """Numbers of the target's classes whose rows are copied."""
        return self.classes.target if self._class_layers & self._counterparts.keys() else []

    def is_initialized(self, module: nn.Module) -> bool:
        """Whether a module of the target gets weights of a counterpart of its class."""
        return module in self._initialized

    def _plan_row(self, j: int) -> None:
        source, target = self.source[self.pairs[j]].module, self.target[j].module
        pairs = list(pair_modules(source, target))
        for _, a, _, b in pairs:
            self._note_meaning_of_channels(a, b)
        norms = _norm_sources(source), _norm_sources(target)
        for pair in pairs:
            self._plan_module(j, pair, norms)
        names = [c.name for c in self.copies if c.row == j]
        for _, a, b_name, b in pairs:
            prefix = f"{b_name}." if b_name else ""
            if type(a) is type(b) and any(name.startswith(prefix) for name in names):
                self._initialized.add(b)

    def _note_meaning_of_channels(self, a: nn.Module, b: nn.Module) -> None:
        if class_layers(a):
            self._class_layers.update(class_layers(b))
        if isinstance(a, Attention) and isinstance(b, Attention) and a.head_dim != b.head_dim:
            self._opaque.update(b.modules())
        if isinstance(a, Pose) and isinstance(b, Pose):
            self._note_keypoints(a, b)
        source_parts, target_parts = block_parts(a), block_parts(b)
        for name in target_parts.keys() & source_parts.keys():
            self._parts[b.get_submodule(f"{name}.conv")] = source_parts[name], target_parts[name]

    def _note_keypoints(self, a: Pose, b: Pose) -> None:
        for layer in (branch[-1] for branch in b.cv4 if isinstance(branch, nn.Sequential)):
            if a.kpt_shape[0] == b.kpt_shape[0]:
                self._parts[layer] = (a.kpt_shape[0], 1), (b.kpt_shape[0], 1)  # x, y and perhaps visibility of each
            else:
                self._opaque.add(layer)

    def _plan_module(self, j: int, pair: Pair, norms: tuple[dict, dict]) -> None:
        a_name, a, b_name, b = pair
        source, target = effective_tensors(a), own_tensors(b)
        if not source or not target or not compatible(a, b):
            return
        maps = self._maps(j, pair, norms)
        if maps is None:
            return
        out, inner = maps
        if out is None and any(source[k].shape != target[k].shape for k in target if k in source):
            return
        self._counterparts[b] = a, out
        prefix = f"model.{self.pairs[j]}."
        for key, tensor in target.items():
            if key not in source:
                continue
            dims = (out, inner) if tensor.ndim > 1 else (out, None) if tensor.ndim else (None, None)
            source_name = prefix + join_name(a_name, key)
            self.copies.append(TensorCopy(j, join_name(b_name, key), source_name, source[key], tensor, *dims))

    def _maps(self, j: int, pair: Pair, norms: tuple[dict, dict]) -> tuple[ChannelMap | None, ChannelMap | None] | None:
        """Maps of output and input channels; None if nothing of the pair can be transferred."""
        _, a, b_name, b = pair
        if isinstance(a, nn.BatchNorm2d) and isinstance(b, nn.BatchNorm2d):
            conv = norms[1].get(b)
            if conv is None:
                return (None if a.num_features == b.num_features else map_parts(a.num_features, b.num_features)), None
            # its statistics are those of this convolution's output
            counterpart, out = self._counterparts.get(conv, (None, None))
            if counterpart is None or counterpart is not norms[0].get(a):
                return None
            return None if out is not None and out.total != b.num_features else (out, None)
        if isinstance(a, nn.Linear) and isinstance(b, nn.Linear) and b in self._class_layers:
            same_width = a.in_features == b.in_features
            return self.classes, None if same_width else map_parts(a.in_features, b.in_features)
        standard = b not in self._opaque and _is_standard(self.target[j].module, b_name)
        if isinstance(a, nn.Conv2d) and isinstance(b, nn.Conv2d) and standard:
            out, inner = self._conv_maps(j, a, b)
            return (out, inner) if out.target and (inner is None or inner.target) else None
        return None, None

    def _conv_maps(self, j: int, a: nn.Conv2d, b: nn.Conv2d) -> tuple[ChannelMap, ChannelMap | None]:
        (out_a, in_a), (out_b, in_b) = self._parts.get(b, ((1, 1), (1, 1)))
        if b in self._class_layers:
            out = self.classes
        else:
            out = map_parts(a.out_channels, b.out_channels, (out_a, out_b))
        if b.groups > 1:
            return out, None
        source, target = self._source_inputs[self.pairs[j]], self._target_inputs[j]
        reads_whole_input = [c.in_channels == sum(n for _, n in p) for c, p in ((a, source), (b, target))]
        if all(reads_whole_input) and (in_a, in_b) == (1, 1):
            return out, map_by_origin(source, target, self._same_origin)
        return out, map_parts(a.in_channels, b.in_channels, (in_a, in_b))

    def _same_origin(self, i: int, j: int) -> bool:
        j = origin(self.target, j, lambda x: x in self.pairs)
        return self.pairs.get(j, -2) == origin(self.source, i, lambda x: x in self._aligned_sources)


def _is_standard(row: nn.Module, name: str) -> bool:
    """Whether a module of a row is nested in standard blocks only; their channels mean the same at every width."""
    steps = name.split(".") if name else []
    path = [row] + [row.get_submodule(".".join(steps[: k + 1])) for k in range(len(steps))]
    return all(isinstance(m, _STANDARD + _LEAVES) for m in path)


def _norm_sources(row: nn.Module) -> dict[nn.Module, nn.Module]:
    """The convolution before every batch normalization of a row."""
    sources: dict[nn.Module, nn.Module] = {}
    last: nn.Module | None = None
    for m in row.modules():
        if isinstance(m, nn.BatchNorm2d) and last is not None:
            sources[m] = last
        elif not m._modules and m._parameters:
            last = m
    return sources
