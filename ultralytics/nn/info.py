"""Size of a network: parameters, arithmetic, a table of its tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ultralytics.nn.modules.block import DFL
from ultralytics.utils import LOGGER
from ultralytics.utils.torch_utils import max_stride


class TrainerLike(Protocol):
    """What `model_info_for_loggers` reads of a trainer."""

    model: nn.Module
    validator: object


Rule = Callable[[Any, Tensor, Tensor], float]  # (module, its first input, its output) -> multiply-adds

MIN_SIDE = 32  # arithmetic is counted on an image with this side or the largest stride, and scaled


def get_num_params(model: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in model.parameters())


def get_num_gradients(model: nn.Module) -> int:
    """Number of parameters that require gradients."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def get_flops(model: nn.Module, imgsz: int | list[int] | tuple[int, int] = 640) -> float:
    """Arithmetic for one image, in GFLOPs.

    The same operations as in 8.3.0 are counted: two per multiply-add of convolutions and linear layers, eight per value
    of batch normalization, and adaptive pooling; not activations, other pooling, products in attention and sampling.
    A module with a method `multiply_adds(input_shape, output_shape) -> int`, which gets the shapes of its first input
    and its output, counts for itself and its submodules: AKConv, ACmix and D-LKA include sampling and attention.

    Args:
        model: not changed.
        imgsz: side of the image, or (height, width), in pixels.
    """
    H, W = (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    side = max_stride(model, MIN_SIDE) if hasattr(model, "stride") else MIN_SIDE
    try:
        return 2e-9 * _count_multiply_adds(model, side, side) * (H / side) * (W / side)
    except (RuntimeError, ValueError):  # a module needs a larger map, such as one with a window
        return 2e-9 * _count_multiply_adds(model, H, W)


def model_info(
    model: nn.Module, detailed: bool = False, verbose: bool = True, imgsz: int | list[int] | tuple[int, int] = 640
) -> tuple[int, int, int, float]:
    """Layers, parameters, parameters with gradient and GFLOPs.

    Args:
        model: not changed.
        detailed: log one line per parameter tensor too.
        verbose: log a summary.
        imgsz: side of the image for which GFLOPs are counted, or (height, width).
    """
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


def model_info_for_loggers(trainer: TrainerLike) -> dict[str, float]:
    """Parameters, GFLOPs and, if the trainer's validator has measured it, milliseconds per image."""
    results = {"model/parameters": get_num_params(trainer.model), "model/GFLOPs": round(get_flops(trainer.model), 3)}
    speed = getattr(trainer.validator, "speed", None) or {}
    return results | ({"model/speed_PyTorch(ms)": round(speed["inference"], 3)} if "inference" in speed else {})


def layer_table(model: nn.Module) -> str:
    """One line per parameter: number, name, whether it is trained, count, shape, mean, standard deviation."""
    lines = [f"{'layer':>5} {'name':<42} {'trained':>7} {'count':>11} {'shape':>20} {'mean':>10} {'std':>10}"]
    for i, (name, p) in enumerate(model.named_parameters()):
        values = p.detach().float()
        std = values.std(correction=0)  # a single value has 0, not NaN
        lines.append(
            f"{i:>5} {name.removeprefix('model.'):<42} {p.requires_grad!s:>7} {p.numel():>11,} "
            f"{list(p.shape)!s:>20} {values.mean():>10.3g} {std:>10.3g}"
        )
    return "\n".join(lines)


def _count_multiply_adds(model: nn.Module, H: int, W: int) -> float:
    first = next(model.parameters())
    image = torch.zeros(1, _input_channels(model), H, W, dtype=first.dtype, device=first.device)
    total = 0.0

    def add(count: Rule) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
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


def _counted(module: nn.Module) -> Iterator[tuple[nn.Module, Rule]]:
    """Modules that are counted, once each, with their rule; submodules of one that counts for itself are left out."""
    with_own_rule = {m for m in module.modules() if callable(getattr(m, "multiply_adds", None))}
    inner = {child for m in with_own_rule for child in m.modules() if child is not m}
    for m in module.modules():
        if m in inner:
            continue
        if m in with_own_rule:
            yield m, _own_rule
        else:
            yield from ((m, rule) for cls, rule in _RULES if isinstance(m, cls))


def _own_rule(m: Any, x: Tensor, y: Tensor) -> float:
    return m.multiply_adds(tuple(x.shape), tuple(y.shape))


def _conv(m: nn.Conv2d, x: Tensor, y: Tensor) -> float:
    return y.numel() * m.weight[0].numel()


def _transposed(m: nn.ConvTranspose2d, x: Tensor, y: Tensor) -> float:
    return x.numel() * m.weight[0].numel()


_RULES: tuple[tuple[type, Rule], ...] = (
    (nn.Conv2d, _conv),
    (nn.ConvTranspose2d, _transposed),
    (nn.BatchNorm2d, lambda m, x, y: 4 * y.numel()),
    (nn.Linear, lambda m, x, y: y.numel() * m.in_features),
    (nn.AdaptiveAvgPool2d, lambda m, x, y: x.numel() + y.numel()),
    (DFL, lambda m, x, y: y.numel() * m.c1),  # 8.3.0 computes it as a convolution
)
