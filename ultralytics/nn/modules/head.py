"""Detection head: from the maps of the pyramid to raw outputs (training) or boxes and scores (inference).

Class and attribute names are those of ultralytics 8.3.0, because checkpoints hold them.
B batch, A anchors (the cells of all levels, level 0 first, row by row), nl levels, nc classes, no = 4*reg_max + nc.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ultralytics.nn.modules.block import DFL
from ultralytics.nn.modules.conv import Conv, DWConv
from ultralytics.utils.tal import dist2bbox, make_anchors

BOX_BIAS = 1.0  # start of the box branch's last bias
OBJECTS_PER_IMAGE = 5  # the class branch starts as if 5 cells of a 640-pixel image held an object
START_SIZE = 640


class Detect(nn.Module):
    """Box and class branches on every level of the pyramid.

    Args:
        nc: number of classes.
        ch: channels of the levels, finest first.
        legacy: class branch of two plain convolutions (published YOLOv8 checkpoints) instead of the depthwise one
            (YOLO11); None takes the class attribute.
    """

    dynamic = False  # compute the anchors at every call (export with variable sizes)
    export = False  # return the decoded tensor only
    legacy = False
    shape: tuple | None = None  # what the anchors below were made for
    anchors = torch.empty(0)
    strides = torch.empty(0)

    def __init__(self, nc: int = 80, ch: Sequence[int] = (), legacy: bool | None = None) -> None:
        super().__init__()
        self.nc = nc
        self.nl = len(ch)
        self.reg_max = 16
        self.no = nc + 4 * self.reg_max
        self.stride = torch.zeros(self.nl, device="cpu")  # pixels per cell; set when the network is built
        if legacy is not None:
            self.legacy = legacy
        box, cls = max(16, ch[0] // 4, 4 * self.reg_max), max(ch[0], min(nc, 100))
        self.cv2 = nn.ModuleList(
            nn.Sequential(Conv(c, box, 3), Conv(box, box, 3), nn.Conv2d(box, 4 * self.reg_max, 1)) for c in ch
        )
        self.cv3 = nn.ModuleList(self._class_branch(c, cls) for c in ch)
        self.dfl = DFL(self.reg_max)

    def forward(self, x: Sequence[Tensor]) -> list[Tensor] | Tensor | tuple[Tensor, list[Tensor]]:
        """Run the head; the list `x` is left as it was.

        Args:
            x: nl maps (B, ch[i], H_i, W_i).

        Returns:
            Training: nl raw maps (B, no, H_i, W_i), box distributions first.
            Otherwise (y, raw maps), or y alone with `export`; y (B, 4 + nc, A): centre x, y, width, height in input
            pixels, then class scores in 0..1. y has the maps' dtype, but float32 for bfloat16, which cannot hold a
            pixel coordinate.
        """
        boxes = [branch(level) for branch, level in zip(self.cv2, x, strict=True)]
        scores = [branch(level) for branch, level in zip(self.cv3, x, strict=True)]
        if self.training:
            return _joined(boxes, scores)
        y = torch.cat((self.decode(boxes), self._flat(scores).sigmoid()), 1)
        return y if self.export else (y, _joined(boxes, scores))

    def decode(self, boxes: Sequence[Tensor]) -> Tensor:
        """Box distributions of all levels to (B, 4, A) centre x, y, width, height in input pixels."""
        given = boxes[0].dtype
        computed = torch.float32 if given in (torch.float16, torch.bfloat16) else given
        anchors, strides = self._anchors(boxes, computed)
        distances = self.dfl(self._flat(boxes).to(computed))
        decoded = dist2bbox(distances, anchors.unsqueeze(0), xywh=True, dim=1) * strides
        return decoded.to(torch.float16) if given == torch.float16 else decoded

    def bias_init(self) -> None:
        """Set the last biases for rare objects: needs `stride`."""
        with torch.no_grad():
            for box, cls, stride in zip(self.cv2, self.cv3, self.stride.tolist(), strict=True):
                box[-1].bias.fill_(BOX_BIAS)  # type: ignore[index, union-attr]
                cls[-1].bias[: self.nc] = math.log(OBJECTS_PER_IMAGE / self.nc / (START_SIZE / stride) ** 2)  # type: ignore[index, union-attr]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Detect:
        # .to(), .half() and similar calls convert parameters and buffers; these are plain tensors
        super()._apply(fn, recurse)
        self.stride, self.anchors, self.strides = fn(self.stride), fn(self.anchors), fn(self.strides)
        return self

    def _class_branch(self, c: int, hidden: int) -> nn.Sequential:
        if self.legacy:
            first: nn.Module = Conv(c, hidden, 3)
            second: nn.Module = Conv(hidden, hidden, 3)
        else:
            first = nn.Sequential(DWConv(c, c, 3), Conv(c, hidden, 1))
            second = nn.Sequential(DWConv(hidden, hidden, 3), Conv(hidden, hidden, 1))
        return nn.Sequential(first, second, nn.Conv2d(hidden, self.nc, 1))

    @staticmethod
    def _flat(maps: Sequence[Tensor]) -> Tensor:
        # (B, C, H_i, W_i) -> (B, C, A); flatten is a view for channels_last maps too
        return torch.cat([level.flatten(2) for level in maps], 2)

    def _anchors(self, maps: Sequence[Tensor], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        # cell centres (2, A) in cells and strides (1, A); kept while map sizes, dtype and device stay the same
        if self.dynamic or torch.jit.is_tracing() or torch.compiler.is_compiling():
            return self._make_anchors(maps, dtype)  # kept ones would be constants of the traced program
        kept, shape = self.anchors, tuple(level.shape[2:] for level in maps)
        fresh = self.shape == shape and kept.dtype == dtype and kept.device == maps[0].device
        # autograd refuses tensors that were made under inference_mode
        if not fresh or (kept.is_inference() and not torch.is_inference_mode_enabled()):
            self.anchors, self.strides = self._make_anchors(maps, dtype)
            self.shape = shape
        return self.anchors, self.strides

    def _make_anchors(self, maps: Sequence[Tensor], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        anchors, strides = make_anchors(maps, self.stride, 0.5, dtype)
        return anchors.transpose(0, 1), strides.transpose(0, 1)


def _joined(boxes: Sequence[Tensor], scores: Sequence[Tensor]) -> list[Tensor]:
    return [torch.cat(pair, 1) for pair in zip(boxes, scores, strict=True)]
