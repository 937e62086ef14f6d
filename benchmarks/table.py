"""The tables of the operators: all implementations of a case measured in one run, as Markdown rows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import roofline
import torch
from implementations import PACKAGE, Case, Implementation, NotAvailable
from measure import Timer, gpu_peak, milliseconds, one_line
from operators import cases
from roofline import Rates, describe, total
from torch import Tensor

NAMES = {
    "kernel": "Triton kernel",
    "pytorch": "PyTorch",
    "compiled": "torch.compile",
    "sdpa": "SDPA, whole map",
    "natten": "NATTEN",
}
RAN = "ran"  # instead of a figure, for shapes whose times say nothing
LEGEND = """\
× is the baseline's time divided by that of the row, 1/ the same for peak memory; error is the largest relative
difference of the output or of a gradient from the baseline's in float32. Times are medians, ± half their range. Peak
memory is that of forward + backward, without the inputs. The baseline is the last row. PyTorch: for ACmix's attention
SDPA in tiles. SDPA, whole map: the time does not include making its mask. NATTEN: its windows end at the border instead
of being reflected, so it has no error. Four gathers: coordinates are computed in the dtype of the inputs, as in
published code, which increases the error."""


@dataclass(frozen=True)
class Plan:
    """What to measure, on which device and how often; with `tiny` only whether it runs."""

    timer: Timer
    repeat: int
    implementations: Sequence[str]
    only: Sequence[str]
    tiny: bool = False

    @property
    def device(self) -> str:
        return self.timer.device


@dataclass
class Row:
    """One implementation of a case: its measurements, or the reason why there are none."""

    reason: str = ""
    forward: list[float] = field(default_factory=list)
    forward_backward: list[float] = field(default_factory=list)
    peak: int | None = None
    error: float | None = None

    def seconds(self, backward: bool) -> float:
        """Median time of the forward pass, or with `backward` of both passes."""
        return statistics.median(self.forward_backward if backward else self.forward)


def run(implementation: Implementation, dtype: torch.dtype, grad: Tensor | None = None) -> list[Tensor]:
    """Output, and if there is a gradient `grad` of the output, the gradients of the leaves."""
    device = implementation.leaves[0].device.type
    with torch.autocast(device, dtype, enabled=dtype != torch.float32), torch.set_grad_enabled(grad is not None):
        out = implementation.call()
    if grad is None:
        return [out]
    return [out.detach(), *torch.autograd.grad(out, implementation.leaves, grad)]


def relative_error(results: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Largest of the tensors' relative errors in the 2-norm; NaN if one is not finite."""
    errors = [float((a.float().reshape(b.shape) - b).norm() / b.norm()) for a, b in zip(results, expected, strict=True)]
    return max(errors) if all(map(math.isfinite, errors)) else math.nan


def measure(case: Case, dtype: torch.dtype, plan: Plan) -> dict[str, Row]:
    """All implementations of a case on the same inputs, in turns."""
    torch.manual_seed(0)
    values = [v.to(plan.device, dtype) for v in case.inputs()]
    expected = _expected(case, values)
    rows, forward, forward_backward = {}, {}, {}
    for name in (name for name in case.implementations if name in plan.implementations):
        try:
            if name == "kernel" and plan.device == "cpu" and not plan.tiny:
                raise NotAvailable("on a CPU it runs only in Triton's interpreter; --shapes tiny tests that")
            implementation = case.implementation(name, values)
            grad = _output_gradient(run(implementation, dtype)[0])
            results = run(implementation, dtype, grad)
            error = relative_error(results, expected) if implementation.same_result and expected else None
        except NotAvailable as e:
            rows[name] = Row(f"not available: {e}")
            continue
        except Exception as e:  # noqa: BLE001  one implementation's failure, such as out of memory, is a table row
            rows[name] = Row(f"failed: {one_line(e)}")
            continue
        rows[name] = Row(error=error)
        if name == "kernel" and plan.device == "cpu":
            continue  # it runs in the interpreter; the time there says nothing
        forward[name] = partial(run, implementation, dtype)
        forward_backward[name] = partial(run, implementation, dtype, grad)
    del expected
    failed: dict[str, str] = {}  # one that fits into memory alone may not fit beside the tensors of the others
    for name, seconds in plan.timer.in_turns(forward, plan.repeat, failed).items():
        rows[name].forward = seconds
    for name, seconds in plan.timer.in_turns(forward_backward, plan.repeat, failed).items():
        rows[name].forward_backward = seconds
    if plan.device == "cuda":
        for name in forward_backward.keys() - failed.keys():
            rows[name].peak = gpu_peak(forward_backward[name])
    return rows | {name: Row(reason) for name, reason in failed.items()}


def _expected(case: Case, values: list[Tensor]) -> list[Tensor]:
    """Output and gradients of the baseline in float32; empty if it does not run, as its own row then says."""
    try:
        baseline = case.implementation("baseline", [v.float() for v in values])
        return run(baseline, torch.float32, _output_gradient(run(baseline, torch.float32)[0]))
    except Exception:  # noqa: BLE001  such as out of memory
        return []


def _output_gradient(out: Tensor) -> Tensor:
    """The same values for every implementation, in the memory format of its output, as a next layer would pass them."""
    generator = torch.Generator(out.device).manual_seed(0)
    return torch.empty_like(out).copy_(torch.randn(out.shape, generator=generator, device=out.device))


def lines(case: Case, rows: dict[str, Row], tiny: bool) -> list[str]:
    """A table row for every implementation; without figures for tiny shapes."""
    base = rows.get("baseline", Row("not selected"))
    texts = []
    for name, row in rows.items():
        head = f"| {case} | {NAMES.get(name, case.baseline_name)} |"
        if row.reason:
            texts.append(f"{head} {row.reason} | | | | | | |")
            continue
        cells = [RAN, RAN, RAN, RAN, RAN, RAN]
        if not tiny:
            known = not base.reason
            cells = [milliseconds(row.forward), f"{base.seconds(False) / row.seconds(False):.2f}×" if known else "–"]
            cells += [
                milliseconds(row.forward_backward),
                f"{base.seconds(True) / row.seconds(True):.2f}×" if known else "–",
            ]
            cells += ["–", "–"] if row.peak is None else [f"{row.peak / 2**20:.1f}", _share(row, base)]
        texts.append(f"{head} {' | '.join(cells)} | {'–' if row.error is None else f'{row.error:.0e}'} |")
    return texts


def _share(row: Row, base: Row) -> str:
    return f"1/{base.peak / max(row.peak, 1):.1f}" if base.peak is not None and row.peak is not None else "–"


def roofline_lines(case: Case, rows: dict[str, Row], dtype: torch.dtype, rates: Rates, tiny: bool) -> list[str]:
    """A row per pass: the work, its lower bound in time, and the share of it that this package reaches."""
    texts = []
    for backward in (False, True):
        work = total([case.operator()], dtype.itemsize, backward)
        seconds, limit = rates.least(work, dtype)
        cells = [str(case), "forward + backward" if backward else "forward", describe(work)]
        cells += [RAN if tiny else f"{1e3 * seconds:.3f}, {limit}"]
        for name in PACKAGE:
            row = rows.get(name, Row("not selected"))
            if row.reason or tiny:
                cells.append("–" if row.reason else RAN)
            else:
                measured = row.seconds(backward)
                cells.append(f"{1e3 * measured:.3f}, {seconds / measured:.0%}")
        texts.append(f"| {' | '.join(cells)} |")
    return texts


def targets(results: list[tuple[Case, dict[str, Row]]], dtype: torch.dtype, rates: Rates | None) -> str:
    """The targets for the kernel of these cases, and the range of the measured values."""
    case = results[0][0]
    speedup, memory = case.target
    text = f"target of the kernel: {speedup:.0f}× forward + backward, 1/{memory:.0f} of the memory, 50 % of"
    text += " the roofline; measured: "
    pairs = [(c, rows["kernel"], rows["baseline"]) for c, rows in results if {"kernel", "baseline"} <= rows.keys()]
    pairs = [(c, kernel, base) for c, kernel, base in pairs if not kernel.reason and not base.reason]
    if not pairs:
        return text + "nothing"
    times = [base.seconds(True) / kernel.seconds(True) for _, kernel, base in pairs]
    text += f"{min(times):.1f}–{max(times):.1f}×"
    peaks = [base.peak / max(kernel.peak, 1) for _, kernel, base in pairs if kernel.peak is not None and base.peak]
    text += f", 1/{min(peaks):.1f}–1/{max(peaks):.1f}" if peaks else ", memory not measured"
    if rates is None:
        return text + ", roofline not measured (--roofline)"
    works = [total([case.operator()], dtype.itemsize, backward=True) for case, _, _ in pairs]
    shares = [rates.least(w, dtype)[0] / kernel.seconds(True) for w, (_, kernel, _) in zip(works, pairs, strict=True)]
    return f"{text}, {min(shares):.0%}–{max(shares):.0%}"


def report(shapes: Sequence[str], dtype: torch.dtype, plan: Plan, rates: Rates | None) -> None:
    """Print the tables of one dtype, one operator after the other, each row once it is measured."""
    every = [case for width in shapes for case in cases(width)]
    for key in plan.only:
        selected = [case for case in every if case.key == key]
        if not selected:
            continue
        print(f"\n{selected[0].title}, {roofline.name(dtype)}\n", flush=True)
        print("| B×C×H×W | implementation | forward, ms | × | forward + backward, ms | × | peak, MB | 1/ | error |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
        results = []
        for case in selected:
            rows = measure(case, dtype, plan)
            results.append((case, rows))
            print("\n".join(lines(case, rows, plan.tiny)), flush=True)
        if rates:
            print("\n| B×C×H×W | pass | work | lower bound, ms | " + " | ".join(NAMES[n] for n in PACKAGE) + " |")
            print("| --- | --- | --- | --- | --- | --- | --- |")
            for case, rows in results:
                print("\n".join(roofline_lines(case, rows, dtype, rates, plan.tiny)))
        if not plan.tiny:
            print(f"\n{targets(results, dtype, rates)}", flush=True)
