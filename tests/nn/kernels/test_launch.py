"""What the kernels share: sums that do not depend on the order of their terms, and the width of indices."""

from types import SimpleNamespace

import pytest
import torch

triton = pytest.importorskip("triton", reason="Triton is not installed")

import triton.language as tl  # noqa: E402  there may be no Triton

from ultralytics.nn.ops import backends  # noqa: E402
from ultralytics.nn.ops.kernels import launch  # noqa: E402
from ultralytics.nn.ops.tracing import product_precision  # noqa: E402

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
NOT_RUN = backends.interpreter_missing() if DEVICE == "cpu" else ""
pytestmark = pytest.mark.skipif(NOT_RUN != "", reason=NOT_RUN)


@triton.jit
def _scatter(values, slots, out, unit, n, BLOCK: tl.constexpr, FIXED: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < n
    value = tl.load(values + i, mask=inside, other=0.0)
    slot = tl.load(slots + i, mask=inside, other=0)
    launch.add_term(out + slot, value, tl.load(unit), inside, FIXED)


def _sum(values, slots, largest):
    total = launch.AtomicSum((8,), largest)
    _scatter[(triton.cdiv(len(values), 64),)](
        values, slots, total.terms, total.unit, len(values), BLOCK=64, FIXED=total.fixed
    )
    return total.total(torch.float32)


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


def _terms(seed=0, n=1000):
    g = torch.Generator().manual_seed(seed)
    # sizes over many orders of magnitude, where floating-point sums differ with the order
    values = torch.randn(n, generator=g) * 10 ** torch.empty(n).uniform_(-6, 3, generator=g)
    return values.to(DEVICE), torch.randint(8, (n,), generator=g).to(DEVICE)


def _exact(values, slots):
    return torch.zeros(8, dtype=torch.float64, device=DEVICE).index_add_(0, slots, values.double())


def test_sums_in_float32():
    values, slots = _terms()
    torch.testing.assert_close(_sum(values, slots, values.abs().max()), _exact(values, slots).float())


def test_sums_in_fixed_point_are_the_same_in_any_order(deterministic):
    values, slots = _terms()
    result = _sum(values, slots, values.abs().max())
    torch.testing.assert_close(result, _exact(values, slots).float())
    for seed in range(3):
        order = torch.randperm(len(values), generator=torch.Generator().manual_seed(seed)).to(DEVICE)
        assert torch.equal(_sum(values[order], slots[order], values.abs().max()), result)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e30])
def test_fixed_point_follows_the_size_of_the_terms(deterministic, scale):
    values, slots = _terms()
    values = values / values.abs().max() * scale
    expected = _exact(values, slots)
    result = _sum(values, slots, values.abs().max()).double()
    assert (result - expected).abs().max() <= 1e-6 * scale


def test_many_of_the_largest_term_do_not_overflow(deterministic):
    values, slots = torch.full((4096,), -1.999, device=DEVICE), torch.zeros(4096, dtype=torch.long, device=DEVICE)
    # 4096 terms stand for 2^22: the headroom of a term is checked on the integers themselves
    total = launch.AtomicSum((8,), values.abs().max())
    _scatter[(64,)](values, slots, total.terms, total.unit, 4096, BLOCK=64, FIXED=True)
    assert abs(total.terms[0].item()) * (2**22 // 4096) < 2**63
    assert total.total(torch.float32)[0].item() == pytest.approx(-1.999 * 4096)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_terms_that_are_not_finite_make_a_fixed_point_sum_nan(deterministic, bad):
    values, slots = _terms()
    values[17] = bad
    assert _sum(values, slots, values.abs().max()).isnan().all()


@pytest.mark.parametrize(
    "shape, stride, wide",
    [
        ((2, 3), (3, 1), False),
        ((0, 2**40), (2**40, 1), False),  # nothing in it
        ((2**16 - 32, 2**15), (2**15, 1), False),
        ((2**16, 2**15), (2**15, 1), True),  # numbers of a last block that begins in it would pass 2^31 - 1
        ((2**40, 2), (0, 1), False),  # expanded
        ((2, 2), (2**31, 1), True),  # two far rows of a larger tensor
    ],
)
def test_width_of_indices(shape, stride, wide):
    assert launch.wide(torch.empty_strided(shape, stride, device="meta")) == wide
    assert launch.wide(torch.zeros(2), torch.empty_strided(shape, stride, device="meta")) == wide


def test_tensors_of_two_devices_are_an_error_before_a_kernel_reads_them():
    here, elsewhere = torch.zeros(1, 2, 3, 4, device=DEVICE), torch.zeros(1, 2, 3, 4, device="meta")
    with launch.on_device_of(here, here):
        pass
    for given in ((here, elsewhere), (here, here, elsewhere)):
        with pytest.raises(ValueError, match=f"on one device, not on {DEVICE}.* and meta"):
            launch.on_device_of(*given)


def test_defining_a_kernel_looks_for_no_gpu(monkeypatch):
    if "do_bench" not in launch._OPTIONS:
        pytest.skip("this version of Triton takes no timer")
    result = []
    benchmarker = lambda call, quantiles: result.append((call, quantiles)) or [1.0] * 3  # noqa: E731
    driver = SimpleNamespace(active=SimpleNamespace(get_benchmarker=lambda: benchmarker))
    monkeypatch.setattr(triton.runtime, "driver", driver)
    tuned = launch.autotuned([triton.Config({"BLOCK": 64})], ["n"])(_scatter)
    assert not result
    assert tuned.do_bench("kernel", quantiles=(0.5, 0.2, 0.8)) == [1.0] * 3
    assert result == [("kernel", (0.5, 0.2, 0.8))]


@pytest.mark.parametrize("allowed, precision", [(False, "ieee"), (True, "tf32")])
def test_precision_of_products_follows_torch(allowed, precision):
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        assert product_precision() == precision
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def test_precision_of_products_follows_torchs_newer_setting():
    matmul = torch.backends.cuda.matmul
    if getattr(matmul, "fp32_precision", None) is None:
        pytest.skip("torch 2.9 and later have it")
    before = matmul.fp32_precision
    try:
        for chosen in ("tf32", "ieee"):  # reading allow_tf32 raises an error from here on
            matmul.fp32_precision = chosen
            assert product_precision() == chosen
    finally:
        matmul.fp32_precision = before
