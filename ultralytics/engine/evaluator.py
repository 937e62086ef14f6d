"""Evaluation of a network on a split: forward, postprocess, accumulate; the result holds every figure.

Training and `val()` use the same function. Printing, files and plots are made from the result, or per batch by hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ultralytics.engine.protocols import Batch, Outputs, Predictions
from ultralytics.utils.ops import Profile

STAGES = ("preprocess", "inference", "loss", "postprocess")


@dataclass(frozen=True)
class ClassResult:
    """Figures of one class.

    Attributes:
        index: of the class.
        name: of the class.
        images: images with at least one labeled instance of it.
        instances: labeled instances.
        metrics: values by name, as the means in `EvalResult.metrics`; empty for a class without labels.
    """

    index: int
    name: str
    images: int
    instances: int
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass
class EvalResult:
    """What evaluating a network on a split gave.

    Attributes:
        metrics: means over the classes by name, `fitness` among them where the task has one.
        per_class: figures of every class.
        speed: milliseconds per image by stage.
        losses: (number of losses,) mean per batch on the CPU, or None if they were not computed.
        images: images evaluated.
        instances: labeled instances in them.
        coco: the figures of COCO's own evaluation by name; empty without it.
    """

    metrics: dict[str, float]
    per_class: list[ClassResult]
    speed: dict[str, float]
    losses: Tensor | None
    images: int
    instances: int
    coco: dict[str, float] = field(default_factory=dict)

    @property
    def fitness(self) -> float | None:
        """The figure by which the best epoch is chosen, None where the task has none."""
        return self.metrics.get("fitness")


class EvalSteps(Protocol):
    """What a task gives to the evaluation: a validator."""

    def init_metrics(self, model: Any) -> None:
        """Reset all counters."""

    def preprocess(self, batch: Batch) -> Batch:
        """Move a batch to the device and scale its images to 0..1."""

    def postprocess(self, preds: Outputs) -> Predictions:
        """Outputs of the network -> predictions."""

    def update_metrics(self, preds: Predictions, batch: Batch) -> None:
        """Count one batch."""

    def get_stats(self) -> dict[str, float]:
        """Metrics of everything counted."""

    def class_results(self) -> list[ClassResult]:
        """The same per class; after `get_stats`."""


def _nothing(*_: object) -> None:
    """Default hook."""


@dataclass(frozen=True)
class EvalHooks:
    """Functions that the evaluation calls.

    Attributes:
        on_start: when the counters are empty.
        on_batch_start: with the index of a batch.
        on_batch_end: with the index of a batch, the batch and its predictions, after they were counted.
    """

    on_start: Callable[[], None] = _nothing
    on_batch_start: Callable[[int], None] = _nothing
    on_batch_end: Callable[[int, Batch, Predictions], None] = _nothing


def evaluate(
    model: nn.Module,
    loader: Iterable[Batch],
    steps: EvalSteps,
    *,
    device: torch.device,
    amp: bool = False,
    augment: bool = False,
    with_loss: bool = False,
    hooks: EvalHooks | None = None,
) -> EvalResult:
    """Run a network over a split.

    Args:
        model: in evaluation mode, on `device`; not changed.
        loader: batches, each image once.
        steps: the task's part; holds the counters, which are reset.
        device: where the model is, for timing.
        amp: forward pass in mixed precision (CUDA only).
        augment: test-time augmentation.
        with_loss: also compute the losses.
        hooks: called meanwhile.
    """
    hooks = hooks or EvalHooks()
    stages = {stage: Profile(device=device) for stage in STAGES}
    losses: Tensor | None = None
    batches = images = 0
    with torch.inference_mode():
        steps.init_metrics(model)
        hooks.on_start()
        for batches, batch in enumerate(loader, start=1):
            hooks.on_batch_start(batches - 1)
            with stages["preprocess"]:
                batch = steps.preprocess(batch)
            with stages["inference"], torch.autocast("cuda", enabled=amp):
                outputs = model(batch["img"], augment=augment)
            with stages["loss"]:
                losses = _add_loss(losses, model, batch, outputs) if with_loss else None
            with stages["postprocess"]:
                preds = steps.postprocess(outputs)
            steps.update_metrics(preds, batch)
            images += len(batch["img"])
            hooks.on_batch_end(batches - 1, batch, preds)
    metrics, per_class = steps.get_stats(), steps.class_results()
    speed = {stage: timer.t / max(images, 1) * 1e3 for stage, timer in stages.items()}
    mean = None if losses is None else (losses / batches).cpu()
    return EvalResult(metrics, per_class, speed, mean, images, sum(c.instances for c in per_class))


def _add_loss(losses: Tensor | None, model: Any, batch: Batch, outputs: Outputs) -> Tensor:
    items: Tensor = model.loss(batch, outputs)[1]
    return items if losses is None else losses + items


def speed_line(speed: Mapping[str, float], imgsz: int | Sequence[int]) -> str:
    """Text for the log: milliseconds per image of every stage of prediction."""
    stages = ", ".join(f"{ms:.1f} ms {stage}" for stage, ms in speed.items() if stage != "loss")
    return f"Speed per image at {imgsz} pixels: {stages}"
