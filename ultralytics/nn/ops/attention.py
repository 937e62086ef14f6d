"""ACmix's attention: every pixel attends to the window around it, with the map reflected at its borders.

`window_attention` is the operator; `window_attention_reference` is the formula, one tap at a time. The fast path splits
the output into square tiles. The queries of a tile share the keys and values of its halo, so one gather copies each of
them about three times instead of window² times, and `scaled_dot_product_attention` computes the rest under one mask,
the same for all tiles, that hides the keys outside each query's own window (masked scores have weight 0).

Dimension letters: B batch, n heads, d channels per head, H W rows and columns of the map, h w of the output,
R radius in pixels, T size of a tile, Q queries and K keys of a tile.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ultralytics.nn.ops import backends, tracing
from ultralytics.nn.ops.recompute import recomputed
from ultralytics.nn.ops.self_test import Case, Operator, register_operator, wave

TILE = 8  # rows and columns of outputs; smaller tiles copy more, larger ones compute more masked scores
CHUNK_VALUES = 1 << 22  # values in the copied keys and values of the images processed at once: 16 MB of float32


def window_attention(q: Tensor, k: Tensor, v: Tensor, window: int, dilation: int = 1, stride: int = 1) -> Tensor:
    """Softmax attention of each query on the window of keys and values around its pixel.

    Args:
        q, k, v: (B, n, d, H, W), any float dtype and memory format; channels-last memory is not copied.
        window: odd number of taps per axis.
        dilation: distance of the taps in pixels.
        stride: every stride-th row and column has an output.

    Returns:
        (B, n, d, (H-1)//stride + 1, (W-1)//stride + 1): softmax(q·k / sqrt(d)) · v. At the borders the map
        is reflected as by numpy's "reflect", more than once if needed; a map of one row repeats it.

    Raises:
        ValueError: the window is even, an option is below 1, or the shapes differ.
    """
    _check(q, k, v, window, dilation, stride)
    if backends.uses_triton(q, "window_attention"):
        return _kernel(q, k, v, window, dilation, stride)
    return _pytorch(q, k, v, window, dilation, stride)


def _kernel(q: Tensor, k: Tensor, v: Tensor, window: int, dilation: int, stride: int) -> Tensor:
    return torch.ops.addmodules.window_attention(q, k.to(q.dtype), v.to(q.dtype), window, dilation, stride)


def _pytorch(q: Tensor, k: Tensor, v: Tensor, window: int, dilation: int, stride: int) -> Tensor:
    images = images_at_once(q, window, dilation, stride)
    if images >= q.shape[0]:
        out = _tiled(q, k, v, window, dilation, stride)
    else:
        settings = (window, dilation, stride, images)
        out = recomputed(_in_parts, _gradients_in_parts, q, k, v, settings=settings)
    return out.permute(0, 3, 4, 1, 2)


def window_attention_reference(
    q: Tensor, k: Tensor, v: Tensor, window: int, dilation: int = 1, stride: int = 1
) -> Tensor:
    """As `window_attention`, one tap of the window at a time."""
    _check(q, k, v, window, dilation, stride)
    H, W = q.shape[3:]
    q = q[..., ::stride, ::stride] * q.shape[2] ** -0.5
    reach = dilation * (window // 2)
    out_rows, out_columns = (torch.arange(0, size, stride, device=q.device) for size in (H, W))
    scores, taps = [], []
    for dy in range(-reach, reach + 1, dilation):
        for dx in range(-reach, reach + 1, dilation):
            at = reflect(out_rows + dy, H).view(-1, 1), reflect(out_columns + dx, W)
            scores.append((q * k[..., at[0], at[1]]).sum(2))
            taps.append(v[..., at[0], at[1]])
    attention = torch.stack(scores).softmax(0).unsqueeze(3)  # (taps, B, n, 1, h, w)
    return (attention * torch.stack(taps)).sum(0)


def reflect(index: Tensor, size: int) -> Tensor:
    """Map any integer indices into [0, size) as numpy's "reflect" padding, which does not repeat the border itself."""
    period = torch.full_like(index, 2 * (size - 1) + 1 // size)  # 1 for size 1; without a comparison, for ONNX
    index = index % period
    return torch.minimum(index, period - index)


def images_at_once(q: Tensor, window: int, dilation: int, stride: int) -> int:
    """Images whose tiles of keys and values fit CHUNK_VALUES; while tracing all, since graphs run on other sizes."""
    B = q.shape[0]
    if B == 0 or tracing.is_tracing():
        return B
    copies = 1.0  # number of tiles that read a key
    for size in q.shape[3:]:
        out = (size - 1) // stride + 1
        tile = _even_tile(out)
        copies *= -(-out // tile) * ((tile - 1) * stride + dilation * (window - 1) + 1) / size
    most = max(1, int(CHUNK_VALUES / max(1.0, 2 * copies * q[:1].numel())))
    return -(-B // -(-B // most))  # equal parts


def _tiled(q: Tensor, k: Tensor, v: Tensor, window: int, dilation: int, stride: int) -> Tensor:
    """`window_attention` by tiles, (B, h, w, n, d)."""
    B, n, d, H, W = q.shape
    h, w = (H - 1) // stride + 1, (W - 1) // stride + 1
    # a graph runs on other sizes too: its tile cannot depend on the size of the map
    th, tw = (TILE, TILE) if tracing.is_tracing() else (_even_tile(h), _even_tile(w))
    # torch.export specializes a count of 1, so there is always a second tile, which is cut off again
    spare = TILE if torch.onnx.is_in_onnx_export() and torch.compiler.is_compiling() else 0
    reach = dilation * (window // 2)
    query_rows, key_rows = _tile_indices(H, h + spare, th, stride, reach, q.device)
    query_columns, key_columns = _tile_indices(W, w + spare, tw, stride, reach, q.device)
    queries = _gather_tiles(q, query_rows, query_columns)
    keys, values = _gather_tiles(k, key_rows, key_columns), _gather_tiles(v, key_rows, key_columns)
    visible_rows = _visible(th, stride, window, dilation, q.device)
    visible_columns = _visible(tw, stride, window, dilation, q.device)
    visible = visible_rows[:, None, :, None] & visible_columns[None, :, None, :]  # (th, tw, key rows, key columns)
    mask = torch.zeros(visible.shape, dtype=q.dtype, device=q.device).masked_fill_(~visible, float("-inf"))
    out = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask.view(th * tw, -1))
    out = out.transpose(1, 2).reshape(B, query_rows.shape[0], query_columns.shape[0], th, tw, n * d)
    out = out.transpose(2, 3).reshape(B, query_rows.numel(), query_columns.numel(), n, d)
    return out[:, :h, :w]


def _in_parts(q: Tensor, k: Tensor, v: Tensor, window: int, dilation: int, stride: int, images: int) -> Tensor:
    """`_tiled` for a few images at a time, which bounds the memory; the backward pass computes the tiles again."""
    parts = zip(q.split(images), k.split(images), v.split(images), strict=True)
    return torch.cat([_tiled(*part, window, dilation, stride) for part in parts])


def _gradients_in_parts(
    q: Tensor, k: Tensor, v: Tensor, grad: Tensor, window: int, dilation: int, stride: int, images: int
) -> tuple[Tensor, ...]:
    grads = tuple(torch.empty_like(t) for t in (q, k, v))
    for first in range(0, len(grad), images):
        at = slice(first, first + images)
        with torch.enable_grad():
            queries, keys, values = (t[at].detach().requires_grad_() for t in (q, k, v))
            out = _tiled(queries, keys, values, window, dilation, stride)
        for i, grad_part in enumerate(torch.autograd.grad(out, (queries, keys, values), grad[at])):
            grads[i][at] = grad_part
    return grads


def _check(q: Tensor, k: Tensor, v: Tensor, window: int, dilation: int, stride: int) -> None:
    if window % 2 == 0:
        raise ValueError(f"window_attention needs an odd window, not {window}")
    if min(window, dilation, stride) < 1:
        raise ValueError(
            f"window, dilation and stride of window_attention must be at least 1, not {window}, {dilation} and {stride}"
        )
    if q.dim() != 5 or q.shape != k.shape or q.shape != v.shape:
        raise ValueError(
            f"window_attention needs q, k, v of one shape (B, heads, d, H, W), "
            f"not {tuple(q.shape)}, {tuple(k.shape)}, {tuple(v.shape)}"
        )


def _even_tile(size: int) -> int:
    """Smallest tile with which `size` has as many tiles as with TILE: 20 is 7 + 7 + 6."""
    number = -(-size // min(TILE, size))
    return -(-size // number)


def _tile_indices(
    size: int, out: int, tile: int, stride: int, reach: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Rows (or columns) that each tile reads: queries (tiles, T), keys (tiles, (T-1) * stride + 2 * reach + 1)."""
    first = torch.arange(0, out, tile, device=device).view(-1, 1) * stride
    query = first + torch.arange(tile, device=device) * stride
    key = first + torch.arange(-reach, (tile - 1) * stride + reach + 1, device=device)
    return query.clamp(max=size - 1), reflect(key, size)  # queries beyond the map are cut off later


def _visible(tile: int, stride: int, window: int, dilation: int, device: torch.device) -> Tensor:
    """(T, keys): whether a row of keys in the halo is in the window of a row of queries of the tile."""
    keys = (tile - 1) * stride + dilation * (window - 1) + 1
    distance = torch.arange(keys, device=device) - torch.arange(tile, device=device).view(-1, 1) * stride
    return (distance >= 0) & (distance <= dilation * (window - 1)) & (distance % dilation == 0)


def _gather_tiles(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(B, n, d, H, W) -> (B * tiles, n, rows * columns of a tile, d), one gather."""
    B, n, d, H, W = x.shape
    pixel = rows[:, None, :, None] * W + columns[None, :, None, :]  # (tile rows, tile columns, rows, columns)
    images = torch.arange(B, device=x.device) * (H * W)
    index = (images.view(-1, 1) + pixel.view(1, -1)).view(-1)
    pixels = x.permute(0, 3, 4, 1, 2).reshape(B * H * W, n * d)
    area = rows.shape[1] * columns.shape[1]
    return pixels.index_select(0, index).view(-1, area, n, d).transpose(1, 2)


# ---- the kernel's self-test ------------------------------------------------------------------------------------------


def _self_test_cases() -> list[Case]:
    """ACmix's window on several tiles, and a dilated one with a stride; both memory formats; a map of one row."""
    steps = (0.7, 1.1, 1.9)
    q, k, v = (wave(1, 2, 6, 5, 9, step=step) for step in steps)
    channels_last = tuple(wave(2, 5, 7, 2, 6, step=step).permute(0, 3, 4, 1, 2) for step in steps)
    row = tuple(wave(1, 2, 6, 1, 5, step=step) for step in steps)
    return [Case((q, k, v), (7, 1, 1)), Case(channels_last, (3, 2, 2)), Case(row, (7, 1, 1))]


register_operator(
    Operator(name="window_attention", inputs=("q", "k", "v"), kernel=_kernel, pytorch=_pytorch, cases=_self_test_cases)
)
