"""The value types that options accept: reading them from default.yaml and converting values to them."""

from __future__ import annotations

import ast
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

_BOUND = re.compile(r"(>=|<=|>|<)\s*(-?[\d.]+)")
_SPAN = re.compile(r"(-?[\d.]+)\.\.(-?[\d.]+)")
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": lambda value, limit: value >= limit,
    "<=": lambda value, limit: value <= limit,
    ">": lambda value, limit: value > limit,
    "<": lambda value, limit: value < limit,
}
REJECTED = object()  # result of `ValueType.convert` for a value of another type; None is a valid result


@dataclass(frozen=True)
class ValueType:
    """One alternative of what an option accepts: a type with its range, or one exact word or number.

    Attributes:
        name: key of the conversion: none, bool, int, float, ints, str, path, device, dict, any, or word.
        text: the alternative as written in default.yaml, such as "int >= 1".
        word: the exact value of a "word".
        bounds: limits of numbers, such as ((">=", 0.0), ("<", 1.0)).
    """

    name: str
    text: str
    word: str | int | None = None
    bounds: tuple[tuple[str, float], ...] = ()

    def convert(self, value: object) -> object:
        """`value` in this type (16.0 -> 16, "True" -> True, Path -> str), or `REJECTED`."""
        return _CONVERTERS[self.name](self, value)

    def in_range(self, number: float) -> bool:
        """Whether `number` satisfies all bounds."""
        return all(_COMPARISONS[sign](number, limit) for sign, limit in self.bounds)

    def describe(self) -> str:
        """The alternative in words, such as "an integer >= 1"."""
        if self.name == "word":
            return str(self.word)
        _, _, limits = self.text.partition(" ")
        limits = re.sub(r"(?<=[\d.]) (?=[<>])", " and ", limits)
        return f"{_PHRASES.get(self.name, self.name)} {limits}".strip()


def parse_value_type(text: str) -> ValueType:
    """The value type that an alternative in default.yaml describes, such as `int >= 1`, `"ram"` or `-1`."""
    if text.startswith('"'):
        return ValueType("word", text, word=text.strip('"'))
    if re.fullmatch(r"-?\d+", text):
        return ValueType("word", text, word=int(text))
    name, _, limits = text.partition(" ")
    assert name in _CONVERTERS, f"'{name}' is not a value type"
    bounds = [(sign, float(limit)) for sign, limit in _BOUND.findall(limits)]
    if span := _SPAN.fullmatch(limits.strip()):
        bounds = [(">=", float(span[1])), ("<=", float(span[2]))]
    assert bool(bounds) == bool(limits), f"'{text}' has a range that cannot be read"
    return ValueType(name, text, bounds=tuple(bounds))


def parse_literal(text: str) -> object:
    """None, True, False, a number, or a list (`[1, 2]`, `(1, 2)`, `1,2`) if `text` is one of them, else the text."""
    word = text.strip()
    if word.lower() in ("none", "null", "true", "false"):
        return {"none": None, "null": None, "true": True, "false": False}[word.lower()]
    if re.fullmatch(r"[\[(].*[\])]", word) or "," in word:
        return [parse_literal(item) for item in word.strip("[]()").split(",") if item.strip()]
    if re.fullmatch(r"[-+]?(0|[1-9]\d*)", word) or re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", word):
        # 007 is text; the regular expressions accept plain numbers only
        return text if re.match(r"[-+]?0\d", word) else ast.literal_eval(word)
    return text


def as_number(value: object) -> int | float | None:
    """`value` as int or float if it is a number, NumPy scalars and tensors of one element included, else None.

    True and False do not count as numbers.
    """
    if isinstance(value, (bool, str, bytes)):
        return None
    if isinstance(value, (int, float)):
        return int(value) if isinstance(value, int) else float(value)
    item = getattr(value, "item", None)
    return as_number(item()) if callable(item) and getattr(value, "ndim", 1) == 0 else None


def _to_int(value_type: ValueType, value: object) -> object:
    number = as_number(value)
    if number is None or number != number // 1 or not value_type.in_range(number):
        return REJECTED
    return int(number)


def _to_float(value_type: ValueType, value: object) -> object:
    number = as_number(value)
    if number is None or not math.isfinite(number) or not value_type.in_range(number):
        return REJECTED
    return number


def _to_ints(value_type: ValueType, value: object) -> object:
    if hasattr(value, "tolist"):
        value = value.tolist()
    values = value if isinstance(value, (list, tuple, set, range)) else [value]
    items = [_to_int(value_type, item) for item in values]
    return REJECTED if REJECTED in items else items


def _to_bool(value_type: ValueType, value: object) -> object:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower(), REJECTED)
    if type(value).__name__ in ("bool", "bool_"):  # bool_ is NumPy's
        return bool(value)
    return bool(value) if isinstance(value, int) and value in (0, 1) else REJECTED


def _to_none(value_type: ValueType, value: object) -> object:
    is_none = value is None or (isinstance(value, str) and value.strip().lower() in ("none", "null", ""))
    return None if is_none else REJECTED


def _to_word(value_type: ValueType, value: object) -> object:
    word = value_type.word
    if isinstance(value, str) and isinstance(word, str):
        return word if value.strip().lower() == word.lower() else REJECTED
    return word if as_number(value) == word else REJECTED


def _to_str(value_type: ValueType, value: object) -> object:
    if isinstance(value, (str, Path)):
        return str(value)
    number = as_number(value)
    return REJECTED if number is None else str(number)


def _to_path(value_type: ValueType, value: object) -> object:
    # the shell replaces ~ only at the beginning of a word, so not in model=~/best.pt
    if not isinstance(value, (str, Path)):
        return REJECTED
    text = str(value) if Path(value).exists() else str(value).strip()
    return os.path.expanduser(text)  # noqa: PTH111 - Path.expanduser fails without a home folder


def _to_device(value_type: ValueType, value: object) -> object:
    if isinstance(value, str) or type(value).__name__ == "device":  # torch.device, without importing torch
        return str(value)
    if isinstance(value, (list, tuple)):
        return _to_ints(value_type, value)
    return _to_int(value_type, value)


_CONVERTERS: dict[str, Callable[[ValueType, object], object]] = {
    "none": _to_none,
    "bool": _to_bool,
    "int": _to_int,
    "float": _to_float,
    "ints": _to_ints,
    "str": _to_str,
    "path": _to_path,
    "device": _to_device,
    "dict": lambda value_type, value: dict(value) if isinstance(value, Mapping) else REJECTED,
    "any": lambda value_type, value: value,
    "word": _to_word,
}

_PHRASES = {
    "bool": "True or False",
    "int": "an integer",
    "float": "a number",
    "ints": "a list of integers",
    "str": "text",
    "path": "a path",
    "device": "a device (cpu, mps, 0, or 0,1)",
    "dict": "a dict",
    "any": "any value",
}
