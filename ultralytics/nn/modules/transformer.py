"""Transformer layers: the block inside C3TR, encoder layers for flattened and for 2-D maps, and small perceptrons.

Class and attribute names are those of ultralytics 8.3.0, because checkpoints contain them.
B batch, C channels, H rows, W columns, N = H*W locations.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.registry import register

GELU = nn.GELU()  # default of the encoder layers; one instance, because it has no state


class TransformerEncoderLayer(nn.Module):
    """Self-attention and a two-layer perceptron, each with a shortcut and layer normalization.

    Args:
        c1: channels.
        cm: hidden channels of the perceptron.
        num_heads: attention heads; a divisor of c1.
        dropout: rate in attention and perceptron.
        act: activation of the perceptron.
        normalize_before: normalize the input of each part and not its output.
    """

    def __init__(
        self,
        c1: int,
        cm: int = 2048,
        num_heads: int = 8,
        dropout: float = 0.0,
        act: nn.Module = GELU,
        normalize_before: bool = False,
    ) -> None:
        super().__init__()
        self.ma = nn.MultiheadAttention(c1, num_heads, dropout=dropout, batch_first=True)
        self.fc1, self.fc2 = nn.Linear(c1, cm), nn.Linear(cm, c1)
        self.norm1, self.norm2 = (nn.LayerNorm(c1) for _ in range(2))
        self.dropout, self.dropout1, self.dropout2 = (nn.Dropout(dropout) for _ in range(3))
        self.normalize_before, self.act = normalize_before, act

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        pos: Tensor | None = None,
    ) -> Tensor:
        """Encode.

        Args:
            src: (B, N, c1).
            src_mask: attention mask (N, N).
            src_key_padding_mask: (B, N), True where a location is ignored.
            pos: position encoding that is added to queries and keys, (B or 1, N, c1).
        """
        if self.normalize_before:
            src = src + self.dropout1(self._attend(self.norm1(src), src_mask, src_key_padding_mask, pos))
            return src + self.dropout2(self._perceptron(self.norm2(src)))
        src = self.norm1(src + self.dropout1(self._attend(src, src_mask, src_key_padding_mask, pos)))
        return self.norm2(src + self.dropout2(self._perceptron(src)))

    def _attend(self, src: Tensor, mask: Tensor | None, padding: Tensor | None, pos: Tensor | None) -> Tensor:
        q = src if pos is None else src + pos
        return self.ma(q, q, src, attn_mask=mask, key_padding_mask=padding, need_weights=False)[0]

    def _perceptron(self, src: Tensor) -> Tensor:
        return self.fc2(self.dropout(self.act(self.fc1(src))))


@register("c1, *args")
class AIFI(TransformerEncoderLayer):
    """Encoder layer for a map (B, C, H, W) with a sine position encoding of rows and columns; C a multiple of 4."""

    def __init__(
        self,
        c1: int,
        cm: int = 2048,
        num_heads: int = 8,
        dropout: float = 0.0,
        act: nn.Module = GELU,
        normalize_before: bool = False,
    ) -> None:
        super().__init__(c1, cm, num_heads, dropout, act, normalize_before)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        B, C, H, W = x.shape
        pos = self.build_2d_sincos_position_embedding(W, H, C).to(x)
        encoded = super().forward(x.flatten(2).transpose(1, 2), pos=pos)  # (B, N, C)
        return encoded.transpose(1, 2).reshape(B, C, H, W)

    @staticmethod
    def build_2d_sincos_position_embedding(
        w: int, h: int, embed_dim: int = 256, temperature: float = 10000.0
    ) -> Tensor:
        """Position encoding (1, h * w, embed_dim): sines and cosines of the row, then of the column.

        Raises:
            ValueError: `embed_dim` is not a multiple of 4.
        """
        if embed_dim % 4:
            raise ValueError(f"a 2-D position encoding needs a multiple of 4 channels, got {embed_dim}")
        # 8.3.0 enumerates locations column by column, which fits a flattened map only if it is square
        rows, columns = (torch.arange(n, dtype=torch.float32) for n in (h, w))
        row, column = torch.meshgrid(rows, columns, indexing="ij")
        steps = embed_dim // 4
        omega = 1.0 / temperature ** (torch.arange(steps, dtype=torch.float32) / steps)
        angles = [(grid.flatten()[:, None] * omega) for grid in (row, column)]  # (h * w, embed_dim / 4) each
        return torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], 1)[None]


class TransformerLayer(nn.Module):
    """Self-attention and two linear layers, each with a shortcut; without normalization and activation."""

    def __init__(self, c: int, num_heads: int) -> None:
        super().__init__()
        self.q, self.k, self.v = _square_layers(c, 3)
        self.ma = nn.MultiheadAttention(c, num_heads)
        self.fc1, self.fc2 = _square_layers(c, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, B, c) to (N, B, c)."""
        x = x + self.ma(self.q(x), self.k(x), self.v(x), need_weights=False)[0]
        return x + self.fc2(self.fc1(x))


class TransformerBlock(nn.Module):
    """Layers over the locations of a map: position encoding by a linear layer, then `num_layers` TransformerLayer."""

    def __init__(self, c1: int, c2: int, num_heads: int, num_layers: int) -> None:
        super().__init__()
        self.conv = Conv(c1, c2) if c1 != c2 else None
        self.linear = nn.Linear(c2, c2)
        self.tr = nn.Sequential(*(TransformerLayer(c2, num_heads) for _ in range(num_layers)))
        self.c2 = c2

    def forward(self, x: Tensor) -> Tensor:
        """(B, c1, H, W) to (B, c2, H, W)."""
        x = x if self.conv is None else self.conv(x)
        B, _, H, W = x.shape
        tokens = x.flatten(2).permute(2, 0, 1)  # (B, c2, H, W) -> (N, B, c2)
        return self.tr(tokens + self.linear(tokens)).permute(1, 2, 0).reshape(B, self.c2, H, W)


class MLPBlock(nn.Module):
    """Two linear layers with an activation in between."""

    def __init__(self, embedding_dim: int, mlp_dim: int, act: type[nn.Module] = nn.GELU) -> None:
        super().__init__()
        self.lin1 = nn.Linear(embedding_dim, mlp_dim)
        self.lin2 = nn.Linear(mlp_dim, embedding_dim)
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(self.act(self.lin1(x)))


class MLP(nn.Module):
    """`num_layers` linear layers with an activation in between; `sigmoid` applies one to the output."""

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int,
        output_dim: int,
        num_layers: int,
        act: type[nn.Module] = nn.ReLU,
        sigmoid: bool = False,
    ) -> None:
        super().__init__()
        self.num_layers = num_layers
        sizes = [input_dim, *[hidden_dim] * (num_layers - 1), output_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.sigmoid = sigmoid
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        *hidden, last = self.layers
        for layer in hidden:
            x = self.act(layer(x))
        x = last(x)
        return x.sigmoid() if self.sigmoid else x


class LayerNorm2d(nn.Module):
    """Normalization over the channels of a map (B, C, H, W), at every location on its own."""

    def __init__(self, num_channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        y = F.layer_norm(x.movedim(1, -1), self.weight.shape, self.weight, self.bias, self.eps)
        return y.movedim(-1, 1)


def _square_layers(c: int, n: int) -> list[nn.Linear]:
    # n linear layers without bias, from c to c channels
    return [nn.Linear(c, c, bias=False) for _ in range(n)]
