"""Optimizer of a run: parameter groups, the `auto` rule, learning-rate curve and warm-up."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from ultralytics.cfg import option
from ultralytics.engine.protocols import Settings
from ultralytics.utils import LOGGER
from ultralytics.utils.torch_utils import one_cycle

AUTO_LONG_RUN = 10_000  # optimizer steps above which `auto` prefers SGD over AdamW
MIN_WARMUP_STEPS = 100
_ADAMS = {name.lower(): name for name in ("Adam", "Adamax", "AdamW", "NAdam", "RAdam")}
OPTIMIZERS = ("SGD", "RMSprop", *_ADAMS.values())  # classes that `build_optimizer` makes
_FUSED = ("SGD", "Adam", "AdamW")  # have one kernel for all tensors, on CPU and CUDA
_NORMS: tuple[type[nn.Module], ...] = tuple(
    cls for name, cls in vars(nn).items() if isinstance(cls, type) and "Norm" in name
)


def parameter_groups(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """Parameters as (biases, weights that decay, weights of normalization layers), in the order of the modules."""
    biases: list[nn.Parameter] = []
    weights: list[nn.Parameter] = []
    norms: list[nn.Parameter] = []
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            full = f"{prefix}.{name}" if prefix else name
            group = biases if "bias" in full else norms if isinstance(module, _NORMS) else weights
            group.append(parameter)
    return biases, weights, norms


def freeze_layers(model: nn.Module, freeze: int | list[int] | None) -> list[nn.Module]:
    """Exclude the first `freeze` layers, or the layers of that list, from training; include all others.

    Returns:
        The normalization layers in them, whose statistics must not change either: they stay in evaluation mode.

    Raises:
        ValueError: a layer does not exist, or nothing is left to train.
    """
    count = len(model.get_submodule("model")._modules)
    layers = freeze if isinstance(freeze, list) else list(range(min(freeze or 0, count)))
    stems = tuple(f"model.{i}." for i in layers)
    if missing := [i for i in layers if i >= count]:
        raise ValueError(f"freeze={freeze}: the network has the layers 0 to {count - 1}, not {missing[0]}")
    for name, parameter in model.named_parameters():
        frozen = name.startswith(stems) or ".dfl" in name  # the bins of the box distribution are constants
        parameter.requires_grad_(not frozen)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(
            f"freeze={freeze} freezes all {count} layers, and nothing is left to train; "
            f"freeze={count - 1} trains the head only"
        )
    if stems:
        LOGGER.info(f"Layers {', '.join(map(str, layers))} are frozen: their weights do not change")
    norms = [(f"{name}.", m) for name, m in model.named_modules() if isinstance(m, _NORMS)]
    return [m for name, m in norms if name.startswith(stems)]


def auto_choice(num_classes: int, steps: float) -> tuple[str, float, float]:
    """Optimizer, learning rate and momentum that `optimizer=auto` uses for a run of `steps` optimizer steps."""
    if steps > AUTO_LONG_RUN:
        return "SGD", 0.01, 0.9
    return "AdamW", round(0.002 * 5 / (4 + num_classes), 6), 0.9


def warn_unused_by_auto(args: Settings) -> None:
    """Warn about settings that were changed and that `optimizer=auto` replaces by its own."""
    changed = [key for key in ("lr0", "momentum", "warmup_bias_lr") if args.get(key) != option(key).default]
    if changed and args.optimizer.lower() == "auto":
        values = ", ".join(f"{key}={args.get(key)}" for key in changed)
        LOGGER.warning(
            f"{values} has no effect: optimizer=auto chooses optimizer, learning rate and momentum. "
            "Name an optimizer to use it, such as optimizer=SGD"
        )


def build_optimizer(model: nn.Module, name: str, lr: float, momentum: float, decay: float) -> Optimizer:
    """Optimizer over the three groups of `parameter_groups`; only the second one decays.

    Args:
        model: its frozen parameters are included, but get no gradient.
        name: SGD, Adam, Adamax, AdamW, NAdam, RAdam or RMSProp, upper or lower case.
        lr: initial learning rate.
        momentum: momentum, or the first beta of the Adam family.
        decay: L2 weight decay of the second group.

    Raises:
        ValueError: another name.
    """
    biases, weights, norms = parameter_groups(model)
    key = name.lower()
    groups = [
        {"params": biases, "weight_decay": 0.0},
        {"params": weights, "weight_decay": decay},
        {"params": norms, "weight_decay": 0.0},
    ]
    device = biases[0].device.type if biases else "cpu"
    fused = {"fused": True} if device in ("cpu", "cuda") else {}
    optimizer: Optimizer
    if key in _ADAMS:
        extra = fused if _ADAMS[key] in _FUSED else {}
        optimizer = getattr(torch.optim, _ADAMS[key])(groups, lr=lr, betas=(momentum, 0.999), **extra)
    elif key == "rmsprop":
        optimizer = torch.optim.RMSprop(groups, lr=lr, momentum=momentum)
    elif key == "sgd":
        optimizer = torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0, **fused)
    else:
        raise ValueError(f"optimizer={name} is unknown; use auto, SGD, RMSProp or one of {', '.join(_ADAMS.values())}")
    LOGGER.info(
        f"Optimizer {type(optimizer).__name__}(lr={lr:g}, momentum={momentum:g}): {len(weights)} weights with decay "
        f"{decay:g}, {len(norms)} of normalization layers and {len(biases)} biases without"
    )
    return optimizer


def lr_curve(epochs: int, lrf: float, cosine: bool) -> Callable[[float], float]:
    """Factor on the initial learning rate as a function of the epoch, from 1 down to `lrf`."""
    if cosine:
        return one_cycle(1.0, lrf, epochs)
    return lambda epoch: max(1 - epoch / epochs, 0) * (1.0 - lrf) + lrf


@dataclass
class WarmUp:
    """The first batches: learning rates rise from 0 (biases: fall from `bias_lr`), momentum and accumulation rise.

    Attributes:
        steps: number of batches, at least 100; -1 without warm-up.
        bias_lr, momentum: initial learning rate of the biases, and initial momentum.
        final_momentum: momentum at the end.
        accumulate: batches per optimizer step after the warm-up.
    """

    steps: int
    bias_lr: float
    momentum: float
    final_momentum: float
    accumulate: float

    @classmethod
    def length(cls, epochs: float, batches_per_epoch: int) -> int:
        """Number of batches of a warm-up of `epochs` epochs."""
        return max(round(epochs * batches_per_epoch), MIN_WARMUP_STEPS) if epochs > 0 else -1

    def apply(self, optimizer: Optimizer, step: int, factor: float) -> int:
        """Set learning rates and momentum for batch `step`; returns the present batches per optimizer step.

        Args:
            optimizer: its groups are changed; group 0 holds the biases.
            step: batches since the start of training, at most `steps`.
            factor: the learning-rate curve at the present epoch.
        """
        share = [0, self.steps]
        for index, group in enumerate(optimizer.param_groups):
            start = self.bias_lr if index == 0 else 0.0
            group["lr"] = float(np.interp(step, share, [start, group["initial_lr"] * factor]))
            if "momentum" in group:
                group["momentum"] = float(np.interp(step, share, [self.momentum, self.final_momentum]))
        return max(1, round(float(np.interp(step, share, [1, self.accumulate]))))


def steps_of_run(num_images: int, batch: int, nbs: int, epochs: int) -> int:
    """Optimizer steps of a whole run, by which `auto` decides."""
    return math.ceil(num_images / max(batch, nbs)) * epochs
