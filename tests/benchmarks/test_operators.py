"""The implementations of an operator: their results are equal, and one that cannot run gives the reason."""

import re
import sys
import types

import measure
import operators
import pytest
import table
import torch
from implementations import NotAvailable
from measure import Timer
from operators import cases, window_counts
from table import Plan, Row

from ultralytics.nn.ops import window_attention_reference

TINY = {case.key: case for case in cases("tiny")}


def _plan(*implementations):
    return Plan(Timer("cpu"), repeat=1, implementations=implementations, only=["acmix"], tiny=True)


@pytest.mark.parametrize("key", TINY)
def test_the_pytorch_path_and_sdpa_equal_the_baseline(key):
    rows = table.measure(TINY[key], torch.float32, _plan("pytorch", "sdpa", "baseline"))
    assert list(rows) == (["pytorch", "sdpa", "baseline"] if key == "acmix" else ["pytorch", "baseline"])
    for name, row in rows.items():
        assert not row.reason, name
        assert row.error < 1e-5, name
        assert len(row.forward) == len(row.forward_backward) == 1


def test_shapes_are_those_of_yolo_at_640_pixels():
    found = {width: cases(width) for width in ("n", "s")}
    assert [len(c) for c in found.values()] == [12, 12]
    assert {c.key for c in found["n"]} == {"dlka", "acmix", "akconv"}
    texts = [str(c) for c in found["s"]]
    assert "s P3 16×128×80×80, 7×7 dilated 3" in texts
    assert "s P5 16×512×20×20" in texts
    assert "s P4 16×128×80×80 → 256, N=3, stride 2" in texts  # from twice the map and half the channels


def test_a_reflected_window_counts_pixels_that_it_contains_twice():
    # rows 0, 1 with a window of 3: row 0 reads 1, 0, 1 and row 1 reads 0, 1, 0
    counts = window_counts(2, 1, 3)
    assert counts.tolist() == [[3.0, 6.0], [6.0, 3.0]]  # the only column is read three times
    assert window_counts(5, 6, 7).sum(1).tolist() == [49.0] * 30


def test_the_mask_of_counts_is_the_same_as_the_reflected_window():
    torch.manual_seed(0)
    case = TINY["acmix"]
    q, k, v = (torch.randn(case.shape) for _ in range(3))
    heads = [z.unflatten(1, (4, -1)) for z in (q, k, v)]
    expected = window_attention_reference(*heads, case.window).flatten(1, 2)
    torch.testing.assert_close(
        case.implementation("sdpa", [q, k, v]).call().reshape(case.shape), expected, rtol=1e-5, atol=1e-5
    )


def test_natten_is_timed_but_not_compared(monkeypatch):
    def na2d(query, key, value, kernel_size):  # (B, H, W, n, d); the result is not compared
        assert query.shape == (1, 6, 5, 4, 2) and kernel_size == 7
        return query + key + value

    package, functional = types.ModuleType("natten"), types.ModuleType("natten.functional")
    functional.na2d = na2d
    monkeypatch.setitem(sys.modules, "natten", package)
    monkeypatch.setitem(sys.modules, "natten.functional", functional)
    row = table.measure(TINY["acmix"], torch.float32, _plan("natten", "baseline"))["natten"]
    assert not row.reason and row.error is None and len(row.forward_backward) == 1
    values = [torch.randn(TINY["acmix"].shape) for _ in range(3)]
    torch.testing.assert_close(TINY["acmix"].implementation("natten", values).call(), sum(values))


def test_without_natten_its_row_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "natten.functional", None)
    row = table.measure(TINY["acmix"], torch.float32, _plan("natten"))["natten"]
    assert row.reason.startswith("not available: NATTEN is not installed")
    assert row.forward == row.forward_backward == []


def test_the_kernel_says_why_it_cannot_run():
    values = [v.double() for v in TINY["dlka"].inputs()]
    with pytest.raises(NotAvailable, match=r"^they compute in float32, float16 and bfloat16, not in float64$"):
        TINY["dlka"].implementation("kernel", values)


def test_the_interpreter_is_not_measured_at_real_sizes():
    plan = Plan(Timer("cpu"), repeat=1, implementations=["kernel"], only=["dlka"])
    row = table.measure(TINY["dlka"], torch.float32, plan)["kernel"]
    assert row.reason.startswith("not available: on a CPU it runs only in Triton's interpreter")


def test_without_a_baseline_there_is_no_error_to_report(monkeypatch):
    def too_large(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(operators, "unfolded_attention", too_large)
    rows = table.measure(TINY["acmix"], torch.float32, _plan("pytorch", "baseline"))
    assert rows["pytorch"].error is None and len(rows["pytorch"].forward_backward) == 1
    pytorch, baseline = table.lines(TINY["acmix"], rows, tiny=False)
    assert re.search(r"PyTorch \| [\d.]+ ±\d+ % \| – \| [\d.]+ ±\d+ % \| – \| – \| – \| – \|$", pytorch)
    assert "unfold | failed: OutOfMemoryError: CUDA out of memory. |" in baseline


def test_an_implementation_that_fails_is_a_row_of_the_table(monkeypatch):
    def broken(*_, **__):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.\nTried to allocate | much")

    monkeypatch.setattr(operators, "deform_conv2d_depthwise", broken)
    rows = table.measure(TINY["dlka"], torch.float32, _plan("pytorch", "baseline"))
    (pytorch, _) = table.lines(TINY["dlka"], rows, tiny=False)
    assert "failed: OutOfMemoryError: CUDA out of memory." in pytorch
    assert "×" not in pytorch.split("|", 3)[3]


def test_ratios_and_shares_are_against_the_baseline():
    case = TINY["dlka"]
    rows = {
        "kernel": Row(forward=[0.001] * 3, forward_backward=[0.002, 0.002, 0.0024], peak=1 << 20, error=1e-7),
        "baseline": Row(forward=[0.010] * 3, forward_backward=[0.030] * 3, peak=12 << 20, error=0.0),
    }
    kernel, base = table.lines(case, rows, tiny=False)
    name = "tiny 1×3×5×4, 5×5 dilated 1"
    assert kernel == f"| {name} | Triton kernel | 1.000 ±0 % | 10.00× | 2.000 ±10 % | 15.00× | 1.0 | 1/12.0 | 1e-07 |"
    assert base == f"| {name} | torchvision | 10.000 ±0 % | 1.00× | 30.000 ±0 % | 1.00× | 12.0 | 1/1.0 | 0e+00 |"
    work = table.total([case.operator()], 4, backward=True)
    rates = table.Rates(bytes=work.bytes / 0.001, products={torch.float32: 1e18})
    assert table.targets([(case, rows)], torch.float32, rates) == (
        "target of the kernel: 15× forward + backward, 1/10 of the memory, 50 % of the roofline; "
        "measured: 15.0–15.0×, 1/12.0–1/12.0, 50%–50%"
    )
    both = table.roofline_lines(case, rows, torch.float32, rates, tiny=False)[1]
    assert both.endswith("| 1.000, bytes | 2.000, 50% | – | – |")
    rows["kernel"] = Row("not available: no GPU")
    assert table.targets([(case, rows)], torch.float32, rates).endswith("measured: nothing")


def test_differences_are_relative_and_show_what_is_not_finite():
    a, b = torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.5])
    assert table.relative_error([b, a], [a, a]) == pytest.approx(0.1)
    assert table.relative_error([a * float("inf")], [a]) != table.relative_error([a], [a])


def test_times_are_medians_with_half_the_range():
    assert measure.milliseconds([0.001, 0.002, 0.0011]) == "1.100 ±50 %"
    assert measure.one_line(ValueError("a|b\nc")) == "ValueError: a/b"
