"""Dataset folder, loader and settings of a classification run, as training and validation make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor

from ultralytics.cfg import default_cfg
from ultralytics.data.classify import ClassificationDataset, LabeledImage, check_cls_dataset
from ultralytics.data.loader import EpochLoader, build_dataloader, loading_processes
from ultralytics.engine.protocols import ImagePath, Settings
from ultralytics.tasks import get_task

ClassImages: TypeAlias = ImagePath | list[LabeledImage]  # images with their classes, or the folder of a split


def task_settings(cfg: Mapping[str, Any] | Settings | None) -> dict[str, Any]:
    """Settings for this task: an image size that is not set, or that of default.yaml, becomes the task's own."""
    settings = dict(cfg or {})
    if settings.get("imgsz") in (None, default_cfg().imgsz):
        settings["imgsz"] = get_task("classify").imgsz
    return settings | {"task": "classify"}


def load_dataset_folder(args: Settings, splits: Sequence[str], purpose: str) -> dict[str, Any]:
    """Description of the dataset in the folder `args.data`.

    Args:
        args: settings of the run.
        splits: the dataset must have one of these.
        purpose: what needs the data, for the error.

    Raises:
        ValueError: no folder is set, or there is no such split.
    """
    if not args.data:
        raise ValueError(f"{purpose} needs data: use data=FOLDER with the folders train/<class> and val/<class>")
    data = cast("dict[str, Any]", check_cls_dataset(args.data, args.seed))
    if not any(data.get(split) for split in splits):
        present = [split for split in ("train", "val", "test") if data.get(split)]
        raise ValueError(
            f"{data['path']}: {purpose} needs images in '{splits[0]}', but the dataset has only {', '.join(present)}; "
            f"add the folder {splits[0]}/<class>, or choose another split"
        )
    return data


def build_cls_dataset(args: Settings, images: ClassImages, *, train: bool, prefix: str) -> ClassificationDataset:
    """Dataset of one split.

    Args:
        args: settings of the run.
        images: of the split.
        train: with augmentation.
        prefix: goes before messages, such as "train: ".
    """
    root = cast("str | Path | list[LabeledImage]", images)  # the base class allows paths, which have no classes
    return ClassificationDataset(root, args, augment=train, prefix=prefix)


def make_loader(
    dataset: ClassificationDataset,
    args: Settings,
    device: torch.device,
    batch: int,
    *,
    shuffle: bool = False,
    rank: int = -1,
) -> EpochLoader:
    """Batches of a dataset.

    Args:
        dataset: the images of a split.
        args: settings of the run.
        device: where the network runs.
        batch: images per batch of this process.
        shuffle: another order in each epoch.
        rank: index of this process, which gets its share of the images; -1 for all of them.
    """
    workers = loading_processes(args.workers, device)
    return build_dataloader(dataset, batch, workers, shuffle=shuffle, rank=rank, seed=args.seed)


def images_for_network(images: Tensor, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """(B, 3, H, W) images that the transform has put into 0..1, on the device, channels last."""
    return images.to(device, dtype, non_blocking=True).contiguous(memory_format=torch.channels_last)
