"""Dataset file and dataset of a detection run, as training and validation make them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

from torch import Tensor

from ultralytics.data.dataset import YOLODataset
from ultralytics.data.dataset_config import check_det_dataset, label_schema
from ultralytics.engine.protocols import Batch, ImagePath, Settings
from ultralytics.tasks import get_task


class PlottedParts(TypedDict, total=False):
    """Arguments of `plot_images` for labels that are more than boxes."""

    masks: Tensor
    masks_overlap: bool
    keypoints: Tensor


def parts_to_plot(batch: Batch, overlap_mask: bool) -> PlottedParts:
    """Masks and keypoints of a batch, as far as its task has them.

    Args:
        batch: collated samples.
        overlap_mask: the setting that the masks were made with.
    """
    parts: PlottedParts = {}
    if "masks" in batch:
        parts["masks"], parts["masks_overlap"] = batch["masks"], overlap_mask
    if "keypoints" in batch:
        parts["keypoints"] = batch["keypoints"]
    return parts


def load_dataset_config(
    file: str | None, splits: Sequence[Sequence[str]], purpose: str, task: str = "detect"
) -> dict[str, Any]:
    """Description of the dataset in `file`.

    Args:
        file: the option `data`.
        splits: of each group of splits the file must have one.
        purpose: what needs the data, for the error.
        task: whose labels the dataset has.

    Raises:
        ValueError: no file is set, or a split is missing.
    """
    if not file:
        raise ValueError(f"{purpose} needs data: use data=coco128.yaml, or a dataset file of your own")
    labels = get_task(task).labels
    data: dict[str, Any] = check_det_dataset(file, splits=(), schema=labels)
    used = [next((split for split in group if data.get(split)), "") for group in splits]
    for group, split in zip(splits, used, strict=True):
        if not split:
            raise ValueError(
                f"{data['yaml_file']}: '{group[0]}' is missing; set it to the folder of the {group[0]} images, "
                "or choose another split"
            )
    return check_det_dataset(file, splits=used, schema=labels)  # these must exist, the others need not


def build_yolo_dataset(
    args: Settings, img_path: ImagePath, batch: int, data: dict[str, Any], *, train: bool, stride: int
) -> YOLODataset:
    """Dataset of one split.

    Args:
        args: settings of the run.
        img_path: images of the split.
        batch: images per batch; rectangular batches are groups of this size.
        data: description of the dataset.
        train: with augmentation; without it the images are letterboxed.
        stride: batch shapes are multiples of it, pixels.
    """
    return YOLODataset(
        img_path,
        data=data,
        imgsz=args.imgsz,
        batch_size=batch,
        augment=train,
        hyp=args,
        rect=bool(args.rect) if train else bool(args.rect) or args.mode == "train",
        stride=stride,
        pad=0.0 if train else 0.5,
        single_cls=bool(args.single_cls),
        classes=args.classes,
        fraction=args.fraction if train else 1.0,
        cache=args.cache,
        prefix="train: " if train else "val: ",
        schema=label_schema(get_task(args.task).labels, data),
    )
