"""What the Triton kernels share: tuning, index width, precision of products, and sums whose order does not matter."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
import triton
import triton.language as tl
from torch import Tensor

INTERPRETED = os.environ.get("TRITON_INTERPRET", "0") == "1"  # as Triton itself reads it when it is imported
# older versions compile the kernels, but their interpreters fail at one or another thing that these do
INTERPRETER_RUNS = tuple(map(int, triton.__version__.split(".")[:2])) >= (3, 4)
_ON_CPU = tl.constexpr(INTERPRETED)  # device code sees constants of this type only
_LARGEST_INDEX = 2**31 - 2**20  # in 32 bits, where a last block may count on beyond the end
_TERM_BITS = 40  # a term of a fixed-point sum; 2^22 of the largest fit into 62 bits
_LARGEST_POWER = 126  # of two, in float32: what is smaller than 2^-126 may vanish from a fixed-point sum
_OPTIONS = inspect.signature(triton.runtime.Autotuner).parameters
_KEPT = {"cache_results": True} if "cache_results" in _OPTIONS else {}


def autotuned(configs: list[triton.Config], key: list[str], sums: Sequence[str] = ()) -> Callable:
    """`triton.autotune` whose choice is kept on disk; the interpreter, where time means nothing, takes the first.

    `sums` names the arguments that the kernel adds to: the trials leave their own terms there, so they are zeroed.
    """
    tried = configs[:1] if INTERPRETED else configs
    # `triton.autotune` of 3.2 takes a timer but does not hand it on
    timer = {"do_bench": _time} if "do_bench" in _OPTIONS else {}
    return lambda kernel: triton.runtime.Autotuner(
        kernel, kernel.arg_names, tried, key, list(sums), None, **timer, **_KEPT
    )


def _time(call: Callable[[], None], quantiles: Sequence[float]) -> list[float]:
    # what Triton takes by itself; but 3.2 and 3.3 look for it, and so for a GPU, when a kernel is defined
    return triton.runtime.driver.active.get_benchmarker()(call, quantiles=quantiles)


def on_device_of(x: Tensor, *others: Tensor) -> AbstractContextManager[None]:
    """Launch on the GPU of `x`; Triton itself takes the current one.

    Raises:
        ValueError: one of `others` lies elsewhere, where the kernel could not read it.
    """
    for other in others:
        if other.device != x.device:
            raise ValueError(f"a kernel wants all its tensors on one device, not on {x.device} and {other.device}")
    return torch.cuda.device_of(x)


def wide(*tensors: Tensor) -> bool:
    """Whether an element of one of these lies too far from its first for offsets of 32 bits."""
    return any(
        sum((n - 1) * s for n, s in zip(t.shape, t.stride(), strict=True)) > _LARGEST_INDEX
        for t in tensors
        if t.numel()
    )


def product_precision() -> str:
    """tl.dot's `input_precision` for float32, as torch's own matrix products have it."""
    settings = torch.backends.cuda.matmul
    # torch from 2.9 on: the older name raises an error once somebody has set the newer one
    chosen = getattr(settings, "fp32_precision", None)
    allowed = settings.allow_tf32 if chosen is None else chosen == "tf32"
    return "tf32" if allowed else "ieee"


@triton.jit
def add_product(total: tl.tensor, a: tl.tensor, b: tl.tensor, PRECISION: tl.constexpr) -> tl.tensor:
    """Float32 `total` plus the matrix product of `a` and `b`."""
    if _ON_CPU and a.dtype == tl.bfloat16:  # the interpreter would multiply the 16 bits as integers
        return tl.dot(a.to(tl.float32), b.to(tl.float32), total)
    return tl.dot(a, b, total, input_precision=PRECISION)


# ---- sums by atomic additions ----------------------------------------------------------------------------------------
# Floating-point sums depend on the order of their terms, and atomic additions come in any order. Integers do not: where
# torch is asked for deterministic results the terms are added as 64-bit multiples of 2^-40 of the largest possible one.


class AtomicSum:
    """Zeros that a kernel adds to with `add_term`, in float32 or, if torch is to be deterministic, in fixed point.

    Args:
        shape: of the sum.
        largest: scalar tensor, an upper bound of a term's absolute value; read only in the deterministic case. If it is
            infinite or NaN, so is every element of a deterministic sum.
    """

    def __init__(self, shape: tuple[int, ...], largest: Tensor) -> None:
        self.fixed = torch.are_deterministic_algorithms_enabled()
        kind = torch.int64 if self.fixed else torch.float32
        self.terms = torch.zeros(shape, dtype=kind, device=largest.device)
        self.unit = torch.ones((), device=largest.device)
        if self.fixed:
            exponent = torch.frexp(largest.float()).exponent  # largest < 2^exponent
            unit = torch.ldexp(self.unit, (_TERM_BITS - exponent).clamp(max=_LARGEST_POWER))
            self.unit = torch.where(largest.isfinite(), unit, float("nan"))

    def total(self, dtype: torch.dtype) -> Tensor:
        """The sum in `dtype`."""
        # a power of two divides without rounding
        return (self.terms.float() / self.unit if self.fixed else self.terms).to(dtype)


@triton.jit
def add_term(at: tl.tensor, value: tl.tensor, unit: tl.tensor, mask: tl.tensor, FIXED: tl.constexpr) -> None:
    """Add float32 `value` to an AtomicSum at pointers `at`; `unit` is the sum's, loaded, and FIXED its `fixed`."""
    if FIXED:
        tl.atomic_add(at, (value * unit).to(tl.int64), mask=mask, sem="relaxed")
    else:
        tl.atomic_add(at, value, mask=mask, sem="relaxed")
