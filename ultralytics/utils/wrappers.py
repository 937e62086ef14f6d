"""Decorators and base classes of 8.3.0 for scripts: errors, retries, threads, objects with a readable text."""

from __future__ import annotations

import contextlib
import inspect
import threading
import time
from collections.abc import Callable
from functools import wraps
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from ultralytics.utils import LOGGER

P = ParamSpec("P")
R = TypeVar("R")


class TryExcept(contextlib.ContextDecorator):
    """Context manager and decorator that logs an exception and continues.

    Args:
        msg: goes before the exception's text.
        verbose: whether to log it.
    """

    def __init__(self, msg: str = "", verbose: bool = True) -> None:
        self.msg, self.verbose = msg, verbose

    def __enter__(self) -> None:
        """Nothing is needed before the block."""

    def __exit__(
        self, exc_type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if value is not None and self.verbose:
            LOGGER.warning(f"{self.msg}{': ' if self.msg else ''}{value}")
        return True


class Retry:
    """Decorator that calls a function again after an exception.

    Args:
        times: calls in all; the exception of the last one is raised.
        delay: seconds before the second call; they double with every further one.
    """

    def __init__(self, times: int = 3, delay: float = 2) -> None:
        self.times, self.delay = times, delay

    def __call__(self, func: Callable[P, R]) -> Callable[P, R]:
        @wraps(func)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            for attempt in range(1, self.times):
                try:
                    return func(*args, **kwargs)
                except Exception as e:  # noqa: BLE001 - whatever the function raises
                    LOGGER.warning(f"attempt {attempt} of {self.times} failed: {e}")
                    time.sleep(self.delay * 2 ** (attempt - 1))
            return func(*args, **kwargs)

        return call


class ThreadingLocked:
    """Decorator that lets one thread at a time run a function."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __call__(self, f: Callable[P, R]) -> Callable[P, R]:
        @wraps(f)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            with self.lock:
                return f(*args, **kwargs)

        return call


def threaded(func: Callable[..., R]) -> Callable[..., threading.Thread | R]:
    """Decorator: a call runs in a daemon thread, which is returned; with `threaded=False` it runs as usual."""

    @wraps(func)
    def call(*args: Any, **kwargs: Any) -> threading.Thread | R:
        if not kwargs.pop("threaded", True):
            return func(*args, **kwargs)
        thread = threading.Thread(target=func, args=args, kwargs=kwargs, daemon=True)
        thread.start()
        return thread

    return call


class SimpleClass:
    """Objects whose text lists their public attributes."""

    def __str__(self) -> str:
        lines = [f"{type(self).__module__}.{type(self).__name__} object with attributes:", ""]
        for name in sorted(dir(self)):
            value = getattr(self, name)
            if name.startswith("_") or callable(value):
                continue
            simple = isinstance(value, SimpleClass)
            lines.append(
                f"{name}: " + (f"{type(value).__module__}.{type(value).__name__} object" if simple else repr(value))
            )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")


def get_default_args(func: Callable[..., object]) -> dict[str, Any]:
    """Names and values of the parameters of a function that have a default."""
    parameters = inspect.signature(func).parameters.items()
    return {name: p.default for name, p in parameters if p.default is not inspect.Parameter.empty}
