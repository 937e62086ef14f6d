"""Named arrays in one file that is mapped into memory instead of read: workers share its pages. No pickle.

Layout: MAGIC, length of the header (8 bytes), header (JSON: version, and dtype, shape and offset of each array), then
the arrays, each at a multiple of 64 bytes. Lists of unequal length ("ragged" columns) are a flat array and its offsets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ultralytics.utils.files import atomic_write

MAGIC = b"ULTRACOL"
_ALIGN = 64


class ArrayFileError(ValueError):
    """The file is not an array file of the expected version, or is damaged."""


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], version: str) -> None:
    """Write arrays of plain numbers atomically."""
    described, position = {}, 0
    for name, array in arrays.items():
        described[name] = {"dtype": array.dtype.str, "shape": list(array.shape), "offset": position}
        position += -(-array.nbytes // _ALIGN) * _ALIGN
    header = json.dumps({"version": version, "bytes": position, "arrays": described}).encode()
    header += b" " * (-(len(MAGIC) + 8 + len(header)) % _ALIGN)
    with atomic_write(path) as f:
        f.write(MAGIC + len(header).to_bytes(8, "little") + header)
        for array in arrays.values():
            f.write(np.ascontiguousarray(array).tobytes())
            f.write(b"\0" * (-array.nbytes % _ALIGN))


def load_arrays(path: Path, version: str) -> dict[str, np.ndarray]:
    """The arrays of a file, read only and mapped.

    Raises:
        FileNotFoundError: there is no such file.
        ArrayFileError: another version, or damaged.
    """
    with path.open("rb") as f:
        if f.read(len(MAGIC)) != MAGIC:
            raise ArrayFileError(f"{path}: this is not an array file")
        length = int.from_bytes(f.read(8), "little")
        start = len(MAGIC) + 8 + length
        size = path.stat().st_size
        try:
            header = json.loads(f.read(length)) if start <= size else {}
            described, stated = dict(header["arrays"]), (header["version"], header["bytes"] + start)
        except (ValueError, KeyError, TypeError) as e:
            raise ArrayFileError(f"{path}: the header is damaged") from e
    if stated != (version, size):
        raise ArrayFileError(f"{path}: version {stated[0]} with {stated[1]} bytes, expected {version} with {size}")
    memory = np.memmap(path, np.uint8, "r").view(np.ndarray)  # the plain view is what slices quickly
    try:
        return {name: _array(memory, start + d["offset"], d["dtype"], d["shape"]) for name, d in described.items()}
    except (ValueError, KeyError, TypeError) as e:
        raise ArrayFileError(f"{path}: the header is damaged") from e


def take_ragged(offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Choose rows of a ragged column.

    Args:
        offsets: (n + 1,) where each row starts in the flat array.
        rows: (m,) row numbers.

    Returns:
        (m + 1,) offsets of the chosen rows, and the positions of their items in the old flat array.
    """
    lengths = np.diff(offsets)[rows]
    new = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return new, np.repeat(np.asarray(offsets)[rows] - new[:-1], lengths) + np.arange(new[-1])


def join_offsets(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Offsets of ragged columns put one after another."""
    return np.concatenate([[0], np.cumsum(np.concatenate([np.diff(part) for part in parts]))]).astype(np.int64)


def pack_text(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Texts as one flat array of their UTF-8 bytes, and its offsets."""
    raw = [text.encode("utf-8", "surrogateescape") for text in texts]  # a file name need not be valid UTF-8
    offsets = np.concatenate([[0], np.cumsum([len(r) for r in raw])]).astype(np.int64)
    return np.frombuffer(b"".join(raw), np.uint8), offsets


def unpack_text(blob: np.ndarray, offsets: np.ndarray, row: int) -> str:
    """The text at index `row` of a packed column."""
    return blob[offsets[row] : offsets[row + 1]].tobytes().decode("utf-8", "surrogateescape")


def _array(memory: np.ndarray, start: int, dtype: str, shape: Sequence[int]) -> np.ndarray:
    numpy_dtype = np.dtype(dtype)
    if numpy_dtype.hasobject:
        raise ValueError("only plain numbers are stored")
    count = int(np.prod(shape))
    return memory[start : start + count * numpy_dtype.itemsize].view(numpy_dtype).reshape(shape)
