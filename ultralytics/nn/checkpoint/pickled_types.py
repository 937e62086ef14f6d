"""What a checkpoint's pickle may name: allowed functions and classes, and records in place of all other classes.

A pickle can call what it names and set attributes of it. Nothing here runs code from the file or can be changed by it.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

REFUSED = "which is refused: a checkpoint must not run code"


class CheckpointError(ValueError):
    """A checkpoint cannot be read; the text says what it contains and what is expected."""


class PickledObject:
    """Record of a class instance in a file: the dotted name of its class and its attributes, without methods."""

    path = ""

    def __new__(cls, *args: object) -> PickledObject:
        # arguments mean that a function is called; only torchvision's enums, in official files, are created with one
        if args and not cls.path.startswith("torchvision."):
            raise CheckpointError(f"the file asks to call {cls.path}, {REFUSED}")
        return object.__new__(cls)

    def __setstate__(self, state: object) -> None:
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.__dict__.update(part)


class _Builder:
    """A function that a pickle may call but not change: pickles can also set attributes of what they name."""

    __slots__ = ("_make",)
    _make: Callable[..., Any]

    def __init__(self, make: Callable[..., Any]) -> None:
        object.__setattr__(self, "_make", make)

    def __call__(self, *args: object) -> Any:
        return self._make(*args)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise CheckpointError(f"the file asks to change a function of the reader, {REFUSED}")

    def __setstate__(self, state: object) -> NoReturn:
        raise CheckpointError(f"the file asks to change a function of the reader, {REFUSED}")


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    # a view must not be larger than the data in the file: stride 0 would make terabytes of one number
    if math.prod(size) > storage.numel():
        raise CheckpointError(f"it has a tensor of size {tuple(size)} over {storage.numel()} numbers; refused")
    return torch.as_strided(storage, size, stride, offset)


def _tensor_of_type(
    storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *rest: object
) -> Tensor:
    # torch stores newer dtypes, such as uint16, as bytes; offset and strides count numbers of that dtype
    dtype = rest[2]
    if not isinstance(dtype, torch.dtype):
        raise CheckpointError(f"it has a tensor of the unknown dtype {reprlib.repr(dtype)}")
    return _tensor(storage.view(dtype), offset, size, stride)


def _parameter(data: object, *_: object) -> Tensor:
    if not isinstance(data, Tensor):
        raise CheckpointError(f"it has a parameter that is not a tensor but a {type(data).__name__}")
    return data


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1":
        raise CheckpointError(f"the file asks for the codec {reprlib.repr(encoding)}, which is refused")
    return text.encode("latin1")


def _method(owner: object, name: str) -> None:
    # a fused network stores its blocks' other forward method as an attribute; rebuilt blocks have their own
    if not (isinstance(owner, PickledObject) and isinstance(name, str)):
        raise CheckpointError(f"the file asks for builtins.getattr of a {type(owner).__name__}, {REFUSED}")


class _NumberType:
    """numpy's dtype, as far as single numbers need it."""

    def __init__(self, code: str, *_: object) -> None:
        if not re.fullmatch(r"[biufc]\d+", code):
            raise CheckpointError(f"it has a numpy value of type '{code}'; only numbers are read")
        self.order, self.code = "|", code

    def __setstate__(self, state: Any) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise CheckpointError(f"it has a numpy value of the byte order {reprlib.repr(state[1])}")
        self.order = state[1]


def _scalar(dtype: _NumberType, raw: bytes) -> Any:
    return np.frombuffer(raw, np.dtype(dtype.order + dtype.code), 1)[0].item()


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
# numpy 1 and 2 have the same function at different paths
ALLOWED: dict[tuple[str, str], Any] = {
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
PATH_CLASSES = {"PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path"}
PATH_AS_TEXT = _Builder(lambda *parts: "/".join(parts).replace("//", "/"))
# activations and classes of torch that may be an attribute; like all others they become records
TORCH_RECORDS = ("torch.nn.modules", "torch.nn.functional", "torch._C._nn", "torch.nn.utils.prune")
