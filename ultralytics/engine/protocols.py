"""Types that the training and validation loops share: a batch, and what a loader and a dataset must offer."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypedDict

from torch import Tensor

from ultralytics.utils import IterableSimpleNamespace

Settings: TypeAlias = IterableSimpleNamespace
# what a network returns: a tensor, or nested lists, tuples and dicts of tensors, as its head makes them
Outputs: TypeAlias = Any
# what a task makes of them for a batch, such as one tensor of boxes per image
Predictions: TypeAlias = Any
RatioPad: TypeAlias = tuple[tuple[float, float], tuple[float, float]]  # (ratio h, ratio w), (left, top) of a letterbox
ImagePath: TypeAlias = str | Path | list[str]  # folder, .txt list, or several of them


class Batch(TypedDict, total=False):
    """Collated samples of one step. B images, N instances.

    Attributes:
        img: (B, C, H, W); uint8 from the loader, float in 0..1 after preprocessing.
        cls: (N, 1) float32 class indices.
        bboxes: (N, 4) float32 center x, center y, width, height as fractions of the image.
        batch_idx: (N,) float32 index of the image that an instance belongs to.
        im_file: B file paths.
        ori_shape: B (height, width) of the image files, pixels.
        resized_shape: B (height, width) before padding, pixels.
        ratio_pad: in validation B times `RatioPad`.
    """

    img: Tensor
    cls: Tensor
    bboxes: Tensor
    batch_idx: Tensor
    im_file: tuple[str, ...]
    ori_shape: list[tuple[int, int]]
    resized_shape: list[tuple[int, int]]
    ratio_pad: list[RatioPad]


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
