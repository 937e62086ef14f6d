"""Events of a run, and the users' functions that are called when they fire."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ultralytics.utils.suggest import did_you_mean

Callback = Callable[[Any], None]

EVENTS = (
    # training, with the trainer as the only argument
    "on_pretrain_routine_start",
    "on_pretrain_routine_end",
    "on_train_start",
    "on_train_epoch_start",
    "on_train_batch_start",
    "optimizer_step",
    "on_before_zero_grad",
    "on_batch_end",
    "on_train_batch_end",
    "on_train_epoch_end",
    "on_fit_epoch_end",
    "on_model_save",
    "on_train_end",
    "on_params_update",
    "teardown",
    # validation, with the validator
    "on_val_start",
    "on_val_batch_start",
    "on_val_batch_end",
    "on_val_end",
    # prediction, with the predictor
    "on_predict_start",
    "on_predict_batch_start",
    "on_predict_postprocess_end",
    "on_predict_batch_end",
    "on_predict_end",
)


class Callbacks(dict[str, list[Callback]]):
    """Functions by event; an event that does not exist is an error, since its function would never run."""

    def __init__(self, functions: Mapping[str, list[Callback]] | None = None) -> None:
        super().__init__({event: [] for event in EVENTS})
        for event, callbacks in (functions or {}).items():
            for function in callbacks:
                self.add(event, function)

    def add(self, event: str, function: Callback) -> None:
        """Call `function` whenever `event` fires, after those already there.

        Raises:
            ValueError: there is no such event.
        """
        self._check(event)
        self[event].append(function)

    def replace(self, event: str, function: Callback) -> None:
        """Call only `function` whenever `event` fires.

        Raises:
            ValueError: there is no such event.
        """
        self._check(event)
        self[event] = [function]

    def run(self, event: str, source: object) -> None:
        """Call the functions of `event` with the object that fires it."""
        for function in self[event]:
            function(source)

    def _check(self, event: str) -> None:
        if event not in self:
            hint = did_you_mean(event, EVENTS) or f"; events: {', '.join(EVENTS)}"
            raise ValueError(f"there is no event '{event}'{hint}")
