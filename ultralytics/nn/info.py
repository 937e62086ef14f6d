"""How big a network is: parameters, arithmetic, a table of its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ultralytics.nn.modules.block import DFL
from ultralytics.utils import LOGGER

MIN_STRIDE = 32  # the arithmetic is counted on an image of this side or of the largest stride, and scaled up


def get_num_params(model: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in model.parameters())


def get_num_gradients(model: nn.Module) -> int:
    """Number of parameters that are trained."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def get_flops(model: nn.Module, imgsz: int | list[int] | tuple[int, int] = 640) -> float:
    """Arithmetic of one image of size `imgsz` (side, or height and width), in GFLOPs.

    Counts what 8.3.0 counts: two operations a multiply-add of convolutions and linear layers, eight a value of batch
    normalisation, and adaptive pooling; not activations, other pooling, attention's products and sampling.
    A module with a method `multiply_adds(given, out) -> int`, which gets the shapes of its first input and its output,
    counts itself and all that is inside it: so do AKConv, ACmix and D-LKA, with their sampling and attention.
    """
    H, W = (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    side = max(int(max(getattr(model, "stride", torch.tensor([MIN_STRIDE])))), MIN_STRIDE)
    try:
        return 2e-9 * _multiply_adds(model, side, side) * (H / side) * (W / side)
    except (RuntimeError, ValueError):  # a module that needs a larger map, such as one with a window
        return 2e-9 * _multiply_adds(model, H, W)


def model_info(
    model: nn.Module, detailed: bool = False, verbose: bool = True, imgsz: int | list[int] | tuple[int, int] = 640
) -> tuple[int, int, int, float]:
    """Layers, parameters, trained parameters and GFLOPs; logged when `verbose`, with a line a tensor if `detailed`."""
    layers, params, gradients = len(list(model.modules())), get_num_params(model), get_num_gradients(model)
    gflops = get_flops(model, imgsz)
    if verbose:
        if detailed:
            LOGGER.info(layer_table(model))
        name = Path(str((getattr(model, "yaml", None) or {}).get("yaml_file") or "model")).stem.replace("yolo", "YOLO")
        fused = " (fused)" if getattr(model, "is_fused", bool)() else ""
        LOGGER.info(
            f"{name} summary{fused}: {layers:,} layers, {params:,} parameters, {gradients:,} gradients, "
            f"{gflops:.1f} GFLOPs"
        )
    return layers, params, gradients, gflops


def layer_table(model: nn.Module) -> str:
    """One line a parameter: number, name, whether it is trained, count, shape, mean, standard deviation."""
    lines = [f"{'layer':>5} {'name':<42} {'trained':>7} {'count':>11} {'shape':>20} {'mean':>10} {'std':>10}"]
    for i, (name, p) in enumerate(model.named_parameters()):
        values = p.detach().float()
        std = values.std(correction=0)  # a single value has 0, not NaN
        lines.append(
            f"{i:>5} {name.removeprefix('model.'):<42} {p.requires_grad!s:>7} {p.numel():>11,} "
            f"{list(p.shape)!s:>20} {values.mean():>10.3g} {std:>10.3g}"
        )
    return "\n".join(lines)


def _multiply_adds(model: nn.Module, H: int, W: int) -> float:
    first = next(model.parameters())
    image = torch.zeros(1, _input_channels(model), H, W, dtype=first.dtype, device=first.device)
    total = 0.0

    def add(count: Callable[[Any, Tensor, Tensor], float]) -> Callable[[nn.Module, tuple, Tensor], None]:
        def hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            nonlocal total
            total += count(module, inputs[0], output)

        return hook

    modes = {m: m.training for m in model.modules()}
    hooks = [m.register_forward_hook(add(rule)) for m, rule in _counted(model)]
    try:
        with torch.no_grad():
            model.eval()(image)
    finally:
        for hook in hooks:
            hook.remove()
        for m, training in modes.items():
            m.training = training
    return total


def _input_channels(model: nn.Module) -> int:
    first = next(model.parameters())
    return (getattr(model, "yaml", None) or {}).get("ch") or (first.shape[1] if first.ndim > 1 else 3)


def _counted(module: nn.Module) -> Iterator[tuple[nn.Module, Callable[[Any, Tensor, Tensor], float]]]:
    """Modules that are counted, once each, with their rule; what is inside one that counts itself is left out."""
    own = {m for m in module.modules() if callable(getattr(m, "multiply_adds", None))}
    inside = {part for m in own for part in m.modules() if part is not m}
    for m in module.modules():
        if m in inside:
            continue
        if m in own:
            yield m, _by_itself
        else:
            yield from ((m, rule) for kind, rule in _RULES if isinstance(m, kind))


def _by_itself(m: Any, x: Tensor, y: Tensor) -> float:
    return m.multiply_adds(tuple(x.shape), tuple(y.shape))


def _conv(m: nn.Conv2d, x: Tensor, y: Tensor) -> float:
    return y.numel() * m.weight[0].numel()


def _transposed(m: nn.ConvTranspose2d, x: Tensor, y: Tensor) -> float:
    return x.numel() * m.weight[0].numel()


_RULES: tuple[tuple[type, Callable[[Any, Tensor, Tensor], float]], ...] = (
    (nn.Conv2d, _conv),
    (nn.ConvTranspose2d, _transposed),
    (nn.BatchNorm2d, lambda m, x, y: 4 * y.numel()),
    (nn.Linear, lambda m, x, y: y.numel() * m.in_features),
    (nn.AdaptiveAvgPool2d, lambda m, x, y: x.numel() + y.numel()),
    (DFL, lambda m, x, y: y.numel() * m.c1),  # 8.3.0 computes it as a convolution
)
