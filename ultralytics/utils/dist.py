"""Facts about a run of several processes, read when they are asked for and never at import.

The launcher (torchrun) sets RANK, LOCAL_RANK and WORLD_SIZE before a process starts its work. Without a process group
every function answers as for a single process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


def rank() -> int:
    """Number of this process among all of the run, from 0; -1 for a run of one process."""
    return _number("RANK", -1)


def local_rank() -> int:
    """Number of this process among those of its machine, from 0; -1 for a run of one process."""
    return _number("LOCAL_RANK", -1)


def world_size() -> int:
    """Number of processes of the run, at least 1."""
    return max(_number("WORLD_SIZE", 1), 1)


def is_main_process() -> bool:
    """Whether this process prints, validates and writes files: rank 0, or the only process."""
    return rank() <= 0


def is_initialized() -> bool:
    """Whether this process has joined a process group."""
    import torch.distributed  # torch takes seconds to import; the command line asks for the rank without it

    return torch.distributed.is_available() and torch.distributed.is_initialized()


def barrier() -> None:
    """Wait until every process of the run has come here."""
    if world_size() > 1 and is_initialized():
        import torch.distributed  # as above

        torch.distributed.barrier()


def broadcast(value: T) -> T:
    """The value that rank 0 has, on every rank; anything that pickles. Without a process group, `value` itself."""
    if world_size() == 1 or not is_initialized():
        return value
    import torch.distributed  # as above

    box = [value]
    torch.distributed.broadcast_object_list(box, src=0)
    return box[0]


def on_main_process(function: Callable[[], T]) -> T:
    """Call `function` on rank 0 only and give its result to every rank, such as a run folder that one must choose.

    Raises:
        RuntimeError: on the other ranks, if the call failed on rank 0; rank 0 raises the error itself.
    """
    result: tuple[bool, T | str]
    if not is_main_process():
        result = broadcast((False, "rank 0 was not reached"))
        ok, value = result
        if not ok:
            raise RuntimeError(f"rank 0 failed: {value}")
        return value  # type: ignore[return-value]  # the text comes with ok=False only
    try:
        value = function()
    except BaseException as e:
        broadcast((False, f"{type(e).__name__}: {e}"))
        raise
    broadcast((True, value))
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
    """Value of an environment variable; one that is no number counts as not set."""
    text = os.environ.get(name, "").strip()
    return int(text) if text.lstrip("-").isdigit() else default
