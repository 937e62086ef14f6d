"""The Triton kernels of deform_conv2d_depthwise: against the reference in float64, in the interpreter or on a GPU."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ultralytics.nn.ops import backends, deform_conv2d_depthwise, deform_conv2d_reference, use_backend

triton = pytest.importorskip("triton", reason="Triton is not installed: it comes with PyTorch's CUDA builds")

import triton.language as tl  # noqa: E402  there may be no Triton

from ultralytics.nn.ops.kernels import deform, deform_backward, launch  # noqa: E402

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
NOT_RUN = backends.interpreter_missing() if DEVICE == "cpu" else ""
pytestmark = [pytest.mark.slow, pytest.mark.skipif(NOT_RUN != "", reason=NOT_RUN)]
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-2, torch.bfloat16: 2e-2}  # of the largest value
OPERATOR = torch.ops.addmodules.deform_conv2d_depthwise
OPERATOR_BACKWARD = torch.ops.addmodules.deform_conv2d_depthwise_backward

#        B, C, H, W, kernel, stride, padding, dilation
CASES = [
    (2, 3, 5, 7, (3, 3), 1, 1, 1),  # odd sides, a rectangle
    (1, 1, 1, 1, (2, 2), 1, 1, 1),  # one channel, one pixel
    (1, 5, 6, 3, (2, 3), 2, 3, 2),  # stride, dilation, a kernel that is no square
    (2, 17, 3, 4, (1, 2), (1, 2), (0, 1), (1, 3)),  # different options for rows and columns
    (1, 33, 4, 3, (2, 1), 1, 1, 1),  # three blocks of channels forward
    (1, 120, 5, 7, (1, 2), 1, 1, 1),  # two blocks of channels and of pixels backward
    (2, 50, 5, 7, (1, 2), 1, 1, 1),  # three blocks of pixels for two programs
    (1, 4, 4, 5, (5, 5), 1, 6, 3),  # mostly outside the map
]


def _pair(v):
    return v if isinstance(v, tuple) else (v, v)


def _inputs(case, dtype=torch.float32, spread=2.0):
    B, C, H, W, kernel, *options = case
    stride, padding, dilation = map(_pair, options)
    h, w = (
        (size + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i, size in enumerate((H, W))
    )
    g = torch.Generator().manual_seed(C * 100 + H)
    x, offset, weight, grad = (
        torch.randn(s, generator=g, dtype=torch.float64)
        for s in ((B, C, H, W), (B, 2 * kernel[0] * kernel[1], h, w), (C, 1, *kernel), (B, C, h, w))
    )
    x, weight, grad = (t.to(DEVICE, dtype) for t in (x, weight, grad))
    names = ("stride", "padding", "dilation")
    return [x, (offset * spread).float().to(DEVICE), weight], grad, dict(zip(names, options, strict=True))


def _found(inputs, grad, options):
    inputs = [t.detach().requires_grad_() for t in inputs]
    with use_backend("triton"):
        out = deform_conv2d_depthwise(*inputs, **options)
    return out.detach(), *torch.autograd.grad(out, inputs, grad)


def _expected(inputs, grad, options):
    inputs = [t.detach().double().requires_grad_() for t in inputs]
    out = deform_conv2d_reference(*inputs, **options)
    return out.detach(), *torch.autograd.grad(out, inputs, grad.double())


def _assert_same(result, expected, tolerance):
    for name, a, b in zip(("output", "x", "offset", "weight"), result, expected, strict=True):
        assert a.shape == b.shape, name
        error, largest = (a.double() - b).abs().max().item(), b.abs().max().item()
        assert error <= tolerance * largest + 1e-12, f"{name}: off by {error} where the largest value is {largest}"


@pytest.mark.parametrize("case", CASES)
def test_equals_the_reference_and_its_gradients(case):
    arguments = _inputs(case)
    _assert_same(_found(*arguments), _expected(*arguments), TOLERANCE[torch.float32])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("case", [CASES[2], CASES[3]])
def test_float16_and_bfloat16(case, dtype):
    arguments = _inputs(case, dtype)
    result = _found(*arguments)
    assert [t.dtype for t in result] == [dtype, dtype, torch.float32, dtype]
    _assert_same(result, _expected(*arguments), TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_offsets_of_half_types_are_read_as_they_are(dtype):
    (x, offset, weight), grad, options = _inputs((1, 3, 3, 4, (1, 2), 1, 1, 1), dtype)
    offset = offset.to(dtype)
    pairs = [_pair(v) for v in options.values()]
    result = OPERATOR(x, offset, weight, *pairs), *OPERATOR_BACKWARD(grad, x, offset, weight, *pairs, True, True)
    assert result[2].dtype == dtype
    wanted = _found([x, offset.float(), weight], grad, options)
    # Triton's interpreter cuts a bfloat16 off instead of rounding it
    torch.testing.assert_close(result, (*wanted[:2], wanted[2].to(dtype), wanted[3]), rtol=1e-2, atol=1e-6)


def test_offsets_of_zero_are_a_plain_convolution():
    (x, offset, weight), _, options = _inputs(CASES[2])
    expected = torch.nn.functional.conv2d(x, weight, **options, groups=5)
    with use_backend("triton"):
        out = deform_conv2d_depthwise(x, offset * 0, weight, **options)
    torch.testing.assert_close(out, expected)


def test_whole_offsets_have_the_slope_of_the_cell_that_begins_there():
    inputs, grad, options = _inputs((1, 2, 4, 5, (1, 2), 1, 0, 1))
    inputs[1] = inputs[1].round()  # every point on a pixel, some outside and some on the frame round the map
    _assert_same(_found(inputs, grad, options), _expected(inputs, grad, options), 1e-5)


LAYOUTS = {
    "channels_last": lambda t: t.contiguous(memory_format=torch.channels_last),
    "sliced": lambda t: torch.stack((t, t * 0 - 9), -1)[..., 0],
    "transposed": lambda t: t.transpose(2, 3).contiguous().transpose(2, 3),
    "expanded": lambda t: t[:1].expand(2, -1, -1, -1),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_strides(layout):
    (x, offset, weight), grad, options = _inputs((2, 3, 3, 4, (1, 2), 1, 1, 1))
    x, offset, grad = map(LAYOUTS[layout], (x, offset, grad))
    arguments = [x, offset, weight], grad, options
    _assert_same(_found(*arguments), _expected(*arguments), 1e-5)


@pytest.mark.parametrize("case", [CASES[1], (2, 3, 4, 5, (2, 3), 1, 1, 1)], ids=["one number", "several"])
def test_output_and_gradients_have_the_strides_that_the_fake_form_promises(case):
    (x, offset, weight), grad, options = _inputs(case)
    pairs = [list(_pair(v)) for v in options.values()]
    tests = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")
    inputs = [t.requires_grad_() for t in (x, offset, weight)]
    torch.library.opcheck(OPERATOR.default, (*inputs, *pairs), test_utils=tests)
    given = (grad, *(t.detach() for t in inputs), *pairs)
    for wants in ((True, True), (False, True), (True, False)):
        torch.library.opcheck(OPERATOR_BACKWARD.default, (*given, *wants), test_utils=tests[::2])


@pytest.mark.parametrize("wild", [float("nan"), float("inf"), -float("inf"), 1e9, -3e38])
def test_wild_offsets_read_zeros(wild):
    (x, offset, weight), grad, options = _inputs((2, 3, 3, 4, (1, 2), 1, (0, 1), 1), spread=0.7)
    offset[:, 2, 1, 2] = wild  # the row offset of the second tap
    result = _found([x, offset, weight], grad, options)
    # the tap reads nothing there, as if it lay far outside; the reference in float64 cannot take every value
    expected = _expected([x, offset.where(offset.abs() < 9, torch.full_like(offset, 99.0)), weight], grad, options)
    _assert_same(result, expected, 1e-5)
    assert (result[2][:, 2:4, 1, 2] == 0).all()


def test_infinite_values_stay_where_they_are_read():
    (x, offset, weight), grad, options = _inputs((1, 2, 4, 6, (1, 1), 1, 0, 1), spread=0)
    x[0, 0, 1, 1], grad[0, 1, 2, 2] = float("inf"), float("nan")
    out, grad_x, _, _ = _found([x, offset + 0.5, weight], grad, options)
    assert (~out.isfinite()).nonzero().tolist() == [[0, 0, r, c] for r in (0, 1) for c in (0, 1)]
    assert (~grad_x.isfinite()).nonzero().tolist() == [[0, 1, r, c] for r in (2, 3) for c in (2, 3)]


def test_empty_batch():
    (x, offset, weight), grad, options = _inputs(CASES[0])
    result = _found([x[:0], offset[:0], weight], grad[:0], options)
    assert [tuple(t.shape) for t in result] == [(0, 3, 5, 7), (0, 3, 5, 7), (0, 18, 5, 7), (3, 1, 3, 3)]
    assert (result[3] == 0).all()


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True, warn_only=True)  # the reference's own operators have no such form on CUDA
    yield
    torch.use_deterministic_algorithms(False)


# what decides in which order, and whether in registers or in memory, a cell's shares are added
ORDERS = [
    {},
    {"BIN_PIXELS": 16, "BIN_CHANNELS": 2, "REDUCE_BLOCK": 256},
    {"bin_capacity": lambda *_: 0},
    {"bin_capacity": lambda *_: 3},
]


def test_deterministic_sums_are_equal_in_any_order(deterministic, monkeypatch):
    arguments = _inputs((1, 5, 4, 5, (2, 2), 1, 1, 1))
    result = []
    for order in ORDERS:
        with monkeypatch.context() as patch:
            for name, value in order.items():
                patch.setattr(deform_backward, name, value)
            result.append(_found(*arguments))
    _assert_same(result[0], _expected(*arguments), 1e-5)
    for other in result[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result[0], other, strict=True))


@pytest.mark.parametrize("capacity", [0, 2])
def test_full_bins_lose_no_sample(capacity, monkeypatch):
    monkeypatch.setattr(deform_backward, "bin_capacity", lambda *_: capacity)
    arguments = _inputs((1, 17, 3, 4, (2, 2), 1, 1, 1), spread=0.5)
    _assert_same(_found(*arguments), _expected(*arguments), 1e-5)


@pytest.mark.parametrize("fixed", [False, True])
def test_wide_indices_give_the_same(fixed, monkeypatch):
    arguments = _inputs((2, 5, 3, 4, (2, 1), (2, 1), 1, 1))
    torch.use_deterministic_algorithms(fixed, warn_only=True)
    try:
        narrow = _found(*arguments)
        monkeypatch.setattr(launch, "wide", lambda *_: True)
        result = _found(*arguments)
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(result, narrow, rtol=1e-6, atol=1e-6)


def test_compiles_without_a_break():
    inputs, grad, options = _inputs((1, 2, 3, 4, (1, 2), 1, 0, 1))
    arguments = [t.requires_grad_() for t in inputs]
    compiled = torch.compile(
        lambda *t: deform_conv2d_depthwise(*t, **options).square(), fullgraph=True, backend="aot_eager"
    )
    with use_backend("triton"):
        out = compiled(*arguments)
    expected = _expected(inputs, 2 * grad * _expected(inputs, grad, options)[0].to(grad), options)
    result = (out.detach().sqrt(), *torch.autograd.grad(out, arguments, grad))
    _assert_same(result, (expected[0].abs(), *expected[1:]), 1e-5)


def test_autocast_computes_in_what_arrives():
    (x, offset, weight), grad, options = _inputs((1, 3, 3, 4, (1, 2), 1, 0, 1))
    half = x.bfloat16()
    with torch.autocast(DEVICE, dtype=torch.bfloat16):
        out, *grads = _found([half, offset, weight], grad.bfloat16(), options)
    assert [t.dtype for t in (out, *grads)] == [torch.bfloat16, torch.bfloat16, torch.float32, torch.float32]
    expected = _expected([half, offset, weight.bfloat16()], grad.bfloat16(), options)
    _assert_same((out, *grads), expected, TOLERANCE[torch.bfloat16])


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (1, 2)])
def test_only_wanted_gradients(wanted, monkeypatch):
    inputs, grad, options = _inputs((1, 3, 3, 4, (1, 2), 1, 0, 1))
    expected = _expected(inputs, grad, options)
    inputs = [t.detach().requires_grad_(i in wanted) for i, t in enumerate(inputs)]
    monkeypatch.setattr(
        deform_backward,
        "offset_weight_gradients" if wanted == (0,) else "map_gradient",
        lambda *_: pytest.fail("wasted"),
    )
    with use_backend("triton"):
        out = deform_conv2d_depthwise(*inputs, **options)
        with torch.no_grad():
            assert torch.equal(deform_conv2d_depthwise(*inputs, **options), out)
    result = iter(torch.autograd.grad(out, [inputs[i] for i in wanted], grad))
    grads = (next(result) if i in wanted else expected[1 + i] for i in range(3))
    _assert_same((out.detach(), *grads), expected, 1e-5)


def test_float64_is_refused():
    inputs, _, options = _inputs(CASES[1])
    with use_backend("triton"), pytest.raises(RuntimeError, match="not in float64"):
        deform_conv2d_depthwise(*(t.double() for t in inputs), **options)


def test_blocks_of_channels_leave_few_lanes_idle():
    wanted = {1: 16, 16: 16, 17: 32, 33: 16, 48: 16, 64: 64, 96: 32, 120: 128, 128: 128, 192: 64, 512: 128}
    assert {C: deform.channel_block(C) for C in wanted} == wanted


@triton.jit
def _cell_number(out, top, left, width, WIDE: tl.constexpr):
    tl.store(out, deform.cell(top, left, width, WIDE))


def test_cells_beyond_32_bits_have_a_number_of_their_own():
    out = torch.zeros(1, dtype=torch.int64, device=DEVICE)
    _cell_number[(1,)](out, 2**16, 3, 2**16, WIDE=True)
    assert out.item() == 2**32 + 3


@triton.jit
def _last_pixel(out, block, n, h, w, P: tl.constexpr, WIDE: tl.constexpr):
    exists, image, i, j = deform.pixels(block, n, h, w, P, WIDE)
    tl.store(out + tl.arange(0, P), (image * h + i) * w + j, mask=exists)


def test_pixels_beyond_32_bits_have_a_number_of_their_own():
    out = torch.zeros(16, dtype=torch.int64, device=DEVICE)
    _last_pixel[(1,)](out, 2**28, 2**32 + 9, 2**16, 2**15, P=16, WIDE=True)
    assert out.tolist() == [*range(2**32, 2**32 + 9), *[0] * 7]


# ---- do the kernels compile where there is no GPU? -------------------------------------------------------------------

# what an argument is; all others are whole numbers
POINTERS = {
    **dict.fromkeys(("x", "taps", "out", "grad"), "values"),
    **dict.fromkeys(("offset", "grad_offset", "partial", "unit"), "fp32"),
    "counts": "i32",
}
BLOCKS = {
    "forward_kernel": {"TILE": 2048, "BLOCK_C": 64},
    "offset_weight_kernel": {"TILE": 2048, "BLOCK_C": 64},
    "bin_kernel": {"P": 64, "BLOCK_C": 8},
    "reduce_kernel": {"P": 16, "BLOCK_C": 64},
}
WARPS = {"bin_kernel": 2}
VARIANTS = [  # type of the values, 64-bit indices, fixed point, all numbers 1 (Triton makes those constants)
    (values, wide, fixed, False) for values in ("fp32", "fp16", "bf16") for wide in (False, True) for fixed in (0, 1)
] + [("bf16", False, False, True), ("fp32", True, True, True)]


def _compile(kernel, capability, variant):
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.compiler import compile as compile_source

    values, wide, fixed, ones = variant
    varying = {*deform.VARYING, "gb", "gi", "num_cells", "capacity", "row_bits"}
    assert all(p.do_not_specialize for p in kernel.params if p.name in varying), "each new map would be compiled for"
    blocks = BLOCKS[kernel.fn.__name__]
    constants = {**dict.fromkeys(("KH", "KW"), 1 if ones else 7), "WIDE": wide, "FIXED": bool(fixed), **blocks}
    types = {**POINTERS, "entries": "i64" if wide else "i32", "grad_x": "i64" if fixed else "fp32"}
    signature, constexprs, attrs = {}, {}, {}
    for i, name in enumerate(kernel.arg_names):
        if name in constants or (ones and name not in types):
            signature[name], constexprs[name] = "constexpr", constants.get(name, 1)
        elif name in types:
            signature[name] = "*" + types[name].replace("values", values)
            attrs[(i,)] = [["tt.divisibility", 16]]
        else:
            signature[name] = "i32"
            if name in ("C", "W", "ob", "ot", "gb", "gt"):
                attrs[(i,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, constexprs, attrs)
    options = {"num_warps": WARPS.get(kernel.fn.__name__, 4)}
    made = compile_source(source, target=GPUTarget("cuda", capability, 32), options=options)
    assert len(made.asm["cubin"]) > 1000


def _kernels():
    tuned = (deform.forward_kernel, deform_backward.offset_weight_kernel)
    return [*(k.fn for k in tuned), deform_backward.bin_kernel, deform_backward.reduce_kernel]


def _compile_all(capability, variants):
    count = 0
    for variant in variants:
        for kernel in _kernels():
            if "FIXED" in kernel.arg_names or not variant[2]:  # else there is no such variant
                _compile(kernel, capability, variant)
                count += 1
    print(f"compiled {count}")


@pytest.mark.parametrize(
    ("capability", "variants", "count"),
    [
        (90, slice(8, 9), 4),
        pytest.param(90, slice(None), 42, marks=pytest.mark.slow),
        pytest.param(80, slice(None), 42, marks=pytest.mark.slow),
    ],
)
def test_kernels_compile_for_a_gpu(capability, variants, count, tmp_path):
    triton = pytest.importorskip("triton")
    if not list(Path(triton.__file__).parent.glob("backends/nvidia/bin/ptxas*")):
        pytest.skip("Triton came without ptxas")
    from triton.compiler import ASTSource

    if "constexprs" not in inspect.signature(ASTSource).parameters:
        pytest.skip("this version of Triton compiles without a GPU in another way")
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"TRITON_CACHE_DIR": str(tmp_path)}
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, __file__, str(capability), str(variants.start or 0), str(variants.stop or len(VARIANTS))],
        cwd=root,
        env=env | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"compiled {count}" in done.stdout


if __name__ == "__main__":
    _compile_all(int(sys.argv[1]), VARIANTS[int(sys.argv[2]) : int(sys.argv[3])])
