"""Blocks of YOLO-World that let a map and text embeddings guide each other; for networks built in Python.

Paper: T. Cheng et al., YOLO-World: Real-Time Open-Vocabulary Object Detection, 2024, arXiv:2401.17270.
Class and attribute names are those of ultralytics 8.3.0, because checkpoints contain them. The blocks take a second
input, so rows of model files cannot use them.
B batch, C channels, H rows, W columns, T texts, D channels of a text embedding, M attention heads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.modules.csp import C2f

TEMPERATURE = 0.07  # of the similarities at the start, as in CLIP
SIMILARITY_BIAS = -10.0  # texts start as absent everywhere


class MaxSigmoidAttnBlock(nn.Module):
    """Scales a map at every location by its best similarity with the texts.

    Args:
        c1: input channels.
        c2: output channels.
        nh: attention heads.
        ec: channels of the embedding that is compared with the texts; equal to c2.
        gc: channels of a text embedding.
        scale: learn a factor per head.

    Raises:
        ValueError: `ec` differs from `c2`, or `nh` does not divide it.
    """

    def __init__(self, c1: int, c2: int, nh: int = 1, ec: int = 128, gc: int = 512, scale: bool = False) -> None:
        super().__init__()
        if ec != c2 or c2 % nh:
            raise ValueError(f"the embedding needs ec == c2, a multiple of nh; got ec={ec}, c2={c2}, nh={nh}")
        self.nh = nh
        self.hc = c2 // nh
        self.ec = Conv(c1, ec, 1, act=False) if c1 != ec else None
        self.gl = nn.Linear(gc, ec)
        self.bias = nn.Parameter(torch.zeros(nh))
        self.proj_conv = Conv(c1, c2, 3, act=False)
        self.scale = nn.Parameter(torch.ones(1, nh, 1, 1)) if scale else 1.0

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """Map (B, c1, H, W) and texts (B, T, gc) to (B, c2, H, W)."""
        B, _, H, W = x.shape
        texts = self.gl(guide).reshape(B, -1, self.nh, self.hc)
        embedding = (x if self.ec is None else self.ec(x)).reshape(B, self.nh, self.hc, H, W)
        similarity = torch.einsum("bmchw,btmc->bmhwt", embedding, texts).amax(-1) / self.hc**0.5
        weight = (similarity + self.bias[:, None, None]).sigmoid() * self.scale  # (B, M, H, W)
        return (self.proj_conv(x).reshape(B, self.nh, -1, H, W) * weight[:, :, None]).reshape(B, -1, H, W)


class C2fAttn(C2f):
    """C2f with a MaxSigmoidAttnBlock behind the last bottleneck."""

    def __init__(
        self,
        c1: int,
        c2: int,
        n: int = 1,
        ec: int = 128,
        nh: int = 1,
        gc: int = 512,
        shortcut: bool = False,
        g: int = 1,
        e: float = 0.5,
    ) -> None:
        super().__init__(c1, c2, n, shortcut, g, e)
        self.cv2 = Conv((3 + n) * self.c, c2)
        self.attn = MaxSigmoidAttnBlock(self.c, self.c, nh, ec, gc)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:  # type: ignore[override]
        """Map (B, c1, H, W) and texts (B, T, gc) to (B, c2, H, W)."""
        maps = list(self.halves(x))
        for block in self.m:
            maps.append(block(maps[-1]))
        return self.join(*maps, self.attn(maps[-1], guide))


class ImagePoolingAttn(nn.Module):
    """Adds to text embeddings what they attend to in the maxima of an image's maps over a k×k grid.

    Args:
        ec: channels of the attention.
        ch: channels of the maps.
        ct: channels of a text embedding.
        nh: attention heads.
        k: rows and columns of the grid.
        scale: learn a factor of the addition that starts at 0.
    """

    def __init__(
        self, ec: int = 256, ch: Sequence[int] = (), ct: int = 512, nh: int = 8, k: int = 3, scale: bool = False
    ) -> None:
        super().__init__()
        self.query, self.key, self.value = (
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, ec)) for width in (ct, ec, ec)
        )
        self.proj = nn.Linear(ec, ct)
        self.scale = nn.Parameter(torch.zeros(1)) if scale else 1.0
        self.projections = nn.ModuleList(nn.Conv2d(c, ec, 1) for c in ch)
        self.im_pools = nn.ModuleList(nn.AdaptiveMaxPool2d((k, k)) for _ in ch)
        self.ec, self.nh, self.nf, self.hc, self.k = ec, nh, len(ch), ec // nh, k

    def forward(self, x: Sequence[Tensor], text: Tensor) -> Tensor:
        """Maps (B, ch[i], H_i, W_i) and texts (B, T, ct) to texts (B, T, ct)."""
        layers = zip(self.im_pools, self.projections, x, strict=True)
        patches = torch.cat([pool(project(level)).flatten(2) for pool, project, level in layers], 2).transpose(1, 2)
        q, k, v = self._heads(self.query(text)), self._heads(self.key(patches)), self._heads(self.value(patches))
        weights = (q @ k.transpose(2, 3) / self.hc**0.5).softmax(-1)  # (B, M, T, patches)
        mixed = (weights @ v).transpose(1, 2).flatten(2)  # (B, T, ec)
        return self.proj(mixed) * self.scale + text

    def _heads(self, x: Tensor) -> Tensor:
        # (B, N, ec) -> (B, M, N, hc)
        return x.unflatten(2, (self.nh, self.hc)).transpose(1, 2)


class ContrastiveHead(nn.Module):
    """Similarity of every location of a map with every text: cosine, times a learned factor, plus a learned bias."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor([SIMILARITY_BIAS]))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / TEMPERATURE)))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map (B, D, H, W) and texts (B, T, D) to logits (B, T, H, W)."""
        return _similarity(F.normalize(x, dim=1), w) * self.logit_scale.exp() + self.bias


class BNContrastiveHead(nn.Module):
    """ContrastiveHead with batch normalization of the map in place of unit length."""

    def __init__(self, embed_dims: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(embed_dims)
        self.bias = nn.Parameter(torch.tensor([SIMILARITY_BIAS]))
        self.logit_scale = nn.Parameter(torch.tensor(-1.0))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map (B, D, H, W) and texts (B, T, D) to logits (B, T, H, W)."""
        return _similarity(self.norm(x), w) * self.logit_scale.exp() + self.bias


def _similarity(x: Tensor, w: Tensor) -> Tensor:
    return torch.einsum("bchw,btc->bthw", x, F.normalize(w, dim=-1))
