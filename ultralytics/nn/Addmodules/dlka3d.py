"""D-LKA for volumes: the 3-D version of dlka.py, with trilinear sampling and three offsets per tap.

Azad, Niggemeier, Hüttemann, Kazerouni, Aghdam, Velichko, Bagci, Merhof 2023, arXiv 2309.00121. Formulas, kernels and
names are those of the 2-D blocks, with depth before rows and columns: 5×5×5, then 7×7×7 of dilation 3, both depthwise.
For volumes such as CT scans, in your own networks; the networks of model files are 2-D and use dlka.py's blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ultralytics.nn.Addmodules.dlka import deformable_LKA_Attention
from ultralytics.nn.ops.deform3d import deform_conv3d_depthwise
from ultralytics.nn.registry import register

_TRILINEAR = 8  # multiply-adds of a trilinear sample of one channel


class DeformConv3d(nn.Module):
    """Depthwise deformable convolution of volumes that computes its own offsets; (B, channels, D, H, W), no bias.

    Args:
        channels: channels in and out.
        kernel_size, padding, stride, dilation: of both the offset convolution and the filters.
        bias: whether the offset convolution has a bias.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: Sequence[int] = (3, 3, 3),
        padding: int = 1,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        kd, kh, kw = kernel_size
        self.offset_net = nn.Conv3d(channels, 3 * kd * kh * kw, (kd, kh, kw), stride, padding, dilation, bias=bias)
        # only holds the filters under the published key; the module is not called
        self.deform_conv = nn.Conv3d(channels, channels, (kd, kh, kw), groups=channels, bias=False)
        self.stride, self.padding, self.dilation = stride, padding, dilation

    def forward(self, x: Tensor) -> Tensor:
        return deform_conv3d_depthwise(
            x,
            self.offset_net(x),
            self.deform_conv.weight,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )

    def multiply_adds(self, shape: tuple[int, ...], out: tuple[int, ...]) -> int:
        """Of offsets, trilinear samples (eight each) and filters; see info.get_flops."""
        B, C, d, h, w = out
        taps = self.deform_conv.weight[0].numel()
        return B * d * h * w * (self.offset_net.weight.numel() + (_TRILINEAR + 1) * C * taps)


class deformable_LKA3d(nn.Module):
    """The input times its deformable large-kernel attention map; (B, dim, D, H, W), same shape."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv0 = DeformConv3d(dim, (5, 5, 5), padding=2)
        self.conv_spatial = DeformConv3d(dim, (7, 7, 7), padding=9, dilation=3)
        self.conv1 = nn.Conv3d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv1(self.conv_spatial(self.conv0(x)))


@register(
    "c1",
    paper="Deformable Large Kernel Attention, arXiv 2309.00121",
    usage="deformable_LKA_Attention3d(channels)  # volumes (B, C, D, H, W), in Python only: model files are 2-D",
)
class deformable_LKA_Attention3d(deformable_LKA_Attention):
    """Residual attention block around deformable_LKA3d; (B, d_model, D, H, W), same shape."""

    projection = nn.Conv3d
    gate = deformable_LKA3d

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 5:  # nn.Conv3d would read (C, D, H, W) as a volume without a batch
            raise ValueError(
                f"{type(self).__name__} takes volumes (B, C, D, H, W), not {tuple(x.shape)}; "
                "use deformable_LKA_Attention for maps, and in model files"
            )
        return super().forward(x)
