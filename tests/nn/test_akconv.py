"""AKConv: against loops that follow the formula, and the faults of the code in circulation, each with its test."""

import copy
import math
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ultralytics.nn.Addmodules import akconv
from ultralytics.nn.Addmodules.akconv import SHAPES, AKConv, C2f_AKConv, initial_shape
from ultralytics.nn.ops import backends, use_backend
from ultralytics.nn.registry import lookup
from ultralytics.utils import LOGGER


def _module(*args, seed=0, offsets=0.0, **options):
    """An AKConv in evaluation mode whose offsets are about `offsets` pixels large and differ from pixel to pixel."""
    torch.manual_seed(seed)
    m = AKConv(*args, **options).eval()
    with torch.no_grad():
        m.p_conv.bias.uniform_(-1, 1).mul_(offsets)
        m.p_conv.weight.normal_(0, 0.3 * offsets)
    return m


@contextmanager
def _logged():
    """Messages reach pytest's caplog, and those that are logged only once are logged again."""
    backends.log_once.cache_clear()
    LOGGER.propagate = True
    try:
        yield
    finally:
        LOGGER.propagate = False


def _passes_through(m):
    """Make the mixing of `m` the sum of its samples over channel 0 and points, without normalization and activation."""
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
def test_named_shapes_are_distinct_points_and_the_centered_ones_contain_the_pixel(name, N):
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
        ({"shape": "heart"}, "no shape 'heart'; choose one of default, square, cross, diamond, line"),
        ({"shape": ""}, "no shape ''; choose one of default"),
        ({"shape": [(0, 0)]}, "with 3 sampling points has a shape of 1"),
        ({"shape": 5}, r"a name or points \(row, column\), .*, not 5"),
        ({"shape": [0, 1, 2]}, r"a name or points \(row, column\), .*, not \[0, 1, 2\]"),
        ({"shape": [(0, 0, 0)] * 3}, r"a name or points \(row, column\)"),
        ({"shape": [(0, 0), (0, 1), (0, math.nan)]}, "consist of finite numbers"),
        ({"offset_lr": "fast"}, "a factor of at least 0, such as 0.1, not 'fast'"),
        ({"offset_lr": None}, "a factor of at least 0, such as 0.1, not None"),
        ({"offset_lr": -0.1}, "not -0.1"),
        ({"offset_lr": math.nan}, "not nan"),
        ({"stride": 0}, "stride must be an integer of at least 1, not 0"),
        ({"stride": 1.5}, "stride must be an integer of at least 1, not 1.5"),
        ({"compat": "old"}, "compat is None, 'published' or 'tutorial', not 'old'"),
        ({"num_param": 0}, "sampling points must be an integer of at least 1, not 0"),
        ({"num_param": True}, "sampling points must be an integer of at least 1, not True"),
    ],
)
def test_wrong_options_raise_an_error(options, message):
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
    with _logged():
        old = _passes_through(_module(2, 2, 1, compat=compat))
    assert f"compat='{compat}' reproduces the errors" in caplog.text
    new = _passes_through(_module(2, 2, 1))
    for m in (old, new):
        m.p_conv.bias.data.copy_(torch.tensor([0.25, 0.5]))
    x = torch.randn(1, 2, 6, 6)
    x = x + x.transpose(2, 3) if compat == "tutorial" else x
    wanted = new(x)[..., :5, :5]
    if compat == "tutorial":  # reads at (j + 0.25, i + 0.5): on a symmetric map the offsets are exchanged
        new.p_conv.bias.data.copy_(torch.tensor([0.5, 0.25]))
        wanted = new(x)[..., :5, :5]
    torch.testing.assert_close(old(x)[..., :5, :5], wanted)


def test_options_with_a_warning_have_it_once(monkeypatch):
    texts = []
    monkeypatch.setattr(LOGGER, "log", lambda level, text: texts.append(text))
    backends.log_once.cache_clear()
    for _ in range(3):
        AKConv(2, 2, 3)
    assert texts == []
    for _ in range(3):
        AKConv(2, 2, 3, offset_lr=0.1)
        AKConv(2, 2, 3, compat="published", offset_lr=0.5)
    assert [text.split(" ")[2] for text in texts] == ["offset_lr=0.1", "compat='published'", "offset_lr=0.5"]


@pytest.mark.parametrize("factor", [0.1, 0.0])
def test_offset_lr_scales_the_gradient_of_the_offsets_only(factor):
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
    m.p_conv.bias.data[0] = torch.tensor(wild).to(dtype)  # 1e9 as a half is infinite
    x = torch.randn(2, 2, 5, 7, dtype=dtype, requires_grad=True)
    out = m(x)
    out.float().sum().backward()
    assert out.shape == (2, 3, 5, 7)
    assert x.grad.shape == x.shape
    if wild == wild and abs(wild) < 1e10 and dtype != torch.float16:
        assert out.isfinite().all()


# ---- house-keeping ----------------------------------------------------------


def test_model_files_know_it():
    assert lookup("AKConv").cls is lookup("LDConv").cls is AKConv
    assert lookup("AKConv").signature == ("c1", "c2", "*args")
    block = C2f_AKConv(8, 8, 2, True)
    assert [type(b.cv2) for b in block.m] == [AKConv, AKConv]
    assert block(torch.randn(1, 8, 6, 5)).shape == (1, 8, 6, 5)


# ---- on the kernels: in Triton's interpreter, or on a GPU -----------------------------------------------------------

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture
def kernels():
    """AKConv is computed by the kernels, except where a test selects PyTorch."""
    pytest.importorskip("triton", reason="Triton is not installed")
    if DEVICE == "cpu" and (reason := backends.interpreter_missing()):
        pytest.skip(reason)
    with use_backend("triton"):
        yield


def _trained(*args, **options):
    """A module whose normalization does something."""
    m = _module(*args, offsets=1.0, **options)
    with torch.no_grad():
        for name, t in m.conv[1].state_dict().items():
            if t.is_floating_point():
                t.uniform_(0.5, 1.5) if "var" in name else t.normal_(0.5, 0.5)
    return m.to(DEVICE)


def _assert_close(result, expected, tolerance=1e-5):
    for f, e in zip(result, expected, strict=True):
        assert (f.float() - e).abs().max() <= tolerance * max(e.abs().max(), 1)


@pytest.mark.parametrize("options", [{"stride": 1}, {"stride": 2, "bias": True, "offset_lr": 0.1}])
def test_trains_on_the_kernels_as_on_pytorch(kernels, options):
    m = _trained(3, 5, 4, **options).train()
    x = torch.randn(2, 3, 5, 7, device=DEVICE)

    def step():
        inputs = (x.clone().requires_grad_(), *m.parameters())
        return torch.autograd.grad(m(inputs[0]).square().sum(), inputs)

    with use_backend("pytorch"):
        expected = step()
    _assert_close(step(), expected, 1e-4)  # the batch's own statistics enlarge errors


@pytest.mark.parametrize("activation", [nn.SiLU(), nn.ReLU(), nn.Identity()], ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("norm", ["as it is", "not affine", "fused"])
@pytest.mark.parametrize("bias", [True, False])
def test_kernels_include_normalization_and_silu(kernels, norm, activation, bias):
    m = _trained(3, 5, 3, bias=bias)
    m.conv[2] = activation
    if norm != "as it is":
        m.conv[1] = nn.Identity() if norm == "fused" else nn.BatchNorm2d(5, affine=False).to(DEVICE).eval()
    x = torch.randn(2, 3, 4, 5, device=DEVICE)
    with use_backend("pytorch"):
        expected = m(x)
    called = []
    m.conv[1].register_forward_hook(lambda *_: called.append("norm"))
    m.conv[2].register_forward_hook(lambda *_: called.append("activation"))
    before = copy.deepcopy(m.state_dict())
    with torch.no_grad():
        result = m(x)
    assert called == ([] if type(activation) is nn.SiLU else ["activation"])
    _assert_close([result], [expected])
    _assert_close([m(x)], [expected])
    assert called[-2:] == ["norm", "activation"], "with gradients the modules are called"
    assert all(torch.equal(t, before[name]) for name, t in m.state_dict().items())


def test_kernels_leave_the_statistics_of_a_batch_to_the_normalisation(kernels):
    m = _trained(3, 5, 3).train()
    x = torch.randn(2, 3, 4, 5, device=DEVICE)
    other = copy.deepcopy(m)
    with torch.no_grad():
        result = m(x)
        with use_backend("pytorch"):
            expected = other(x)
    _assert_close([result], [expected])
    _assert_close([m.conv[1].running_mean], [other.conv[1].running_mean])


def test_kernels_under_autocast_and_in_half_precision(kernels):
    m = _trained(5, 6, 3)
    x = torch.randn(1, 5, 6, 4, device=DEVICE)
    with use_backend("pytorch"):
        expected = m(x)
    with torch.autocast(DEVICE, torch.bfloat16):
        result = m(x)
        with torch.no_grad():
            folded = m(x)
    result.float().sum().backward()
    assert result.dtype == folded.dtype == torch.bfloat16
    assert m.conv[0].weight.grad.dtype == torch.float32
    m.bfloat16()
    x = x.bfloat16()
    with torch.no_grad():
        half = m(x)
    _assert_close((result, folded, half, m(x)), [expected] * 4, 2e-2)


@pytest.mark.parametrize("compat", ["published", "tutorial"])
def test_compat_keeps_its_own_sampling(kernels, compat):
    m = _trained(3, 4, 3, compat=compat)
    x = torch.randn(1, 3, 4, 5, device=DEVICE)
    with torch.no_grad():
        result = m(x)
        with use_backend("pytorch"):
            assert torch.equal(m(x), result)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_kernels_compile_as_one_graph(kernels, mode):
    m = getattr(_trained(3, 4, 3, 2), mode)()
    compiled = torch.compile(m, fullgraph=True, backend="aot_eager")
    x = torch.randn(1, 3, 6, 5, device=DEVICE)
    results = []
    for f in (m, compiled):
        with torch.set_grad_enabled(mode == "train"):
            results.append([f(x)])
        if mode == "train":
            results[-1] += torch.autograd.grad(results[-1][0].square().sum(), list(m.parameters()))
    _assert_close(*results)


def test_the_shape_is_copied_to_a_gpu_once(monkeypatch):
    m, calls = AKConv(3, 4, 3), []

    def counted(*a, **k):
        calls.append(k["device"].type)
        return torch.tensor(*a, **k)

    # only in that file: torch.compile, if it starts up now, would take a patched torch.tensor into its tables for good
    monkeypatch.setattr(akconv, "torch", SimpleNamespace(**{**vars(torch), "tensor": counted}))
    akconv.cached_shape_tensor.cache_clear()
    for device, expected in (("cpu", ["cpu"] * 3), ("meta", ["meta"])):  # "meta" instead of a GPU
        calls.clear()
        points = [akconv.shape_tensor(tuple(m.shape), torch.empty(1, device=device)) for _ in range(3)]
        assert calls == expected
        assert [p.shape for p in points] == [(3, 2)] * 3
    with torch.inference_mode():
        kept = akconv.shape_tensor(((0.5, 1.0),), torch.empty(1, dtype=torch.float64, device="meta"))
    assert not kept.is_inference()
    assert kept.dtype == torch.float64
