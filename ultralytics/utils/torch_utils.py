"""Devices, seeds, the moving average of the weights, early stopping, and small helpers for networks and images.

The other names of 8.3.0's module are in torch_helpers.py, nn/info.py, nn/fuse.py and nn/checkpoint/official.py.
"""

from __future__ import annotations

import ctypes
import math
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ultralytics.utils import LOGGER
from ultralytics.utils.official_names import official_names

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_KEEP_BELOW, _KEEP_UP_TO = 1 << 30, 2**31 - 1  # bytes: blocks of this size, and this much in all

M = TypeVar("M", bound=nn.Module)
DeviceLike = str | int | torch.device | list | tuple | None
__getattr__ = official_names(__name__)


def select_device(
    device: DeviceLike = None, batch: int = 0, newline: bool = False, verbose: bool = True
) -> torch.device:
    """The device that the text, number or list names; None selects CUDA, else MPS, else the CPU.

    Args:
        device: cpu, mps, cuda or the index of a GPU.
        batch, newline, verbose: of 8.3.0; without effect, because one device is used and nothing is logged here.

    Raises:
        ValueError: the device is not available, or several are named (a process uses one device).
    """
    if isinstance(device, torch.device):
        return device
    text = "".join(c for c in str("" if device is None else device).lower() if c not in "()[]' ")
    text = text.replace("none", "").removeprefix("cuda:")
    if text in ("", "cuda"):
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        if text == "cuda":
            raise ValueError("device=cuda: this machine has no usable CUDA device; use device=cpu")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if text == "cpu":
        return torch.device("cpu")
    if text == "mps":
        if not torch.backends.mps.is_available():
            raise ValueError("device=mps: Apple's Metal backend is not available; use device=cpu")
        return torch.device("mps")
    if "," in text:
        raise ValueError(f"device={device}: this version trains on one device; use one of them, such as device=0")
    if not text.isdigit():
        raise ValueError(f"device={device}: use cpu, mps, cuda or the index of a GPU, such as 0")
    if int(text) >= torch.cuda.device_count():
        raise ValueError(f"device={device}: this machine has {torch.cuda.device_count()} CUDA devices; use device=cpu")
    return torch.device(f"cuda:{text}")


def describe_device(device: torch.device) -> str:
    """One line for the log: the device, its memory or threads, and the version of torch."""
    if device.type == "cuda":
        gpu = torch.cuda.get_device_properties(device)
        details = f"{device} ({gpu.name}, {gpu.total_memory / 2**30:.1f} GiB)"
    elif device.type == "cpu":
        details = f"cpu ({torch.get_num_threads()} threads)"
    else:
        details = str(device)
    return f"torch {torch.__version__} on {details}"


@lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Let this process keep freed memory for the next tensors; returns whether that is supported.

    By default glibc returns large blocks to the system at once. Allocating them again causes page faults, which take a
    fifth of a training step and a tenth of an inference on a CPU. The peak memory is the same, but it is not returned
    after the peak. Nothing is changed if the environment has a MALLOC_ variable, which the user has set.
    """
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt  # in glibc, not in musl
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _KEEP_BELOW) and mallopt(_M_TRIM_THRESHOLD, _KEEP_UP_TO))


def init_seeds(seed: int = 0, deterministic: bool = False) -> None:
    """Seed Python, NumPy and torch; with `deterministic`, use deterministic algorithms where available."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    # by default torch then fills every new tensor with NaN, which takes 8 % of a training step
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # missing in its stubs
    torch.backends.cudnn.deterministic = deterministic


@contextmanager
def kept_rng() -> Iterator[None]:
    """Random numbers drawn inside the block do not change the random streams outside."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def rng_state() -> dict[str, Any]:
    """State of all random streams, in types that a checkpoint may hold."""
    algorithm, keys, pos, has_gauss, cached = np.random.get_state()
    version, words, gauss = random.getstate()
    return {
        "python": [version, list(words), gauss],
        "numpy": [
            str(algorithm),
            torch.from_numpy(np.asarray(keys, dtype=np.int64)),
            int(pos),
            int(has_gauss),
            float(cached),
        ],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Restore a state from `rng_state`."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    algorithm, keys, pos, has_gauss, cached = state["numpy"]
    np.random.set_state((algorithm, keys.numpy().astype(np.uint32), pos, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])


def one_cycle(y1: float = 0.0, y2: float = 1.0, steps: int = 100) -> Callable[[float], float]:
    """Function of the epoch that goes from y1 to y2 along half a cosine wave in `steps` epochs."""
    return lambda x: max((1 - math.cos(x * math.pi / steps)) / 2, 0) * (y2 - y1) + y1


def unwrap(model: nn.Module) -> nn.Module:
    """The network without the wrappers DataParallel, DistributedDataParallel and torch.compile."""
    while True:
        inner: Any = getattr(model, "_orig_mod", None) or (model.module if is_parallel(model) else None)
        if inner is None:
            return model
        model = inner


def copy_module(module: M) -> M:
    """A deep copy, also of a module with tensors that are computed from others, as torch.nn.utils.prune leaves them."""
    computed = [
        value for m in module.modules() for value in vars(m).values() if isinstance(value, Tensor) and not value.is_leaf
    ]
    return deepcopy(module, {id(value): value.detach().clone() for value in computed})


def is_parallel(model: nn.Module) -> bool:
    """True for a DataParallel or DistributedDataParallel wrapper."""
    return isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel)


def intersect_dicts(da: dict[str, Tensor], db: dict[str, Tensor], exclude: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Entries of `da` that are in `db` with the same shape, without those whose name contains a text of `exclude`."""
    return {
        key: value
        for key, value in da.items()
        if key in db and value.shape == db[key].shape and not any(text in key for text in exclude)
    }


class ModelEMA:
    """Exponential moving average of a network's weights and buffers; the network that is validated and saved.

    The decay grows with the number of updates u as decay * (1 - exp(-u / tau)), so that the first epochs are
    forgotten quickly. Integer buffers keep their initial values.
    """

    def __init__(self, model: nn.Module, decay: float = 0.9999, tau: float = 2000, updates: int = 0) -> None:
        self.ema = copy_module(unwrap(model)).eval()
        self.updates = updates
        self.enabled = True
        self._decay, self._tau = decay, tau
        for parameter in self.ema.parameters():
            parameter.requires_grad_(False)

    def decay(self, updates: int) -> float:
        """Weight of the old average at update `updates`."""
        return self._decay * (1 - math.exp(-updates / self._tau))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Update the average with the weights of `model`."""
        if not self.enabled:
            return
        self.updates += 1
        new = unwrap(model).state_dict()
        pairs = [(v, new[k].detach()) for k, v in self.ema.state_dict().items() if v.dtype.is_floating_point]
        # one fused call over all tensors: on a CPU a loop over 499 small ones takes longer than the arithmetic
        torch._foreach_lerp_([v for v, _ in pairs], [m for _, m in pairs], 1 - self.decay(self.updates))

    def update_attr(self, model: nn.Module, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> None:
        """Copy the attributes named in `include` (class names, settings) and not in `exclude` from `model`."""
        for name in include:
            if name not in exclude and hasattr(model, name):
                setattr(self.ema, name, getattr(model, name))


class EarlyStopping:
    """Tells when `patience` epochs have passed without a better fitness; patience 0 or None never stops."""

    def __init__(self, patience: int | None = 50) -> None:
        self.best_fitness = 0.0
        self.best_epoch = 0
        self.patience = patience or float("inf")
        self.possible_stop = False

    def __call__(self, epoch: int, fitness: float | None) -> bool:
        """Record the fitness of `epoch` (counted from 1); returns whether training should end."""
        if fitness is None:
            return False
        if fitness >= self.best_fitness:
            self.best_epoch, self.best_fitness = epoch, fitness
        waited = epoch - self.best_epoch
        self.possible_stop = waited >= self.patience - 1
        if waited >= self.patience:
            LOGGER.info(
                f"Early stopping: no better result in {self.patience} epochs. The best epoch is {self.best_epoch}, "
                "saved as best.pt. Use patience=N to wait longer, patience=0 to never stop early."
            )
            return True
        return False

    def state_dict(self) -> dict[str, float]:
        """State for a checkpoint."""
        return {"best_fitness": self.best_fitness, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore a state from `state_dict`."""
        self.best_fitness, self.best_epoch = state["best_fitness"], int(state["best_epoch"])


def images_to_device(images: Tensor, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 images as input of a network: on the device, channels last, in 0..1.

    Args:
        images: (B, C, H, W) uint8.
        device: target.
        dtype: float32, or float16 for a network in half precision.

    Returns:
        (B, C, H, W) of `dtype`, values divided by 255.
    """
    moved = images.to(device, non_blocking=True)
    return moved.to(dtype=dtype, memory_format=torch.channels_last).div_(255)


def random_rescale(images: Tensor, imgsz: int, stride: int) -> Tensor:
    """Images at a random size between half and one and a half times `imgsz`, drawn from Python's random numbers.

    Args:
        images: (B, C, H, W) float.
        imgsz: longer side that training uses, pixels.
        stride: the new sides are multiples of it.

    Returns:
        (B, C, H', W') of the same dtype; `images` itself if the size is the present one.
    """
    size = random.randrange(int(imgsz * 0.5), int(imgsz * 1.5 + stride)) // stride * stride
    # at least one cell, and for a single image two: BatchNorm needs more than one value per channel
    size = max(size, stride if len(images) > 1 else min(2 * stride, imgsz))
    factor = size / max(images.shape[2:])
    if factor == 1:
        return images
    shape = [math.ceil(side * factor / stride) * stride for side in images.shape[2:]]
    return F.interpolate(images, size=shape, mode="bilinear", align_corners=False)


def max_stride(model: nn.Module, least: int = 32) -> int:
    """Largest stride of a network, at least `least`; image sides must be multiples of it."""
    return max(int(torch.as_tensor(model.stride).max()), least)
