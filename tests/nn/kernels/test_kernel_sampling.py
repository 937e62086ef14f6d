"""AKConv's kernels: sampling and its projection against the float64 reference, in Triton's interpreter or on a GPU.

test_akconv.py has the module on top of them.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

triton = pytest.importorskip("triton", reason="Triton is not installed")

from ultralytics.nn import ops  # noqa: E402  there may be no Triton
from ultralytics.nn.ops import backends, sample_conv, sample_points, sample_points_reference  # noqa: E402
from ultralytics.nn.ops.kernels import sample_conv as conv_kernels  # noqa: E402
from ultralytics.nn.ops.kernels import sampling  # noqa: E402

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
NOT_RUN = backends.interpreter_missing() if DEVICE == "cpu" else ""
pytestmark = [pytest.mark.slow, pytest.mark.skipif(NOT_RUN != "", reason=NOT_RUN)]
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-2, torch.bfloat16: 2e-2}  # relative to the largest value
#        B, C, H, W, N, h, w, K
CASES = [
    (2, 3, 5, 7, 4, 5, 7, 5),  # odd sides, a rectangle, two images
    (1, 1, 1, 1, 3, 1, 1, 1),  # one pixel: no neighbour on any side
    (2, 5, 2, 3, 1, 2, 3, 17),  # one point
    (1, 17, 1, 6, 5, 1, 3, 33),  # one row
    (1, 33, 6, 1, 2, 3, 1, 3),  # one column
    (1, 2, 9, 4, 16, 5, 2, 4),  # many points, an output smaller than the map
    (1, 70, 3, 4, 2, 3, 4, 130),  # more channels and outputs than a block has
]
FIRST, WIDEST = CASES[0], CASES[-1]


@pytest.fixture(autouse=True)
def _kernels():
    with ops.use_backend("triton"):
        yield


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


def _inputs(case, dtype=torch.float32):
    """x, points, weight and bias that require gradients; the points from two pixels outside to two outside."""
    B, C, H, W, N, h, w, K = case
    g = torch.Generator().manual_seed(sum(case))
    size = torch.tensor([H, W]).view(1, 2, 1, 1, 1)
    points = torch.rand(B, 2, N, h, w, generator=g) * (size + 3) - 2
    x, weight, bias = (torch.randn(shape, generator=g) for shape in ((B, C, H, W), (K, C, N), (K,)))
    parts = x.to(dtype), points.flatten(1, 2), weight.to(dtype), bias.to(dtype)
    return tuple(t.to(DEVICE).requires_grad_() for t in parts)


def _gradient(out, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(out.shape, generator=g).to(out)


def _reference(x, points, weight, bias=None):
    samples = sample_points_reference(x.double(), points.double())
    out = torch.einsum("bcnhw,kcn->bkhw", samples, weight.double())
    return out if bias is None else out + bias.double().view(-1, 1, 1)


def _close(found, expected, tolerance=1e-5):
    for i, (f, e) in enumerate(zip(found, expected, strict=True)):
        assert f.shape == e.shape
        error = (f.double() - e).abs().max().item()
        # numbers are about 1 large; some ought to be 0, such as the gradient of a point on a map of one pixel
        assert error <= tolerance * max(e.abs().max().item(), 1), f"number {i} is off by {error}"


def _all(function, inputs, grad=None):
    """The result and the gradients of those inputs that require one."""
    out = function(*inputs)
    wanted = [t for t in inputs if t is not None and t.requires_grad]
    return out, *torch.autograd.grad(out, wanted, _gradient(out) if grad is None else grad)


DTYPED = [(case, torch.float32) for case in CASES]
DTYPED += [(case, dtype) for case in (FIRST, CASES[3]) for dtype in (torch.float16, torch.bfloat16)]


@pytest.mark.parametrize(("case", "dtype"), DTYPED)
def test_sample_points_and_its_gradients(case, dtype):
    inputs = _inputs(case, dtype)[:2]
    found = _all(sample_points, inputs)
    B, C, _, _, N, h, w, _ = case
    assert found[0].permute(0, 3, 4, 2, 1).is_contiguous()
    assert found[0].shape == (B, C, N, h, w)
    assert [t.dtype for t in found] == [dtype, dtype, torch.float32]
    _close(found, _all(lambda x, p: sample_points_reference(x.double(), p.double()), inputs), TOLERANCE[dtype])


@pytest.mark.parametrize(("case", "dtype"), DTYPED)
def test_sample_conv_and_its_gradients(case, dtype, monkeypatch):
    monkeypatch.setattr(conv_kernels, "MIN_PIXELS", 16)  # so that several programs share the weights' gradient
    inputs = _inputs(case, dtype)
    found = _all(sample_conv, inputs)
    assert found[0].permute(0, 2, 3, 1).is_contiguous()
    assert [t.dtype for t in found] == [dtype, dtype, torch.float32, dtype, dtype]
    _close(found, _all(_reference, inputs), TOLERANCE[dtype])


def test_small_blocks_give_the_same(monkeypatch):
    for kernel in (conv_kernels.sample_conv_kernel, conv_kernels.sample_conv_backward_kernel):
        monkeypatch.setattr(kernel, "configs", [triton.Config({"BLOCK": 16, "MAX_CHANNELS": 16, "MAX_OUT": 16})])
    for kernel in (sampling.sample_kernel, sampling.sample_backward_kernel):
        monkeypatch.setattr(kernel, "configs", [triton.Config({"BLOCK": 16, "MAX_CHANNELS": 4})])
    monkeypatch.setattr(conv_kernels, "WEIGHT_BLOCK", (16, 16))
    inputs = _inputs((1, 21, 3, 4, 2, 3, 5, 19))
    _close(_all(sample_conv, inputs), _all(_reference, inputs))
    plain = _all(lambda x, p: sample_points_reference(x.double(), p.double()), inputs[:2])
    _close(_all(sample_points, inputs[:2]), plain)


LAYOUTS = {
    "channels-last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "a slice of channels": lambda x: torch.cat((x, x), 1).contiguous(memory_format=torch.channels_last)[
        :, x.shape[1] :
    ],
    "every second column": lambda x: x.repeat_interleave(2, 3)[..., ::2],
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "expanded": lambda x: x[:1].expand(x.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_that_is_not_contiguous(layout):
    x, points, weight, _ = (t.detach() for t in _inputs((2, 3, 4, 3, 2, 3, 2, 5)))
    grad = torch.randn(2, 5, 3, 2, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    parts = [LAYOUTS[layout](t) for t in (x, points, grad)]
    weight = weight.transpose(0, 2).contiguous().transpose(0, 2)
    assert not any(t.is_contiguous() for t in (*parts, weight))
    inputs = [t.detach().requires_grad_() for t in (*parts[:2], weight)]
    _close(_all(sample_conv, inputs, parts[2]), _all(_reference, inputs, parts[2]))
    inputs = inputs[:2]
    grad = torch.stack((parts[2], parts[2]), 2)[:, :3]
    found = _all(sample_points, inputs, grad)
    _close(found, _all(lambda x, p: sample_points_reference(x.double(), p.double()), inputs, grad))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("wild", [float("nan"), float("inf"), -float("inf"), 1e9, 3e38])
def test_wild_points_read_inside_the_map(wild, dtype):
    x, points, weight, _ = (t.detach() for t in _inputs((1, 3, 4, 3, 2, 3, 4, 5), dtype))
    tame = sample_conv(x, points, weight)
    points[:, :, 1, 2] = wild
    inputs = [t.requires_grad_() for t in (x, points, weight)]
    out, *grads = _all(sample_conv, inputs)
    near = torch.ones(out.shape, dtype=torch.bool, device=DEVICE)
    near[..., 1, 2] = False
    assert torch.equal(out[near], tame[near]), "an extreme point changed its neighbors"
    samples, *more = _all(sample_points, inputs[:2])
    assert samples[..., 0, :].isfinite().all()
    if wild == wild:
        _close((out, *grads), _all(_reference, inputs), TOLERANCE[dtype])
        assert all(t.isfinite().all() for t in (samples, *more))
        assert (grads[1][:, :, 1, 2] == 0).all()


@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (2, 3, 4, 5)], ids=["no image", "no pixel"])
def test_nothing_to_compute(shape):
    x = torch.randn(shape, device=DEVICE, requires_grad=True)
    points = torch.zeros(shape[0], 4, 2, 3 if shape[0] == 0 else 0, device=DEVICE, requires_grad=True)
    weight = torch.randn(6, 3, 2, device=DEVICE, requires_grad=True)
    bias = torch.randn(6, device=DEVICE, requires_grad=True)
    out, *grads = _all(sample_conv, (x, points, weight, bias))
    assert out.shape == (shape[0], 6, *points.shape[2:])
    assert [g.shape for g in grads] == [t.shape for t in (x, points, weight, bias)]
    assert not any(g.any() for g in grads)
    samples, *grads = _all(sample_points, (x, points))
    assert samples.shape == (shape[0], 3, 2, *points.shape[2:])
    assert not grads[0].any()


@pytest.mark.parametrize(("size", "N"), [((0, 4), 2), ((3, 0), 1), ((3, 4), 0)])
def test_nothing_to_read_from(size, N):
    x, points = torch.zeros(1, 2, *size, device=DEVICE), torch.zeros(1, 2 * N, 1, 1, device=DEVICE)
    with pytest.raises(ValueError, match="cannot be sampled at points"):
        sample_conv(x, points, torch.zeros(3, 2, N, device=DEVICE))


@pytest.mark.parametrize("mode", ["wide", "deterministic", "both"])
def test_64_bit_offsets_and_fixed_point_sums(mode, monkeypatch, request):
    if mode != "wide":
        request.getfixturevalue("deterministic")
    if mode != "deterministic":
        monkeypatch.setattr(sampling, "wide", lambda *_: True)
    inputs = _inputs(FIRST)
    _close(_all(sample_conv, inputs), _all(_reference, inputs))
    plain = _all(lambda x, p: sample_points_reference(x.double(), p.double()), inputs[:2])
    _close(_all(sample_points, inputs[:2]), plain)


def test_64_bits_are_taken_when_a_tensor_needs_them():
    far = torch.empty_strided((2, 3, 4, 5), (2**31, 1, 15, 3), device="meta")
    near = torch.empty(2, 3, 4, 5, device="meta")
    points = torch.empty(2, 2, 4, 5, device="meta")
    assert sampling.Geometry(far, points).wide()
    assert not sampling.Geometry(near, points).wide(near)
    assert sampling.Geometry(near, points).wide(near, far)


def test_deterministic_sums_do_not_depend_on_the_order_of_programs(deterministic):
    # an output larger than the map, so that many programs add to the same pixels; turned round, they come otherwise
    x, points, _, _ = _inputs((1, 2, 2, 3, 2, 9, 11, 1))
    points = points.detach()
    weight = torch.tensor([[1.0, -3, 2, 5], [4, 2, -1, 3]], device=DEVICE).view(2, 2, 2)
    grad = torch.randn(1, 2, 2, 9, 11, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    whole = (4 * grad[:, :, 0]).round()  # with the weights: products that are exact at any position in a block
    found = []
    for turned in ((), (2,), (2, 3)):
        samples = sample_points(x, points.flip(turned))
        mixed = sample_conv(x, points.flip(turned), weight)
        found.append(torch.autograd.grad(samples, x, grad.flip([d + 1 for d in turned])))
        found[-1] += torch.autograd.grad(mixed, x, whole.flip(turned))
    for other in found[1:]:
        assert torch.equal(other[0], found[0][0])
        assert torch.equal(other[1], found[0][1])


def test_trials_of_the_tuner_leave_no_terms():
    for kernel in (sampling.sample_backward_kernel, conv_kernels.sample_conv_backward_kernel):
        assert kernel.reset_to_zero == ["terms"]


@pytest.mark.parametrize("wanting", ["x", "points", "weight", "bias"])
def test_only_wanted_gradients(wanting):
    inputs = dict(zip(("x", "points", "weight", "bias"), _inputs((1, 3, 4, 3, 2, 2, 3, 5)), strict=True))
    only = [t if name == wanting else t.detach() for name, t in inputs.items()]
    _close(_all(sample_conv, only), _all(_reference, only))


def test_silu_in_the_kernel_and_after_it():
    inputs = _inputs(FIRST)
    expected = F.silu(_reference(*inputs))
    out = sample_conv(*inputs, "silu")
    _close((out, *torch.autograd.grad(out.sum(), inputs)), (expected, *torch.autograd.grad(expected.sum(), inputs)))
    operator = torch.ops.addmodules.sample_conv
    with torch.no_grad():
        fused = sample_conv(*inputs, "silu")
        assert torch.equal(fused, operator(*inputs, True))
    _close((fused,), (expected,))
    with pytest.raises(RuntimeError, match="with SiLU has no gradient"):
        operator(*inputs, True).sum().backward()


def test_weights_of_a_convolution_and_no_bias():
    x, points, weight, _ = _inputs(FIRST)
    assert torch.equal(sample_conv(x, points, weight.unsqueeze(3)), sample_conv(x, points, weight))
    _close((sample_conv(x, points, weight),), (_reference(x, points, weight),))


def test_float64_is_refused():
    x, points, weight, _ = _inputs(FIRST)
    with pytest.raises(RuntimeError, match="not in float64"):
        sample_conv(x.double(), points, weight)


def test_opcheck():
    x, points, weight, bias = _inputs((2, 3, 2, 3, 1, 1, 2, 5))
    operators = torch.ops.addmodules
    torch.library.opcheck(operators.sample_conv.default, (x, points, weight, bias, False))
    torch.library.opcheck(operators.sample_points.default, (x, points))
    x, points, weight = (t.detach() for t in (x, points, weight))
    checks = ("test_schema", "test_faketensor")  # the others are about gradients, and these are gradients already
    for wants in ((True, True, True), (False, True, False)):
        given = (torch.randn(2, 5, 1, 2, device=DEVICE), x, points, weight, *wants)
        torch.library.opcheck(operators.sample_conv_backward.default, given, test_utils=checks)
    given = (torch.randn(2, 3, 1, 1, 2, device=DEVICE), x, points, True, False)
    torch.library.opcheck(operators.sample_points_backward.default, given, test_utils=checks)


# ---- for GPUs that are not here --------------------------------------------------------------------------------------
# This file as a program compiles the kernels for a given GPU; the interpreter accepts much that the compiler refuses.

KERNELS = [
    *(sampling.sample_kernel, sampling.sample_backward_kernel),
    *(conv_kernels.sample_conv_kernel, conv_kernels.sample_conv_backward_kernel, conv_kernels.weight_kernel),
]
POINTERS = {"points": "*fp32", "bias": "*fp32", "unit": "*fp32", "grad_points": "*fp32", "parts": "*fp32"}
SMALL = {"BLOCK": 16, "MAX_CHANNELS": 16, "MAX_OUT": 16, "CHANNELS": 16, "OUT": 16}
LARGE = {"PADDED": 64, "PADDED_OUT": 128, "CHANNELS": 64, "OUT": 128, "N": 5}
#        type, 64 bits, fixed point, precision, GPU, sizes of 1, which the compiler takes for constants
QUICK = [("fp16", False, False, "ieee", 90, False), ("bf16", True, True, "tf32", 80, True)]
THOROUGH = [  # the first two with every block size that the tuner tries
    *((dtype, False, False, "ieee", 90, False) for dtype in ("fp16", "fp32", "bf16")),
    *((dtype, True, True, "ieee", 90, False) for dtype in ("fp16", "fp32", "bf16")),
    *((dtype, False, True, "tf32", 80, False) for dtype in ("fp16", "fp32")),
]


def _compile(kernel, constants, variant, warps=4, stages=2):
    from triton.backends.compiler import GPUTarget

    dtype, wide, fixed, precision, gpu, ones = variant
    function = kernel.fn  # the tuner's
    varying = {*sampling.VARYING, "samples", "pixels", "split_length"}
    assert all(p.do_not_specialize for p in function.params if p.name in varying), "each new map would be compiled for"
    flags = dict.fromkeys(("BIAS", "SILU", "NEEDS_X", "NEEDS_POINTS"), True)
    constants = {"PADDED": 16, "PADDED_OUT": 16, "N": 3, **constants, **flags}
    constants |= {"WIDE": wide, "FIXED": fixed, "PRECISION": precision}
    pointers = {**dict.fromkeys(("x", "out", "weight", "grad"), f"*{dtype}"), **POINTERS}
    pointers["terms"] = "*i64" if fixed else "*fp32"
    if ones:
        constants |= dict.fromkeys(set(function.arg_names) - set(pointers) - set(constants), 1)
    constants = {name: value for name, value in constants.items() if name in function.arg_names}
    signature = {a: "constexpr" if a in constants else pointers.get(a, "i32") for a in function.arg_names}
    source = triton.compiler.ASTSource(fn=function, signature=signature, constexprs=constants)
    options = {"num_warps": warps, "num_stages": stages}
    built = triton.compile(source, target=GPUTarget("cuda", gpu, 32), options=options)
    assert built.asm["cubin"]
    print(function.__name__, *variant, options, {k: v for k, v in constants.items() if k.isupper()}, "compiled")


def _compile_for(scope):
    for i, kernel in enumerate(KERNELS):
        if scope == "quick":
            _compile(kernel, SMALL, QUICK[i % 2])
            continue
        _compile(kernel, SMALL, QUICK[1])
        for variant in THOROUGH:
            for config in kernel.configs if variant in THOROUGH[:2] else kernel.configs[:1]:
                _compile(kernel, {**LARGE, **config.kwargs}, variant, config.num_warps, config.num_stages)


@pytest.mark.parametrize("scope", ["quick", pytest.param("thorough", marks=pytest.mark.slow)])
def test_kernels_compile_for_gpus(scope, tmp_path):
    assembler = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
    if not assembler.exists():
        pytest.skip("this Triton brings no ptxas")
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    env |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-W", "ignore", __file__, scope], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert done.stdout.count("compiled\n") == len(KERNELS) if scope == "quick" else done.stdout


if __name__ == "__main__":
    _compile_for(sys.argv[1])
