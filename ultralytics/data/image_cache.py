"""Decoded images kept in memory or in a file, and the rule that decides how many."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ultralytics.data.cache_file import cache_file, image_tokens, map_file
from ultralytics.data.images import load_resized, resized_shape
from ultralytics.data.warp import GRAY
from ultralytics.utils import LOGGER

STORE_BYTES = 512 << 20  # decoded images are kept up to this size without cache=True
WINDOW_BATCHES = 32  # batches whose images are kept when the dataset is larger than that
WINDOW_MARGIN = 8  # of these, how many on each side are not used, because other workers are just writing them


class ImageCache:
    """The images of a dataset at training size, decoded or from memory.

    Attributes:
        whole: every image has its own slot in memory, or could have; else only a window of the epoch's order is kept.
        store: memory for decoded images, None if nothing is kept.
    """

    def __init__(
        self,
        files: Sequence[str],
        shapes: np.ndarray,
        imgsz: int,
        *,
        batch_size: int,
        augment: bool,
        cache: str | None,
        stamps: np.ndarray,
        prefix: str = "",
    ) -> None:
        """Reserve memory for all images, for a window of the epoch, or for none.

        Args:
            files: image files.
            shapes: (n, 2) h, w of the files.
            imgsz: longer side after decoding, pixels.
            batch_size: images per batch.
            augment: images are used several times per epoch.
            cache: "ram" keeps all if they fit, "disk" in a file of the user's settings folder, None a limited amount.
            stamps: (n, 3) of the files, see `file_stamps`: images in a cache file that have changed are decoded again.
            prefix: goes before messages.
        """
        self.files, self.shapes, self.imgsz, self.prefix = files, shapes, imgsz, prefix
        n, largest = len(shapes), imgsz * imgsz * 3
        size = [h * w * 3 for h, w in (resized_shape(h, w, imgsz) for h, w in shapes.tolist())]
        total = sum(size)
        self.window = min(n, max(STORE_BYTES // largest, WINDOW_BATCHES * batch_size))
        if total <= STORE_BYTES or cache:
            self.window = n
        self.whole = self.window == n
        self.store: ImageStore | None = None
        if cache == "disk":
            self.store = self._file_store(size, stamps, augment)
        elif (self.whole or augment) and self._fits(total if self.whole else self.window * largest, cache):
            self.store = ImageStore(size) if self.whole else ImageStore([largest] * self.window, whole=False)
        self._unreadable: set[int] = set()

    def __call__(self, index: int, position: int) -> np.ndarray | None:
        """Image `index`, uint8 (h, w, 3) BGR, read only where it comes from memory.

        Args:
            index: of the image in the dataset.
            position: of the sample in the epoch's order, by which images in memory are found again.

        Returns:
            None, with a warning the first time, if the file can no longer be decoded.
        """
        slot = index if self.whole else position % self.window
        entry = self.store.get(slot, index) if self.store is not None else None
        if entry is None:
            entry = load_resized(self.files[index], self.imgsz)
            if entry is None:
                self._warn_unreadable(index)
                return None
            if self.store is not None:
                self.store.put(slot, index, *entry)
        return entry[0]

    def gray(self, index: int) -> np.ndarray:
        """A gray image of the size of image `index`, to replace it."""
        h0, w0 = self.shapes[index].tolist()
        return np.full((*resized_shape(h0, w0, self.imgsz), 3), GRAY, np.uint8)

    def mix_window(self, position: int) -> tuple[int, int]:
        """Positions (from, up to) of the epoch's order among which the other images of a sample are drawn.

        A dataset that fits into memory is one window. Otherwise the window trails the sample, so that its images are
        still decoded; it depends on nothing but the dataset and the batch size.
        """
        n, size = len(self.shapes), self.window
        if size >= n:
            return 0, n
        margin = size * WINDOW_MARGIN // WINDOW_BATCHES
        start = min(max(position - size + margin, 0), n - size)
        return start, start + size - 2 * margin

    def _file_store(self, size: Sequence[int], stamps: np.ndarray, augment: bool) -> ImageStore | None:
        file = cache_file(self.files, np.cumsum(size), self.imgsz, augment)
        try:
            return ImageStore(size, file, tokens=image_tokens(stamps))
        except OSError as e:
            LOGGER.warning(
                "%scache=disk: the %.1f GiB of decoded images cannot be kept in %s (%s); they are decoded each time",
                self.prefix, sum(size) / 2**30, file.parent, e.strerror,
            )  # fmt: skip
            return None

    def _fits(self, size: int, cache: str | None) -> bool:
        if size * 1.5 <= available_memory():
            return True
        level = LOGGER.warning if cache == "ram" else LOGGER.debug
        level(
            "%snot enough memory to keep %.1f GiB of decoded images; they are decoded each time",
            self.prefix,
            size / 2**30,
        )
        return False

    def _warn_unreadable(self, index: int) -> None:
        if index not in self._unreadable:
            self._unreadable.add(index)
            LOGGER.warning(
                "%s%s: the image can no longer be decoded; gray is used instead", self.prefix, self.files[index]
            )


class ImageStore:
    """Decoded images in one block of memory that forked worker processes share, or in a file that any process shares.

    A slot holds one image and its token; a reader that finds another token decodes the file, so that a lost or
    overwritten slot costs time and nothing else. Pages of memory are taken from the system when first written.
    """

    def __init__(
        self,
        slot_bytes: np.ndarray | Sequence[int],
        file: Path | None = None,
        whole: bool = True,
        tokens: np.ndarray | None = None,
    ) -> None:
        """Reserve the memory.

        Args:
            slot_bytes: (slots,) bytes of each slot.
            file: back the memory by this file, which is reused if it has the right size.
            whole: every image has its own slot, so that nothing is ever overwritten and readers need no copy.
            tokens: (n,) int64 a number that stands for the content of each image file; None for their indices.

        Raises:
            OSError: the disk has too little space for the file.
        """
        self.offsets = np.concatenate([[0], np.cumsum(np.asarray(slot_bytes, np.int64))])
        self.file = file
        self.whole = whole
        self.tokens = tokens
        self._open()

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def get(self, slot: int, index: int) -> tuple[np.ndarray, tuple[int, int]] | None:
        """Image `index` (read only) and its original (h, w), or None when the slot holds something else."""
        head, token = self._heads[slot], self._token(index)
        if head[0] != token:
            return None
        h, w, h0, w0 = head[1:5].tolist()
        start = int(self.offsets[slot])
        image = self._pixels[start : start + h * w * 3].reshape(h, w, 3)
        if not self.whole:
            image = image.copy()
            if head[0] != token:  # another process has just put a later image here
                return None
        image.flags.writeable = False
        return image, (h0, w0)

    def put(self, slot: int, index: int, image: np.ndarray, original: tuple[int, int]) -> None:
        """Keep an image, unless it does not fit."""
        start, end = self.offsets[slot : slot + 2].tolist()
        head, token = self._heads[slot], self._token(index)
        if image.size > end - start or head[0] == token:
            return
        head[0] = 0  # invalid for readers while the pixels change
        self._pixels[start : start + image.size] = image.reshape(-1)
        head[1:5] = (*image.shape[:2], *original)
        head[0] = token

    def _token(self, index: int) -> int:
        return index + 1 if self.tokens is None else int(self.tokens[index])

    def _open(self) -> None:
        head_bytes = len(self) * 40
        size = max(head_bytes + int(self.offsets[-1]), 1)
        self._memory = mmap.mmap(-1, size) if self.file is None else map_file(self.file, size)
        self._heads = np.frombuffer(self._memory, np.int64, len(self) * 5).reshape(-1, 5)  # token, h, w, h0, w0
        self._pixels = np.frombuffer(self._memory, np.uint8, int(self.offsets[-1]), offset=head_bytes)

    def __getstate__(self) -> dict[str, object]:
        kept = ("offsets", "file", "whole", "tokens")
        return {name: getattr(self, name) for name in kept}  # memory without a file starts empty

    def __setstate__(self, state: dict[str, object]) -> None:
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
