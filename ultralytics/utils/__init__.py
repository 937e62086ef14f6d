"""What every module may use and what is cheap to import: the logger, the package folder, the options namespace.

`RANK`, `LOCAL_RANK` and `VERBOSE` are names of 8.3.0 for scripts; they are evaluated at each access. The package itself
uses utils/dist.py. The other names of 8.3.0 are in official_names.py.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TextIO

from ultralytics.utils import dist
from ultralytics.utils.official_names import official_names
from ultralytics.utils.printable import printable

if TYPE_CHECKING:
    LOCAL_RANK: int
    RANK: int
    VERBOSE: bool

ROOT = Path(__file__).resolve().parents[1]  # the package folder, which contains the model and dataset files
ASSETS = ROOT / "assets"  # example images
_official = official_names(__name__)


def is_verbose() -> bool:
    """Whether informative messages are printed: yes, unless the environment variable YOLO_VERBOSE is not "true"."""
    return os.environ.get("YOLO_VERBOSE", "true").lower() == "true"


def shows_progress() -> bool:
    """Whether progress bars are shown: in a verbose process that has a sys.stderr to write to (pythonw has none)."""
    return is_verbose() and sys.stderr is not None


def __getattr__(name: str) -> object:
    if name == "RANK":
        return dist.rank()
    if name == "LOCAL_RANK":
        return dist.local_rank()
    if name == "VERBOSE":
        return is_verbose()
    return _official(name)


class IterableSimpleNamespace(SimpleNamespace):
    """Options with attribute access; iterating yields (name, value) pairs. Official checkpoints name this class."""

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(vars(self).items())

    def __getattr__(self, name: str) -> Any:
        # called only if normal lookup fails; copy and pickle probe for special methods this way
        raise AttributeError(f"there is no option '{name}'; available: {', '.join(vars(self))}")

    def get(self, key: str, default: Any = None) -> Any:
        """Value of `key`, or `default` if it is not set."""
        return vars(self).get(key, default)


class _CurrentStdout(logging.StreamHandler[TextIO]):
    """Writes to the sys.stdout of the moment, so that redirected and captured output stays in order with print."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    def emit(self, record: logging.LogRecord) -> None:
        if sys.stdout is not None:  # as under pythonw
            super().emit(record)

    @property
    def stream(self) -> TextIO:
        return sys.stdout

    @stream.setter
    def stream(self, value: TextIO) -> None:
        raise AttributeError("the log is always written to sys.stdout")

    def handleError(self, record: logging.LogRecord) -> None:
        if isinstance(sys.exc_info()[1], BrokenPipeError):  # the reader has closed the pipe; the run continues
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
        else:
            super().handleError(record)


def _is_printed(record: logging.LogRecord) -> bool:
    """Errors always; other messages only from the main process, and only if the package is verbose."""
    return record.levelno >= logging.ERROR or (is_verbose() and dist.is_main_process())


def _make_printable(record: logging.LogRecord) -> bool:
    """Replace file names that are not Unicode, which no handler can write; lets every message pass."""
    text = record.getMessage()
    if (readable := printable(text)) != text:
        record.msg, record.args = readable, None
    return True


def _make_logger() -> logging.Logger:
    logger = logging.getLogger("ultralytics")
    if not logger.handlers:
        handler = _CurrentStdout()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        logger.addFilter(_is_printed)
        logger.addFilter(_make_printable)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    return logger


LOGGER = _make_logger()
