"""Command-line words -> options: `epochs=3`, `--epochs=3`, `--epochs 3`, flags, tasks and modes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ultralytics.cfg.modes import OFFICIAL_MODES
from ultralytics.cfg.options import RENAMED, OptionError, all_options, format_value, option, parse_option
from ultralytics.tasks import OFFICIAL_TASKS, TASKS
from ultralytics.utils.suggest import did_you_mean


def parse_words(words: Sequence[str], commands: Iterable[str] = ()) -> dict[str, Any]:
    """Options given as command-line words, checked; the last value of an option counts.

    Accepted forms: `epochs=3` (spaces around `=` are allowed), `--epochs=3`, `--epochs 3`; `half` or `--half` for
    half=True; the name of a task or mode alone, such as `detect` or `train`, for task=detect or mode=train.

    Args:
        words: the arguments of the command.
        commands: further words that the caller knows, suggested when one is misspelled.

    Returns:
        Values by option, such as {"mode": "train", "epochs": 3}.

    Raises:
        OptionError: an unknown word or option, a missing or invalid value, two different tasks or modes.
    """
    options: dict[str, Any] = {}
    rest = join_assignments(words)
    while rest:
        word = _unquoted(rest.pop(0))
        name, equals, text = (part.strip() for part in word.removeprefix("--").partition("="))
        if word.startswith("--"):
            name = name.replace("-", "_")
        name, text = name.rstrip(","), _unquoted(text.rstrip(","))
        if equals:
            if not name or not text:
                raise OptionError(f"'{word}': expected key=value, such as epochs=3")
            options[name] = parse_option(name, text)
        elif word.startswith("--") and (name in all_options() or not _is_task_or_mode(name)):
            takes_next = bool(rest) and _is_value(rest[0], optional=name in RENAMED or option(name).is_flag)
            options[name] = parse_option(name, _unquoted(rest.pop(0))) if takes_next else _flag(name)
        else:
            _add_bare_word(options, name, commands)
    return options


def join_assignments(words: Iterable[str]) -> list[str]:
    """The words with `epochs = 3`, `epochs= 3` and `epochs =3` written as `epochs=3`; empty words are dropped."""
    joined: list[str] = []
    for word in words:
        incomplete = joined and re.fullmatch(r"(--)?[\w-]+=", joined[-1]) and not word.startswith("--")
        if word and joined and (incomplete or word[0] == "="):
            joined[-1] += word
        elif word:
            joined.append(word)
    return joined


def _unquoted(text: str) -> str:
    """The text without quotes around it, which some shells pass on: Windows' own does not know single quotes."""
    is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if is_quoted and text[0] not in text[1:-1] else text


def _is_task_or_mode(word: str) -> bool:
    return word in OFFICIAL_MODES or word in OFFICIAL_TASKS or word in TASKS


def _is_value(word: str, optional: bool) -> bool:
    """Whether the word after `--name` is its value; one that is `optional` must not look like the next option."""
    if word.startswith("--"):
        return False
    next_option = word.partition("=")[0] in all_options() or _is_task_or_mode(word)
    return not (optional and next_option)


def _flag(name: str) -> bool:
    if not option(name).is_flag:
        raise OptionError(f"--{name} needs a value: {option(name).line()}")
    return True


def _add_bare_word(options: dict[str, Any], word: str, commands: Iterable[str]) -> None:
    """Add a task, a mode or a flag to `options`."""
    if _is_task_or_mode(word):
        key = "mode" if word in OFFICIAL_MODES else "task"
        if options.setdefault(key, word) != word:
            raise OptionError(f"two {key}s, '{options[key]}' and '{word}'; a command has only one")
    elif word in all_options() and all_options()[word].is_flag:
        options[word] = True
    else:
        _reject_word(word, commands)


def _reject_word(word: str, commands: Iterable[str]) -> NoReturn:
    """Raise an error that says how the word was probably meant."""
    if word in all_options():
        default = format_value(all_options()[word].default)
        raise OptionError(f"'{word}' needs a value: {word}={default if default != 'none' else '...'}")
    suffix = Path(word).suffix.lower()
    if suffix in (".yaml", ".yml", ".pt", ".safetensors") or Path(word).exists():
        keys = "model" if suffix in (".pt", ".safetensors") else "data or model" if suffix else "source"
        raise OptionError(f"'{word}' needs a key ({keys}): {keys.split()[0]}={word}")
    known = [*OFFICIAL_MODES, *OFFICIAL_TASKS, *commands, *all_options()]
    hint = did_you_mean(word, known) or "; see `yolo help`"
    raise OptionError(f"'{word}' is not a task, mode, command or option{hint}")
