"""AKConv: against loops that follow the formula, and the faults of the code in circulation, each with its test."""

import copy
import math
import pickle
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from ultralytics.nn.Addmodules import akconv, lookup
from ultralytics.nn.Addmodules.akconv import SHAPES, AKConv, C2f_AKConv, initial_shape
from ultralytics.utils import LOGGER


def _module(*args, seed=0, offsets=0.0, **options):
    """An AKConv in evaluation mode whose offsets are about `offsets` pixels large and differ from place to place."""
    torch.manual_seed(seed)
    m = AKConv(*args, **options).eval()
    with torch.no_grad():
        m.p_conv.bias.uniform_(-1, 1).mul_(offsets)
        m.p_conv.weight.normal_(0, 0.3 * offsets)
    return m


@contextmanager
def _heard():
    """What the log is told reaches pytest, also what it was told before."""
    akconv._say_once.cache_clear()
    LOGGER.propagate = True
    try:
        yield
    finally:
        LOGGER.propagate = False


def _passes_through(m):
    """Make the mixing of `m` the sum of its samples over channel 0 and points, with nothing behind it."""
    m.conv[0].weight.data.zero_()
    m.conv[0].weight.data[:, 0] = 1
    m.conv[1], m.conv[2] = nn.Identity(), nn.Identity()
    return m


def _impulse(H, W, row, column):
    x = torch.zeros(1, 1, H, W)
    x[0, 0, row, column] = 1
    return x


def _literal(m, x):
    """The formula of the paper, one number at a time, in Python's double precision."""
    B, C, H, W = x.shape
    N, s, base = m.num_param, m.stride, round(math.sqrt(m.num_param))
    offset, weight = m.p_conv(x).tolist(), m.conv[0].weight.tolist()
    h, w = (H - 1) // s + 1, (W - 1) // s + 1
    out = torch.zeros(B, len(weight), h, w, dtype=torch.float64)
    for b in range(B):
        for i in range(h):
            for j in range(w):
                for n in range(N):
                    y = min(max(i * s + n // base + offset[b][n][i][j], 0), H - 1)
                    z = min(max(j * s + n % base + offset[b][N + n][i][j], 0), W - 1)
                    for c in range(C):
                        value = sum(
                            max(0, 1 - abs(y - r)) * max(0, 1 - abs(z - q)) * x[b, c, r, q].item()
                            for r in range(H)
                            for q in range(W)
                        )
                        for o in range(len(weight)):
                            out[b, o, i, j] += weight[o][c][n][0] * value
    return m.conv[2](m.conv[1](out))


@pytest.mark.parametrize(
    ("N", "stride", "H", "W"),
    [(1, 1, 1, 1), (2, 1, 2, 3), (3, 2, 5, 4), (5, 1, 3, 5), (5, 2, 6, 3), (7, 2, 1, 4), (13, 1, 4, 2)],
)
def test_equals_the_formula(N, stride, H, W):
    m = _module(2, 3, N, stride, offsets=2.0).double()
    x = torch.randn(2, 2, H, W, dtype=torch.float64)
    torch.testing.assert_close(m(x), _literal(m, x), rtol=0, atol=1e-10)


def test_gradients_are_those_of_finite_differences():
    m = _module(2, 2, 3, 2, offsets=1.0).double()
    x = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: m(x), (x, *m.parameters()))


def test_keys_of_the_checkpoint():
    shapes = {k: tuple(v.shape) for k, v in AKConv(4, 6, 5, bias=True).state_dict().items() if "running" not in k}
    assert shapes == {
        "conv.0.weight": (6, 4, 5, 1),
        "conv.0.bias": (6,),
        "conv.1.weight": (6,),
        "conv.1.bias": (6,),
        "conv.1.num_batches_tracked": (),
        "p_conv.weight": (10, 4, 3, 3),
        "p_conv.bias": (10,),
    }
    m = AKConv(4, 6, 5)
    assert m.conv[0].bias is None
    assert isinstance(m.conv[2], nn.SiLU)
    assert not m.p_conv.weight.any()


@pytest.mark.parametrize(
    ("N", "points"),
    [
        (1, [(0, 0)]),
        (2, [(0, 0), (1, 0)]),  # base round(1.41) = 1: a column
        (3, [(0, 0), (0, 1), (1, 0)]),
        (5, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]),
        (6, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]),
    ],
)
def test_initial_shape(N, points):
    assert initial_shape(N) == points


@pytest.mark.parametrize("N", [1, 2, 5, 8, 9, 16])
@pytest.mark.parametrize("name", SHAPES)
def test_named_shapes_are_distinct_points_and_the_centred_ones_hold_the_pixel(name, N):
    points = initial_shape(N, name)
    assert len(set(points)) == N
    assert (0.0, 0.0) in points


def test_shape_of_ones_own_moves_the_samples():
    m = _passes_through(_module(1, 1, 2, shape=[(0, -1), (-1, 0)]))
    out = m(_impulse(5, 5, 2, 2))[0, 0]
    assert out.nonzero().tolist() == [[2, 3], [3, 2]]  # the pixel to the right and the one below see it


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": "heart"}, "no shape 'heart'; there are default, square, cross, diamond, line"),
        ({"shape": [(0, 0)]}, "with 3 sampling points was given a shape of 1"),
        ({"compat": "old"}, "compat is None, 'published' or 'tutorial', not 'old'"),
        ({"num_param": 0}, "from 1 on, not 0"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        AKConv(**({"inc": 2, "outc": 2, "num_param": 3} | options))


# ---- the four faults ----------------------------------------------------------


@pytest.mark.parametrize(("H", "W", "row", "column"), [(6, 6, 1, 4), (4, 8, 1, 6), (8, 4, 6, 1)])
def test_an_impulse_stays_where_it_is(H, W, row, column):
    out = _passes_through(_module(1, 1, 1))(_impulse(H, W, row, column))
    assert out[0, 0].nonzero().tolist() == [[row, column]]


@pytest.mark.parametrize(
    ("H", "W", "at", "comes_out_at"), [(6, 6, (1, 4), [4, 1]), (4, 8, (1, 6), [3, 1])], ids=["square", "rectangle"]
)
def test_compat_tutorial_swaps_rows_and_columns(H, W, at, comes_out_at):
    out = _passes_through(_module(1, 1, 1, compat="tutorial"))(_impulse(H, W, *at))
    assert out[0, 0].nonzero().tolist()[0] == comes_out_at


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("N", [1, 3, 5])
def test_ones_stay_ones_at_the_border(N, stride):
    m = _passes_through(_module(1, 1, N, stride, offsets=3.0))
    out = m(torch.ones(1, 1, 7, 6))
    torch.testing.assert_close(out, torch.full_like(out, N), rtol=0, atol=1e-5)


def test_compat_published_weighs_the_border_up_to_four_times():
    m = _passes_through(_module(1, 1, 1, compat="published"))
    m.p_conv.weight.data.zero_()
    m.p_conv.bias.data.fill_(0.5)
    out = m(torch.ones(1, 1, 3, 3))[0, 0]
    assert out.tolist() == [[1, 1, 2], [1, 1, 2], [2, 2, 4]]  # beyond the last row and column, and in the corner


@pytest.mark.parametrize("compat", ["published", "tutorial"])
def test_compat_is_announced_and_agrees_inside_the_map(compat, caplog):
    with _heard():
        old = _passes_through(_module(2, 2, 1, compat=compat))
    assert f"compat='{compat}' repeats the faults" in caplog.text
    new = _passes_through(_module(2, 2, 1))
    for m in (old, new):
        m.p_conv.bias.data.copy_(torch.tensor([0.25, 0.5]))
    x = torch.randn(1, 2, 6, 6)
    x = x + x.transpose(2, 3) if compat == "tutorial" else x
    wanted = new(x)[..., :5, :5]
    if compat == "tutorial":  # reads at (j + 0.25, i + 0.5): on a symmetric map the offsets change places
        new.p_conv.bias.data.copy_(torch.tensor([0.5, 0.25]))
        wanted = new(x)[..., :5, :5]
    torch.testing.assert_close(old(x)[..., :5, :5], wanted)


def test_options_that_are_off_by_default_are_told_once(monkeypatch):
    texts = []
    monkeypatch.setattr(LOGGER, "warning", texts.append)
    akconv._say_once.cache_clear()
    for _ in range(3):
        AKConv(2, 2, 3)
    assert texts == []
    for _ in range(3):
        AKConv(2, 2, 3, offset_lr=0.1)
        AKConv(2, 2, 3, compat="published", offset_lr=0.5)
    assert [text.split(" ")[2] for text in texts] == ["offset_lr=0.1", "compat='published'", "offset_lr=0.5"]


@pytest.mark.parametrize("factor", [0.1, 0.0])
def test_offset_lr_scales_the_gradient_of_the_offsets_alone(factor):
    plain, slowed = _module(2, 3, 3, offsets=1.0), _module(2, 3, 3, offsets=1.0, offset_lr=factor)
    x = torch.randn(1, 2, 5, 6)
    for m in (plain, slowed):
        m(x).square().sum().backward()
    torch.testing.assert_close(slowed(x), plain(x), rtol=0, atol=0)
    assert plain.p_conv.weight.grad.abs().max() > 1e-3
    torch.testing.assert_close(slowed.p_conv.weight.grad, factor * plain.p_conv.weight.grad)
    torch.testing.assert_close(slowed.p_conv.bias.grad, factor * plain.p_conv.bias.grad)
    torch.testing.assert_close(slowed.conv[0].weight.grad, plain.conv[0].weight.grad)


@pytest.mark.parametrize("compat", [None, "published"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("wild", [float("nan"), float("inf"), -float("inf"), 1e9, -1e9])
def test_wild_offsets_do_not_read_outside(wild, dtype, compat):
    m = _module(2, 3, 3, compat=compat).to(dtype)
    m.p_conv.bias.data[0] = wild
    x = torch.randn(2, 2, 5, 7, dtype=dtype, requires_grad=True)
    out = m(x)
    out.float().sum().backward()
    assert out.shape == (2, 3, 5, 7)
    assert x.grad.shape == x.shape
    if wild == wild and abs(wild) < 1e10 and dtype != torch.float16:
        assert out.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_and_autocast_come_close(dtype):
    m = _module(8, 8, 5, 2, offsets=0.5)
    x = torch.randn(1, 8, 9, 12)
    expected = m(x)
    with torch.autocast("cpu", dtype):
        auto = m(x).float()
    for out in (auto, copy.deepcopy(m).to(dtype)(x.to(dtype)).float()):
        assert (out - expected).abs().max() < 2e-2 * expected.abs().max()


# ---- house-keeping ----------------------------------------------------------


def test_channels_last_gives_the_same():
    m = _module(3, 4, 5, 2, offsets=1.0)
    x = torch.randn(2, 3, 7, 6)
    y = copy.deepcopy(m).to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, m(x))


def test_copies_pickles_and_traces_compute_the_same():
    m = _module(3, 4, 5, 2, offsets=1.0, offset_lr=0.1, shape="cross")
    x = torch.randn(2, 3, 7, 6)
    traced = torch.jit.trace(m, x)
    for other in (copy.deepcopy(m), pickle.loads(pickle.dumps(m)), traced):
        torch.testing.assert_close(other(x), m(x), rtol=0, atol=1e-6)
    wide = torch.randn(2, 3, 5, 11)
    torch.testing.assert_close(traced(wide), m(wide), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_compiles_as_one_graph():
    m = _module(3, 4, 5, 2, offsets=1.0, offset_lr=0.1)
    compiled = torch.compile(m, fullgraph=True, backend="aot_eager")
    grads = []
    for f in (m, compiled):
        x = torch.linspace(-1, 1, 126).view(1, 3, 6, 7).requires_grad_()
        f(x).square().sum().backward()
        grads.append(x.grad)
    torch.testing.assert_close(*grads)


def test_every_parameter_gets_a_gradient():
    m = AKConv(3, 4, 3, 2).train()
    m(torch.randn(2, 3, 8, 8)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in m.parameters())


def test_model_files_know_it():
    assert lookup("AKConv").cls is lookup("LDConv").cls is AKConv
    assert lookup("AKConv").feed == ("c1", "c2", "*args")
    block = C2f_AKConv(8, 8, 2, True)
    assert [type(b.cv2) for b in block.m] == [AKConv, AKConv]
    assert block(torch.randn(1, 8, 6, 5)).shape == (1, 8, 6, 5)
