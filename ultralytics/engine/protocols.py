"""Types that the training and validation loops share: settings, predictions, and what loaders must offer."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from ultralytics.data.batch import Batch
from ultralytics.utils import IterableSimpleNamespace

__all__ = ["Batch", "EvalLoader", "ImagePath", "Outputs", "Predictions", "Settings", "TrainDataset", "TrainLoader"]

Settings: TypeAlias = IterableSimpleNamespace
# what a network returns: a tensor, or nested lists, tuples and dicts of tensors, as its head makes them
Outputs: TypeAlias = Any
# what a task makes of them for a batch, such as one tensor of boxes per image
Predictions: TypeAlias = Any
ImagePath: TypeAlias = str | Path | list[str]  # folder, .txt list, or several of them


class EvalLoader(Protocol):
    """Batches of a split, each image once."""

    @property
    def dataset(self) -> Sized:
        """The images."""

    def __len__(self) -> int:
        """Batches per epoch."""

    def __iter__(self) -> Iterator[Batch]:
        """One pass over the split."""


class TrainDataset(Sized, Protocol):
    """Images for training."""

    def close_mosaic(self, hyp: Settings) -> None:
        """Stop combining several images into one sample."""


class TrainLoader(Protocol):
    """Batches for training, whose order depends on the epoch."""

    @property
    def dataset(self) -> TrainDataset:
        """The images."""

    def __len__(self) -> int:
        """Batches per epoch."""

    def __iter__(self) -> Iterator[Batch]:
        """One epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Continue with this epoch."""

    def reset(self) -> None:
        """Start new workers, which see the dataset as it is now."""
