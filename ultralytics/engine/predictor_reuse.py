"""The predictor of a YOLO object, kept from call to call because scripts read its state and set attributes on it."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import Any

from ultralytics.cfg import get_cfg
from ultralytics.engine.callbacks import Callbacks
from ultralytics.engine.predictor import BasePredictor

_LOCK = Lock()  # several threads may call one YOLO object


class PredictorSlot:
    """Gives the predictor for each call.

    One object serves one call after the other, each with the options of that call only. A call during another one
    gets a new object, because both would write to one state.

    Attributes:
        predictor: of the last call, or the one that a script set; None before.
    """

    def __init__(self) -> None:
        self.predictor: BasePredictor | None = None
        self._own_options: dict[str, Any] | None = None  # of a predictor that a script set
        self._claimed: BasePredictor | None = None  # whose call has begun and has no generator of results yet

    def assign(self, predictor: BasePredictor | None) -> None:
        """Use a script's predictor in the next calls, with its options where a call gives no others."""
        self.predictor = predictor
        self._own_options = None if predictor is None else dict(predictor.args)

    def take(self, cls: type[BasePredictor], options: Mapping[str, Any], callbacks: Callbacks) -> BasePredictor:
        """The kept predictor with new options, or a new one; `release` follows when its generator exists.

        Args:
            cls: class of a new predictor; one of another class is not used unless a script set it.
            options: of the call, over those of a script's predictor.
            callbacks: functions by event.
        """
        with _LOCK:
            kept = self._usable(cls)
            self._claimed = kept or self._claimed
        if kept is None:
            return self.new(cls, options, callbacks)
        try:
            kept.configure(get_cfg({**(self._own_options or {}), **options}), callbacks)
        except BaseException:
            self.release(kept)
            raise
        return kept

    def new(self, cls: type[BasePredictor], options: Mapping[str, Any], callbacks: Callbacks) -> BasePredictor:
        """A new predictor; it is kept unless a script's is."""
        made = cls(overrides=dict(get_cfg(dict(options))), _callbacks=callbacks)
        with _LOCK:
            if self._own_options is None:
                self.predictor = self._claimed = made
        return made

    def _usable(self, cls: type[BasePredictor]) -> BasePredictor | None:
        kept = self.predictor
        if kept is None or kept is self._claimed or kept.busy:
            return None
        return kept if self._own_options is not None or type(kept) is cls else None

    def release(self, predictor: BasePredictor) -> None:
        """The generator of the call exists, or the call has failed."""
        with _LOCK:
            if self._claimed is predictor:
                self._claimed = None
