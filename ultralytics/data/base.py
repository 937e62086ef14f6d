"""What the loader needs of a dataset: samples made from a `SampleSpec`, which decides everything random in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
from torch.utils.data import Dataset

S = TypeVar("S", covariant=True)


class SampleSpec(NamedTuple):
    """What a sample is made of."""

    image_index: int  # in the dataset
    position: int  # in the epoch's order, by which images in memory are found again
    seed: int
    mix_indices: tuple[tuple[int, int], ...]  # (index, position) of the other images


class BaseDataset(Dataset[S]):
    """A dataset for `build_dataloader`.

    Attributes:
        augment: samples depend on the seed of their spec.
        rect: batches have shapes of their own, so that the order must be kept.
        collate_fn: makes a batch of a list of samples.
    """

    augment: bool
    collate_fn: Callable[..., Any]
    rect: bool = False

    def __len__(self) -> int:
        raise NotImplementedError

    @property
    def num_mix(self) -> int:
        """How many other images a training sample may need."""
        return 0

    def mix_indices(self, order: np.ndarray, position: int, shares: np.ndarray) -> tuple[tuple[int, int], ...]:
        """The other images of a sample.

        Args:
            order: indices of the images in the order of the epoch.
            position: of the sample in it.
            shares: (num_mix,) random numbers in 0..1, which are mapped to the images that the sample may use.

        Returns:
            num_mix times (index, position).
        """
        return ()


def option(options: object | None, key: str, default: float | str | bool | None = None) -> Any:
    """An option of a namespace or mapping; `default` if it has none, an error if there is no default either."""
    if options is None:
        return default
    values = options if isinstance(options, Mapping) else vars(options)
    return values[key] if default is None else values.get(key, default)
