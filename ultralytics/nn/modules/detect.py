"""The detection heads: boxes and classes on every level of the feature pyramid, with one or two sets of branches.

Class and attribute names are those of ultralytics 8.3.0, because checkpoints contain them. head.py re-exports the
classes, under the path that checkpoints name.
B batch, A anchors (the cells of all levels, level 0 first, row by row), nl levels, nc classes, no = 4*reg_max + nc.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import TypedDict

import torch
from torch import Tensor, nn

from ultralytics.nn.modules.block import DFL
from ultralytics.nn.modules.conv import Conv, DWConv
from ultralytics.nn.registry import register
from ultralytics.utils.tal import dist2bbox, make_anchors

BOX_BIAS = 1.0  # initial bias of the last box convolution
INSTANCES_PER_IMAGE = 5  # the class branch starts as if 5 cells of a 640-pixel image contained an instance
BIAS_IMAGE_SIZE = 640

RawMaps = list[Tensor]  # nl maps (B, no, H_i, W_i), box distributions first


@register("*args, ch, legacy")
class Detect(nn.Module):
    """Box and class branches on every level of the pyramid.

    Args:
        nc: number of classes.
        ch: channels of the levels, finest first.
        legacy: class branch of two plain convolutions (published YOLOv8 checkpoints) instead of the depthwise one
            (YOLO11); None uses the class attribute.
    """

    dynamic = False  # compute the anchors at every call (export with variable sizes)
    export = False  # return the decoded tensor only
    end2end = False  # whether the output needs no NMS
    max_det = 300  # detections per image of an end-to-end head
    legacy = False
    shape: tuple[torch.Size, ...] | None = None  # map sizes that the anchors below were computed for
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
        self.cv2 = nn.ModuleList(conv_branch(c, box, 4 * self.reg_max) for c in ch)
        self.cv3 = nn.ModuleList(self._class_branch(c, cls) for c in ch)
        self.dfl = DFL(self.reg_max)

    def forward(self, x: Sequence[Tensor]) -> RawMaps | Tensor | tuple[Tensor, RawMaps]:
        """Run the head; the list `x` is not changed.

        Args:
            x: nl maps (B, ch[i], H_i, W_i).

        Returns:
            Training: nl raw maps (B, no, H_i, W_i), box distributions first.
            Otherwise (y, raw maps), or y alone with `export`; y (B, 4 + nc, A): center x, y, width, height in input
            pixels, then class scores in 0..1. y has the dtype of the maps, but float32 for bfloat16, which cannot
            represent a pixel coordinate.
        """
        boxes, scores = apply_branches(self.cv2, x), apply_branches(self.cv3, x)
        if self.training:
            return join_maps(boxes, scores)
        y = torch.cat((self.decode(boxes), flatten_levels(scores).sigmoid()), 1)
        return y if self.export else (y, join_maps(boxes, scores))

    def decode(self, boxes: Sequence[Tensor]) -> Tensor:
        """Box distributions of all levels to (B, 4, A) center x, y, width, height in input pixels."""
        distances, anchors, strides = self._distances(boxes)
        decoded = dist2bbox(distances, anchors.unsqueeze(0), xywh=True, dim=1) * strides
        return output_dtype(decoded, boxes[0].dtype)

    def bias_init(self) -> None:
        """Set the last biases for rare instances; needs `stride`."""
        self._bias_init(self.cv2, self.cv3)

    def _bias_init(self, box_branches: nn.ModuleList, class_branches: nn.ModuleList) -> None:
        with torch.no_grad():
            for box, cls, stride in zip(box_branches, class_branches, self.stride.tolist(), strict=True):
                box_bias, class_bias = _last(box).bias, _last(cls).bias
                assert box_bias is not None and class_bias is not None, "the last convolution of a branch has a bias"
                box_bias.fill_(BOX_BIAS)
                cells = (BIAS_IMAGE_SIZE / stride) ** 2
                class_bias[: self.nc] = math.log(INSTANCES_PER_IMAGE / self.nc / cells)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Detect:
        # .to(), .half() and similar calls convert parameters and buffers; these are plain tensors
        super()._apply(fn, recurse)
        self.stride, self.anchors, self.strides = fn(self.stride), fn(self.anchors), fn(self.strides)
        return self

    def _class_branch(self, c: int, hidden: int) -> nn.Sequential:
        if self.legacy:
            return conv_branch(c, hidden, self.nc)
        first = nn.Sequential(DWConv(c, c, 3), Conv(c, hidden, 1))
        second = nn.Sequential(DWConv(hidden, hidden, 3), Conv(hidden, hidden, 1))
        return nn.Sequential(first, second, nn.Conv2d(hidden, self.nc, 1))

    def _distances(self, boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        # distances (B, 4, A) from the anchors in cells, anchors (2, A) and strides (1, A), at least float32
        dtype = computed_dtype(boxes[0].dtype)
        anchors, strides = self._anchors(boxes, dtype)
        return self.dfl(flatten_levels(boxes).to(dtype)), anchors, strides

    def _anchors(self, maps: Sequence[Tensor], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        # cell centers (2, A) in cells and strides (1, A); kept while map sizes, dtype and device stay the same
        if self.dynamic or torch.jit.is_tracing() or torch.compiler.is_compiling():
            return self._make_anchors(maps, dtype)  # cached ones would be constants of the traced program
        cached, shape = self.anchors, tuple(level.shape[2:] for level in maps)
        valid = self.shape == shape and cached.dtype == dtype and cached.device == maps[0].device
        # autograd refuses tensors that were made under inference_mode
        if not valid or (cached.is_inference() and not torch.is_inference_mode_enabled()):
            self.anchors, self.strides = self._make_anchors(maps, dtype)
            self.shape = shape
        return self.anchors, self.strides

    def _make_anchors(self, maps: Sequence[Tensor], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        anchors, strides = make_anchors(maps, self.stride, 0.5, dtype)
        return anchors.transpose(0, 1), strides.transpose(0, 1)


class TwoHeadMaps(TypedDict):
    """Raw maps of both heads of v10Detect."""

    one2many: RawMaps
    one2one: RawMaps


@register("*args, ch")
class v10Detect(Detect):
    """Detect of YOLOv10: a second head with one prediction per instance, so that inference needs no NMS.

    Paper: A. Wang et al., YOLOv10: Real-Time End-to-End Object Detection, 2024, arXiv:2405.14458, section 3.1.
    `cv2` and `cv3` are trained with several anchors per instance, `one2one_cv2` and `one2one_cv3` with one; the latter
    give no gradient to the rest of the network.
    """

    end2end = True

    def __init__(self, nc: int = 80, ch: Sequence[int] = ()) -> None:
        super().__init__(nc, ch, legacy=False)
        hidden = max(ch[0], min(nc, 100))
        self.cv3 = nn.ModuleList(self._class_branch(c, hidden) for c in ch)  # again: the random numbers of 8.3.0
        self.one2one_cv2 = deepcopy(self.cv2)
        self.one2one_cv3 = deepcopy(self.cv3)

    def forward(  # type: ignore[override]
        self, x: Sequence[Tensor]
    ) -> TwoHeadMaps | Tensor | tuple[Tensor, TwoHeadMaps]:
        """Run both heads.

        Args:
            x: nl maps (B, ch[i], H_i, W_i).

        Returns:
            Training: raw maps of both heads.
            Otherwise (y, raw maps), or y alone with `export`; y (B, D, 6) are the D = min(max_det, A) detections of
            the one-to-one head with the highest scores: x1, y1, x2, y2 in input pixels, score, class index.
        """
        detached = [level.detach() for level in x]
        boxes, scores = apply_branches(self.one2one_cv2, detached), apply_branches(self.one2one_cv3, detached)
        raw: TwoHeadMaps = {
            "one2many": join_maps(apply_branches(self.cv2, x), apply_branches(self.cv3, x)),
            "one2one": join_maps(boxes, scores),
        }
        if self.training:
            return raw
        predictions = torch.cat((self.decode(boxes), flatten_levels(scores).sigmoid()), 1).transpose(1, 2)
        y = self.postprocess(predictions, self.max_det, self.nc)
        return y if self.export else (y, raw)

    def decode(self, boxes: Sequence[Tensor]) -> Tensor:
        """Box distributions of all levels to (B, 4, A) x1, y1, x2, y2 in input pixels."""
        distances, anchors, strides = self._distances(boxes)
        decoded = dist2bbox(distances, anchors.unsqueeze(0), xywh=False, dim=1) * strides
        return output_dtype(decoded, boxes[0].dtype)

    def bias_init(self) -> None:
        """Set the last biases of both heads for rare instances; needs `stride`."""
        super().bias_init()
        self._bias_init(self.one2one_cv2, self.one2one_cv3)

    @staticmethod
    def postprocess(preds: Tensor, max_det: int, nc: int = 80) -> Tensor:
        """The detections with the highest scores; an anchor can appear with several classes.

        Args:
            preds: (B, A, 4 + nc), boxes and class scores.
            max_det: most detections per image.
            nc: number of classes.

        Returns:
            (B, min(max_det, A), 6): box, score, class index, by falling score.
        """
        boxes, scores = preds.split((4, nc), 2)
        count = min(max_det, preds.shape[1])
        # only the anchors with the highest best score can be among the results
        anchors = scores.amax(2).topk(count).indices[..., None]  # (B, count, 1)
        best = scores.gather(1, anchors.expand(-1, -1, nc)).flatten(1).topk(count)
        boxes = boxes.gather(1, anchors.expand(-1, -1, 4))
        chosen = boxes.gather(1, (best.indices // nc)[..., None].expand(-1, -1, 4))
        return torch.cat((chosen, best.values[..., None], (best.indices % nc)[..., None].to(boxes.dtype)), 2)


def conv_branch(c: int, hidden: int, out: int) -> nn.Sequential:
    """Two 3×3 convolutions and a 1×1 convolution to `out` channels."""
    return nn.Sequential(Conv(c, hidden, 3), Conv(hidden, hidden, 3), nn.Conv2d(hidden, out, 1))


def _last(branch: nn.Module) -> nn.Conv2d:
    assert isinstance(branch, nn.Sequential), "a branch is a Sequential"
    layer = branch[-1]
    assert isinstance(layer, nn.Conv2d), "a branch ends with a convolution"
    return layer


def apply_branches(branches: nn.ModuleList, maps: Sequence[Tensor]) -> list[Tensor]:
    """The output of every level's branch."""
    return [branch(level) for branch, level in zip(branches, maps, strict=True)]


def flatten_levels(maps: Sequence[Tensor]) -> Tensor:
    """Maps (B, C, H_i, W_i) to (B, C, A)."""
    return torch.cat([level.flatten(2) for level in maps], 2)


def join_maps(boxes: Sequence[Tensor], scores: Sequence[Tensor]) -> RawMaps:
    """Box and class maps of every level, concatenated over the channels."""
    return [torch.cat(pair, 1) for pair in zip(boxes, scores, strict=True)]


def computed_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype that coordinates are computed in: they need more digits than the half types have."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def output_dtype(decoded: Tensor, dtype: torch.dtype) -> Tensor:
    """Coordinates in the dtype of the network's maps, but float32 for bfloat16, which cannot represent a pixel."""
    return decoded.to(torch.float16) if dtype == torch.float16 else decoded
