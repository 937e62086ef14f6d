"""Detection heads with an added module in every branch, before its last layer.

Tutorials insert a module at this position among others: its output is used only by the last 1×1 convolution. All else
is inherited from Detect, so losses, decoding and the checkpoint keys of the other layers are unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ultralytics.nn.Addmodules.acmix import ACmix
from ultralytics.nn.Addmodules.akconv import AKConv
from ultralytics.nn.Addmodules.dlka import deformable_LKA_Attention
from ultralytics.nn.modules.head import Detect
from ultralytics.nn.registry import register

AKCONV_POINTS = 3
ACMIX_HEADS = (4, 2, 1)  # the paper's 4, or the largest that divides the branch's channels, which depend on nc


class DetectWith(Detect):
    """Base class of Detect heads with the module `added(channels)` before the last layer of each branch."""

    def __init__(self, nc: int = 80, ch: Sequence[int] = (), legacy: bool | None = None) -> None:
        super().__init__(nc, ch, legacy)
        for branch in (*self.cv2, *self.cv3):
            assert isinstance(branch, nn.Sequential), "a branch of Detect is a Sequential"
            last = branch[-1]
            assert isinstance(last, nn.Conv2d), "a branch of Detect ends with a convolution"
            branch.insert(len(branch) - 1, self.added(last.in_channels))

    def added(self, channels: int) -> nn.Module:
        """The module to insert; (B, channels, H, W), same shape."""
        raise NotImplementedError(f"{type(self).__name__} must implement added(), the module to insert")


@register("*args, ch, legacy", usage="[[15, 18, 21], 1, Detect_AKConv, [nc]]  # instead of Detect")
class Detect_AKConv(DetectWith):
    """Detect with an AKConv before the last layer of every branch."""

    def added(self, channels: int) -> nn.Module:
        return AKConv(channels, channels, AKCONV_POINTS)


@register("*args, ch, legacy", usage="[[15, 18, 21], 1, Detect_ACmix, [nc]]  # instead of Detect")
class Detect_ACmix(DetectWith):
    """Detect with an ACmix before the last layer of every branch."""

    def added(self, channels: int) -> nn.Module:
        return ACmix(channels, channels, head=next(n for n in ACMIX_HEADS if channels % n == 0))


@register("*args, ch, legacy", usage="[[15, 18, 21], 1, Detect_DLKA, [nc]]  # instead of Detect")
class Detect_DLKA(DetectWith):
    """Detect with a deformable_LKA_Attention before the last layer of every branch."""

    def added(self, channels: int) -> nn.Module:
        return deformable_LKA_Attention(channels)
