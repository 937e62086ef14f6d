"""Helpers of 8.3.0's `utils.torch_utils` for scripts, which this package does not use itself."""

from __future__ import annotations

import gc
import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ultralytics.utils import LOGGER, dist
from ultralytics.utils.torch_utils import max_stride, select_device

C = TypeVar("C", bound=Callable[..., Any])
_PAD_VALUE = 0.447  # mean color of ImageNet, as in 8.3.0


@contextmanager
def torch_distributed_zero_first(local_rank: int) -> Iterator[None]:
    """The process with local rank 0 runs the block before the others; -1 for a single process."""
    is_first = local_rank in (-1, 0)
    if not is_first:
        dist.barrier()
    try:
        yield
    finally:
        if is_first:
            dist.barrier()


def smart_inference_mode() -> Callable[[C], C]:
    """Decorator that runs a function in inference mode; within an enclosing one it changes nothing."""

    def decorate(function: C) -> C:
        return function if torch.is_inference_mode_enabled() else torch.inference_mode()(function)

    return decorate


def autocast(enabled: bool, device: str = "cuda") -> AbstractContextManager[Any]:
    """Mixed precision on a device in a `with` block, if `enabled`."""
    return torch.amp.autocast(device, enabled=enabled)


def get_cpu_info() -> str:
    """Name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.is_file() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return name or platform.processor() or "unknown"


def time_sync() -> float:
    """Seconds of the system clock after the work queued on the CUDA device is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.time()


def scale_img(img: Tensor, ratio: float = 1.0, same_shape: bool = False, gs: int = 32) -> Tensor:
    """Images resized by `ratio`, and filled with gray at the right and the bottom.

    Args:
        img: (B, C, H, W) float.
        ratio: 1 gives `img` itself.
        same_shape: fill to the size of `img`; else to the resized image's next multiples of `gs`.
        gs: see `same_shape`.
    """
    if ratio == 1.0:
        return img
    h, w = img.shape[2:]
    size = int(h * ratio), int(w * ratio)
    scaled = F.interpolate(img, size=size, mode="bilinear", align_corners=False)
    if not same_shape:
        h, w = (math.ceil(side * ratio / gs) * gs for side in (h, w))
    return F.pad(scaled, [0, w - size[1], 0, h - size[0]], value=_PAD_VALUE)


def copy_attr(a: object, b: object, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
    """Copy public attributes of `b` to `a`: those in `include` (all if it is empty) and not in `exclude`."""
    for name, value in vars(b).items():
        if (include and name not in include) or name.startswith("_") or name in exclude:
            continue
        setattr(a, name, value)


def de_parallel(model: nn.Module) -> nn.Module:
    """The network inside DataParallel or DistributedDataParallel."""
    return model.module if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel) else model


def convert_optimizer_state_dict_to_fp16(state_dict: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's state whose float32 tensors but `step` are float16; changed in place."""
    for state in state_dict["state"].values():
        for key, value in state.items():
            if key != "step" and isinstance(value, Tensor) and value.dtype is torch.float32:
                state[key] = value.half()
    return state_dict


def get_flops_with_torch_profiler(model: nn.Module, imgsz: int | Sequence[int] = 640) -> float:
    """Arithmetic for one image as torch's profiler counts it, in GFLOPs.

    Args:
        model: not changed.
        imgsz: side of the image, or (height, width), in pixels.
    """
    first = next(model.parameters())
    h, w = (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    stride = 2 * max_stride(model) if hasattr(model, "stride") else 0
    side_h, side_w = (stride, stride) if stride else (h, w)  # counted on a small image and scaled
    image = torch.empty(1, 3, side_h, side_w, dtype=first.dtype, device=first.device)
    with torch.profiler.profile(with_flops=True) as run, torch.no_grad():
        model(image)
    total = sum(event.flops for event in run.key_averages())
    return total / 1e9 * (h / side_h) * (w / side_w)


def profile(
    input: Tensor | Sequence[Tensor],  # noqa: A002 - the name in 8.3.0
    ops: nn.Module | Sequence[nn.Module],
    n: int = 10,
    device: str | torch.device | None = None,
) -> list[list[Any] | None]:
    """Time and memory of modules; one line per input and module is logged.

    Args:
        input: one or several inputs.
        ops: one or several modules.
        n: number of runs.
        device: where they run.

    Returns:
        For each input and module [parameters, GFLOPs, memory in GB, forward ms, backward ms, input shape, output
        shape]; None where a module fails. The backward time is NaN for an output without gradient.
    """
    target = device if isinstance(device, torch.device) else select_device(device)
    results: list[list[Any] | None] = []
    LOGGER.info(f"{'Params':>12}{'GFLOPs':>12}{'memory GB':>12}{'forward ms':>14}{'backward ms':>14}")
    for x in [input] if isinstance(input, Tensor) else input:
        x = x.to(target).requires_grad_()
        for module in [ops] if isinstance(ops, nn.Module) else ops:
            try:
                results.append(_measured(module.to(target), x, n))
            except (RuntimeError, TypeError, ValueError) as e:
                LOGGER.warning(f"{type(module).__name__} fails: {e}")
                results.append(None)
            gc.collect()
            torch.cuda.empty_cache()
    return results


def _measured(module: nn.Module, x: Tensor, n: int) -> list[Any]:
    forward = backward = 0.0
    y: Any = None
    for _ in range(n):
        start = time_sync()
        y = module(x)
        middle = time_sync()
        outputs = [one for one in (y if isinstance(y, (list, tuple)) else [y]) if isinstance(one, Tensor)]
        has_gradient = any(one.requires_grad for one in outputs)
        if has_gradient:
            torch.stack([one.sum() for one in outputs]).sum().backward()
        backward += (time_sync() - middle) if has_gradient else float("nan")
        forward += middle - start
    with torch.profiler.profile(with_flops=True) as run, torch.no_grad():
        module(x)
    gflops = sum(event.flops for event in run.key_averages()) / 1e9
    memory = torch.cuda.memory_reserved() / 1e9 if torch.cuda.is_available() else 0.0
    params = sum(p.numel() for p in module.parameters())
    to_ms = 1e3 / n
    shape = tuple(y.shape) if isinstance(y, Tensor) else "list"
    LOGGER.info(f"{params:12}{gflops:12.4g}{memory:12.3f}{forward * to_ms:14.4g}{backward * to_ms:14.4g}")
    return [params, gflops, memory, forward * to_ms, backward * to_ms, tuple(x.shape), shape]
