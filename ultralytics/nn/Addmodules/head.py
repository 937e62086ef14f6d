"""Detection heads with an added module in every branch, before its last layer.

One of the places where the tutorials put a module: what it finds is used by the last 1×1 convolution alone. Everything
else is Detect's, so losses, decoding and checkpoints of the other layers stay as they are.
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
ACMIX_HEADS = (4, 2, 1)  # the paper's 4, or what divides the branch's width, which follows the number of classes


class DetectWith(Detect):
    """Detect that puts `added(channels)` before the last layer of its branches; a base for heads, not one itself."""

    def __init__(self, nc: int = 80, ch: Sequence[int] = (), legacy: bool | None = None) -> None:
        super().__init__(nc, ch, legacy)
        for branch in (*self.cv2, *self.cv3):
            assert isinstance(branch, nn.Sequential), "a branch of Detect is a Sequential"
            last = branch[-1]
            assert isinstance(last, nn.Conv2d), "a branch of Detect ends with a convolution"
            branch.insert(len(branch) - 1, self.added(last.in_channels))

    def added(self, channels: int) -> nn.Module:
        """The module to put in; (B, channels, H, W), shape kept."""
        raise NotImplementedError(f"{type(self).__name__} must say which module it adds")


@register("*args, ch, legacy", usage="[[15, 18, 21], 1, Detect_AKConv, [nc]]  # in place of Detect")
class Detect_AKConv(DetectWith):
    """Detect with an AKConv before the last layer of every branch."""

    def added(self, channels: int) -> nn.Module:
        return AKConv(channels, channels, AKCONV_POINTS)


@register("*args, ch, legacy", usage="[[15, 18, 21], 1, Detect_ACmix, [nc]]  # in place of Detect")
class Detect_ACmix(DetectWith):
    """Detect with an ACmix before the last layer of every branch."""

    def added(self, channels: int) -> nn.Module:
        return ACmix(channels, channels, head=next(n for n in ACMIX_HEADS if channels % n == 0))


@register("*args, ch, legacy", usage="[[15, 18, 21], 1, Detect_DLKA, [nc]]  # in place of Detect")
class Detect_DLKA(DetectWith):
    """Detect with a deformable_LKA_Attention before the last layer of every branch."""

    def added(self, channels: int) -> nn.Module:
        return deformable_LKA_Attention(channels)
