"""Resuming a run: what a checkpoint keeps of it beside the weights, and how a later process continues from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from ultralytics.cfg import get_cfg, load_cfg_file
from ultralytics.engine.optimization import Optimization
from ultralytics.engine.protocols import Settings
from ultralytics.engine.run_dir import RunDir
from ultralytics.nn.checkpoint import Checkpoint, load_checkpoint
from ultralytics.utils import LOGGER
from ultralytics.utils.torch_utils import EarlyStopping, rng_state, set_rng_state, unwrap

# settings that may change when a run is resumed; the others decide what is trained and how, and stay as they were
MAY_CHANGE = (
    "imgsz", "batch", "device", "close_mosaic", "workers", "cache", "data", "epochs", "time", "patience",
    "save", "save_period", "val", "plots", "verbose", "deterministic", "exist_ok",
)  # fmt: skip
MAX_LISTED = 5  # classes in a message
_IDENTITY = ("mode", "model", "resume", "cfg", "save_dir")  # of the call, not of the training


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
    path = _newest() if isinstance(resume, bool) else Path(str(resume)).expanduser()
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
    """Settings of the run, with those of `overrides` that may change.

    `project` and `name` may be given if the checkpoint was copied out of the run's folder (see `run_folder`).

    Raises:
        ValueError: `overrides` has another value of a setting that cannot change, or too few epochs.
    """
    stored = {k: v for k, v in checkpoint.train_args.items() if k != "save_dir"}
    given = {**_settings_file(overrides), **{k: v for k, v in overrides.items() if k not in _IDENTITY}}
    args, before = get_cfg(stored | given), get_cfg(stored)
    may_change = MAY_CHANGE if run_folder(checkpoint) else (*MAY_CHANGE, "project", "name")
    fixed = [key for key in given if args.get(key) != before.get(key) and key not in may_change]
    if fixed:
        values = ", ".join(f"{key}={before.get(key)}" for key in fixed)
        raise ValueError(
            f"resume continues a run with its own settings, so these cannot be given: {', '.join(fixed)} "
            f"(the run of {checkpoint.path} has {values}). Leave them out, or train anew from its weights: "
            f'model="{checkpoint.path}" without resume'
        )
    finished = int(checkpoint.content["epoch"]) + 1
    if args.epochs <= finished:
        raise ValueError(
            f"epochs={args.epochs}: the run of {checkpoint.path} has finished {finished} epoch{'s' * (finished > 1)}; "
            f"use epochs={finished + 1} or more"
        )
    if run_folder(checkpoint) is None:  # a new folder: neither that of the original run nor one of another computer
        args.exist_ok = bool(given.get("exist_ok", False))
        args.project = args.project if "project" in given or Path(str(args.project)).is_dir() else None
    args.model = args.resume = str(checkpoint.path)
    return args


def _settings_file(overrides: Mapping[str, Any]) -> dict[str, Any]:
    return load_cfg_file(overrides["cfg"]) if overrides.get("cfg") else {}


def run_folder(checkpoint: Checkpoint) -> Path | None:
    """Folder of the run that a checkpoint lies in, which may have been moved as a whole; None for a copied file."""
    weights = checkpoint.path.resolve().parent
    return weights.parent if weights.name == "weights" and (weights.parent / "args.yaml").is_file() else None


def check_classes(checkpoint: Checkpoint, data: Mapping[str, Any]) -> None:
    """Check that a dataset has the classes that the run was trained on.

    Raises:
        ValueError: it has more, fewer, or other ones.
    """
    trained, names = checkpoint.network.names, dict(data["names"])
    if trained == names:
        return
    differing = [i for i in range(max(len(trained), len(names))) if trained.get(i) != names.get(i)]
    listed = "; ".join(_class_difference(i, trained, names) for i in differing[:MAX_LISTED])
    raise ValueError(
        f"{data.get('yaml_file') or 'the data'} has other classes than the run of {checkpoint.path}: {listed}. Restore "
        f'them to resume, or train anew from its weights: model="{checkpoint.path}" without resume'
    )


def _class_difference(i: int, trained: Mapping[int, str], names: Mapping[int, str]) -> str:
    if i not in trained:
        return f"{i}: '{names[i]}' is new"
    return f"{i}: '{trained[i]}' is now '{names[i]}'" if i in names else f"{i}: '{trained[i]}' is missing"


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
            "optimizer_class": type(optimization.optimizer).__name__,
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
