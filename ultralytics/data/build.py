"""The official path of datasets, loaders and sources of prediction, with the signatures of 8.3.0."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from ultralytics.data.dataset import YOLODataset
from ultralytics.data.dataset_config import label_schema
from ultralytics.data.images import IMG_FORMATS
from ultralytics.data.loader import build_dataloader
from ultralytics.data.loaders import InferenceLoader, SourceTypes, load_inference_source
from ultralytics.data.source_entries import VIDEO_FORMATS as VID_FORMATS
from ultralytics.tasks import get_task
from ultralytics.utils import IterableSimpleNamespace

__all__ = [
    "IMG_FORMATS",
    "VID_FORMATS",
    "InferenceLoader",
    "InfiniteDataLoader",
    "SourceTypes",
    "build_dataloader",
    "build_yolo_dataset",
    "load_inference_source",
    "seed_worker",
]


def build_yolo_dataset(
    cfg: IterableSimpleNamespace,
    img_path: str | Path | Sequence[str],
    batch: int,
    data: Mapping[str, Any],
    mode: str = "train",
    rect: bool = False,
    stride: int = 32,
    multi_modal: bool = False,
) -> YOLODataset:
    """Dataset of one split.

    Args:
        cfg: settings of the run.
        img_path: images of the split.
        batch: images per batch; rectangular batches are groups of this size.
        data: description of the dataset, see `check_det_dataset`.
        mode: "train" augments; other modes letterbox the images.
        rect: rectangular batches, also without `cfg.rect`.
        stride: batch shapes are multiples of it, pixels.
        multi_modal: images with texts; not part of this version.

    Raises:
        ValueError: `multi_modal` is set.
    """
    if multi_modal:
        raise ValueError("multi_modal=True: datasets of images with texts are not part of this version")
    train = mode == "train"
    return YOLODataset(
        img_path,
        data=data,
        imgsz=cfg.imgsz,
        batch_size=batch,
        augment=train,
        hyp=cfg,
        rect=bool(cfg.rect) or rect,
        stride=int(stride),
        pad=0.0 if train else 0.5,
        single_cls=bool(cfg.single_cls),
        classes=cfg.classes,
        fraction=cfg.fraction if train else 1.0,
        cache=cfg.cache,
        prefix="train: " if train else "val: ",
        schema=label_schema(get_task(cfg.task).labels, data),
    )


class InfiniteDataLoader(DataLoader[Any]):
    """torch's DataLoader whose workers persist from one epoch to the next; arguments as of DataLoader.

    Training uses `EpochLoader` instead; see loader.py.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._batches: Iterator[Any] | None = None

    def __iter__(self) -> Any:
        for _ in range(len(self)):
            if self._batches is None:
                self._batches = self._forever()
            yield next(self._batches)

    def reset(self) -> None:
        """Start new workers, which see the dataset as it is then."""
        self._batches = None

    def _forever(self) -> Iterator[Any]:
        while True:
            yield from super().__iter__()


def seed_worker(worker_id: int) -> None:
    """Seed the global generators of NumPy and Python in a worker process of torch's DataLoader."""
    seed = torch.initial_seed() % 2**32
    np.random.seed(seed)
    random.seed(seed)
