"""The default callbacks of 8.3.0: an empty list for each event, since this package calls no integration."""

from __future__ import annotations

from collections import defaultdict

from ultralytics.engine.callbacks import EVENTS, Callback

default_callbacks: dict[str, list[Callback]] = {event: [] for event in EVENTS}


def get_default_callbacks() -> defaultdict[str, list[Callback]]:
    """A new table of callbacks by event, with what is in `default_callbacks`."""
    return defaultdict(list, {event: list(functions) for event, functions in default_callbacks.items()})


def add_integration_callbacks(instance: object) -> None:
    """Accepts a trainer, validator or predictor and leaves it as it is: no logging service is called by default."""
