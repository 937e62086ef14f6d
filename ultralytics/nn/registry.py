"""The registry: which extra modules a model file may name, and how a row of the file feeds each of them.

A module joins with one line above its class, here or in a user's own script:

    from ultralytics import register

    @register("c1, c2, *args")
    class MyBlock(nn.Module):
        def __init__(self, c1: int, c2: int, k: int = 3): ...

The text is the call that a model-file row is turned into:
    c1     channels that come in
    c2     channels that go out: the row's first argument, scaled by the model's width and rounded up to a multiple of 8
    n      the row's repeats, scaled by the model's depth; without it a repeated row becomes a Sequential of copies
    *args  the row's other arguments as written; a mapping at their end, {offset_lr: 0.1}, is given to the class by name
    ch     list of the channels of all inputs, for a head
    legacy whether the network has YOLOv8's class branch rather than YOLO11's, for a head
A feed without c2 says that the module keeps the channel count, or, where the class has a method
`out_channels(c1, args) -> int`, that the class tells.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T", bound=type)
_WORDS = ("c1", "c2", "n", "*args", "ch", "legacy")


class RegistryError(ValueError):
    """A module cannot be registered as asked: a taken name or a feed that cannot be read."""


@dataclass(frozen=True)
class Entry:
    """One registered module: the class, the call a model-file row becomes, and what `yolo modules` prints."""

    name: str
    cls: type
    feed: tuple[str, ...]
    paper: str = ""
    usage: str = ""

    @property
    def scales_width(self) -> bool:
        return "c2" in self.feed

    @property
    def takes_repeats(self) -> bool:
        return "n" in self.feed

    @property
    def takes_args(self) -> bool:
        return "*args" in self.feed


_REGISTRY: dict[str, Entry] = {}
_shipped_loaded = False


def register(feed: str, *, names: tuple[str, ...] = (), paper: str = "", usage: str = "") -> Callable[[T], T]:
    """Class decorator that lets model files name the class.

    Args:
        feed: the constructor call in the words at the top of this file, such as "c1, c2, n, *args".
        names: further names for the same class; the class name itself is always one.
        paper: where the module comes from, shown by `yolo modules`.
        usage: an example row of a model file, shown by `yolo modules`.

    Raises:
        RegistryError: a name is taken by another class, or the feed holds an unknown word.
    """
    words = tuple(word.strip() for word in feed.split(","))
    unknown = [word for word in words if word not in _WORDS]
    if unknown:
        known = ", ".join(_WORDS)
        raise RegistryError(f"feed '{feed}' holds {unknown}; it is made of {known}, such as 'c1, c2, *args'")

    def add(cls: T) -> T:
        for name in (cls.__name__, *names):
            _add(Entry(name, cls, words, paper, usage))
        return cls

    return add


def _add(entry: Entry) -> None:
    taken = _REGISTRY.get(entry.name)
    # a notebook cell or a reloaded script defines its class again under the same dotted name: the newer one is meant
    same = taken and (taken.cls.__module__, taken.cls.__qualname__) == (entry.cls.__module__, entry.cls.__qualname__)
    if taken and not same:
        raise RegistryError(
            f"'{entry.name}' is already registered by {taken.cls.__module__}.{taken.cls.__qualname__}; "
            f"give {entry.cls.__module__}.{entry.cls.__qualname__} another name"
        )
    _REGISTRY[entry.name] = entry


def lookup(name: str) -> Entry | None:
    """Entry registered under `name`, or None."""
    _load_shipped()
    return _REGISTRY.get(name)


def registered() -> dict[str, Entry]:
    """All entries by name, in order of registration (a copy)."""
    _load_shipped()
    return dict(_REGISTRY)


def entries() -> dict[str, Entry]:
    """Entries registered so far, without importing the modules that ship."""
    return dict(_REGISTRY)


def _load_shipped() -> None:
    # late, because these files import this one and torch; the order of imports must not matter
    global _shipped_loaded
    if not _shipped_loaded:
        _shipped_loaded = True
        importlib.import_module("ultralytics.nn.Addmodules")
