"""Pictures on disk and in memory: finding them, decoding them to the training size, and keeping decoded ones.

H, W are rows and columns; pictures are uint8 (H, W, 3) in BGR order, turned upright as their EXIF says.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ultralytics.data.dataset_config import DatasetError, DatasetNotFoundError

IMG_FORMATS = frozenset({"bmp", "dng", "jpeg", "jpg", "mpo", "png", "tif", "tiff", "webp", "pfm"})


def find_images(sources: str | Path | Sequence[str | Path]) -> list[str]:
    """All pictures of folders (searched to any depth, hidden ones left out) and .txt lists, sorted.

    In a list, a line is a path; relative ones count from the list's folder, or else from the current folder.

    Raises:
        DatasetNotFoundError: a source does not exist.
        DatasetError: there is no picture in any of them.
    """
    found: list[str] = []
    listed = [sources] if isinstance(sources, (str, Path)) else list(sources)
    for source in map(Path, listed):
        if source.is_dir():
            found += _in_folder(str(source))
        elif source.is_file():
            found += _in_list(source)
        else:
            raise DatasetNotFoundError(f"there is no folder or list of images '{source.absolute()}'")
    images = sorted(path for path in found if path.rpartition(".")[2].lower() in IMG_FORMATS)
    if not images:
        places = ", ".join(map(str, listed))
        raise DatasetError(f"no images in {places}. Known are files that end in {', '.join(sorted(IMG_FORMATS))}.")
    return images


def label_path(image: str) -> str:
    """Where the labels of a picture are: the last folder `images` of its path becomes `labels`, the suffix .txt."""
    head, found, tail = image.rpartition(f"{os.sep}images{os.sep}")
    path = f"{head}{os.sep}labels{os.sep}{tail}" if found else image
    return f"{os.path.splitext(path)[0]}.txt"  # noqa: PTH122 - a Path costs ten times as much, and there may be a million


def imread(path: str | Path, flags: int = cv2.IMREAD_COLOR) -> np.ndarray | None:
    """Decode a picture file to uint8 (H, W, 3) BGR; None when it is no picture. Any path works, on Windows too.

    Raises:
        OSError: the file cannot be read.
    """
    raw = np.fromfile(path, np.uint8)  # cv2.imread fails on non-ASCII paths on Windows
    return cv2.imdecode(raw, flags) if raw.size else None


def resized_shape(h: int, w: int, imgsz: int) -> tuple[int, int]:
    """Rows and columns of an (h, w) picture whose longer side becomes `imgsz`."""
    r = imgsz / max(h, w)
    return (h, w) if r == 1 else (min(ceil(h * r), imgsz), min(ceil(w * r), imgsz))


def load_resized(path: str, imgsz: int) -> tuple[np.ndarray, tuple[int, int]] | None:
    """The picture with its longer side at `imgsz`, and its original (h, w); None when it cannot be decoded."""
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


class ImageStore:
    """Decoded pictures in one block of memory that forked worker processes share, or in a file that any process shares.

    A slot holds one picture and the number of the picture in it; a reader that finds another number decodes for itself,
    so that a lost or overwritten slot costs time and nothing else. Pages are taken from the system when first written.
    """

    def __init__(self, slot_bytes: np.ndarray | Sequence[int], file: Path | None = None, whole: bool = True) -> None:
        """Make room.

        Args:
            slot_bytes: (slots,) bytes of each slot.
            file: back the memory by this file, which is reused if it has the right size.
            whole: every picture has its own slot, so that nothing is ever overwritten and readers need no copy.
        """
        self.offsets = np.concatenate([[0], np.cumsum(np.asarray(slot_bytes, np.int64))])
        self.file = file
        self.whole = whole
        self._open()

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def get(self, slot: int, number: int) -> tuple[np.ndarray, tuple[int, int]] | None:
        """Picture `number` (read only) and its original (h, w), or None when the slot holds something else."""
        head = self._heads[slot]
        if head[0] != number + 1:
            return None
        h, w, h0, w0 = head[1:5].tolist()
        start = int(self.offsets[slot])
        image = self._pixels[start : start + h * w * 3].reshape(h, w, 3)
        if not self.whole:
            image = image.copy()
            if head[0] != number + 1:  # another process has just put a later picture here
                return None
        image.flags.writeable = False
        return image, (h0, w0)

    def put(self, slot: int, number: int, image: np.ndarray, original: tuple[int, int]) -> None:
        """Keep a picture, unless it does not fit."""
        start, end = self.offsets[slot : slot + 2].tolist()
        head = self._heads[slot]
        if image.size > end - start or head[0] == number + 1:
            return
        head[0] = 0  # readers look away while the pixels change
        self._pixels[start : start + image.size] = image.reshape(-1)
        head[1:5] = (*image.shape[:2], *original)
        head[0] = number + 1

    def _open(self) -> None:
        head_bytes = len(self) * 40
        size = max(head_bytes + int(self.offsets[-1]), 1)
        if self.file is None:
            self._memory = mmap.mmap(-1, size)
        else:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(self.file, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
            try:
                if os.fstat(fd).st_size != size:
                    os.ftruncate(fd, 0)  # another layout: what it holds is worthless
                    os.ftruncate(fd, size)
                self._memory = mmap.mmap(fd, size)
            finally:
                os.close(fd)
        self._heads = np.frombuffer(self._memory, np.int64, len(self) * 5).reshape(-1, 5)  # number + 1, h, w, h0, w0
        self._pixels = np.frombuffer(self._memory, np.uint8, int(self.offsets[-1]), offset=head_bytes)

    def __getstate__(self) -> dict[str, Any]:
        return {"offsets": self.offsets, "file": self.file, "whole": self.whole}  # memory without a file is made anew

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()


def available_memory() -> int:
    """Bytes that can be taken without swapping, the limit of the container included; a large number if unknown."""
    limits = [1 << 62]
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(int(line.split()[1]) * 1024)
        group = Path("/sys/fs/cgroup")
        limits.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass  # another system, or no limit ("max")
    return max(min(limits), 0)


def _in_folder(folder: str) -> list[str]:
    found: list[str] = []
    seen: set[str] = set()
    for base, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(base)
        if real in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [os.path.join(base, name) for name in files if not name.startswith(".")]  # noqa: PTH118 - as above
    return found


def _in_list(source: Path) -> list[str]:
    lines = [line.strip() for line in source.read_text(encoding="utf-8-sig").splitlines()]
    base = source.absolute().parent
    relative = next((line for line in lines if line and not Path(line).is_absolute()), None)
    if relative is None or (
        not relative.startswith("./") and not (base / relative).exists() and Path(relative).exists()
    ):
        base = Path.cwd()
    return [str(base / line) for line in lines if line]
