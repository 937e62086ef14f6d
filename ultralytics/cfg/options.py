"""The options as described in default.yaml: what each accepts, where it has an effect, what it means.

default.yaml is read when an option is first requested, not at import.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from ultralytics.cfg.value_types import REJECTED, ValueType, as_number, parse_literal, parse_value_type
from ultralytics.utils import ROOT
from ultralytics.utils.files import yaml_load
from ultralytics.utils.suggest import did_you_mean

DEFAULT_YAML = ROOT / "cfg" / "default.yaml"
_LINE = re.compile(r"(?P<key>\w+):(?P<value>[^#]*)#(?P<accepts>.+?) \| (?P<scope>.+?) \| (?P<meaning>.+)")

# names of earlier versions: today's name, and whether the value is inverted
RENAMED = {
    "boxes": ("show_boxes", False),
    "hide_labels": ("show_labels", True),
    "hide_conf": ("show_conf", True),
    "line_thickness": ("line_width", False),
}
# names that other packages use for our options and that are spelled too differently to be suggested
_SYNONYMS = {
    "lr": "lr0",
    "learning_rate": "lr0",
    "img": "imgsz",
    "img_size": "imgsz",
    "image_size": "imgsz",
    "weights": "model",
    "batch_size": "batch",
    "num_workers": "workers",
    "gpu": "device",
    "early_stopping": "patience",
    "output": "project",
}


class OptionError(ValueError):
    """An option does not exist, or does not accept a value."""


@dataclass(frozen=True)
class Option:
    """One line of default.yaml.

    Attributes:
        key: name of the option.
        default: default value.
        group: heading in default.yaml.
        value_types: accepted alternatives, tried in this order.
        scope: pairs (mode, task) where the option has an effect; an empty task stands for every task, the mode may be
            "all" or "none".
        meaning: one line of description.
    """

    key: str
    default: Any
    group: str
    value_types: tuple[ValueType, ...]
    scope: tuple[tuple[str, str], ...]
    meaning: str

    def check(self, value: object) -> Any:
        """`value` in the type of the option (16.0 -> 16, "True" -> True, Path -> str).

        Raises:
            OptionError: the value has another type or is outside the range; the text says what the option accepts.
        """
        for value_type in self.value_types:
            converted = value_type.convert(value)
            if converted is not REJECTED:
                return converted
        shown = value if isinstance(value, str) else repr(value)
        raise OptionError(
            f"{self.key}={_short(shown)} is invalid{self._quoted_number_hint(value)}: '{self.key}' accepts "
            f"{self.accepts()} ({self.meaning}; default {format_value(self.default)})"
        )

    def from_text(self, text: str) -> object:
        """The value that a command-line word stands for, not checked yet.

        If the option accepts text, the word is kept as it is (name=2024_01, name=001, device=0,1).
        """
        if any(value_type.name in ("str", "path", "device", "any") for value_type in self.value_types):
            return text
        return parse_literal(text)

    def works_in(self, mode: str, task: str | None = None) -> bool:
        """Whether the option has an effect in this mode (and for this task, if given)."""
        return any(m in (mode, "all") and (not t or task is None or t == task) for m, t in self.scope)

    @property
    def is_flag(self) -> bool:
        """Whether the option may be written without a value on the command line, meaning True."""
        return any(value_type.name == "bool" for value_type in self.value_types)

    @property
    def is_text(self) -> bool:
        """Whether the option accepts nothing but text and none, so that 010 in a file is text too."""
        return {value_type.name for value_type in self.value_types} <= {"none", "str", "path"}

    def accepts(self) -> str:
        """What the option accepts, in words: `none, an integer >= 0 or a list of integers >= 0`."""
        *first, last = (value_type.describe() for value_type in self.value_types)
        return f"{', '.join(first)} or {last}" if first else last

    def scope_text(self) -> str:
        """Where the option has an effect, in words: `train/segment, val/segment`."""
        return ", ".join("/".join(filter(None, pair)) for pair in self.scope)

    def line(self) -> str:
        """The option in one line of help: `epochs=100  number of training epochs (an integer >= 1)`."""
        return f"{self.key}={format_value(self.default)}  {self.meaning} ({self.accepts()})"

    def _quoted_number_hint(self, value: object) -> str:
        is_number = isinstance(value, str) and as_number(parse_literal(value)) is not None
        if is_number and any(value_type.bounds for value_type in self.value_types):
            return " (it is a string; write the number without quotes)"
        return ""


@cache
def all_options() -> dict[str, Option]:
    """All options by key, in the order of default.yaml."""
    defaults = yaml_load(DEFAULT_YAML)
    options: dict[str, Option] = {}
    group = ""
    previous = ""
    for number, text in enumerate(DEFAULT_YAML.read_text(encoding="utf-8").splitlines(), start=1):
        line = text.strip()
        if line.startswith("#") and not previous:
            group = line.lstrip("# ")
        elif line and not line.startswith("#"):
            match = _LINE.fullmatch(line)
            assert match, f"{DEFAULT_YAML}:{number}: expected 'key: default  # accepted | applies to | description'"
            options[match["key"]] = _option(match, defaults, group)
        previous = line
    return options


def option(key: str) -> Option:
    """Option `key`.

    Raises:
        OptionError: there is no such option; the text names the nearest ones.
    """
    if key not in all_options():
        raise OptionError(unknown_option(key))
    return all_options()[key]


def check_option(key: str, value: object) -> Any:
    """`value` in the type of option `key`.

    Raises:
        OptionError: there is no such option, or it does not accept the value.
    """
    return option(key).check(value)


def parse_option(key: str, text: str) -> Any:
    """The checked value that a command-line word means for option `key`: parse_option("epochs", "3") == 3.

    Raises:
        OptionError: as `check_option`.
    """
    if key in RENAMED:
        return parse_literal(text)
    return option(key).check(option(key).from_text(text))


def unknown_option(key: object) -> str:
    """Error text for a key that is not an option, with the nearest names."""
    word = str(key).lower().replace("-", "_")
    hint = f"; did you mean '{_SYNONYMS[word]}'?" if word in _SYNONYMS else did_you_mean(word, all_options())
    return f"'{key}' is not an option{hint or '; `yolo cfg` lists all options'}"


def format_value(value: object) -> str:
    """A value as it is written on the command line."""
    return "none" if value is None else str(value)


def _option(match: re.Match[str], defaults: Mapping[str, object], group: str) -> Option:
    scope = [text.strip().partition("/") for text in match["scope"].split(",")]
    return Option(
        key=match["key"],
        default=defaults[match["key"]],
        group=group,
        value_types=tuple(parse_value_type(text.strip()) for text in match["accepts"].split(",")),
        scope=tuple((mode, task) for mode, _, task in scope),
        meaning=match["meaning"].strip(),
    )


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
