"""The classes of all tasks as the nested mapping `task_map` of 8.3.0, each imported when it is first read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from functools import partial
from typing import Any, TypeVar, get_args

from ultralytics.tasks import TASKS, Role, Task

V = TypeVar("V")


class LazyMapping(MutableMapping[str, V]):
    """A dict whose values are made when they are first read.

    Args:
        makers: functions that make the values, by key.
    """

    def __init__(self, makers: dict[str, Callable[[], V]]) -> None:
        self._makers = dict(makers)
        self._values: dict[str, V] = {}

    def __getitem__(self, key: str) -> V:
        if key not in self._values:
            self._values[key] = self._makers[key]()
        return self._values[key]

    def __setitem__(self, key: str, value: V) -> None:
        self._makers[key] = lambda: value
        self._values.pop(key, None)

    def __delitem__(self, key: str) -> None:
        del self._makers[key]
        self._values.pop(key, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


TaskClasses = MutableMapping[str, Any]  # classes by role: "model", "trainer", "validator", "predictor"


def task_classes() -> MutableMapping[str, TaskClasses]:
    """A new mapping task -> role -> class; changing it has no effect on others."""
    return LazyMapping({name: partial(_roles, task) for name, task in TASKS.items()})


def _roles(task: Task) -> TaskClasses:
    return LazyMapping({role: partial(task.load, role) for role in get_args(Role)})
