"""AKConv's sampling: a map read at N points per output pixel, interpolated between the four nearest pixels.

`sample_conv` is the whole operator, sampling and the projection of the samples; `sample_points` is the sampling alone.
Both select an implementation; `sample_points_reference` follows the formula in four gathers, for tests and for devices
and exports that lack the operators of the fast path.

Dimension letters: B batch, C channels, H W rows and columns of the map, h w of the output, N points per pixel,
S samples, K output channels.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ultralytics.nn.ops import backends, bilinear, tracing
from ultralytics.nn.ops.onnx_sampling import exports_grid_sample, grid_sample
from ultralytics.nn.ops.recompute import recomputed
from ultralytics.nn.ops.self_test import Case, Operator, register_operator, wave

Activation = Literal["none", "silu"]


def sample_conv(
    x: Tensor, points: Tensor, weight: Tensor, bias: Tensor | None = None, activation: Activation = "none"
) -> Tensor:
    """Samples of `x` at N points per pixel, projected: act(bias[k] + sum over c, n of weight[k, c, n] * sample[c, n]).

    Args:
        x: (B, C, H, W), any float dtype and memory format.
        points: (B, 2N, h, w), see `sample_points`.
        weight: (K, C, N) or (K, C, N, 1).
        bias: (K,).
        activation: applied to the result.

    Returns:
        (B, K, h, w) in x's dtype, under autocast in autocast's; channels-last in memory on the fast paths. The kernels
        never write the samples to memory, and compute them again in the backward pass.

    Raises:
        ValueError: the shapes do not match, or the activation is unknown.
    """
    _check(x, points)
    _check_weight(x, points, weight, bias, activation)
    if not backends.uses_triton(x, "sample_conv"):
        out = mix(sample_points(x, points), weight, bias)
        return F.silu(out) if activation == "silu" else out
    if torch.is_autocast_enabled(x.device.type):
        x = x.to(torch.get_autocast_dtype(x.device.type))
    # SiLU's gradient needs its input, which the kernel does not store: fused only where no gradient is required
    tensors = (t for t in (x, points, weight, bias) if t is not None)
    fused = activation == "silu" and not tracing.needs_custom_backward(*tensors)
    out = _sample_conv_kernel(x, points, weight, bias, fused)
    return F.silu(out) if activation == "silu" and not fused else out


def mix(samples: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(B, C, N, h, w) samples and (K, C, N, 1) weights -> (B, K, h, w): a 1×1 convolution over C * N channels."""
    if samples.stride(1) == 1:  # channels are contiguous: each pixel is one row of N * C values
        B, _, _, h, w = samples.shape
        flat = samples.permute(0, 3, 4, 2, 1).flatten(3).flatten(0, 2)
        out = F.linear(flat, weight.transpose(1, 2).flatten(1), bias)
        return out.view(B, h, w, weight.shape[0]).permute(0, 3, 1, 2)
    return F.conv2d(samples.flatten(1, 2), weight.flatten(1)[..., None, None], bias)


def sample_points(x: Tensor, points: Tensor) -> Tensor:
    """Bilinear samples of `x` at `points`, clamped to the map first, so that the four weights sum to 1.

    Args:
        x: (B, C, H, W), any float dtype and memory format; float16 and bfloat16 are interpolated in float32.
        points: (B, 2N, h, w) in pixels of x: N row coordinates, then N column coordinates. Computed in at least
            float32. Infinite points are clamped like others; a NaN point reads inside the map and gives NaN or a finite
            value.

    Returns:
        (B, C, N, h, w) in x's dtype; in memory (B, h, w, N, C) on the fast path. A clamped coordinate has the
        gradient 0. On CUDA the summation order of x's gradient, and so its last digits, may vary.
    """
    _check(x, points)
    if backends.uses_triton(x, "sample_points"):
        return _sample_points_kernel(x, points)
    return _sample_points_pytorch(x, points)


def _sample_points_kernel(x: Tensor, points: Tensor) -> Tensor:
    return torch.ops.addmodules.sample_points(x, points.float())


def _sample_points_pytorch(x: Tensor, points: Tensor) -> Tensor:
    dtype = torch.promote_types(x.dtype, torch.float32)
    points = points.to(torch.promote_types(dtype, points.dtype))
    with tracing.without_autocast(x):
        if exports_grid_sample():
            row, column = points.to(dtype).chunk(2, 1)
            return grid_sample(x.to(dtype), row, column, "border").to(x.dtype)
        if not tracing.has_fast_path(x):
            return sample_points_reference(x.to(dtype), points).to(x.dtype)
        return recomputed(_forward, _backward, x.to(dtype), points).to(x.dtype)


def sample_points_reference(x: Tensor, points: Tensor) -> Tensor:
    """As `sample_points`, in four gathers that follow the formula, in the dtypes of the inputs."""
    B, C, H, W = x.shape
    n = points.shape[1] // 2
    row, column = points[:, :n].clamp(0, H - 1), points[:, n:].clamp(0, W - 1)  # (B, N, h, w)
    top, left = row.detach().floor().clamp(max=max(H - 2, 0)), column.detach().floor().clamp(max=max(W - 2, 0))
    down, right = row - top, column - left
    flat = x.flatten(2)

    def pixel(r: Tensor, c: Tensor) -> Tensor:
        # NaN converts to an undefined integer: the second clamp keeps the read inside the map
        index = r.long().clamp(0, H - 1) * W + c.long().clamp(0, W - 1)
        return flat.gather(2, index.flatten(1).unsqueeze(1).expand(-1, C, -1)).view(B, C, *row.shape[1:])

    def weighted(weight: Tensor, value: Tensor) -> Tensor:
        return weight.unsqueeze(1).to(x.dtype) * value

    return (
        weighted((1 - down) * (1 - right), pixel(top, left))
        + weighted((1 - down) * right, pixel(top, left + 1))
        + weighted(down * (1 - right), pixel(top + 1, left))
        + weighted(down * right, pixel(top + 1, left + 1))
    )


def _check(x: Tensor, points: Tensor) -> None:
    if x.dim() != 4 or points.dim() != 4 or points.shape[1] % 2 or x.shape[0] != points.shape[0]:
        raise ValueError(
            f"sample_points needs x (B, C, H, W) and points (B, 2N, h, w) of the same batch, "
            f"not {tuple(x.shape)} and {tuple(points.shape)}"
        )


def _check_weight(x: Tensor, points: Tensor, weight: Tensor, bias: Tensor | None, activation: str) -> None:
    if activation not in get_args(Activation):
        raise ValueError(f"sample_conv's activation is one of {', '.join(get_args(Activation))}, not '{activation}'")
    expected = x.shape[1], points.shape[1] // 2
    if tuple(weight.shape[1:]) not in (expected, (*expected, 1)):
        raise ValueError(
            f"sample_conv of {tuple(x.shape)} at {expected[1]} points needs weights (K, {expected[0]}, {expected[1]}), "
            f"with or without a last 1, not {tuple(weight.shape)}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(
            f"sample_conv needs a bias ({weight.shape[0]},), one value per filter, not {tuple(bias.shape)}"
        )


def _cells(row: Tensor, column: Tensor, H: int, W: int) -> tuple[Tensor, Tensor, Tensor]:
    """Coordinates -> index of the top left pixel (int32, row * W + column), fy, fx; all of one shape."""
    row, column = row.clamp(0, H - 1), column.clamp(0, W - 1)
    last_top, last_left = _last_cell(H), _last_cell(W)
    top, left = row.floor().clamp_(max=last_top), column.floor().clamp_(max=last_left)
    # NaN converts to an undefined integer: the second clamp keeps the read inside the map
    cell = top.to(torch.int32).clamp_(0, last_top) * W + left.to(torch.int32).clamp_(0, last_left)
    return cell, row - top, column - left


def _last_cell(size: int) -> int:
    return size - 2 + 1 // size  # 0 for size 1; without a comparison, whose result a traced graph would keep


def _steps(H: int, W: int) -> tuple[int, int]:
    """Steps in the table to the pixel below and to the right; 0 for a size of 1, where that pixel has weight 0."""
    return W * (1 - 1 // H), 1 - 1 // W


def _rows_columns(points: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 2N, h, w) -> row and column coordinates, each (B, h*w*N)."""
    row, column = points.permute(0, 2, 3, 1).chunk(2, 3)
    return row.flatten(1), column.flatten(1)


def _forward(x: Tensor, points: Tensor) -> Tensor:
    B, C, H, W = x.shape
    n, (h, w) = points.shape[1] // 2, points.shape[2:]
    cell, fy, fx = _cells_of_batch(x, *_rows_columns(points))
    samples = bilinear.weighted_rows(
        _table(x), bilinear.corner_indices(cell, *_steps(H, W)), bilinear.corner_weights(fy, fx)
    )
    return samples.view(B, h, w, n, C).permute(0, 4, 3, 1, 2)


def _backward(x: Tensor, points: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    B, _, H, W = x.shape
    n, (h, w) = points.shape[1] // 2, points.shape[2:]
    row, column = _rows_columns(points)
    cell, fy, fx = _cells_of_batch(x, row, column)
    grad = tracing.contiguous_if_compiling(grad).permute(0, 3, 4, 2, 1).flatten(0, 3).contiguous()  # (B*h*w*N, C)
    products = bilinear.corner_products(
        _table(x), bilinear.corner_indices(cell, *_steps(H, W)), grad, bilinear.sample_indices(len(cell), x.device)
    )
    by_row, by_column = bilinear.coordinate_gradients(products, fy, fx)
    inside = (row >= 0) & (row <= H - 1), (column >= 0) & (column <= W - 1)  # a clamped coordinate has no gradient
    grads = torch.stack((by_row.view_as(row) * inside[0], by_column.view_as(column) * inside[1]))
    grad_points = grads.view(2, B, h, w, n).permute(1, 0, 4, 2, 3).reshape(points.shape).to(points.dtype)
    grad_x = bilinear.scatter(cell, bilinear.corner_weights(fy, fx), grad, (B, H, W))
    return grad_x.permute(0, 3, 1, 2), grad_points


def _table(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).flatten(0, 2)  # (B, C, H, W) -> (B*H*W, C)


def _cells_of_batch(x: Tensor, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Points (B, h*w*N) -> row of the table of the whole batch, fy, fx, each (B*h*w*N,)."""
    B, _, H, W = x.shape
    cell, fy, fx = _cells(row, column, H, W)
    cell = cell + torch.arange(B, dtype=torch.int32, device=x.device).view(-1, 1) * (H * W)
    return cell.view(-1), fy.view(-1).to(x.dtype), fx.view(-1).to(x.dtype)


# ---- the kernels' self-tests -----------------------------------------------------------------------------------------


def _sample_conv_kernel(x: Tensor, points: Tensor, weight: Tensor, bias: Tensor | None, silu: bool) -> Tensor:
    return torch.ops.addmodules.sample_conv(x, points.float(), weight.reshape(weight.shape[:3]), bias, silu)


def _sample_conv_pytorch(x: Tensor, points: Tensor, weight: Tensor, bias: Tensor, silu: bool) -> Tensor:
    out = mix(_sample_points_pytorch(x, points), weight.unsqueeze(3), bias)
    return F.silu(out) if silu else out


def _point_cases() -> list[tuple[Tensor, Tensor]]:
    """Maps and three points per pixel: channels-last and not, one row, points on pixels, far outside and infinite."""
    points = wave(2, 6, 3, 4, step=1.3, scale=8.0)
    points[0, :, 0] = points[0, :, 0].round()
    points[1, 0, 0, 0], points[1, 3, 2, 1], points[1, 4, 1, 1] = float("inf"), float("-inf"), 1e4
    square = wave(2, 5, 6, 7)
    return [
        (square, points),
        (square.to(memory_format=torch.channels_last), points.flip(3)),
        (wave(1, 5, 1, 4), wave(1, 6, 1, 4, step=0.9, scale=3.0)),
    ]


def _sample_conv_cases() -> list[Case]:
    weight, bias = wave(9, 5, 3, step=1.1), wave(9, step=0.4)
    cases = [Case((x, points, weight, bias), (False,)) for x, points in _point_cases()]
    x, points = _point_cases()[0]
    return [*cases, Case((x, points, weight, bias), (True,), backward=False)]


register_operator(
    Operator(
        name="sample_points",
        inputs=("x", "points"),
        kernel=_sample_points_kernel,
        pytorch=_sample_points_pytorch,
        cases=lambda: [Case(tensors) for tensors in _point_cases()],
    )
)
register_operator(
    Operator(
        name="sample_conv",
        inputs=("x", "points", "weight", "bias"),
        kernel=_sample_conv_kernel,
        pytorch=_sample_conv_pytorch,
        cases=_sample_conv_cases,
    )
)
