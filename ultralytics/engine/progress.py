"""What a training run shows on the terminal: one line per epoch that is refreshed, and the summary at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from ultralytics.engine.protocols import Batch, TrainLoader
from ultralytics.utils import dist, shows_progress

REFRESH_SECONDS = 0.5
BAR_FORMAT = "{l_bar}{bar:10}{r_bar}"
COLUMN = 11  # characters


class EpochProgress:
    """Iterates over the batches of an epoch and shows a line that is refreshed now and then.

    Reading a loss waits for the device, so a line should only be made when it is `due`.
    """

    def __init__(self, loader: TrainLoader) -> None:
        self._last = len(loader) - 1
        self._shown = 0.0
        hidden = not shows_progress() or not dist.is_main_process()
        self._bar = tqdm(loader, disable=hidden, bar_format=BAR_FORMAT, mininterval=REFRESH_SECONDS)

    def __iter__(self) -> Iterator[tuple[int, Batch]]:
        return enumerate(self._bar)

    def due(self, i: int) -> bool:
        """Whether to show a line after batch `i`: the last one did not come a moment ago, or the epoch ends."""
        return time.time() - self._shown > REFRESH_SECONDS or i == self._last

    def show(self, text: str) -> None:
        """Show `text` before the bar."""
        self._shown = time.time()
        self._bar.set_description(text, refresh=False)

    def close(self) -> None:
        """Leave the line as it is."""
        self._bar.close()


def heading(loss_names: Sequence[str]) -> str:
    """Names of the columns of `line`."""
    return "".join(f"{name:>{COLUMN}}" for name in ("Epoch", "Memory", *loss_names, "Instances", "Size"))


def line(epoch: int, epochs: int, losses: Tensor, batch: Batch) -> str:
    """State of an epoch after a batch.

    Args:
        epoch: from 0.
        epochs: of the run.
        losses: (number of losses,), or a scalar for one loss: means of the epoch so far.
        batch: the batch, preprocessed or not.
    """
    device = losses.device
    memory = torch.cuda.memory_reserved(device) / 2**30 if device.type == "cuda" else 0
    columns = [f"{epoch + 1}/{epochs}", f"{memory:.2f}G", *(f"{float(x):.4g}" for x in losses.reshape(-1))]
    columns += [str(len(batch["cls"])), str(max(batch["img"].shape[2:]))]
    return "".join(f"{text:>{COLUMN}}" for text in columns)


def summary(epochs: int, seconds: float, metrics: Mapping[str, float], files: Mapping[str, Path]) -> str:
    """Lines for the end of a run: duration, metrics of the best weights, and the files that exist.

    Args:
        epochs: trained since the start.
        seconds: that took.
        metrics: by name.
        files: what a file holds -> its path; the best weights under "best weights".
    """
    duration = f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.1f} minutes"
    lines = [f"\n{epochs} epochs in {duration}. Results of the best weights:"]
    lines += [f"  {name.removeprefix('metrics/'):<16}{value:.4f}" for name, value in metrics.items()]
    lines += [f"  {content:<16}{path}" for content, path in files.items() if path.exists()]
    lines.append(f'Next: yolo predict model="{files["best weights"]}" source=YOUR_IMAGES')
    return "\n".join(lines)
