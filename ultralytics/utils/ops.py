"""The official import path of box and polygon functions and of NMS; rounding up, and the stage timer.

The functions are defined in boxes.py, rotated_boxes.py, polygons.py and nms.py.
"""

from __future__ import annotations

import math
import time
from types import TracebackType

import torch

from ultralytics.utils.boxes import (
    clip_boxes,
    ltwh2xywh,
    ltwh2xyxy,
    scale_boxes,
    scale_coords,
    xywh2ltwh,
    xywh2xyxy,
    xywhn2xyxy,
    xyxy2ltwh,
    xyxy2xywh,
    xyxy2xywhn,
)
from ultralytics.utils.nms import non_max_suppression
from ultralytics.utils.polygons import resample_segments, segment2box, segments2boxes
from ultralytics.utils.rotated_boxes import nms_rotated, regularize_rboxes, xywhr2xyxyxyxy, xyxyxyxy2xywhr

__all__ = [
    "Profile",
    "clip_boxes",
    "ltwh2xywh",
    "ltwh2xyxy",
    "make_divisible",
    "nms_rotated",
    "non_max_suppression",
    "regularize_rboxes",
    "resample_segments",
    "scale_boxes",
    "scale_coords",
    "segment2box",
    "segments2boxes",
    "xywh2ltwh",
    "xywh2xyxy",
    "xywhn2xyxy",
    "xywhr2xyxyxyxy",
    "xyxy2ltwh",
    "xyxy2xywh",
    "xyxy2xywhn",
    "xyxyxyxy2xywhr",
]


def make_divisible(x: float, divisor: int | torch.Tensor) -> int:
    """The smallest multiple of `divisor` (the largest element of a tensor) that is at least `x`."""
    step = int(divisor.max()) if isinstance(divisor, torch.Tensor) else divisor
    return math.ceil(x / step) * step


class Profile:
    """Stage timer: `with timer:` measures a block.

    Attributes:
        t: seconds of all blocks.
        dt: seconds of the last block.
        device: device whose queued work is waited for; None for the CPU.
    """

    def __init__(self, profile: float = 0.0, device: torch.device | None = None) -> None:
        self.t = profile
        self.dt = 0.0
        self.device = device
        self._start = 0.0

    def __enter__(self) -> Profile:
        self._start = self.time()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.dt = self.time() - self._start
        self.t += self.dt

    def time(self) -> float:
        """Seconds of a monotonic clock, after the work queued on the device is done."""
        if self.device is not None and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def __str__(self) -> str:
        return f"Elapsed time is {self.t} s"
