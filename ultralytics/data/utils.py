"""The functions of 8.3.0's `data.utils` with its signatures, over the modules that do the work."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

from ultralytics.data import classify, dataset_config
from ultralytics.data.image_check import check_image, exif_orientation, is_quarter_turn
from ultralytics.data.images import IMG_FORMATS, find_images, label_path
from ultralytics.data.label_parser import LabelError
from ultralytics.data.polygons import overlap_mask
from ultralytics.data.source_entries import VIDEO_FORMATS as VID_FORMATS
from ultralytics.utils import LOGGER, ROOT
from ultralytics.utils.official_names import official_names
from ultralytics.utils.polygons import segments2boxes

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "IMG_FORMATS",
    "LOGGER",
    "PIN_MEMORY",
    "ROOT",
    "VID_FORMATS",
    "autosplit",
    "check_cls_dataset",
    "check_det_dataset",
    "exif_size",
    "find_dataset_yaml",
    "get_hash",
    "img2label_paths",
    "polygon2mask",
    "polygons2masks",
    "polygons2masks_overlap",
    "segments2boxes",
    "verify_image",
]

__getattr__ = official_names(__name__)
PIN_MEMORY = torch.cuda.is_available()  # of loaders


def check_det_dataset(dataset: str | Path | Mapping[str, Any], autodownload: bool = True) -> dict[str, Any]:
    """Read a dataset file and check it; nothing is downloaded, whatever `autodownload` says.

    Args:
        dataset: path or bare name of a YAML file, or its content.
        autodownload: of 8.3.0; without effect.

    Returns:
        See `dataset_config.check_det_dataset`, as are the errors.
    """
    return dataset_config.check_det_dataset(dataset)


def check_cls_dataset(dataset: str | Path, split: str = "") -> dict[str, Any]:
    """Find the classes and images of a classification dataset.

    Args:
        dataset: folder with a folder per split, and in it one per class.
        split: of 8.3.0; without effect, because all splits are read.

    Returns:
        `train`, `val`, `test` (folder of each split, or None), `nc` and `names` ({0: "name", ...}). A dataset without
        folders for the splits has, instead of a folder, a list of (path, class index).

    Raises:
        DatasetNotFoundError, DatasetError: see `classify.check_cls_dataset`.
    """
    data = classify.check_cls_dataset(dataset)
    folders = classify.split_folders(data["path"])
    images = {"train": data["train"], "val": data["val"], "test": data["test"]}
    splits = folders if any(folders.values()) else images
    return {**splits, "nc": data["nc"], "names": data["names"]}


def img2label_paths(img_paths: Sequence[str]) -> list[str]:
    """The label file of each image: its last folder `images` becomes `labels`, its suffix .txt."""
    return [label_path(path) for path in img_paths]


def get_hash(paths: Sequence[str]) -> str:
    """SHA-256 of the paths and the total size of those that exist."""
    size = sum(Path(path).stat().st_size for path in paths if Path(path).exists())
    digest = hashlib.sha256(str(size).encode())
    digest.update("".join(paths).encode())
    return digest.hexdigest()


def exif_size(img: Image) -> tuple[int, int]:
    """(width, height) of an opened image as displayed: exchanged if its EXIF orientation is a quarter turn."""
    w, h = img.size
    return (h, w) if is_quarter_turn(exif_orientation(img)) else (w, h)


def verify_image(args: tuple[tuple[str, int], str]) -> tuple[tuple[str, int], int, int, str]:
    """Check one image of a classification dataset.

    Args:
        args: ((path, class index), prefix of the message).

    Returns:
        The pair, 1 if the image is usable else 0, 1 if it is not usable else 0, and what is wrong with it or "".
    """
    pair, prefix = args
    try:
        check_image(pair[0])
    except (LabelError, OSError) as e:
        return pair, 0, 1, f"{prefix}{pair[0]}: {e}"
    return pair, 1, 0, ""


def polygon2mask(
    imgsz: Sequence[int], polygons: Sequence[np.ndarray], color: int = 1, downsample_ratio: int = 1
) -> np.ndarray:
    """Polygons filled into one mask.

    Args:
        imgsz: (H, W) of the image.
        polygons: outlines of equally many points, (2 m,) x1, y1, x2, y2, ... or (m, 2) each, in pixels.
        color: value inside.
        downsample_ratio: the mask is this much smaller than the image.

    Returns:
        (H // downsample_ratio, W // downsample_ratio) uint8.
    """
    mask = np.zeros((int(imgsz[0]), int(imgsz[1])), np.uint8)
    points = [np.asarray(polygon, np.int32).reshape(-1, 2) for polygon in polygons]
    cv2.fillPoly(mask, points, color)
    return cv2.resize(mask, (mask.shape[1] // downsample_ratio, mask.shape[0] // downsample_ratio))


def polygons2masks(
    imgsz: Sequence[int], polygons: Sequence[np.ndarray], color: int, downsample_ratio: int = 1
) -> np.ndarray:
    """(n, h, w) uint8: one mask for each polygon; arguments as of `polygon2mask`."""
    return np.array([polygon2mask(imgsz, [polygon], color, downsample_ratio) for polygon in polygons])


def polygons2masks_overlap(
    imgsz: Sequence[int], segments: Sequence[np.ndarray], downsample_ratio: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """All instances in one map, small ones above large ones.

    Args:
        imgsz: (H, W) of the image.
        segments: n outlines as of `polygon2mask`.
        downsample_ratio: the map is this much smaller than the image.

    Returns:
        (h, w) map with 1 + the position of an instance in the order that comes with it, and that order: (n,) indices,
        largest first.
    """
    joined, order = overlap_mask(polygons2masks(imgsz, segments, 1, downsample_ratio))
    return joined[0], order


def find_dataset_yaml(path: str | Path) -> Path:
    """The only YAML file in a folder, or in its subfolders if it has none.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are several, and none has the name of the folder.
    """
    folder = Path(path)
    files = sorted(folder.glob("*.yaml")) or sorted(folder.rglob("*.yaml"))
    if not files:
        raise FileNotFoundError(f"there is no YAML file in {folder.resolve()}")
    if len(files) > 1:
        files = [file for file in files if file.stem == folder.stem]
    if len(files) != 1:
        raise ValueError(f"{folder.resolve()} has several YAML files; name one of them")
    return files[0]


def autosplit(
    path: str | Path = "datasets/coco8/images",
    weights: Sequence[float] = (0.9, 0.1, 0.0),
    annotated_only: bool = False,
) -> None:
    """Divide the images of a folder at random into autosplit_train.txt, autosplit_val.txt and autosplit_test.txt.

    The files are written beside the folder, and those of an earlier call are replaced.

    Args:
        path: the folder.
        weights: shares of train, val and test.
        annotated_only: leave out images without a label file.
    """
    folder = Path(path).absolute()
    files = find_images(folder)
    chosen = random.Random(0).choices(range(3), weights=weights, k=len(files))
    names = [f"autosplit_{split}.txt" for split in ("train", "val", "test")]
    lists: list[list[str]] = [[], [], []]
    for file, index in zip(files, chosen, strict=True):
        if not annotated_only or Path(label_path(file)).exists():
            lists[index].append(f"./{Path(file).relative_to(folder.parent).as_posix()}")
    for name, lines in zip(names, lists, strict=True):
        (folder.parent / name).unlink(missing_ok=True)
        if lines:
            (folder.parent / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
