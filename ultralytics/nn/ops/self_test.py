"""One-time comparison of a Triton kernel with the PyTorch path, before the kernel is first used on a device.

The kernels are compiled on the user's machine by whichever versions of Triton, CUDA and the driver it has, so passing
the project's tests elsewhere does not prove that they are correct here. For each (operator, dtype, device) a few small
inputs are computed by both, forward and backward: odd sizes, more than one memory format, a map of one row, points on
pixels, between pixels and outside the map. `backends` uses the kernel only if this passes.

Outcomes are kept in `kernel_self_tests.json` in the settings folder, under a key of device, driver and versions: a
change of any of these runs the test again. Each process reads and writes the file without locks, and replaces it
atomically; two processes that test at the same time both write the same outcome.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

from ultralytics.nn.ops.tracing import is_tracing, product_precision, without_autocast
from ultralytics.utils import LOGGER
from ultralytics.utils.files import atomic_write
from ultralytics.utils.settings import settings_dir
from ultralytics.version import FULL_VERSION

FILE_NAME = "kernel_self_tests.json"
FORMAT = 1  # of the file
PASSED = ""
# relative to the largest value; float16 and bfloat16 results are rounded, and so are products in TF32
TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 5e-2}
TF32_TOLERANCE = 2e-2
_SMALLEST_SCALE = 0.1  # a tensor whose exact values are near 0 is compared on the scale of the inputs, which are near 1
_MOST_ENTRIES = 512  # of the file; the oldest are dropped
_LARGEST_FILE = 1 << 20  # bytes; a larger file was not written by this module
_MOST_CHARACTERS = 300  # of a reason; compiler errors are long


@dataclass(frozen=True)
class Case:
    """Inputs of one comparison.

    Args:
        tensors: float32 on the CPU; they are cast to the tested dtype for both sides.
        options: further arguments of the operator.
        backward: whether the gradients of all `tensors` are compared as well.
    """

    tensors: tuple[Tensor, ...]
    options: tuple[object, ...] = ()
    backward: bool = True


@dataclass(frozen=True)
class Operator:
    """An operator with a Triton kernel.

    Args:
        name: as in `torch.ops.addmodules`.
        inputs: names of the tensors, for messages.
        kernel: (*tensors, *options) -> result, computed by the kernel on the device and in the dtype of the tensors.
        pytorch: the same, computed by PyTorch; called with float32 tensors on the CPU.
        cases: makes the inputs.
    """

    name: str
    inputs: tuple[str, ...]
    kernel: Callable[..., Tensor]
    pytorch: Callable[..., Tensor]
    cases: Callable[[], Sequence[Case]]


OPERATORS: dict[str, Operator] = {}


def register_operator(operator: Operator) -> None:
    """Add `operator` to OPERATORS, which `backends` tests and reports."""
    OPERATORS[operator.name] = operator


def wave(*shape: int, step: float = 0.7, scale: float = 1.0) -> Tensor:
    """Float32 test values in [-scale, scale] that look random; no generator is used, so its state is unchanged."""
    count = torch.Size(shape).numel()
    values = torch.arange(count, dtype=torch.float32, device="cpu").add_(1).mul_(step).sin_().mul_(scale)
    return values.view(shape)


class Verdicts:
    """Outcomes of self-tests: "" for passed, else the reason for the failure; in memory and in a JSON file.

    Args:
        file: another file than `settings_dir() / FILE_NAME`. A file that is damaged or of another format is ignored,
            and replaced at the next write.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._memory: dict[str, str] = {}

    @property
    def file(self) -> Path:
        return self._file or settings_dir() / FILE_NAME

    def get(self, key: str) -> str | None:
        """The outcome, or None if the test has not been run."""
        if key not in self._memory:
            stored = self._read().get(key)
            if stored is None:
                return None
            self._memory[key] = stored
        return self._memory[key]

    def put(self, key: str, reason: str, *, keep: bool = True) -> None:
        """Store an outcome; with `keep` in the file as well. A file that cannot be written is no error."""
        self._memory[key] = reason
        if not keep:
            return
        entries = self._read()
        entries.pop(key, None)
        entries[key] = reason
        latest = dict(itertools.islice(entries.items(), max(0, len(entries) - _MOST_ENTRIES), None))
        try:
            with atomic_write(self.file, "w") as f:
                json.dump({"format": FORMAT, "outcomes": latest}, f, indent=1)
        except OSError as e:
            LOGGER.debug(f"the outcome of a kernel's self-test could not be stored: {e}")

    def _read(self) -> dict[str, str]:
        try:
            if self.file.stat().st_size > _LARGEST_FILE:
                return {}
            content = json.loads(self.file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            return {}
        outcomes = content.get("outcomes")
        if not isinstance(outcomes, dict):
            return {}
        return {key: reason for key, reason in outcomes.items() if isinstance(reason, str)}


VERDICTS = Verdicts()


@cache
def key_of(name: str, dtype: torch.dtype, device: torch.device, deterministic: bool) -> str:
    """Key of an outcome: all that decides which machine code runs, as far as it can be known before."""
    sums = "deterministic" if deterministic else "atomic"  # the backward kernels have two ways to add
    return json.dumps([*environment(device), name, dtype_name(dtype), sums])


def can_run(device: torch.device) -> bool:
    """Whether a self-test may run now: not while a graph is recorded or captured, nor under fake tensors or vmap."""
    if is_tracing() or torch.onnx.is_in_onnx_export() or _get_current_dispatch_mode() is not None:
        return False
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return False
    return device.type != "cuda" or not torch.cuda.is_current_stream_capturing()


def run(
    operator: Operator, dtype: torch.dtype, device: torch.device, verdicts: Verdicts, key: str | None = None
) -> str:
    """Compare `operator` on `device` in `dtype` with PyTorch, and store the outcome.

    Returns:
        "" if all results are equal within TOLERANCE, else the reason to use PyTorch.
    """
    key = key or key_of(operator.name, dtype, device, torch.are_deterministic_algorithms_enabled())
    try:
        reason, keep = compare(operator, dtype, device), True
    except torch.OutOfMemoryError as e:
        reason, keep = _one_line(e), False  # says nothing about the kernel
    except Exception as e:  # noqa: BLE001  whatever a compiler, a launch or a kernel raises, PyTorch still works
        reason, keep = _one_line(e), True
    verdicts.put(key, reason, keep=keep)
    return reason


def compare(operator: Operator, dtype: torch.dtype, device: torch.device) -> str:
    """First difference between the kernel and PyTorch; "" if there is none. Errors are not caught."""
    for number, case in enumerate(operator.cases(), 1):
        inputs = [t.to(device, dtype) for t in case.tensors]
        expected = _results(operator.pytorch, [t.cpu().float() for t in inputs], case)
        results = _results(operator.kernel, inputs, case)
        names = ("output", *(f"gradient of {name}" for name in operator.inputs))
        for name, result, reference in zip(names, results, expected, strict=False):
            if difference := _difference(result, reference, _tolerance(dtype)):
                return f"{name} in case {number} {difference}"
    return PASSED


def dtype_name(dtype: torch.dtype) -> str:
    """Such as "float16"."""
    return str(dtype).removeprefix("torch.")


def device_name(device: torch.device) -> str:
    """Such as "NVIDIA H200"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _results(function: Callable[..., Tensor], inputs: list[Tensor], case: Case) -> list[Tensor]:
    """Output of `function`, and the gradients of `inputs`; in the caller's thread, whatever modes it is in."""
    with torch.inference_mode(False), torch.enable_grad(), without_autocast(inputs[0]):
        leaves = [t.detach().clone(memory_format=torch.preserve_format) for t in inputs]
        for leaf in leaves:
            leaf.requires_grad_(case.backward)
        out = function(*leaves, *case.options)
        if not case.backward:
            return [out]
        grad = wave(*out.shape, step=0.3).to(out)
        return [out.detach(), *torch.autograd.grad(out, leaves, grad)]


def _difference(result: Tensor, expected: Tensor, tolerance: float) -> str:
    if result.shape != expected.shape:
        return f"has the shape {tuple(result.shape)}, not {tuple(expected.shape)}"
    result = result.detach().cpu().float()
    if not result.isfinite().all():
        return "contains NaN or Inf"
    error = (result - expected).abs().max().item()
    limit = tolerance * (expected.abs().max().item() + _SMALLEST_SCALE)
    return "" if error <= limit else f"differs from PyTorch's by {error:.3g}, more than {limit:.3g}"


def _tolerance(dtype: torch.dtype) -> float:
    if dtype == torch.float32 and product_precision() == "tf32":
        return TF32_TOLERANCE
    return TOLERANCE[dtype]


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:_MOST_CHARACTERS]


@cache
def environment(device: torch.device) -> tuple[str, ...]:
    """Device name, compute capability, driver, and the versions of torch, Triton and this package."""
    try:
        from triton import __version__ as triton_version  # heavy, and absent on many machines
    except ImportError:
        triton_version = "none"
    capability = driver = "none"
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        capability, driver = f"{major}.{minor}", _driver()
    return device_name(device), capability, driver, torch.__version__, triton_version, FULL_VERSION


def _driver() -> str:
    """The NVIDIA driver's version as Linux gives it, elsewhere the CUDA version that torch was built for."""
    try:
        return Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").splitlines()[0]
    except (OSError, ValueError, IndexError):
        return f"unknown, CUDA {torch.version.cuda}"
