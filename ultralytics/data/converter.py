"""Class numbers of COCO's annotations and of this package's coco.yaml, under the names of 8.3.0.

COCO's annotation files number 80 classes from 1 to 90 and leave ten numbers out.
"""

from __future__ import annotations

_UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)  # numbers of 1..91 without annotations


def coco80_to_coco91_class() -> list[int]:
    """For each of the 80 class indices its number in COCO's annotations."""
    return [number for number in range(1, 92) if number not in _UNUSED]


def coco91_to_coco80_class() -> list[int | None]:
    """For each number 1..91 of COCO's annotations, at position number - 1, the class index; None for unused numbers."""
    used = coco80_to_coco91_class()
    return [used.index(number) if number in used else None for number in range(1, 92)]
