"""Carrying weights over between networks of different architecture: what stands in the same place keeps its weights.

align.py says which layers stand for each other, however many rows were put in or taken out; here their tensors follow.
- Equal shape: copied. Normalisations go with the convolution before them: their statistics are those of its output.
- Another width: the first channels are carried, part by part where a dimension is made of parts (the inputs of a
  Concat, the halves of a C2f). A carried filter starts with 0 for channels that it did not read before, so that a
  network that was only widened or deepened computes at first what the smaller one did. Only in standard blocks: what
  the channels of another module mean is not known here.
- The class layer: row by row, by class name.
- A new module with a method `start_as_identity()`, a residual block, is told so: it changes nothing at first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from ultralytics.nn import modules
from ultralytics.nn.modules import Attention, Conv, Detect
from ultralytics.nn.transfer.alignment import (
    Pair,
    Row,
    align_rows,
    effective_tensors,
    fitting,
    own_tensors,
    pair_modules,
    rows_of,
)
from ultralytics.nn.transfer.channel_mapping import (
    Channels,
    block_parts,
    by_origin,
    has_class_names,
    in_parts,
    input_parts,
    meet_by_name,
    origin,
    same_classes,
)

if TYPE_CHECKING:  # tasks.py imports this file
    from ultralytics.nn.tasks import BaseModel

_STANDARD = (*(getattr(modules, name) for name in modules.__all__), nn.Sequential, nn.ModuleList)
_LEAVES = (nn.Conv2d, nn.BatchNorm2d)


@dataclass
class RowReport:
    """One row of the target: where it comes from and how much of it was carried."""

    number: int
    type: str
    source: int | None  # number of the row that stands for it in the source
    source_type: str = ""
    carried: list[str] = field(default_factory=list)  # names in the target's state_dict
    partly: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    identity: list[str] = field(default_factory=list)  # modules that start as the identity

    def __str__(self) -> str:
        if self.source is None:
            origin = "new"
        elif self.type == self.source_type:
            origin = f"from {self.source}"
        else:
            origin = f"from {self.source} {self.source_type}"
        counts = {"carried": self.carried, "in part": self.partly, "new": self.new}
        told = [f"{len(names)} {word}" for word, names in counts.items() if names]
        if self.identity:
            blocks = " and ".join(self.identity) if len(self.identity) < 3 else f"{len(self.identity)} blocks"
            told.append(f"{blocks} starting as the identity".strip())
        return f"{self.number:>5}  {self.type:<26} {origin:<18} {', '.join(told)}"


@dataclass
class TransferReport:
    """What `carry` did. Tensors are entries of state_dict, shares are shares of trained and fixed parameters."""

    rows: list[RowReport]
    left: list[str]  # tensors of the source that found no place at all
    parameters: int  # of the target
    parameters_carried: int  # of the target, those that hold a value of the source
    source_parameters: int
    source_parameters_carried: int
    classes: list[str] = field(default_factory=list)  # names of the classes whose rows were carried
    num_classes: int = 0  # of the target
    classes_by: Literal["name", "number", ""] = ""  # how they met; "" where no class layer has a counterpart

    @property
    def carried(self) -> list[str]:
        """Names of the target's tensors that were carried whole."""
        return [name for row in self.rows for name in row.carried]

    @property
    def partly(self) -> list[str]:
        """Names of the target's tensors that were carried in part, because their widths or classes differ."""
        return [name for row in self.rows for name in row.partly]

    @property
    def new(self) -> list[str]:
        """Names of the target's tensors that keep the values they had."""
        return [name for row in self.rows for name in row.new]

    @property
    def identities(self) -> list[str]:
        """Names of the new residual blocks that start as the identity."""
        return [".".join(filter(None, ("model", str(r.number), x))) for r in self.rows for x in r.identity]

    @property
    def share(self) -> float:
        """Share of the target's parameters that were carried, 0 … 1."""
        return self.parameters_carried / self.parameters if self.parameters else 0.0

    @property
    def share_left(self) -> float:
        """Share of the source's parameters that found no place, 0 … 1."""
        return 1 - self.source_parameters_carried / self.source_parameters if self.source_parameters else 0.0

    @property
    def summary(self) -> str:
        """One line."""
        carried, partly, new = len(self.carried), len(self.partly), len(self.new)
        if not carried and not partly:
            return "Nothing was carried over: no layer of the given weights has a counterpart in this network"
        return (
            f"Carried over {carried} of {carried + partly + new} tensors, {partly} more in part ({self.share:.1%} of "
            f"the parameters); {new} are new; {len(self.left)} of the given weights were left ({self.share_left:.1%})"
        )

    def __str__(self) -> str:
        """Summary, then a line for every row that was not carried whole."""
        lines = [self.summary]
        told = [row for row in self.rows if row.partly or row.new]
        if told and (self.carried or self.partly):
            lines.append(f"{'layer':>5}  {'type':<26} {'weights':<18} tensors")
            lines += map(str, told)
        if len(self.classes) < self.num_classes and self.classes_by == "name":
            lines.append(f"classes known by name: {', '.join(self.classes) or 'none'}; {self.num_classes} in all")
        elif not self.classes and self.classes_by == "number":
            lines.append("no class is carried: their number differs, and one of the networks has no class names")
        return "\n".join(lines)


@torch.no_grad()
def carry(source: BaseModel, target: BaseModel, only: Collection[str] | None = None) -> TransferReport:
    """Carry the weights of `source` over to `target`, in place; `source` is not changed.

    A target without class names of its own takes those of a source with as many classes, and class i is then class i.
    Names that are the numbers 0, 1, … in order count as names if the network is known to have them from a data set
    (`named`), or if those of the other are names.

    Args:
        source: where the weights come from.
        target: where they go.
        only: names of the target's tensors, as in its state_dict, beyond which nothing is touched.

    Raises:
        ValueError: one of the two is fused and the other is not, or one is no network made from a model file.
    """
    _check(source, target)
    rows = rows_of(source), rows_of(target)
    pairs = align_rows(*rows)
    classes_by: Literal["name", "number"] = "name" if meet_by_name(source, target) else "number"
    work = _Work(*rows, pairs, same_classes(source, target))
    for j in sorted(pairs):
        work.plan(j)
    if only is not None:
        work.copies = [c for c in work.copies if f"model.{c.row}.{c.name}" in only]
    elif work.copies:
        work.make_identities()
    for copy in work.copies:
        copy.run()
    if not has_class_names(target) and len(source.names) == len(target.names):
        target.names, target.named = dict(source.names), has_class_names(source)
    return work.report(target.names, classes_by)


# ---- tensors ---------------------------------------------------------------------------------------------------------


@dataclass
class _Copy:
    """One tensor to be copied, whole where `out` and `inner` say nothing; `name` is the one in the target's row."""

    row: int
    name: str
    source_name: str  # in the source's state_dict
    source: Tensor
    target: Tensor
    out: Channels | None = None
    inner: Channels | None = None  # of dimension 1

    @property
    def whole(self) -> bool:
        """Whether both tensors are carried and filled to the last element."""
        return self.source.shape == self.target.shape and self.count == self.target.numel()

    @property
    def count(self) -> int:
        """Elements that are copied."""
        count = self.target.numel()
        for dim, channels in enumerate((self.out, self.inner)):
            if channels:
                count = count // self.target.shape[dim] * len(channels.target)
        return count

    def run(self) -> None:
        source = self.source.to(device=self.target.device, dtype=self.target.dtype)
        if self.out is None:
            self.target.copy_(source)
            return
        rows_from, rows_to = (torch.tensor(x, device=source.device) for x in (self.out.source, self.out.target))
        values = source[rows_from]
        if self.inner is not None:
            shape = (len(rows_to), *self.target.shape[1:])
            wider = values.new_zeros(shape)  # 0: a carried filter does not listen to what is new
            wider[:, self.inner.target] = values[:, self.inner.source]
            values = wider
        self.target[rows_to] = values


class _Work:
    """Everything that is going to be copied between two networks."""

    def __init__(
        self, source: Sequence[Row], target: Sequence[Row], pairs: Mapping[int, int], classes: Channels
    ) -> None:
        self.source, self.target, self.pairs, self.classes = source, target, pairs, classes
        self.copies: list[_Copy] = []
        self._inputs = input_parts(source), input_parts(target)
        self._used = set(pairs.values())
        self._identities: dict[int, list[str]] = {}  # by row, names of modules
        # all modules below are of the target
        self._kept: set[nn.Module] = set()  # those with a carried counterpart of their class
        self._opaque: set[nn.Module] = set()  # those whose channels mean something else in the counterpart
        self._is_class_layer: set[nn.Module] = set()
        self._made_of: dict[nn.Module, tuple[tuple[int, int], tuple[int, int]]] = {}  # (out, in) parts, both sides
        self._followed: dict[nn.Module, tuple[nn.Module, Channels | None]] = {}  # counterpart, output channels

    def plan(self, j: int) -> None:
        """Find what is copied to row `j` of the target from its counterpart."""
        s, t = self.source[self.pairs[j]].module, self.target[j].module
        pairs = list(pair_modules(s, t))
        for _, a, _, b in pairs:
            self._note(a, b)
        norms = _norm_sources(s), _norm_sources(t)
        for pair in pairs:
            standard = pair[3] not in self._opaque and _is_standard(t, pair[2])
            self._plan_module(j, pair, standard, norms)
        known = [(b_name, b) for _, a, b_name, b in pairs if type(a) is type(b)]
        names = [c.name for c in self.copies if c.row == j]
        self._kept.update(b for b_name, b in known if any(n.startswith(f"{b_name}." if b_name else "") for n in names))

    def _note(self, a: nn.Module, b: nn.Module) -> None:
        if isinstance(a, Detect) and isinstance(b, Detect):
            self._is_class_layer.update(branch[-1] for branch in b.cv3)  # type: ignore[index]
        if isinstance(a, Attention) and isinstance(b, Attention) and a.head_dim != b.head_dim:
            self._opaque.update(b.modules())
        parts = block_parts(a), block_parts(b)
        for name in parts[1]:
            if name in parts[0]:
                self._made_of[b.get_submodule(name).conv] = parts[0][name], parts[1][name]  # type: ignore[index,assignment]

    def _plan_module(self, j: int, pair: Pair, standard: bool, norms: tuple[dict, dict]) -> None:
        a_name, a, b_name, b = pair
        theirs, ours = effective_tensors(a), own_tensors(b)
        if not theirs or not ours or not fitting(a, b):
            return
        out: Channels | None = None
        inner: Channels | None = None
        if isinstance(a, nn.BatchNorm2d) and isinstance(b, nn.BatchNorm2d):
            conv = norms[1].get(b)
            if conv is not None:  # its statistics are those of what this convolution gives
                if conv not in self._followed or self._followed[conv][0] is not norms[0].get(a):
                    return
                out = self._followed[conv][1]
                if out is not None and out.total != b.num_features:
                    return
            elif a.num_features != b.num_features:
                out = in_parts(a.num_features, b.num_features)
        elif isinstance(a, nn.Conv2d) and isinstance(b, nn.Conv2d) and standard:
            out, inner = self._channels(j, a, b)
            if not out.target or (inner is not None and not inner.target):
                return
        if out is None and any(theirs[k].shape != ours[k].shape for k in ours if k in theirs):
            return
        self._followed[b] = a, out
        prefix = f"model.{self.pairs[j]}."
        for key, tensor in ours.items():
            if key not in theirs:
                continue
            maps = (out, inner) if tensor.ndim > 1 else (out, None) if tensor.ndim else (None, None)
            source_name = prefix + ".".join(filter(None, (a_name, key)))
            self.copies.append(_Copy(j, ".".join(filter(None, (b_name, key))), source_name, theirs[key], tensor, *maps))

    def _channels(self, j: int, a: nn.Conv2d, b: nn.Conv2d) -> tuple[Channels, Channels | None]:
        (out_a, in_a), (out_b, in_b) = self._made_of.get(b, ((1, 1), (1, 1)))
        if b in self._is_class_layer:
            out = self.classes
        else:
            out = in_parts(a.out_channels, b.out_channels, (out_a, out_b))
        if b.groups > 1:
            return out, None
        theirs, ours = self._inputs[0][self.pairs[j]], self._inputs[1][j]
        reads_all = [c.in_channels == sum(n for _, n in p) for c, p in ((a, theirs), (b, ours))]
        if all(reads_all) and (in_a, in_b) == (1, 1):
            return out, by_origin(theirs, ours, self._same_origin)
        return out, in_parts(a.in_channels, b.in_channels, (in_a, in_b))

    def _same_origin(self, i: int, j: int) -> bool:
        j = origin(self.target, j, lambda x: x in self.pairs)
        return self.pairs.get(j, -2) == origin(self.source, i, lambda x: x in self._used)

    # ---- identities

    def make_identities(self) -> None:
        """Tell every new residual block to change nothing; what is carried into it afterwards wins."""
        for j, row in enumerate(self.target):
            for name, module in row.module.named_modules():
                start = getattr(module, "start_as_identity", None)
                if start is None or module in self._kept or start() is False:
                    continue
                told = self._identities.setdefault(j, [])
                if not any(name.startswith(f"{outer}." if outer else "") for outer in told):
                    told.append(name)

    # ---- report

    def report(self, names: Mapping[int, str], classes_by: Literal["name", "number"]) -> TransferReport:
        """What was done, counted."""
        rows = []
        for j, row in enumerate(self.target):
            i = self.pairs.get(j)
            told = RowReport(j, row.kind.__name__, i, self.source[i].kind.__name__ if i is not None else "")
            whole = {c.name: c.whole for c in self.copies if c.row == j}
            for name in row.module.state_dict():
                kind = told.new if name not in whole else told.carried if whole[name] else told.partly
                kind.append(f"model.{j}.{name}")
            told.identity = self._identities.get(j, [])
            rows.append(told)
        used = {c.source_name for c in self.copies}
        left = [f"model.{i}.{n}" for i, row in enumerate(self.source) for n in row.module.state_dict()]
        weights = sum(c.count for c in self.copies if isinstance(c.target, nn.Parameter))
        classes = self.classes.target if self._is_class_layer & self._followed.keys() else []
        return TransferReport(
            rows,
            [name for name in left if not {name, name.removesuffix("_orig"), name.removesuffix("_mask")} & used],
            _num_weights(self.target),
            weights,
            _num_weights(self.source),
            weights,
            [names[k] for k in classes],
            len(names),
            classes_by if self._is_class_layer else "",
        )


def _is_standard(row: nn.Module, name: str) -> bool:
    """Whether a module of a row lies in standard blocks only, whose channels are known to be alike at every width."""
    steps = name.split(".") if name else []
    path = [row] + [row.get_submodule(".".join(steps[: k + 1])) for k in range(len(steps))]
    return all(isinstance(m, _STANDARD + _LEAVES) for m in path)


def _norm_sources(row: nn.Module) -> dict[nn.Module, nn.Module]:
    """The convolution before every batch normalisation of a row."""
    found: dict[nn.Module, nn.Module] = {}
    last: nn.Module | None = None
    for m in row.modules():
        if isinstance(m, nn.BatchNorm2d) and last is not None:
            found[m] = last
        elif not m._modules and m._parameters:
            last = m
    return found


def _num_weights(rows: Sequence[Row]) -> int:
    return sum(p.numel() for row in rows for p in row.module.parameters())


def _check(source: Any, target: Any) -> None:
    for network in (source, target):
        if not (hasattr(network, "yaml") and hasattr(network, "names")):
            raise ValueError(
                f"weights are carried between networks made from model files, such as YOLO('best.pt').model; "
                f"this is a {type(network).__name__}"
            )
    fused = [
        any(isinstance(m, Conv) and not hasattr(m, "bn") for m in network.modules()) for network in (source, target)
    ]
    if fused[0] != fused[1]:
        raise ValueError(
            f"the {'given' if fused[0] else 'receiving'} network is fused: its normalisations are part of its "
            "convolutions and cannot be taken out again. Carry the weights before fuse()"
        )
