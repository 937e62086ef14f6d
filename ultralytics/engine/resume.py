"""Going on with a run: what a checkpoint keeps of it beside the weights, and how a later process takes it up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultralytics.cfg import get_cfg
from ultralytics.nn.checkpoint import Checkpoint, load_checkpoint
from ultralytics.utils import LOGGER, IterableSimpleNamespace
from ultralytics.utils.torch_utils import rng_state, set_rng_state

if TYPE_CHECKING:
    from ultralytics.engine.trainer import BaseTrainer

MAY_CHANGE = ("imgsz", "batch", "device", "close_mosaic", "workers", "exist_ok")  # settings, when a run goes on


def load_to_resume(resume: str | Path | bool) -> Checkpoint:
    """The checkpoint to go on from; with True, the newest last.pt below the current folder.

    Raises:
        FileNotFoundError: there is none.
        ValueError: its training is finished, or another program began it.
    """
    path = _newest() if isinstance(resume, bool) else Path(str(resume))
    checkpoint = load_checkpoint(path)
    if checkpoint.can_resume:
        return checkpoint
    instead = f'train on from its weights with model="{path}" epochs=N instead'
    if checkpoint.content.get("optimizer"):
        raise ValueError(
            f"{path} was written in the middle of a training by another program (ultralytics "
            f"{checkpoint.content.get('version')}), which alone can resume it; {instead}"
        )
    raise ValueError(f"{path} is the file of a finished training, there is nothing to resume; {instead}")


def _newest() -> Path:
    found = sorted(Path.cwd().rglob("last.pt"), key=lambda p: p.stat().st_mtime)
    if not found:
        raise FileNotFoundError(f"resume=True: there is no last.pt below {Path.cwd()}; give resume=path/to/last.pt")
    return found[-1]


def settings_of(checkpoint: Checkpoint, overrides: dict[str, Any]) -> IterableSimpleNamespace:
    """Settings of the run, with those of `overrides` that may change."""
    stored = {k: v for k, v in checkpoint.train_args.items() if k != "save_dir"}
    args = get_cfg(stored | {k: v for k, v in overrides.items() if k in MAY_CHANGE})
    args.model = args.resume = str(checkpoint.path)
    return args


def state_of(trainer: BaseTrainer) -> dict[str, Any]:
    """What a checkpoint keeps of a run, beside the averaged network."""
    return {
        "epoch": trainer.epoch,
        "best_fitness": trainer.best_fitness,
        "updates": trainer.ema.updates,
        "optimizer": trainer.optimizer.state_dict(),
        "train_args": dict(trainer.args),
        "train_metrics": {**trainer.metrics, "fitness": trainer.fitness},
        "train_results": trainer.record.history,
        "resume": {
            "model": trainer.model.state_dict(),
            "scaler": trainer.scaler.state_dict(),
            "stopper": trainer.stopper.state_dict(),
            "last_step": trainer.last_step,
            "rng": rng_state(),
        },
    }


def restore(trainer: BaseTrainer, checkpoint: Checkpoint) -> None:
    """Put a trainer that is ready to begin where the run was when the checkpoint was written."""
    content, saved = checkpoint.content, checkpoint.content["resume"]
    trainer.model.load_state_dict(saved["model"])
    trainer.ema.ema.load_state_dict(checkpoint.network.state_dict())
    trainer.ema.updates = content["updates"]
    trainer.optimizer.load_state_dict(content["optimizer"])
    trainer.scaler.load_state_dict(saved["scaler"])
    trainer.stopper.load_state_dict(saved["stopper"])
    trainer.last_step = saved["last_step"]
    trainer.best_fitness = content["best_fitness"]
    trainer.fitness = content["train_metrics"]["fitness"]
    trainer.start_epoch = trainer.epoch = content["epoch"] + 1
    set_rng_state(saved["rng"])
    LOGGER.info(f"Resuming {checkpoint.path} at epoch {trainer.start_epoch + 1} of {trainer.epochs}")
