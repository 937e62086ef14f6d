"""ACmix's kernels: windowed attention against the float64 reference, in Triton's interpreter or on a GPU."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

triton = pytest.importorskip("triton", reason="Triton is not installed")

from ultralytics.nn.Addmodules.acmix import ACmix  # noqa: E402  there may be no Triton
from ultralytics.nn.ops import backends, use_backend, window_attention, window_attention_reference  # noqa: E402
from ultralytics.nn.ops.kernels import attention, attention_backward, launch  # noqa: E402

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
NOT_RUN = backends.interpreter_missing() if DEVICE == "cpu" else ""
KERNELS = (attention.forward_kernel, attention_backward.query_kernel, attention_backward.key_kernel)
NAN, INF = float("nan"), float("inf")
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-2, torch.bfloat16: 2e-2}  # relative to the largest value
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NOT_RUN != "", reason=NOT_RUN),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # numpy's, of NaN and of tiles' pixels that do not exist
]
#        B, n, d, H, W, window, dilation, stride
CASES = [
    (2, 2, 3, 5, 7, 3, 1, 1),  # odd sides, a rectangle, two images and heads
    (1, 1, 1, 1, 1, 5, 1, 1),  # one pixel, seen 25 times
    (1, 1, 5, 2, 3, 7, 1, 1),  # the map folds several times
    (1, 1, 17, 1, 6, 3, 1, 1),  # one row
    (1, 1, 2, 6, 1, 3, 2, 3),  # one column, taps further apart than the rows with an output
    (1, 1, 4, 9, 10, 5, 2, 1),  # dilation, several tiles
    (1, 1, 4, 10, 9, 3, 3, 2),  # dilation and stride: most keys are not seen at all
    (1, 1, 33, 4, 5, 7, 1, 2),  # reach of one line less than the map and of one more, odd channels
    (1, 1, 2, 3, 4, 1, 1, 1),  # a window of one pixel: the value itself
]
FIRST, SMALL = CASES[0], (1, 1, 3, 3, 4, 3, 1, 1)


@pytest.fixture(autouse=True)
def _kernels(monkeypatch):
    if DEVICE == "cpu":  # the interpreter's time is that of turns and programs, whatever their size
        for kernel in KERNELS:
            _choose(kernel, 8, 8, 16, monkeypatch)
    with use_backend("triton"):
        yield


def _choose(kernel, TH, TW, KH, monkeypatch):
    config = triton.Config({"TH": TH, "TW": TW, "KH": KH, "KW": 16}, num_warps=4, num_stages=2)
    monkeypatch.setattr(kernel, "configs", [config])


def _inputs(case, dtype=torch.float32):
    """q, k and v that require gradients."""
    B, n, d, H, W = case[:5]
    maps = torch.randn(3, B, n, d, H, W, generator=torch.Generator().manual_seed(sum(case))).to(DEVICE, dtype)
    return [m.clone().requires_grad_() for m in maps]


def _all(function, inputs, case, grad=None):
    """The result and the gradients of those inputs that require one."""
    out = function(*inputs, *case[5:])
    if grad is None:
        grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(0))
    return out, *torch.autograd.grad(out, [t for t in inputs if t.requires_grad], grad.to(out))


def _reference(q, k, v, *options):
    return window_attention_reference(q.double(), k.double(), v.double(), *options)


def _close(found, expected, tolerance=1e-5):
    for i, (f, e) in enumerate(zip(found, expected, strict=True)):
        assert f.shape == e.shape
        error = (f.double() - e).abs().max().item()
        # 0.1 as well: what ought to be 0 is a difference of numbers around 1, such as the slopes of a single score
        assert error <= tolerance * max(e.abs().max().item(), 0.1), f"number {i} is off by {error}"


def _equal(found, expected):
    return all(torch.equal(f, e) for f, e in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("case", "dtype"),
    [(c, torch.float32) for c in CASES] + [(c, t) for c in CASES[3:7:3] for t in (torch.float16, torch.bfloat16)],
)
def test_equals_the_reference_with_all_gradients(case, dtype):
    inputs = _inputs(case, dtype)
    found = _all(window_attention, inputs, case)
    B, n, d, H, W, _, _, stride = case
    assert found[0].shape == (B, n, d, (H - 1) // stride + 1, (W - 1) // stride + 1)
    assert all(t.permute(0, 3, 4, 1, 2).is_contiguous() and t.dtype == dtype for t in found)
    _close(found, _all(_reference, inputs, case), TOLERANCE[dtype])


def test_the_layout_is_that_of_the_pytorch_path():
    inputs = _inputs(FIRST)
    with use_backend("pytorch"):
        expected = window_attention(*inputs, *FIRST[5:])
    found = window_attention(*inputs, *FIRST[5:])
    assert found.stride()[1:3] == expected.stride()[1:3] == (3, 1)


def test_equal_keys_average_the_window():
    v = torch.zeros(1, 1, 1, 5, 5, device=DEVICE)
    v[..., 2, 2] = 9.0
    out = window_attention(torch.ones_like(v), torch.zeros_like(v), v, 3)
    expected = torch.zeros(5, 5, device=DEVICE)
    expected[1:4, 1:4] = 1.0  # the nine pixels that see the middle, each among nine
    torch.testing.assert_close(out[0, 0, 0], expected)


@pytest.mark.parametrize("config", attention.CONFIGS, ids=lambda c: f"{c.kwargs['TH']}x{c.kwargs['TW']}")
def test_every_configuration_gives_the_same(config, monkeypatch):
    for kernel in KERNELS:
        monkeypatch.setattr(kernel, "configs", [config])
    case = (1, 1, 3, 3, 9, 3, 1, 1)
    inputs = _inputs(case)
    _close(_all(window_attention, inputs, case), _all(_reference, inputs, case))


def test_heads_wider_than_a_block(monkeypatch):
    monkeypatch.setattr(attention, "MAX_CHANNELS", 16)
    case = (1, 1, 37, 3, 4, 3, 1, 1)  # blocks of 16, 16 and 5 channels
    inputs = _inputs(case)
    _close(_all(window_attention, inputs, case), _all(_reference, inputs, case))


LAYOUTS = {
    "rows of a projection": lambda x: x.permute(0, 3, 4, 1, 2).contiguous().permute(0, 3, 4, 1, 2),
    "a slice of rows": lambda x: (
        torch.cat((x, x), 2).permute(0, 3, 4, 1, 2).contiguous()[..., x.shape[2] :].permute(0, 3, 4, 1, 2)
    ),
    "every second column": lambda x: x.permute(0, 3, 4, 1, 2).repeat_interleave(2, 2)[:, :, ::2].permute(0, 3, 4, 1, 2),
    "transposed": lambda x: x.transpose(3, 4).contiguous().transpose(3, 4),
    "expanded": lambda x: x[:, :1].expand(x.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_that_is_not_contiguous(layout):
    case = (1, 2, 3, 3, 4, 3, 1, 1)
    parts = [LAYOUTS[layout](t.detach()) for t in _inputs(case)]
    grad = LAYOUTS[layout](torch.randn(case[:5], generator=torch.Generator().manual_seed(1)).to(DEVICE))
    assert not any(t.is_contiguous() for t in (*parts, grad))
    assert all((attention.channels_last(t) is t) == (t.stride(2) == 1) for t in parts)
    inputs = [t.requires_grad_() for t in parts]
    _close(_all(window_attention, inputs, case, grad), _all(_reference, inputs, case, grad))


# ---- what is not finite ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "wild"),
    [
        ("q", NAN),
        ("k", NAN),
        ("v", NAN),
        ("grad", NAN),
        ("q", INF),
        ("k", INF),
        ("k", -INF),
        ("v", INF),
        ("grad", -INF),
    ],
)
def test_what_is_not_finite_stays_where_it_is_seen(where, wild):
    case = (1, 1, 2, 6, 7, 3, 1, 1)
    inputs = _inputs(case)
    grad = torch.randn(case[:5], generator=torch.Generator().manual_seed(1)).to(DEVICE)
    tame = _all(window_attention, inputs, case, grad)
    with torch.no_grad():
        {"q": inputs[0], "k": inputs[1], "v": inputs[2], "grad": grad}[where][0, 0, 1, 1, 4] = wild
    found = _all(window_attention, inputs, case, grad)
    rows, columns = torch.arange(6, device=DEVICE).view(-1, 1), torch.arange(7, device=DEVICE)
    distance = torch.maximum((rows - 1).abs(), (columns - 4).abs())  # no reflection leads elsewhere from this pixel
    queries = distance == 0 if where in ("q", "grad") else distance <= 1
    keys = distance <= (1 if where in ("q", "grad") else 2)
    reach = (queries, queries, keys, keys)
    for name, t, before, near in zip(("out", "dq", "dk", "dv"), found, tame, reach, strict=True):
        assert torch.equal(t[..., ~near], before[..., ~near]), f"{name} changes where the value is not in the window"
    expected = _all(_reference, inputs, case, grad)
    for name, t, e in zip(("out", "dq", "dk", "dv"), found, expected, strict=True):
        assert not (e.isfinite() < t.isfinite()).any(), f"{name} is finite where the reference is not"
    if where in ("q", "k"):  # a score of -inf is a weight of 0
        assert torch.equal(found[0].isfinite(), expected[0].isfinite())
    else:
        assert not (found[0] if where == "v" else found[1])[..., queries].isfinite().any()


def test_one_huge_key_takes_all_the_weight():
    q, k, v = (t.detach() for t in _inputs((1, 1, 1, 5, 6, 3, 1, 1)))
    q.fill_(1.0)
    k[..., 2, 3] = 1e9
    out = window_attention(q, k, v, 3)
    assert (out[..., 1:4, 2:5] == v[..., 2, 3]).all()
    assert out.isfinite().all()


# ---- modes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0, 2, 3, 4, 5), (2, 0, 3, 4, 5)], ids=["no image", "no head"])
def test_nothing_to_compute(shape):
    q = torch.zeros(shape, device=DEVICE, requires_grad=True)
    out = window_attention(q, q, q, 3, 1, 2)
    assert out.shape == (*shape[:3], 2, 3)
    assert torch.autograd.grad(out.sum(), q)[0].shape == shape


def test_64_bit_offsets(monkeypatch):
    inputs = _inputs(SMALL)
    expected = _all(window_attention, inputs, SMALL)
    monkeypatch.setattr(launch, "wide", lambda *_: True)
    assert _equal(_all(window_attention, inputs, SMALL), expected)


def test_same_bits_each_time_and_in_any_order_of_programs():
    case = (2, 2, 3, 1, 3, 3, 1, 1)
    inputs = _inputs(case)
    grad = torch.randn(case[:5], generator=torch.Generator().manual_seed(1)).to(DEVICE)
    expected = _all(window_attention, inputs, case, grad)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        turned = [t.detach().flip(0, 1).requires_grad_() for t in inputs]
        found = _all(window_attention, turned, case, grad.flip(0, 1))
    finally:
        torch.use_deterministic_algorithms(False)
    assert _equal([t.flip(0, 1) for t in found], expected)


@pytest.mark.parametrize("wanting", [0, 1, 2])
def test_only_wanted_gradients(wanting):
    inputs = [t if i == wanting else t.detach() for i, t in enumerate(_inputs(SMALL))]
    found = _all(window_attention, inputs, SMALL)
    _close(found, _all(_reference, inputs, SMALL))
    with torch.no_grad():
        assert torch.equal(window_attention(*inputs, *SMALL[5:]), found[0])


def test_float64_is_refused():
    x = torch.zeros(1, 1, 2, 3, 3, dtype=torch.float64, device=DEVICE)
    with pytest.raises(RuntimeError, match="float32, float16 and bfloat16, not in float64"):
        window_attention(x, x, x, 3)


def test_the_operators_keep_pytorchs_rules():
    case = (1, 1, 2, 3, 2, 3, 1, 2)
    inputs = (*_inputs(case), *case[5:])
    torch.library.opcheck(torch.ops.addmodules.window_attention_forward.default, inputs)
    out, lse = torch.ops.addmodules.window_attention_forward(*inputs)
    saved = [t.detach() for t in (torch.ones_like(out), *inputs[:3], out, lse)]
    torch.library.opcheck(torch.ops.addmodules.window_attention_backward.default, (*saved, *case[5:]))


def test_compiles_to_one_graph():
    case = (1, 1, 2, 3, 2, 3, 1, 2)
    inputs = _inputs(case)
    compiled = torch.compile(window_attention, fullgraph=True, backend="aot_eager")
    assert _equal(_all(compiled, inputs, case), _all(window_attention, inputs, case))


def test_acmix_under_autocast():
    torch.manual_seed(0)
    net = ACmix(4, 4, kernel_att=3, head=2).to(DEVICE)
    x = torch.randn(1, 4, 5, 4, device=DEVICE).contiguous(memory_format=torch.channels_last)
    results = []
    for backend in ("triton", "pytorch"):
        with use_backend(backend), torch.autocast(DEVICE, torch.bfloat16):
            out = net(x)
        assert out.dtype == torch.bfloat16
        results.append((out, *torch.autograd.grad(out.float().square().sum(), net.conv2.weight)))
    _close(results[0], [t.double() for t in results[1]], TOLERANCE[torch.bfloat16])


# ---- compilation for a GPU that is not there -------------------------------------------------------------------------

# dtype, compute capability, channels, dilation, stride, precision of products, 64-bit offsets
COMPILED = [
    ("fp16", 90, 16, 1, 1, "ieee", False),
    ("bf16", 80, 20, 2, 1, "ieee", True),
    ("fp32", 90, 16, 1, 2, "tf32x3", True),
    ("fp32", 80, 16, 1, 1, "tf32", False),
    ("fp16", 80, 160, 1, 1, "ieee", False),
]
# runs without the interpreter; prints for each kernel what ptxas made of it
COMPILE = """
import json, sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from ultralytics.nn.ops.kernels import attention, attention_backward as backward

FLOAT32 = {"lse": "*fp32", "delta": "*fp32", "scale": "fp32"}
for dtype, capability, d, dilation, stride, precision, wide in json.loads(sys.argv[1]):
    fixed = dict(D=attention.channel_block(d), d=d, REACH=3 * dilation, STRIDE=stride)
    fixed |= dict(DILATION=dilation, PRECISION=precision)
    for kernel in (attention.forward_kernel, backward.query_kernel, backward.key_kernel):
        config = kernel.configs[0 if capability == 90 else 1]
        values = {**fixed, "REFLECTED_ONCE": not wide, "WIDE": wide, "ALIGN": d & -d, **config.kwargs}
        types = {}
        for name in kernel.fn.arg_names:
            pointer = name in ("q", "k", "v", "grad", "out", "dq", "dk", "dv")
            types[name] = "constexpr" if name in values else FLOAT32.get(name, f"*{dtype}" if pointer else "i32")
        aligned = [i for i, (name, t) in enumerate(types.items()) if t[0] == "*" or name[2:] in ("row", "pixel")]
        source = ASTSource(kernel.fn, types, values, {(i,): [["tt.divisibility", 16]] for i in aligned})
        options = {"num_warps": config.num_warps, "num_stages": config.num_stages}
        done = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
        found = kernel.fn.__name__, dtype, done.metadata.shared, "mma" in done.asm["ptx"], len(done.asm["cubin"])
        print(json.dumps(found))
"""


@pytest.mark.slow
def test_every_kernel_compiles_for_ampere_and_hopper(tmp_path):
    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
    if not tools.exists() and not shutil.which("ptxas"):
        pytest.skip("neither Triton nor the machine has ptxas")
    root = Path(__file__).resolve().parents[3]
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment |= {"PYTHONPATH": str(root), "TRITON_CACHE_DIR": str(tmp_path), "TRITON_DEFAULT_FP_FUSION": "1"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, json.dumps(COMPILED)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    kernels = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(kernels) == 3 * len(COMPILED)
    for name, dtype, shared, tensor_cores, size in kernels:
        assert size and tensor_cores, f"{name} in {dtype}"
        assert shared <= 100_000, f"{name} in {dtype} wants {shared} bytes of shared memory"
