"""Reads torch's .pt archives without running anything that they contain.

An archive is a zip of one pickle, `data.pkl`, and one file of raw numbers for every storage. The pickle may name
anything; here it gets tensors, containers, numbers and texts. Every instance of a class becomes an inert record of its
attributes, and functions outside the lists below are refused by name. torch.load has no part in it: what a file can
make the reader do is what stands in this file.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import reprlib
import sys
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

_OLD_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # one number as a pickle, after the head of its protocol
REFUSED = "which is refused: a checkpoint must not run code"
# everything that a damaged or hostile stream makes Python's unpickler or a tensor's constructor raise
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
# commands that torch.save never writes: the registry of copyreg, buffers outside the pickle, memory made in advance;
# and sets in sets, which two of a kind can make endless to compare
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


MAX_TUPLE = 10_000  # elements with those of inner tuples; the longest in a checkpoint has some hundred


class CheckpointError(ValueError):
    """A checkpoint cannot be read: what was found in it and what would be right."""


class PickledObject:
    """What stands for a class instance in a file: its dotted name and its attributes; it can do nothing."""

    path = ""

    def __new__(cls, *args: object) -> PickledObject:
        # only functions and exotic classes are called with arguments; torchvision's enums occur in official files
        if args and not cls.path.startswith("torchvision."):
            raise CheckpointError(f"the file asks to call {cls.path}, {REFUSED}")
        return object.__new__(cls)

    def __setstate__(self, state: object) -> None:
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.__dict__.update(part)


def read_safely(path: str | Path) -> Any:
    """Contents of a torch archive: tensors on the CPU, containers, plain values and `PickledObject` records.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is not a whole torch archive, or names something that could run code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    with path.open("rb") as file:
        start = file.read(64)
        if start and start.isascii() and start.decode().split("\n")[0].strip("\r\t").isprintable():
            raise CheckpointError(
                f"{path} is a text that begins with {start.decode()[:30]!r}, and no checkpoint: did the download bring "
                "a web page or a Git LFS pointer instead of the file?"
            )
        if _OLD_MAGIC in start:
            raise CheckpointError(
                f"{path} is in the format that torch wrote before 1.6; if you trust it, open it with torch.load and "
                "write it again with torch.save"
            )
    if not zipfile.is_zipfile(path):
        raise CheckpointError(f"{path} is not a whole torch checkpoint (cut off while copying?); get the file again")
    try:
        with zipfile.ZipFile(path) as archive:
            root = _checked_root(archive, path)
            return _SafeUnpickler(archive, root).load()
    except CheckpointError as e:
        raise CheckpointError(f"{path}: {e}") from None
    except _BROKEN as e:
        raise CheckpointError(f"{path} is damaged and cannot be read as a torch checkpoint: {e}") from e


def _checked_root(archive: zipfile.ZipFile, path: Path) -> str:
    entries = archive.infolist()
    names = {i.filename for i in entries}
    if any(name.endswith("/constants.pkl") for name in names):
        raise CheckpointError("it is a TorchScript export, which cannot be trained on; give the .pt it was made from")
    packed = [i.filename for i in entries if i.compress_type != zipfile.ZIP_STORED]
    if packed:  # torch never compresses; a small file could otherwise unpack to any size
        raise CheckpointError(f"it holds compressed parts such as {packed[0]}, which torch does not write; refused")
    if sum(i.file_size for i in entries) > path.stat().st_size:  # parts that share bytes, another way to the same end
        raise CheckpointError("its parts are together larger than the file, which torch does not write; refused")
    roots = [name.removesuffix("data.pkl") for name in names if re.fullmatch(r"[^/]+/data\.pkl", name)]
    if len(roots) != 1:
        raise CheckpointError("it is a zip file, but not one that torch.save wrote (no data.pkl)")
    order = f"{roots[0]}byteorder"
    if order in names and archive.read(order).strip() != b"little":
        raise CheckpointError("its numbers are big-endian; save it again on a common machine")
    return roots[0]


def _measured(load: Callable[[Any], None]) -> Callable[[Any], None]:
    # a tuple that is the key of a dict is hashed with all that it holds: forty that each hold the last twice never end
    def load_tuple(self: _SafeUnpickler) -> None:
        load(self)
        made = self.stack[-1]  # type: ignore[attr-defined]
        size = len(made) + sum(self._sizes.get(id(x), 0) for x in made if type(x) is tuple)
        if size > MAX_TUPLE:
            raise CheckpointError(f"it has a tuple of {size} elements, which torch does not write; refused")
        self._sizes[id(made)] = size  # all tuples of a file are made here: an id that is used again is measured again

    return load_tuple


_TUPLES = (pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3)


class _SafeUnpickler(pickle._Unpickler):
    """Rebuilds data and inert records only.

    The one written in Python: the one in C makes its memo as large as the file says, tens of gigabytes in a hostile
    one, and knows more commands than torch.save writes. The largest network takes 0.3 seconds more by it.
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
        kind, dtype, key, _, count = pid
        ours = isinstance(dtype, torch.dtype) and isinstance(key, str) and isinstance(count, int)
        if kind != "storage" or not ours:
            raise CheckpointError(f"it refers to something outside the file: {reprlib.repr(pid)}")
        if key not in self._storages:
            raw = bytearray(self._archive.read(f"{self._root}data/{key}"))
            # one byte more for an empty storage: what frombuffer gives cannot be made larger by the file
            self._storages[key] = torch.frombuffer(raw or bytearray(1), dtype=torch.uint8)[: len(raw)]
        values = self._storages[key]
        if len(values) != count * dtype.itemsize:
            raise CheckpointError(f"storage {key} should hold {count} numbers of {dtype} but has {len(values)} bytes")
        return values.view(dtype)

    def find_class(self, module: str, name: str) -> Any:
        # torch.save writes the names of Python 2; the class above would translate them with the same tables
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        if (module, name) in _REAL:
            return _REAL[module, name]
        if module in ("pathlib", "pathlib._local") and name in _PATHS:
            return _PATH_TEXT
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        top, dotted = module.partition(".")[0], f"{module}.{name}"
        standard = top in sys.stdlib_module_names and top != "__main__"
        if standard or (top == "torch" and not module.startswith(_TORCH_INERT)):
            raise CheckpointError(f"the file names {dotted}, {REFUSED}")
        if top == "models":
            raise CheckpointError(
                f"the file names {dotted}: it is a YOLOv5 (or YOLOv7) checkpoint. This distribution reads checkpoints "
                "of YOLOv8 and YOLO11; train one of those, or use the program that wrote the file."
            )
        if dotted not in self._types:
            self._types[dotted] = type(name, (PickledObject,), {"path": dotted})
        return self._types[dotted]


# ------------------------------------------------------------------------------------------ what a pickle may call


class _Builder:
    """A function that a pickle may call and not alter: pickles can also set attributes of what they name."""

    __slots__ = ("_make",)
    _make: Callable[..., Any]

    def __init__(self, make: Callable[..., Any]) -> None:
        object.__setattr__(self, "_make", make)

    def __call__(self, *args: Any) -> Any:
        return self._make(*args)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise CheckpointError(f"the file asks to change a function of the reader, {REFUSED}")

    def __setstate__(self, state: object) -> NoReturn:
        raise CheckpointError(f"the file asks to change a function of the reader, {REFUSED}")


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    # a view may not be larger than what the file holds: stride 0 would make terabytes of one number
    if math.prod(size) > storage.numel():
        raise CheckpointError(f"it has a tensor of size {tuple(size)} over {storage.numel()} numbers; refused")
    return torch.as_strided(storage, size, stride, offset)


def _tensor_of_type(storage: Tensor, offset: int, size: Any, stride: Any, *rest: Any) -> Tensor:
    # torch keeps the newer dtypes (uint16 and its like) as bytes; offset and strides count numbers of that type
    dtype = rest[2]
    if not isinstance(dtype, torch.dtype):
        raise CheckpointError(f"it has a tensor of the unknown type {reprlib.repr(dtype)}")
    return _tensor(storage.view(dtype), offset, size, stride)


def _parameter(data: Any, *_: object) -> Tensor:
    if not isinstance(data, Tensor):
        raise CheckpointError(f"it has a parameter that is no tensor but a {type(data).__name__}")
    return data


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1":
        raise CheckpointError(f"the file asks for the codec {reprlib.repr(encoding)}, which is refused")
    return text.encode("latin1")


def _method(owner: object, name: str) -> None:
    # a fused network keeps its blocks' other forward method as an attribute; rebuilt blocks bring their own
    if not (isinstance(owner, PickledObject) and isinstance(name, str)):
        raise CheckpointError(f"the file asks for builtins.getattr of a {type(owner).__name__}, {REFUSED}")


class _NumberType:
    """numpy's dtype of one number, as far as scalars need it."""

    def __init__(self, code: str, *_: object) -> None:
        if not re.fullmatch(r"[biufc]\d+", code):
            raise CheckpointError(f"it has a numpy value of type '{code}'; only numbers are read")
        self.order, self.code = "|", code

    def __setstate__(self, state: Any) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise CheckpointError(f"it has a numpy value of the byte order {reprlib.repr(state[1])}")
        self.order = state[1]


def _scalar(kind: _NumberType, raw: bytes) -> Any:
    return np.frombuffer(raw, np.dtype(kind.order + kind.code), 1)[0].item()


_STORAGE_TYPES = {
    "BFloat16Storage": torch.bfloat16,
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "ComplexDoubleStorage": torch.complex128,
    "ComplexFloatStorage": torch.complex64,
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "ShortStorage": torch.int16,
}
# numpy 1 and 2 keep the same function at different paths
_REAL: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("builtins", "getattr"): _Builder(_method),
    ("_codecs", "encode"): _Builder(_latin1),
    ("numpy", "dtype"): _Builder(_NumberType),
    ("numpy.core.multiarray", "scalar"): _Builder(_scalar),
    ("numpy._core.multiarray", "scalar"): _Builder(_scalar),
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    ("torch.storage", "UntypedStorage"): torch.uint8,
    ("torch._utils", "_rebuild_tensor"): _Builder(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Builder(_tensor),
    ("torch._utils", "_rebuild_tensor_v3"): _Builder(_tensor_of_type),
    ("torch._utils", "_rebuild_parameter"): _Builder(_parameter),
    ("torch._utils", "_rebuild_parameter_with_state"): _Builder(_parameter),
} | {("torch", name): dtype for name, dtype in _STORAGE_TYPES.items()}
_PATHS = {"PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path"}
_PATH_TEXT = _Builder(lambda *parts: "/".join(parts).replace("//", "/"))
# activations and classes of torch that may be an attribute; like all others they become inert records
_TORCH_INERT = ("torch.nn.modules", "torch.nn.functional", "torch._C._nn")
