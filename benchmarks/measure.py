"""Time and peak memory of one call, on the CPU and on a GPU, and their text form."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

FLUSH_BYTES = 1 << 30  # many times the L2 cache of any GPU; writing it also outlasts the queueing of a call's launches
WARM_UP = {"cpu": 1, "cuda": 5}  # runs that do not count: autotuning, memory allocation, GPU clocks


class Timer:
    """Seconds that a call takes.

    On a GPU the time between two events, with the L2 cache overwritten before the first. The launches of the call are
    queued while the GPU does that, so the gaps between them do not count where the call is short.

    Args:
        device: "cpu" or "cuda".
        clock: "wall", or "cpu" for processor time, which other processes do not affect; CPU only.
        flush: overwrite the cache; not needed where a call reads more than the cache holds.
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
        self, calls: Mapping[str, Callable[[], object]], repeat: int, failed: dict[str, str] | None = None
    ) -> dict[str, list[float]]:
        """Times of several calls that take turns, so that a slow period of the machine affects all of them.

        With `failed`, an error in one call is stored there under its name, and the others go on without it.
        """
        times: dict[str, list[float]] = {name: [] for name in calls}
        for turn in range(-WARM_UP[self.device], repeat):
            for name, work in calls.items():
                if failed and name in failed:
                    continue
                try:
                    seconds = self(work)
                except Exception as e:
                    if failed is None:
                        raise
                    failed[name] = f"failed: {one_line(e)}"
                    continue
                if turn >= 0:
                    times[name].append(seconds)
        return times


@contextmanager
def determinism(enabled: bool) -> Iterator[None]:
    """Within this block, deterministic algorithms as the trainer sets them, or none."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn, memory = torch.backends.cudnn.deterministic, torch.utils.deterministic
    filled = memory.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(enabled, warn_only=True)
    torch.backends.cudnn.deterministic = enabled
    memory.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message=".*deterministic"
            )  # of operators that have none, in plain networks too
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.deterministic = cudnn
        memory.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


def gpu_peak(work: Callable[[], object]) -> int:
    """Peak GPU memory of a call in bytes, beyond what is allocated before it."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    result = work()
    torch.cuda.synchronize()
    del result
    return torch.cuda.max_memory_allocated() - before


def resident_peak(work: Callable[[], object]) -> int:
    """As `gpu_peak`, for this process's resident memory; libraries should be loaded before, and the heap small."""
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    work()
    return _status("VmHWM") - before


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(f"/proc/self/status has no {key}; memory on a CPU is measured on Linux only")


def spread(seconds: list[float]) -> float:
    """Half the difference between the slowest and the fastest repetition, relative to the fastest."""
    return (max(seconds) / min(seconds) - 1) / 2


def milliseconds(seconds: list[float]) -> str:
    """Median and spread: "1.234 ±5 %"."""
    return f"{1e3 * statistics.median(seconds):.3f} ±{100 * spread(seconds):.0f} %"


def one_line(error: BaseException) -> str:
    """Type and first line of an error, short enough for a table."""
    text = (str(error).strip().splitlines() or [""])[0].replace("|", "/")
    return f"{type(error).__name__}: {text}"[:160]
