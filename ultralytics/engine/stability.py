"""What can go wrong with numbers in training: a loss that is no number any more, half precision that is too coarse."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ultralytics.utils import LOGGER
from ultralytics.utils.torch_utils import kept_rng

AMP_TOLERANCE = 0.1  # relative difference of the training outputs in half and full precision


class TrainingError(RuntimeError):
    """Training cannot go on: what happened, where, and what to do."""


class FiniteGuard:
    """Stops a run whose loss is no longer a number, and names the batch.

    On the CPU a loss is looked at before it can touch the weights. On other devices it is looked at one batch later,
    so that nobody waits; the checkpoints of the last epoch are untouched either way.
    """

    def __init__(self, device: torch.device) -> None:
        self._lag = 0 if device.type == "cpu" else 1
        self._waiting: list[tuple[Tensor, str, tuple[str, ...]]] = []

    def add(self, loss: Tensor, where: str, files: tuple[str, ...]) -> None:
        """Take note of a batch's loss, what the batch is called, and its image files."""
        self._waiting.append((torch.isfinite(loss.detach()).all(), where, tuple(files)))

    def check(self, wait: bool = False) -> None:
        """Raise TrainingError if a loss noted so far is not finite; `wait` looks at the newest one too."""
        while len(self._waiting) > (0 if wait else self._lag):
            finite, where, files = self._waiting.pop(0)
            if not bool(finite):
                raise TrainingError(
                    f"The loss is not a number any more at {where}, with the images {', '.join(files)}. "
                    "The weights of the last full epoch are kept (last.pt, best.pt). Usual causes: a learning rate "
                    "that is too high (try a tenth of lr0), or broken images or labels in this batch; amp=False rules "
                    "out half precision."
                )


def amp_works(model: nn.Module, device: torch.device) -> bool:
    """Mixed precision is used where it is fast (CUDA) and gives nearly the same outputs on this very network."""
    if device.type != "cuda":
        return False
    with torch.no_grad(), kept_rng():
        images = torch.rand(2, 3, 64, 64, device=device).to(memory_format=torch.channels_last)
        state = {k: v.clone() for k, v in model.state_dict().items()}  # a pass in training mode moves statistics
        model.train()
        full = model(images)
        with torch.autocast("cuda"):
            half = model(images)
        model.load_state_dict(state)
    off = max(float((a - b.float()).norm() / (a.norm() + 1e-9)) for a, b in zip(full, half, strict=True))
    if not off < AMP_TOLERANCE:
        LOGGER.warning(f"Mixed precision is off: the network's outputs differ by {off:.1%} in half precision")
    return off < AMP_TOLERANCE
