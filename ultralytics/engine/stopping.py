"""The time budget of a run: when it is used up, and how many epochs fit into it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class TimeBudget:
    """Time limit of a training; hours, or None for no limit.

    Args:
        hours: the option `time`.
        clock: returns seconds; time.time by default.
    """

    def __init__(self, hours: float | None, clock: Callable[[], float] = time.time) -> None:
        self.seconds = hours * 3600 if hours else None
        self._clock = clock
        self.started = clock()

    def start(self) -> float:
        """Count from now on; returns the time stamp."""
        self.started = self._clock()
        return self.started

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self.started

    @property
    def used_up(self) -> bool:
        """Whether the time is over; False without a limit."""
        return self.seconds is not None and self.elapsed > self.seconds

    def epochs_that_fit(self, epoch: int, start_epoch: int) -> int:
        """Number of epochs of the run by the mean duration of those so far, at least `epoch` + 1.

        Args:
            epoch: the one that just ended, from 0.
            start_epoch: the first one since the start.

        Raises:
            ValueError: there is no limit.
        """
        if self.seconds is None:
            raise ValueError("a run without a time limit has a fixed number of epochs")
        mean = self.elapsed / (epoch - start_epoch + 1)
        return max(math.ceil(self.seconds / mean), epoch + 1)
