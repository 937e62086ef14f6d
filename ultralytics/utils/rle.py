"""Run-length encoding of binary masks in the compressed form of COCO's JSON files.

The pixels are read column by column; the counts are the lengths of runs of 0 and 1 in turn, first 0. From the fourth on
a count is written as its difference from the count two before it. Each number becomes characters of 5 bits and a bit
for "more follow", lowest bits first, in two's complement, offset by 48.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

_OFFSET = 48  # the character "0"
_MORE = 0x20
_SIGN = 0x10


class RLE(TypedDict):
    """An encoded mask: `size` [height, width], and `counts`."""

    size: list[int]
    counts: str


def encode(mask: np.ndarray) -> RLE:
    """Encode a mask (H, W), nonzero inside."""
    pixels = np.ascontiguousarray((mask != 0).T).reshape(-1)
    starts = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    bounds = np.concatenate([[0], [0] if pixels[:1].any() else [], starts, [len(pixels)]]).astype(int)
    return {"size": [int(mask.shape[0]), int(mask.shape[1])], "counts": _compress(np.diff(bounds).tolist())}


def decode(rle: RLE) -> np.ndarray:
    """The mask (H, W) bool.

    Raises:
        ValueError: the counts do not fill the size.
    """
    lengths, (height, width) = _decompress(rle["counts"]), rle["size"]
    if sum(lengths) != height * width:
        raise ValueError(f"the runs of a mask have {sum(lengths)} pixels, but its size is {height} x {width}")
    return (np.arange(len(lengths)) % 2 == 1).repeat(lengths).reshape(width, height).T


def _compress(counts: Sequence[int]) -> str:
    codes = []
    for i, count in enumerate(counts):
        value = count - counts[i - 2] if i > 2 else count
        more = True
        while more:
            code, value = value & 0x1F, value >> 5
            more = value != (-1 if code & _SIGN else 0)
            codes.append(code | (_MORE if more else 0))
    return "".join(chr(code + _OFFSET) for code in codes)


def _decompress(text: str) -> list[int]:
    counts: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - _OFFSET
        value |= (code & 0x1F) << shift
        shift += 5
        if code & _MORE:
            continue
        if code & _SIGN:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    return counts
