"""The tables of the operators: all sides of a case measured in one run, as rows that can go into a document."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import roofline
import torch
from implementations import OURS, Case, NotAvailable, Side
from measure import Timer, gpu_peak, milliseconds, one_line
from operators import cases
from roofline import Rates, describe, total
from torch import Tensor

NAMES = {
    "kernel": "Triton kernel",
    "pytorch": "ours in PyTorch",
    "compiled": "ours, torch.compile",
    "sdpa": "SDPA, whole map",
    "natten": "NATTEN",
}
RAN = "ran"  # in place of a figure that would mean nothing
LEGEND = """\
× is how many times as long the last side takes, 1/ how many times its peak memory; off is the largest relative
difference of the output or a gradient from the last side's in float32. Medians, half the range as a share. Peak memory
is that of forward + backward over the inputs. ours in PyTorch: ACmix's attention is SDPA in tiles. SDPA, whole map: its
mask is made beforehand. NATTEN: its windows end at the border instead of being reflected, so it is timed only. Four
gathers compute coordinates in the precision they are given, as the code in circulation does, which shows in off."""


@dataclass(frozen=True)
class Plan:
    """How to measure: where, in what precision, how often, and whether the figures mean anything."""

    timer: Timer
    repeat: int
    sides: Sequence[str]
    only: Sequence[str]
    tiny: bool = False

    @property
    def device(self) -> str:
        return self.timer.device


@dataclass
class Row:
    """One side of a case: what was measured, or why nothing was."""

    reason: str = ""
    forward: list[float] = field(default_factory=list)
    both: list[float] = field(default_factory=list)
    peak: int | None = None
    off: float | None = None

    def seconds(self, backward: bool) -> float:
        """Median of a pass."""
        return statistics.median(self.both if backward else self.forward)


def run(side: Side, dtype: torch.dtype, cotangent: Tensor | None = None) -> list[Tensor]:
    """Output of a side, and with a `cotangent`, of the output's shape, the gradients of its leaves."""
    device = side.leaves[0].device.type
    with torch.autocast(device, dtype, enabled=dtype != torch.float32), torch.set_grad_enabled(cotangent is not None):
        out = side.call()
    if cotangent is None:
        return [out]
    return [out.detach(), *torch.autograd.grad(out, side.leaves, cotangent)]


def relative_error(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Largest of the tensors' relative errors in the 2-norm; NaN if one is not finite."""
    errors = [float((a.float().reshape(b.shape) - b).norm() / b.norm()) for a, b in zip(found, expected, strict=True)]
    return max(errors) if all(map(math.isfinite, errors)) else math.nan


def measure(case: Case, dtype: torch.dtype, plan: Plan) -> dict[str, Row]:
    """All sides of a case on the same inputs, in turns."""
    torch.manual_seed(0)
    values = [v.to(plan.device, dtype) for v in case.inputs()]
    expected = _expected(case, values)
    rows, forward, both = {}, {}, {}
    for name in (name for name in case.sides if name in plan.sides):
        try:
            if name == "kernel" and plan.device == "cpu" and not plan.tiny:
                raise NotAvailable("on a CPU it runs in Triton's interpreter only; --shapes tiny tries that")
            side = case.side(name, values)
            grad = _cotangent(run(side, dtype)[0])
            found = run(side, dtype, grad)
            off = relative_error(found, expected) if side.same_result and expected else None
        except NotAvailable as e:
            rows[name] = Row(f"not available: {e}")
            continue
        except Exception as e:  # noqa: BLE001  one side's failure, out of memory too, is a line of the table
            rows[name] = Row(f"failed: {one_line(e)}")
            continue
        rows[name] = Row(off=off)
        if name == "kernel" and plan.device == "cpu":
            continue  # the interpreter has shown that it runs; its time says nothing
        forward[name] = partial(run, side, dtype)
        both[name] = partial(run, side, dtype, grad)
    del expected
    failed: dict[str, str] = {}  # what fits into memory alone may not fit beside the other sides' tensors
    for name, seconds in plan.timer.in_turns(forward, plan.repeat, failed).items():
        rows[name].forward = seconds
    for name, seconds in plan.timer.in_turns(both, plan.repeat, failed).items():
        rows[name].both = seconds
    if plan.device == "cuda":
        for name in both.keys() - failed.keys():
            rows[name].peak = gpu_peak(both[name])
    return rows | {name: Row(reason) for name, reason in failed.items()}


def _expected(case: Case, values: list[Tensor]) -> list[Tensor]:
    """Output and gradients of the literal side in float32; nothing if it does not run, as its own line says."""
    try:
        side = case.side("literal", [v.float() for v in values])
        return run(side, torch.float32, _cotangent(run(side, torch.float32)[0]))
    except Exception:  # noqa: BLE001  such as memory that is too small
        return []


def _cotangent(out: Tensor) -> Tensor:
    """The same numbers for every side, in the memory format of its output, as a next layer would hand them over."""
    generator = torch.Generator(out.device).manual_seed(0)
    return torch.empty_like(out).copy_(torch.randn(out.shape, generator=generator, device=out.device))


def lines(case: Case, rows: dict[str, Row], tiny: bool) -> list[str]:
    """A line for every side; without figures if they mean nothing."""
    base = rows.get("literal", Row("not asked for"))
    found = []
    for name, row in rows.items():
        head = f"| {case} | {NAMES.get(name, case.literal_name)} |"
        if row.reason:
            found.append(f"{head} {row.reason} | | | | | | |")
            continue
        cells = [RAN, RAN, RAN, RAN, RAN, RAN]
        if not tiny:
            known = not base.reason
            cells = [milliseconds(row.forward), f"{base.seconds(False) / row.seconds(False):.2f}×" if known else "–"]
            cells += [milliseconds(row.both), f"{base.seconds(True) / row.seconds(True):.2f}×" if known else "–"]
            cells += ["–", "–"] if row.peak is None else [f"{row.peak / 2**20:.1f}", _share(row, base)]
        found.append(f"{head} {' | '.join(cells)} | {'–' if row.off is None else f'{row.off:.0e}'} |")
    return found


def _share(row: Row, base: Row) -> str:
    return f"1/{base.peak / max(row.peak, 1):.1f}" if base.peak is not None and row.peak is not None else "–"


def limit_lines(case: Case, rows: dict[str, Row], dtype: torch.dtype, rates: Rates, tiny: bool) -> list[str]:
    """Two lines, one a pass: what must be done, what that takes at least, and how near our sides come."""
    found = []
    for backward in (False, True):
        work = total([case.operator()], dtype.itemsize, backward)
        seconds, what = rates.least(work, dtype)
        cells = [str(case), "forward + backward" if backward else "forward", describe(work)]
        cells += [RAN if tiny else f"{1e3 * seconds:.3f}, {what}"]
        for name in OURS:
            row = rows.get(name, Row("not asked for"))
            if row.reason or tiny:
                cells.append("–" if row.reason else RAN)
            else:
                taken = row.seconds(backward)
                cells.append(f"{1e3 * taken:.3f}, {seconds / taken:.0%}")
        found.append(f"| {' | '.join(cells)} |")
    return found


def goals(results: list[tuple[Case, dict[str, Row]]], dtype: torch.dtype, rates: Rates | None) -> str:
    """What was asked of the kernel of these cases, and the range of what it reached."""
    case = results[0][0]
    text = f"asked of the kernel: {case.asked[0]:.0f}× forward + backward, 1/{case.asked[1]:.0f} of the memory, 50 % of"
    text += " the limit; found: "
    pairs = [(c, rows["kernel"], rows["literal"]) for c, rows in results if {"kernel", "literal"} <= rows.keys()]
    pairs = [(c, kernel, base) for c, kernel, base in pairs if not kernel.reason and not base.reason]
    if not pairs:
        return text + "not measured"
    times = [base.seconds(True) / kernel.seconds(True) for _, kernel, base in pairs]
    text += f"{min(times):.1f}–{max(times):.1f}×"
    peaks = [base.peak / max(kernel.peak, 1) for _, kernel, base in pairs if kernel.peak is not None and base.peak]
    text += f", 1/{min(peaks):.1f}–1/{max(peaks):.1f}" if peaks else ", memory not measured"
    if rates is None:
        return text + ", limit not measured (--limits)"
    works = [total([case.operator()], dtype.itemsize, backward=True) for case, _, _ in pairs]
    shares = [rates.least(w, dtype)[0] / kernel.seconds(True) for w, (_, kernel, _) in zip(works, pairs, strict=True)]
    return f"{text}, {min(shares):.0%}–{max(shares):.0%}"


def report(shapes: Sequence[str], dtype: torch.dtype, plan: Plan, rates: Rates | None) -> None:
    """Print the tables of one dtype, an operator at a time, lines as they come."""
    every = [case for width in shapes for case in cases(width)]
    for key in plan.only:
        chosen = [case for case in every if case.key == key]
        if not chosen:
            continue
        print(f"\n{chosen[0].title}, {roofline.name(dtype)}\n", flush=True)
        print("| B×C×H×W | side | forward, ms | × | forward + backward, ms | × | peak, MB | 1/ | off |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
        results = []
        for case in chosen:
            rows = measure(case, dtype, plan)
            results.append((case, rows))
            print("\n".join(lines(case, rows, plan.tiny)), flush=True)
        if rates:
            print("\n| B×C×H×W | pass | must be done | at least, ms | " + " | ".join(NAMES[n] for n in OURS) + " |")
            print("| --- | --- | --- | --- | --- | --- | --- |")
            for case, rows in results:
                print("\n".join(limit_lines(case, rows, dtype, rates, plan.tiny)))
        if not plan.tiny:
            print(f"\n{goals(results, dtype, rates)}", flush=True)
