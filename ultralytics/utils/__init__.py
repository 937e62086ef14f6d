"""What every room may use and what costs nothing to import: the logger, the package folder, the settings namespace."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[1]  # the package folder, where the model and dataset files that ship are found
RANK = int(os.environ.get("RANK", "-1"))  # process number in a distributed run, -1 in a single process
LOCAL_RANK = int(os.environ.get("LOCAL_RANK", "-1"))
VERBOSE = os.environ.get("YOLO_VERBOSE", "true").lower() == "true"


class IterableSimpleNamespace(SimpleNamespace):
    """Settings with attribute access; iterating yields (name, value) pairs. Official checkpoints name this class."""

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(vars(self).items())

    def __getattr__(self, name: str) -> Any:
        # only called when normal lookup fails; dunder probes by copy and pickle must get the plain answer
        raise AttributeError(f"there is no setting '{name}'; known are: {', '.join(vars(self))}")

    def get(self, key: str, default: Any = None) -> Any:
        """Value of `key`, or `default` when it is not set."""
        return vars(self).get(key, default)


class _CurrentStdout(logging.StreamHandler):
    """Writes to whatever sys.stdout is now, so that redirected and captured output stays in order with print."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        return sys.stdout

    def handleError(self, record: logging.LogRecord) -> None:
        if isinstance(sys.exc_info()[1], BrokenPipeError):  # the reader has gone: the work goes on unheard
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
        else:
            super().handleError(record)


def _make_logger() -> logging.Logger:
    logger = logging.getLogger("ultralytics")
    if not logger.handlers:
        handler = _CurrentStdout()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO if VERBOSE and RANK in (-1, 0) else logging.ERROR)
        logger.propagate = False
    return logger


LOGGER = _make_logger()
