"""Boxes and outlines as numbers: forms, scaling between pictures, clipping, resampling; and the stage timer.

Every conversion takes a NumPy array or a torch tensor, gives the same kind and dtype back, and leaves its input as it
was. Forms: xyxy = corners x1, y1, x2, y2; xywh = centre x, centre y, width, height; ltwh = left, top, width, height; a
final n means divided by the picture's width and height.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import torch

Boxes = TypeVar("Boxes", np.ndarray, torch.Tensor)
_PAD_ROUNDING = 0.1  # letterbox rounds its border to round(x - 0.1) on the left and top; the inverse must do the same


def xyxy2xywh(x: Boxes) -> Boxes:
    """Corners to centre and size."""
    return _by_pairs(x, lambda low, high: ((low + high) / 2, high - low))


def xywh2xyxy(x: Boxes) -> Boxes:
    """Centre and size to corners."""
    return _by_pairs(x, lambda centre, size: (centre - size / 2, centre + size / 2))


def xywh2ltwh(x: Boxes) -> Boxes:
    """Centre and size to left top corner and size."""
    return _by_pairs(x, lambda centre, size: (centre - size / 2, size))


def xyxy2ltwh(x: Boxes) -> Boxes:
    """Corners to left top corner and size."""
    return _by_pairs(x, lambda low, high: (low, high - low))


def ltwh2xywh(x: Boxes) -> Boxes:
    """Left top corner and size to centre and size."""
    return _by_pairs(x, lambda low, size: (low + size / 2, size))


def ltwh2xyxy(x: Boxes) -> Boxes:
    """Left top corner and size to corners."""
    return _by_pairs(x, lambda low, size: (low, low + size))


def xywhn2xyxy(x: Boxes, w: float = 640, h: float = 640, padw: float = 0, padh: float = 0) -> Boxes:
    """Centre and size in 0..1 of a w x h picture to corners in pixels, moved by (padw, padh)."""
    scale, shift = _pair(x, w, h), _pair(x, padw, padh)
    return _by_pairs(x, lambda c, size: (scale * (c - size / 2) + shift, scale * (c + size / 2) + shift))


def xyxy2xywhn(x: Boxes, w: float = 640, h: float = 640, clip: bool = False, eps: float = 0.0) -> Boxes:
    """Corners in pixels to centre and size in 0..1; with `clip` the boxes are first cut to w - eps, h - eps."""
    if clip:
        x = clip_boxes(x, (h - eps, w - eps))
    scale = _pair(x, w, h)
    return _by_pairs(x, lambda low, high: ((low + high) / 2 / scale, (high - low) / scale))


def clip_boxes(boxes: Boxes, shape: Sequence[float]) -> Boxes:
    """Corner boxes cut to a picture of `shape` (height, width, ...); unlike 8.3.0 the input is not changed."""
    height, width = shape[:2]
    if isinstance(boxes, torch.Tensor):
        limits = boxes.new_tensor((width, height, width, height))
        return torch.cat((boxes[..., :4].clamp(min=0).minimum(limits), boxes[..., 4:]), -1)
    cut = boxes.copy()
    cut[..., 0:4:2] = boxes[..., 0:4:2].clip(0, width)
    cut[..., 1:4:2] = boxes[..., 1:4:2].clip(0, height)
    return cut


def scale_boxes(
    img1_shape: Sequence[int],
    boxes: Boxes,
    img0_shape: Sequence[int],
    ratio_pad: tuple[Sequence[float], Sequence[float]] | None = None,
    padding: bool = True,
    xywh: bool = False,
) -> Boxes:
    """Boxes of a letterboxed picture brought back to the original one, and cut to it.

    Args:
        img1_shape: (height, width) of the letterboxed picture, the frame of `boxes`.
        boxes: (..., 4) pixels, corners, or centre and size with `xywh`; not changed.
        img0_shape: (height, width) of the original picture, the frame of the result.
        ratio_pad: ((gain, ...), (left, top)) that the letterbox used; None works them out from the two shapes.
        padding: whether the letterbox added a border; False only divides by the gain.
        xywh: centre and size; the four numbers are then cut to width, height, width, height, as 8.3.0 does.
    """
    if ratio_pad is None:
        gain = min(img1_shape[0] / img0_shape[0], img1_shape[1] / img0_shape[1])
        left = round((img1_shape[1] - img0_shape[1] * gain) / 2 - _PAD_ROUNDING)
        top = round((img1_shape[0] - img0_shape[0] * gain) / 2 - _PAD_ROUNDING)
    else:
        gain = ratio_pad[0][0]
        left, top = ratio_pad[1]  # type: ignore[assignment]
    shift = _pair(boxes, left, top) if padding else 0
    moved = _by_pairs(boxes, lambda a, b: ((a - shift) / gain, (b if xywh else b - shift) / gain))
    return clip_boxes(moved, img0_shape)


def segments2boxes(segments: Sequence[np.ndarray]) -> np.ndarray:
    """(k, 4) xywh boxes around `segments`, each (n, 2) points x, y."""
    corners = [np.concatenate([points.min(0), points.max(0)]) for points in segments]
    return xyxy2xywh(np.stack(corners)) if corners else np.zeros((0, 4), np.float32)


def segment2box(segment: np.ndarray, width: int = 640, height: int = 640) -> np.ndarray:
    """(4,) corners around the points of `segment` (n, 2) that lie in the picture; zeros when none does."""
    x, y = segment.T
    points = segment[(x >= 0) & (y >= 0) & (x <= width) & (y <= height)]
    if not len(points):
        return np.zeros(4, dtype=segment.dtype)
    return np.concatenate([points.min(0), points.max(0)])


def resample_segments(segments: Sequence[np.ndarray], n: int = 1000) -> list[np.ndarray]:
    """Each closed outline (k, 2) as (n, 2) float32 points, evenly spaced in the number of its corners."""
    resampled = []
    for points in segments:
        closed = np.concatenate([points, points[:1]])
        where, known = np.linspace(0, len(closed) - 1, n), np.arange(len(closed))
        resampled.append(np.stack([np.interp(where, known, axis) for axis in closed.T], 1).astype(np.float32))
    return resampled


def make_divisible(x: float, divisor: int | torch.Tensor) -> int:
    """The smallest multiple of `divisor` (of its largest element, if a tensor) that is not below `x`."""
    step = int(divisor.max()) if isinstance(divisor, torch.Tensor) else divisor
    return math.ceil(x / step) * step


class Profile:
    """Stage timer: `with timer:` adds the seconds spent to `timer.t` and leaves the last ones in `timer.dt`."""

    def __init__(self, profile: float = 0.0, device: torch.device | None = None) -> None:
        self.t = profile
        self.dt = 0.0
        self.device = device
        self._start = 0.0

    def __enter__(self) -> Profile:
        self._start = self.time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.dt = self.time() - self._start
        self.t += self.dt

    def time(self) -> float:
        """Seconds of a steady clock, after the work queued on the device is done."""
        if self.device is not None and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def __str__(self) -> str:
        return f"Elapsed time is {self.t} s"


def __getattr__(name: str) -> Any:
    # users call ops.non_max_suppression; nms.py imports this file, so the name can only be fetched when it is asked for
    if name == "non_max_suppression":
        from ultralytics.utils.nms import non_max_suppression

        return non_max_suppression
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _by_pairs(x: Boxes, rule: Callable[[Any, Any], tuple[Any, Any]]) -> Boxes:
    """`rule` applied to the first and the last two columns of `x`, joined again in the dtype of `x`."""
    if x.shape[-1] != 4:
        raise ValueError(f"boxes have 4 numbers in the last dimension, not {x.shape[-1]} (shape {tuple(x.shape)})")
    if isinstance(x, torch.Tensor):
        return torch.cat(rule(x[..., :2], x[..., 2:]), -1).to(x.dtype)
    return np.concatenate(rule(x[..., :2], x[..., 2:]), -1).astype(x.dtype, copy=False)


def _pair(like: Boxes, first: float, second: float) -> Any:
    """Two numbers that multiply or shift an x, y pair of `like`; integers stay exact by counting in float32."""
    if isinstance(like, torch.Tensor):
        kind = like.dtype if like.is_floating_point() else torch.float32
        return torch.tensor([first, second], dtype=kind, device=like.device)
    return np.array([first, second], like.dtype if np.issubdtype(like.dtype, np.floating) else np.float32)
