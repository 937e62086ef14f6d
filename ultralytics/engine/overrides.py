"""A warning for methods of 8.3.0 that a script's subclass overrides, and that this package has no call of."""

from __future__ import annotations

from collections.abc import Mapping

from ultralytics.utils import LOGGER

# method of 8.3.0 -> what to override instead
TRAINER = {
    "_do_train": "train, or callbacks such as on_train_epoch_start",
    "_setup_ddp": "_setup_train",
    "_setup_scheduler": "set `trainer.lf` in the callback on_pretrain_routine_end",
    "_get_memory": "progress_string",
    "_clear_memory": "the callback on_train_epoch_end",
    "build_targets": "the loss of the network (init_criterion)",
    "check_resume": "resume= of the call",
    "resume_training": "the callback on_pretrain_routine_end",
    "read_results_csv": "trainer.csv, which any CSV reader reads",
}
PREDICTOR = {"save_predicted_images": "write_results"}


def warn_ignored(cls: type, instead: Mapping[str, str]) -> None:
    """Log a warning for every method of `instead` that a class has; the classes of this package have none."""
    for name in instead:
        if hasattr(cls, name):
            LOGGER.warning(f"{cls.__name__}.{name} is never called by this package; use {instead[name]}")
