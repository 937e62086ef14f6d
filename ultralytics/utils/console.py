"""Text for terminals: colors, and what a terminal without Unicode can show."""

from __future__ import annotations

import platform
import re

TQDM_BAR_FORMAT = "{l_bar}{bar:10}{r_bar}"
_COLORS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_CODES = {
    **{color: f"\x1b[{30 + i}m" for i, color in enumerate(_COLORS)},
    **{f"bright_{color}": f"\x1b[{90 + i}m" for i, color in enumerate(_COLORS)},
    "end": "\x1b[0m",
    "bold": "\x1b[1m",
    "underline": "\x1b[4m",
}


def colorstr(*input: str) -> str:  # noqa: A002 - the name in 8.3.0
    """The last argument in the color and style that those before it name; blue and bold by default.

    Raises:
        KeyError: there is no such color or style.
    """
    *styles, text = input if len(input) > 1 else ("blue", "bold", input[0])
    return "".join(_CODES[style] for style in styles) + f"{text}{_CODES['end']}"


def remove_colorstr(input_string: str) -> str:
    """The text without color and style codes."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", input_string)


def emojis(string: str = "") -> str:
    """The text, on Windows without characters outside ASCII, which its consoles may not show."""
    return string.encode().decode("ascii", "ignore") if platform.system() == "Windows" else string


PREFIX = colorstr("Ultralytics: ")
