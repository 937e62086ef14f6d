"""What is compared: a case is an operator at one shape, with several implementations on the same inputs.

An implementation is a function without arguments and the tensors that it reads. They are channels-last in memory, the
format of this package's networks, which the other implementations read without copies too; the baseline's tensors are
contiguous, PyTorch's default.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import roofline
import torch
from torch import Tensor, nn

from ultralytics.nn.ops.backends import Backend, unavailable, use_backend

IMPLEMENTATIONS = ("kernel", "pytorch", "compiled", "sdpa", "natten", "baseline")
PACKAGE = ("kernel", "pytorch", "compiled")  # those of this package
T = TypeVar("T")


class NotAvailable(Exception):  # noqa: N818  not an error: the implementation is not on this machine
    """Why an implementation cannot run here."""


class Implementation(NamedTuple):
    """One way to compute a case: the call, and the tensors whose gradients the backward pass computes."""

    call: Callable[[], Tensor]
    leaves: tuple[Tensor, ...]
    same_result: bool = True  # as the baseline, up to rounding


@dataclass(frozen=True)
class Case(ABC):
    """An operator on a map of shape (B, C, H, W)."""

    shape: tuple[int, int, int, int]
    level: str

    key = ""  # value of --only
    title = ""
    target = (0.0, 0.0)  # speedup of forward + backward and ratio of peak memory, against the baseline
    baseline_name = ""

    @abstractmethod
    def inputs(self) -> list[Tensor]:
        """Random float32 tensors on the CPU."""

    @abstractmethod
    def package(self, inputs: list[Tensor]) -> Callable[[], Tensor]:
        """This package's function or module on these leaves."""

    @abstractmethod
    def baseline(self, inputs: list[Tensor]) -> Callable[[], Tensor]:
        """The same result, computed as in published code."""

    @abstractmethod
    def operator(self) -> roofline.Operator:
        """Its bytes and multiply-adds."""

    def others(self) -> dict[str, Callable[[list[Tensor]], Implementation]]:
        """Implementations that only this operator has."""
        return {}

    @property
    def implementations(self) -> list[str]:
        """Which of IMPLEMENTATIONS compute this operator."""
        return [name for name in IMPLEMENTATIONS if name in (*PACKAGE, *self.others(), "baseline")]

    def __str__(self) -> str:
        return f"{self.level} {'×'.join(map(str, self.shape))}"

    def implementation(self, name: str, values: list[Tensor]) -> Implementation:
        """Implementation `name`, one of `implementations`, on copies of `values`.

        Raises:
            NotAvailable: it cannot run on this machine; the message says why.
        """
        if name == "baseline":
            leaves = [_leaf(v, torch.contiguous_format) for v in values]
            return Implementation(self.baseline(leaves), tuple(leaves))
        leaves = [_leaf(v, torch.channels_last) for v in values]
        if name in PACKAGE:
            call = self.package(leaves)
            if name == "compiled":
                torch.compiler.reset()  # graphs of other shapes count towards the limit of recompilations
                call = torch.compile(call, fullgraph=True, dynamic=False)
            elif name == "kernel" and (reason := why_no_kernel(leaves[0])):
                raise NotAvailable(reason)
            return Implementation(with_backend(call, "triton" if name == "kernel" else "pytorch"), tuple(leaves))
        return self.others()[name](leaves)


def _leaf(value: Tensor, memory_format: torch.memory_format) -> Tensor:
    copy = torch.empty_like(value, memory_format=memory_format).copy_(value)
    return nn.Parameter(copy)  # a module accepts only parameters as weights


def why_no_kernel(x: Tensor) -> str:
    """Why the Triton kernels cannot compute on `x`; "" if they can."""
    return unavailable(x)


def with_backend(call: Callable[[], T], backend: Backend) -> Callable[[], T]:
    """`call`, with this package's operators computed by one backend."""

    def selected() -> T:
        with use_backend(backend):
            return call()

    return selected
