"""Weight transfer between networks of different architecture: corresponding layers keep their weights.

alignment.py finds the corresponding layers, however many rows were inserted or removed; plan.py lists their tensors.
- Equal shape: copied. Normalizations follow the convolution before them: their statistics are those of its output.
- Another width: the first channels are copied, part by part where a dimension consists of parts (the inputs of a
  Concat, the halves of a C2f). A copied filter starts with 0 for channels that it did not read before, so that a
  network that was only widened or deepened computes at first what the smaller one did. Only in standard blocks: the
  meaning of the channels of other modules is not known here.
- The class layer: row by row, by class name.
- A new module with a method `start_as_identity()`, a residual block, starts as the identity.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import cast

import torch
from torch import nn

from ultralytics.nn.fuse import unfused_copy
from ultralytics.nn.modules import Conv
from ultralytics.nn.transfer.alignment import Row, align_rows, rows_of
from ultralytics.nn.transfer.channel_mapping import has_class_names, map_classes, matched_by_name
from ultralytics.nn.transfer.network import Network
from ultralytics.nn.transfer.plan import TransferPlan
from ultralytics.nn.transfer.report import ClassMatch, RowReport, TransferReport

Identities = dict[int, list[str]]  # by row, names of its new residual blocks


@torch.no_grad()
def transfer_weights(source: Network, target: Network, only: Collection[str] | None = None) -> TransferReport:
    """Transfer the weights of `source` to `target`, in place; `source` is not changed.

    A target without class names of its own takes those of a source with as many classes, and class i is then class i.
    Names that are the numbers 0, 1, … in order count as names if the network is known to have them from a dataset
    (`named`), or if those of the other are names.

    Args:
        source: where the weights come from.
        target: where they are copied to.
        only: names of the target's tensors, as in its state_dict, that may be changed; None for all.

    Raises:
        ValueError: only the target is fused, or one is not a network made from a model file.
    """
    _check(source, target)
    if _is_fused(source) and not _is_fused(target):
        source = cast(Network, unfused_copy(cast(nn.Module, source)))
    rows = rows_of(source), rows_of(target)
    classes_by: ClassMatch = "name" if matched_by_name(source, target) else "number"
    plan = TransferPlan(*rows, align_rows(*rows), map_classes(source, target))
    identities: Identities = {}
    if only is not None:
        plan.copies = [c for c in plan.copies if f"model.{c.row}.{c.name}" in only]
    elif plan.copies:
        identities = _start_as_identities(plan)
    for copy in plan.copies:
        copy.run()
    if not has_class_names(target) and len(source.names) == len(target.names):
        target.names, target.named = dict(source.names), has_class_names(source)
    return _report(plan, identities, target.names, classes_by)


def _start_as_identities(plan: TransferPlan) -> Identities:
    """Initialize every new residual block as the identity; weights that are copied into it afterwards win."""
    identities: Identities = {}
    for j, row in enumerate(plan.target):
        for name, module in row.module.named_modules():
            start = getattr(module, "start_as_identity", None)
            if start is None or plan.is_initialized(module) or start() is False:
                continue
            names = identities.setdefault(j, [])
            if not any(name.startswith(f"{outer}." if outer else "") for outer in names):
                names.append(name)
    return identities


def _report(
    plan: TransferPlan, identities: Identities, names: dict[int, str], classes_by: ClassMatch
) -> TransferReport:
    used = {c.source_name for c in plan.copies}
    source_names = [f"model.{i}.{n}" for i, row in enumerate(plan.source) for n in row.module.state_dict()]
    count = sum(c.count for c in plan.copies if isinstance(c.target, nn.Parameter))
    return TransferReport(
        rows=[_row_report(plan, j, identities.get(j, [])) for j in range(len(plan.target))],
        left=[n for n in source_names if not {n, n.removesuffix("_orig"), n.removesuffix("_mask")} & used],
        parameters=_num_parameters(plan.target),
        parameters_transferred=count,
        source_parameters=_num_parameters(plan.source),
        source_parameters_transferred=count,
        classes=[names[k] for k in plan.transferred_classes],
        num_classes=len(names),
        classes_by=classes_by if plan.has_class_layer else "",
    )


def _row_report(plan: TransferPlan, j: int, identity: list[str]) -> RowReport:
    row, i = plan.target[j], plan.pairs.get(j)
    report = RowReport(j, row.type.__name__, i, plan.source[i].type.__name__ if i is not None else "")
    whole = {c.name: c.whole for c in plan.copies if c.row == j}
    for name in row.module.state_dict():
        names = report.new if name not in whole else report.transferred if whole[name] else report.partly
        names.append(f"model.{j}.{name}")
    report.identity = identity
    return report


def _num_parameters(rows: Sequence[Row]) -> int:
    return sum(p.numel() for row in rows for p in row.module.parameters())


def _check(source: Network, target: Network) -> None:
    for network in (source, target):
        if not (hasattr(network, "yaml") and hasattr(network, "names")):
            raise ValueError(
                f"weights are transferred between networks made from model files, such as YOLO('best.pt').model; "
                f"this is a {type(network).__name__}"
            )
    if _is_fused(target) and not _is_fused(source):
        raise ValueError(
            "the target network is fused: its normalizations are part of its convolutions. "
            "Transfer the weights before fuse()"
        )


def _is_fused(network: Network) -> bool:
    return any(isinstance(m, Conv) and not hasattr(m, "bn") for m in network.modules())
