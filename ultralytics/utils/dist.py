"""Facts about a run of several processes, read at each call and never at import.

The launcher (torchrun) sets RANK, LOCAL_RANK and WORLD_SIZE before a process starts its work. Without a process group
every function answers as for a single process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class _Outcome(Generic[T]):
    """What a call on rank 0 gave: one value, or the text of an error."""

    values: tuple[T, ...] = ()
    error: str = ""


def rank() -> int:
    """Index of this process among all of the run, from 0; -1 for a run of one process."""
    return _number("RANK", -1)


def local_rank() -> int:
    """Index of this process among those of its machine, from 0; -1 for a run of one process."""
    return _number("LOCAL_RANK", -1)


def world_size() -> int:
    """Number of processes of the run, at least 1."""
    return max(_number("WORLD_SIZE", 1), 1)


def is_main_process() -> bool:
    """Whether this process prints, validates and writes files: rank 0, or the only process."""
    return rank() <= 0


def is_initialized() -> bool:
    """Whether this process has joined a process group."""
    import torch.distributed  # torch takes seconds to import, and the command line needs the rank without it

    return torch.distributed.is_available() and torch.distributed.is_initialized()


def is_distributed() -> bool:
    """Whether this process trains together with others: several processes, and a process group between them."""
    return world_size() > 1 and is_initialized()


def barrier() -> None:
    """Wait until every process of the run has reached this point."""
    if is_distributed():
        import torch.distributed  # as above

        torch.distributed.barrier()


def broadcast(value: T) -> T:
    """The value that rank 0 has, on every rank; anything that pickles. Without a process group, `value` itself."""
    if not is_distributed():
        return value
    import torch.distributed  # as above

    box = [value]
    torch.distributed.broadcast_object_list(box, src=0)
    return box[0]


def on_main_process(function: Callable[[], T]) -> T:
    """Call `function` on rank 0 only and give its result to every rank, such as the name of the run's folder.

    Raises:
        RuntimeError: on the other ranks, if the call failed on rank 0; rank 0 raises the error itself.
    """
    if not is_main_process():
        outcome: _Outcome[T] = broadcast(_Outcome(error="this process has no connection to rank 0"))
        if not outcome.values:
            raise RuntimeError(f"rank 0 failed: {outcome.error}")
        return outcome.values[0]
    try:
        value = function()
    except BaseException as e:
        broadcast(_Outcome[T](error=f"{type(e).__name__}: {e}"))
        raise
    broadcast(_Outcome(values=(value,)))
    return value


@contextmanager
def main_process_first() -> Iterator[None]:
    """Rank 0 runs the block before the others, such as filling a cache that they then read."""
    if not is_main_process():
        barrier()
    try:
        yield
    finally:
        if is_main_process():
            barrier()


def _number(name: str, default: int) -> int:
    """Value of an environment variable; text that is not a number counts as not set."""
    text = os.environ.get(name, "").strip()
    return int(text) if text.lstrip("-").isdigit() else default
