"""Files in which decoded images are kept (cache=disk): one per dataset; none fills the disk, none is forgotten."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import shutil
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from ultralytics.utils.settings import settings_dir

FREE_BYTES = 1 << 30  # stay free on the disk, for the checkpoints of the run
UNUSED_DAYS = 30  # after which the file of another dataset is removed


def cache_file(files: Sequence[str], offsets: np.ndarray, imgsz: int, augment: bool) -> Path:
    """The file for these images, after files of older versions of the same dataset and unused ones were removed.

    Args:
        files: images.
        offsets: (n + 1,) where each one starts in the file.
        imgsz: longer side after decoding, pixels.
        augment: training and validation often use the same folder, and have a file each.
    """
    folder = settings_dir() / "cache"
    common = os.path.commonpath([Path(file).absolute().parent for file in (files[0], files[-1])])
    dataset = _key(f"{common}|{imgsz}|{augment}")
    file = folder / f"images-{dataset}-{_key(chr(0).join(files), offsets.tobytes())}.bin"
    oldest = time.time() - UNUSED_DAYS * 86400
    for other in folder.glob("images-*.bin"):
        with contextlib.suppress(OSError):  # another process has removed it, or on Windows uses it
            outdated = other.name.startswith(f"images-{dataset}-") or other.stat().st_mtime < oldest
            if other != file and outdated:
                other.unlink()
    return file


def image_tokens(stamps: np.ndarray) -> np.ndarray:
    """(n,) int64 that change with the stamps (n, 3) of image files, never 0: what a slot of the file is valid for."""
    factors = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
    mixed: np.ndarray = np.bitwise_xor.reduce(stamps.astype(np.uint64) * factors, 1)
    return (mixed | np.uint64(1)).view(np.int64)


def map_file(file: Path, size: int) -> mmap.mmap:
    """Map a file of `size` bytes into memory; an older one of another size is replaced.

    All its blocks are reserved, since a process that writes to a page without one is ended by the system.

    Raises:
        OSError: the disk has too little space, or the file cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists() and file.stat().st_size != size:
        file.unlink()  # not shortened: another process may have mapped it
    fd = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
    try:
        try:
            _reserve(fd, file, size)
        except OSError:
            if os.fstat(fd).st_size != size:
                file.unlink(missing_ok=True)
            raise
        os.utime(file)  # mapped memory does not show that a file is in use
        return mmap.mmap(fd, size)
    finally:
        os.close(fd)


def _reserve(fd: int, file: Path, size: int) -> None:
    stat = os.fstat(fd)
    missing = size - min(getattr(stat, "st_blocks", stat.st_size // 512) * 512, size)
    if missing and shutil.disk_usage(file.parent).free < missing + FREE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
    else:
        os.ftruncate(fd, size)


def _key(*parts: str | bytes) -> str:
    digest = sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else part.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]
