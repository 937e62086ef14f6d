"""Heads of all tasks, at the path that official checkpoints name: masks, keypoints, oriented boxes, classes of images.

The detection heads are defined in detect.py and re-exported.
Class and attribute names are those of ultralytics 8.3.0, because checkpoints contain them.
B batch, A anchors (the cells of all levels, level 0 first, row by row), nl levels, nc classes, nm mask coefficients,
nk numbers per instance that describe its keypoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ultralytics.nn.modules.block import Proto
from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.modules.detect import (
    Detect,
    RawMaps,
    apply_branches,
    computed_dtype,
    conv_branch,
    flatten_levels,
    join_maps,
    output_dtype,
    v10Detect,
)
from ultralytics.nn.registry import register
from ultralytics.utils.tal import dist2rbox

__all__ = ["OBB", "Classify", "Detect", "Pose", "Segment", "v10Detect"]

CLASSIFY_CHANNELS = 1280  # of the map before pooling in Classify, as in EfficientNet-B0
KEYPOINT_SCALE = 2.0  # an output of 1 moves a keypoint by two cells

for _cls in (Detect, v10Detect):  # pickle writes a class by its __module__, and 8.3.0 reads checkpoints of this package
    _cls.__module__ = __name__


@register("*args, ch, legacy", scaled_args=(2,))
class Segment(Detect):
    """Detect with mask coefficients per anchor and mask prototypes per image.

    Args:
        nc: number of classes.
        nm: number of prototypes, and of coefficients per anchor.
        npr: channels inside the prototype branch; a model file's value is scaled by the model's width.
        ch: channels of the levels, finest first.
        legacy: as in Detect.
    """

    def __init__(
        self, nc: int = 80, nm: int = 32, npr: int = 256, ch: Sequence[int] = (), legacy: bool | None = None
    ) -> None:
        super().__init__(nc, ch, legacy)
        self.nm, self.npr = nm, npr
        self.proto = Proto(ch[0], npr, nm)
        hidden = max(ch[0] // 4, nm)
        self.cv4 = nn.ModuleList(conv_branch(c, hidden, nm) for c in ch)

    def forward(  # type: ignore[override]
        self, x: Sequence[Tensor]
    ) -> tuple[RawMaps, Tensor, Tensor] | tuple[Tensor, Tensor] | tuple[Tensor, tuple[RawMaps, Tensor, Tensor]]:
        """Run the head.

        Args:
            x: nl maps (B, ch[i], H_i, W_i).

        Returns:
            Training: raw maps of Detect, coefficients (B, nm, A), prototypes (B, nm, 2 * H_0, 2 * W_0).
            Otherwise (y, all of these), or (y, prototypes) with `export`; y (B, 4 + nc + nm, A) is Detect's output
            followed by the coefficients. A mask is the sigmoid of the coefficients times the prototypes.
        """
        prototypes, coefficients = self.proto(x[0]), flatten_levels(apply_branches(self.cv4, x))
        detected = super().forward(x)
        if isinstance(detected, list):
            return detected, coefficients, prototypes
        if isinstance(detected, Tensor):
            return torch.cat((detected, coefficients), 1), prototypes
        y, raw = detected
        return torch.cat((y, coefficients), 1), (raw, coefficients, prototypes)


@register("*args, ch, legacy")
class Pose(Detect):
    """Detect with keypoints.

    Args:
        nc: number of classes.
        kpt_shape: number of keypoints, and 2 (x, y) or 3 (x, y, visibility) numbers each.
        ch: channels of the levels, finest first.
        legacy: as in Detect.
    """

    def __init__(
        self,
        nc: int = 80,
        kpt_shape: Sequence[int] = (17, 3),
        ch: Sequence[int] = (),
        legacy: bool | None = None,
    ) -> None:
        super().__init__(nc, ch, legacy)
        if len(kpt_shape) != 2 or kpt_shape[0] < 1 or kpt_shape[1] not in (2, 3):
            raise ValueError(f"kpt_shape must be [number of keypoints, 2 or 3], got {kpt_shape}")
        self.kpt_shape = kpt_shape
        self.nk = kpt_shape[0] * kpt_shape[1]
        hidden = max(ch[0] // 4, self.nk)
        self.cv4 = nn.ModuleList(conv_branch(c, hidden, self.nk) for c in ch)

    def forward(  # type: ignore[override]
        self, x: Sequence[Tensor]
    ) -> tuple[RawMaps, Tensor] | Tensor | tuple[Tensor, tuple[RawMaps, Tensor]]:
        """Run the head.

        Args:
            x: nl maps (B, ch[i], H_i, W_i).

        Returns:
            Training: raw maps of Detect, raw keypoints (B, nk, A).
            Otherwise (y, both of these), or y alone with `export`; y (B, 4 + nc + nk, A) is Detect's output followed
            by the keypoints, x and y in input pixels and visibility in 0..1, keypoint after keypoint.
        """
        keypoints = flatten_levels(apply_branches(self.cv4, x))
        detected = super().forward(x)
        if isinstance(detected, list):
            return detected, keypoints
        decoded = self._decode_keypoints(keypoints, x)
        if isinstance(detected, Tensor):
            return torch.cat((detected, decoded), 1)
        y, raw = detected
        return torch.cat((y, decoded), 1), (raw, keypoints)

    def kpts_decode(self, kpts: Tensor, anchors: Tensor, strides: Tensor | float = 1.0) -> Tensor:
        """Raw keypoints to coordinates.

        Args:
            kpts: (B, nk, A).
            anchors: cell centers (2, A) in cells.
            strides: pixels per cell, (1, A); 1 gives coordinates in cells.

        Returns:
            (B, nk, A): x and y, and the sigmoid of the visibility if kpt_shape has one.
        """
        B, _, A = kpts.shape
        raw = kpts.reshape(B, *self.kpt_shape, A)
        xy = (raw[:, :, :2] * KEYPOINT_SCALE + (anchors - 0.5)) * strides
        return torch.cat((xy, raw[:, :, 2:].sigmoid()), 2).reshape(B, self.nk, A)

    def _decode_keypoints(self, kpts: Tensor, maps: Sequence[Tensor]) -> Tensor:
        dtype = computed_dtype(kpts.dtype)
        return output_dtype(self.kpts_decode(kpts.to(dtype), *self._anchors(maps, dtype)), kpts.dtype)


@register("*args, ch, legacy")
class OBB(Detect):
    """Detect with an angle per anchor: oriented boxes.

    Args:
        nc: number of classes.
        ne: number of angles per anchor; the first one turns the box.
        ch: channels of the levels, finest first.
        legacy: as in Detect.
    """

    def __init__(self, nc: int = 80, ne: int = 1, ch: Sequence[int] = (), legacy: bool | None = None) -> None:
        super().__init__(nc, ch, legacy)
        self.ne = ne
        hidden = max(ch[0] // 4, ne)
        self.cv4 = nn.ModuleList(conv_branch(c, hidden, ne) for c in ch)

    def forward(  # type: ignore[override]
        self, x: Sequence[Tensor]
    ) -> tuple[RawMaps, Tensor] | Tensor | tuple[Tensor, tuple[RawMaps, Tensor]]:
        """Run the head.

        Args:
            x: nl maps (B, ch[i], H_i, W_i).

        Returns:
            Training: raw maps of Detect, angles (B, ne, A) in radians, -pi/4 to 3*pi/4.
            Otherwise (y, both of these), or y alone with `export`; y (B, 4 + nc + ne, A): center x, y, width, height
            of the oriented box in input pixels, class scores, angle of the width from the x axis towards y.
        """
        boxes, scores, angle = apply_branches(self.cv2, x), apply_branches(self.cv3, x), self._angles(x)
        if self.training:
            return join_maps(boxes, scores), angle
        decoded = self.decode_rotated(boxes, angle)
        y = torch.cat((decoded, flatten_levels(scores).sigmoid(), output_dtype(angle, x[0].dtype)), 1)
        return y if self.export else (y, (join_maps(boxes, scores), angle))

    def decode_rotated(self, boxes: Sequence[Tensor], angle: Tensor) -> Tensor:
        """Box distributions of all levels and angles (B, ne, A) to (B, 4, A) center x, y, width, height in pixels."""
        distances, anchors, strides = self._distances(boxes)
        decoded = dist2rbox(distances, angle[:, :1].to(distances), anchors.unsqueeze(0), dim=1) * strides
        return output_dtype(decoded, boxes[0].dtype)

    def _angles(self, x: Sequence[Tensor]) -> Tensor:
        raw = flatten_levels(apply_branches(self.cv4, x))
        return (raw.to(computed_dtype(raw.dtype)).sigmoid() - 0.25) * math.pi


@register("c1, *args")
class Classify(nn.Module):
    """Convolution, mean over the map, linear layer; a row gives the number of classes, [-1, 1, Classify, [nc]]."""

    export = False

    def __init__(self, c1: int, c2: int, k: int = 1, s: int = 1, p: int | None = None, g: int = 1) -> None:
        super().__init__()
        self.conv = Conv(c1, CLASSIFY_CHANNELS, k, s, p, g)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(p=0.0, inplace=True)
        self.linear = nn.Linear(CLASSIFY_CHANNELS, c2)

    def forward(self, x: Tensor | Sequence[Tensor]) -> Tensor:
        """(B, c1, H, W), or a list of such maps that are concatenated, to (B, c2).

        Returns:
            Training: logits. Otherwise probabilities, of the dtype of the map.
        """
        joined = x if isinstance(x, Tensor) else torch.cat(tuple(x), 1)
        logits = self.linear(self.drop(self.pool(self.conv(joined)).flatten(1)))
        return logits if self.training else logits.softmax(1)
