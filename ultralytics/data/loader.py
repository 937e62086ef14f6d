"""Batches for training and validation: in an order set by seed and epoch, made by persistent worker processes.

What is in a batch does not depend on the number of workers: each sample is made from a `SampleSpec` (data/base.py).
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from ultralytics.data.base import BaseDataset, SampleSpec
from ultralytics.utils import dist


def build_dataloader(
    dataset: BaseDataset[Any], batch: int, workers: int, shuffle: bool = True, rank: int = -1, seed: int = 0
) -> EpochLoader:
    """A loader whose every iteration is the next epoch.

    Args:
        dataset: what to load; in rect mode its order is kept.
        batch: images per batch; at most the whole dataset. The last batch of an epoch may be smaller.
        workers: processes, at most one per CPU core and batch; 0 loads in this process.
        shuffle: another order in each epoch.
        rank: of this process in a distributed run, which then gets its share of the images; -1 outside.
        seed: decides the orders and all augmentation.
    """
    return EpochLoader(dataset, batch, workers, shuffle=shuffle, rank=rank, seed=seed)


def loading_processes(workers: int, device: torch.device) -> int:
    """Processes that load images for a network on `device`: none on a CPU, whose cores the network keeps busy.

    Measured on two cores, an epoch of the sample took 19 s with none, 22 s with one and 21 s with two.
    """
    return 0 if device.type == "cpu" else workers


class EpochOrder:
    """Which images an epoch consists of, in which order, for one process of a distributed run."""

    def __init__(self, n: int, *, shuffle: bool, seed: int, rank: int = -1, world: int = 1) -> None:
        self.n, self.shuffle, self.seed = n, shuffle, seed
        self.rank, self.world = max(rank, 0), world if rank >= 0 else 1

    def __len__(self) -> int:
        return -(-self.n // self.world)

    def __call__(self, epoch: int) -> np.ndarray:
        """(len,) indices; the processes' shares are of equal length, for which the first images may occur twice."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self.n) if self.shuffle else np.arange(self.n)
        return np.resize(order, len(self) * self.world)[self.rank :: self.world]


class SampleSpecSampler(Sampler[list[SampleSpec]]):
    """Batches of sample specs, epoch after epoch without end; `set_epoch` says where to begin."""

    def __init__(self, dataset: BaseDataset[Any], batch: int, order: EpochOrder) -> None:
        self.dataset, self.batch, self.order = dataset, batch, order
        self.epoch = 0

    def __len__(self) -> int:
        """Batches per epoch."""
        return -(-len(self.order) // self.batch)

    def set_epoch(self, epoch: int) -> None:
        """The epoch with which the next iterator begins."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[SampleSpec]]:
        epoch = self.epoch
        while True:
            order = self.order(epoch)
            for number in range(len(self)):
                yield self._batch(order, epoch, number)
            epoch += 1

    def _batch(self, order: np.ndarray, epoch: int, number: int) -> list[SampleSpec]:
        positions = range(number * self.batch, min((number + 1) * self.batch, len(order)))
        if not self.dataset.augment:
            return [SampleSpec(int(order[p]), p, 0, ()) for p in positions]
        rng = np.random.default_rng([self.order.seed, epoch, self.order.rank, number])
        seeds = rng.integers(0, 1 << 62, len(positions)).tolist()
        draws = rng.random((len(positions), self.dataset.num_mix))
        specs = []
        for p, sample_seed, row in zip(positions, seeds, draws, strict=True):
            specs.append(SampleSpec(int(order[p]), p, sample_seed, self.dataset.mix_indices(order, p, row)))
        return specs


class EpochLoader:
    """Iterates once over the data per `for` loop; the workers persist and prepare the next epoch meanwhile."""

    def __init__(
        self, dataset: BaseDataset[Any], batch: int, workers: int, *, shuffle: bool, rank: int, seed: int
    ) -> None:
        self.dataset = dataset
        self.batch_size = min(batch, len(dataset))
        if dataset.rect and (shuffle or rank >= 0):
            raise ValueError(
                "a dataset with rect=True keeps its order: use shuffle=False and a single process, or rect=False"
            )
        order = EpochOrder(len(dataset), shuffle=shuffle, seed=seed, rank=rank, world=_world_size())
        self.sampler = SampleSpecSampler(dataset, self.batch_size, order)
        self.num_workers = max(0, min(workers, os.cpu_count() or 1, len(self.sampler)))
        self.epoch = 0  # of the next iteration
        self._batches: Iterator[Any] | None = None
        self._taken = 0  # batches of that epoch that were already used

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Any]:
        if self._taken:  # the last loop was left early
            self.epoch += 1
            self.reset()
        if self._batches is None:
            self._batches = self._start()
        for _ in range(len(self)):
            batch = next(self._batches)
            self._taken += 1
            if self._taken == len(self):
                self._taken, self.epoch = 0, self.epoch + 1
            yield batch

    def set_epoch(self, epoch: int) -> None:
        """Continue with this epoch; needed once when a run is resumed, not by one that counts from 0."""
        if epoch != self.epoch or self._taken:
            self.epoch = epoch
            self.reset()

    def reset(self) -> None:
        """Stop the workers; the next iteration starts new ones, which see the dataset as it is then."""
        self._batches = None  # the last reference: torch ends the processes
        self._taken = 0

    def _start(self) -> Iterator[Any]:
        self.sampler.set_epoch(self.epoch)
        parallel: dict[str, Any] = {}
        if self.num_workers:
            # forked workers share the store of decoded images; elsewhere each has its own
            context = "fork" if sys.platform == "linux" else "spawn"
            parallel = {"multiprocessing_context": multiprocessing.get_context(context), "prefetch_factor": 2}
        loader = DataLoader(
            self.dataset,
            batch_sampler=self.sampler,
            num_workers=self.num_workers,
            collate_fn=self.dataset.collate_fn,
            worker_init_fn=_init_worker,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # torch's own seeding of the workers leaves the global generator alone
            **parallel,
        )
        return iter(loader)


def _init_worker(number: int) -> None:
    """A worker uses one core, leaves Ctrl-C to its parent (and ends with it), and seeds the global generators for
    datasets that use them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    seed = torch.initial_seed() % 2**32
    random.seed(seed)
    np.random.seed(seed)


def _world_size() -> int:
    return torch.distributed.get_world_size() if dist.is_initialized() else dist.world_size()
