"""What every registered module must do, whatever it computes; what it computes is tested in a file of its own."""

import copy
import math
import pickle

import pytest
import torch
from module_examples import BY_HAND, MORE_ROWS, Example, class_names, each, example_row, listed

from ultralytics.nn import fuse, registry
from ultralytics.nn.Addmodules import acmix
from ultralytics.nn.ops import tracing, window_attention_reference
from ultralytics.nn.registry import register, registered

CASES = [*class_names(), *MORE_ROWS]
SIZES = [(1, 1), (2, 3), (5, 4)]


def _close(result, expected, **tolerance):
    torch.testing.assert_close(listed(result), listed(expected), **tolerance)


def _halfs(x, dtype):
    return each(lambda t: t.to(dtype), x)


def _assert_within(result, expected, share):
    for a, b in zip(listed(result), listed(expected), strict=True):
        assert a.shape == b.shape
        assert (a.float() - b).abs().max() < share * b.abs().max()


def _gradients(f, m, x):
    """Of the squared output: of the inputs, then of the parameters."""
    inputs = [t.clone().requires_grad_() for t in listed(x)]
    out = f(inputs if isinstance(x, list) else inputs[0])
    wanted = [p for p in m.parameters() if p.requires_grad]
    return torch.autograd.grad(sum(y.square().sum() for y in listed(out)), (*inputs, *wanted))


@pytest.mark.parametrize("name", registered())
def test_every_name_builds_its_class(name):
    assert type(Example(name).module) is registered()[name].cls


def test_a_module_without_an_example_is_an_error(monkeypatch):
    monkeypatch.setattr(registry, "_REGISTRY", {})

    @register("c1", usage="Sharpen(channels)  # no row")
    class Sharpen(torch.nn.Identity): ...

    assert class_names() == ["Sharpen"]
    with pytest.raises(ValueError, match=r"how the registered 'Sharpen' is built.*usage=.*or.*BY_HAND in tests/nn/"):
        example_row("Sharpen")


def test_entries_made_by_hand_are_still_needed():
    assert set(BY_HAND) <= set(registered())


@pytest.mark.parametrize("name", CASES)
def test_odd_and_rectangular_sizes_equal_the_references(name, monkeypatch):
    case = Example(name)
    m = case.module.double()
    stride = 16 // listed(m(_halfs(case.inputs(16, 16), torch.float64)))[0].shape[-1]
    result = []
    for reference in (False, True):
        if reference:
            monkeypatch.setattr(tracing, "has_fast_path", lambda x: False)
            monkeypatch.setattr(acmix, "window_attention", window_attention_reference)
        for H, W in SIZES:
            x = _halfs(case.inputs(H, W), torch.float64)
            out = m(x)
            for i, y in enumerate(listed(out)):  # of the levels, where there are several
                assert y.shape[-2:] == tuple(math.ceil(math.ceil(n / 2**i) / stride) for n in (H, W))
            result.append((*listed(out), *_gradients(m, m, x)))
    half = len(SIZES)
    torch.testing.assert_close(result[:half], result[half:], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_a_single_image_gives_the_same_result_as_in_a_batch(name):
    case = Example(name)
    x = case.inputs(7, 5, batch=3)
    _close(case.module(each(lambda t: t[1:2], x)), each(lambda t: t[1:2], case.module(x)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_an_empty_batch_has_an_empty_result(name):
    case = Example(name)
    x = case.inputs(7, 5, batch=1)
    expected = case.module(x)
    empty = each(lambda t: t[:0].clone().requires_grad_(), x)
    out = case.module(empty)
    assert [y.shape for y in listed(out)] == [(0, *y.shape[1:]) for y in listed(expected)]
    gradients = torch.autograd.grad(sum(y.sum() for y in listed(out)), listed(empty))
    assert [g.shape for g in gradients] == [t.shape for t in listed(empty)]


@pytest.mark.parametrize("name", CASES)
def test_shapes_without_memory_are_enough_to_count(name):
    case = Example(name)
    x = case.inputs(7, 5)
    expected = case.module(x)
    out = case.module.to("meta")(each(lambda t: t.to("meta"), x))
    assert [y.shape for y in listed(out)] == [y.shape for y in listed(expected)]


@pytest.mark.parametrize("name", CASES)
def test_channels_last_gives_the_same(name):
    case = Example(name)
    layout = torch.channels_last_3d if case.volumes else torch.channels_last
    m, x = case.module, case.inputs(7, 6)
    y = copy.deepcopy(m).to(memory_format=layout)(each(lambda t: t.contiguous(memory_format=layout), x))
    assert case.volumes or all(t.is_contiguous(memory_format=layout) for t in listed(y))
    _close(y, m(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", CASES)
def test_half_types_and_autocast_come_close(name, dtype):
    case = Example(name)
    m, x = case.module, case.inputs(9, 12, batch=1)
    expected = m(x)
    with torch.autocast("cpu", dtype):
        auto = m(x)
    half = copy.deepcopy(m).to(dtype)(_halfs(x, dtype))
    assert all(t.dtype == dtype for t in listed(half))
    _assert_within(auto, expected, 2e-2)
    _assert_within(half, expected, 2e-2)


@pytest.mark.parametrize("name", CASES)
def test_fused_it_computes_the_same(name):
    case = Example(name)
    m, x = case.module, case.inputs(7, 6)
    fused = copy.deepcopy(m)
    fuse.fuse_layers(fused)
    assert fuse.is_fused(fused)
    with torch.no_grad():
        _close(fused(x), m(x), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit.trace:FutureWarning")
@pytest.mark.parametrize("name", CASES)
def test_copies_pickles_and_traces_compute_the_same(name):
    case = Example(name)
    m, x = case.module, case.inputs(7, 6)
    traced = torch.jit.trace(m, (x,), check_trace=False)
    with torch.jit.optimized_execution(False):  # its passes take longer than the rest of this test
        for other in (copy.deepcopy(m), pickle.loads(pickle.dumps(m)), traced):
            _close(other(x), m(x), rtol=0, atol=1e-6)
        for H, W, B in ((5, 11, 3), (19, 2, 1), (1, 1, 1)):
            x = case.inputs(H, W, batch=B)
            _close(traced(x), m(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_every_parameter_gets_a_gradient(name):
    case = Example(name)
    m = case.module.train()
    sum(y.square().sum() for y in listed(m(case.inputs(9, 5)))).backward()
    for key, p in m.named_parameters():
        if not p.requires_grad:  # Detect's fixed numbers
            continue
        assert p.grad is not None and p.grad.isfinite().all(), key
        assert p.dim() == 1 or p.grad.any(), key


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_compiles_as_one_graph(name):
    case = Example(name)
    m, x = case.module, case.inputs(6, 7)
    compiled = torch.compile(m, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(_gradients(compiled, m, x), _gradients(m, m, x), rtol=1e-4, atol=1e-5)
