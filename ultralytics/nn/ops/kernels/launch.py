"""What the Triton kernels share: autotuning, index width, matrix products, and sums independent of their order."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch
import triton
import triton.language as tl
from torch import Tensor

INTERPRETED = os.environ.get("TRITON_INTERPRET", "0") == "1"  # as Triton itself reads it when it is imported
# older versions compile the kernels, but their interpreters do not support all that the kernels use
INTERPRETER_RUNS = tuple(map(int, triton.__version__.split(".")[:2])) >= (3, 4)
_ON_CPU = tl.constexpr(INTERPRETED)  # kernels can read only constants of this type
_LARGEST_INDEX = 2**31 - 2**20  # for int32 offsets; a last block may compute offsets beyond the end of a tensor
_TERM_BITS = 40  # of a term of a fixed-point sum; the sum of 2^22 terms of the largest value fits into 62 bits
_LARGEST_EXPONENT = 126  # of a power of two in float32; terms below 2^-126 may become 0 in a fixed-point sum
_OPTIONS = inspect.signature(triton.runtime.Autotuner).parameters
_CACHE = {"cache_results": True} if "cache_results" in _OPTIONS else {}
_TUNED: list[tuple[triton.runtime.Autotuner, list[triton.Config]]] = []  # every kernel with its configurations


def autotuned(configs: list[triton.Config], key: list[str], sums: Sequence[str] = ()) -> Callable:
    """Decorator like `triton.autotune` that keeps the chosen configuration on disk.

    The interpreter uses the first configuration, since its run times say nothing about a GPU.

    Args:
        configs: to choose from.
        key: arguments whose values decide which configuration is fastest.
        sums: arguments that the kernel adds to; they are zeroed after each trial run.
    """
    candidates = configs[:1] if INTERPRETED else configs
    # `triton.autotune` of 3.2 accepts a timer but does not pass it on
    timer = {"do_bench": _time} if "do_bench" in _OPTIONS else {}

    def decorate(kernel: triton.runtime.JITFunction) -> triton.runtime.Autotuner:
        tuner = triton.runtime.Autotuner(kernel, kernel.arg_names, candidates, key, list(sums), None, **timer, **_CACHE)
        _TUNED.append((tuner, candidates))
        return tuner

    return decorate


@contextmanager
def without_tuning() -> Iterator[None]:
    """Within this block every kernel runs in its first configuration: a self-test must not wait for trial runs."""
    for tuner, candidates in _TUNED:
        tuner.configs = candidates[:1]
    try:
        yield
    finally:
        for tuner, candidates in _TUNED:  # not the list from before: another thread may be in this block too
            tuner.configs = candidates


def _time(call: Callable[[], None], quantiles: Sequence[float]) -> list[float]:
    # Triton's default timer; 3.2 and 3.3 look it up, and so require a GPU, when a kernel is defined
    return triton.runtime.driver.active.get_benchmarker()(call, quantiles=quantiles)


def on_device_of(x: Tensor, *others: Tensor) -> AbstractContextManager[None]:
    """Launch on the GPU of `x`; Triton itself launches on the current one.

    Raises:
        ValueError: one of `others` is on another device.
    """
    for other in others:
        if other.device != x.device:
            raise ValueError(f"a kernel needs all its tensors on one device, not on {x.device} and {other.device}")
    return torch.cuda.device_of(x)


def wide(*tensors: Tensor) -> bool:
    """Whether one of these tensors needs int64 offsets: its last element is too far from its first for int32."""
    return any(
        sum((n - 1) * s for n, s in zip(t.shape, t.stride(), strict=True)) > _LARGEST_INDEX
        for t in tensors
        if t.numel()
    )


@triton.jit
def add_product(total: tl.tensor, a: tl.tensor, b: tl.tensor, PRECISION: tl.constexpr) -> tl.tensor:
    """Float32 `total` plus the matrix product of `a` and `b`."""
    if _ON_CPU and a.dtype == tl.bfloat16:  # the interpreter would multiply the 16 bits as integers
        return tl.dot(a.to(tl.float32), b.to(tl.float32), total)
    return tl.dot(a, b, total, input_precision=PRECISION)


# ---- sums by atomic additions ----------------------------------------------------------------------------------------
# A floating-point sum depends on the order of its terms, and atomic additions run in any order. An integer sum does
# not: with torch's deterministic algorithms terms are added as int64 multiples of 2^-40 of the largest possible one.


class AtomicSum:
    """Zeros that a kernel adds to with `add_term`: float32, or fixed point if torch uses deterministic algorithms.

    Args:
        shape: of the sum.
        largest: scalar tensor, an upper bound of a term's absolute value; read only in the deterministic case. If it is
            infinite or NaN, every element of a deterministic sum is NaN.
    """

    def __init__(self, shape: tuple[int, ...], largest: Tensor) -> None:
        self.fixed = torch.are_deterministic_algorithms_enabled()
        dtype = torch.int64 if self.fixed else torch.float32
        self.terms = torch.zeros(shape, dtype=dtype, device=largest.device)
        self.unit = torch.ones((), device=largest.device)
        if self.fixed:
            exponent = torch.frexp(largest.float()).exponent  # largest < 2^exponent
            unit = torch.ldexp(self.unit, (_TERM_BITS - exponent).clamp(max=_LARGEST_EXPONENT))
            self.unit = torch.where(largest.isfinite(), unit, float("nan"))

    def total(self, dtype: torch.dtype) -> Tensor:
        """The sum in `dtype`."""
        # dividing by a power of two does not round
        return (self.terms.float() / self.unit if self.fixed else self.terms).to(dtype)


@triton.jit
def add_term(pointers: tl.tensor, value: tl.tensor, unit: tl.tensor, mask: tl.tensor, FIXED: tl.constexpr) -> None:
    """Add float32 `value` to an AtomicSum at `pointers`; `unit` is the sum's, loaded, and FIXED its `fixed`."""
    if FIXED:
        tl.atomic_add(pointers, (value * unit).to(tl.int64), mask=mask, sem="relaxed")
    else:
        tl.atomic_add(pointers, value, mask=mask, sem="relaxed")
