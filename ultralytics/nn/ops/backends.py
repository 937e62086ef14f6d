"""Which back end computes the added modules' operators, and why: Triton kernels on a CUDA GPU, PyTorch everywhere else.

The choice is automatic. `use_backend` makes it by hand for a while, and the environment variable YOLO_KERNELS=pytorch
for a whole process, should a kernel give trouble. What falls back although a GPU is there says so once.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from subprocess import SubprocessError
from typing import Literal

import torch
from torch import Tensor

from ultralytics.nn.ops import tracing
from ultralytics.utils import LOGGER

Backend = Literal["auto", "triton", "pytorch"]
BACKENDS = ("auto", "triton", "pytorch")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
OLDEST_GPU = (8, 0)  # compute capability: Triton supports no older one; there, products spill and bfloat16 is slow
# what Triton raises where it finds no driver of a GPU, no C compiler or no headers; 3.2 when the kernels are defined
_TROUBLE = (AssertionError, ImportError, OSError, RuntimeError, SubprocessError)


class _Wanted:
    backend: Backend = "auto"


@contextmanager
def use_backend(backend: Backend) -> Iterator[None]:
    """Let the operators within this block use one back end; "triton" makes it an error if a kernel cannot run.

    On a CPU kernels run only in Triton's interpreter, for tests: TRITON_INTERPRET=1, set before Triton is imported.

    Raises:
        ValueError: there is no such back end.
    """
    if backend not in BACKENDS:
        raise ValueError(f"operators are computed by one of {', '.join(BACKENDS)}, not '{backend}'")
    before, _Wanted.backend = _Wanted.backend, backend
    try:
        yield
    finally:
        _Wanted.backend = before


def uses_triton(x: Tensor) -> bool:
    """Whether the kernels compute an operator whose map is `x`.

    Raises:
        RuntimeError: `use_backend("triton")` is in force and they cannot; the message says why.
    """
    wanted = _Wanted.backend
    if wanted == "pytorch" or (wanted == "auto" and not x.is_cuda):
        return False
    reason = _why_not(x)
    if reason and wanted == "triton":
        raise RuntimeError(f"use_backend('triton'): the kernels cannot run here, {reason}")
    if not tracing.is_tracing():
        if reason:
            _warn_once(f"AKConv, ACmix and D-LKA run on PyTorch's operators, not on the Triton kernels: {reason}")
        elif x.is_cuda:
            _announce_once()
    return not reason


def report() -> str:
    """One line for `yolo checks`: what computes the operators here, and why."""
    if not torch.cuda.is_available():
        return "added modules: PyTorch operators (the Triton kernels need a CUDA GPU)"
    reason = _missing() or _gpu_too_old(torch.cuda.current_device())
    return f"added modules: PyTorch operators ({reason})" if reason else "added modules: Triton kernels"


def _why_not(x: Tensor) -> str:
    """Why kernels cannot compute on `x`; empty if they can."""
    if torch.jit.is_tracing() or torch.onnx.is_in_onnx_export():
        return "a traced or exported graph is to run without this package"
    if x.dtype not in DTYPES:
        return f"they compute in float32, float16 and bfloat16, not in {x.dtype}".replace("torch.", "")
    if x.is_cuda:
        return _missing() or _gpu_too_old(x.device.index or 0)
    return _missing() or _not_interpreted()


def _constant(function: Callable[..., str]) -> Callable[..., str]:
    """Tell Dynamo not to look into `function`, as torch.compiler.assume_constant_result does.

    That loads Dynamo, more than a second at every import of the package. A cache may only be inside: Dynamo looks
    through one that is outermost.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@_constant
def _missing() -> str:
    """Why there are no kernels in this process; loads and registers them otherwise."""
    return _load_kernels()


@_constant
def _gpu_too_old(index: int) -> str:
    found = torch.cuda.get_device_capability(index)
    return f"the GPU has compute capability {found}, and {OLDEST_GPU} is needed" if found < OLDEST_GPU else ""


@cache
def _load_kernels() -> str:
    if os.environ.get("YOLO_KERNELS", "auto").lower() == "pytorch":
        return "the environment variable YOLO_KERNELS asks for PyTorch"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed (it comes with PyTorch's CUDA builds on Linux)"
    try:
        import ultralytics.nn.ops.kernels  # noqa: F401  Triton is heavy, and most machines have no use for it
    except (*_TROUBLE, AttributeError, TypeError) as e:  # a Triton whose interface is older or newer
        return f"this version of Triton does not load them ({type(e).__name__}: {e})"
    return _why_not_launched() if torch.cuda.is_available() else ""


def _why_not_launched() -> str:
    """Why Triton launches nothing on this machine; it meets a GPU through a module that it has a C compiler build."""
    from triton.runtime import driver  # as above

    try:
        driver.active.utils  # noqa: B018  builds the module, or finds it on disk
    except _TROUBLE as e:
        return f"Triton wants a C compiler and the headers of Python to launch them ({type(e).__name__}: {e})"
    return ""


@_constant
def _not_interpreted() -> str:
    from ultralytics.nn.ops.kernels.launch import INTERPRETED, INTERPRETER_RUNS  # as above

    if not INTERPRETED:
        return "on a CPU they need Triton's interpreter (TRITON_INTERPRET=1 from the start)"
    return "" if INTERPRETER_RUNS else "this version of Triton's interpreter does not run them, that of 3.4 does"


@cache
def _warn_once(text: str) -> None:
    LOGGER.warning(text)


@cache
def _announce_once() -> None:
    LOGGER.info("AKConv, ACmix and D-LKA run on Triton kernels; the first steps compile them, which can take a minute")
