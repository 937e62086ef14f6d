"""Classification datasets: a folder for each class, mapped to class indices by name in every split.

    root/train/<class>/*.jpg, root/val/<class>/*.jpg (or validation), optionally root/test/<class>/*.jpg
    root/<class>/*.jpg            one folder, divided into train and val by a seed

The classes are the subfolders of `train`, sorted by name. A split may lack some of them; it must not have others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import default_collate

from ultralytics.cfg import find_data_folder
from ultralytics.data.base import BaseDataset, SampleSpec, option
from ultralytics.data.classify_transforms import ImageTransform, classify_augmentations, classify_transforms
from ultralytics.data.dataset_config import DatasetError, DatasetNotFoundError
from ultralytics.data.images import IMG_FORMATS, imread
from ultralytics.data.label_table import CORRUPT, LabelTable
from ultralytics.data.labels import log_notes, scan_labels
from ultralytics.tasks import LabelSchema
from ultralytics.utils import LOGGER

VAL_SHARE = 0.2  # of the images of each class, when one folder is divided
_SPLIT_FOLDERS = {"train": ("train",), "val": ("val", "validation"), "test": ("test",)}


class LabeledImage(NamedTuple):
    """An image file and its class index."""

    path: str
    cls: int


class ClassifyData(TypedDict):
    """A checked classification dataset; `train`, `val` and `test` are its images, None for a split it does not have."""

    path: Path
    names: dict[int, str]
    nc: int
    train: list[LabeledImage] | None
    val: list[LabeledImage] | None
    test: list[LabeledImage] | None


class ClassifySample(TypedDict):
    """img: (3, H, W) float32 RGB in 0..1; cls: class index; im_file: path."""

    img: Tensor
    cls: int
    im_file: str


class ClassifyBatch(TypedDict):
    """img: (B, 3, H, W) float32; cls: (B,) int64; im_file: B paths."""

    img: Tensor
    cls: Tensor
    im_file: list[str]


def check_cls_dataset(dataset: str | Path, seed: int = 0) -> ClassifyData:
    """Find the classes and images of a classification dataset.

    Args:
        dataset: root folder, see the top of this file; also relative to `datasets_dir` of the settings.
        seed: decides how a dataset without `train` and `val` folders is divided.

    Raises:
        DatasetNotFoundError: there is no such folder, or no `train` folder beside another split.
        DatasetError: there is no class, no training image, or a split has a class that `train` does not have.
    """
    root = find_data_folder(dataset)
    if root.suffix in (".yaml", ".yml"):
        raise DatasetError(f"{root}: classification takes a folder with a subfolder for each class, not a YAML file")
    if not root.is_dir():
        raise DatasetNotFoundError(f"there is no folder '{root}'; give the folder that holds train/<class> folders")
    folders = {split: _first_folder(root, names) for split, names in _SPLIT_FOLDERS.items()}
    if not any(folders.values()):
        return _divided(root, seed)
    if folders["train"] is None:
        raise DatasetNotFoundError(f"{root}: there is no folder 'train' with a subfolder for each class")
    names = _class_names(folders["train"])
    splits = {split: None if folder is None else find_class_images(folder, names) for split, folder in folders.items()}
    _check_train(splits["train"] or [], names, folders["train"])
    return {"path": root, "names": names, "nc": len(names),
            "train": splits["train"], "val": splits["val"], "test": splits["test"]}  # fmt: skip


def find_class_images(folder: Path, names: Mapping[int, str]) -> list[LabeledImage]:
    """The images of a split, by class and then by path.

    Raises:
        DatasetError: a subfolder is not one of the classes.
    """
    index = {name: i for i, name in names.items()}
    unknown = [name for name in _class_names(folder).values() if name not in index]
    if unknown:
        raise DatasetError(
            f"{folder}: '{unknown[0]}' is not a class of the training images ({_listed(list(index))}). Rename the "
            "folder, or add it to train."
        )
    missing = [name for name in index if not (folder / name).is_dir()]
    if missing:
        LOGGER.warning("%s: no folder for %s; the other classes keep their indices", folder, _listed(missing))
    images = []
    for i, name in names.items():
        files = sorted(str(path) for path in (folder / name).rglob("*") if path.suffix[1:].lower() in IMG_FORMATS)
        images += [LabeledImage(file, i) for file in files]
        if not files and name not in missing:
            LOGGER.warning("%s: there is no image in it", folder / name)
    return images


class ClassificationDataset(BaseDataset[ClassifySample]):
    """Images with one class each, for training (`augment=True`) or validation.

    Attributes:
        samples: the usable images, in the order of the indices.
        table: what is known about them; the instance of an image is its class, with a box around all of it.
        transform: from an RGB PIL image to a tensor; see data/classify_transforms.py.
    """

    def __init__(
        self, root: str | Path | Sequence[LabeledImage], args: object, augment: bool = False, prefix: str = ""
    ) -> None:
        """Check the images.

        Args:
            root: images with their classes, or a folder with a subfolder for each class.
            args: options `imgsz`, `fraction`, `crop_fraction`, `letterbox`, and those of the augmentation.
            augment: transform for training, and use only the share `fraction` of the images of each class.
            prefix: goes before messages, such as "train: ".

        Raises:
            DatasetError: no image is usable.
        """
        if isinstance(root, (str, Path)):
            root = find_class_images(Path(root), _class_names(Path(root)))
        fraction = float(option(args, "fraction", 1.0)) if augment else 1.0
        images = _first_of_each_class(root, fraction)
        if not augment:
            images = _alternating(images)
        if not images:
            raise DatasetError(f"{prefix}there is no image in the dataset")
        self.augment, self.prefix = augment, prefix
        self.samples, self.table = self._usable(images)
        self.transform: ImageTransform = _train_transform(args) if augment else _val_transform(args)
        if option(args, "cache", False):
            LOGGER.warning("%scache has no effect on classification: images are cropped from the files", prefix)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, item: int | SampleSpec) -> ClassifySample:
        """One sample; with a `SampleSpec` its seed decides the augmentation, else torch's global generator."""
        index = item.image_index if isinstance(item, SampleSpec) else int(item)
        path, cls = self.samples[index]
        image = self._read(path)
        if not (isinstance(item, SampleSpec) and self.augment):
            return {"img": self.transform(image), "cls": cls, "im_file": path}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(item.seed)
            return {"img": self.transform(image), "cls": cls, "im_file": path}

    @staticmethod
    def collate_fn(samples: Sequence[ClassifySample]) -> ClassifyBatch:
        """Samples as a batch."""
        return default_collate(list(samples))

    def _read(self, path: str) -> Image.Image:
        """RGB image; gray and alpha channels are converted as in detection. Gray if it can no longer be decoded."""
        try:
            image = imread(path)
        except OSError:
            image = None
        if image is None:
            LOGGER.warning("%s%s: the image can no longer be decoded; gray is used instead", self.prefix, path)
            image = np.full((32, 32, 3), 114, np.uint8)
        return Image.fromarray(np.ascontiguousarray(image[..., ::-1]))

    def _usable(self, images: Sequence[LabeledImage]) -> tuple[list[LabeledImage], LabelTable]:
        table = scan_labels([image.path for image in images], 1, self.prefix, LabelSchema("class"))[0]
        bad = table.status == CORRUPT
        counts = np.bincount([image.cls for image, b in zip(images, bad, strict=True) if not b])
        LOGGER.info("%s%d images in %d classes, %d corrupt and left out", self.prefix, (~bad).sum(),
                    np.count_nonzero(counts), bad.sum())  # fmt: skip
        log_notes(table)
        if bad.all():
            raise DatasetError(f"{self.prefix}none of the {len(images)} images is usable; the reasons are listed above")
        usable = [image for image, b in zip(images, bad, strict=True) if not b]
        return usable, _with_classes(table.take(np.flatnonzero(~bad)), [image.cls for image in usable])


# ---------------------------------------------------------------------------------------------------------------- parts


def _with_classes(table: LabelTable, classes: Sequence[int]) -> LabelTable:
    """The table of images without instances, with one per image."""
    n = len(classes)
    return dataclasses.replace(
        table,
        instance_offsets=np.arange(n + 1),
        cls=np.array(classes, np.int32),
        boxes=np.tile(np.array([0.5, 0.5, 1, 1], np.float32), (n, 1)),
        part_offsets=np.zeros(n + 1, np.int64),
        keypoints=np.zeros((n, 0, 3), np.float32),
        corners=np.zeros((n, 0, 2), np.float32),
    )


def _train_transform(args: object) -> ImageTransform:
    return classify_augmentations(
        size=int(option(args, "imgsz", 224)),
        scale=(1.0 - float(option(args, "scale", 0.5)), 1.0),
        hflip=float(option(args, "fliplr", 0.5)),
        vflip=float(option(args, "flipud", 0.0)),
        erasing=float(option(args, "erasing", 0.4)),
        auto_augment=option(args, "auto_augment", ""),
        hsv_h=float(option(args, "hsv_h", 0.015)),
        hsv_s=float(option(args, "hsv_s", 0.7)),
        hsv_v=float(option(args, "hsv_v", 0.4)),
    )


def _val_transform(args: object) -> ImageTransform:
    return classify_transforms(
        size=option(args, "imgsz", 224),
        crop_fraction=float(option(args, "crop_fraction", 1.0)),
        letterbox=bool(option(args, "letterbox", False)),
    )


def _divided(root: Path, seed: int) -> ClassifyData:
    """A dataset in one folder: of each class a share for validation, drawn by the seed."""
    names = _class_names(root)
    train: list[LabeledImage] = []
    val: list[LabeledImage] = []
    for group in _by_class(find_class_images(root, names)):
        order = np.random.default_rng([seed, group[0].cls]).permutation(len(group))
        count = round(len(group) * VAL_SHARE)
        val += [group[i] for i in sorted(order[:count].tolist())]
        train += [group[i] for i in sorted(order[count:].tolist())]
    _check_train(train, names, root)
    LOGGER.info("%s: no 'train' folder; %d images are for training and %d for validation (seed=%d)",
                root, len(train), len(val), seed)  # fmt: skip
    return {"path": root, "names": names, "nc": len(names), "train": train, "val": val or None, "test": None}


def _check_train(images: Sequence[LabeledImage], names: Mapping[int, str], folder: Path) -> None:
    if not names:
        raise DatasetError(f"{folder}: there is no class; every class needs a subfolder with its images")
    if not images:
        raise DatasetError(f"{folder}: there is no image in the folders of the classes {_listed(list(names.values()))}")


def _first_of_each_class(images: Sequence[LabeledImage], fraction: float) -> list[LabeledImage]:
    """The first part of every class; 8.3.0 takes the first part of the list and so drops whole classes."""
    return [image for group in _by_class(images) for image in group[: max(round(len(group) * fraction), 1)]]


def _alternating(images: Sequence[LabeledImage]) -> list[LabeledImage]:
    """One image of each class in turn, so that the first batches, which are plotted, show all classes."""
    rows = zip_longest(*_by_class(images))
    return [image for row in rows for image in row if image is not None]


def _by_class(images: Sequence[LabeledImage]) -> list[list[LabeledImage]]:
    groups: dict[int, list[LabeledImage]] = {}
    for image in images:
        groups.setdefault(image.cls, []).append(image)
    return list(groups.values())


def _class_names(folder: Path) -> dict[int, str]:
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if {"images", "labels"} <= set(names):
        raise DatasetError(
            f"{folder}: the folders 'images' and 'labels' belong to a dataset with label files; classification needs a "
            "folder for each class"
        )
    return dict(enumerate(names))


def _first_folder(root: Path, names: Sequence[str]) -> Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)


def _listed(names: Sequence[str], limit: int = 10) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
