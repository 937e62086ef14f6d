"""Which backend computes the operators of the added modules: Triton kernels on a CUDA GPU, PyTorch everywhere else.

One switch selects it: "auto" (the default), "triton" or "pytorch". The environment variable YOLO_KERNELS sets it for a
process, `use_backend` for a block of code, which takes precedence.
- "auto" uses a kernel on a GPU once its self-test has passed there (self_test.py), and PyTorch otherwise; a GPU that
  falls back to PyTorch gets one warning with the reason.
- "triton" uses the kernels without a self-test, and raises an error where they cannot run.
- "pytorch" never uses them.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from subprocess import SubprocessError
from typing import Literal, TypeVar, get_args

import torch
from torch import Tensor

from ultralytics.nn.ops import self_test
from ultralytics.nn.ops.tracing import is_tracing
from ultralytics.utils import LOGGER

Backend = Literal["auto", "triton", "pytorch"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
VARIABLE = "YOLO_KERNELS"
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
OLDEST_GPU = (8, 0)  # compute capability: Triton supports no older one, where bfloat16 is slow as well
_ANNOUNCEMENT = "AKConv, ACmix and D-LKA run on Triton kernels; the first steps compile them, which can take a minute"
# what Triton raises without a GPU driver, a C compiler or Python's headers; 3.2 when the kernels are defined
_LOAD_ERRORS = (AssertionError, ImportError, OSError, RuntimeError, SubprocessError)
_Function = TypeVar("_Function", bound=Callable[..., object])


class _State:
    override: Backend | None = None  # of the innermost use_backend; a class attribute, which Dynamo can read


@contextmanager
def use_backend(backend: Backend) -> Iterator[None]:
    """Select the backend of the operators within this block, see the top of this file.

    On a CPU, kernels run only in Triton's interpreter, for tests: TRITON_INTERPRET=1, set before Triton is imported.

    Raises:
        ValueError: unknown backend.
    """
    before, _State.override = _State.override, _checked(backend, "use_backend")
    try:
        yield
    finally:
        _State.override = before


def requested_backend() -> Backend:
    """What `use_backend` or else YOLO_KERNELS selects; "auto" by default.

    Raises:
        ValueError: YOLO_KERNELS is set to something else.
    """
    return _State.override or _from_environment()


def uses_triton(x: Tensor, operator: str) -> bool:
    """Whether the kernel of `operator`, a name in self_test.OPERATORS, computes it for the map `x`.

    Raises:
        RuntimeError: "triton" is selected and the kernel cannot run; the message says why.
        ValueError: YOLO_KERNELS is set to an unknown backend.
    """
    requested = requested_backend()
    if requested == "pytorch" or (requested == "auto" and not x.is_cuda):
        return False
    reason = unavailable(x)
    if requested == "triton":
        if reason:
            raise RuntimeError(f"the backend 'triton' is selected, but the kernels cannot run here: {reason}")
        return True
    if reason:
        if not is_tracing():
            log_once(
                logging.WARNING,
                f"AKConv, ACmix and D-LKA run on PyTorch's operators, not on the Triton kernels: {reason}",
            )
        return False
    if self_test_failure(operator, x.dtype, x.device.type, x.device.index or 0, is_tracing()):
        return False
    if not is_tracing():
        log_once(logging.INFO, _ANNOUNCEMENT)
    return True


def report() -> str:
    """What computes the operators on this machine and why, for `yolo checks`; with a line per self-tested operator."""
    try:
        requested = requested_backend()
    except ValueError as e:
        return f"added modules: {e}"
    if requested == "pytorch":
        return f"added modules: PyTorch operators ({VARIABLE}=pytorch)"
    if not torch.cuda.is_available():
        return "added modules: PyTorch operators (the Triton kernels need a CUDA GPU)"
    device = torch.device("cuda", torch.cuda.current_device())
    if reason := load_kernels() or gpu_too_old(device.index):
        return f"added modules: PyTorch operators ({reason})"
    if requested == "triton":
        return f"added modules: Triton kernels, without self-tests ({VARIABLE}=triton)"
    lines = [f"added modules: Triton kernels where their self-test on {self_test.device_name(device)} passes"]
    return "\n".join([*lines, *(f"  {name}: {_states(name, device)}" for name in self_test.OPERATORS)])


def _states(name: str, device: torch.device) -> str:
    return ", ".join(f"{self_test.dtype_name(dtype)} {_state(name, dtype, device)}" for dtype in DTYPES)


def _state(name: str, dtype: torch.dtype, device: torch.device) -> str:
    keys = [self_test.key_of(name, dtype, device, deterministic) for deterministic in (False, True)]
    outcomes = [outcome for key in keys if (outcome := self_test.VERDICTS.get(key)) is not None]
    if failure := next(filter(None, outcomes), ""):
        return f"failed ({failure})"
    return "passed" if outcomes else "not tested yet"


def _checked(backend: str, source: str) -> Backend:
    for known in BACKENDS:
        if backend == known:
            return known
    raise ValueError(f"{source}: the backend is one of {', '.join(BACKENDS)}, not '{backend}'")


def unavailable(x: Tensor) -> str:
    """Why no kernel can compute on `x`; "" if one can."""
    if torch.jit.is_tracing() or torch.onnx.is_in_onnx_export():
        return "a traced or exported graph must run without this package"
    if x.dtype not in DTYPES:
        return f"they compute in float32, float16 and bfloat16, not in {x.dtype}".replace("torch.", "")
    if x.is_cuda:
        return load_kernels() or gpu_too_old(x.device.index or 0)
    return load_kernels() or interpreter_missing()


def _constant(function: _Function) -> _Function:
    """Tell Dynamo to call `function` once and keep its result, as torch.compiler.assume_constant_result does.

    That function imports Dynamo, which would add more than a second to every import of the package. A cache may only be
    inside: Dynamo looks through one that is outermost.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@_constant
def _from_environment() -> Backend:
    return _checked(os.environ.get(VARIABLE, "auto").strip().lower() or "auto", f"environment variable {VARIABLE}")


@_constant
def self_test_failure(name: str, dtype: torch.dtype, device_type: str, index: int, tracing: bool) -> str:
    """Why the kernel of an operator is not used on a device; "" if its self-test passed.

    Runs the test if there is no outcome yet and none of the modes forbids it, and warns once per failure. The device
    comes in two parts because Dynamo calls this with constants; `tracing` says whether it does.
    """
    device = torch.device(device_type, index) if device_type == "cuda" else torch.device(device_type)
    key = self_test.key_of(name, dtype, device, torch.are_deterministic_algorithms_enabled())
    reason = self_test.VERDICTS.get(key)
    if reason is None and not tracing and self_test.can_run(device):
        from ultralytics.nn.ops.kernels.launch import without_tuning  # imports Triton, which is heavy

        with without_tuning():
            reason = self_test.run(self_test.OPERATORS[name], dtype, device, self_test.VERDICTS, key)
    subject = f"the Triton kernel of {name} in {self_test.dtype_name(dtype)} on {self_test.device_name(device)}"
    if reason is None:
        reason = "it has no self-test yet, which cannot run in a graph: run one step without compiling or capturing"
        log_once(logging.WARNING, f"{subject} is not used, PyTorch's operators are: {reason}")
    elif reason:
        log_once(logging.WARNING, f"{subject} failed its self-test, PyTorch's operators are used instead: {reason}")
    return reason


@_constant
def load_kernels() -> str:
    """Import and register the kernels; why there are none in this process, "" on success."""
    return loading_problem()


@_constant
def gpu_too_old(index: int) -> str:
    """Why the kernels do not support GPU `index`; "" if they do."""
    capability = torch.cuda.get_device_capability(index)
    if capability >= OLDEST_GPU:
        return ""
    return f"the GPU has compute capability {capability}, and {OLDEST_GPU} is needed"


@cache
def loading_problem() -> str:
    """As `load_kernels`, which Dynamo sees in place of this cache."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed (it comes with PyTorch's CUDA builds on Linux)"
    try:
        import ultralytics.nn.ops.kernels  # noqa: F401  Triton is heavy, and most machines do not need it
    except (*_LOAD_ERRORS, AttributeError, TypeError) as e:  # a Triton whose interface is older or newer
        return f"this version of Triton does not load them ({type(e).__name__}: {e})"
    return _launch_problem() if torch.cuda.is_available() else ""


def _launch_problem() -> str:
    """Why Triton cannot launch kernels: it calls the GPU through a module that it builds with a C compiler."""
    from triton.runtime import driver  # Triton is heavy

    try:
        driver.active.utils  # noqa: B018  builds the module, or finds it on disk
    except _LOAD_ERRORS as e:
        return f"Triton needs a C compiler and the headers of Python to launch them ({type(e).__name__}: {e})"
    return ""


@_constant
def interpreter_missing() -> str:
    """Why no kernel runs on a CPU; "" if Triton's interpreter does."""
    from ultralytics.nn.ops.kernels.launch import INTERPRETED, INTERPRETER_RUNS  # Triton is heavy

    if not INTERPRETED:
        return "on a CPU they need Triton's interpreter (set TRITON_INTERPRET=1 before Python starts)"
    return "" if INTERPRETER_RUNS else "the interpreter of this version of Triton does not run them, 3.4 or later does"


@cache
def log_once(level: int, text: str) -> None:
    """Log `text` the first time that it occurs in this process."""
    LOGGER.log(level, text)
