"""ACmix: a block that computes self-attention over a window and a convolution from the same projections.

Pan, Ge, Lu, Song, Chen, Huang, Huang 2022, arXiv 2111.14556. With d = out_planes / head and k = kernel_conv:
    q, k, v = conv1(x), conv2(x), conv3(x)
    attention   softmax over the kernel_att² window of q / sqrt(d) · (k_window + pe_center - pe_window), times v_window
    convolution fc mixes q, k, v of all heads into k² maps per channel, dep_conv shifts and sums them
    out = rate1 * attention + rate2 * convolution
The implementation is mathematically equal, but faster:
- q · pe_center is the same for the whole window, so the softmax cancels it, and k - pe is used as the keys.
- fc is linear in q, k, v, and these in x: both branches start from one 1×1 convolution of x with composed weights.
Differences from the published code: reflection works on maps of any size, odd sizes work with strides, `dilation`
spaces the taps (there it only affects the padding), and the module keeps no state that depends on the map's size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ultralytics.nn.modules.block import Bottleneck, C2f
from ultralytics.nn.modules.conv import Size
from ultralytics.nn.ops import window_attention
from ultralytics.nn.registry import register

_PAPER = "ACmix, arXiv 2111.14556"


@register(
    "c1, c1, *args",
    paper=_PAPER,
    usage="[-1, 1, ACmix, []]  # after any layer, keeps the channels; or [kernel_att, head, kernel_conv, stride]",
)
class ACmix(nn.Module):
    """Attention and convolution, (B, in_planes, H, W) -> (B, out_planes, (H-1)//stride + 1, (W-1)//stride + 1).

    Args:
        in_planes, out_planes: channels in and out; `out_planes` is a multiple of `head`.
        kernel_att: size of the attention window, odd.
        head: attention heads.
        kernel_conv: size of the convolution kernel, odd.
        stride: distance of the output pixels.
        dilation: distance of the taps of the attention window.

    Raises:
        ValueError: `out_planes` is not divisible by `head`, a kernel size is even, or an option is below 1.
    """

    def __init__(
        self,
        in_planes: int,
        out_planes: int,
        kernel_att: int = 7,
        head: int = 4,
        kernel_conv: int = 3,
        stride: int = 1,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        kernels = {"kernel_att": kernel_att, "kernel_conv": kernel_conv}
        for name, value in (kernels | {"head": head, "stride": stride, "dilation": dilation}).items():
            if type(value) is not int or value < 1:
                raise ValueError(f"ACmix's {name} must be an integer of at least 1, not {value!r}")
        if out_planes % head:
            raise ValueError(
                f"ACmix's out_planes={out_planes} is not divisible by head={head}; "
                f"choose a number of heads that divides {out_planes}"
            )
        if kernel_att % 2 == 0 or kernel_conv % 2 == 0:
            raise ValueError(f"ACmix's kernel_att and kernel_conv must be odd, not {kernel_att} and {kernel_conv}")
        self.head, self.kernel_att, self.kernel_conv = head, kernel_att, kernel_conv
        self.stride, self.dilation = stride, dilation
        self.head_dim = out_planes // head
        self.rate1 = nn.Parameter(torch.full((1,), 0.5))
        self.rate2 = nn.Parameter(torch.full((1,), 0.5))
        self.conv1 = nn.Conv2d(in_planes, out_planes, 1)
        self.conv2 = nn.Conv2d(in_planes, out_planes, 1)
        self.conv3 = nn.Conv2d(in_planes, out_planes, 1)
        self.conv_p = nn.Conv2d(2, self.head_dim, 1)
        taps = kernel_conv**2
        self.fc = nn.Conv2d(3 * head, taps, 1, bias=False)
        self.dep_conv = nn.Conv2d(
            taps * self.head_dim, out_planes, kernel_conv, stride, kernel_conv // 2, groups=self.head_dim, bias=False
        )
        self._initialize_shifts()

    def _initialize_shifts(self) -> None:
        # weight[o, i, i // k, i % k] = 1: map i is shifted to the position of tap i, so the branch is a convolution
        taps = self.kernel_conv**2
        shifts = torch.eye(taps).view(taps, self.kernel_conv, self.kernel_conv)
        with torch.no_grad():
            self.dep_conv.weight.copy_(shifts.expand_as(self.dep_conv.weight))

    def forward(self, x: Tensor) -> Tensor:
        B, _, H, W = x.shape
        rows = x.permute(0, 2, 3, 1).flatten(0, 2)  # a view if x is channels-last
        weights, biases = self._projections()
        q, k, v, maps = (self._maps(F.linear(rows, w, b), B, H, W) for w, b in zip(weights, biases, strict=True))
        k = k - self._position(H, W).to(k.dtype).repeat(1, self.head, 1, 1)
        q, k, v = (z.view(B, self.head, self.head_dim, H, W) for z in (q, k, v))
        attention = window_attention(q, k, v, self.kernel_att, self.dilation, self.stride).flatten(1, 2)
        conv = self.dep_conv
        return attention + F.conv2d(
            maps, conv.weight * self.rate2, None, conv.stride, conv.padding, groups=self.head_dim
        )

    def _projections(self) -> tuple[list[Tensor], list[Tensor]]:
        """Weights (channels, in_planes) and biases that map x to q, k, rate1 * v, and the d * k² maps of fc."""
        convs = (self.conv1, self.conv2, self.conv3)
        weights = [c.weight.flatten(1) for c in convs]
        biases = [c.bias for c in convs if c.bias is not None]
        # maps[e * k² + t] = sum over the 3 * head projections j of fc[t, j] * projection[j * d + e]
        fc = self.fc.weight.flatten(1)
        mixed = torch.einsum("tj,jec->etc", fc, torch.cat(weights).unflatten(0, (-1, self.head_dim)))
        mixed_bias = torch.einsum("tj,je->et", fc, torch.cat(biases).unflatten(0, (-1, self.head_dim)))
        weights[2], biases[2] = weights[2] * self.rate1, biases[2] * self.rate1  # attention is linear in v
        return [*weights, mixed.flatten(0, 1)], [*biases, mixed_bias.flatten()]

    @staticmethod
    def _maps(rows: Tensor, B: int, H: int, W: int) -> Tensor:
        return rows.view(B, H, W, rows.shape[1]).permute(0, 3, 1, 2)  # (B*H*W, C) -> (B, C, H, W)

    def _position(self, H: int, W: int) -> Tensor:
        """Position encoding, conv_p of the map of coordinates: (1, d, H, W)."""
        like = self.conv_p.weight
        across, down = _from_minus_one_to_one(W, like).expand(H, W), _from_minus_one_to_one(H, like)
        return self.conv_p(torch.stack((across, down.view(-1, 1).expand(H, W))).unsqueeze(0))

    def multiply_adds(self, shape: tuple[int, ...], out: tuple[int, ...]) -> int:
        """By the paper's formulas, not the fewer of `forward`; see info.get_flops.

        Attention has two multiply-adds per tap and value.
        """
        B, inc, H, W = shape
        _, outc, h, w = out
        projections = 3 * inc * outc + self.fc.weight.numel() * self.head_dim
        position = self.conv_p.weight.numel() * H * W  # the same for the whole batch
        mixing = self.dep_conv.weight.numel() + 2 * self.kernel_att**2 * outc
        return B * (H * W * projections + h * w * mixing) + position

    def extra_repr(self) -> str:
        return f"kernel_att={self.kernel_att}, head={self.head}, stride={self.stride}, dilation={self.dilation}"


def _from_minus_one_to_one(size: int, like: Tensor) -> Tensor:
    """torch.linspace(-1, 1, size) in `like`'s dtype, -1 for size 1, which torch.linspace exports wrongly to ONNX."""
    line = torch.arange(size, dtype=torch.promote_types(like.dtype, torch.float32), device=like.device)
    return (2 * line / (size - 1 + 1 // size) - 1).to(like.dtype)


@register("c1, c2, *args", paper=_PAPER, usage="[-1, 1, Bottleneck_ACmix, [256]]  # channels, shortcut")
class Bottleneck_ACmix(Bottleneck):
    """Bottleneck whose second convolution is an ACmix with normalization and activation: ACmix in a residual branch."""

    def __init__(
        self, c1: int, c2: int, shortcut: bool = True, g: int = 1, k: Sequence[Size] = (3, 3), e: float = 0.5
    ) -> None:
        super().__init__(c1, c2, shortcut, g, k, e)
        mixed = ACmix(int(c2 * e), c2)
        self.cv2 = nn.Sequential(mixed, nn.BatchNorm2d(c2), nn.SiLU())  # type: ignore[assignment]


@register("c1, c2, n, *args", paper=_PAPER, usage="[-1, 3, C2f_ACmix, [256, True]]  # channels, shortcut")
class C2f_ACmix(C2f):
    """C2f whose `n` bottlenecks are Bottleneck_ACmix."""

    def __init__(self, c1: int, c2: int, n: int = 1, shortcut: bool = False, g: int = 1, e: float = 0.5) -> None:
        super().__init__(c1, c2, n, shortcut, g, e)
        self.m = nn.ModuleList(Bottleneck_ACmix(self.c, self.c, shortcut, g, e=1.0) for _ in range(n))
