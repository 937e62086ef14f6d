"""The one place that answers a misspelled name with the nearest known ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_CLEARLY_BETTER = 0.15  # similarity by which a match drops the others


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of an error message: "; did you mean 'epochs'?" with the nearest known names, or "" if none is near."""
    matches = closest(word, known)
    return f"; did you mean {' or '.join(map(repr, matches))}?" if matches else ""


def closest(word: str, known: Iterable[str], cutoff: float = 0.6) -> list[str]:
    """Up to three known names most similar to `word`, upper and lower case alike, the most similar first.

    Args:
        word: the name as the user wrote it.
        known: the names that exist.
        cutoff: least similarity in 0..1 (`difflib.SequenceMatcher.ratio`).
    """
    by_lower = {name.lower(): name for name in sorted(known)}
    near = difflib.get_close_matches(word.lower(), by_lower, n=3, cutoff=cutoff)
    ratios = {name: difflib.SequenceMatcher(None, word.lower(), name).ratio() for name in near}
    return [by_lower[name] for name in near if ratios[name] >= ratios[near[0]] - _CLEARLY_BETTER]
