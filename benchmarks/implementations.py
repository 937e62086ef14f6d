"""What is compared: a case is an operator at one shape, and its sides are the ways to compute it on the same inputs.

A side is a function without arguments and the tensors it computes on. They lie in channels-last memory, in which our
networks run and others need no copies either; those of the literal side in the format that PyTorch starts with.
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

SIDES = ("kernel", "pytorch", "compiled", "sdpa", "natten", "literal")
OURS = ("kernel", "pytorch", "compiled")
T = TypeVar("T")


class NotAvailable(Exception):  # noqa: N818  no fault: the side is not on this machine
    """Why a side cannot run here."""


class Side(NamedTuple):
    """One way to compute a case: the call, and the tensors whose gradients a backward pass finds."""

    call: Callable[[], Tensor]
    leaves: tuple[Tensor, ...]
    same_result: bool = True  # as the literal side, up to rounding


@dataclass(frozen=True)
class Case(ABC):
    """An operator at a map of B, C, H, W."""

    shape: tuple[int, int, int, int]
    level: str

    key = ""  # word for --only
    title = ""
    asked = (0.0, 0.0)  # times faster forward + backward, times less memory than the literal side
    literal_name = ""

    @abstractmethod
    def inputs(self) -> list[Tensor]:
        """Random float32 tensors on the CPU."""

    @abstractmethod
    def ours(self, inputs: list[Tensor]) -> Callable[[], Tensor]:
        """Our function or module on these leaves."""

    @abstractmethod
    def literal(self, inputs: list[Tensor]) -> Callable[[], Tensor]:
        """The same as people compute it today."""

    @abstractmethod
    def operator(self) -> roofline.Operator:
        """What must be moved and computed."""

    def others(self) -> dict[str, Callable[[list[Tensor]], Side]]:
        """Sides that only this operator has."""
        return {}

    @property
    def sides(self) -> list[str]:
        """Which of SIDES compute this operator."""
        return [name for name in SIDES if name in (*OURS, *self.others(), "literal")]

    def __str__(self) -> str:
        return f"{self.level} {'×'.join(map(str, self.shape))}"

    def side(self, name: str, values: list[Tensor]) -> Side:
        """Side `name`, one of `sides`, on copies of `values`.

        Raises:
            NotAvailable: this machine has no such side; the message says why.
        """
        if name == "literal":
            leaves = [_leaf(v, torch.contiguous_format) for v in values]
            return Side(self.literal(leaves), tuple(leaves))
        leaves = [_leaf(v, torch.channels_last) for v in values]
        if name in OURS:
            call = self.ours(leaves)
            if name == "compiled":
                torch.compiler.reset()  # what was compiled for other shapes counts towards a limit
                call = torch.compile(call, fullgraph=True, dynamic=False)
            elif name == "kernel" and (reason := why_no_kernel(leaves[0])):
                raise NotAvailable(reason)
            return Side(with_backend(call, "triton" if name == "kernel" else "pytorch"), tuple(leaves))
        return self.others()[name](leaves)


def _leaf(value: Tensor, memory_format: torch.memory_format) -> Tensor:
    copy = torch.empty_like(value, memory_format=memory_format).copy_(value)
    return nn.Parameter(copy)  # a module takes nothing else for a weight


def why_no_kernel(x: Tensor) -> str:
    """Why the Triton kernels cannot compute on `x`; "" if they can."""
    return unavailable(x)


def with_backend(call: Callable[[], T], backend: Backend) -> Callable[[], T]:
    """`call`, with our operators computed by one back end."""

    def chosen() -> T:
        with use_backend(backend):
            return call()

    return chosen
