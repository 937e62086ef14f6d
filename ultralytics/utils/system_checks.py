"""Checks of the machine with the signatures of 8.3.0: GPUs, mixed precision, windows, and the report."""

from __future__ import annotations

import inspect
import os
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultralytics.utils import LOGGER, ROOT, checks
from ultralytics.utils.console import colorstr

if TYPE_CHECKING:
    from torch import nn


def cuda_device_count() -> int:
    """Number of CUDA devices that torch can use."""
    import torch  # takes seconds; of these functions only three need it

    return torch.cuda.device_count()


def cuda_is_available() -> bool:
    """Whether torch can use a CUDA device."""
    return cuda_device_count() > 0


def check_amp(model: nn.Module) -> bool:
    """Whether a network on a CUDA device gives finite outputs in mixed precision; False on other devices."""
    import torch  # as above

    device = next(model.parameters()).device
    if device.type != "cuda":
        return False
    training = model.training
    try:
        with torch.no_grad(), torch.autocast("cuda"):
            outputs = model.eval()(torch.rand(1, 3, 256, 256, device=device))
    finally:
        model.train(training)
    first = outputs[0] if isinstance(outputs, (list, tuple)) else outputs
    return bool(torch.isfinite(first).all())


def check_imshow(warn: bool = False) -> bool:
    """Whether this OpenCV can show windows here; with `warn` a message says why not."""
    import cv2  # as above

    has_windows = "GUI:                           NONE" not in cv2.getBuildInformation()
    has_display = platform.system() != "Linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    if warn and not (has_windows and has_display):
        reason = "there is no display" if has_windows else "this OpenCV was built without windows"
        LOGGER.warning(f"images cannot be shown: {reason}")
    return has_windows and has_display


def check_yolo(verbose: bool = True, device: str | int = "") -> None:
    """Log the report of `yolo checks` (with `verbose`) and the device that `device` selects."""
    from ultralytics.utils.torch_utils import describe_device, select_device  # imports torch

    if verbose:
        collect_system_info()
    LOGGER.info(describe_device(select_device(device)))


def collect_system_info() -> None:
    """Log the report of `yolo checks`."""
    LOGGER.info(checks.system_report())


def git_describe(path: str | Path = ROOT) -> str:
    """What `git describe` says of a folder; empty outside a repository."""
    command = ["git", "-C", str(path), "describe", "--tags", "--long", "--always"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def print_args(args: dict[str, Any] | None = None, show_file: bool = True, show_func: bool = False) -> None:
    """Log names and values, by default the arguments of the calling function.

    Args:
        args: the names and values.
        show_file: begin with the name of the calling file.
        show_func: begin with the name of the calling function.
    """
    frame = inspect.currentframe()
    caller = frame.f_back if frame else None
    assert caller is not None, "CPython keeps frames"
    if args is None:
        names, _, _, values = inspect.getargvalues(caller)
        args = {name: values[name] for name in names}
    file = Path(inspect.getfile(caller)).stem if show_file else ""
    heading = ": ".join(text for text in (file, caller.f_code.co_name if show_func else "") if text)
    pairs = ", ".join(f"{key}={value}" for key, value in args.items())
    LOGGER.info((colorstr(f"{heading}: ") if heading else "") + pairs)
