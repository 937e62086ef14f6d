"""Which checkpoints a run writes and when: last.pt, best.pt, epochN.pt, and what remains of them at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ultralytics.engine.run_dir import RunDir
from ultralytics.nn.checkpoint import copy_checkpoint, save_checkpoint, strip_checkpoint


class Checkpoints:
    """The checkpoints of a run.

    Args:
        run_dir: folder of the run.
        save_period: also keep every `save_period`-th epoch as epochN.pt (N from 0); 0 or less for none.
    """

    def __init__(self, run_dir: RunDir, save_period: int = -1) -> None:
        self.run_dir, self.save_period = run_dir, save_period

    def save(self, network: nn.Module, content: Mapping[str, Any], *, epoch: int, is_best: bool) -> None:
        """Write last.pt, and best.pt and epochN.pt where this epoch is one.

        Args:
            network: the averaged network; not changed.
            content: the other keys of the checkpoint (nn/checkpoint), from `resume.state_of`.
            epoch: the one that ended, from 0.
            is_best: whether no epoch before it was better.
        """
        save_checkpoint(self.run_dir.last, network, finished=False, **content)
        if is_best:
            self.copy_best()
        if self.save_period > 0 and epoch % self.save_period == 0:
            copy_checkpoint(self.run_dir.last, self.run_dir.weights / f"epoch{epoch}.pt")

    def copy_best(self) -> None:
        """Make last.pt the best one."""
        copy_checkpoint(self.run_dir.last, self.run_dir.best)

    def finish(self) -> None:
        """Remove from last.pt and best.pt what only a resumed run needs; both get the history of the whole run."""
        for file in (self.run_dir.last, self.run_dir.best):
            if file.exists():
                strip_checkpoint(file, train_results=self.run_dir.history)
