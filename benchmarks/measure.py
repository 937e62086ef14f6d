"""Time and peak memory of one call, on the CPU and on a GPU; how figures are written."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

FLUSH_BYTES = 1 << 30  # many times the L2 cache of any GPU; writing it also outlasts the queueing of a call's launches
WARM_UP = {"cpu": 1, "cuda": 5}  # turns that do not count: autotuning, the allocator, clocks that rise


class Timer:
    """Seconds that a call takes.

    On a GPU between two events, with the L2 cache overwritten before the first. The GPU is busy with that while the
    launches of the call queue up behind it, so that their gaps do not count where the call is short.

    Args:
        device: "cpu" or "cuda".
        clock: "wall", or "cpu" for processor time, which other users of the machine do not lengthen; CPU only.
        flush: overwrite the cache; needless where one call moves more than it holds.
    """

    def __init__(self, device: str, clock: str = "wall", flush: bool = True) -> None:
        self.device = device
        self._now = time.process_time if clock == "cpu" else time.perf_counter
        self._buffer = torch.empty(FLUSH_BYTES if flush else 1, dtype=torch.uint8, device=device) if self._gpu else None

    @property
    def _gpu(self) -> bool:
        return self.device == "cuda"

    def __call__(self, work: Callable[[], object]) -> float:
        if self._buffer is None:
            start = self._now()
            work()
            return self._now() - start
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        self._buffer.zero_()
        first.record()
        work()
        last.record()
        last.synchronize()
        return first.elapsed_time(last) / 1e3

    def in_turns(
        self, sides: Mapping[str, Callable[[], object]], repeat: int, failed: dict[str, str] | None = None
    ) -> dict[str, list[float]]:
        """Times of every side, which take turns, so that a slow minute of the machine falls on all of them.

        With `failed`, a side that raises an error does not end the others' turns: it is noted there, and left out from
        then on.
        """
        taken: dict[str, list[float]] = {side: [] for side in sides}
        for turn in range(-WARM_UP[self.device], repeat):
            for side, work in sides.items():
                if failed and side in failed:
                    continue
                try:
                    seconds = self(work)
                except Exception as e:
                    if failed is None:
                        raise
                    failed[side] = f"failed: {one_line(e)}"
                    continue
                if turn >= 0:
                    taken[side].append(seconds)
        return taken


@contextmanager
def determinism(wanted: bool) -> Iterator[None]:
    """Deterministic algorithms as the trainer asks for them, or none, for a while."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn, memory = torch.backends.cudnn.deterministic, torch.utils.deterministic
    filled = memory.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(wanted, warn_only=True)
    torch.backends.cudnn.deterministic = wanted
    memory.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*deterministic")  # what has no such form; plain networks too
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.deterministic = cudnn
        memory.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


def gpu_peak(work: Callable[[], object]) -> int:
    """Most bytes of GPU memory during a call, over what is held before it."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    result = work()
    torch.cuda.synchronize()
    del result
    return torch.cuda.max_memory_allocated() - before


def resident_peak(work: Callable[[], object]) -> int:
    """As `gpu_peak`, of this process's resident memory. Libraries should have been loaded and the heap be small."""
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    work()
    return _status("VmHWM") - before


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(f"/proc/self/status has no {key}; memory on a CPU is measured on Linux only")


def spread(seconds: list[float]) -> float:
    """Half of what the slowest repetition takes longer than the fastest, as a share."""
    return (max(seconds) / min(seconds) - 1) / 2


def milliseconds(seconds: list[float]) -> str:
    """Median and spread: "1.234 ±5 %"."""
    return f"{1e3 * statistics.median(seconds):.3f} ±{100 * spread(seconds):.0f} %"


def one_line(error: BaseException) -> str:
    """What went wrong, short enough for a table."""
    text = (str(error).strip().splitlines() or [""])[0].replace("|", "/")
    return f"{type(error).__name__}: {text}"[:160]
