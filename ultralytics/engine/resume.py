"""Resuming a run: what a checkpoint keeps of it beside the weights, and how a later process continues from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from ultralytics.cfg import get_cfg
from ultralytics.engine.optimization import Optimization
from ultralytics.engine.protocols import Settings
from ultralytics.engine.run_dir import RunDir
from ultralytics.nn.checkpoint import Checkpoint, load_checkpoint
from ultralytics.utils import LOGGER
from ultralytics.utils.torch_utils import EarlyStopping, rng_state, set_rng_state, unwrap

MAY_CHANGE = ("imgsz", "batch", "device", "close_mosaic", "workers", "exist_ok")  # settings, when a run is resumed


class ResumableRun(Protocol):
    """The state of a trainer that a checkpoint keeps."""

    args: Settings
    model: nn.Module
    optimization: Optimization
    stopper: EarlyStopping
    record: RunDir
    metrics: dict[str, float]
    fitness: float | None
    best_fitness: float | None
    epoch: int
    start_epoch: int
    epochs: int


def load_to_resume(resume: str | Path | bool) -> Checkpoint:
    """The checkpoint to resume from; with True, the newest last.pt below the current folder.

    Raises:
        FileNotFoundError: there is none.
        ValueError: its training is finished, or another program began it.
    """
    path = _newest() if isinstance(resume, bool) else Path(str(resume))
    checkpoint = load_checkpoint(path)
    if checkpoint.can_resume:
        return checkpoint
    instead = f'to train from its weights, use model="{path}" epochs=N'
    if checkpoint.content.get("optimizer"):
        raise ValueError(
            f"{path} was written in the middle of a training by another program (ultralytics "
            f"{checkpoint.content.get('version')}), and only that program can resume it; {instead}"
        )
    raise ValueError(f"{path} belongs to a finished training, there is nothing to resume; {instead}")


def _newest() -> Path:
    candidates = sorted(Path.cwd().rglob("last.pt"), key=lambda p: p.stat().st_mtime)
    if not candidates:
        raise FileNotFoundError(f"resume=True: there is no last.pt below {Path.cwd()}; use resume=path/to/last.pt")
    return candidates[-1]


def settings_of(checkpoint: Checkpoint, overrides: Mapping[str, Any]) -> Settings:
    """Settings of the run, with those of `overrides` that may change."""
    stored = {k: v for k, v in checkpoint.train_args.items() if k != "save_dir"}
    args = get_cfg(stored | {k: v for k, v in overrides.items() if k in MAY_CHANGE})
    args.model = args.resume = str(checkpoint.path)
    return args


def state_of(run: ResumableRun) -> dict[str, Any]:
    """What a checkpoint keeps of a run, beside the averaged network."""
    optimization = run.optimization
    return {
        "epoch": run.epoch,
        "best_fitness": run.best_fitness,
        "updates": optimization.ema.updates,
        "optimizer": optimization.optimizer.state_dict(),
        "train_args": dict(run.args),
        "train_metrics": {**run.metrics, "fitness": run.fitness},
        "train_results": run.record.history,
        "resume": {
            "model": unwrap(run.model).state_dict(),
            "scaler": optimization.scaler.state_dict(),
            "stopper": run.stopper.state_dict(),
            "last_step": optimization.last_step,
            "rng": rng_state(),
        },
    }


def restore(run: ResumableRun, checkpoint: Checkpoint) -> None:
    """Set a trainer that is ready to begin to the state in which the checkpoint was written."""
    content, saved, optimization = checkpoint.content, checkpoint.content["resume"], run.optimization
    unwrap(run.model).load_state_dict(saved["model"])
    optimization.ema.ema.load_state_dict(checkpoint.network.state_dict())
    optimization.ema.updates = content["updates"]
    optimization.optimizer.load_state_dict(content["optimizer"])
    optimization.scaler.load_state_dict(saved["scaler"])
    optimization.last_step = saved["last_step"]
    run.stopper.load_state_dict(saved["stopper"])
    run.best_fitness = content["best_fitness"]
    run.fitness = content["train_metrics"]["fitness"]
    run.start_epoch = run.epoch = content["epoch"] + 1
    set_rng_state(saved["rng"])
    LOGGER.info(f"Resuming {checkpoint.path} at epoch {run.start_epoch + 1} of {run.epochs}")
