"""The largest batch size of a training that fits into a GPU's memory, with the signatures of 8.3.0.

Memory grows linearly with the batch size: it is measured for small batches, and a line is fitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import nn

from ultralytics.utils import LOGGER
from ultralytics.utils.torch_helpers import autocast, profile

FRACTION = 0.6  # of the memory that training may use
_MEASURED = (1, 2, 4, 8, 16)  # batch sizes
_LARGEST = 1024


def check_train_batch_size(model: nn.Module, imgsz: int = 640, amp: bool = True, batch: float = -1) -> int:
    """Batch size of a training; arguments as of `autobatch`.

    Args:
        model: see there.
        imgsz: see there.
        amp: whether training uses mixed precision.
        batch: fraction of the memory to use in 0..1; -1 for the default.
    """
    with autocast(enabled=amp):
        return autobatch(deepcopy(model).train(), imgsz, fraction=batch if 0 < batch < 1 else FRACTION)


def autobatch(model: nn.Module, imgsz: int = 640, fraction: float = FRACTION, batch_size: int = 16) -> int:
    """The batch size that uses a fraction of the memory of the network's GPU.

    Args:
        model: network on the device of the training; its gradients are changed.
        imgsz: side of the images, pixels.
        fraction: of the device's memory, in 0..1.
        batch_size: the result on a CPU, and where measuring fails.
    """
    device = next(model.parameters()).device
    if device.type != "cuda":
        LOGGER.info(f"the batch size is measured on CUDA devices only; using batch={batch_size}")
        return batch_size
    total = torch.cuda.get_device_properties(device).total_memory / 1e9
    free = total - torch.cuda.memory_reserved(device) / 1e9
    images = [torch.empty(size, 3, imgsz, imgsz, device=device) for size in _MEASURED]
    results = profile(images, model, n=1, device=device)
    measured = [(size, one[2]) for size, one in zip(_MEASURED, results, strict=True) if one]
    size = fitting_batch_size([one[0] for one in measured], [one[1] for one in measured], free * fraction)
    if size is None:
        LOGGER.warning(f"the memory of a training step could not be measured; using batch={batch_size}")
        return batch_size
    LOGGER.info(f"batch={size} uses about {fraction:.0%} of the free memory of {device} ({free:.1f} of {total:.1f} GB)")
    return size


def fitting_batch_size(sizes: Sequence[int], memory: Sequence[float], limit: float) -> int | None:
    """The largest batch size whose memory is below a limit.

    Args:
        sizes: measured batch sizes.
        memory: of each size, GB.
        limit: GB.

    Returns:
        None if fewer than two sizes were measured or memory does not grow.
    """
    if len(sizes) < 2 or memory[-1] <= memory[0]:
        return None
    slope, start = np.polyfit(sizes, memory, 1).tolist()
    return max(1, min(int((limit - start) / slope), _LARGEST))
