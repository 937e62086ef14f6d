"""The options of default.yaml as objects: what each accepts, where it works, what it means.

default.yaml describes its own lines; this file reads them (at the first question, not at import) and checks values.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ultralytics.utils import ROOT
from ultralytics.utils.files import yaml_load

DEFAULT_YAML = ROOT / "cfg" / "default.yaml"
_LINE = re.compile(r"(?P<key>\w+):(?P<value>[^#]*)#(?P<accepts>.+?) \| (?P<where>.+?) \| (?P<meaning>.+)")
_BOUND = re.compile(r"(>=|<=|>|<)\s*(-?[\d.]+)")
_SPAN = re.compile(r"(-?[\d.]+)\.\.(-?[\d.]+)")
_HOLDS: dict[str, Callable[[float, float], bool]] = {
    ">=": lambda value, limit: value >= limit,
    "<=": lambda value, limit: value <= limit,
    ">": lambda value, limit: value > limit,
    "<": lambda value, limit: value < limit,
}
_NO = object()  # "not one of mine", where None is an answer


class OptionError(ValueError):
    """An option that does not exist, or a value that it cannot have."""


@dataclass(frozen=True)
class Kind:
    """One alternative of what an option accepts: a kind of value with its range, or one exact word or number."""

    name: str  # int, float, ..., or "word"
    text: str  # as it stands in default.yaml
    word: Any = None
    bounds: tuple[tuple[str, float], ...] = ()

    def take(self, value: Any) -> Any:
        """The value in the form this alternative gives it, or `_NO`."""
        return _TAKERS[self.name](self, value)

    def in_range(self, number: float) -> bool:
        return all(_HOLDS[sign](number, limit) for sign, limit in self.bounds)


@dataclass(frozen=True)
class Option:
    """One line of default.yaml."""

    key: str
    default: Any
    group: str
    kinds: tuple[Kind, ...]
    where: tuple[tuple[str, str], ...]  # (mode, task); an empty task stands for every task
    meaning: str

    def check(self, value: Any) -> Any:
        """`value` in the type the option has (16.0 -> 16, "True" -> True, Path -> text).

        Raises:
            OptionError: the value is of another type or outside the range; the text says what the option takes.
        """
        for kind in self.kinds:
            if (taken := kind.take(value)) is not _NO:
                return taken
        shown = value if isinstance(value, str) else repr(value)
        raise OptionError(
            f"{self.key}={_short(shown)} is not possible{_why(value, self)}: '{self.key}' takes {self.takes()} "
            f"({self.meaning}; default {word_of(self.default)})"
        )

    def from_text(self, text: str) -> Any:
        """The value that a word of the command line stands for; the result still has to be checked.

        Where the option takes text, the text stays as it is (name=2024_01, name=001, device=0,1).
        """
        if any(kind.name in ("str", "path", "device", "any") for kind in self.kinds):
            return text
        return literal(text)

    def works_in(self, mode: str, task: str | None = None) -> bool:
        """Does the option do something in this mode (and, if given, for this task)?"""
        return any(m in (mode, "all") and (not t or task is None or t == task) for m, t in self.where)

    @property
    def is_flag(self) -> bool:
        """May the option stand alone on the command line, meaning True?"""
        return any(kind.name == "bool" for kind in self.kinds)

    def takes(self) -> str:
        """What the option accepts, in words: `none, a whole number >= 0 or a list of whole numbers >= 0`."""
        *first, last = (_phrase(kind) for kind in self.kinds)
        return f"{', '.join(first)} or {last}" if first else last

    def line(self) -> str:
        """The option in one line of help: `epochs=100  passes over the training images (a whole number >= 1)`."""
        return f"{self.key}={word_of(self.default)}  {self.meaning} ({self.takes()})"


@cache
def all_options() -> dict[str, Option]:
    """All options by key, in the order of default.yaml."""
    defaults = yaml_load(DEFAULT_YAML)
    found: dict[str, Option] = {}
    group = ""
    before = ""
    for number, text in enumerate(DEFAULT_YAML.read_text(encoding="utf-8").splitlines(), start=1):
        line = text.strip()
        if line.startswith("#") and not before:
            group = line.lstrip("# ")
        elif line and not line.startswith("#"):
            match = _LINE.fullmatch(line)
            assert match, f"{DEFAULT_YAML}:{number}: not of the form 'key: default  # accepts | works in | meaning'"
            found[match["key"]] = _option(match, defaults[match["key"]], group)
        before = line
    return found


def literal(text: str) -> Any:
    """None, True, False, a number, or a list (`[1, 2]`, `(1, 2)`, `1,2`) where it is one of them, else the text."""
    word = text.strip()
    if word.lower() in ("none", "null", "true", "false"):
        return {"none": None, "null": None, "true": True, "false": False}[word.lower()]
    if re.fullmatch(r"[\[(].*[\])]", word) or "," in word:
        return [literal(item) for item in word.strip("[]()").split(",") if item.strip()]
    if re.fullmatch(r"[-+]?(0|[1-9]\d*)", word) or re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", word):
        # 007 is text; the regular expressions let only plain numbers through
        return text if re.match(r"[-+]?0\d", word) else ast.literal_eval(word)
    return text


def word_of(value: Any) -> str:
    """A value as it is written on the command line."""
    return "none" if value is None else str(value)


def _option(match: re.Match[str], default: Any, group: str) -> Option:
    where = tuple(tuple(f"{place.strip()}/".split("/")[:2]) for place in match["where"].split(","))
    return Option(
        key=match["key"],
        default=default,
        group=group,
        kinds=tuple(_kind(text.strip()) for text in match["accepts"].split(",")),
        where=where,  # type: ignore[arg-type]  # pairs by construction
        meaning=match["meaning"].strip(),
    )


def _kind(text: str) -> Kind:
    if text.startswith('"'):
        return Kind("word", text, word=text.strip('"'))
    if re.fullmatch(r"-?\d+", text):
        return Kind("word", text, word=int(text))
    name, _, limits = text.partition(" ")
    assert name in _TAKERS, f"{DEFAULT_YAML}: '{name}' is not a kind of value"
    bounds = [(sign, float(limit)) for sign, limit in _BOUND.findall(limits)]
    if span := _SPAN.fullmatch(limits.strip()):
        bounds = [(">=", float(span[1])), ("<=", float(span[2]))]
    assert bool(bounds) == bool(limits), f"{DEFAULT_YAML}: '{text}' has a range that cannot be read"
    return Kind(name, text, bounds=tuple(bounds))


def _number(value: Any) -> Any:
    """A plain int or float for whatever is a number (numpy's too), else `_NO`; True and False are not numbers here."""
    if isinstance(value, (bool, str, bytes)):
        return _NO
    if isinstance(value, (int, float)):
        return int(value) if isinstance(value, int) else float(value)
    item = getattr(value, "item", None)  # numpy scalars and tensors of one element
    return _number(item()) if callable(item) and getattr(value, "ndim", 1) == 0 else _NO


def _take_int(kind: Kind, value: Any) -> Any:
    number = _number(value)
    if number is _NO or number != number // 1 or not kind.in_range(number):
        return _NO
    return int(number)


def _take_float(kind: Kind, value: Any) -> Any:
    number = _number(value)
    return _NO if number is _NO or not math.isfinite(number) or not kind.in_range(number) else number


def _take_ints(kind: Kind, value: Any) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    items = [_take_int(kind, item) for item in (value if isinstance(value, (list, tuple, set, range)) else [value])]
    return _NO if _NO in items else items


def _take_bool(kind: Kind, value: Any) -> Any:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower(), _NO)
    if type(value).__name__ in ("bool", "bool_"):  # bool_ is numpy's
        return bool(value)
    return bool(value) if isinstance(value, int) and value in (0, 1) else _NO


def _take_none(kind: Kind, value: Any) -> Any:
    return None if value is None or (isinstance(value, str) and value.strip().lower() in ("none", "null", "")) else _NO


def _take_word(kind: Kind, value: Any) -> Any:
    if isinstance(value, str) and isinstance(kind.word, str):
        return kind.word if value.strip().lower() == kind.word.lower() else _NO
    return kind.word if _number(value) == kind.word else _NO


def _take_str(kind: Kind, value: Any) -> Any:
    if isinstance(value, (str, Path)):
        return str(value)
    number = _number(value)
    return _NO if number is _NO else str(number)


def _take_path(kind: Kind, value: Any) -> Any:
    return str(value).strip() if isinstance(value, (str, Path)) else _NO


def _take_device(kind: Kind, value: Any) -> Any:
    if isinstance(value, str) or type(value).__name__ == "device":  # torch.device, without importing torch
        return str(value)
    if isinstance(value, (list, tuple)):
        return _take_ints(kind, value)
    return _take_int(kind, value)


_TAKERS: dict[str, Callable[[Kind, Any], Any]] = {
    "none": _take_none,
    "bool": _take_bool,
    "int": _take_int,
    "float": _take_float,
    "ints": _take_ints,
    "str": _take_str,
    "path": _take_path,
    "device": _take_device,
    "dict": lambda kind, value: dict(value) if isinstance(value, Mapping) else _NO,
    "any": lambda kind, value: value,
    "word": _take_word,
}

_PHRASES = {
    "bool": "True or False",
    "int": "a whole number",
    "float": "a number",
    "ints": "a list of whole numbers",
    "str": "text",
    "path": "a path",
    "device": "a device (cpu, mps, 0, or 0,1)",
    "dict": "a dict",
    "any": "anything",
}


def _phrase(kind: Kind) -> str:
    if kind.name == "word":
        return str(kind.word)
    name, _, limits = kind.text.partition(" ")
    return f"{_PHRASES.get(name, name)} {limits}".strip()


def _why(value: Any, option: Option) -> str:
    number = literal(value) if isinstance(value, str) else value
    if isinstance(value, str) and _number(number) is not _NO and any(kind.bounds for kind in option.kinds):
        return " (it is text; write the number without quotes)"
    return ""


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
