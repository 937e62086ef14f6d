"""Reads torch's .pt archives without running anything that they contain.

An archive is a zip of one pickle, `data.pkl`, and one file of raw numbers for every storage. The pickle may name
anything; here it gets tensors, containers, numbers and texts. Every instance of a class becomes a record of its
attributes, and functions outside the table of pickled_types.py are refused by name. torch.load is not used.
"""

from __future__ import annotations

import io
import pickle
import re
import reprlib
import sys
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ultralytics.nn.checkpoint.pickled_types import (
    ALLOWED,
    PATH_AS_TEXT,
    PATH_CLASSES,
    REFUSED,
    TORCH_RECORDS,
    CheckpointError,
    PickledObject,
)

_OLD_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # a number as a pickle, after the protocol header
# what Python's unpickler and tensor constructors raise for a damaged or hostile stream
_BROKEN = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
)
# commands that torch.save never writes: the registry of copyreg, buffers outside the pickle, memory allocated in
# advance, and sets in sets, which can take forever to compare
_UNUSED = tuple(
    code[0]
    for code in (
        pickle.EXT1,
        pickle.EXT2,
        pickle.EXT4,
        pickle.NEXT_BUFFER,
        pickle.READONLY_BUFFER,
        pickle.BYTEARRAY8,
        pickle.FROZENSET,
    )
)
MAX_TUPLE = 10_000  # elements with those of inner tuples; the longest in a checkpoint has several hundred


def read_safely(path: str | Path) -> Any:
    """Contents of a torch archive: tensors on the CPU, containers, plain values and `PickledObject` records.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is not a whole torch archive, or names something that could run code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    _check_format(path)
    try:
        with zipfile.ZipFile(path) as archive:
            root = _checked_root(archive, path)
            return _SafeUnpickler(archive, root).load()
    except CheckpointError as e:
        raise CheckpointError(f"{path}: {e}") from None
    except _BROKEN as e:
        raise CheckpointError(f"{path} is damaged and cannot be read as a torch checkpoint: {e}") from e


def _check_format(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(64)
        if start and start.isascii() and start.decode().split("\n")[0].strip("\r\t").isprintable():
            raise CheckpointError(
                f"{path} is a text file that begins with {start.decode()[:30]!r}, not a checkpoint: did the download "
                "return a web page or a Git LFS pointer instead of the file?"
            )
        if _OLD_MAGIC in start:
            raise CheckpointError(
                f"{path} is in the format that torch wrote before 1.6; if you trust it, open it with torch.load and "
                "write it again with torch.save"
            )
    if not zipfile.is_zipfile(path):
        raise CheckpointError(
            f"{path} is not a whole torch checkpoint (cut off while copying?); copy or download it again"
        )


def _checked_root(archive: zipfile.ZipFile, path: Path) -> str:
    entries = archive.infolist()
    names = {i.filename for i in entries}
    if any(name.endswith("/constants.pkl") for name in names):
        raise CheckpointError("it is a TorchScript export, which cannot be trained on; give the .pt it was made from")
    compressed = [i.filename for i in entries if i.compress_type != zipfile.ZIP_STORED]
    if compressed:  # torch never compresses; otherwise a small file could expand to any size
        raise CheckpointError(f"it holds compressed parts such as {compressed[0]}, which torch does not write; refused")
    if sum(i.file_size for i in entries) > path.stat().st_size:  # parts that share bytes have the same effect
        raise CheckpointError("its parts are together larger than the file, which torch does not write; refused")
    roots = [name.removesuffix("data.pkl") for name in names if re.fullmatch(r"[^/]+/data\.pkl", name)]
    if len(roots) != 1:
        raise CheckpointError("it is a zip file, but not one that torch.save wrote (no data.pkl)")
    order = f"{roots[0]}byteorder"
    if order in names and archive.read(order).strip() != b"little":
        raise CheckpointError("its numbers are big-endian; save it again on a little-endian machine")
    return roots[0]


def _measured(load: Callable[[Any], None]) -> Callable[[Any], None]:
    # a tuple as the key of a dict is hashed with its elements: forty that each contain the last twice take forever
    def load_tuple(self: _SafeUnpickler) -> None:
        load(self)
        new: tuple[Any, ...] = vars(self)["stack"][-1]
        size = len(new) + sum(self._sizes.get(id(x), 0) for x in new if type(x) is tuple)
        if size > MAX_TUPLE:
            raise CheckpointError(f"it has a tuple of {size} elements, which torch does not write; refused")
        self._sizes[id(new)] = size  # all tuples of a file are created here: a reused id is measured again

    return load_tuple


_TUPLES = (pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3)


class _SafeUnpickler(pickle._Unpickler):
    """Rebuilds data and records only.

    It extends the unpickler written in Python: the one in C allocates its memo as large as the file says, tens of
    gigabytes in a hostile one, and knows more commands than torch.save writes. The largest network takes 0.3 s longer.
    """

    dispatch = {code: load for code, load in pickle._Unpickler.dispatch.items() if code not in _UNUSED}
    dispatch |= {code[0]: _measured(pickle._Unpickler.dispatch[code[0]]) for code in _TUPLES}

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{root}data.pkl")), encoding="utf-8")
        self._archive, self._root = archive, root
        self._storages: dict[str, Tensor] = {}
        self._types: dict[str, type] = {}
        self._sizes: dict[int, int] = {}  # of tuples, by id

    def persistent_load(self, pid: Any) -> Tensor:
        """The numbers of a storage, 1-D; `pid` is ("storage", dtype, key, device, count)."""
        tag, dtype, key, _, count = pid
        valid = isinstance(dtype, torch.dtype) and isinstance(key, str) and isinstance(count, int)
        if tag != "storage" or not valid:
            raise CheckpointError(f"it refers to something outside the file: {reprlib.repr(pid)}")
        if key not in self._storages:
            raw = bytearray(self._archive.read(f"{self._root}data/{key}"))
            # not resizable, unlike other tensors; frombuffer needs a byte for an empty storage
            self._storages[key] = torch.frombuffer(raw or bytearray(1), dtype=torch.uint8)[: len(raw)]
        values = self._storages[key]
        if len(values) != count * dtype.itemsize:
            raise CheckpointError(f"storage {key} should hold {count} numbers of {dtype} but has {len(values)} bytes")
        return values.view(dtype)

    def find_class(self, module: str, name: str) -> Any:
        # torch.save writes the names of Python 2; the base class would translate them with the same tables
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        if (module, name) in ALLOWED:
            return ALLOWED[module, name]
        if module in ("pathlib", "pathlib._local") and name in PATH_CLASSES:
            return PATH_AS_TEXT
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        top, dotted = module.partition(".")[0], f"{module}.{name}"
        standard = top in sys.stdlib_module_names and top != "__main__"
        if standard or (top == "torch" and not module.startswith(TORCH_RECORDS)):
            raise CheckpointError(f"the file names {dotted}, {REFUSED}")
        if top == "models":
            raise CheckpointError(
                f"the file names {dotted}: it is a YOLOv5 (or YOLOv7) checkpoint. This distribution reads checkpoints "
                "of YOLOv8 and YOLO11; train one of those, or use the program that wrote the file."
            )
        if dotted not in self._types:
            self._types[dotted] = type(name, (PickledObject,), {"path": dotted})
        return self._types[dotted]
