"""Images on disk: finding them, their label files, and decoding them to the training size.

H, W are rows and columns; images are uint8 (H, W, 3) in BGR order, rotated as their EXIF orientation says.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import ceil
from pathlib import Path

import cv2
import numpy as np

from ultralytics.data.dataset_config import DatasetError, DatasetNotFoundError
from ultralytics.data.image_decode import decode_image
from ultralytics.utils.text_files import read_path_lines

IMG_FORMATS = frozenset({"bmp", "dng", "jpeg", "jpg", "mpo", "png", "tif", "tiff", "webp", "pfm"})


def find_images(sources: str | Path | Sequence[str | Path]) -> list[str]:
    """All images of folders (searched to any depth, hidden ones left out) and .txt lists, and single images; sorted.

    In a list, a line is a path; relative ones count from the list's folder, or else from the current folder.

    Raises:
        DatasetNotFoundError: a source does not exist.
        DatasetError: there is no image in any of them.
    """
    files: list[str] = []
    sources = [sources] if isinstance(sources, (str, Path)) else list(sources)
    for source in (Path(source).expanduser() for source in sources):
        if source.is_dir():
            files += _in_folder(str(source))
        elif source.is_file() and source.suffix.lower().lstrip(".") in IMG_FORMATS:
            files.append(str(source.absolute()))
        elif source.is_file():
            files += _in_list(source)
        else:
            raise DatasetNotFoundError(f"there is no folder or list of images '{source.absolute()}'")
    images = sorted(path for path in files if path.rpartition(".")[2].lower() in IMG_FORMATS)
    if not images:
        searched = ", ".join(map(str, sources))
        raise DatasetError(f"no images in {searched}. Supported extensions: {', '.join(sorted(IMG_FORMATS))}.")
    return images


def label_path(image: str, folder: str = "labels") -> str:
    """The label file of an image: the last folder `images` of its path becomes `folder`, the suffix .txt.

    Without a folder `images` in the path, the label file is beside the image, whatever `folder` is.
    """
    head, separator, tail = image.rpartition(f"{os.sep}images{os.sep}")
    path = f"{head}{os.sep}{folder}{os.sep}{tail}" if separator else image
    return f"{os.path.splitext(path)[0]}.txt"  # noqa: PTH122 - a Path costs ten times as much, and there may be a million


def imread(path: str | Path) -> np.ndarray | None:
    """Decode an image file to uint8 (H, W, 3) BGR; None when it is no image. Any path works, on Windows too.

    Raises:
        OSError: the file cannot be read.
    """
    return decode_image(np.fromfile(path, np.uint8))  # cv2.imread fails on non-ASCII paths on Windows


def resized_shape(h: int, w: int, imgsz: int) -> tuple[int, int]:
    """Rows and columns of an (h, w) image whose longer side becomes `imgsz`."""
    r = imgsz / max(h, w)
    return (h, w) if r == 1 else (min(ceil(h * r), imgsz), min(ceil(w * r), imgsz))


def load_resized(path: str, imgsz: int) -> tuple[np.ndarray, tuple[int, int]] | None:
    """The image with its longer side at `imgsz`, and its original (h, w); None when it cannot be decoded."""
    try:
        image = imread(path)
    except OSError:
        return None
    if image is None:
        return None
    h0, w0 = image.shape[:2]
    h, w = resized_shape(h0, w0, imgsz)
    if (h, w) != (h0, w0):
        image = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
    return image, (h0, w0)


def _in_folder(folder: str) -> list[str]:
    paths: list[str] = []
    seen: set[str] = set()
    for base, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(base)
        if real in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [os.path.join(base, name) for name in files if not name.startswith(".")]  # noqa: PTH118 - as above
    return paths


def _in_list(source: Path) -> list[str]:
    lines = [line for _, line in read_path_lines(source)]
    base = source.absolute().parent
    relative = next((line for line in lines if not Path(line).is_absolute()), None)
    if relative is None or (
        not relative.startswith("./") and not (base / relative).exists() and Path(relative).exists()
    ):
        base = Path.cwd()
    return [str(base / line) for line in lines]
