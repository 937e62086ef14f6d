"""Numerical stability of training: a loss that is NaN or Inf, half precision that is too coarse, tiny batches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ultralytics.utils import LOGGER
from ultralytics.utils.torch_utils import kept_rng

AMP_TOLERANCE = 0.1  # relative difference of the training outputs in half and full precision


class TrainingError(RuntimeError):
    """Training cannot continue: what happened, where, and what to do."""


class FiniteGuard:
    """Stops a run whose loss is NaN or Inf, and names the batch.

    On the CPU a loss is checked before it can change the weights. On other devices it is checked one batch later, so
    that nothing waits for the device; the checkpoints of the last epoch are unaffected either way.
    """

    def __init__(self, device: torch.device) -> None:
        self._lag = 0 if device.type == "cpu" else 1
        self._waiting: list[tuple[Tensor, str, tuple[str, ...]]] = []

    def add(self, loss: Tensor, batch_name: str, files: Sequence[str]) -> None:
        """Note the loss of a batch, the name of the batch, and its image files."""
        self._waiting.append((torch.isfinite(loss.detach()).all(), batch_name, tuple(files)))

    def check(self, wait: bool = False) -> None:
        """Raise TrainingError if a loss noted so far is not finite; `wait` also checks the newest one."""
        while len(self._waiting) > (0 if wait else self._lag):
            finite, batch_name, files = self._waiting.pop(0)
            if not bool(finite):
                raise TrainingError(
                    f"loss is NaN or Inf at {batch_name}, with the images {', '.join(files)}. "
                    "The weights of the last full epoch are kept (last.pt, best.pt). Usual causes: a learning rate "
                    "that is too high (try a tenth of lr0), or broken images or labels in this batch; amp=False rules "
                    "out half precision."
                )


def amp_works(model: nn.Module, device: torch.device) -> bool:
    """Whether mixed precision is fast (CUDA) and gives nearly the same outputs for this very network."""
    if device.type != "cuda":
        return False
    with torch.no_grad(), kept_rng():
        images = torch.rand(2, 3, 64, 64, device=device).to(memory_format=torch.channels_last)
        state = {k: v.clone() for k, v in model.state_dict().items()}  # a training pass changes running statistics
        model.train()
        full = _outputs(model(images))
        with torch.autocast("cuda"):
            half = _outputs(model(images))
        model.load_state_dict(state)
    difference = max(float((a - b.float()).norm() / (a.norm() + 1e-9)) for a, b in zip(full, half, strict=True))
    if not difference < AMP_TOLERANCE:
        LOGGER.warning(f"Mixed precision is off: the network's outputs differ by {difference:.1%} in half precision")
    return difference < AMP_TOLERANCE


def _outputs(value: object) -> list[Tensor]:
    """The tensors of an output: one, or nested lists, tuples and dicts of them, as the heads of the tasks return."""
    if isinstance(value, Tensor):
        return [value.float()]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for item in items for tensor in _outputs(item)]


def check_batch_norm(images: int, batch_size: int, imgsz: int, stride: int) -> None:
    """Refuse batches that batch normalization cannot be trained on.

    Args:
        images: of the training split.
        batch_size: images per step.
        imgsz: side of the images, pixels.
        stride: largest stride of the network, pixels.

    Raises:
        ValueError: some batch has one image, and the smallest map of the network one cell.
    """
    if imgsz <= stride and 1 in (images, batch_size, images % batch_size):
        raise ValueError(
            f"BatchNorm needs more than one value per channel: at imgsz={imgsz} a batch of one image has only one, and "
            f"{images} images with batch={batch_size} give such a batch; use imgsz={2 * imgsz} or another batch"
        )
