"""Suggestions for misspelled names, used by all error messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_CLEARLY_BETTER = 0.15  # a match is dropped if the best one exceeds it by more than this similarity


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of an error message: "; did you mean 'epochs'?" with the most similar names, or "" if none is similar."""
    matches = closest(word, known)
    return f"; did you mean {' or '.join(map(repr, matches))}?" if matches else ""


def closest(word: str, known: Iterable[str], cutoff: float = 0.6) -> list[str]:
    """Up to three known names similar to `word`, ignoring case, the most similar first.

    Args:
        word: the misspelled name.
        known: the valid names.
        cutoff: minimum similarity in 0..1 (`difflib.SequenceMatcher.ratio`).
    """
    by_lower = {name.lower(): name for name in sorted(known)}
    matches = difflib.get_close_matches(word.lower(), by_lower, n=3, cutoff=cutoff)
    ratios = {name: difflib.SequenceMatcher(None, word.lower(), name).ratio() for name in matches}
    return [by_lower[name] for name in matches if ratios[name] >= ratios[matches[0]] - _CLEARLY_BETTER]
