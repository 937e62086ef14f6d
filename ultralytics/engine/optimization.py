"""The optimization of a run: warm-up, gradient accumulation, clipping, mixed precision and the averaged weights."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ultralytics.engine.optimizer import WarmUp, steps_of_run
from ultralytics.engine.protocols import Settings
from ultralytics.utils.torch_utils import ModelEMA

MAX_GRAD_NORM = 10.0


class Optimization:
    """Turns losses into weight updates.

    Args:
        model: the network that learns.
        optimizer: over its parameters; group 0 holds the biases.
        ema: average of the weights, updated after every optimizer step.
        warm_up: schedule of the first batches.
        lf: factor on the initial learning rates as a function of the epoch.
        accumulate: batches per optimizer step after the warm-up.
        amp: use mixed precision (CUDA only).

    Attributes:
        scaler: gradient scaler, disabled without `amp`.
        last_step: batches since the start of training at the last optimizer step, -1 before the first one.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        ema: ModelEMA,
        warm_up: WarmUp,
        lf: Callable[[float], float],
        accumulate: int,
        amp: bool = False,
    ) -> None:
        self.model, self.optimizer, self.ema = model, optimizer, ema
        self.warm_up, self.accumulate, self.amp = warm_up, accumulate, amp
        self.scaler = torch.amp.GradScaler("cuda", enabled=amp)
        self.last_step = -1
        self.lf = lf
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])

    def autocast(self) -> AbstractContextManager[None]:
        """Context for the forward pass: half precision where it is used."""
        return torch.autocast("cuda", enabled=self.amp)

    def start_epoch(self, epoch: int) -> None:
        """Set the learning rates of `epoch` (from 0)."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.lf(epoch)

    def start_batch(self, ni: int, epoch: int) -> None:
        """During the warm-up, set learning rates, momentum and accumulation for batch `ni` since the start."""
        if ni <= self.warm_up.steps:
            self.accumulate = self.warm_up.apply(self.optimizer, ni, self.lf(epoch))

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a scalar loss to those of earlier batches."""
        self.scaler.scale(loss).backward()

    def step_due(self, ni: int) -> bool:
        """Whether enough batches have been accumulated for an optimizer step after batch `ni`."""
        return ni - self.last_step >= self.accumulate

    def step(self, fire: Callable[[str], None]) -> None:
        """Clip the gradients, update the weights, clear the gradients, update the averaged weights.

        Args:
            fire: called with the names of the events `optimizer_step`, `on_before_zero_grad`, `on_params_update`.
        """
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), max_norm=MAX_GRAD_NORM)
        fire("optimizer_step")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        fire("on_before_zero_grad")
        self.optimizer.zero_grad()
        self.ema.update(self.model)
        fire("on_params_update")

    def learning_rates(self) -> dict[str, float]:
        """Present learning rate of each parameter group, named as in results.csv."""
        return {f"lr/pg{i}": group["lr"] for i, group in enumerate(self.optimizer.param_groups)}


@dataclass(frozen=True)
class StepPlan:
    """Settings of the optimization that follow from the length of a run.

    Attributes:
        images: of the training split.
        batches_per_epoch: of one process.
        batch_size: images per step, of all processes together.
        epochs: of the run.
    """

    images: int
    batches_per_epoch: int
    batch_size: int
    epochs: int

    def accumulate(self, args: Settings) -> int:
        """Batches per optimizer step after the warm-up."""
        return max(round(args.nbs / self.batch_size), 1)

    def weight_decay(self, args: Settings) -> float:
        """L2 weight decay, scaled to the images of an optimizer step."""
        decay: float = args.weight_decay * self.batch_size * self.accumulate(args) / args.nbs
        return decay

    def optimizer_steps(self, args: Settings) -> int:
        """Optimizer steps of the whole run."""
        return steps_of_run(self.images, self.batch_size, args.nbs, self.epochs)

    def warm_up(self, args: Settings) -> WarmUp:
        """Schedule of the first batches; `optimizer=auto` starts the rates of the biases at 0."""
        return WarmUp(
            steps=WarmUp.length(args.warmup_epochs, self.batches_per_epoch),
            bias_lr=0.0 if args.optimizer.lower() == "auto" else args.warmup_bias_lr,
            momentum=args.warmup_momentum,
            final_momentum=args.momentum,
            accumulate=args.nbs / self.batch_size,
        )
