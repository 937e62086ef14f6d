"""The registry: which module a name in a model file means, and how a row of the file calls its constructor.

Standard blocks, added modules and a user's own modules all register with one line above the class:

    from ultralytics import register

    @register("c1, c2, *args")
    class MyBlock(nn.Module):
        def __init__(self, c1: int, c2: int, k: int = 3): ...

The text is the signature of the constructor call that a row [from, repeats, module, args] becomes. Its words:
    c1      input channels; a list of them if the row has several inputs
    c2      output channels: the row's first argument, scaled by the model's width and rounded up to a multiple of 8
    n       the row's repeats, scaled by the model's depth; without it a repeated row becomes a Sequential of copies
    *args   the row's other arguments as written; a mapping at their end, {offset_lr: 0.1}, is passed by keyword
    ch      list of the channels of all inputs, for heads
    legacy  whether the network has the class branch of YOLOv8 instead of that of YOLO11, for heads
Options and class attributes cover what the words cannot say:
    scaled_args=(2,)           the row's arguments at these positions (of the whole list) are channel counts and are
                               scaled like c2, such as Segment's prototype channels in [nc, 32, 256]
    out_channels(c1, args)     a static method of the class that returns its output channels; without it a module
                               without c2 keeps the channels of its first input
Typical signatures of heads: "*args, ch, legacy" for rows [nc], [nc, kpt_shape] or [nc, 1] (the words nc and kpt_shape
in a row are replaced by the file's values), and "c1, *args" for Classify, whose class count is never scaled.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T", bound=type)
_WORDS = ("c1", "c2", "n", "*args", "ch", "legacy")
# packages whose modules are part of the registry; importing them registers their classes
_SHIPPED = ("ultralytics.nn.modules", "ultralytics.nn.Addmodules")
_STANDARD = ("ultralytics.nn.modules.", "torch.nn.")


class RegistryError(ValueError):
    """A module cannot be registered: its name is taken, or its signature has an unknown word."""


@dataclass(frozen=True)
class Entry:
    """One registered module.

    Attributes:
        name: what a row of a model file writes.
        cls: the class, a `torch.nn.Module`.
        signature: words of the constructor call that a row becomes; see the top of this file.
        paper: where the module comes from, shown by `yolo modules`.
        usage: an example row, shown by `yolo modules`.
        scaled_args: positions of further row arguments that are scaled by the model's width.
    """

    name: str
    cls: type
    signature: tuple[str, ...]
    paper: str = ""
    usage: str = ""
    scaled_args: tuple[int, ...] = ()

    @property
    def is_standard(self) -> bool:
        """Whether the class is one of torch.nn or of ultralytics.nn.modules."""
        return self.cls.__module__.startswith(_STANDARD)

    @property
    def dotted(self) -> str:
        """Module and name of the class."""
        return f"{self.cls.__module__}.{self.cls.__qualname__}"


_REGISTRY: dict[str, Entry] = {}
_NAMESPACES: dict[str, dict[str, object]] = {}  # by module name: its contents when it was added
_loaded = False


def register(
    signature: str,
    *,
    names: tuple[str, ...] = (),
    paper: str = "",
    usage: str = "",
    scaled_args: tuple[int, ...] = (),
) -> Callable[[T], T]:
    """Class decorator that lets model files name the class.

    Args:
        signature: the constructor call in the words at the top of this file, such as "c1, c2, n, *args".
        names: further names for the same class; the class name itself is always one.
        paper: where the module comes from, shown by `yolo modules`.
        usage: an example row of a model file, shown by `yolo modules`.
        scaled_args: positions in the row's arguments that are channel counts beside the first.

    Raises:
        RegistryError: a name is taken by another class, or the signature has an unknown word.
    """
    words = tuple(word.strip() for word in signature.split(","))
    unknown = [word for word in words if word not in _WORDS]
    if unknown:
        known = ", ".join(_WORDS)
        raise RegistryError(f"signature '{signature}' has {unknown}; its words are {known}, such as 'c1, c2, *args'")

    def add(cls: T) -> T:
        if not cls.__module__.startswith("ultralytics."):
            _load_shipped()  # so that a taken name is an error here, whatever was imported before
        for name in (cls.__name__, *names):
            _add(Entry(name, cls, words, paper, usage, scaled_args))
        return cls

    return add


def lookup(name: str) -> Entry | None:
    """The entry of a name, or None.

    A class that a script has set as an attribute of a module given to `search_namespace` counts too: it replaces the
    class registered under its name, or is called with the row's arguments as written (signature "*args").
    """
    _load_shipped()
    entry, cls = _REGISTRY.get(name), _class_in_namespace(name)
    if cls is None or (entry is not None and entry.cls is cls):
        return entry
    return Entry(name, cls, entry.signature if entry else ("*args",), scaled_args=entry.scaled_args if entry else ())


def entries() -> dict[str, Entry]:
    """All entries by name, standard modules included, in order of registration (a copy)."""
    _load_shipped()
    return dict(_REGISTRY)


def registered() -> dict[str, Entry]:
    """The entries beside the standard modules: those of nn/Addmodules and the user's (a copy)."""
    return {name: entry for name, entry in entries().items() if not entry.is_standard}


def search_namespace(module: str) -> None:
    """Let `lookup` find classes that scripts later set as attributes of the imported module of this name.

    Scripts written for 8.3.0 put their blocks into ultralytics.nn.tasks: `setattr(tasks, "MyBlock", MyBlock)`.
    """
    _NAMESPACES[module] = dict(vars(sys.modules[module]))


@contextmanager
def temporary() -> Iterator[None]:
    """What is registered inside the `with` block is removed at its end; what it replaced comes back."""
    _load_shipped()
    before = dict(_REGISTRY)
    try:
        yield
    finally:
        _REGISTRY.clear()
        _REGISTRY.update(before)


def _add(entry: Entry) -> None:
    other = _REGISTRY.get(entry.name)
    # a notebook cell or a reloaded script defines its class again under the same dotted name: the newer one counts
    if other is not None and other.dotted != entry.dotted:
        raise RegistryError(f"'{entry.name}' is already registered by {other.dotted}; give {entry.dotted} another name")
    _REGISTRY[entry.name] = entry


def _class_in_namespace(name: str) -> type | None:
    for module, before in _NAMESPACES.items():
        value = vars(sys.modules[module]).get(name) if module in sys.modules else None
        if isinstance(value, type) and before.get(name) is not value:
            return value
    return None


def _load_shipped() -> None:
    # late, because the shipped modules import this file; the order of imports must not matter
    global _loaded
    if not _loaded:
        _loaded = True
        for package in _SHIPPED:
            importlib.import_module(package)
